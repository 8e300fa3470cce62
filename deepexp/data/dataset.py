"""Load data sets for training: verify them, split them, and move them to the device.

Images are kept in the device's memory. Only the images of `imagenet`, and of a user's own folder if
`data.size` is set, stay in files and are decoded as needed. `digits` has no separate test set, so every fifth
image is used as a test image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepexp.config.sections import Data
from deepexp.config.seeds import stream
from deepexp.data import jpeg
from deepexp.data.averaging import WHITE, averaged
from deepexp.data.images import Files, Images
from deepexp.data.reading import CROP_ALL, read


@dataclass(frozen=True)
class Dataset:
    """Images for training, validation and testing, and the constants that prepare them for a network.

    Attributes
    ----------
    variant : str
        The name of the copy, as in `reading.Copy`.
    digest : str
        The SHA-1 of all arrays in the copy. For image files, it covers the names, classes and lengths of the
        files that are used, and also their contents if the images are kept in memory.
    classes : int
        The number of classes.
    shape : tuple of int
        The height, width and number of channels of the network's input.
    train, validation, test : Images or Files
        The images of each split.
    mean, deviation : Tensor (C,)
        The mean and standard deviation of each channel over the training images, with pixels scaled to
        [0, 1]. For images that stay in files, these are the usual constants for ImageNet.
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
    found = read(config)
    train, validation = _divide(found.train, config, seed)
    test, digest = found.test, found.digest
    if found.decoded_side is not None:
        todo = "restore it" if config.folder is None else CROP_ALL
        parts = (train, validation, test)
        (train, validation, test), digest = _resident(parts, found.decoded_side, digest, todo)
    side, _, channels = found.shape
    own = config.side or side
    if isinstance(train, Images):
        if side % own:
            raise ValueError(f"data.side must divide {side}, the side of the images, got {own}")
        white = WHITE * (side // own) ** 2
        train, validation, test = (_averaged(part, own) for part in (train, validation, test))
        mean, deviation = _moments(train.x, white)
        normalised_by = f"the {len(train):,} training images"
        if not deviation.all():
            raise ValueError("the training images must vary in every channel, but one channel is constant")
        if (config.size or own) < own:
            raise ValueError(f"data.size must be at least {own}, the size of the images, got {config.size}")
    else:
        white = WHITE
        mean, deviation = (torch.tensor(values) for values in _IMAGENET)
        normalised_by = "the training images of ImageNet (constants of public code)"
    size = config.size or own
    return Dataset(
        found.variant,
        digest,
        found.classes,
        (size, size, channels),
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


def _resident(parts: Sequence[Images | Files], size: int, digest: str, todo: str) -> tuple[list[Images], str]:
    """Decode image files into memory; return the images, and a digest that includes the file contents."""
    decoded, sums = [], hashlib.sha1(digest.encode())
    for part in parts:
        assert isinstance(part, Files)
        pixels, contents = jpeg.resident(part.paths, size, todo)
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
