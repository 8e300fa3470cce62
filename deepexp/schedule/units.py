"""Group the unfinished runs of a plan into units: single runs, or runs that train together as a stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepexp.data import reading
from deepexp.recipes.plan import PlannedRun
from deepexp.storage import completeness


def unfinished(runs: Sequence[PlannedRun], folder: Path) -> list[PlannedRun]:
    """Return the runs that are not complete, in the given order, with each run_id only once.

    Parameters
    ----------
    runs : sequence of PlannedRun
        The runs of a plan.
    folder : Path
        The folder of the runs.

    Returns
    -------
    list of PlannedRun
    """
    return [
        run for name, run in _once(runs).items() if not completeness.is_complete(folder / name, run.config)
    ]


def units(runs: Sequence[PlannedRun], folder: Path) -> list[list[PlannedRun]]:
    """Return the units left to train: single runs, or the runs of an arm that train as one stack.

    If any run of a stack is incomplete, the unit includes all runs of the stack, since they resume together.

    Parameters
    ----------
    runs : sequence of PlannedRun
        The runs of a plan.
    folder : Path
        The folder of the runs.

    Returns
    -------
    list of lists of PlannedRun
    """
    together: dict[Any, list[PlannedRun]] = {}
    for name, run in _once(runs).items():
        together.setdefault((run.panel, run.arm) if run.config.machine.stack else name, []).append(run)
    return [unit for unit in together.values() if unfinished(unit, folder)]


def _once(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    """Map every run_id to the first of the runs with this run_id, which can occur in several arms."""
    once: dict[str, PlannedRun] = {}
    for run in runs:
        once.setdefault(run.config.run_id, run)
    return once


def check_data(recipe: str, runs: Sequence[PlannedRun]) -> None:
    """Check that this machine has the data sets of a plan, without reading them.

    Parameters
    ----------
    recipe : str
        The recipe's name, for the error message.
    runs : sequence of PlannedRun
        The runs of a plan.

    Raises
    ------
    ValueError
        If a data set is missing; the message names the recipe and the panel.
    """
    for run in {run.panel: run for run in runs}.values():
        try:
            reading.check(run.config.data)
        except ValueError as error:
            raise ValueError(f"recipe {recipe}: panels.{run.panel}.data.dataset: {error}") from None
