"""Broadcast, flatten and check the arguments of the closed forms."""

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.kernels.compiling import routine
from singleneuron.problem.arguments import Array


@routine
def broadcast_at(values: Array, i: int) -> float:
    """Return `values[i]`, or the only entry of `values` if there is just one."""
    return values[i] if values.size > 1 else values[0]


def flattened(*arrays: ArrayLike, whole: int = 1) -> tuple[tuple[int, ...], list[Array]]:
    """Broadcast `arrays` to their common shape and flatten them; return the shape and the flat arrays.

    The first `whole` arrays are always expanded to the common shape. A later array that has only one entry is
    not expanded; `broadcast_at` then reads this entry for every i.
    """
    values = [np.asarray(array, dtype=np.float64) for array in arrays]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    flat = []
    for i, value in enumerate(values):
        if i >= whole and value.size == 1:
            value = value.reshape(1)
        elif value.shape != shape:
            value = np.broadcast_to(value, shape)
        # Copy read-only arrays: numba would recompile for every mix of read-only and writable arguments.
        flat.append((value if value.flags.carray else np.array(value)).reshape(-1))
    return shape, flat


def check_nonnegative_time(t: ArrayLike) -> None:
    """Raise a ValueError if a time is negative."""
    if not np.all(np.asarray(t) >= 0):
        raise ValueError(f"t must be >= 0, but its smallest entry is {np.min(t):g}")


def check_balanced(a: Array, rho: Array) -> None:
    """Raise a ValueError if |a| and |w| differ at some start; the message names the first one."""
    # The bound is loose, so that integrated states pass: the check is for wrong arguments, not for rounding.
    wrong = np.flatnonzero(np.abs(np.abs(a) - rho) > 1e-6 * rho + 1e-300)
    if wrong.size:
        i = wrong[0]
        raise ValueError(
            f"balanced starts must have |a| = |w|, but start {i} has a = {a[i]} and |w| = {rho[i]}"
        )
