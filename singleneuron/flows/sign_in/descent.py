"""Full-batch gradient descent on the factors of Sign-In, with a fixed learning rate and phi'(0) = 0.

Every weight is a product theta = m u. Let g = dL/dtheta and S = m^2 + u^2. A step subtracts rate u g from m,
and rate m g from u. It therefore subtracts rate S g - rate^2 g^2 theta from theta, which to first order is a
step along the Sign-In flow. However, it also changes beta = m^2 - u^2 to beta (1 - rate^2 g^2). A reset
restores beta and leaves theta unchanged: it sets m = sqrt((beta + S)/2) and u = theta/m, where
S = sqrt(beta^2 + 4 theta^2).
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
    """Set m and u so that theta = m u, and m^2 - u^2 is beta_a for a and beta_w for each entry of w."""
    for i in range(theta.size):
        beta = betas[0] if i == 0 else betas[1]
        m[i] = math.sqrt(0.5 * (beta + math.hypot(beta, 2.0 * theta[i])))
        u[i] = theta[i] / m[i]


@routine
def move(m, u, gradient, rate, theta):
    """Step m and u, and set theta to m u; return whether all stay below HUGE, and whether m or u changed."""
    finite, moved = True, False
    for i in range(theta.size):
        pull = rate * gradient[i]
        m1, u1 = m[i] - pull * u[i], u[i] - pull * m[i]
        moved = moved or m1 != m[i] or u1 != u[i]
        m[i], u[i], theta[i] = m1, u1, m1 * u1
        # `<= HUGE` is also false for NaN.
        finite = finite and abs(m1) + abs(u1) <= HUGE and abs(theta[i]) <= HUGE
    return finite, moved


@template
def descend(look, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work):
    """Descend from `theta`, which becomes the end state; return why the descent ended, and the step.

    The returned step is the step since which theta was within tolerance, or the last step if it was not.
    ``look(problem, theta, betas, done, tolerance, gradient)`` fills the gradient. It returns whether theta is
    within tolerance, why a descent to the limit ends at theta (END if it goes on), and whether the gradient
    depends on nothing but theta. If `reset_every` is 0, m and u are set only at the start.
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
        # A reset changes m and u, so the descent is at rest only if it also stays at rest after a reset.
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
    """Return whether a < 0 and w is negligible, both by its norm `rho` and by its distances g from 0."""
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
    """Examine a state on the population, as the ``look`` of `descend`.

    `problem` contains the unit vector along mask * v, and nu = |mask * v|.
    """
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
    """Examine a state on samples, with new noise on the labels, as the ``look`` of `descend`."""
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
    """Follow one trajectory on the population; return what `descend` returns."""
    steps_at, rate, reset_every, limit, tolerance = options
    return descend(
        look_population, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work
    )


@routine
def follow_samples(problem, theta, betas, options, path, work):
    """Follow one trajectory on samples; return what `descend` returns."""
    steps_at, rate, reset_every, limit, tolerance = options
    return descend(
        look_samples, problem, theta, betas, steps_at, rate, reset_every, limit, tolerance, path, work
    )


@kernel(parallel=True)
def _descend_population(target, nu, betas, options, path, end, reason, step):
    """Descend on the population; `end` contains the starts, which the end states replace."""
    blocks = min(end.shape[0], BLOCKS)
    for block in prange(blocks):
        work = np.empty((4, end.shape[1]))
        for b in range(block, end.shape[0], blocks):
            reason[b], step[b] = follow_population((target, nu), end[b], betas, options, path[b], work)


@kernel(parallel=True)
def _descend_samples(x, xt, y, label_noise, seed, trajectory, betas, options, path, end, reason, step):
    """Descend on samples; `end` contains the starts, which the end states replace."""
    blocks = min(end.shape[0], BLOCKS)
    for block in prange(blocks):
        work, noise, z = np.empty((4, end.shape[1])), np.zeros(y.size), np.empty(y.size)
        for b in range(block, end.shape[0], blocks):
            problem = x, xt, y, noise, z, label_noise, seed, trajectory[b]
            reason[b], step[b] = follow_samples(problem, end[b], betas, options, path[b], work)


def _prepare(a: Array, w: Array, steps_at: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple]:
    """Return the checked `steps_at`, and the outputs of `make_outputs`, with the starts as end states."""
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
    """Run gradient descent on the factors of Sign-In to minimise the population loss.

    To train under a mask, pass only the coordinates of w and v that the mask keeps. A trajectory that would
    grow beyond HUGE ends as FAILED, in its last state below HUGE.

    Parameters
    ----------
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts.
    v : Array
        (d,) unit target, or the coordinates of the unit target that the mask keeps.
    overlap : float
        |v|, exactly 1 if v is the whole target, as `problem.reduction.unit_overlap` returns it.
    steps_at : NDArray[np.int64]
        (T,) step counts at which to record the state; they never decrease.
    learning_rate : float
        Step size.
    beta_a, beta_w : float
        The values > 0 of m^2 - u^2 for `a` and for every coordinate of w, at the start and after a reset.
    reset_every : int | None
        The number of steps after which m and u are reset. If None, they are set only at the start.
    tolerance : float
        Largest |a rho - 1| and theta with which a state counts as having reached the target.
    limit : bool
        End a trajectory as soon as it is within tolerance (CONVERGED), is dead (EVENT), or no longer moves
        (CERTAIN).

    Returns
    -------
    path, end : Array
        `path` (B, T, 1 + d) holds the states (a, w) at `steps_at`, and `end` (B, 1 + d) the last states.
    reason, step : NDArray[np.int64]
        `reason` (B,) says why each trajectory ended, as a code of `kernels.dop853`. `step` (B,) is the step
        since which the trajectory was within tolerance, or its last step if it did not end within tolerance.

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
    """Run gradient descent on the factors of Sign-In to minimise the loss of samples.

    Parameters
    ----------
    x, y : Array
        Inputs (n, d) and labels (n,).
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts.
    steps_at, learning_rate, beta_a, beta_w, reset_every
        As in `descend_population`.
    tolerance, label_noise, seed, trajectory, limit
        As in `flows.descent.descend_sample`. The same seed gives the same noise as there.

    Returns
    -------
    path, end : Array
        As in `descend_population`.
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
