"""`singleneuron study`: how often random starts succeed."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from signflow import command_line, workers
from signflow.results import claim, write
from singleneuron.cli.common import RESULTS, config_of, progress_bar

if TYPE_CHECKING:
    import xarray as xr


def study_options(parser: argparse.ArgumentParser) -> None:
    """success rates from random starts; every factor given spans a dimension of the result"""
    add = parser.add_argument

    def factor(name: str, kind: Callable[[str], Any], text: str, **options: Any) -> None:
        add(name, type=kind, nargs="+", help=text, **options)

    factor("--d", command_line.integer, "input coordinates", required=True)
    factor("--n", _number_or_inf, "samples, drawn anew for every run; inf: the population (default)")
    factor("--noise", float, "standard deviation of their labels (0)")
    factor("--algorithm", str, "one or more (imp lrr)", default=["imp", "lrr"], metavar="imp|wr|lrr")
    factor("--init", str, "of a and w (balanced)", metavar="balanced|independent")
    factor("--scale", float, "factor of the starts (1)")
    factor("--learning-rate", float, "gradient descent with this step (default: the flow)", metavar="LR")
    factor("--level-time", float, "training time of a level (default: to its limit)", metavar="T")
    factor("--rewind-time", float, "the time WR rewinds to", metavar="T")
    factor("--targets", command_line.integer, "coordinates of the target (1)", metavar="K")
    add(
        "--levels",
        type=command_line.integer,
        default=1,
        help="number of prunings, geometric from d to K (%(default)s)",
    )
    add("--imp", default="keep", choices=["keep", "rebalance"], help="a after a pruning (%(default)s)")
    add(
        "--runs",
        type=command_line.integer,
        default=10_000,
        help="of every point (%(default)s); the most with --ci-width",
    )
    add("--ci-width", type=float, metavar="W", help="stop once every interval is narrower")
    add("--seed", type=command_line.integer, default=0, help="of everything drawn (%(default)s)")
    add(
        "--method",
        default="ode",
        choices=["ode", "exact"],
        help="integrate, or use closed forms (%(default)s)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=command_line.integer, help="processes (default: all cores)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work")
    add(
        "--out",
        type=command_line.path,
        default=RESULTS / "study.nc",
        metavar="FILE",
        help=".nc or .csv (%(default)s)",
    )
    add("--fresh", action="store_true", help="discard what an interrupted study has left in FILE.chunks")


def _number_or_inf(text: str) -> float:
    return float("inf") if text == "inf" else command_line.integer(text)


def run_study(options: argparse.Namespace) -> None:
    """Run a study or go on with it, write it, and print its rates."""
    config = config_of(options)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn
    from singleneuron.experiments import store

    arguments = {key: value for key, value in config.items() if value is not None}
    arguments["algorithms"] = arguments.pop("algorithm")
    folder = options.out.with_name(f"{options.out.name}.chunks")
    if options.fresh:
        store.discard(folder)
    with contextlib.ExitStack() as stack:
        if options.scheduler is not None:
            arguments["executor"] = stack.enter_context(workers.cluster(options.scheduler))
        progress = stack.enter_context(progress_bar("study", options.quiet))
        data = sn.success_rate(**arguments, workers=options.workers, directory=folder, progress=progress)
    with store.kept(options.out, folder):
        write(data, options.out, config=config, seed=options.seed)
    store.finish(folder)
    if not options.quiet:
        print("\n".join(_rates(data)))
        print(options.out)


def _rates(data: xr.Dataset) -> Iterator[str]:
    """One line for every point of a study."""
    points = data.stack(point=list(data.sizes))
    for index in range(points.sizes["point"]):
        point = points.isel(point=index)
        name = " ".join(f"{dim} {point[dim].item()}" for dim in data.sizes)
        value = {key: point[key].item() for key in point.data_vars}
        theory = "" if math.isnan(value["predicted"]) else f", predicted {value['predicted']:.4f}"
        rate = [] if math.isnan(value["rate"]) else [f"{value['rate']:.4f}"]
        if value["undecided"]:
            rate.append(f"between {value['rate_low']:.4f} and {value['rate_high']:.4f}")
        yield (
            f"{name}: {', '.join(rate)} [{value['ci_low']:.4f}, {value['ci_high']:.4f}]{theory}; "
            f"{value['successes']} of {value['decided']} decided ({value['trapped']} trapped), "
            f"{value['undecided']} undecided"
        )
