"""The flow of one coordinate as an ODE, on the population or on samples.

On either side of w = 0, a' = C w (s - a w) and w' = C a (s - a w), with the C and s of that side. At w = 0
the flow sticks or crosses (Theorem 2.1). The side is stored as a parameter and never inferred from the sign
of w, so that rounding cannot carry a dead state across.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import END, EVENT, build
from singleneuron.kernels.dop853_step import workspace
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line

# Parameters of a side: C, s, the sign of w, whether the flow can reach w = 0, whether c < 0, tolerance.
SLOPE, TARGET, SIDE, LEAVES, NEGATIVE, TOL = range(6)
ATOL_PER_SIZE = 100.0
"""A start smaller than 1/ATOL_PER_SIZE gets an absolute tolerance reduced in proportion to its size."""
LEAST_W = 1e-290
"""On a side that the flow never leaves, a trajectory whose |w| falls below this ends as if w were 0."""


@routine
def field(y, p, out):
    """Fill `out` with the time derivative of y = (a, w) on one side of w = 0.

    Parameters
    ----------
    y
        (2,) state.
    p
        (6,) parameters of the side: SLOPE, TARGET, SIDE, LEAVES, NEGATIVE and TOL.
    out
        (2,) array for the derivative.
    """
    pull = p[SLOPE] * (p[TARGET] - y[0] * y[1])
    out[0] = pull * y[1]
    out[1] = pull * y[0]


@routine
def measure(a, w, p, g):
    """Measure a state on one side of w = 0 for the solver.

    Parameters
    ----------
    a, w
        The state.
    p
        (6,) parameters of the side, as in `field`.
    g
        (3,) filled as `dop853.parts` says: the event w = 0, the target, and whether the limit is certain.
    """
    if p[LEAVES] > 0.0:
        g[0] = p[SIDE] * w
    elif p[SIDE] * w <= 0.0:
        g[0] = math.nan  # the flow never leaves this side: reject a step that did
    else:
        g[0] = p[SIDE] * w - LEAST_W
    towards = a * p[TARGET]
    # At w = 0 the flow is only entering this side: do not count a target s below the tolerance as reached.
    outside = p[SIDE] * w <= 0.0
    # If the flow will leave this side again, its limit is not on this side.
    settles = towards >= 0.0 if p[SIDE] > 0.0 else p[LEAVES] == 0.0
    g[1] = abs(a * w - p[TARGET]) - p[TOL] if settles and not outside else 1.0
    # The limit is uncertain only if w > 0, c < 0 and a does not have the sign of the target yet.
    g[2] = -1.0 if p[SIDE] > 0.0 and p[NEGATIVE] > 0.0 and towards <= 0.0 else 1.0


@routine
def gauge(y, p, g):
    """Measure the state y = (a, w)."""
    measure(y[0], y[1], p, g)


solve = build(field, gauge)


@routine
def push(statistics, side, a):
    """Return side * w' at w = 0 by the formula of one side: > 0 if w moves into that side, < 0 if out of it.

    Parameters
    ----------
    statistics
        (4,) C and s for w > 0, then for w < 0.
    side
        1 for w > 0, -1 for w < 0.
    a
        Outer weight at w = 0; only the sign of the result matters, so its sign is enough.

    Returns
    -------
    float
        C a s side.
    """
    column = 0 if side > 0 else 2
    return statistics[column] * a * statistics[column + 1] * side


@routine
def enter_side(statistics, side, a, c, p):
    """Set the parameters of a side.

    Parameters
    ----------
    statistics, side, a
        As in `push`.
    c
        Balance of the start.
    p
        (6,) parameters of the side; SLOPE, TARGET, SIDE and LEAVES are set.
    """
    column = 0 if side > 0 else 2
    p[SLOPE], p[TARGET], p[SIDE] = statistics[column], statistics[column + 1], side
    p[LEAVES] = 1.0 if c > 0.0 and push(statistics, side, a) < 0.0 else 0.0


@routine
def follow(y, statistics, c, times, rtol, atol, limit, t_certain, tolerance, path, work):
    """Follow one trajectory across w = 0; return (reason, time decided), and leave its end state in y."""
    p = np.empty(6)
    p[NEGATIVE] = 1.0 if c < 0.0 else 0.0
    p[TOL] = tolerance
    side = 1 if y[1] > 0.0 else -1
    t, filled, since, reason = 0.0, 0, math.nan, END
    moving = y[1] != 0.0  # phi'(0) = 0: a start at w = 0 stays
    while moving:
        enter_side(statistics, side, y[0], c, p)
        if p[SLOPE] == 0.0:
            break
        # Passing the saddle (0, 0) multiplies errors by 1/|y|, so a small start needs a small tolerance.
        near = atol * min(1.0, ATOL_PER_SIZE * max(abs(y[0]), abs(y[1])))
        reason, t, filled, since = solve(
            y, p, t, times, filled, path, rtol, near, limit, t_certain, since, work
        )
        moving = reason == EVENT and p[LEAVES] > 0.0
        if moving:
            y[1] = 0.0
            side = -side
            moving = push(statistics, side, y[0]) > 0.0
    while filled < times.size:
        path[filled] = y
        filled += 1
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, statistics, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Follow each start separately, with one workspace per block of starts."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        work = workspace(2)
        for b in range(block, start.shape[0], blocks):
            end[b] = start[b]
            reason[b], time[b] = follow(
                end[b], statistics[b], c[b], times, rtol, atol, limit, t_certain, tolerance, path[b], work
            )


def broadcast_line(line: Line, size: int) -> Array:
    """Return the statistics of a batch as one array.

    Parameters
    ----------
    line : Line
        Statistics of the data; every field is a number or has shape (B,).
    size : int
        Number of trajectories, B.

    Returns
    -------
    Array
        (B, 4) C and s for w > 0, then for w < 0.
    """
    statistics = np.empty((size, 4))
    for column, value in enumerate(line):
        statistics[:, column] = value
    return statistics


def line_flow(
    a: Array,
    w: Array,
    c: Array,
    line: Line,
    times: Array,
    *,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Integrate the flow of one coordinate.

    Parameters
    ----------
    a, w : Array
        (B,) starts.
    c : Array
        (B,) balance a^2 - w^2 of the starts.
    line : Line
        Statistics of the data: C and s on either side of w = 0.
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
    """
    size = a.size
    start = np.stack([a, w], axis=-1)
    statistics = broadcast_line(line, size)
    path, end = np.empty((size, times.size, 2)), np.empty((size, 2))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    c = np.ascontiguousarray(np.broadcast_to(c, size), dtype=float)
    options = (float(rtol), float(atol), limit, float(t_certain), float(tolerance))
    _follow(start, statistics, c, times, *options, path, end, reason, time)
    return path, end, reason, time
