"""Describe a data set for planning: the number, size, channels and classes of its images.

For a published data set, no arrays are read and no images are decoded. A user's own arrays are loaded to
count them. In a user's own folder, the first image is decoded if `data.size` is not set.
"""

from __future__ import annotations

import functools

from deepexp.config.sections import Data
from deepexp.data.catalogue import SOURCES

# The numbers of training and test images in the published data sets that are stored as arrays.
_ARRAYS = {"digits": (1_438, 359), "cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}


@functools.cache
def counts(data: Data) -> tuple[int, int]:
    """Return the numbers of training and test images, before `data.limit` and `data.validation` apply.

    The images on this machine are counted. The published numbers are used for a data set that is stored as
    arrays, and for image files that are missing. For missing files, they are scaled down in proportion to
    `data.classes`.

    Parameters
    ----------
    data : Data
        Which images to count.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        A user's own images cannot be read.
    """
    if data.dataset in _ARRAYS:
        return _ARRAYS[data.dataset]
    from deepexp.data.reading import read  # imported here, because torch takes seconds to load

    try:
        found = read(data)
        return len(found.train), len(found.test)
    except ValueError:
        source = SOURCES.get(data.dataset)
        if source is None:
            raise
        train, test = (count * (data.classes or source.classes) // source.classes for count in source.images)
        return train, test


@functools.cache
def kind(data: Data) -> tuple[int, int, int]:
    """Return the side of the images in pixels, their number of channels, and the number of classes.

    For a published data set, these are the published numbers, whatever `data.side` and `data.classes` are.

    Parameters
    ----------
    data : Data
        Which images to describe.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        A user's own images cannot be read.
    """
    source = SOURCES.get(data.dataset)
    if source is not None:
        return source.shape[0], source.shape[2], source.classes
    from deepexp.data.reading import read

    found = read(data)
    return found.shape[0], found.shape[2], found.classes
