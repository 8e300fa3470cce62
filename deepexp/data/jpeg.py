"""JPEG files as arrays of one size: what is cut out of each, and processes that decode ahead of the training.

No result depends on how many processes there are: what is drawn for an image comes with it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signflow.machine import cores
from signflow.messages import Failure

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

DRAWS = 22  # uniform numbers that a random crop takes: ten tries of an area and a ratio, and a place
_TRIES = 10
_AREA = 0.08  # the least share of an image that a random crop shows
_RATIO = 4 / 3  # the largest ratio of its sides, and the inverse of the least


class Unreadable(Failure):
    """An image that a run needs and cannot decode."""


@dataclass(frozen=True)
class Job:
    """A batch to decode: files, their flips (B,), and for random crops their `draws` (B, DRAWS)."""

    paths: Sequence[str]
    draws: np.ndarray | None = None
    flips: np.ndarray | None = None


def workers() -> int:
    """How many processes decode: SIGNFLOW_WORKERS, else the cores' share of a process that torchrun started.

    No result depends on it.
    """
    text = os.environ.get("SIGNFLOW_WORKERS", "")
    if text and not (text.isdecimal() and int(text) <= 1024):
        raise ValueError(f"SIGNFLOW_WORKERS must be a number of processes, 0 to 1024, got '{text}'")
    if text:
        return int(text)
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def picture(path: str | Path, size: int | None = None) -> Image:
    """A file's image, as RGB whatever it was; ValueError with its name where it cannot be decoded in full.

    Or where it must have `size` x `size` pixels and has others.
    """
    from PIL import Image

    # Of EXIF tags and palettes: the pixels are the same, and no run can do anything about them.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"'{path}' must be an image, but it cannot be decoded ({reason}); restore it"
        ) from None
    width, height = image.size
    if size is not None and (width, height) != (size, size):
        raise ValueError(f"'{path}' must have {size}x{size} pixels, but it has {width}x{height}; restore it")
    return image


def resident(paths: Sequence[str], size: int) -> tuple[np.ndarray, list[bytes]]:
    """The images (n, size, size, 3) uint8 of files of that very size, and the SHA-1 of each file."""
    import hashlib

    pixels, sums = np.empty((len(paths), size, size, 3), np.uint8), [b""] * len(paths)

    def read(number: int) -> None:
        image = picture(paths[number], size)
        pixels[number] = np.asarray(image)
        sums[number] = hashlib.sha1(Path(paths[number]).read_bytes()).digest()

    with ThreadPoolExecutor(max(1, workers())) as pool:  # decoding lets go of the interpreter
        for _ in pool.map(read, range(len(paths)), chunksize=64):
            pass
    return pixels, sums


def random_boxes(draws: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes (B, 4) of left, top, width and height, in images of a width and height; from `draws` (B, DRAWS).

    Of 8 to 100 % of the area, with sides in a ratio of 3/4 to 4/3, uniform in the area and in the ratio's
    logarithm: the first of ten tries that fits, else the largest such box in the middle (Szegedy et al.,
    "Going Deeper with Convolutions", CVPR 2015).
    """
    draws = draws.astype(np.float64)
    area, ratio = np.moveaxis(draws[:, : 2 * _TRIES].reshape(-1, _TRIES, 2), -1, 0)
    area = width * height * (_AREA + (1 - _AREA) * area)
    ratio = _RATIO ** (2 * ratio - 1)
    wide, high = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (wide >= 1) & (wide <= width) & (high >= 1) & (high <= height)
    row, first = np.arange(len(draws)), fits.argmax(1)
    wide, high = wide[row, first], high[row, first]
    left, top = (np.floor(draws[:, 20] * (width - wide + 1)), np.floor(draws[:, 21] * (height - high + 1)))
    boxes = np.stack([left, top, wide, high], 1).astype(np.int64)
    largest = (min(width, round(height * _RATIO)), min(height, round(width * _RATIO)))
    boxes[~fits.any(1)] = ((width - largest[0]) // 2, (height - largest[1]) // 2, *largest)
    return boxes


def crop(image: Image, size: int, draws: np.ndarray | None, flip: bool) -> np.ndarray:
    """(size, size, 3) uint8 of an image: a random crop by `draws` (DRAWS,), or without them the centre.

    The centre is that of the image whose shorter side is resized to 8/7 of `size`. Bilinear, and where an
    image shrinks, each pixel averages all that it covers.
    """
    from PIL import Image

    if draws is not None:
        left, top, wide, high = random_boxes(draws[None], *image.size)[0].tolist()
        box = image.crop((left, top, left + wide, top + high))
        shown = box.resize((size, size), Image.Resampling.BILINEAR)
    else:
        shorter, least = min(image.size), round(size * 8 / 7)
        width, height = (int(least * side / shorter) for side in image.size)
        left, top = (round((side - size) / 2) for side in (width, height))
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        shown = resized.crop((left, top, left + size, top + size))
    pixels = np.asarray(shown)
    return pixels[:, ::-1] if flip else pixels


def decoded(jobs: Iterable[Job], size: int, *, pinned: bool = False) -> Iterator[Tensor]:
    """The images (B, size, size, 3) uint8 of each job, in order, decoded ahead by `workers` processes.

    They come in memory that the processes share, so that the training receives its address alone; `pinned`,
    a thread copies them ahead, too, to where a GPU fetches them by itself.
    Raises Unreadable, which names the file, at the batch that it belongs to.
    """
    from torch import Generator, as_tensor
    from torch.utils.data import DataLoader

    count, context = workers(), None
    if count:  # no thread of this process, nor its device, reaches into a process of a fork server
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.utils.data", "deepexp.data.jpeg"])
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "This DataLoader will create"
        )  # more processes than cores, if asked to
        loader: DataLoader[Any] = DataLoader(
            _Decoder(size, count),  # type: ignore[arg-type]
            batch_size=None,
            sampler=jobs,
            num_workers=count,
            prefetch_factor=2 if count else None,
            collate_fn=_as_it_is,
            pin_memory=pinned,
            multiprocessing_context=context,
            generator=Generator(),  # or it would draw from the process's
        )
        batches = iter(loader)
    for found in batches:
        if isinstance(found, str):
            raise Unreadable(found)
        yield as_tensor(found)


@dataclass(frozen=True)
class _Decoder:
    """Decodes a job; what is wrong with a file comes back as its message, since a raised error would come
    back as a traceback."""

    size: int
    processes: int

    def __getitem__(self, job: Job) -> Tensor | np.ndarray | str:
        from torch import from_numpy

        pixels = np.empty((len(job.paths), self.size, self.size, 3), np.uint8)
        try:
            for number, path in enumerate(job.paths):
                draws = None if job.draws is None else job.draws[number]
                flip = job.flips is not None and bool(job.flips[number])
                pixels[number] = crop(picture(path), self.size, draws, flip)
        except ValueError as error:
            return str(error)
        # An array goes through a pipe, which takes the training's time, but no shared memory.
        return from_numpy(pixels) if _room() > 2 * self.processes * pixels.nbytes else pixels


def _room() -> float:
    """The bytes of shared memory that are left; a container may have little. Beyond them, a process dies."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:  # a system that has no such folder
        return math.inf


def _as_it_is(found: Any) -> Any:
    return found
