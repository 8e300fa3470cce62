"""Make batches of images on the data set's device, for training (with augmentation) and for testing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from deepexp.config.sections import Data
from deepexp.config.seeds import stream
from deepexp.config.training import Train
from deepexp.data import jpeg
from deepexp.data.augment import augment, resample
from deepexp.data.dataset import Dataset
from deepexp.data.images import Files, Images
from deepexp.data.jpeg import DecodeJob
from deepexp.distributed import ALONE, ProcessGroup

_PIXELS = 1 << 24  # the largest number of pixels per channel in a test batch


def training_batches(
    dataset: Dataset,
    config: Data,
    train: Train,
    seed: int,
    level: int,
    epoch: int,
    first: int = 0,
    group: ProcessGroup = ALONE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the training batches of an epoch.

    The seed, the level and the epoch determine the order of the images. Together with an image's index, they
    also determine how the image is cropped and flipped. Neither the order nor the augmentation depends on the
    batch size, the number of processes, the batch at which the epoch resumes, or any other random number that
    the process draws.

    Parameters
    ----------
    dataset : Dataset
        The data set whose training images are used.
    config : Data
        How to augment the images.
    train : Train
        The settings, of which `batch_size` and `drop_last` are used.
    seed, level, epoch : int
        The seed of the run, the level, and the epoch within the level.
    first : int
        The number of the first batch to yield.
    group : ProcessGroup
        The processes that share each batch. Each process gets its own share.

    Yields
    ------
    x : Tensor (B, C, H, W) of float32
        The augmented and normalised images.
    y : Tensor (B,) of int64
        The classes of the images.
    """
    images, count = dataset.train, len(dataset.train)
    generator = torch.Generator().manual_seed(stream(seed, "epoch", level, epoch))
    order = torch.randperm(count, generator=generator)
    shifts = torch.randint(2 * config.crop_padding + 1, (count, 2), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    draws = torch.rand(count, jpeg.DRAWS, generator=generator) if config.resized_crop else None
    if config.flip == "alternating":  # every image is seen in both orientations in any two successive epochs
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
    """Yield batches of images in the given order, prepared for testing.

    Images from files are cropped to their centres. Images in memory are used whole, and are resized if
    `data.size` is set. If `data.test_size` is set, images in memory are resized to `data.test_size` and then
    cropped to their centres.

    Parameters
    ----------
    dataset : Dataset
        The data set that determines how images are resized and normalised.
    images : Images or Files
        The images to yield.
    size : int
        The largest number of images in a batch. Batches of large images have fewer.

    Yields
    ------
    x : Tensor (B, C, H, W) of float32
        The normalised images.
    y : Tensor (B,) of int64
        The classes of the images.
    """
    height, width, _ = dataset.shape
    side = dataset.test_size or height
    starts = range(0, len(images), max(1, min(size, _PIXELS // (side * side))))
    if isinstance(images, Files):
        jobs = (DecodeJob(images.paths[first : first + starts.step]) for first in starts)
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


def _job(images: Files, index: Tensor, draws: Tensor | None, flips: Tensor) -> DecodeJob:
    paths = [images.paths[number] for number in index.tolist()]
    return DecodeJob(paths, None if draws is None else draws[index].numpy(), flips[index].numpy())


def _decoded(jobs: Iterable[DecodeJob], images: Files, size: int) -> Iterator[Tensor]:
    """Yield the decoded images (B, size, size, 3) of each job, on the device of `images`."""
    for pixels in jpeg.decoded(jobs, size, pinned=images.y.device.type == "cuda"):
        yield _on(pixels, images)


def _on(tensor: Tensor, images: Files) -> Tensor:
    """Copy `tensor` to the device of `images`, without waiting for the copy to finish."""
    device = images.y.device
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def steps_per_epoch(count: int, train: Train) -> int:
    """Return the number of batches in an epoch.

    Parameters
    ----------
    count : int
        The number of training images.
    train : Train
        The settings, of which `batch_size` and `drop_last` are used.

    Returns
    -------
    int
    """
    return count // train.batch_size if train.drop_last else -(-count // train.batch_size)
