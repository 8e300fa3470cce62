"""Describe a data set for planning: how many images it has, and of which kind.

The published data sets that are stored as arrays are not read for this, and no image file is opened.
"""

from __future__ import annotations

import functools

from deepexp.config.sections import Data
from deepexp.data.catalogue import SOURCES

# Numbers of training and test images.
_ARRAYS = {"digits": (1_438, 359), "cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}


@functools.cache
def counts(data: Data) -> tuple[int, int]:
    """Return the numbers of training and test images in this machine's copy, or else as published.

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
    """Return the side, the channels and the number of classes of the images.

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
