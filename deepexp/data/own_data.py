"""Load a user's own images as arrays, from a function that an import path names.

If `data.dataset` is "mypkg.mymodule:function", the images are what `function()` returns. It must return
`(train_images, train_labels), (test_images, test_labels)`. Images are uint8 arrays (n, H, H, C). Labels are
integer arrays (n,) that number the classes from 0.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from deepexp.config import import_paths
from deepexp.config.sections import Data
from deepexp.data.images import Images

_PARTS = ("train", "test")


def load(config: Data) -> tuple[Images, Images, int, str]:
    """Call the user's function and check what it returns.

    Parameters
    ----------
    config : Data
        The settings, of which `dataset` and `code` are used.

    Returns
    -------
    train, test : Images
        The images.
    classes : int
        The number of classes.
    digest : str
        The SHA-1 of all arrays and their shapes.

    Raises
    ------
    ValueError
        The function fails, or returns something other than valid images and labels.
    """
    must = f"data.dataset = '{config.dataset}' must return"
    found = import_paths.call("data.dataset", config.dataset, config.code)
    if not (_pair(found) and all(map(_pair, found))):
        raise ValueError(
            f"{must} (train_images, train_labels), (test_images, test_labels), got {_said(found)}"
        )
    parts = [_checked(must, name, *part) for name, part in zip(_PARTS, found, strict=True)]
    (train, train_labels), (test, test_labels) = parts
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"{must} training and test images of the same shape, got {train.shape[1:]} and {test.shape[1:]}"
        )
    seen, classes = np.unique(train_labels), int(train_labels.max()) + 1
    if len(seen) < max(2, classes) or int(seen[0]) < 0:
        raise ValueError(
            f"{must} training labels 0, 1, ..., with at least two classes and at least one image of each, "
            f"got {len(seen):,} classes from {seen[0]} to {seen[-1]}"
        )
    if not 0 <= test_labels.min() <= test_labels.max() < classes:
        raise ValueError(
            f"{must} test labels from 0 to {classes - 1}, as in training, got {test_labels.min()} to "
            f"{test_labels.max()}"
        )
    digest = hashlib.sha1()
    for array in (train, train_labels, test, test_labels):
        digest.update(f"{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    images = [Images(torch.from_numpy(x.copy()), torch.from_numpy(y)) for x, y in parts]
    return images[0], images[1], classes, digest.hexdigest()


def _pair(found: Any) -> bool:
    return isinstance(found, tuple | list) and len(found) == 2


def _said(found: Any) -> str:
    """Describe a value in a few words, for an error message."""
    if isinstance(found, tuple | list):
        return f"{type(found).__name__} of length {len(found)}"
    return f"an array {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__


def _checked(must: str, part: str, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return images and int64 labels as arrays; raise ValueError if their types or shapes are wrong."""
    x, y = np.asarray(images), np.asarray(labels)
    if x.dtype != np.uint8 or x.ndim != 4 or 0 in x.shape or x.shape[1] != x.shape[2]:
        raise ValueError(
            f"{must} square {part} images (n, H, H, C) of uint8, got {x.dtype} of shape {x.shape}"
        )
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise ValueError(
            f"{must} one integer label for each of the {len(x):,} {part} images, got {y.dtype} of shape "
            f"{y.shape}"
        )
    return x, y.astype(np.int64)
