"""Images and their classes: in memory, or in files that are decoded as needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images and their classes, on one device.

    Attributes
    ----------
    x : Tensor (n, H, W, C) of uint8 or int32
        The pixels, from 0 to 255, or sums over blocks of pixels if the images were reduced by `averaged`.
    y : Tensor (n,) of int64
        The classes.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.y)

    def __getitem__(self, index: Any) -> Images:
        """Return the images at `index`: a slice, or a tensor of integers or of bools."""
        return Images(self.x[index], self.y[index])

    def to(self, device: str) -> Images:
        """Return the images on another device."""
        return Images(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Files:
    """Image files, which are decoded as needed, and the classes of the images.

    Attributes
    ----------
    paths : sequence of str
        The path of each image's file.
    y : Tensor (n,) of int64
        The classes, on the training device.
    """

    paths: Sequence[str]
    y: Tensor

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.y)

    def __getitem__(self, index: Tensor) -> Files:
        """Return the files at the positions `index`, a tensor of integers."""
        return Files([self.paths[i] for i in index.tolist()], self.y[index.to(self.y.device)])

    def to(self, device: str) -> Files:
        """Return the same files, with the classes on another device."""
        return Files(self.paths, self.y.to(device))
