"""Tensors on disk, in safetensors files.

Unlike a pickle, a safetensors file cannot run code when it is read.

Files are written atomically, with a checksum. The same tensors and metadata always give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from signflow.files import atomic

_KEY = "signflow"  # the only metadata key, because the library writes several keys in random order


class Damaged(ValueError):
    """A file does not hold what was written to it."""

    def __init__(self, path: Path, why: object) -> None:
        """Compose a one-line message that says which file is damaged, and why."""
        reason = " ".join(str(why).split())
        super().__init__(f"'{path}' is damaged ({reason}); restore it, or repeat its run")


def write(tensors: Mapping[str, Tensor], path: str | Path, meta: Mapping[str, Any]) -> None:
    """Write tensors and metadata, completely or not at all.

    Parameters
    ----------
    tensors : Mapping[str, Tensor]
        Contiguous CPU tensors by name.
    path : str or Path
        The file.
    meta : Mapping[str, Any]
        Metadata that JSON can represent.
    """
    text = json.dumps(meta)
    # The library's own `save_file` makes the file readable only by its owner, whatever the umask.
    content = save(dict(tensors), {_KEY: f"{_digest(tensors, text)} {text}"})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and metadata that `write` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    tensors : dict of str to Tensor
        CPU tensors by name.
    meta : dict of str to Any
        The metadata.

    Raises
    ------
    ValueError
        The file does not exist.
    Damaged
        The file does not hold what was written to it.
    """
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            digest, _, text = (file.metadata() or {})[_KEY].partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(
            f"'{path}' must hold saved tensors, but there is no such file; restore it, or repeat its run"
        ) from None
    except KeyError:
        raise Damaged(path, "it has no checksum") from None
    except (OSError, SafetensorError) as error:
        raise Damaged(path, error) from None
    if digest != _digest(tensors, text):
        raise Damaged(path, "its checksum does not match its contents")
    return tensors, json.loads(text)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.view(-1).numpy().data)
    return digest.hexdigest()
