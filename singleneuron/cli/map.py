"""`singleneuron map`: where in the plane of starts training succeeds."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from signflow import command_line
from signflow.results import claim, write
from singleneuron.cli.common import RESULTS, config_of, data_options, fail, progress_bar

if TYPE_CHECKING:
    import xarray as xr


FAILED_SHARE = 0.01
"""A map in which the integrator gave up on more of the cells is a failure."""


def map_options(parser: argparse.ArgumentParser) -> None:
    """success of pruning algorithms over a grid of (a(0), w_1(0))"""
    add = parser.add_argument
    add("--d", type=command_line.integer, required=True, help="input coordinates")
    add(
        "--algorithm",
        nargs="+",
        default=["imp", "lrr"],
        metavar="imp|wr|lrr",
        help="one or more (imp lrr)",
    )
    add("--resolution", type=command_line.integer, default=256, help="points on each axis (%(default)s)")
    add("--extent", type=float, default=2.0, metavar="E", help="both axes run from -E to E (%(default)g)")
    others = parser.add_mutually_exclusive_group()
    others.add_argument(
        "--w-perp", type=float, metavar="R", help="norm of the other coordinates (default: sqrt(1 - 1/d))"
    )
    others.add_argument("--balanced", action="store_true", help="choose that norm such that |w| = |a|")
    others.add_argument(
        "--average", type=command_line.integer, metavar="RUNS", help="draw them from N(0, 1/d), RUNS times"
    )
    add(
        "--imp",
        default="keep",
        choices=["keep", "rebalance"],
        help="a after IMP or WR has pruned (%(default)s)",
    )
    add("--rewind-time", type=float, metavar="T", help="the time WR rewinds to")
    add(
        "--levels",
        type=command_line.integer,
        default=1,
        help="number of prunings, geometric from d to 1 (%(default)s)",
    )
    data_options(parser)
    add(
        "--level-time",
        type=float,
        default=float("inf"),
        metavar="T",
        help="training time of a level (default: to its limit)",
    )
    add(
        "--method",
        default="ode",
        choices=["ode", "exact"],
        help="integrate, or use closed forms (%(default)s)",
    )
    add("--workers", type=command_line.integer, help="threads (default: all cores)")
    add(
        "--out",
        type=command_line.path,
        default=RESULTS / "map.nc",
        metavar="FILE",
        help=".nc or .csv (%(default)s)",
    )


def run_map(options: argparse.Namespace) -> int:
    """Compute a map, write it, and print what it shows."""
    config = config_of(options)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn

    if options.workers is not None:
        import numba

        cores = numba.get_num_threads()
        if not 1 <= options.workers <= cores:
            raise ValueError(f"--workers must be from 1 to {cores}, the cores here, but is {options.workers}")
        numba.set_num_threads(options.workers)
    arguments = {key: value for key, value in config.items() if value is not None}
    arguments["algorithms"] = tuple(arguments.pop("algorithm"))
    with progress_bar("map", options.quiet) as progress:
        data = sn.success_map(**arguments, progress=progress)
    write(data, options.out, config=config, seed=options.seed)
    if not options.quiet:
        for algorithm in data.algorithm.values:
            print(_summary(data.sel(algorithm=algorithm), options))
        print(options.out)
    failed = int((data.status == sn.Status.FAILED).sum())
    cells = int((data.status >= 0).sum() if options.average is None else data.status.size)
    if failed > FAILED_SHARE * cells:
        return fail(f"the integrator gave up on {failed} of {cells} cells, kept in {options.out}")
    return 0


def _summary(cells: xr.Dataset, options: argparse.Namespace) -> str:
    """Cells by status, and how many decided ones differ from the predicted region; of averages the mean."""
    from singleneuron.problem.status import Status, counts

    decided = cells.success.notnull()
    codes = cells.status.values
    name = cells.algorithm.item()
    # Theory is about the limit: cells that are not there yet, or follow another path, may well differ.
    finite = math.isfinite(options.level_time) or options.learning_rate is not None
    what = " (for the flow in the limit of long levels)" if finite else ""
    if options.average is not None:
        failed = int((codes == Status.FAILED).sum())
        low, high, theory = (float(cells[key].mean()) for key in ("success_low", "success_high", "predicted"))
        share = f"{low:.4f}" if low == high else f"between {low:.4f} and {high:.4f}"
        return (
            f"{name}: mean success {share}{'' if math.isnan(theory) else f', predicted {theory:.4f}{what}'}, "
            f"{int(decided.sum())} of {decided.size} cells decided in every run; {failed} failed"
        )
    known = decided & cells.predicted.notnull()
    differ = int((known & (cells.success != cells.predicted)).sum())
    statuses = ", ".join(f"{number} {label}" for label, number in counts(codes[codes >= 0]).items() if number)
    if not known.any():
        return f"{name}: {statuses}; no prediction"
    total = f"{differ} of {int(known.sum())} cells differ from the prediction{what}"
    return f"{name}: {statuses}; {total}"
