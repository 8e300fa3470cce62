"""What is left to train: the unfinished runs of a plan, in units that train together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepexp.data import catalogue, image_folder
from deepexp.recipes.plan import PlannedRun
from deepexp.storage import completeness


def unfinished(runs: Sequence[PlannedRun], folder: Path) -> list[PlannedRun]:
    """The runs that are not complete in `folder`, each run_id once, in their order."""
    return [
        run for name, run in _once(runs).items() if not completeness.is_complete(folder / name, run.config)
    ]


def units(runs: Sequence[PlannedRun], folder: Path) -> list[list[PlannedRun]]:
    """What is left to train: each run alone, or the runs of an arm that train as one stack.

    Of a stack all runs are there, since they go on together where one of them is not complete.
    """
    together: dict[Any, list[PlannedRun]] = {}
    for name, run in _once(runs).items():
        together.setdefault((run.panel, run.arm) if run.config.machine.stack else name, []).append(run)
    return [unit for unit in together.values() if unfinished(unit, folder)]


def _once(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    """The runs by run_id, in the first of their arms."""
    once: dict[str, PlannedRun] = {}
    for run in runs:
        once.setdefault(run.config.run_id, run)
    return once


def check_data(recipe: str, runs: Sequence[PlannedRun]) -> None:
    """Raise ValueError, naming the recipe and its panel, where the data set of a run is not at hand."""
    for run in {run.panel: run for run in runs}.values():
        data = run.config.data
        try:
            if catalogue.SOURCES[data.dataset].in_files:
                image_folder.listing(data.dataset, data.classes)
            else:
                catalogue.check_files(data.dataset)
        except ValueError as error:
            raise ValueError(f"recipe {recipe}: panels.{run.panel}.data.dataset: {error}") from None
