"""Full-batch gradient descent with a fixed learning rate and the convention phi'(0) = 0.

The state is (a, p, q) on the population, and (a, w) on samples. The labels of samples may get new noise at
every step.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.kernels.compiling import kernel
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.gradients import population_gradient, sample_gradient
from singleneuron.kernels.philox import normals, seed_word
from singleneuron.kernels.vectors import put
from singleneuron.problem.arguments import Array
from singleneuron.problem.status import DEAD_RATIO, TINY_NORM

BLOCKS = 64
"""The largest number of blocks into which a batch is split for the threads."""
HUGE = 1e30
"""A state beyond this size has diverged. Losses and squared gradients of smaller states do not overflow."""
SETTLED = 1e-3
"""With `limit`, descent on samples stops once |grad L| is at most SETTLED times the tolerance."""


@kernel(parallel=True)
def _descend_population(start, nu, steps_at, rate, limit, tolerance, path, end, reason, step):
    """Descend from every start (a, p, q).

    `since` is the step since which the state has been within tolerance, or -1 if it is not.
    """
    blocks = min(start.shape[0], BLOCKS)
    for block in prange(blocks):
        for b in range(block, start.shape[0], blocks):
            a, p, q = start[b, 0], start[b, 1], start[b, 2]
            filled, since, done, why = 0, -1, 0, END
            while True:
                da, dp, dq, theta = population_gradient(a, p, q, nu[b])
                rho = math.hypot(p, q)
                if nu[b] == 1.0 and theta <= tolerance and abs(a * rho - 1.0) <= tolerance:
                    since = done if since < 0 else since
                    why = CONVERGED if limit else why
                else:
                    since = -1
                    if limit and a <= -DEAD_RATIO * rho and rho <= TINY_NORM:
                        why = EVENT
                while filled < steps_at.size and steps_at[filled] == done:
                    path[b, filled, 0], path[b, filled, 1], path[b, filled, 2] = a, p, abs(q)
                    filled += 1
                if why != END or filled == steps_at.size:
                    break
                a1, p1, q1 = a - rate * da, p - rate * dp, q - rate * dq
                # `not ... <= HUGE` rather than `> HUGE`, so that NaN counts as diverged.
                if not abs(a1) + abs(p1) + abs(q1) <= HUGE:
                    why = FAILED
                    break
                if a1 == a and p1 == p and q1 == q:
                    why = CERTAIN if limit else END
                    break
                a, p, q = a1, p1, q1
                done += 1
            end[b, 0], end[b, 1], end[b, 2] = a, p, abs(q)
            for index in range(filled, steps_at.size):
                put(path[b, index], end[b])
            reason[b] = why
            step[b] = since if since >= 0 else done


@kernel(parallel=True)
def _descend_sample(
    x, xt, y, start, steps_at, rate, label_noise, seed, trajectory, limit, tolerance, path, end, reason, step
):
    # This function is long because routines for the parts of a step would all need the scratch arrays of the
    # block as arguments.
    n, d = x.shape
    blocks = min(start.shape[0], BLOCKS)
    for block in prange(blocks):
        z, noise = np.empty(n), np.zeros(n)
        dw = np.empty(d)
        now, then = np.empty(1 + d), np.empty(1 + d)
        for b in range(block, start.shape[0], blocks):
            put(now, start[b])
            filled, since, done, why = 0, -1, 0, END
            while True:
                if label_noise > 0.0:
                    normals(seed, trajectory[b], done, label_noise, noise)
                da = sample_gradient(x, xt, y, noise, now[0], now[1:], z, dw)
                square = da * da
                for k in range(d):
                    square += dw[k] * dw[k]
                if label_noise == 0.0 and square <= tolerance * tolerance:
                    since = done if since < 0 else since
                    if limit and square <= (SETTLED * tolerance) ** 2:
                        why = CONVERGED
                else:
                    since = -1
                while filled < steps_at.size and steps_at[filled] == done:
                    put(path[b, filled], now)
                    filled += 1
                if why != END or filled == steps_at.size:
                    break
                then[0] = now[0] - rate * da
                finite, moved = abs(then[0]) <= HUGE, then[0] != now[0]
                for k in range(d):
                    then[1 + k] = now[1 + k] - rate * dw[k]
                    finite = finite and abs(then[1 + k]) <= HUGE
                    moved = moved or then[1 + k] != now[1 + k]
                if not finite:
                    why = FAILED
                    break
                # A neuron that no sample activates never moves again, whatever the labels.
                if not moved and (label_noise == 0.0 or np.max(z) <= 0.0):
                    why = CERTAIN if limit else END
                    break
                put(now, then)
                done += 1
            put(end[b], now)
            for index in range(filled, steps_at.size):
                put(path[b, index], now)
            reason[b] = why
            step[b] = since if since >= 0 else done


def make_outputs(size: int, steps_at: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], tuple]:
    """Check the step counts, and allocate the arrays that a descent returns.

    Parameters
    ----------
    size, width : int
        `size` is the number B of trajectories, and `width` is the number D of weights in a state.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state.

    Returns
    -------
    steps_at : NDArray[np.int64]
        A copy of the step counts.
    outputs : tuple
        Uninitialised arrays for the path (B, T, D), the end states (B, D), the reasons (B,) and the steps
        (B,).

    Raises
    ------
    ValueError
        If `steps_at` is empty, decreases or has a negative entry.
    """
    steps_at = np.array(steps_at, dtype=np.int64)
    if steps_at.ndim != 1 or steps_at.size == 0 or steps_at[0] < 0 or np.any(np.diff(steps_at) < 0):
        raise ValueError(f"steps_at must be step counts >= 0 that never decrease, but is {steps_at}")
    path, end = np.empty((size, steps_at.size, width)), np.empty((size, width))
    return steps_at, (path, end, np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64))


def descend_population(
    a: Array,
    p: Array,
    q: Array,
    nu: Array,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    tolerance: float,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on the population loss from reduced starts.

    A trajectory that would grow beyond HUGE ends as FAILED, in its last state below HUGE. Internally, q has a
    sign, because a long step may carry w across the line along v. The outputs contain |q|.

    Parameters
    ----------
    a, p, q : Array
        (B,) starts. p is the component of w along mask * v, and q is the norm of the rest of w.
    nu : Array
        (B,) |mask * v|, so that cos(theta) = nu p/rho.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    tolerance : float
        Largest |a rho - 1| and theta with which a state counts as having reached the target.
    limit : bool
        End a trajectory as soon as it is within tolerance (CONVERGED), is dead (EVENT), or no longer moves
        (CERTAIN).

    Returns
    -------
    path, end : Array
        `path` (B, T, 3) holds the states (a, p, q) at `steps_at`, and `end` (B, 3) holds the last states.
    reason, step : NDArray[np.int64]
        `reason` (B,) says why each trajectory ended, as a code of `kernels.dop853`. `step` (B,) is the step
        since which the trajectory was within tolerance, or its last step if it did not end within tolerance.
    """
    start = np.stack(np.broadcast_arrays(a, p, q), axis=-1).astype(np.float64)
    steps_at, outputs = make_outputs(len(start), steps_at, 3)
    # Always copy: a read-only view has another type, for which numba would compile the kernel again.
    overlap = np.array(np.broadcast_to(nu, len(start)), dtype=np.float64)
    _descend_population(start, overlap, steps_at, float(learning_rate), limit, float(tolerance), *outputs)
    return outputs


def descend_sample(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    tolerance: float,
    label_noise: float = 0.0,
    seed: int = 0,
    trajectory: NDArray[np.int64] | None = None,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on samples.

    Without label noise, a state is within tolerance if |grad L| <= tolerance. If the minimum lies on a kink
    of L, |grad L| never becomes this small. A trajectory that would grow beyond HUGE ends as FAILED, in its
    last state below HUGE.

    Parameters
    ----------
    x, y : Array
        Inputs (n, d) and labels (n,).
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    tolerance : float
        Largest |grad L| with which a state counts as within tolerance.
    label_noise : float
        Standard deviation of the Gaussian noise that is drawn anew for every label at every step. The noise
        depends only on the seed, the trajectory, the step and the sample, not on chunks, threads or order.
    seed : int
        Seed of the label noise.
    trajectory : NDArray[np.int64] | None
        (B,) indices of the trajectories, which determine their noise; 0 to B - 1 by default.
    limit : bool
        End a trajectory once |grad L| <= SETTLED * tolerance (CONVERGED), or once no further step can change
        it (CERTAIN).

    Returns
    -------
    path, end : Array
        `path` (B, T, 1 + d) holds the states (a, w) at `steps_at`, and `end` (B, 1 + d) the last states.
    reason, step : NDArray[np.int64]
        As in `descend_population`.
    """
    x, labels = np.array(x, dtype=np.float64, order="C"), np.array(y, dtype=np.float64)
    start = np.concatenate([np.reshape(a, (-1, 1)), w], axis=1).astype(np.float64)
    steps_at, outputs = make_outputs(len(start), steps_at, start.shape[1])
    options = (
        float(learning_rate),
        float(label_noise),
        seed_word(seed),
        np.arange(len(start)) if trajectory is None else np.ascontiguousarray(trajectory, dtype=np.int64),
        limit,
        float(tolerance),
    )
    _descend_sample(x, x.T.copy(), labels, start, steps_at, *options, *outputs)
    return outputs
