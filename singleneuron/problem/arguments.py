"""Checks of arguments, with messages that say what must hold."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def integer_in_range(name: str, value: Any, least: int, most: float = np.inf) -> int:
    """Return `value` as an int from `least` to `most`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        An int or a numpy integer; a bool is refused.
    least, most : float
        Both bounds are allowed values.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ValueError
        If `value` is no integer or out of range; the message says what was given.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        bound = f">= {least}" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {bound}, but is {value!r}")
    return int(value)


def number(
    name: str, value: Any, *, least: float = -np.inf, finite: bool = True, open_end: bool = False
) -> float:
    """Return `value` as a float that is at least `least`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        A number of Python or numpy; bools and NaN are refused.
    least : float
        Lower bound.
    finite : bool
        Refuse infinity.
    open_end : bool
        Refuse `least` itself.

    Returns
    -------
    float
        The value.

    Raises
    ------
    ValueError
        If `value` is no such number; the message says what was given.
    """
    kinds = int | float | np.integer | np.floating
    ok = isinstance(value, kinds) and not isinstance(value, bool) and not np.isnan(value)
    ok = ok and (value > least if open_end else value >= least) and (not finite or bool(np.isfinite(value)))
    if not ok:
        bound = f" {'>' if open_end else '>='} {least:g}" if least > -np.inf else ""
        raise ValueError(f"{name} must be a {'finite ' if finite else ''}number{bound}, but is {value!r}")
    return float(value)


def finite_array(name: str, value: ArrayLike) -> Array:
    """Copy `value` into a float64 array without NaN or infinity.

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
        If `value` is ragged, not real, or not finite; the message names the first bad entry.
    """
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, but {error}") from None
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
    """Set read-only arrays as attributes of a frozen dataclass."""
    for name, array in arrays.items():
        if array is not None:
            array.flags.writeable = False
        object.__setattr__(instance, name, array)
