"""Report the progress of a plan: its runs, how many are left, and how long they will take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepexp.recipes.plan import PlannedRun
from deepexp.schedule import costs
from deepexp.schedule.units import units
from deepexp.storage import records


def overview(runs: Sequence[PlannedRun], todo: Sequence[PlannedRun]) -> list[str]:
    """Describe the runs of a plan, and say how many of them are complete.

    Parameters
    ----------
    runs : sequence of PlannedRun
        All runs of the plan.
    todo : sequence of PlannedRun
        The runs that are not complete.

    Returns
    -------
    list of str
        One line for each arm of each panel, and one for the whole plan.
    """
    left = {run.config.run_id for run in todo}
    count = len({run.config.run_id for run in runs})
    arm_of = {run.config.run_id: run.arm for run in reversed(runs)}
    arms: dict[tuple[str, str], list[PlannedRun]] = {}
    for run in runs:
        arms.setdefault((run.panel, run.arm), []).append(run)
    wide = [max(len(names[i]) for names in arms) for i in (0, 1)]
    lines = []
    for (panel, arm), group in arms.items():
        complete = sum(run.config.run_id not in left for run in group)
        after = "".join(f", after {arm_of[need]}" for need in group[0].needs)
        trainings = f"{group[0].config.pruning.levels + 1} levels{after}"
        lines.append(
            f"  {panel:{wide[0]}}  {arm:{wide[1]}}  {complete} of {len(group)} complete, {trainings}"
        )
    return [*lines, f"{count - len(left)} of {count} runs are complete"]


def outlook(todo: Sequence[PlannedRun], folder: Path, speeds: Mapping[costs.Work, costs.Speed]) -> str:
    """Report how many runs are left, and how long they will take.

    Parameters
    ----------
    todo : sequence of PlannedRun
        The runs that are not complete.
    folder : Path
        The folder of the runs.
    speeds : mapping of Speed
        The speed of each kind of work.

    Returns
    -------
    str
    """
    if not todo:
        return "nothing is left to train"
    one = len(todo) == 1
    many = f"{len(todo)} {'run is' if one else 'runs are'} left"
    if not speeds:  # no run has recorded its speed yet
        return many
    left = costs.duration(seconds_left(todo, folder, speeds))
    return f"{many}, about {left}" + ("" if one else f" with {_parallel(todo, folder)} at a time")


def seconds_left(todo: Sequence[PlannedRun], folder: Path, speeds: Mapping[costs.Work, costs.Speed]) -> float:
    """Estimate how many seconds the runs take if as many train at a time as `make -jN` allows.

    Parameters
    ----------
    todo, folder, speeds
        As for `outlook`. `speeds` can be empty only if `todo` is empty.

    Returns
    -------
    float
    """
    if not todo:
        return 0.0
    return costs.seconds([run.config for run in todo], folder, speeds) / _parallel(todo, folder)


def _parallel(todo: Sequence[PlannedRun], folder: Path) -> int:
    return min(at_a_time(), len(units(todo, folder)))


def news(run: PlannedRun, todo: Sequence[PlannedRun], folder: Path) -> str:
    """Report that a run is complete, how many runs are left, and how long they will take.

    The estimate uses only speeds that runs have recorded.

    Parameters
    ----------
    run : PlannedRun
        The run that is complete.
    todo : sequence of PlannedRun
        The runs that are not complete.
    folder : Path
        The folder of the runs.

    Returns
    -------
    str
    """
    table = folder / run.config.run_id / "levels.csv"
    accuracy, density = records.numbers(table, ("test_accuracy", "density"))[-1].values()
    speeds = costs.observed([run.config, *(one.config for one in todo)], folder)
    reached = f"test accuracy {accuracy:.2%} at density {density:.2%}"
    return f"{run.config.run_id} ({run.arm} on {run.panel}): {reached}; {outlook(todo, folder, speeds)}"


def at_a_time() -> int:
    """Return the number of parallel jobs of the `make` that started this process, or 1 if none did."""
    found = re.search(r"-j ?(\d+)", os.environ.get("MAKEFLAGS", ""))
    return int(found[1]) if found else 1
