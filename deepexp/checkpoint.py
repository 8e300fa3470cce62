"""Checkpoints: everything that a run needs to go on, written atomically, in safetensors (which run no code).

A file carries the SHA-256 of its contents and the run_id of its configuration. The last two are kept, so that
a damaged one leaves one to fall back to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deepexp.masks import Mask, pack, unpack
from deepexp.policy import State
from figures.results import atomic

_NAME = re.compile(r"\d+-\d+")  # level, step


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` optimizer steps of the schedule of `level`.

    `levels` and `epochs` are the rows so far of the tables that the run writes. The state of its random
    numbers is (seed, level, step), since every generator is seeded by those (`config.stream`).
    """

    level: int
    step: int
    state: State
    mask: Mask
    levels: list[dict[str, Any]]
    epochs: list[dict[str, Any]]


def save_state(state: State, path: Path, run_id: str, more: Mapping[str, Any] | None = None) -> None:
    """Write a state (and what `more` says, in JSON), complete or not at all."""
    tensors = {f"net/{name}": tensor for name, tensor in state.tensors.items()}
    tensors |= {f"momentum/{name}": tensor for name, tensor in state.momentum.items()}
    _write(tensors, path, {"run_id": run_id, **(more or {})})


def load_state(path: Path, run_id: str | None = None) -> State:
    """Read what `save_state` wrote; ValueError where it is missing, damaged or another configuration's."""
    tensors, _ = _read(path, run_id)
    return _state(tensors)


def save(checkpoint: Checkpoint, folder: Path, run_id: str) -> None:
    """Add a checkpoint to `folder`; of the others, only the one before it stays."""
    mask = {f"mask/{name}": tensor for name, tensor in pack(checkpoint.mask.alive).items()}
    more = {
        "level": checkpoint.level,
        "step": checkpoint.step,
        "levels": checkpoint.levels,
        "epochs": checkpoint.epochs,
        "shapes": {name: list(tensor.shape) for name, tensor in checkpoint.mask},
    }
    tensors = {f"net/{name}": tensor for name, tensor in checkpoint.state.tensors.items()}
    tensors |= {f"momentum/{name}": tensor for name, tensor in checkpoint.state.momentum.items()}
    path = folder / f"{checkpoint.level:03d}-{checkpoint.step:08d}.safetensors"
    _write(tensors | mask, path, {"run_id": run_id, **more})
    files = _files(folder)
    here = files.index(path)
    for old in [
        *files[: max(here - 1, 0)],
        *files[here + 1 :],
    ]:  # a later one was damaged: it was passed over
        old.unlink()


def load(folder: Path, run_id: str, say: Callable[[str], None]) -> Checkpoint | None:
    """The latest intact checkpoint, None where there is none at all.

    A damaged one is reported to `say` and passed over. Raises ValueError where another configuration wrote
    it, or where every checkpoint is damaged.
    """
    files = _files(folder)
    for path in reversed(files):
        try:
            tensors, meta = _read(path, run_id)
        except Damaged as error:
            say(f"{error}; falling back to the checkpoint before")
            continue
        mask = Mask(unpack(_under(tensors, "mask/"), meta["shapes"]))
        return Checkpoint(meta["level"], meta["step"], _state(tensors), mask, meta["levels"], meta["epochs"])
    if files:
        raise ValueError(
            f"a checkpoint in '{folder}' must be intact, but none of {len(files)} is; delete the folder to "
            f"start the "
            "run from the beginning"
        )
    return None


class Damaged(ValueError):
    """A file that is no intact state."""


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.stem)]
    return sorted(found, key=lambda path: tuple(map(int, path.stem.split("-"))))


def _write(tensors: Mapping[str, Tensor], path: Path, meta: Mapping[str, Any]) -> None:
    text = json.dumps(meta)
    with atomic(path) as temporary:
        save_file(dict(tensors), temporary, {"meta": text, "sha256": _digest(tensors, text)})


def _read(path: Path, run_id: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = header["meta"]
    except FileNotFoundError:
        raise ValueError(f"there must be a saved state at '{path}', but there is none") from None
    except (OSError, SafetensorError, KeyError) as error:
        raise Damaged(f"'{path}' is damaged ({' '.join(str(error).split())})") from None
    if header.get("sha256") != _digest(tensors, text):
        raise Damaged(f"'{path}' is damaged (its checksum does not match its contents)")
    meta = json.loads(text)
    if run_id is not None and meta["run_id"] != run_id:
        raise ValueError(
            f"'{path}' must belong to the configuration {run_id}, but it is {meta['run_id']}'s; choose "
            f"another --out"
        )
    return tensors, meta


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).numpy().data)
    return digest.hexdigest()


def _state(tensors: Mapping[str, Tensor]) -> State:
    return State(_under(tensors, "net/"), _under(tensors, "momentum/"))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
