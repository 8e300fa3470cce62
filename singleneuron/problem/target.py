"""The target, a unit vector v: by default with equal entries in its first coordinates, else as you choose."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array, finite_array, integer_in_range

UNIT = 1e-9
"""Largest difference between |v| and 1 that counts as rounding; v is then divided by its norm."""

NOTHING = 1e-12
"""Entries of v up to this size count as 0, and sizes that differ by no more than this count as equal."""


def target_vector(d: int, targets: int) -> Array:
    """Build v = (1, ..., 1, 0, ...)/sqrt(k) with k = `targets` ones.

    Parameters
    ----------
    d : int
        Number of coordinates.
    targets : int
        Number of coordinates that the target uses, at most d.

    Returns
    -------
    ndarray, shape (d,)
        The unit vector v.
    """
    v = np.zeros(d)
    v[:targets] = 1 / np.sqrt(targets)
    return v


def check_targets(targets: int, d: int) -> None:
    """Raise ValueError unless `targets` is an integer from 1 to d."""
    if integer_in_range("targets", targets, 1) > d:
        raise ValueError(f"targets must be <= d = {d}, but is {targets}")


def unit_target(v: ArrayLike, d: int, targets: int = 1) -> Array:
    """Check a target `v` that the user chose, and remove its rounding errors.

    Parameters
    ----------
    v : array_like, shape (d,)
        The target.
    d : int
        Number of coordinates.
    targets : int
        Expected number of entries that are not 0; the default 1 accepts any number.

    Returns
    -------
    ndarray, shape (d,)
        `v` divided by its norm, with tiny entries set to 0, and sizes made equal if they differ by rounding.

    Raises
    ------
    ValueError
        If the shape is wrong, |v| is not 1, or `targets` is neither 1 nor the number of entries that
        are not 0.
    """
    given = finite_array("v", v)
    if given.shape != (d,):
        raise ValueError(f"v must have d = {d} entries, but has shape {given.shape}")
    norm = float(np.linalg.norm(given))
    if abs(norm - 1) > UNIT:
        raise ValueError(f"v must be a unit vector, but |v| is {norm:.9g}; divide v by its norm")
    given = np.where(np.abs(given) <= NOTHING, 0.0, given / norm)
    count = np.count_nonzero(given)
    if targets not in (1, count):
        raise ValueError(f"v has {count} entries that are not 0, but targets = {targets}; leave targets out")
    size = 1 / np.sqrt(count)
    equal = np.all(np.abs(np.abs(given[given != 0]) - size) <= NOTHING)
    return np.where(given != 0, np.copysign(size, given), 0.0) if equal else given


def labels_of(target: Callable[[Array], ArrayLike], x: Array) -> Array:
    """Return the labels y = target(x) of inputs x (n, d); raise ValueError unless they have shape (n,)."""
    y = finite_array("y", target(x))
    if y.shape != (len(x),):
        raise ValueError(
            f"the target function must return one label for each row of x, shape ({len(x)},), but returned "
            f"shape {y.shape}"
        )
    return y
