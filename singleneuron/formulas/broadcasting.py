"""Arguments of the closed forms: broadcast, checked and flattened."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from singleneuron.kernels.compiling import routine

Array = NDArray[np.float64]


@routine
def broadcast_at(values: Array, i: int) -> float:
    """Entry i of an array, or its only one."""
    return values[i] if values.size > 1 else values[0]


def flattened(*arrays: ArrayLike, whole: int = 1) -> tuple[tuple[int, ...], list[Array]]:
    """The common shape of float64 arrays, and each of them broadcast to it and flattened.

    After the first `whole` of them, those that are one number stay so: `broadcast_at` takes it for all.
    """
    values = [np.asarray(array, dtype=np.float64) for array in arrays]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    flat = []
    for i, value in enumerate(values):
        if i >= whole and value.size == 1:
            value = value.reshape(1)
        elif value.shape != shape:
            value = np.broadcast_to(value, shape)
        # numba would compile every mixture of read-only and writable arguments anew: those are copied.
        flat.append((value if value.flags.carray else np.array(value)).reshape(-1))
    return shape, flat


def check_nonnegative_time(t: ArrayLike) -> None:
    """ValueError for a time below 0."""
    if not np.all(np.asarray(t) >= 0):
        raise ValueError(f"t must be >= 0, but its least entry is {np.min(t):g}")


def check_balanced(a: Array, rho: Array) -> None:
    """ValueError, naming the start, where |a| is not |w|."""
    # Wide enough for states that were integrated: this catches wrong arguments, not rounding.
    wrong = np.flatnonzero(np.abs(np.abs(a) - rho) > 1e-6 * rho + 1e-300)
    if wrong.size:
        i = wrong[0]
        raise ValueError(
            f"balanced starts must have |a| = |w|, but start {i} has a = {a[i]} and |w| = {rho[i]}"
        )
