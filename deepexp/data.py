"""How verified images become training batches, on the device that trains on them.

Of `digits`, every fifth image is a test image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepexp import sources
from deepexp.config import Data, Train, stream
from deepexp.processes import ALONE, Group
from deepexp.sources import SOURCES, Source


@dataclass(frozen=True)
class Images:
    """Images (n, H, W, C) uint8 and their classes (n,) int64, on one device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> Images:
        return Images(self.x[index], self.y[index])

    def to(self, device: str) -> Images:
        return Images(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """Images for training, validation and testing; pixels are normalised by those of `train` alone."""

    variant: str
    digest: str  # of the whole copy's arrays
    classes: int
    train: Images
    validation: Images
    test: Images
    mean: Tensor  # of the training pixels in [0, 1], by channel (C,)
    deviation: Tensor

    def normalise(self, x: Tensor) -> Tensor:
        """uint8 (B, H, W, C) -> float32 (B, C, H, W) of mean 0 and deviation 1, channels last in memory."""
        return ((x.float() / 255 - self.mean) / self.deviation).permute(0, 3, 1, 2)


def load(config: Data, seed: int, device: str = "cpu") -> Dataset:
    """The verified data set on `device`, its validation images and its limit chosen by `seed`.

    Raises ValueError where the data are missing, damaged, or no known variant (unless `accept_unknown`).
    """
    source = SOURCES[config.dataset]
    parts = sources.parts(config.dataset)
    sums = sources.sums(parts)
    variant = sources.variant(config.dataset, sums)
    if variant == "unknown" and not config.accept_unknown:
        raise ValueError(
            f"{config.dataset} in '{sources.folder()}' must be one of the known copies "
            f"({', '.join(source.variants)}), but it is none; fetch it again, or set data.accept_unknown=true"
        )
    images, test = _split(config.dataset, parts)
    if config.validation >= len(images):
        raise ValueError(
            f"data.validation must leave training images of the {len(images):,}, got {config.validation:,}"
        )
    generator = torch.Generator().manual_seed(stream(seed, "validation"))
    order = torch.randperm(len(images), generator=generator)
    held, chosen = order[: config.validation], order[config.validation :][: config.limit]
    train = images[chosen.sort().values]
    mean, deviation = _moments(train.x)
    return Dataset(
        variant,
        hashlib.sha1(" ".join(sums).encode()).hexdigest(),
        source.classes,
        train.to(device),
        images[held.sort().values].to(device),
        test.to(device),
        mean.to(device),
        deviation.to(device),
    )


def batches(
    dataset: Dataset,
    config: Data,
    train: Train,
    seed: int,
    level: int,
    epoch: int,
    first: int = 0,
    group: Group = ALONE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches from number `first` on: augmented images (B, C, H, W) float32 and classes (B,).

    Of every batch, this process's part of it. Order, shifts and flips are functions of (seed, level, epoch)
    and of the image's index: they do not depend on the batch size, on the number of processes, on where the
    epoch is entered, or on any other random number drawn in the process.
    """
    images, count = dataset.train, len(dataset.train)
    generator = torch.Generator().manual_seed(stream(seed, "epoch", level, epoch))
    order = torch.randperm(count, generator=generator)
    shifts = torch.randint(2 * config.crop_padding + 1, (count, 2), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    if config.flip == "alternating":  # every image is seen both ways round in every two epochs
        coin = torch.Generator().manual_seed(stream(seed, "flip"))
        flips = (torch.rand(count, generator=coin) < 0.5) ^ bool(epoch % 2)
    elif config.flip == "none":
        flips[:] = False
    order, shifts, flips = (t.to(images.x.device) for t in (order, shifts, flips))
    size = train.batch_size
    for number in range(first, steps_per_epoch(count, train)):
        index = group.part(order[number * size : (number + 1) * size])
        x = augment(images.x, index, shifts[index], flips[index], config)
        yield dataset.normalise(x), images.y[index]


def augment(x: Tensor, index: Tensor, shifts: Tensor, flips: Tensor, config: Data) -> Tensor:
    """Images `index` of `x` (n, H, W, C), padded, cropped at `shifts` (B, 2) rows and columns, flipped."""
    if config.crop_padding == 0 and config.flip == "none":
        return x[index]
    pad, (height, width) = config.crop_padding, x.shape[1:3]
    rows = torch.arange(height, device=x.device) + shifts[:, :1] - pad  # (B, H)
    columns = torch.arange(width, device=x.device) + shifts[:, 1:] - pad  # (B, W)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
    if config.padding_mode == "reflect":
        rows, columns = _reflect(rows, height), _reflect(columns, width)
    picked = x[
        index[:, None, None], rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    return picked if config.padding_mode == "reflect" else picked.masked_fill_(outside[..., None], 0)


def steps_per_epoch(count: int, train: Train) -> int:
    """Batches in an epoch of `count` images."""
    return count // train.batch_size if train.drop_last else -(-count // train.batch_size)


def _split(name: str, parts: Sequence[np.ndarray]) -> tuple[Images, Images]:
    source = SOURCES[name]
    if name == "digits":
        images = _decode(parts[0], source, scale=255 / 16)
        index = torch.arange(len(images))
        return images[index % 5 != 4], images[index % 5 == 4]
    return _decode(np.concatenate(parts[:-1]), source), _decode(parts[-1], source)


def _decode(rows: np.ndarray, source: Source, scale: float = 1.0) -> Images:
    height, width, channels = source.shape
    count = len(source.labels)
    pixels = torch.from_numpy(rows[:, count:]).view(-1, channels, height, width).permute(0, 2, 3, 1)
    if scale != 1:
        pixels = (pixels * scale).round().to(torch.uint8)
    return Images(pixels.contiguous(), torch.from_numpy(rows[:, count - 1].astype(np.int64)))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every channel of (n, H, W, C), from the counts of the 256 values."""
    values = np.arange(256) / 255
    moments = []
    for channel in x.unbind(-1):
        weights = np.bincount(channel.numpy().ravel(), minlength=256) / channel.numel()
        mean = weights @ values
        moments.append((mean, np.sqrt(weights @ (values - mean) ** 2)))
    mean, deviation = torch.tensor(np.array(moments).T, dtype=torch.float32)
    return mean, deviation


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)
