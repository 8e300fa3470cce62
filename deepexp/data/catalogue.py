"""Describe where the data sets come from, and find out which copies of them this machine has.

CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) are read
from the official python batches in the folder named by the environment variable SIGNFLOW_DATA, or else in the
user's cache. `digits` consists of 1,797 images of 8x8 pixels (Alpaydin & Kaynak, UCI, 1998), which come with
scikit-learn. Tiny ImageNet and ImageNet are folders of JPEG files, which `image_folder` reads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepexp.config.sections import SIDES


@dataclass(frozen=True)
class Source:
    """A published data set: where it is stored, what it contains, and which copies of it are known.

    Attributes
    ----------
    folder : str
        The name of the data set's folder, which is in the folder of all data sets.
    parts : tuple of str
        The names of the data set's files or folders. The last of them is the test set.
    labels : tuple of bytes
        The keys under which a file stores labels. The labels under the last key are the classes to learn.
    classes : int
        The number of classes.
    shape : tuple of int
        The height, width and number of channels of an image.
    variants : dict of tuples
        The known copies, by name. For each copy, the tuple has the SHA-1 of every array from `read_parts`.
    url, md5 : str
        The address and the MD5 checksum of the archive. They are empty if there is nothing to download.
    images : tuple of int
        The numbers of training and test images if the parts are folders of JPEG files, else (0, 0).
    """

    folder: str
    parts: tuple[str, ...]
    labels: tuple[bytes, ...]
    classes: int
    shape: tuple[int, int, int]
    variants: dict[str, tuple[str, ...]]
    url: str = ""
    md5: str = ""
    images: tuple[int, int] = (0, 0)

    @property
    def in_files(self) -> bool:
        """Whether every image is stored in a separate file."""
        return self.images != (0, 0)


def _shape(name: str, channels: int = 3) -> tuple[int, int, int]:
    return SIDES[name], SIDES[name], channels


# The MD5 sums of the archives are from https://www.cs.toronto.edu/~kriz/cifar.html. The SHA-1 sums of the
# official arrays are the sums of the official binary version, as published by Apache MXNet
# (python/mxnet/gluon/data/vision/datasets.py). 'approximate-test-20' is a copy in which 20 test images
# (19 ships, 1 horse) have the right labels but approximate pixels. All other images in it are official, so
# the test accuracies on the two copies differ by at most 0.2 percentage points.
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
        _shape("cifar10"),
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
        _shape("cifar100"),
        {
            "official": (
                "e207cd2e05b73b1393c74c7f5e7bea451d63e08e",
                "8fb6623e830365ff53cf14adec797474f5478006",
            )
        },
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
    "tinyimagenet": Source(
        "tiny-imagenet-200",
        ("train", "val"),
        (),
        200,
        _shape("tinyimagenet"),
        {},
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        (100_000, 10_000),
    ),
    "imagenet": Source(
        "imagenet", ("train", "val"), (), 1000, _shape("imagenet"), {}, images=(1_281_167, 50_000)
    ),
    # scikit-learn's file is the test set of UCI's optdigits. It has not changed since the first release.
    "digits": Source(
        "",
        ("digits",),
        (b"labels",),
        10,
        _shape("digits", 1),
        {"scikit-learn": ("bc428fba04444bed9a9489170eb9b3003d88bdd9",)},
    ),
}


def folder() -> Path:
    """Return the folder that holds all data sets.

    Returns
    -------
    Path
        The folder named by SIGNFLOW_DATA, or else a folder in the user's cache.
    """
    if os.environ.get("SIGNFLOW_DATA"):
        return Path(os.environ["SIGNFLOW_DATA"]).expanduser()
    import pooch

    return Path(pooch.os_cache("signflow"))


def verify(name: str) -> str:
    """Find out which variant of a data set this machine has.

    Parameters
    ----------
    name : str
        A key of `SOURCES`, for a data set that is stored as arrays, not as folders of images.

    Returns
    -------
    str
        A key of the source's `variants`, or 'unknown'.

    Raises
    ------
    ValueError
        If a file is missing or damaged.
    """
    return variant(name, sums(read_parts(name)))


def check_files(name: str) -> None:
    """Check that all files of a data set exist, without reading them.

    Parameters
    ----------
    name : str
        A key of `SOURCES`, for a data set that is stored as arrays, not as folders of images.

    Raises
    ------
    ValueError
        If a file is missing.
    """
    source = SOURCES[name]
    place = folder() / source.folder
    for part in source.parts if source.url else ():
        if not (place / part).is_file():
            raise ValueError(
                f"{name} must be in '{place}', but '{part}' is missing; run `deepexp data fetch {name}` or "
                f"set SIGNFLOW_DATA to the folder that holds {source.folder}"
            )


def read_parts(name: str) -> list[np.ndarray]:
    """Read each part of a data set as a uint8 array that has one row for each image.

    As in the official binary version of CIFAR, a row has the labels first, and then the pixels channel by
    channel.
    """
    source = SOURCES[name]
    if name == "digits":
        rows = np.loadtxt(_digits(), np.uint8, delimiter=",")
        return [np.roll(rows, 1, axis=1)]  # scikit-learn's file has the label last
    check_files(name)
    return [_read_batch(folder() / source.folder / part, source) for part in source.parts]


def _digits() -> Path:
    """Find the file that scikit-learn's load_digits reads, without importing scikit-learn.

    The import would take as long as training on the digits.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"


def _read_batch(path: Path, source: Source) -> np.ndarray:
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        labels = [np.asarray(batch[key], np.uint8) for key in source.labels]
        rows = np.empty((len(labels[0]), len(labels) + np.prod(source.shape)), np.uint8)
        rows[:, : len(labels)], rows[:, len(labels) :] = np.column_stack(labels), batch[b"data"]
        return rows
    except Exception as error:  # loading a damaged pickle can raise any exception
        raise ValueError(
            f"'{path}' must be an official python batch, but reading failed: {' '.join(str(error).split())}; "
            "delete it and fetch it again"
        ) from None


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds only numpy arrays, so that no file can run code when it is loaded."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object with this name if a pickled array needs it; refuse all other names."""
        module = module.replace("numpy.core", "numpy._core")
        allowed = (
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        )
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it loads {module}.{name}, which no batch of images needs")
        return super().find_class(module, name)


def sums(parts: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Return the SHA-1 of every part."""
    return tuple(hashlib.sha1(np.ascontiguousarray(part).data).hexdigest() for part in parts)


def variant(name: str, sums: tuple[str, ...]) -> str:
    """Return the name of the known copy whose parts have these sums, or 'unknown' if there is none."""
    return next((copy for copy, known in SOURCES[name].variants.items() if known == sums), "unknown")
