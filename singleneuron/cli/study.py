"""`singleneuron study`: how often random starts succeed."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from signflow import command_line, workers
from signflow.results import claim, write
from singleneuron.cli.common import (
    add_options,
    arguments_of,
    data_option,
    out_option,
    problem_given,
    progress_bar,
)
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.settings import StudySettings

if TYPE_CHECKING:
    import xarray as xr


def study_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `singleneuron study`."""
    add_options(parser, StudySettings)
    data_option(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=command_line.integer, help="number of processes (default: all cores)"
    )
    where.add_argument("--scheduler", metavar="ADDRESS", help="address of a Dask cluster that does the work")
    out_option(parser, "study.nc")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="discard the chunks that an interrupted study left in FILE.chunks",
    )


def run_study(options: argparse.Namespace) -> None:
    """Run a study or resume it from its chunks, write the result, and print the rates."""
    arguments = arguments_of(StudySettings, options) | problem_given(options)
    settings = StudySettings(**arguments)
    settings.check_size()
    config = configuration_of(settings)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn
    from singleneuron.experiments import store

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
    store.discard_finished(folder)
    if not options.quiet:
        print("\n".join(_rates(data)))
        print(options.out)
        command_line.say_next("draw it", "figures", "draw", options.out)


def _rates(data: xr.Dataset) -> Iterator[str]:
    """Yield a line with rates and counts for every point of a study."""
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
