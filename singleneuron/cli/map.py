"""`singleneuron map`: the starts in a plane from which training succeeds."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from signflow import command_line
from signflow.results import claim, write
from singleneuron.cli.common import (
    add_options,
    arguments_of,
    data_option,
    out_option,
    problem_given,
    progress_bar,
    report_failure,
)
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.settings import MapSettings

if TYPE_CHECKING:
    import xarray as xr


FAILED_SHARE = 0.01
"""Largest share of cells on which the integrator may give up. If it gives up on more, the command fails."""


def map_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `singleneuron map`."""
    add_options(parser, MapSettings)
    data_option(parser)
    parser.add_argument("--workers", type=command_line.integer, help="number of threads (default: all cores)")
    out_option(parser, "map.nc")


def run_map(options: argparse.Namespace) -> int:
    """Compute a map, write it, and print a summary for each algorithm."""
    arguments = arguments_of(MapSettings, options) | problem_given(options)
    settings = MapSettings(**arguments)
    settings.check_size()
    config = configuration_of(settings)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn

    if options.workers is not None:
        import numba

        cores = numba.get_num_threads()
        if not 1 <= options.workers <= cores:
            raise ValueError(
                f"--workers must be from 1 to {cores}, the number of cores, but is {options.workers}"
            )
        numba.set_num_threads(options.workers)
    with progress_bar("map", options.quiet) as progress:
        data = sn.success_map(**arguments, progress=progress)
    write(data, options.out, config=config, seed=options.seed)
    if not options.quiet:
        for algorithm in data.algorithm.values:
            print(_summary(data.sel(algorithm=algorithm), options))
        print(options.out)
        command_line.say_next("draw it", "figures", "draw", options.out)
    failed = int((data.status == sn.Status.FAILED).sum())
    cells = int((data.status >= 0).sum() if options.average is None else data.status.size)
    if failed > FAILED_SHARE * cells:
        return report_failure(
            f"the integrator gave up on {failed} of {cells} cells; the map is kept in {options.out}"
        )
    return 0


def _summary(cells: xr.Dataset, options: argparse.Namespace) -> str:
    """Describe the cells of one algorithm in one line.

    The line gives the number of cells with each status, and the number that differ from the prediction. With
    `average`, it gives the simulated and the predicted mean success, and the numbers of decided and failed
    cells.
    """
    from singleneuron.problem.status import Status, counts

    decided = cells.success.notnull()
    codes = cells.status.values
    name = cells.algorithm.item()
    # Theory describes the flow in the limit of long levels. Finite levels or gradient descent may differ.
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
