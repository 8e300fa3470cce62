"""Read this machine's copy of a data set, whatever its kind: arrays, image files, or a user's own images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deepexp.config import import_paths
from deepexp.config.import_paths import is_own
from deepexp.config.sections import SIDES, Data
from deepexp.data import catalogue, image_folder, jpeg, own_data
from deepexp.data.catalogue import SOURCES, Source
from deepexp.data.images import Files, Images
from signflow.machine import memory

CROP_ALL = "set data.size to train on resized crops of images of any size"


@dataclass(frozen=True)
class Copy:
    """A data set as this machine stores it.

    Attributes
    ----------
    train, test : Images or Files
        All training images, before validation images are split off, and all test images.
    classes : int
        The number of classes.
    variant : str
        The name of the copy: what `catalogue.verify` returns for arrays, `Listing.variant` for image files,
        and 'own' for a user's own images.
    digest : str
        The SHA-1 of all arrays, or of the names, classes and lengths of all files.
    decoded_side : int, optional
        The height and width of the images in the files, if the images are to be decoded into memory.
    """

    train: Images | Files
    test: Images | Files
    classes: int
    variant: str
    digest: str
    decoded_side: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The height, width and channels of an image, or (224, 224, 3) if image files may have any size."""
        if isinstance(self.train, Images):
            height, width, channels = self.train.x.shape[1:]
            return height, width, channels
        side = self.decoded_side or SIDES["imagenet"]
        return side, side, 3


def check(config: Data) -> None:
    """Raise ValueError if the data are missing, without reading any image.

    Parameters
    ----------
    config : Data
        Which images to look for.
    """
    if config.folder is not None:
        image_folder.own_listing(Path(config.folder), config.classes)
    elif is_own(config.dataset):
        import_paths.load("data.dataset", config.dataset, config.code)
    elif SOURCES[config.dataset].in_files:
        image_folder.listing(config.dataset, config.classes)
    else:
        catalogue.check_files(config.dataset)


def read(config: Data) -> Copy:
    """Read the arrays of a data set, or list its files.

    Parameters
    ----------
    config : Data
        Which images to read.

    Returns
    -------
    Copy

    Raises
    ------
    ValueError
        The data are missing or damaged, or match no known variant (unless `config.accept_unknown` is set).
    """
    if is_own(config.dataset):
        train, test, classes, digest = own_data.load(config)
        return Copy(train, test, classes, "own", digest)
    if config.folder is not None:
        return _own_files(config, Path(config.folder))
    return _listed(config) if SOURCES[config.dataset].in_files else _verified(config)


def _verified(config: Data) -> Copy:
    """Read the arrays of a published data set, and check that they match a known copy."""
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
    return Copy(*_split(config.dataset, parts), source.classes, variant, digest)


def _listed(config: Data) -> Copy:
    """List the image files of a published data set; Tiny ImageNet's images will be decoded into memory."""
    side = SOURCES[config.dataset].shape[0] if config.dataset == "tinyimagenet" else None
    return _of_files(image_folder.listing(config.dataset, config.classes), side)


def _own_files(config: Data, root: Path) -> Copy:
    """List the image files of a user's own folder; without `data.size`, they will be decoded into memory."""
    found = image_folder.own_listing(root, config.classes)
    if config.in_files:
        return _of_files(found)
    width, height = jpeg.picture(found.train.paths[0]).size
    if width != height:
        raise ValueError(
            f"'{found.train.paths[0]}' must be a square image, but it has {width}x{height} pixels; {CROP_ALL}"
        )
    count = len(found.train.paths) + len(found.test.paths)
    need = 3 * count * width * width
    if need > memory():
        raise ValueError(
            f"the {count:,} images of '{root}' must fit into memory, but they need {need / 1e9:,.3g} GB, and "
            f"this machine has {memory() / 1e9:,.3g} GB; {CROP_ALL}"
        )
    return _of_files(found, width)


def _of_files(found: image_folder.Listing, side: int | None = None) -> Copy:
    train, test = (Files(part.paths, torch.from_numpy(part.y)) for part in (found.train, found.test))
    return Copy(train, test, len(found.classes), found.variant, found.digest, side)


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
