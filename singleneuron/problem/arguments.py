"""Checks of arguments, with messages that say what must hold."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def integer(name: str, value: Any, least: int, most: float = np.inf) -> int:
    """`value` as an int from `least` to `most`; a ValueError that says what was given otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        bound = f">= {least}" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {bound}, but is {value!r}")
    return int(value)


def number(
    name: str, value: Any, *, least: float = -np.inf, finite: bool = True, open_end: bool = False
) -> float:
    """`value` as a float >= `least` (> with `open_end`); a ValueError otherwise."""
    kinds = int | float | np.integer | np.floating
    ok = isinstance(value, kinds) and not isinstance(value, bool) and not np.isnan(value)
    ok = ok and (value > least if open_end else value >= least) and (not finite or bool(np.isfinite(value)))
    if not ok:
        bound = f" {'>' if open_end else '>='} {least:g}" if least > -np.inf else ""
        raise ValueError(f"{name} must be a {'finite ' if finite else ''}number{bound}, but is {value!r}")
    return float(value)


def finite_array(name: str, value: ArrayLike) -> Array:
    """A copy of `value` as a float64 array without NaN or infinity; a ValueError otherwise."""
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
