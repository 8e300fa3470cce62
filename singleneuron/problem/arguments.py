"""Argument checks, with messages that state what must hold."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def integer_in_range(name: str, value: Any, least: int, most: float = np.inf) -> int:
    """Return `value` as an int after checking that it is an integer from `least` to `most`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        An int or a numpy integer; a bool is rejected.
    least, most : float
        Bounds, both inclusive.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ValueError
        If `value` is not an integer or is out of range; the message shows the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        bound = f">= {least}" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {bound}, but is {value!r}")
    return int(value)


def number(
    name: str, value: Any, *, least: float = -np.inf, finite: bool = True, open_end: bool = False
) -> float:
    """Return `value` as a float after checking that it is a number >= `least`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        A Python or numpy number; bools and NaN are rejected.
    least : float
        Lower bound.
    finite : bool
        Whether to reject infinity.
    open_end : bool
        Whether to reject `least` itself.

    Returns
    -------
    float
        The value.

    Raises
    ------
    ValueError
        If `value` is not such a number; the message shows the value.
    """
    kinds = int | float | np.integer | np.floating
    ok = isinstance(value, kinds) and not isinstance(value, bool) and not np.isnan(value)
    ok = ok and (value > least if open_end else value >= least) and (not finite or bool(np.isfinite(value)))
    if not ok:
        bound = f" {'>' if open_end else '>='} {least:g}" if least > -np.inf else ""
        raise ValueError(f"{name} must be a {'finite ' if finite else ''}number{bound}, but is {value!r}")
    return float(value)


def finite_array(name: str, value: ArrayLike) -> Array:
    """Copy `value` into a float64 array, rejecting NaN and infinity.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        Real numbers, of any shape.

    Returns
    -------
    ndarray of float64
        A copy in C order, of the same shape.

    Raises
    ------
    ValueError
        If `value` is ragged, not real, or not finite. The message names the first entry that is not finite.
    """
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, but its entries are {given.dtype.name}")
    array = np.array(given, dtype=np.float64, order="C")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} must be finite, but {name}{list(where)} is {array[where]}; remove that entry"
        )
    return array


def freeze(instance: object, **arrays: Array | None) -> None:
    """Make `arrays` read-only and set them as attributes of `instance`, a frozen dataclass."""
    for name, array in arrays.items():
        if array is not None:
            array.flags.writeable = False
        object.__setattr__(instance, name, array)
