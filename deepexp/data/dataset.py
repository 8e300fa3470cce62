"""Load data sets for training: verify them, split them, and move them to the device.

Images are kept in the device's memory. Only the images of `imagenet` stay in files, and are decoded as
needed. `digits` has no separate test set, so every fifth image is used as a test image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepexp.config.sections import Data
from deepexp.config.seeds import stream
from deepexp.data import catalogue, image_folder, jpeg
from deepexp.data.averaging import WHITE, averaged
from deepexp.data.catalogue import SOURCES, Source


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
        """Return the images at `index`, which is a slice or a tensor of integers or booleans."""
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
        """Return the images at the positions `index`."""
        return Files([self.paths[i] for i in index.tolist()], self.y[index.to(self.y.device)])

    def to(self, device: str) -> Files:
        """Return the same files, with the classes on another device."""
        return Files(self.paths, self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """Images for training, validation and testing, and the constants that prepare them for a network.

    Attributes
    ----------
    variant : str
        The name of the copy, from `catalogue.verify` or `Listing.variant`.
    digest : str
        The SHA-1 of all arrays in the copy. For image files, it covers the names, classes and lengths of the
        files that are used, and for tinyimagenet also their contents.
    classes : int
        The number of classes.
    shape : tuple of int
        The height, width and number of channels of the network's input.
    train, validation, test : Images or Files
        The images.
    mean, deviation : Tensor (C,)
        The mean and standard deviation of each channel over the training images, with pixels scaled to
        [0, 1]. For ImageNet, these are the usual constants.
    normalised_by : str
        A description of the images from which `mean` and `deviation` were computed.
    test_size : int, optional
        The height and width to which a test image is resized before it is cropped to its centre.
    white : int
        The largest value that a pixel can have.
    """

    variant: str
    digest: str
    classes: int
    shape: tuple[int, int, int]
    train: Images | Files
    validation: Images | Files
    test: Images | Files
    mean: Tensor
    deviation: Tensor
    normalised_by: str
    test_size: int | None = None
    white: int = WHITE

    def normalise(self, x: Tensor) -> Tensor:
        """Turn images (B, H, W, C) with values from 0 to `white` into normalised float32 (B, C, H, W).

        The result is in channels_last layout.
        """
        return ((x.float() / self.white - self.mean) / self.deviation).permute(0, 3, 1, 2)


# The mean and deviation of ImageNet's training images at 224 pixels, as public code states them.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load(config: Data, seed: int, device: str = "cpu") -> Dataset:
    """Load a data set and verify it.

    Parameters
    ----------
    config : Data
        Which images to load.
    seed : int
        The seed that chooses the validation images, and the training images if their number is limited.
    device : str
        The device to which the images are moved. If the images stay in files, only their classes are moved.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the data are missing or damaged, or match no known variant (unless `config.accept_unknown` is set).
    """
    source, tiny = SOURCES[config.dataset], config.dataset == "tinyimagenet"
    read = _listed if source.in_files else _verified
    images, test, classes, variant, digest = read(config)
    train, validation = _divide(images, config, seed)
    if tiny:
        (train, validation, test), digest = _resident((train, validation, test), source.shape[0], digest)
    own = config.side or source.shape[0]
    size, white = config.size or own, WHITE * (source.shape[0] // own) ** 2
    if isinstance(train, Images):
        train, validation, test = (_averaged(part, own) for part in (train, validation, test))
        mean, deviation = _moments(train.x, white)
        normalised_by = f"the {len(train):,} training images"
        if size < own:
            raise ValueError(f"data.size must be at least {own}, the size of the images, got {size}")
    else:
        mean, deviation = (torch.tensor(values) for values in _IMAGENET)
        normalised_by = "the training images of ImageNet (constants of public code)"
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
        white,
    )


def _averaged(images: Images | Files, side: int) -> Images:
    assert isinstance(images, Images)
    return Images(averaged(images.x, side), images.y)


def _verified(config: Data) -> tuple[Images, Images, int, str, str]:
    """Read and verify arrays; return the training and test images, number of classes, variant and digest."""
    source = SOURCES[config.dataset]
    parts = catalogue.read_parts(config.dataset)
    sums = catalogue.sums(parts)
    variant = catalogue.variant(config.dataset, sums)
    if variant == "unknown" and not config.accept_unknown:
        raise ValueError(
            f"{config.dataset} in '{catalogue.folder()}' must match a known copy "
            f"({', '.join(source.variants)}), but it matches none; fetch it again, or set "
            "data.accept_unknown=true"
        )
    digest = hashlib.sha1(" ".join(sums).encode()).hexdigest()
    return *_split(config.dataset, parts), source.classes, variant, digest


def _listed(config: Data) -> tuple[Files, Files, int, str, str]:
    """List image files, and return the same values as `_verified`, without opening an image file."""
    found = image_folder.listing(config.dataset, config.classes)
    train, test = (Files(part.paths, torch.from_numpy(part.y)) for part in (found.train, found.test))
    return train, test, len(found.classes), found.variant, found.digest


def _resident(parts: Sequence[Images | Files], size: int, digest: str) -> tuple[list[Images], str]:
    """Decode image files into memory; return the images, and a digest that includes the file contents."""
    decoded, sums = [], hashlib.sha1(digest.encode())
    for part in parts:
        assert isinstance(part, Files)
        pixels, contents = jpeg.resident(part.paths, size)
        sums.update(b"".join(contents))
        decoded.append(Images(torch.from_numpy(pixels), part.y))
    return decoded, sums.hexdigest()


def _divide(images: Images | Files, config: Data, seed: int) -> tuple[Images | Files, Images | Files]:
    """Split images into at most `config.limit` training images and `config.validation` validation images."""
    if config.validation >= len(images):
        raise ValueError(
            f"data.validation must be less than {len(images):,}, the number of training images, got "
            f"{config.validation:,}"
        )
    generator = torch.Generator().manual_seed(stream(seed, "validation"))
    order = torch.randperm(len(images), generator=generator)
    held, chosen = order[: config.validation], order[config.validation :][: config.limit]
    return images[chosen.sort().values], images[held.sort().values]


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


def _moments(x: Tensor, white: int) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of each channel of images `x` (n, H, W, C), with `white` scaled to 1.

    Both are computed in double precision from the counts of the pixel values, without a float copy of `x`.
    """
    values = np.arange(white + 1) / white
    moments = []
    for channel in x.unbind(-1):
        weights = np.bincount(channel.numpy().ravel(), minlength=white + 1) / channel.numel()
        mean = weights @ values
        moments.append((mean, np.sqrt(weights @ (values - mean) ** 2)))
    mean, deviation = torch.tensor(np.array(moments).T, dtype=torch.float32)
    return mean, deviation
