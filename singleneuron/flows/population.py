"""The population flow at any balance c, in the coordinates x = log tan(theta/2) and u, which depends on c.

Here theta is the angle between w and the target, rho = |w|, and k is the `angle_kernel`. With theta as a
coordinate, a solver would step past pi if a < 0 < c, and report a false success. x has no bound that a step
could pass. It also keeps the digits of delta = pi - theta while delta and rho decay together.

Since c = a^2 - rho^2 is conserved, one more coordinate u suffices. Let pull = k(theta) - a rho/2, so that
a' = rho pull and rho' = a pull. Then

    c >= 0:  u = log rho,  a = +-sqrt(c + rho^2),  u' = (a/rho) pull
    c < 0:   a = sqrt(-c) sinh u,  rho = sqrt(-c) cosh u,  u' = pull
    x' = -(a/rho) (pi - theta)/(2 pi)

If c < 0, max(1, sqrt(-c)) u is stored in place of u, so that the stored value has the scale of a.

c is a parameter and cannot drift. A neuron therefore keeps its balance exactly, however small rho becomes. A
dead neuron stays dead and, if c >= 0, `a` keeps its sign.

If a mask removes part of the target v, then nu = |mask * v| < 1, and x describes the angle to mask * v. In
this case cos(theta) = -nu tanh(x), and x' gains a factor nu.
"""

import math
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.population_field import (
    NU,
    ROW_C,
    ROW_PER_UNIT,
    ROW_SIGMA,
    ROW_UNIT,
    ROWS,
    SCALE,
    SIGMA,
    TOL,
    UNIT,
    C,
    approach,
    decay,
    field,
    field_lanes,
    gauge,
    is_near,
    outer,
    watch,
)
from singleneuron.kernels import lanes
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import (
    END,
    EVENT,
    FAILED,
    FILLED,
    INSIDE,
    KNOWN,
    RUNNING,
    SINCE,
    T,
    build,
    parts,
)
from singleneuron.kernels.dop853_step import workspace
from singleneuron.kernels.lanes import LANES
from singleneuron.kernels.vectors import put
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import LEAST_BALANCE
from singleneuron.problem.state import Reduced

begin, _, settle = parts(field, gauge)
solve = build(field, gauge)


buffer, load, step, happened, unload = lanes.build(field_lanes, watch, 2, ROWS)


@routine
def enter(start, nu, c, tolerance, y, p):
    """Set the coordinates `y` and the parameters `p` of the trajectory from `start` = (a, log rho, x)."""
    p[NU], p[SIGMA], p[C], p[SCALE], p[TOL], p[UNIT] = nu, np.sign(start[0]), c, 0.0, tolerance, 1.0
    put(y, start[1:])
    if c < 0.0:
        p[SIGMA], p[SCALE] = 0.0, math.sqrt(-c)
        p[UNIT] = max(1.0, p[SCALE])
        y[0] = p[UNIT] * math.asinh(start[0] / p[SCALE])


@routine
def leave(y, p, reason, t, filled, times, limit, record, path, end):
    """Fill `path` and `end` for a trajectory that ended in the state `y` at the time `t`.

    `record` contains the first `filled` states of the path, in the coordinates of `y`.
    """
    for i in range(filled):
        outer(record[i], p, path[i])
    outer(y, p, end)
    later = np.empty(2)
    for i in range(filled, times.size):
        put(path[i], end)
        if reason == EVENT:
            decay(end, p[NU], times[i] - t, path[i])
        elif reason == END:
            approach(y, p, times[i] - t, later)
            outer(later, p, path[i])
    if not limit:
        put(end, path[-1])


@routine
def follow(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, record, work):
    """Follow one trajectory from `start` = (a, log rho, x); return (reason, time of the decision)."""
    y, p = np.empty(2), np.empty(6)
    enter(start, nu, c, tolerance, y, p)
    reason, t, filled, since = solve(
        y, p, 0.0, times, 0, record, rtol, atol, limit, t_certain, math.nan, work
    )
    leave(y, p, reason, t, filled, times, limit, record, path, end)
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Follow the trajectories one by one, for any nu; `_follow_lanes` is faster, but needs nu = 1."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        record, work = np.empty((times.size, 2)), workspace(2)
        for i in range(block, start.shape[0], blocks):
            reason[i], time[i] = follow(
                start[i], nu[i], c[i], times, rtol, atol, limit, t_certain, tolerance,
                path[i], end[i], record, work,
            )  # fmt: skip


@routine
def write_trajectory(y, p, s, i, times, limit, record, path, end, reason, time):
    """Fill the outputs for trajectory i, which has ended."""
    leave(y, p, reason[i], s[T], int(s[FILLED]), times, limit, record, path[i], end[i])
    time[i] = s[T] if math.isnan(s[SINCE]) else s[SINCE]


@routine
def follow_lanes(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Follow all trajectories, LANES at a time; when a trajectory ends, its lane starts the next one."""
    b, work, record = buffer(), workspace(2), np.empty((LANES, times.size, 2))
    bits, k, y1 = b.view(np.int64), work[0], work[2]
    y, p, s = np.empty((LANES, 2)), np.empty((LANES, 6)), np.empty((LANES, KNOWN))
    index = np.full(LANES, -1)
    busy, following = 0, 0
    # Within this distance of the target, `approach` finishes a trajectory with an error below rtol/10.
    near = 0.0 if limit else math.sqrt(rtol)
    while busy > 0 or following < reason.size:
        for lane in range(LANES):
            while index[lane] < 0 and following < reason.size:
                i, following = following, following + 1
                enter(start[i], nu[i], c[i], tolerance, y[lane], p[lane])
                s[lane, T], s[lane, SINCE], s[lane, FILLED] = 0.0, math.nan, 0.0
                reason[i] = begin(p[lane], y[lane], s[lane], times, record[lane], rtol, atol, limit, work)
                if reason[i] != RUNNING:
                    write_trajectory(
                        y[lane], p[lane], s[lane], i, times, limit, record[lane], path, end, reason, time
                    )
                    continue
                b[ROW_SIGMA * LANES + lane], b[ROW_C * LANES + lane] = p[lane, SIGMA], p[lane, C]
                b[ROW_UNIT * LANES + lane] = p[lane, UNIT]
                b[ROW_PER_UNIT * LANES + lane] = 1.0 / p[lane, UNIT]
                load(b, lane, y[lane], s[lane], times, limit, t_certain, k[0])
                index[lane] = i
                busy += 1
        if step(b, bits, LANES, rtol, atol, tolerance, near, times[-1]) == 0.0:
            continue
        for lane in range(LANES):
            i = index[lane]
            if i < 0 or not happened(b, lane):
                continue
            error = unload(b, lane, y[lane], s[lane], times[-1], y1, k)
            reason[i] = settle(p[lane], y[lane], error, s[lane], times, record[lane], limit, t_certain, work)
            if reason[i] == RUNNING and near > 0.0 and s[lane, INSIDE] and is_near(y[lane], p[lane], near):
                reason[i] = END
            if reason[i] == RUNNING:
                load(b, lane, y[lane], s[lane], times, limit, t_certain, k[0])
                continue
            write_trajectory(
                y[lane], p[lane], s[lane], i, times, limit, record[lane], path, end, reason, time
            )
            index[lane] = -1
            busy -= 1


@kernel(parallel=True)
def _follow_lanes(
    start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time, blocks
):
    """Split the trajectories into `blocks` blocks, which the threads follow in parallel."""
    for block in prange(blocks):
        follow_lanes(
            start[block::blocks], nu[block::blocks], c[block::blocks],
            times, rtol, atol, limit, t_certain, tolerance,
            path[block::blocks], end[block::blocks], reason[block::blocks], time[block::blocks],
        )  # fmt: skip


def _in_lanes(start: Array, *arguments: Any) -> None:
    """Call `_follow_lanes` with blocks that are long, but numerous enough to occupy all threads.

    Long blocks are faster, because lanes idle at the end of each block.
    """
    size = len(start)
    blocks = max(size // (64 * LANES), min(numba.get_num_threads(), -(-size // (4 * LANES))))
    _follow_lanes(start, *arguments, blocks)


def population_flow(
    start: Array,
    overlap: Array,
    c: Array,
    times: Array,
    *,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Integrate the population flow.

    Parameters
    ----------
    start : Array
        (B, 3) starts as (a, log rho, x).
    overlap : Array
        (B,) |mask * v|, the norm of the part of the unit target v that the mask keeps.
    c : Array
        (B,) balance of the starts, exactly 0 if they are balanced by construction.
    times : Array
        (T,) increasing times at which to report the state.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as soon as it has converged or died.
    t_certain : float
        With `limit`, a trajectory also ends once its limit is certain, but not before this time.
    tolerance : float
        Largest theta and |a rho - 1| with which a state counts as converged.

    Returns
    -------
    path : Array
        (B, T, 3) states (a, log rho, x) at `times`.
    end : Array
        (B, 3) end states (a, log rho, x).
    reason : NDArray[np.int64]
        (B,) why each trajectory ended, as a code of `kernels.dop853`.
    time : Array
        (B,) the time at which the outcome of each trajectory was decided.
    """
    size = start.shape[0]
    path, end = np.empty((size, times.size, 3)), np.empty((size, 3))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    overlap, c = (np.array(np.broadcast_to(value, size), dtype=float) for value in (overlap, c))
    options = (float(rtol), float(atol), limit, float(t_certain), float(tolerance))
    # Give up on starts whose squares overflow, or whose c has no correct digit.
    lost = ~np.isfinite(c) | ((c != 0.0) & (np.abs(c) < LEAST_BALANCE))
    path[lost], end[lost], reason[lost], time[lost] = start[lost, None], start[lost], FAILED, 0.0
    for run, which in ((_in_lanes, ~lost & (overlap == 1)), (_follow, ~lost & (overlap != 1))):
        i = np.flatnonzero(which)
        if i.size == size:
            run(np.ascontiguousarray(start), overlap, c, times, *options, path, end, reason, time)
        elif i.size:
            part = path[i], end[i], reason[i], time[i]
            run(start[i], overlap[i], c[i], times, *options, *part)
            path[i], end[i], reason[i], time[i] = part
    return path, end, reason, time


def log_coordinates(reduced: Reduced) -> Array:
    """Convert states to (a, log rho, x), with x = -asinh(p/q), which loses no digits near theta = pi.

    Parameters
    ----------
    reduced : Reduced
        States (...,) with q > 0.

    Returns
    -------
    Array
        (..., 3) coordinates (a, log rho, x).
    """
    log_rho = np.log(np.hypot(reduced.p, reduced.q))
    return np.stack([reduced.a, log_rho, -np.arcsinh(reduced.p / reduced.q)], axis=-1)


def from_log_coordinates(y: Array, c: Array | None = None) -> Reduced:
    """Convert coordinates (a, log rho, x) to states, with p = -rho tanh x and q = rho / cosh x."""
    rho, x = np.exp(y[..., 1]), y[..., 2]
    e = np.exp(-np.minimum(np.abs(x), 745.0))
    return Reduced(y[..., 0], -rho * np.tanh(x), rho * 2 * e / (1 + e * e), c)
