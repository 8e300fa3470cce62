"""Average images down to fewer pixels, without rounding."""

from __future__ import annotations

import torch
from torch import Tensor

WHITE = 255  # the largest value of an original pixel


def averaged(x: Tensor, side: int) -> Tensor:
    """Reduce images to `side` x `side` pixels, each of which is the sum over a square block of pixels.

    ImageNet has been reduced to 64, 32 and 16 pixels in the same way [1]_, but with the means over the blocks
    rounded to integers. The sums need no rounding. `Dataset.normalise` turns them into means when it divides
    them by their largest possible value, which is `WHITE` times the number of pixels in a block.

    Parameters
    ----------
    x : Tensor (n, H, H, C) of uint8
        Square images.
    side : int
        A divisor of H.

    Returns
    -------
    Tensor (n, side, side, C) of int32
        The sums, which take no more memory than `x`. If `side` is H, `x` itself is returned.

    References
    ----------
    .. [1] Chrabaszcz, Loshchilov & Hutter, "A Downsampled Variant of ImageNet as an Alternative to the CIFAR
       datasets", arXiv:1707.08819: the method 'box'.
    """
    block = x.shape[1] // side
    if block == 1:
        return x
    # (n, side, block, side, block, C)
    return x.unflatten(1, (side, block)).unflatten(3, (side, block)).sum((2, 4), dtype=torch.int32)
