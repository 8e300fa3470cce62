"""Checkpoints: everything that a run needs to resume.

Each file contains the run_id of its configuration. Up to three checkpoints are kept, so that the run can fall
back to an older one if the latest is damaged. A run gives the same results, bit for bit, whichever checkpoint
it resumes from. It therefore does not matter when checkpoints are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from deepexp.pruning.masks import Mask
from deepexp.runs.level_start import TrainingState
from deepexp.storage import tensor_files
from deepexp.storage.bit_files import pack, shapes, unpack

# The minimum number of seconds between two checkpoints within a level. More frequent checkpoints would write
# too much to the disk, because the state of a large network takes 90 MB.
PAUSE = 60.0
_NAME = re.compile(r"\d+-\d+")  # level-step


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after some step of a level.

    It contains no state of random generators, since each generator is seeded from the run's seed, the level
    and the epoch (`config.seeds.stream`).

    Attributes
    ----------
    level : int
        The level.
    step : int
        The position in the level's schedule, in optimizer steps.
    state : TrainingState
        The network, its momentum and, with Sign-In, the factors of its weights.
    mask : Mask
        The level's living weights.
    levels : list of dict
        The rows of levels.csv so far. Each row also holds the number of living weights of each layer, under
        the key 'layers'.
    epochs : list of dict
        The rows of epochs.csv so far.
    """

    level: int
    step: int
    state: TrainingState
    mask: Mask
    levels: list[dict[str, Any]]
    epochs: list[dict[str, Any]]


def save_state(state: TrainingState, path: Path, run_id: str) -> None:
    """Write the tensors and momentum of a state to a file, completely or not at all.

    The factors of Sign-In are left out, because every level starts with new factors.

    Parameters
    ----------
    state : TrainingState
        The state to write.
    path : Path
        The file.
    run_id : str
        The run that the state belongs to.
    """
    start = TrainingState(state.tensors, state.momentum)
    tensor_files.write(_tensors(start), path, {"run_id": run_id})


def load_state(path: Path, run_id: str | None = None) -> TrainingState:
    """Read a state that `save_state` wrote.

    Parameters
    ----------
    path : Path
        The file.
    run_id : str, optional
        The run that the file must belong to. By default, a file of any run is accepted.

    Returns
    -------
    TrainingState

    Raises
    ------
    ValueError
        The file is missing or damaged, or belongs to another run.
    """
    return _state(_read(path, run_id)[0])


def save(checkpoint: Checkpoint, folder: Path, run_id: str, *, end: bool = False) -> None:
    """Add a checkpoint to `folder` and remove the checkpoints that it replaces.

    Two older checkpoints stay: the last checkpoint of the earlier levels, and the checkpoint directly before
    the new one. When a level is complete, all its other checkpoints are removed. The files that a finished
    run leaves therefore do not depend on the times at which it wrote checkpoints.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint to write.
    folder : Path
        The folder of the run's checkpoints.
    run_id : str
        The run that the checkpoint belongs to.
    end : bool
        Whether the level is complete.
    """
    alive = checkpoint.mask.alive
    mask = {f"mask/{name}": tensor for name, tensor in pack(alive).items()}
    meta = {
        "run_id": run_id,
        "level": checkpoint.level,
        "step": checkpoint.step,
        "end": end,
        "levels": checkpoint.levels,
        "epochs": checkpoint.epochs,
        "shapes": shapes(alive),
    }
    path = folder / f"{checkpoint.level:03d}-{checkpoint.step:08d}.safetensors"
    tensor_files.write(_tensors(checkpoint.state) | mask, path, meta)
    _keep(path, end)


def _keep(path: Path, end: bool) -> None:
    """Remove the checkpoints that the one at `path` replaces.

    `save` explains which older checkpoints stay. Checkpoints of later steps are removed as well: `load`
    skipped them because they are damaged, or the run has gone back to an earlier level.
    """
    files = _files(path.parent)
    before = files[: files.index(path)]
    kept = [file for file in before if _place(file)[0] < _place(path)[0]][-1:]
    kept += [] if end else before[-1:]
    for file in files:
        if file not in (path, *kept):
            file.unlink()


def load(folder: Path, run_id: str, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the latest intact checkpoint, or None if there are no checkpoints.

    Damaged checkpoints are reported through `say` and skipped. Raises ValueError if a checkpoint belongs to
    another run, or if all are damaged.
    """
    files = _files(folder)
    for path in reversed(files):
        try:
            found, meta = _read(path, run_id)
        except tensor_files.Damaged:
            say(f"'{path}' is damaged; falling back to the previous checkpoint")
            continue
        if path == files[-1]:  # if `save` was killed, files that it should have removed remain
            _keep(path, meta.get("end", False))
        mask = Mask(unpack(_under(found, "mask/"), meta["shapes"]))
        return Checkpoint(meta["level"], meta["step"], _state(found), mask, meta["levels"], meta["epochs"])
    if files:
        raise ValueError(
            f"at least one checkpoint in '{folder}' must be intact, but every one is damaged "
            f"({len(files)} found); delete that folder to start the run from the beginning"
        )
    return None


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.stem) and path.is_file()]
    return sorted(found, key=_place)


def _place(path: Path) -> tuple[int, int]:
    level, step = map(int, path.stem.split("-"))
    return level, step


def _read(path: Path, run_id: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found, meta = tensor_files.read(path)
    if run_id is not None and meta.get("run_id") != run_id:
        raise ValueError(
            f"'{path}' must belong to the configuration {run_id}, but it belongs to {meta.get('run_id')}; "
            "choose another --out"
        )
    return found, meta


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    parts = {"net": state.tensors, "momentum": state.momentum, "factor": state.factors}
    return {f"{part}/{name}": tensor for part, some in parts.items() for name, tensor in some.items()}


def _state(found: Mapping[str, Tensor]) -> TrainingState:
    return TrainingState(*(_under(found, part) for part in ("net/", "momentum/", "factor/")))


def _under(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
