"""Masks and signs on disk: boolean tensors by name, eight to a byte."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepexp.storage import tensor_files


def pack(bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Boolean tensors as bytes, eight to a byte (the first is the highest bit)."""
    return {name: torch.from_numpy(np.packbits(tensor.numpy().ravel())) for name, tensor in bits.items()}


def shapes(bits: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """What `unpack` needs beside the bytes."""
    return {name: list(tensor.shape) for name, tensor in bits.items()}


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The inverse of `pack`, given the shapes, in their order: that of the layers, which ties follow."""
    bits = {}
    for name, shape in shapes.items():
        flat = np.unpackbits(packed[name].numpy(), count=math.prod(shape)).view(bool)
        bits[name] = torch.from_numpy(flat).view(tuple(shape))
    return bits


def save(bits: Mapping[str, Tensor], path: str | Path) -> None:
    """Write boolean tensors by name, bit-packed, with their shapes: masks, or signs (True is negative)."""
    tensor_files.write(pack(bits), path, {"shapes": shapes(bits)})


def load(path: str | Path) -> dict[str, Tensor]:
    """What `save` wrote; ValueError where that is missing or damaged."""
    packed, meta = tensor_files.read(path)
    if "shapes" not in meta:
        raise ValueError(f"'{path}' must hold masks or signs, but it holds other tensors; give another")
    return unpack(packed, meta["shapes"])
