"""`singleneuron trajectory`: the path of the weights from one start."""

from __future__ import annotations

import argparse

from signflow import command_line
from signflow.results import claim, write
from singleneuron.cli.common import (
    add_options,
    config_of,
    data_option,
    out_option,
    problem_given,
    progress_bar,
    report_failure,
)
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.settings import MapSettings


def trajectory_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `singleneuron trajectory`."""
    add = parser.add_argument
    add("--d", type=command_line.integer, help="number of input coordinates")
    add("--a", type=float, required=True, help="outer weight at the start")
    add("--w", type=float, required=True, nargs="+", help="the d inner weights at the start")
    product = ("parameterization", "beta_a", "beta_w", "reset_every")
    add_options(parser, MapSettings, only=("n", "noise", "learning_rate", "seed", *product))
    data_option(parser)
    add("--t-end", type=float, required=True, metavar="T", help="final time")
    add("--points", type=command_line.integer, default=200, help="number of times from 0 to T (%(default)s)")
    out_option(parser, "trajectory.nc")


def run_trajectory(options: argparse.Namespace) -> int:
    """Integrate one start, write its path, and print how it ends."""
    given, config = problem_given(options), config_of(options)
    if given:
        known = MapSettings(d=options.d, n=options.n, noise=options.noise, **given)
        config |= {name: configuration_of(known)[name] for name in ("d", "n", "problem")}
    claim(options.out, config=config, overwrite=options.overwrite)
    if len(options.w) != config["d"]:
        raise ValueError(f"--w must have d = {config['d']} numbers, got {len(options.w)}")
    from singleneuron.experiments.labels import with_labels
    from singleneuron.presets import Paths

    settings = config | {"a": (options.a,), "w": (tuple(options.w),)}
    settings.pop("problem", None)  # not a field of `Paths`; `compute` gets it below
    with progress_bar("trajectory", options.quiet) as progress:
        path = Paths(**settings).compute(progress, **given).isel(start=0, drop=True)
    status = path.status.item()
    data = path.drop_vars(["status", "success"]).assign_attrs(status=status)
    write(with_labels(data), options.out, config=config, seed=options.seed)
    if not options.quiet:
        last = data.isel(time=-1)
        w = " ".join(f"{value:.6g}" for value in last.w.values)
        print(f"{status}: a = {last.a.item():.6g}, w = {w}, loss = {last.loss.item():.3g}")
        print(options.out)
        command_line.say_next("draw it", "figures", "draw", options.out)
    if status == "failed":
        return report_failure(f"the integrator gave up; the path until then is kept in {options.out}")
    return 0
