"""Decode image files into arrays of one size, with random or central crops, in processes that work ahead.

No result depends on the number of processes, since the processes receive the random numbers of each image
along with its path.
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

DRAWS = 22  # random numbers per crop: an area and a ratio for each of ten tries, then left and top
_TRIES = 10
_AREA = 0.08  # the smallest share of an image's area that a random crop covers
_RATIO = 4 / 3  # the largest ratio of a crop's sides; the smallest is 1 / _RATIO


class Unreadable(Failure):
    """Raised if a run needs an image that cannot be decoded."""


@dataclass(frozen=True)
class DecodeJob:
    """A batch of image files to decode.

    Attributes
    ----------
    paths : sequence of str
        The files.
    draws : ndarray (B, DRAWS), optional
        Uniform numbers in [0, 1) for random crops. Without them, images are cropped to their centres.
    flips : ndarray (B,) of bool, optional
        Whether to mirror each image from left to right.
    """

    paths: Sequence[str]
    draws: np.ndarray | None = None
    flips: np.ndarray | None = None


def workers() -> int:
    """Return the number of decoding processes: SIGNFLOW_WORKERS, or else this process's share of cores."""
    text = os.environ.get("SIGNFLOW_WORKERS", "")
    if text and not (text.isdecimal() and int(text) <= 1024):
        raise ValueError(f"SIGNFLOW_WORKERS must be a number of processes, 0 to 1024, got '{text}'")
    if text:
        return int(text)
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def picture(path: str | Path, size: int | None = None, todo: str = "restore it") -> Image:
    """Decode a file as RGB; raise ValueError if it is damaged or does not have `size` x `size` pixels.

    In the error message, `todo` tells the user what to do about an image of the wrong size.
    """
    from PIL import Image

    # Pillow warns about odd EXIF tags and palettes, but these do not affect the pixels.
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
        raise ValueError(f"'{path}' must have {size}x{size} pixels, but it has {width}x{height}; {todo}")
    return image


def resident(paths: Sequence[str], size: int, todo: str) -> tuple[np.ndarray, list[bytes]]:
    """Decode images of `size` x `size` pixels; return uint8 (n, size, size, 3) and the SHA-1 of each file.

    In the error message, `todo` tells the user what to do about an image of the wrong size.
    """
    import hashlib

    pixels, sums = np.empty((len(paths), size, size, 3), np.uint8), [b""] * len(paths)

    def read(number: int) -> None:
        image = picture(paths[number], size, todo)
        pixels[number] = np.asarray(image)
        sums[number] = hashlib.sha1(Path(paths[number]).read_bytes()).digest()

    with ThreadPoolExecutor(max(1, workers())) as pool:  # threads suffice: decoding releases the GIL
        for _ in pool.map(read, range(len(paths)), chunksize=64):
            pass
    return pixels, sums


def random_boxes(draws: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return random boxes (B, 4), as left, top, width and height, in images of `width` x `height` pixels.

    A box covers 8 to 100 % of the image's area, and the ratio of its sides lies between 3/4 and 4/3. The area
    and the logarithm of the ratio are uniformly distributed. Each row of `draws` (B, DRAWS) has the random
    numbers for one box: an area and a ratio for each of ten tries, then the position of the left and top
    edges. The first try that fits into the image is used. If none fits, the largest centred box with an
    allowed ratio is used.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
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
    """Crop an image at random if `draws` (DRAWS,) is given, else to its centre; return (size, size, 3) uint8.

    With `flip`, the result is mirrored from left to right. Before a central crop, the image is resized so
    that its shorter side is 8/7 of `size`. The interpolation is bilinear. When an image shrinks, each new
    pixel averages all pixels that it covers.
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


def decoded(jobs: Iterable[DecodeJob], size: int, *, pinned: bool = False) -> Iterator[Tensor]:
    """Yield the uint8 images (B, size, size, 3) of each job in order; `workers()` processes decode ahead.

    The processes put the images into shared memory, so that only an address passes through a pipe. If
    `pinned` is set, a thread then copies the images into page-locked memory, which a GPU can read without the
    CPU. If a file cannot be decoded, Unreadable is raised instead of yielding its batch, and the message
    names the file.
    """
    from torch import Generator, as_tensor
    from torch.utils.data import DataLoader

    count, context = workers(), None
    if count:  # the processes of a fork server inherit neither the threads nor the device of this process
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.utils.data", "deepexp.data.jpeg"])
    with warnings.catch_warnings():
        # torch warns if SIGNFLOW_WORKERS asks for more processes than there are cores.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader: DataLoader[Any] = DataLoader(
            _Decoder(size, count),  # type: ignore[arg-type]
            batch_size=None,
            sampler=jobs,
            num_workers=count,
            prefetch_factor=2 if count else None,
            collate_fn=_as_it_is,
            pin_memory=pinned,
            multiprocessing_context=context,
            generator=Generator(),  # without its own generator, the loader would draw from the global one
        )
        batches = iter(loader)
    for found in batches:
        if isinstance(found, str):
            raise Unreadable(found)
        yield as_tensor(found)


@dataclass(frozen=True)
class _Decoder:
    """A data set for torch's DataLoader. Its items are decoded jobs.

    If decoding fails, the item is the error message, since the loader would turn an error into a traceback.
    """

    size: int
    processes: int

    def __getitem__(self, job: DecodeJob) -> Tensor | np.ndarray | str:
        """Return the images of a job, or an error message if one of its files cannot be decoded."""
        from torch import from_numpy

        pixels = np.empty((len(job.paths), self.size, self.size, 3), np.uint8)
        try:
            for number, path in enumerate(job.paths):
                draws = None if job.draws is None else job.draws[number]
                flip = job.flips is not None and bool(job.flips[number])
                pixels[number] = crop(picture(path), self.size, draws, flip)
        except ValueError as error:
            return str(error)
        # Tensors pass through shared memory. Arrays pass through a pipe, which is slower.
        return from_numpy(pixels) if _room() > 2 * self.processes * pixels.nbytes else pixels


def _room() -> float:
    """Return the number of free bytes in shared memory.

    A container may have little shared memory, and running out of it is fatal.
    """
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:  # there is no such folder on this system
        return math.inf


def _as_it_is(found: Any) -> Any:
    return found
