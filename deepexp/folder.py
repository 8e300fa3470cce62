"""The folder of a run: where each of its files lies, who may write there, and its tables.

config.toml, about.json (which data, which software), levels.csv (one row a level), layers.csv, epochs.csv,
log.txt, progress.json; by level masks/, signs/ (bit-packed) and weights/ (a state dict); states/ has the
initial state and the rewind point, checkpoints/ what a stopped run goes on from. Every file is written
atomically.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deepexp.config import Config, read
from figures.results import atomic

# A name that `atomic` gives to what it has not finished.
_TEMPORARY = re.compile(r"\..+-[0-9a-f]{8}(\.\w+)?")


def file(folder: Path, kind: str, level: int | str) -> Path:
    """The file of a level (or of 'initial', 'rewind') in a run's masks/, signs/, weights/ or states/."""
    name = level if isinstance(level, str) else f"{level:02d}"
    return folder / kind / f"{name}.safetensors"


def check(config: Config, folder: Path) -> None:
    """Raise ValueError unless the folder is new, or that of this very configuration."""
    path = folder / "config.toml"
    if path.is_file():
        there = read(path.read_text())
        if there != config:
            raise ValueError(
                f"the folder '{folder}' must hold {config.run_id}, but it holds {there.run_id}; choose "
                f"another --out"
            )
    elif folder.is_dir() and any(
        entry.name not in ("lock", "log.txt") and not _TEMPORARY.fullmatch(entry.name)
        for entry in folder.iterdir()
    ):
        raise ValueError(
            f"the run folder '{folder}' must be new or a run's, but other files lie there; choose another"
        )


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the kernel lets go of it however the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / "lock").open("w")
    except OSError as error:
        raise ValueError(
            f"the run folder '{folder}' must be a folder that can be written, but it is not "
            f"({error.strerror}); choose another --out"
        ) from None
    with held as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"the run folder '{folder}' must belong to one process, but another one is at work there; "
                f"wait for "
                "it, or choose another --out"
            ) from None
        yield


def wait(folder: Path) -> None:
    """Return once no process holds `folder`."""
    if (folder / "lock").is_file():
        with (folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)


def logger(folder: Path, echo: Callable[[str], None]) -> Callable[[str], None]:
    """A function that adds a line to the run's log.txt and passes it to `echo`."""

    def say(line: str) -> None:
        if folder.is_dir():
            with (folder / "log.txt").open("a") as file:
                file.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        echo(line)

    return say


def is_complete(folder: Path, config: Config) -> bool:
    """Whether every level's row stands in levels.csv."""
    return len(rows(folder / "levels.csv")) == config.pruning.levels + 1


def check_complete(folder: Path, run_id: str) -> None:
    """Raise ValueError unless the folder holds the complete run of that name."""
    path = folder / "config.toml"
    if not path.is_file():
        raise ValueError(f"there is no run {run_id} in '{folder.parent}'; run it first")
    there = read(path.read_text())
    if there.run_id != run_id:
        raise ValueError(f"the folder '{folder}' must hold {run_id}, but it holds {there.run_id}")
    if not is_complete(folder, there):
        raise ValueError(f"the run {run_id} must be complete before another builds on it; let it go on")


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table of a run; none where it does not exist."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def clean(folder: Path) -> None:
    """Remove the temporary files of writes that a kill interrupted."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_tables(
    folder: Path, levels: list[dict[str, Any]], epochs: list[dict[str, Any]], sizes: Mapping[str, int]
) -> None:
    """Write levels.csv, layers.csv and epochs.csv from their rows; `sizes` has the layers' weights."""
    layers = [
        {
            "level": row["level"],
            "layer": name,
            "kept": kept,
            "total": sizes[name],
            "density": kept / sizes[name],
        }
        for row in levels
        for name, kept in row["layers"].items()
    ]
    plain = [{key: value for key, value in row.items() if key != "layers"} for row in levels]
    # levels.csv last: its last row says that the run is complete.
    for name, table in (("layers", layers), ("epochs", epochs), ("levels", plain)):
        with atomic(folder / f"{name}.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)


@dataclass(frozen=True)
class Status:
    """A run as `deepexp status` lists it; `level` and `epoch` are 'done/of'."""

    run_id: str
    level: str
    epoch: str
    density: float | None
    accuracy: float | None
    state: str
    seconds_left: float | None


def status(runs: Path) -> list[Status]:
    """The runs in a folder: `complete`, `running` (a process holds it), `stopped`, or `damaged: why`."""
    return [_status(path.parent) for path in sorted(runs.glob("*/config.toml"))]


def _status(folder: Path) -> Status:
    try:
        config = read((folder / "config.toml").read_text())
        done = rows(folder / "levels.csv")
        last = done[-1] if done else {}
        progress_file = folder / "progress.json"
        progress = json.loads(progress_file.read_text()) if progress_file.is_file() else {}
        complete = is_complete(folder, config)
        return Status(
            config.run_id,
            f"{len(done) - 1 if done else '-'}/{config.pruning.levels}",
            f"{progress.get('epoch', 0)}/{config.epochs(progress.get('level', 0))}",
            float(last["density"]) if last else None,
            float(last["test_accuracy"]) if last else None,
            "complete" if complete else "running" if _held(folder) else "stopped",
            None if complete else progress.get("seconds_left"),
        )
    except KeyError as error:
        why = f"levels.csv has no column {error}"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        why = " ".join(str(error).split())
    return Status(folder.name, "-", "-", None, None, f"damaged: {why}", None)


def _held(folder: Path) -> bool:
    """Whether a process holds the folder; asks for a shared lock, which needs no right to write there."""
    if not (folder / "lock").is_file():
        return False
    with (folder / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
