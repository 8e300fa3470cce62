"""List the runs in a folder, and whether each is complete, running, stopped or damaged."""

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
        The run_id, or the name of the folder if the run is damaged.
    level : str
        The last complete level and the last level of the run, such as '3/20', or '-/20' if no level is
        complete; '-' if the run is damaged.
    epoch : str
        The number of complete epochs of the current level and the number of all its epochs, such as '5/60';
        '-' if the run is damaged.
    density, accuracy : float, optional
        The density and test accuracy of the last complete level.
    state : str
        'complete', 'running', 'stopped', or 'damaged: ' and the reason.
    seconds_left : float, optional
        The run's last estimate of its remaining time, in seconds; None if the run is complete.
    """

    run_id: str
    level: str
    epoch: str
    density: float | None
    accuracy: float | None
    state: str
    seconds_left: float | None


def status(runs: Path) -> list[RunStatus]:
    """Find the runs in a folder, and the state of each.

    Parameters
    ----------
    runs : Path
        The folder that contains the folders of the runs.

    Returns
    -------
    list of RunStatus
        The runs, sorted by the names of their folders. A run counts as running while a process has locked its
        folder.
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
