"""Real images, verified: where they come from, which copy they are, and how they become training batches.

CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) are read
from the official python batches in the folder named by the environment variable SIGNFLOW_DATA, or else in the
user's cache; `digits` are scikit-learn's 1,797 images of 8x8 pixels (Alpaydin & Kaynak, UCI, 1998), at hand
without a download; there, every fifth image is a test image.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepexp.config import Data, Train, stream


@dataclass(frozen=True)
class Source:
    """A data set as published. `variants`: name -> SHA-1 of every part's arrays as `_digest` writes them."""

    folder: str
    parts: tuple[str, ...]  # the last one is the test set
    labels: tuple[bytes, ...]  # the keys of a batch's labels; the last is the one to learn
    classes: int
    shape: tuple[int, int, int]  # H, W, C
    variants: dict[str, tuple[str, ...]]
    url: str = ""
    md5: str = ""


# The archives' MD5 sums: https://www.cs.toronto.edu/~kriz/cifar.html. The SHA-1 sums of the official arrays
# are those of the official binary version, as Apache MXNet publishes them
# (python/mxnet/gluon/data/vision/datasets.py). 'approximate-test-20': a copy whose 20 test images (19 ships,
# 1 horse) are right in their labels and approximate in their pixels, all else official; they move a test
# accuracy by at most 0.2 percentage points.
_CIFAR10_TRAIN = (
    "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "26e2849e66a845b7f1e4614ae70f4889ae604628",
)
SOURCES = {
    "cifar10": Source(
        "cifar-10-batches-py",
        (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        (b"labels",),
        10,
        (32, 32, 3),
        {
            "official": (*_CIFAR10_TRAIN, "67eb016db431130d61cd03c7ad570b013799c88c"),
            "approximate-test-20": (*_CIFAR10_TRAIN, "cbea4389ae3e377c0090406f1f786efe5ded9c7e"),
        },
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Source(
        "cifar-100-python",
        ("train", "test"),
        (b"coarse_labels", b"fine_labels"),
        100,
        (32, 32, 3),
        {
            "official": (
                "e207cd2e05b73b1393c74c7f5e7bea451d63e08e",
                "8fb6623e830365ff53cf14adec797474f5478006",
            )
        },
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
    # The sum of scikit-learn's copy of the test part of UCI's optdigits, unchanged since its first release.
    "digits": Source(
        "",
        ("digits",),
        (b"labels",),
        10,
        (8, 8, 1),
        {"scikit-learn": ("bc428fba04444bed9a9489170eb9b3003d88bdd9",)},
    ),
}


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
    """Images for training, validation and testing; mean and deviation (C,) of training pixels in [0, 1]."""

    variant: str
    digest: str  # of the whole copy's arrays
    classes: int
    train: Images
    validation: Images
    test: Images
    mean: Tensor
    deviation: Tensor

    def normalise(self, x: Tensor) -> Tensor:
        """uint8 (B, H, W, C) -> float32 (B, C, H, W) of mean 0 and deviation 1, channels last in memory."""
        return ((x.float() / 255 - self.mean) / self.deviation).permute(0, 3, 1, 2)


def folder() -> Path:
    """Where the data sets lie: SIGNFLOW_DATA, or the user's cache."""
    if os.environ.get("SIGNFLOW_DATA"):
        return Path(os.environ["SIGNFLOW_DATA"])
    import pooch

    return Path(pooch.os_cache("signflow"))


def load(config: Data, seed: int, device: str = "cpu") -> Dataset:
    """The verified data set on `device`, its validation images and its limit chosen by `seed`.

    Raises ValueError where the data are missing, damaged, or no known variant (unless `accept_unknown`).
    """
    source = SOURCES[config.dataset]
    parts = _read_parts(config.dataset)
    sums = _sums(parts)
    variant = _variant(config.dataset, sums)
    if variant == "unknown" and not config.accept_unknown:
        raise ValueError(
            f"{config.dataset} must be one of the known copies ({', '.join(source.variants)}), but what "
            f"lies in "
            f"'{folder()}' is none; fetch it again, or accept it with --set data.accept_unknown=true"
        )
    train, test = _split(config.dataset, parts)
    mean, deviation = _moments(train.x)
    if config.validation >= len(train):
        raise ValueError(
            f"data.validation must leave training images of the {len(train):,}, got {config.validation:,}"
        )
    generator = torch.Generator().manual_seed(stream(seed, "validation"))
    order = torch.randperm(len(train), generator=generator)
    held, chosen = order[: config.validation], order[config.validation :][: config.limit]
    dataset = Dataset(
        variant,
        hashlib.sha1(" ".join(sums).encode()).hexdigest(),
        source.classes,
        train[chosen.sort().values],
        train[held.sort().values],
        test,
        mean.to(device),
        deviation.to(device),
    )
    return replace(
        dataset, **{part: getattr(dataset, part).to(device) for part in ("train", "validation", "test")}
    )


def batches(
    dataset: Dataset, config: Data, train: Train, seed: int, level: int, epoch: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches from number `first` on: augmented images (B, C, H, W) float32 and classes (B,).

    Order, shifts and flips are functions of (seed, level, epoch) and of the image's index: they do not depend
    on the batch size, on where the epoch is entered, or on any other random number drawn in the process.
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
        index = order[number * size : (number + 1) * size]
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


def fetch(name: str, *, url: str | None = None, progress: bool = True) -> Path:
    """Download and unpack `name` into `folder()`, unless it is there; returns its folder.

    A broken transfer is taken up again where it broke, a failing server is tried again, and an archive whose
    MD5 is not the published one is deleted. `url` names a mirror of the archive. Raises ValueError.
    """
    import pooch
    import requests

    source, target = SOURCES[name], folder()
    if not source.url:
        return target
    if all((target / source.folder / part).is_file() for part in source.parts):
        return target / source.folder
    archive = url or source.url
    pooch.get_logger().setLevel("INFO" if progress else "WARNING")
    registry = pooch.create(
        path=target,
        base_url=archive.rpartition("/")[0] + "/",
        registry={Path(source.url).name: f"md5:{source.md5}"},
        urls={Path(source.url).name: archive},
        retry_if_failed=4,
    )
    try:
        path = registry.fetch(Path(source.url).name, downloader=_resuming(progress))
    except (OSError, ValueError, requests.RequestException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{archive} must deliver the archive with MD5 {source.md5}, but: {reason}; try again, name a "
            f"mirror "
            "with --url, or put the official files under SIGNFLOW_DATA"
        ) from None
    _unpack(Path(path), target, source.folder)
    return target / source.folder


def verify(name: str) -> str:
    """The variant that the copy of `name` at hand is, 'unknown' if none; ValueError where it is missing."""
    return _variant(name, _sums(_read_parts(name)))


def _read_parts(name: str) -> list[np.ndarray]:
    """Each part as uint8 rows of labels, then pixels by channel, as in the official binary version."""
    source = SOURCES[name]
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return [np.column_stack([digits.target, digits.data]).astype(np.uint8)]
    parts = []
    for part in source.parts:
        path = folder() / source.folder / part
        if not path.is_file():
            raise ValueError(
                f"{name} must lie in '{folder() / source.folder}', but '{part}' is missing; run "
                f"`deepexp data fetch {name}` or set SIGNFLOW_DATA to the folder that holds {source.folder}"
            )
        parts.append(_read_batch(path, source))
    return parts


def _read_batch(path: Path, source: Source) -> np.ndarray:
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        labels = [np.asarray(batch[key], np.uint8) for key in source.labels]
        rows = np.empty((len(labels[0]), len(labels) + np.prod(source.shape)), np.uint8)
        rows[:, : len(labels)], rows[:, len(labels) :] = np.column_stack(labels), batch[b"data"]
        return rows
    except Exception as error:  # a damaged pickle raises whatever its damage suggests
        raise ValueError(
            f"'{path}' must be an official python batch, but it is not ({' '.join(str(error).split())}); "
            f"delete it "
            "and fetch it again"
        ) from None


class _Unpickler(pickle.Unpickler):
    """Builds numpy arrays and nothing else, so that no batch can run code."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")
        allowed = (
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        )
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
        return super().find_class(module, name)


def _sums(parts: Sequence[np.ndarray]) -> tuple[str, ...]:
    return tuple(hashlib.sha1(np.ascontiguousarray(part).data).hexdigest() for part in parts)


def _variant(name: str, sums: tuple[str, ...]) -> str:
    return next((variant for variant, known in SOURCES[name].variants.items() if known == sums), "unknown")


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


def _resuming(progress: bool) -> Callable[[str, str, Any], None]:
    """A downloader for pooch that keeps what arrived in a '.part' file and asks the server for the rest."""

    def download(url: str, output: str, pooch: Any) -> None:
        import requests
        from rich.progress import Progress

        part = Path(pooch.path) / f"{Path(url).name}.part"
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=30) as response:
            if response.status_code == 416:  # all of it is here already
                os.replace(part, output)
                return
            response.raise_for_status()
            mode = "ab" if response.status_code == 206 else "wb"
            have = have if mode == "ab" else 0
            length = have + int(response.headers.get("Content-Length", 0))
            with part.open(mode) as file, Progress(disable=not progress, transient=True) as bar:
                task = bar.add_task(Path(url).name, total=length or None, completed=have)
                for chunk in response.iter_content(1 << 16):
                    file.write(chunk)
                    bar.advance(task, len(chunk))
        if part.stat().st_size < length:
            raise requests.ConnectionError(f"the transfer broke after {part.stat().st_size:,} bytes")
        os.replace(part, output)

    return download


def _unpack(archive: Path, target: Path, name: str) -> None:
    """Unpack aside, then rename, so that a folder under its name is complete."""
    with tempfile.TemporaryDirectory(dir=target) as aside:
        with tarfile.open(archive) as file:
            file.extractall(aside, filter="data")
        os.replace(Path(aside) / name, target / name)
