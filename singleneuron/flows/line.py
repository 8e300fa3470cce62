"""The flow in one coordinate, integrated as an ODE, on the population or on samples.

On either side of w = 0, a' = C w (s - a w) and w' = C a (s - a w), where C and s are the statistics of that
side (see `Line`). At w = 0, the flow sticks or crosses (Theorem 2.1). The side is stored as a parameter and
never inferred from the sign of w, so that rounding cannot carry a dead state across.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import END, EVENT, build
from singleneuron.kernels.dop853_step import workspace
from singleneuron.kernels.vectors import put
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line

# Indices into the parameters of one side of w = 0:
# SLOPE, TARGET: the statistics C and s of this side.
# SIDE: the sign of w.
# LEAVES: whether the flow reaches w = 0 from this side.
# NEGATIVE: whether c < 0.
# TOL: the tolerance.
SLOPE, TARGET, SIDE, LEAVES, NEGATIVE, TOL = range(6)
ATOL_PER_SIZE = 100.0
"""For a start smaller than 1/ATOL_PER_SIZE, the absolute tolerance is reduced in proportion to its size."""
LEAST_W = 1e-290
"""On a side that the flow never leaves, a trajectory ends as if w were 0 once |w| falls below LEAST_W."""


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
    """Measure a state on one side of w = 0, and fill `g` for the solver.

    Parameters
    ----------
    a, w
        The state.
    p
        (6,) parameters of the side, as in `field`.
    g
        (3,) array, filled as `dop853.parts` describes. g[0] <= 0 at the event w = 0, g[1] <= 0 within
        tolerance of the target, and g[2] > 0 if the limit is certain.
    """
    if p[LEAVES] > 0.0:
        g[0] = p[SIDE] * w
    elif p[SIDE] * w <= 0.0:
        g[0] = math.nan  # the flow never leaves this side, so reject the step that did
    else:
        g[0] = p[SIDE] * w - LEAST_W
    towards = a * p[TARGET]
    # At w = 0, the flow only enters this side. If |s| is below the tolerance, do not count it as reached.
    outside = p[SIDE] * w <= 0.0
    # If the flow will leave this side again, its limit is not on this side.
    settles = towards >= 0.0 if p[SIDE] > 0.0 else p[LEAVES] == 0.0
    g[1] = abs(a * w - p[TARGET]) - p[TOL] if settles and not outside else 1.0
    # The limit is uncertain only if w > 0, c < 0 and a does not have the sign of the target yet.
    g[2] = -1.0 if p[SIDE] > 0.0 and p[NEGATIVE] > 0.0 and towards <= 0.0 else 1.0


@routine
def gauge(y, p, g):
    """Fill `g` for the state y = (a, w), as `measure` does."""
    measure(y[0], y[1], p, g)


solve = build(field, gauge)


@routine
def push(statistics, side, a):
    """Return `side` * w' at w = 0, which is > 0 if w moves into this side and < 0 if it moves out of it.

    Parameters
    ----------
    statistics
        (4,) C and s for w > 0, followed by C and s for w < 0.
    side
        1 for w > 0, -1 for w < 0.
    a
        Outer weight at w = 0, or any number with the same sign, since only the sign of the result matters.

    Returns
    -------
    float
        C a s side.
    """
    column = 0 if side > 0 else 2
    return statistics[column] * a * statistics[column + 1] * side


@routine
def enter_side(statistics, side, a, c, p):
    """Set the parameters of one side of w = 0.

    Parameters
    ----------
    statistics, side, a
        As in `push`.
    c
        Balance of the start.
    p
        (6,) parameters of the side, of which SLOPE, TARGET, SIDE and LEAVES are set.
    """
    column = 0 if side > 0 else 2
    p[SLOPE], p[TARGET], p[SIDE] = statistics[column], statistics[column + 1], side
    p[LEAVES] = 1.0 if c > 0.0 and push(statistics, side, a) < 0.0 else 0.0


@routine
def follow(y, statistics, c, times, rtol, atol, limit, t_certain, tolerance, path, work):
    """Follow one trajectory from `y`, which becomes its end state; return (reason, time).

    The trajectory may cross w = 0. `time` is the time since which it has been within tolerance of the target,
    or the time at which it ended.
    """
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
        put(path[filled], y)
        filled += 1
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, statistics, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Follow the starts one by one, with one workspace per block of starts."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        work = workspace(2)
        for b in range(block, start.shape[0], blocks):
            put(end[b], start[b])
            reason[b], time[b] = follow(
                end[b], statistics[b], c[b], times, rtol, atol, limit, t_certain, tolerance, path[b], work
            )


def broadcast_line(line: Line, size: int) -> Array:
    """Return the statistics of `line` as one array, with one row for each trajectory.

    Parameters
    ----------
    line : Line
        Statistics of the data; every field is a number or has shape (B,).
    size : int
        The number B of trajectories.

    Returns
    -------
    Array
        (B, 4) C and s for w > 0, followed by C and s for w < 0.
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
    """Integrate the flow in one coordinate.

    Parameters
    ----------
    a, w : Array
        (B,) starts.
    c : Array
        (B,) balance a^2 - w^2 of the starts.
    line : Line
        Statistics C and s of the data on either side of w = 0.
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
