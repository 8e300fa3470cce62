"""What the folders of runs hold: complete, running, stopped or damaged runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepexp.storage import locks
from deepexp.storage.completeness import is_complete
from deepexp.storage.folder import _RUNS_OWN, numbers, progress, read_config


@dataclass(frozen=True)
class RunStatus:
    """A run as `deepexp status` lists it; `level` and `epoch` are 'done/of'."""

    run_id: str
    level: str
    epoch: str
    density: float | None
    accuracy: float | None
    state: str
    seconds_left: float | None


def status(runs: Path) -> list[RunStatus]:
    """The runs in a folder: `complete`, `running` (a process holds it), `stopped`, or `damaged: why`."""
    return [
        _status(folder)
        for folder in sorted(runs.glob("*/"))
        if not folder.name.startswith(".") and any((folder / name).exists() for name in _RUNS_OWN)
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
