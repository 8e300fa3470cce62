"""Gradient descent on the factors of Sign-In: full-batch, with a fixed learning rate and phi'(0) = 0.

Every weight is a product theta = m u. With g = dL/dtheta, a step is m -= rate u g, u -= rate m g, so that
theta -= rate S g - rate^2 g^2 theta, where S = m^2 + u^2: to first order, a step along the Sign-In flow.
However, beta = m^2 - u^2 becomes beta (1 - rate^2 g^2). A reset restores beta and leaves theta unchanged:
m = sqrt((beta + S)/2) and u = theta/m, with S = sqrt(beta^2 + 4 theta^2).
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.descent import BLOCKS, HUGE, SETTLED, make_outputs
from singleneuron.kernels.compiling import kernel, routine, template
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.gradients import population_gradient, sample_gradient
from singleneuron.kernels.philox import normals, seed_word
from singleneuron.kernels.vectors import dot, put
from singleneuron.problem.arguments import Array
from singleneuron.problem.status import DEAD_RATIO, TINY_NORM


@routine
def factorize(theta, betas, m, u):
    """Set m and u to the factors of theta = (a, w), with m^2 - u^2 = beta; betas = (beta_a, beta_w)."""
    for i in range(theta.size):
        beta = betas[0] if i == 0 else betas[1]
        m[i] = math.sqrt(0.5 * (beta + math.hypot(beta, 2.0 * theta[i])))
        u[i] = theta[i] / m[i]


@routine
def move(m, u, gradient, rate, theta):
    """Step m and u, and set theta to m u; return whether all are finite, and whether m or u changed."""
    finite, moved = True, False
    for i in range(theta.size):
        pull = rate * gradient[i]
        m1, u1 = m[i] - pull * u[i], u[i] - pull * m[i]
        moved = moved or m1 != m[i] or u1 != u[i]
        m[i], u[i], theta[i] = m1, u1, m1 * u1
        # `<= HUGE` is false for NaN.
        finite = finite and abs(m1) + abs(u1) <= HUGE and abs(theta[i]) <= HUGE
    return finite, moved


@template
def descend(look, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work):
    """Descend from theta, which is set to the end state; return why it ended, and the step.

    ``look(problem, theta, betas, done, tolerance, gradient)`` fills the gradient. It returns whether theta is
    within tolerance, why a trajectory to the limit ends here (END if it goes on), and whether the gradient
    depends on nothing but theta. If reset_every = 0, m and u are set only at the start.
    """
    m, u, gradient, then = work
    filled, since, done, still = 0, -1, 0, 0
    while True:
        if done == 0 or (reset_every > 0 and done % reset_every == 0):
            factorize(theta, betas, m, u)
        near, reached, steady = look(problem, theta, betas, done, tolerance, gradient)
        since = (done if since < 0 else since) if near else -1
        why = reached if limit else END
        while filled < steps_at.size and steps_at[filled] == done:
            put(path[filled], theta)
            filled += 1
        if why != END or filled == steps_at.size:
            break
        finite, moved = move(m, u, gradient, rate, then)
        if not finite:
            why = FAILED
            break
        # A reset changes m and u, so a trajectory at rest must also stay at rest after a reset.
        still = still + 1 if steady and not moved else 0
        if still > reset_every:
            why = CERTAIN if limit else END
            break
        put(theta, then)
        done += 1
    for index in range(filled, steps_at.size):
        put(path[index], theta)
    return why, since if since >= 0 else done


@routine
def is_dead(theta, rho, betas):
    """Return whether a < 0 and w is negligible, both in its norm rho and in its distances from 0."""
    if rho > TINY_NORM or theta[0] > -DEAD_RATIO * rho:
        return False
    lead = 0.0
    for i in range(theta.size):
        beta, size = betas[0] if i == 0 else betas[1], 2.0 * abs(theta[i])
        distance = size * (size / (math.hypot(beta, size) + beta))
        lead += distance if i == 0 else -DEAD_RATIO * distance
    return lead > 0.0


@routine
def look_population(problem, theta, betas, done, tolerance, gradient):
    """Examine a state on the population; `problem` is the unit vector along mask * v, and nu = |mask * v|."""
    target, nu = problem
    w, dw = theta[1:], gradient[1:]
    p = dot(w, target)
    for i in range(w.size):
        dw[i] = w[i] - p * target[i]
    q = math.sqrt(dot(dw, dw))
    gradient[0], dp, dq, angle = population_gradient(theta[0], p, q, nu)
    share = dq / q if q > 0.0 else 0.0
    for i in range(w.size):
        dw[i] = dp * target[i] + share * dw[i]
    rho = math.hypot(p, q)
    near = nu == 1.0 and angle <= tolerance and abs(theta[0] * rho - 1.0) <= tolerance
    return near, CONVERGED if near else EVENT if is_dead(theta, rho, betas) else END, True


@routine
def look_samples(problem, theta, betas, done, tolerance, gradient):
    """Examine a state on samples, with new noise on their labels."""
    x, xt, y, noise, z, label_noise, seed, trajectory = problem
    if label_noise > 0.0:
        normals(seed, trajectory, done, label_noise, noise)
    gradient[0] = sample_gradient(x, xt, y, noise, theta[0], theta[1:], z, gradient[1:])
    size = math.sqrt(dot(gradient, gradient))
    near = label_noise == 0.0 and size <= tolerance
    # A neuron that no sample activates never moves again, whatever the labels.
    steady = label_noise == 0.0 or np.max(z) <= 0.0
    return near, CONVERGED if near and size <= SETTLED * tolerance else END, steady


@routine
def follow_population(problem, theta, betas, options, path, work):
    """Follow one trajectory on the population; return as `descend` does."""
    steps_at, rate, reset_every, limit, tolerance = options
    return descend(
        look_population, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work
    )


@routine
def follow_samples(problem, theta, betas, options, path, work):
    """Follow one trajectory on samples; return as `descend` does."""
    steps_at, rate, reset_every, limit, tolerance = options
    return descend(
        look_samples, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work
    )


@kernel(parallel=True)
def _descend_population(target, nu, betas, options, path, end, reason, step):
    """Descend from every start, given in `end`."""
    blocks = min(end.shape[0], BLOCKS)
    for block in prange(blocks):
        work = np.empty((4, end.shape[1]))
        for b in range(block, end.shape[0], blocks):
            reason[b], step[b] = follow_population((target, nu), end[b], betas, options, path[b], work)


@kernel(parallel=True)
def _descend_samples(x, xt, y, label_noise, seed, trajectory, betas, options, path, end, reason, step):
    """Descend from every start, given in `end`."""
    blocks = min(end.shape[0], BLOCKS)
    for block in prange(blocks):
        work, noise, z = np.empty((4, end.shape[1])), np.zeros(y.size), np.empty(y.size)
        for b in range(block, end.shape[0], blocks):
            problem = x, xt, y, noise, z, label_noise, seed, trajectory[b]
            reason[b], step[b] = follow_samples(problem, end[b], betas, options, path[b], work)


def _prepare(a: Array, w: Array, steps_at: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple]:
    """Return the checked steps, and the outputs of `make_outputs` with the end states set to the starts."""
    steps_at, outputs = make_outputs(len(w), steps_at, 1 + np.shape(w)[1])
    outputs[1][:, 0], outputs[1][:, 1:] = a, w
    return steps_at, outputs


def descend_population(
    a: Array,
    w: Array,
    v: Array,
    overlap: float,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    beta_a: float,
    beta_w: float,
    reset_every: int | None = None,
    tolerance: float,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on the factors of Sign-In, on the population loss.

    To train under a mask, pass only the coordinates of w and of v that it keeps. A trajectory that would grow
    beyond HUGE ends as FAILED, in its last state below HUGE.

    Parameters
    ----------
    a, w : Array
        (B,) and (B, d) starts.
    v : Array
        (d,) the unit target in the coordinates of w, or what the mask keeps of it.
    overlap : float
        |v|, exactly 1 if it is the whole target (`problem.state.unit_overlap`).
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    beta_a, beta_w : float
        m^2 - u^2 of `a`, and of every coordinate of w, at the start and after a reset; > 0.
    reset_every : int | None
        Reset m and u after every `reset_every` steps; None: set them only at the start.
    tolerance : float
        A state with max(|a rho - 1|, theta) up to this counts as having reached the target.
    limit : bool
        End a trajectory as soon as it is within tolerance (CONVERGED), is dead (EVENT), or no longer moves
        (CERTAIN).

    Returns
    -------
    path, end : Array
        States (a, w): (B, T, 1 + d) at the steps to record, and (B, 1 + d) at the end.
    reason, step : NDArray[np.int64]
        (B,) each: why each trajectory ended, and the step since which it was within tolerance, or its last
        step if it was not.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).
    """
    steps_at, outputs = _prepare(a, w, steps_at)
    norm = float(np.linalg.norm(v))
    target = np.divide(v, norm, out=np.zeros(len(v)), where=norm > 0)
    betas = float(beta_a), float(beta_w)
    options = steps_at, float(learning_rate), reset_every or 0, limit, float(tolerance)
    _descend_population(target, float(overlap), betas, options, *outputs)
    return outputs


def descend_sample(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    steps_at: NDArray[np.int64],
    learning_rate: float,
    *,
    beta_a: float,
    beta_w: float,
    reset_every: int | None = None,
    tolerance: float,
    label_noise: float = 0.0,
    seed: int = 0,
    trajectory: NDArray[np.int64] | None = None,
    limit: bool = False,
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Run gradient descent on the factors of Sign-In, on samples.

    Parameters
    ----------
    x, y : Array
        (n, d) inputs and (n,) labels.
    a, w : Array
        (B,) and (B, d) starts.
    steps_at, learning_rate, beta_a, beta_w, reset_every
        As in `descend_population`.
    tolerance, label_noise, seed, trajectory, limit
        As in `flows.descent.descend_sample`, with the same noise for the same seed.

    Returns
    -------
    path, end : Array
        States (a, w): (B, T, 1 + d) at the steps to record, and (B, 1 + d) at the end.
    reason, step : NDArray[np.int64]
        As in `descend_population`.
    """
    x, labels = np.array(x, dtype=np.float64, order="C"), np.array(y, dtype=np.float64)
    steps_at, outputs = _prepare(a, w, steps_at)
    index = np.arange(len(w)) if trajectory is None else np.ascontiguousarray(trajectory, dtype=np.int64)
    noise = float(label_noise), seed_word(seed), index
    betas = float(beta_a), float(beta_w)
    options = steps_at, float(learning_rate), reset_every or 0, limit, float(tolerance)
    _descend_samples(x, x.T.copy(), labels, *noise, betas, options, *outputs)
    return outputs
