"""The population flow at any balance, in two coordinates: x = log tan(theta/2), and one on the level of c.

In theta a solver passes pi where a < 0 < c, and reports a false success; x has no end to pass, and
neither delta = pi - theta nor rho is lost as they decay together. The conserved c = a^2 - rho^2 leaves
one more coordinate u. With pull = k(theta) - a rho/2, so that a' = rho pull and rho' = a pull:

    c >= 0:  u = log rho,  a = +-sqrt(c + rho^2),  u' = (a/rho) pull
    c < 0:   a = sqrt(-c) sinh u,  rho = sqrt(-c) cosh u,  u' = pull,  as max(1, sqrt(-c)) u: the unit of a
    x' = -(a/rho) (pi - theta)/(2 pi)

c is a parameter and cannot drift: the sign of a where c >= 0, balance, and that a neuron is dead hold to the
last bit, however small rho becomes.

After a mask that keeps |mask * v| = nu < 1 of the target, x belongs to the angle with mask * v,
cos(theta) = -nu tanh(x), and x' gains a factor nu.
"""

import math
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

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
    workspace,
)
from singleneuron.kernels.lanes import LANES, arctan, exp_row
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import LEAST_BALANCE
from singleneuron.problem.state import Reduced
from singleneuron.problem.status import TINY_NORM

NU, SIGMA, C, SCALE, TOL, UNIT = range(6)
LOG_TINY = math.log(TINY_NORM)
TWO_PI = 2.0 * math.pi


@routine
def angles(x, nu):
    """(k(theta), pi - theta)."""
    e = math.exp(-min(abs(x), 700.0))
    if nu == 1.0:
        small = 2.0 * math.atan(e)
        delta = small if x >= 0.0 else math.pi - small
        if delta < 0.2:
            d2 = delta * delta
            k = delta * d2 * (1.0 / 3.0 - d2 * (1.0 / 30.0 - d2 * (1.0 / 840.0 - d2 / 45360.0)))
            return k / TWO_PI, delta
        sine, cosine = 2.0 * e / (1.0 + e * e), (1.0 - e * e) / (1.0 + e * e)
        return (sine - delta * (cosine if x >= 0.0 else -cosine)) / TWO_PI, delta
    tanh = math.copysign((1.0 - e * e) / (1.0 + e * e), x)
    delta = math.acos(nu * tanh)
    return (math.sin(delta) - delta * nu * tanh) / TWO_PI, delta


@routine
def sides(u, p):
    """(a, rho) of a state; SIGMA is the sign of a where c >= 0, else 0, SCALE then sqrt(-c), u in UNITs."""
    if p[SIGMA] == 0.0:
        e = math.exp(u / p[UNIT])
        return 0.5 * p[SCALE] * (e - 1.0 / e), 0.5 * p[SCALE] * (e + 1.0 / e)
    rho = math.exp(max(u, -690.0))
    # On its own where c = 0: the square of a small rho underflows.
    return p[SIGMA] * (rho if p[C] == 0.0 else math.sqrt(p[C] + rho * rho)), rho


@routine
def field(y, p, out):
    """The right-hand side of y = (u, x)."""
    k, delta = angles(y[1], p[NU])
    a, rho = sides(y[0], p)
    ratio = a / rho
    pull = k - 0.5 * a * rho
    out[0] = p[UNIT] * pull if p[SIGMA] == 0.0 else ratio * pull
    out[1] = -p[NU] * ratio * delta / TWO_PI


@routine
def gauge(y, p, g):
    """Death of the neuron, the target, and whether the limit is certain, as `solver.parts` takes them."""
    a, rho = sides(y[0], p)
    g[0] = y[0] - LOG_TINY if a < 0.0 and p[SIGMA] != 0.0 else 1.0  # where c < 0 no neuron dies
    g[1] = 1.0
    if p[NU] == 1.0 and y[1] < 0.0:
        theta = 2.0 * math.atan(math.exp(max(y[1], -700.0)))
        g[1] = max(theta, abs(a * rho - 1.0)) - p[TOL]
    g[2] = 1.0 if a > 0.0 or (a < 0.0 and p[C] >= 0.0) else -1.0


begin, _, settle = parts(field, gauge)
solve = build(field, gauge)

# The rows of `field_lanes`: u, x, their derivatives, sigma, c, the unit of u and its inverse, and what it
# needs in between.
ROW_U, ROW_X, ROW_DU, ROW_DX, ROW_SIGMA, ROW_C, ROW_UNIT, ROW_PER_UNIT = range(8)
ROW_SQUARE, ROW_E, ROW_SPARE, ROWS = range(8, 12)


@routine
def field_lanes(b, bits, w):
    """`field` for nu = 1, a lane a trajectory and without a branch: what is not chosen is computed, too."""
    for i in range(w):
        u = b[ROW_U * LANES + i] * b[ROW_PER_UNIT * LANES + i]
        b[ROW_DU * LANES + i] = min(max(2.0 * u, -690.0), 690.0)
        b[ROW_DX * LANES + i] = -min(abs(b[ROW_X * LANES + i]), 690.0)
    exp_row(b, bits, ROW_DU, ROW_SQUARE, ROW_SPARE, w)
    exp_row(b, bits, ROW_DX, ROW_E, ROW_SPARE, w)
    for i in range(w):
        x, e, square = b[ROW_X * LANES + i], b[ROW_E * LANES + i], b[ROW_SQUARE * LANES + i]
        sigma, c = b[ROW_SIGMA * LANES + i], b[ROW_C * LANES + i]
        # Two reciprocals, 1/(1 + e) and 1/(1 + e^2), by one division, which is what costs here.
        both = 1.0 / ((1.0 + e) * (1.0 + e * e))
        scale = both * (1.0 + e)
        small = 2.0 * arctan(e, both * (1.0 + e * e))
        delta = small if x >= 0.0 else math.pi - small
        d2 = delta * delta
        series = delta * d2 * (1.0 / 3.0 - d2 * (1.0 / 30.0 - d2 * (1.0 / 840.0 - d2 * (1.0 / 45360.0))))
        cosine = (1.0 - e * e) * scale
        direct = 2.0 * e * scale - delta * (cosine if x >= 0.0 else -cosine)
        k = (series if delta < 0.2 else direct) / TWO_PI
        # a/rho and a rho, from rho^2 where c >= 0, from e^(2u) where c < 0
        inverse = 1.0 / square
        outward = sigma * math.sqrt(1.0 + max(c, 0.0) * inverse)
        ratio = 1.0 - 2.0 / (square + 1.0) if c < 0.0 else outward
        product = -0.25 * c * (square - inverse) if c < 0.0 else square * outward
        pull = k - 0.5 * product
        b[ROW_DU * LANES + i] = b[ROW_UNIT * LANES + i] * pull if c < 0.0 else ratio * pull
        b[ROW_DX * LANES + i] = -ratio * delta / TWO_PI


@routine
def x_of(theta):
    """log tan(theta/2), up to theta = pi/2."""
    return math.log(math.tan(min(0.5 * theta, 0.25 * math.pi))) if theta > 0.0 else -math.inf


@routine
def watch(b, bits, w, tolerance, near):
    """`gauge` for nu = 1, a lane a trajectory: is it within tolerance of the target, dying or `near` that?"""
    x_inside, x_near = x_of(tolerance), x_of(near)
    for i in range(w):
        u = b[ROW_U * LANES + i] * b[ROW_PER_UNIT * LANES + i]
        b[ROW_DU * LANES + i] = min(max(2.0 * u, -690.0), 690.0)
    exp_row(b, bits, ROW_DU, ROW_SQUARE, ROW_SPARE, w)
    for i in range(w):
        c, square = b[ROW_C * LANES + i], b[ROW_SQUARE * LANES + i]
        inverse = 1.0 / square
        outward = b[ROW_SIGMA * LANES + i] * math.sqrt(1.0 + max(c, 0.0) * inverse)
        product = -0.25 * c * (square - inverse) if c < 0.0 else square * outward
        x, off = b[ROW_X * LANES + i], abs(product - 1.0)
        b[ROW_DU * LANES + i] = 1.0 if x <= x_inside and off <= tolerance else 0.0
        dying = c >= 0.0 and product < 0.0 and square <= TINY_NORM * TINY_NORM
        b[ROW_DX * LANES + i] = 1.0 if dying or (x <= x_near and off <= near) else 0.0


buffer, load, step, happened, unload = lanes.build(field_lanes, watch, 2, ROWS)


@routine
def decay(y, nu, lapse, out):
    """The flow from rho <= TINY_NORM, a < 0 on: a is constant, delta/rho tends to pi |a| (up to O(rho^2))."""
    a = y[0]
    rate = 0.5 * a * a * lapse
    out[0] = a
    out[1] = y[1] - rate
    out[2] = y[2]
    if nu == 1.0:
        # delta = 2 e^{-x}; the ratio of pi |a| to delta/rho, at the start and then, of a logistic law.
        before = math.exp(min(700.0, y[2] + y[1] + math.log(-0.5 * math.pi * a)))
        after = before * math.exp(-rate) - math.expm1(-rate)
        out[2] += rate + math.log(after) - math.log(before)


@routine
def is_near(y, p, near):
    """Whether theta and |a rho - 1| are at most `near`."""
    a, rho = sides(y[0], p)
    return y[1] <= x_of(near) and abs(a * rho - 1.0) <= near


@routine
def approach(y, p, lapse, out):
    """The flow from near its target on, for nu = 1, up to errors of second order in theta and |a rho - 1|.

    With rate = (a^2 + rho^2)/2 and r = a/rho at the target, where a rho = 1, and z the distance of u from it,
    z' = -rate z - (du'/dpull) theta^2/4 and x' = -(r + (dr/du) z) (1 - theta/pi)/2, where theta ~ e^(-r t/2).
    """
    c = p[C]
    large = 0.5 * (abs(c) + math.hypot(c, 2.0))  # the larger of a^2 and rho^2, whose product is 1
    if p[SIGMA] == 0.0:
        goal, ratio = p[UNIT] * math.asinh(1.0 / (math.sqrt(large) * p[SCALE])), 1.0 / large
        gain, bend = p[UNIT], -c / (large * p[UNIT])
    else:
        goal, ratio = -0.5 * math.log(large), large
        gain, bend = ratio, -c
    rate, gap = 0.5 * (large + 1.0 / large), 0.5 * abs(c)  # gap = |rate - ratio|
    z, theta = y[0] - goal, 2.0 * math.atan(math.exp(max(y[1], -700.0)))
    shared = lapse if gap * lapse < 1e-16 else -math.expm1(-gap * lapse) / gap
    shared *= math.exp(-min(rate, ratio) * lapse)
    out[0] = goal + z * math.exp(-rate * lapse) - 0.25 * gain * theta * theta * shared
    out[1] = y[1] - 0.5 * ratio * lapse - theta / math.pi * math.expm1(-0.5 * ratio * lapse)
    out[1] += 0.5 * bend * z * math.expm1(-rate * lapse) / rate


@routine
def outer(y, p, out):
    """(a, log rho, x) of a state."""
    a, rho = sides(y[0], p)
    out[0], out[1], out[2] = a, math.log(rho) if p[SIGMA] == 0.0 else y[0], y[1]


@routine
def enter(start, nu, c, tolerance, y, p):
    """Coordinates y and parameters p of the trajectory from start = (a, log rho, x)."""
    p[NU], p[SIGMA], p[C], p[SCALE], p[TOL], p[UNIT] = nu, np.sign(start[0]), c, 0.0, tolerance, 1.0
    y[:] = start[1:]
    if c < 0.0:
        p[SIGMA], p[SCALE] = 0.0, math.sqrt(-c)
        p[UNIT] = max(1.0, p[SCALE])
        y[0] = p[UNIT] * math.asinh(start[0] / p[SCALE])


@routine
def leave(y, p, reason, t, filled, times, limit, record, path, end):
    """Write the `path` of a trajectory followed to y at t, and its `end`; `record` holds the path in y."""
    for i in range(filled):
        outer(record[i], p, path[i])
    outer(y, p, end)
    later = np.empty(2)
    for i in range(filled, times.size):
        path[i] = end
        if reason == EVENT:
            decay(end, p[NU], times[i] - t, path[i])
        elif reason == END:
            approach(y, p, times[i] - t, later)
            outer(later, p, path[i])
    if not limit:
        end[:] = path[-1]


@routine
def follow(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, record, work):
    """One trajectory from start = (a, log rho, x): (reason, time decided)."""
    y, p = np.empty(2), np.empty(6)
    enter(start, nu, c, tolerance, y, p)
    reason, t, filled, since = solve(
        y, p, 0.0, times, 0, record, rtol, atol, limit, t_certain, math.nan, work
    )
    leave(y, p, reason, t, filled, times, limit, record, path, end)
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Every trajectory on its own: the clear form of `_follow_lanes`, and for any nu."""
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        record, work = np.empty((times.size, 2)), workspace(2)
        for i in range(block, start.shape[0], blocks):
            reason[i], time[i] = follow(
                start[i], nu[i], c[i], times, rtol, atol, limit, t_certain, tolerance,
                path[i], end[i], record, work,
            )  # fmt: skip


@routine
def finish(y, p, s, i, times, limit, record, path, end, reason, time):
    """Write trajectory i, which has ended."""
    leave(y, p, reason[i], s[T], int(s[FILLED]), times, limit, record, path[i], end[i])
    time[i] = s[T] if math.isnan(s[SINCE]) else s[SINCE]


@routine
def follow_lanes(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """All trajectories, LANES of them at a time."""
    b, work, record = buffer(), workspace(2), np.empty((LANES, times.size, 2))
    bits, k, y1 = b.view(np.int64), work[0], work[2]
    y, p, s = np.empty((LANES, 2)), np.empty((LANES, 6)), np.empty((LANES, KNOWN))
    index = np.full(LANES, -1)
    busy, following = 0, 0
    near = 0.0 if limit else math.sqrt(rtol)  # what `approach` leaves out is below a tenth of the tolerance
    while busy > 0 or following < reason.size:
        for lane in range(LANES):
            while index[lane] < 0 and following < reason.size:
                i, following = following, following + 1
                enter(start[i], nu[i], c[i], tolerance, y[lane], p[lane])
                s[lane, T], s[lane, SINCE], s[lane, FILLED] = 0.0, math.nan, 0.0
                reason[i] = begin(p[lane], y[lane], s[lane], times, record[lane], rtol, atol, limit, work)
                if reason[i] != RUNNING:
                    finish(y[lane], p[lane], s[lane], i, times, limit, record[lane], path, end, reason, time)
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
            finish(y[lane], p[lane], s[lane], i, times, limit, record[lane], path, end, reason, time)
            index[lane] = -1
            busy -= 1


@kernel(parallel=True)
def _follow_lanes(
    start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time, blocks
):
    for block in prange(blocks):
        follow_lanes(
            start[block::blocks], nu[block::blocks], c[block::blocks],
            times, rtol, atol, limit, t_certain, tolerance,
            path[block::blocks], end[block::blocks], reason[block::blocks], time[block::blocks],
        )  # fmt: skip


def _in_lanes(start: Array, *arguments: Any) -> None:
    """`_follow_lanes` in long blocks, since lanes idle at the end of one, but one for every thread."""
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
    """Integrate starts (B, 3) of (a, log rho, x) to the increasing `times` (T,).

    overlap (B,) is |mask * v|, c (B,) the balance of the starts (0 where balanced by construction).
    With `limit` each trajectory ends as soon as it converged or died, or from t_certain on where its
    limit is certain. Returns path (B, T, 3), the end states (B, 3), why each ended (B,), and the time
    from which on it was decided (B,).
    """
    size = start.shape[0]
    path, end = np.empty((size, times.size, 3)), np.empty((size, 3))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    overlap, c = (np.array(np.broadcast_to(value, size), dtype=float) for value in (overlap, c))
    options = (float(rtol), float(atol), limit, float(t_certain), float(tolerance))
    # Of such starts the squares overflow, or leave no digit of c.
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
    """(a, log rho, x), shape (..., 3), of states with q > 0; x = -asinh(p/q) loses nothing near pi."""
    log_rho = np.log(np.hypot(reduced.p, reduced.q))
    return np.stack([reduced.a, log_rho, -np.arcsinh(reduced.p / reduced.q)], axis=-1)


def from_log_coordinates(y: Array, c: Array | None = None) -> Reduced:
    """The states (a, p, q) of y (..., 3): p = -rho tanh x, q = rho / cosh x."""
    rho, x = np.exp(y[..., 1]), y[..., 2]
    e = np.exp(-np.minimum(np.abs(x), 745.0))
    return Reduced(y[..., 0], -rho * np.tanh(x), rho * 2 * e / (1 + e * e), c)
