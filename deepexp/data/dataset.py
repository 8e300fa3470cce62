"""How verified images become training batches, on the device that trains on them.

What fits there lies there; the images of `imagenet` are decoded on the way. Of `digits`, every fifth image
is a test image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepexp.config.sections import Data, Train
from deepexp.config.seeds import stream
from deepexp.data import catalogue, image_folder, jpeg
from deepexp.data.augment import augment, resample
from deepexp.data.catalogue import SOURCES, Source
from deepexp.data.jpeg import Job
from deepexp.distributed import ALONE, ProcessGroup


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
class Files:
    """Images in files, decoded when they are needed, and their classes (n,) int64, on the device."""

    paths: Sequence[str]
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor) -> Files:
        return Files([self.paths[i] for i in index.tolist()], self.y[index.to(self.y.device)])

    def to(self, device: str) -> Files:
        return Files(self.paths, self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """Images for training, validation and testing, as they are fed to a network: `shape` is (H, W, C).

    Pixels are normalised by those of `train` alone, ImageNet's by the usual constants.
    """

    variant: str
    digest: str  # of the whole copy's arrays, or of the files that are used
    classes: int
    shape: tuple[int, int, int]
    train: Images | Files
    validation: Images | Files
    test: Images | Files
    mean: Tensor  # of the training pixels in [0, 1], by channel (C,)
    deviation: Tensor
    normalised_by: str  # whose pixels those are
    test_size: int | None = None  # the side to which a test image is resized before its centre is taken

    def normalise(self, x: Tensor) -> Tensor:
        """(B, H, W, C), 0 to 255 -> float32 (B, C, H, W) of mean 0, deviation 1, channels last in memory."""
        return ((x.float() / 255 - self.mean) / self.deviation).permute(0, 3, 1, 2)


_PIXELS = 1 << 24  # a batch that is tested has at most so many in each channel
# Mean and deviation of the training images of ImageNet at 224 pixels, as public code has them.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load(config: Data, seed: int, device: str = "cpu") -> Dataset:
    """The verified data set on `device`, its validation images and its limit chosen by `seed`.

    Raises ValueError where the data are missing, damaged, or no known variant (unless `accept_unknown`).
    """
    source, tiny = SOURCES[config.dataset], config.dataset == "tinyimagenet"
    read = _listed if source.in_files else _verified
    images, test, classes, variant, digest = read(config)
    train, validation = _divide(images, config, seed)
    if tiny:
        (train, validation, test), digest = _resident((train, validation, test), source.shape[0], digest)
    size, own = config.size or source.shape[0], source.shape[0]
    if isinstance(train, Images):
        mean, deviation = _moments(train.x)
        normalised_by = f"the {len(train):,} training images"
        if size < own:
            raise ValueError(f"data.size must be at least the images' own {own} pixels, got {size}")
    else:
        mean, deviation = (torch.tensor(values) for values in _IMAGENET)
        normalised_by = "the training images of ImageNet, as public code has them"
    return Dataset(
        variant,
        digest,
        classes,
        (size, size, source.shape[2]),
        train.to(device),
        validation.to(device),
        test.to(device),
        mean.to(device),
        deviation.to(device),
        normalised_by,
        config.test_size,
    )


def _verified(config: Data) -> tuple[Images, Images, int, str, str]:
    """The training and the test images of arrays whose sums are known, their classes, variant and digest."""
    source = SOURCES[config.dataset]
    parts = catalogue.parts(config.dataset)
    sums = catalogue.sums(parts)
    variant = catalogue.variant(config.dataset, sums)
    if variant == "unknown" and not config.accept_unknown:
        raise ValueError(
            f"{config.dataset} in '{catalogue.folder()}' must be one of the known copies "
            f"({', '.join(source.variants)}), but it is none; fetch it again, or set data.accept_unknown=true"
        )
    digest = hashlib.sha1(" ".join(sums).encode()).hexdigest()
    return *_split(config.dataset, parts), source.classes, variant, digest


def _listed(config: Data) -> tuple[Files, Files, int, str, str]:
    """As `_verified`, of folders of files; the digest is of their names and lengths."""
    found = image_folder.listing(config.dataset, config.classes)
    train, test = (Files(part.paths, torch.from_numpy(part.y)) for part in (found.train, found.test))
    return train, test, len(found.classes), found.variant, found.digest


def _resident(parts: Sequence[Images | Files], size: int, digest: str) -> tuple[list[Images], str]:
    """Files decoded, and a digest of their contents too."""
    decoded, sums = [], hashlib.sha1(digest.encode())
    for part in parts:
        assert isinstance(part, Files)
        pixels, contents = jpeg.resident(part.paths, size)
        sums.update(b"".join(contents))
        decoded.append(Images(torch.from_numpy(pixels), part.y))
    return decoded, sums.hexdigest()


def _divide(images: Images | Files, config: Data, seed: int) -> tuple[Images | Files, Images | Files]:
    """The training images within the limit, and the validation images."""
    if config.validation >= len(images):
        raise ValueError(
            f"data.validation must leave training images of the {len(images):,}, got {config.validation:,}"
        )
    generator = torch.Generator().manual_seed(stream(seed, "validation"))
    order = torch.randperm(len(images), generator=generator)
    held, chosen = order[: config.validation], order[config.validation :][: config.limit]
    return images[chosen.sort().values], images[held.sort().values]


def batches(
    dataset: Dataset,
    config: Data,
    train: Train,
    seed: int,
    level: int,
    epoch: int,
    first: int = 0,
    group: ProcessGroup = ALONE,
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
    draws = torch.rand(count, jpeg.DRAWS, generator=generator) if config.resized_crop else None
    if config.flip == "alternating":  # every image is seen both ways round in every two epochs
        coin = torch.Generator().manual_seed(stream(seed, "flip"))
        flips = (torch.rand(count, generator=coin) < 0.5) ^ bool(epoch % 2)
    elif config.flip == "none":
        flips[:] = False
    size, steps = train.batch_size, range(first, steps_per_epoch(count, train))
    if isinstance(images, Files):
        indices = [group.part(order[number * size : (number + 1) * size]) for number in steps]
        jobs = (_job(images, index, draws, flips) for index in indices)
        for index, pixels in zip(indices, _decoded(jobs, images, dataset.shape[0]), strict=True):
            yield dataset.normalise(pixels), images.y[_on(index, images)]
        return
    height, width = images.x.shape[1:3]
    boxes = None
    if draws is not None:
        boxes = torch.from_numpy(jpeg.random_boxes(draws.numpy(), width, height)).to(images.x.device)
    order, shifts, flips = (t.to(images.x.device) for t in (order, shifts, flips))
    for number in steps:
        index = group.part(order[number * size : (number + 1) * size])
        if boxes is None:
            x = augment(images.x, index, shifts[index], flips[index], config)
        else:
            x = resample(images.x[index], boxes[index], flips[index], dataset.shape[0])
        yield dataset.normalise(x), images.y[index]


def in_order(dataset: Dataset, images: Images | Files, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`images` as they are tested, in batches of at most `size` (fewer where they are large), with classes.

    Images in files show their centre, resident ones all that they have, resized where `data.size` says so, or
    the centre of what `data.test_size` resizes them to.
    """
    height, width, _ = dataset.shape
    side = dataset.test_size or height
    starts = range(0, len(images), max(1, min(size, _PIXELS // (side * side))))
    if isinstance(images, Files):
        jobs = (Job(images.paths[first : first + starts.step]) for first in starts)
        for first, pixels in zip(starts, _decoded(jobs, images, height), strict=True):
            yield dataset.normalise(pixels), images.y[first : first + starts.step]
        return
    for first in starts:
        batch = images[first : first + starts.step]
        x = batch.x
        if x.shape[1:3] != (side, side):
            boxes = x.new_tensor([0, 0, x.shape[2], x.shape[1]], dtype=torch.int64).expand(len(x), 4)
            x = resample(x, boxes, torch.zeros_like(batch.y, dtype=torch.bool), side)
        edge = (side - height) // 2
        x = x[:, edge : edge + height, edge : edge + width]
        yield dataset.normalise(x), batch.y


def _job(images: Files, index: Tensor, draws: Tensor | None, flips: Tensor) -> Job:
    paths = [images.paths[number] for number in index.tolist()]
    return Job(paths, None if draws is None else draws[index].numpy(), flips[index].numpy())


def _decoded(jobs: Iterable[Job], images: Files, size: int) -> Iterator[Tensor]:
    """The images of each job (B, size, size, 3) on the device of `images`."""
    for pixels in jpeg.decoded(jobs, size, pinned=images.y.device.type == "cuda"):
        yield _on(pixels, images)


def _on(tensor: Tensor, images: Files) -> Tensor:
    """`tensor` on the device of `images`, copied there while the device goes on with what it has."""
    device = images.y.device
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


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
