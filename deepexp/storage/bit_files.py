"""Masks and signs on disk: boolean tensors by name, eight values per byte."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepexp.storage import tensor_files


def pack(bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pack boolean tensors into bytes, eight values per byte (the first value is the highest bit).

    Parameters
    ----------
    bits : Mapping[str, Tensor]
        Boolean CPU tensors of any shape, by name.

    Returns
    -------
    dict of str to Tensor
        A flat uint8 tensor for each name.
    """
    return {name: torch.from_numpy(np.packbits(tensor.numpy().ravel())) for name, tensor in bits.items()}


def shapes(bits: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the shapes of boolean tensors, which `unpack` needs in addition to the packed bytes.

    Parameters
    ----------
    bits : Mapping[str, Tensor]
        The tensors before packing.

    Returns
    -------
    dict of str to list of int
        The shapes by name, in the order of `bits`.
    """
    return {name: list(tensor.shape) for name, tensor in bits.items()}


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Unpack boolean tensors that `pack` has packed.

    Parameters
    ----------
    packed : Mapping[str, Tensor]
        The bytes that `pack` returned.
    shapes : Mapping[str, Sequence[int]]
        The shapes by name, in the order of the layers. The result must have this order, because it decides
        which of several weights with equal scores are pruned.

    Returns
    -------
    dict of str to Tensor
        The boolean tensors.
    """
    bits = {}
    for name, shape in shapes.items():
        flat = np.unpackbits(packed[name].numpy(), count=math.prod(shape)).view(bool)
        bits[name] = torch.from_numpy(flat).view(tuple(shape))
    return bits


def save(bits: Mapping[str, Tensor], path: str | Path) -> None:
    """Write masks or signs as packed bits, with their shapes; for signs, True means negative.

    Parameters
    ----------
    bits : Mapping[str, Tensor]
        Boolean CPU tensors by name.
    path : str or Path
        The file; it is written completely or not at all.
    """
    tensor_files.write(pack(bits), path, {"shapes": shapes(bits)})


def load(path: str | Path) -> dict[str, Tensor]:
    """Read masks or signs that `save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of str to Tensor
        Boolean CPU tensors by name.

    Raises
    ------
    ValueError
        The file is missing or damaged, or holds something other than masks or signs.
    """
    packed, meta = tensor_files.read(path)
    if "shapes" not in meta:
        raise ValueError(
            f"'{path}' must hold masks or signs, but it holds other tensors; choose another file"
        )
    return unpack(packed, meta["shapes"])
