"""The Sign-In flow in one coordinate, integrated as an ODE, on the population or on samples.

On either side of w = 0, a' = S_a C w (s - a w) and w' = S_w C a (s - a w). Here C and s are the statistics of
that side, and S_a and S_w are the metrics S = sqrt(beta^2 + 4 theta^2) >= beta > 0 of the two weights. The
distance g = S - beta grows with |theta|. Since g_a' = g_w' = 4 C a w (s - a w), the balance c = g(a) - g(w)
is conserved on both sides of w = 0. The product a w always moves towards s, because
(a w)' = C (S_w a^2 + S_a w^2) (s - a w). The cases are:

- c > 0: g(a) >= c, so `a` keeps its sign, and |a| >= a_0, where g(a_0) = c. If a w has the same sign as s, it
  keeps this sign, and w never reaches 0. If a w has the opposite sign, its speed is at least
  C beta_w a_0^2 |s|, so w reaches 0 in finite time, with a = +-a_0. If s = 0, w decays but never reaches 0.
  So w reaches 0 iff C > 0 and a w s < 0. At w = 0, w' = beta_w C a s with the C and s of the other side. If
  this w' leads onto the other side, w crosses. Then a w has the same sign as the new s, so w does not return.
  Otherwise w sticks at 0.
- c = 0: `a` and w can only reach 0 together, at the saddle (0, 0). Near it they decay like
  exp(-C |s| sqrt(beta_a beta_w) t), or more slowly if s = 0, so they never reach it and keep their signs.
- c < 0: g(w) >= -c, so w keeps its sign. If a w s < 0, `a` passes 0, where a' = beta_a C w s, and then a w
  tends to s. From a start at a = 0, a w also tends to s.
- A start at w = 0 stays there, because phi'(0) = 0. A start on a side with C = 0 does not move either.

Except for the definition of c, plain weights have the same cases, so `problem.status.line_status` applies.

The conservation law leaves one ODE. If c >= 0, it is p_w' = C a (s - a w), where p_w = asinh(2 w/beta_w)/2.
If c < 0, it is the ODE for p_a. The other weight keeps its sign. Its distance g from 0 is the sum of |c| and
the g of the first weight, so no digits cancel. Thus c cannot drift, and a start with c = 0 cannot miss the
saddle. p is nearly theta/beta if |theta| << beta, and grows like log |theta| if |theta| >> beta, so the ODE
stays smooth where a weight passes 0. The coordinate of the solver is max(1, beta) p. It is nearly
theta/min(1, beta) if |theta| << beta.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.line import (
    ATOL_PER_SIZE,
    LEAST_W,
    LEAVES,
    NEGATIVE,
    SLOPE,
    TARGET,
    TOL,
    broadcast_line,
    enter_side,
    measure,
    push,
)
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import END, EVENT, build
from singleneuron.kernels.dop853_step import workspace
from singleneuron.kernels.vectors import put
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line

# Indices into the parameters, after those of `flows.line`:
# OWN: the beta of the weight in y.
# OTHER: the beta of the other weight.
# SIGN: the sign of the other weight.
# ROOT: sqrt(|c|).
# UNIT: the factor y/p of the coordinate.
# NEAR: the distance from the target at which `approach` takes over, or 0 for never.
OWN, OTHER, SIGN, ROOT, UNIT, NEAR, PARAMETERS = range(6, 13)
NEAR_PER_ROOT = 0.1
"""`approach`, whose error is of second order, takes over within NEAR_PER_ROOT sqrt(rtol) of the target."""


@routine
def weights(y, p):
    """Return (own, other): the weight in `y`, and the weight that follows from the conservation of c."""
    x = math.sinh(y / p[UNIT])
    # `root` is sqrt(|c| + g(own)). It is computed without g = 2 beta x^2, which may underflow.
    root = math.hypot(p[ROOT], math.sqrt(2.0 * p[OWN]) * x)
    own = p[OWN] * x * math.sqrt(1.0 + x * x)
    return own, 0.5 * p[SIGN] * root * math.hypot(root, math.sqrt(2.0 * p[OTHER]))


@routine
def pair(y, p, out):
    """Fill `out` with the state (a, w) at the coordinate y."""
    own, other = weights(y, p)
    out[0], out[1] = (own, other) if p[NEGATIVE] > 0.0 else (other, own)


@routine
def speed(own, other, p):
    """Return y' = UNIT C other (s - own other)."""
    return p[UNIT] * p[SLOPE] * other * (p[TARGET] - own * other)


@routine
def rate(own, other, p):
    """Return -dy'/dy at the target own other = s, which is C (S_own other^2 + S_other own^2)."""
    metric = math.hypot(p[OWN], 2.0 * own), math.hypot(p[OTHER], 2.0 * other)
    return p[SLOPE] * (metric[0] * other * other + metric[1] * own * own)


@routine
def field(y, p, out):
    """Fill `out` with the time derivative of the coordinate y (1,) on one side of w = 0."""
    own, other = weights(y[0], p)
    out[0] = speed(own, other, p)


@routine
def remaining(y, own, other, p):
    """Return how far the coordinate y is from where `approach` takes over; <= 0 means that it takes over."""
    if p[TARGET] == 0.0:
        return abs(y) - p[NEAR] * min(1.0, p[ROOT])
    if own * other * p[TARGET] <= 0.0:
        return 1.0
    return abs(speed(own, other, p)) / rate(own, other, p) - p[NEAR] * min(1.0, abs(y))


@routine
def gauge(y, p, g):
    """Fill `g` as `line.measure` does, with another event: near the target, `approach` takes over."""
    own, other = weights(y[0], p)
    if p[NEGATIVE] > 0.0:
        measure(own, other, p, g)
    else:
        measure(other, own, p, g)
    if p[NEAR] > 0.0 and g[0] > 0.0:
        g[0] = min(g[0], max(g[1], remaining(y[0], own, other, p)))


solve = build(field, gauge)


@routine
def approach(y, p, t):
    """Return the coordinate at the time `t` after `y`, from the ODE linearized about the target.

    Near the target, this replaces the solver, which is explicit and slow there.
    """
    own, other = weights(y, p)
    decay = rate(own, other, p) * t
    if p[TARGET] == 0.0:
        return y * max(math.exp(-decay), LEAST_W)  # y never reaches 0, and keeps its sign
    return y - speed(own, other, p) * math.expm1(-decay) / rate(own, other, p)


@routine
def enter(start, c, betas, y, p):
    """Set the coordinate `y` of `start`, and the parameters NEGATIVE, ROOT, OWN, OTHER, SIGN and UNIT."""
    negative = c < 0.0
    own, other = (start[0], start[1]) if negative else (start[1], start[0])
    p[NEGATIVE], p[ROOT] = 1.0 if negative else 0.0, math.sqrt(abs(c))
    p[OWN], p[OTHER] = betas if negative else (betas[1], betas[0])
    p[SIGN], p[UNIT] = np.sign(other), max(1.0, p[OWN])
    y[0] = 0.5 * p[UNIT] * math.asinh(2.0 * own / p[OWN])


@routine
def leave(y, p, reason, t, filled, times, limit, record, path, end):
    """Fill `path` and `end` for a trajectory that ended in the state `y` at the time `t`.

    `record` contains the first `filled` states of the path, in the coordinate of `y`.
    """
    for i in range(filled):
        pair(record[i, 0], p, path[i])
    pair(y[0], p, end)
    approaches = reason == EVENT and p[NEAR] > 0.0 and remaining(y[0], *weights(y[0], p), p) <= p[NEAR]
    for i in range(filled, times.size):
        pair(approach(y[0], p, times[i] - t) if approaches else y[0], p, path[i])
    if not limit:
        put(end, path[-1])


@routine
def follow(start, c, betas, statistics, times, options, path, end, record, work):
    """Follow one trajectory, which may cross w = 0; return (reason, time of the decision)."""
    rtol, atol, limit, t_certain, tolerance = options
    side = 1 if start[1] > 0.0 else -1
    # phi'(0) = 0: a start at w = 0 stays.
    if start[1] == 0.0 or statistics[0 if side > 0 else 2] == 0.0:
        for i in range(times.size):
            put(path[i], start)
        put(end, start)
        return END, 0.0
    y, p = np.empty(1), np.empty(PARAMETERS)
    enter(start, c, betas, y, p)
    p[TOL], p[NEAR] = tolerance, 0.0 if limit else NEAR_PER_ROOT * math.sqrt(rtol)
    # Passing the saddle (0, 0) multiplies errors by 1/|y|, so a small start needs a small tolerance.
    near = atol * min(1.0, ATOL_PER_SIZE * max(abs(start[0]), abs(start[1])))
    t, filled, since, moving, reason = 0.0, 0, math.nan, True, END
    while moving:
        enter_side(statistics, side, start[0], c, p)
        reason, t, filled, since = solve(
            y, p, t, times, filled, record, rtol, near, limit, t_certain, since, work
        )
        moving = reason == EVENT and p[LEAVES] > 0.0
        if moving:
            y[0] = 0.0
            side = -side
            moving = push(statistics, side, start[0]) > 0.0
    leave(y, p, reason, t, filled, times, limit, record, path, end)
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, c, betas, statistics, times, options, path, end, reason, time):
    """Follow the starts one by one, with one workspace per block of starts."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        record, work = np.empty((times.size, 1)), workspace(1)
        for b in range(block, start.shape[0], blocks):
            reason[b], time[b] = follow(
                start[b], c[b], betas, statistics[b], times, options, path[b], end[b], record, work
            )


def line_flow(
    a: Array,
    w: Array,
    c: Array,
    line: Line,
    beta_a: float,
    beta_w: float,
    times: Array,
    *,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Integrate the Sign-In flow in one coordinate.

    Parameters
    ----------
    a, w : Array
        (B,) starts.
    c : Array
        (B,) balance distance(a, beta_a) - distance(w, beta_w) of the starts (`parameterization.distance`),
        exactly 0 if they are balanced by construction.
    line : Line
        Statistics C and s of the data on either side of w = 0.
    beta_a, beta_w : float
        The values > 0 of m^2 - u^2 for `a` and for w.
    times : Array
        (T,) increasing times at which to report the state.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as soon as it has converged or is stuck.
    t_certain : float
        With `limit`, a trajectory also ends once its limit is certain, but not before this time.
    tolerance : float
        Largest |a w - s| with which a state counts as converged.

    Returns
    -------
    path : Array
        (B, T, 2) states (a, w) at `times`.
    end : Array
        (B, 2) end states (a, w).
    reason : NDArray[np.int64]
        (B,) why each trajectory ended, as a code of `kernels.dop853`.
    time : Array
        (B,) the time at which the outcome of each trajectory was decided.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).
    """
    size = a.size
    start = np.stack([a, w], axis=-1).astype(float)
    c = np.array(np.broadcast_to(c, size), dtype=float)
    path, end = np.empty((size, times.size, 2)), np.empty((size, 2))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    betas, statistics = (float(beta_a), float(beta_w)), broadcast_line(line, size)
    options = float(rtol), float(atol), limit, float(t_certain), float(tolerance)
    _follow(start, c, betas, statistics, times, options, path, end, reason, time)
    return path, end, reason, time
