"""Gradient descent on the factors m and u of every weight theta = m u, with resets of beta = m^2 - u^2.

A step moves m by -rate u g and u by -rate m g, where g = dL/dtheta; then theta = m u. It multiplies
m^2 - u^2 by 1 - (rate g)^2, so that beta fades; a reset sets m and u back to the given beta without changing
theta. The flow conserves beta, so that resets make no difference to it.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.descent import BLOCKS, HUGE, SETTLED, outputs, sample_gradient, word
from singleneuron.flows.sign_in.population_field import angle
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.philox import TWO_PI, normal_pair
from singleneuron.problem.arguments import Array
from singleneuron.problem.status import DEAD_RATIO, TINY_NORM


@routine
def reset(theta, betas, m, u):
    """Set m and u so that m u = theta and m^2 - u^2 = beta; betas are those of `a` and of w."""
    for i in range(theta.size):
        beta = betas[min(i, 1)]
        m[i] = math.sqrt(0.5 * (beta + math.hypot(beta, 2.0 * theta[i])))
        u[i] = theta[i] / m[i]


@routine
def advance(theta, m, u, gradient, rate):
    """Take a step from m and u; return (whether all stay below HUGE, whether any changes)."""
    finite, moved = True, False
    for i in range(theta.size):
        down = rate * gradient[i]
        m1, u1 = m[i] - down * u[i], u[i] - down * m[i]
        # `not ... <= HUGE` instead of `> HUGE`, so that NaN counts as diverged.
        finite = finite and abs(m1 * u1) <= HUGE
        moved = moved or m1 != m[i] or u1 != u[i]
    if finite and moved:
        for i in range(theta.size):
            down = rate * gradient[i]
            m[i], u[i] = m[i] - down * u[i], u[i] - down * m[i]
            theta[i] = m[i] * u[i]
    return finite, moved


@routine
def population_slope(theta, v, lost, gradient):
    """Fill `gradient` with dL/dtheta at theta = (a, w); return (|w|, angle to the target).

    At w = 0 the gradient is 0, since phi'(0) = 0.
    """
    a, along, square, norm = theta[0], 0.0, 0.0, 0.0
    for i in range(v.size):
        along += theta[1 + i] * v[i]
        square += v[i] * v[i]
    for i in range(v.size):
        norm = math.hypot(norm, theta[1 + i] - (along / square * v[i] if square > 0.0 else 0.0))
    if along == 0.0 and norm == 0.0:
        gradient[:] = 0.0
        return 0.0, 0.5 * math.pi
    along = along / math.sqrt(square) if square > 0.0 else 0.0
    rho, inverse, delta, sine, k = angle(along, norm, lost)
    gradient[0] = rho * (0.5 * a * rho - k)
    for i in range(v.size):
        gradient[1 + i] = a * (theta[1 + i] * (0.5 * a - sine * inverse / TWO_PI) - delta / TWO_PI * v[i])
    return rho, math.atan2(sine, math.sqrt(1.0 - lost) * along / rho)


@kernel(parallel=True)
def _descend_population(
    start, v, lost, betas, every, steps_at, rate, limit, tolerance, path, end, reason, step
):
    """Descend from every start (a, w); `since` is the step since which it is within tolerance, or -1."""
    blocks = min(start.shape[0], BLOCKS)
    for block in prange(blocks):
        theta, m, u, gradient = np.empty((4, start.shape[1]))
        for b in range(block, start.shape[0], blocks):
            theta[:] = start[b]
            reset(theta, betas, m, u)
            filled, since, done, why = 0, -1, 0, END
            while True:
                rho, away = population_slope(theta, v, lost, gradient)
                if lost == 0.0 and away <= tolerance and abs(theta[0] * rho - 1.0) <= tolerance:
                    since = done if since < 0 else since
                    why = CONVERGED if limit else why
                else:
                    since = -1
                    if limit and theta[0] <= -DEAD_RATIO * rho and rho <= TINY_NORM:
                        why = EVENT
                while filled < steps_at.size and steps_at[filled] == done:
                    path[b, filled] = theta
                    filled += 1
                if why != END or filled == steps_at.size:
                    break
                finite, moved = advance(theta, m, u, gradient, rate)
                if not finite:
                    why = FAILED
                    break
                if not moved:
                    why = CERTAIN if limit else END
                    break
                done += 1
                if every > 0 and done % every == 0:
                    reset(theta, betas, m, u)
            end[b] = theta
            for index in range(filled, steps_at.size):
                path[b, index] = theta
            reason[b] = why
            step[b] = since if since >= 0 else done


@kernel(parallel=True)
def _descend_sample(
    x, xt, y, start, betas, every, steps_at, rate, label_noise, seed, trajectory, limit, tolerance, path, end,
    reason, step,
):  # fmt: skip
    """Descend from every start (a, w) on samples x (n, d) with labels y (n,)."""
    n = x.shape[0]
    blocks = min(start.shape[0], BLOCKS)
    for block in prange(blocks):
        z, noise = np.empty(n), np.zeros(n)
        theta, m, u, gradient = np.empty((4, start.shape[1]))
        for b in range(block, start.shape[0], blocks):
            theta[:] = start[b]
            reset(theta, betas, m, u)
            filled, since, done, why = 0, -1, 0, END
            while True:
                if label_noise > 0.0:
                    for i in range(0, n, 2):
                        one, two = normal_pair(seed, trajectory[b], done, i // 2)
                        noise[i] = label_noise * one
                        if i + 1 < n:
                            noise[i + 1] = label_noise * two
                gradient[0] = sample_gradient(x, xt, y, noise, theta[0], theta[1:], z, gradient[1:])
                square = 0.0
                for k in range(gradient.size):
                    square += gradient[k] * gradient[k]
                if label_noise == 0.0 and square <= tolerance * tolerance:
                    since = done if since < 0 else since
                    if limit and square <= (SETTLED * tolerance) ** 2:
                        why = CONVERGED
                else:
                    since = -1
                while filled < steps_at.size and steps_at[filled] == done:
                    path[b, filled] = theta
                    filled += 1
                if why != END or filled == steps_at.size:
                    break
                finite, moved = advance(theta, m, u, gradient, rate)
                if not finite:
                    why = FAILED
                    break
                # A neuron that no sample activates never moves again, whatever the labels.
                if not moved and (label_noise == 0.0 or np.max(z) <= 0.0):
                    why = CERTAIN if limit else END
                    break
                done += 1
                if every > 0 and done % every == 0:
                    reset(theta, betas, m, u)
            end[b] = theta
            for index in range(filled, steps_at.size):
                path[b, index] = theta
            reason[b] = why
            step[b] = since if since >= 0 else done


def descend_population(
    a: Array,
    w: Array,
    v: Array,
    beta_a: float,
    beta_w: float,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    tolerance: float,
    reset_every: int | None = None,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on (m, u) and the population loss.

    Parameters
    ----------
    a, w : Array
        (B,) and (B, d) starts.
    v : Array
        (d,) the target, 0 where it is pruned; |v| <= 1.
    beta_a, beta_w : float
        m^2 - u^2 of `a` and of every w_i, at the start and after a reset.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    tolerance, limit
        As in `flows.descent.descend_population`.
    reset_every : int | None
        Number of steps between resets; None resets only at the start.

    Returns
    -------
    path, end : Array
        States (a, w): (B, T, 1 + d) at the steps to record, and (B, 1 + d) at the end.
    reason, step : NDArray[np.int64]
        As in `flows.descent.descend_population`.
    """
    start = np.column_stack([a, w]).astype(np.float64)
    steps_at, found = outputs(len(start), steps_at, start.shape[1])
    v = np.array(v, dtype=np.float64)
    missing = 1.0 - float(v @ v)
    lost = missing if missing > 1e-12 else 0.0  # a rounding error would replace the angle near pi
    _descend_population(
        start, v, lost, np.array([beta_a, beta_w], dtype=np.float64), reset_every or 0, steps_at,
        float(learning_rate), limit, float(tolerance), *found,
    )  # fmt: skip
    return found


def descend_sample(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    beta_a: float,
    beta_w: float,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    tolerance: float,
    reset_every: int | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    trajectory: NDArray[np.int64] | None = None,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on (m, u) and the loss of samples.

    Parameters
    ----------
    x, y : Array
        (n, d) inputs and (n,) labels.
    a, w, beta_a, beta_w, reset_every
        As in `descend_population`.
    steps_at, learning_rate, tolerance, label_noise, seed, trajectory, limit
        As in `flows.descent.descend_sample`; the same seed draws the same noise.

    Returns
    -------
    path, end : Array
        States (a, w): (B, T, 1 + d) at the steps to record, and (B, 1 + d) at the end.
    reason, step : NDArray[np.int64]
        As in `flows.descent.descend_sample`.
    """
    x, labels = np.array(x, dtype=np.float64, order="C"), np.array(y, dtype=np.float64)
    start = np.column_stack([a, w]).astype(np.float64)
    steps_at, found = outputs(len(start), steps_at, start.shape[1])
    which = np.arange(len(start)) if trajectory is None else np.array(trajectory, dtype=np.int64)
    _descend_sample(
        x, x.T.copy(), labels, start, np.array([beta_a, beta_w], dtype=np.float64), reset_every or 0,
        steps_at, float(learning_rate), float(label_noise), word(seed), which, limit, float(tolerance),
        *found,
    )  # fmt: skip
    return found
