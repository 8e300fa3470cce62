"""Full-batch gradient descent with a fixed learning rate and phi'(0) = 0.

The state is (a, p, q) on the population, and (a, w) on samples, whose labels may get new noise at every step.
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
"""Largest number of parts into which a batch is split, to share it among threads."""
HUGE = 1e30
"""A state larger than this has diverged. Losses and squared gradients of smaller states do not overflow."""
SETTLED = 1e-3
"""With `limit`, descent on samples stops once |grad L| has fallen to this multiple of the tolerance."""


@kernel(parallel=True)
def _descend_population(start, nu, steps_at, rate, limit, tolerance, path, end, reason, step):
    """Descend from every start (a, p, q); `since` is the step since which it is within tolerance, or -1."""
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
                # `not ... <= HUGE` instead of `> HUGE`, so that NaN counts as diverged.
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
    # This function is long: routines for the parts of a step would all need the block's scratch arrays as
    # arguments.
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
    """Check the step counts, and allocate what a descent returns.

    Parameters
    ----------
    size, width : int
        The number B of trajectories, and the number D of weights in each.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state.

    Returns
    -------
    steps_at : NDArray[np.int64]
        A copy of the step counts.
    outputs : tuple
        Uninitialised arrays: path (B, T, D), end states (B, D), reasons (B,) and steps (B,).

    Raises
    ------
    ValueError
        If there are no step counts, or if they are negative or decrease.
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

    A trajectory that would grow beyond HUGE ends as FAILED, in its last state below HUGE. Internally q is
    signed, since a long step may carry w across the line along v; |q| is returned.

    Parameters
    ----------
    a, p, q : Array
        (B,) starts; p is the component of w along mask * v, q the norm of the rest.
    nu : Array
        (B,) |mask * v|, so that cos(theta) = nu p/rho.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    tolerance : float
        A state with max(|a rho - 1|, theta) up to this counts as having reached the target.
    limit : bool
        End a trajectory as soon as it is within tolerance (CONVERGED), is dead (EVENT), or no longer moves
        (CERTAIN).

    Returns
    -------
    path, end : Array
        States (a, p, q): (B, T, 3) at the steps to record, and (B, 3) at the end.
    reason, step : NDArray[np.int64]
        (B,) each: why each trajectory ended, and the step since which it was within tolerance, or its last
        step if it was not.
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

    Without label noise, a state is within tolerance if |grad L| <= tolerance. If the minimum lies on a kink,
    |grad L| never falls that far. A trajectory that would grow beyond HUGE ends as FAILED, in its last state
    below HUGE.

    Parameters
    ----------
    x, y : Array
        (n, d) inputs and (n,) labels.
    a, w : Array
        (B,) and (B, d) starts.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    tolerance : float
        A state with |grad L| up to this counts as within tolerance.
    label_noise : float
        Standard deviation of the Gaussian noise drawn anew for every label at every step. The noise depends
        only on (seed, trajectory, step, sample), not on chunks, threads or order.
    seed : int
        Seed of the label noise.
    trajectory : NDArray[np.int64] | None
        (B,) indices of the trajectories, on which their noise depends; 0 to B - 1 by default.
    limit : bool
        End a trajectory once |grad L| <= SETTLED * tolerance (CONVERGED), or once no further step can change
        it (CERTAIN).

    Returns
    -------
    path, end : Array
        States (a, w): (B, T, 1 + d) at the steps to record, and (B, 1 + d) at the end.
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
