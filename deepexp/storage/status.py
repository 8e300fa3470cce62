"""Whether the runs in a folder are complete, running, stopped or damaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepexp.storage.completeness import is_complete
from deepexp.storage.folder import RUNS_OWN, read_config
from deepexp.storage.records import numbers, progress
from signflow import locks


@dataclass(frozen=True)
class RunStatus:
    """A run as `deepexp status` lists it.

    Attributes
    ----------
    run_id : str
        The run, or the name of its folder where it is damaged.
    level, epoch : str
        'done/of' or '-'.
    density, accuracy : float, optional
        The density and test accuracy of the last complete level.
    state : str
        'complete', 'running', 'stopped', or 'damaged: why'.
    seconds_left : float, optional
        The time left to a run that is not complete, as it last estimated it.
    """

    run_id: str
    level: str
    epoch: str
    density: float | None
    accuracy: float | None
    state: str
    seconds_left: float | None


def status(runs: Path) -> list[RunStatus]:
    """Find the runs in a folder and what state they are in.

    Parameters
    ----------
    runs : Path
        The folder that holds runs' folders.

    Returns
    -------
    list of RunStatus
        In the order of the folders' names. A run is running while a process holds its folder.
    """
    return [
        _status(folder)
        for folder in sorted(runs.glob("*/"))
        if not folder.name.startswith(".") and any((folder / name).exists() for name in RUNS_OWN)
    ]


def _status(folder: Path) -> RunStatus:
    try:
        config = read_config(folder)
        done = numbers(folder / "levels.csv", ("density", "test_accuracy"))
        reached = progress(folder)
        complete = is_complete(folder, config)
        return RunStatus(
            config.run_id,
            f"{len(done) - 1 if done else '-'}/{config.pruning.levels}",
            f"{reached.get('epoch', 0):g}/{config.epochs(int(reached.get('level', 0)))}",
            done[-1]["density"] if done else None,
            done[-1]["test_accuracy"] if done else None,
            "complete" if complete else "running" if locks.is_held(folder / "lock") else "stopped",
            None if complete else reached.get("seconds_left"),
        )
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
    return RunStatus(folder.name, "-", "-", None, None, f"damaged: {why}", None)
