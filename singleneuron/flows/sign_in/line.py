"""The Sign-In flow of one coordinate as an ODE, on the population or on samples.

On either side of w = 0, a' = S_a C w (s - a w) and w' = S_w C a (s - a w), with the C and s of that side and
the metric S = sqrt(beta^2 + 4 theta^2) >= beta > 0 of each weight. With g = S - beta, c = g(a) - g(w) is
conserved on both sides, as g_a' = 4 a w C (s - a w) = g_w'; and g >= 0 grows with |theta|. Therefore:

- c > 0: g(a) >= c, so `a` keeps its sign. w = 0 means a = +-a_0 with g(a_0) = c, and there w' = beta_w C a s.
  As (a w)' = C (S_w a^2 + S_a w^2) (s - a w), a product with the sign of s goes to s, and never passes 0; one
  with the opposite sign rises to 0 at a speed of at least C S_w a^2 |s|, hence in finite time. If s = 0, a w
  and w decay, but never reach 0. So w = 0 is reached from the side sign(w) iff C > 0 and a w s < 0. There the
  other side decides: if its w' = beta_w C a s leads on, w crosses, and then a w has the sign of that side's s,
  so w never returns; if not, or if C = 0 or s = 0 there, both sides push to w = 0, and w sticks.
- c = 0: |a| and |w| reach 0 together, at the saddle (0, 0), where they decay like
  exp(-C |s| sqrt(beta_a beta_w) t), or more slowly if s = 0: never in finite time. `a` and w keep their signs.
- c < 0: g(w) >= -c, so w keeps its sign. If a w s < 0, `a` passes 0, where a' = beta_a C w s, and a w goes to
  s; a start at a = 0 moves at once.
- A start at w = 0 stays, because phi'(0) = 0; so does any start on a side with C = 0.

These are the cases of plain weights, with this c in place of a^2 - w^2: `problem.status.line_status` holds.

The conserved law leaves one ODE: for p_w = asinh(2 w/beta_w)/2 if c >= 0, with p_w' = C a (s - a w); for p_a
if c < 0. The other weight has a constant sign, and the law gives its size without cancellation, as g adds to
|c|. So c cannot drift, and the flow to the saddle stays on its way. For theta >> beta, p is a logarithm and
resolves a sign change at the scale beta; max(1, beta) p is stored, which is theta for theta << beta.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.line import (
    ATOL_PER_SIZE,
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
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line

# Further parameters: beta of the weight in y, beta and sign of the other weight, |c|, the factor y/p of the
# coordinate, and how near to its target a trajectory must be to be finished by `approach`; 0 for never.
OWN, OTHER, SIGN, BALANCE, UNIT, NEAR, PARAMETERS = range(6, 13)
NEAR_PER_ROOT = 0.1
"""`approach` takes over within NEAR_PER_ROOT sqrt(rtol) of the target; its error is of second order."""
LEAST_RTOL = 1e-13
"""Small starts need a smaller rtol, but none below this is of use, because of rounding."""


@routine
def weights(y, p):
    """Return (own, other): the weight with the coordinate y, and the weight that the conserved law gives."""
    x = math.sinh(y / p[UNIT])
    distance = p[BALANCE] + 2.0 * (p[OWN] * x) * x
    own = p[OWN] * x * math.sqrt(1.0 + x * x)
    return own, 0.5 * p[SIGN] * math.sqrt(distance) * math.sqrt(distance + 2.0 * p[OTHER])


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
    """Return -dy'/dy at the target own other = s, where it is C (S_own other^2 + S_other own^2)."""
    metric = math.hypot(p[OWN], 2.0 * own), math.hypot(p[OTHER], 2.0 * other)
    return p[SLOPE] * (metric[0] * other * other + metric[1] * own * own)


@routine
def field(y, p, out):
    """Fill `out` with the time derivative of the coordinate y (1,) on one side of w = 0."""
    own, other = weights(y[0], p)
    out[0] = speed(own, other, p)


@routine
def gauge(y, p, g):
    """Fill g as `line.measure` does; near the target, `approach` is an event as well."""
    own, other = weights(y[0], p)
    if p[NEGATIVE] > 0.0:
        measure(own, other, p, g)
    else:
        measure(other, own, p, g)
    if p[NEAR] > 0.0 and g[0] > 0.0 and own * other * p[TARGET] > 0.0:
        reach = p[NEAR] * rate(own, other, p) * min(1.0, abs(y[0]))
        g[0] = min(g[0], max(g[1], abs(speed(own, other, p)) - reach))


solve = build(field, gauge)


@routine
def approach(y, p, t):
    """Return the coordinate a time t after y, linearized at y: at a target, an explicit solver is slow."""
    own, other = weights(y, p)
    decay = rate(own, other, p)
    return y - speed(own, other, p) * math.expm1(-decay * t) / decay


@routine
def enter(start, c, beta_a, beta_w, y, p):
    """Set the coordinate y and the parameters, other than those of a side, of the trajectory from `start`."""
    negative = c < 0.0
    own, other = (start[0], start[1]) if negative else (start[1], start[0])
    p[NEGATIVE], p[BALANCE] = 1.0 if negative else 0.0, abs(c)
    p[OWN], p[OTHER] = (beta_a, beta_w) if negative else (beta_w, beta_a)
    p[SIGN], p[UNIT] = np.sign(other), max(1.0, p[OWN])
    y[0] = 0.5 * p[UNIT] * math.asinh(2.0 * own / p[OWN])


@routine
def leave(y, p, reason, t, filled, times, limit, record, path, end):
    """Write the `path` and `end` of a trajectory that ended at y at time t; `record` is its path in y."""
    for i in range(filled):
        pair(record[i, 0], p, path[i])
    pair(y[0], p, end)
    approaches = reason == EVENT and p[NEAR] > 0.0 and end[0] * end[1] * p[TARGET] > 0.0
    for i in range(filled, times.size):
        pair(approach(y[0], p, times[i] - t) if approaches else y[0], p, path[i])
    if not limit:
        end[:] = path[-1]


@routine
def follow(
    start,
    c,
    beta_a,
    beta_w,
    statistics,
    times,
    rtol,
    atol,
    limit,
    t_certain,
    tolerance,
    path,
    end,
    record,
    work,
):
    """Follow one trajectory across w = 0; return (reason, time decided)."""
    side = 1 if start[1] > 0.0 else -1
    # phi'(0) = 0: a start at w = 0 stays.
    if start[1] == 0.0 or statistics[0 if side > 0 else 2] == 0.0:
        path[:], end[:] = start, start
        return END, 0.0
    y, p = np.empty(1), np.empty(PARAMETERS)
    enter(start, c, beta_a, beta_w, y, p)
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
def _follow(
    start,
    c,
    beta_a,
    beta_w,
    statistics,
    times,
    rtol,
    atol,
    limit,
    t_certain,
    tolerance,
    path,
    end,
    reason,
    time,
):
    """Follow each start separately, with one workspace per block of starts."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        record, work = np.empty((times.size, 1)), workspace(1)
        for b in range(block, start.shape[0], blocks):
            reason[b], time[b] = follow(
                start[b], c[b], beta_a, beta_w, statistics[b], times, rtol, atol, limit, t_certain, tolerance,
                path[b], end[b], record, work,
            )  # fmt: skip


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
    """Integrate the Sign-In flow of one coordinate.

    Parameters
    ----------
    a, w : Array
        (B,) starts.
    c : Array
        (B,) balance distance(a, beta_a) - distance(w, beta_w) of the starts (`parameterization.distance`),
        exactly 0 if they are balanced by construction.
    line : Line
        Statistics of the data: C and s on either side of w = 0.
    beta_a, beta_w : float
        m^2 - u^2 of `a` and of w, > 0.
    times : Array
        (T,) increasing times at which to report the state.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as soon as it has converged or is stuck.
    t_certain : float
        With `limit`, the time from which a trajectory also ends when its limit is certain.
    tolerance : float
        A state with |a w - s| up to this counts as converged.

    Returns
    -------
    path : Array
        (B, T, 2) states (a, w) at `times`.
    end : Array
        (B, 2) end states (a, w).
    reason : NDArray[np.int64]
        (B,) why each trajectory ended.
    time : Array
        (B,) the time since which the outcome was decided.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).
    """
    size = a.size
    start = np.stack([a, w], axis=-1).astype(float)
    c = np.array(np.broadcast_to(c, size), dtype=float)
    path, end = np.empty((size, times.size, 2)), np.empty((size, 2))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    problem = float(beta_a), float(beta_w), broadcast_line(line, size)
    options = float(rtol), float(atol), limit, float(t_certain), float(tolerance)
    _follow(start, c, *problem, times, *options, path, end, reason, time)
    return path, end, reason, time
