"""The population flow at any balance, in two coordinates: x = log tan(theta/2), and one on the level of c.

In theta a solver passes pi where a < 0 < c, and reports a false success; x has no end to pass, and
neither delta = pi - theta nor rho is lost as they decay together. The conserved c = a^2 - rho^2 leaves
one more coordinate u. With pull = k(theta) - a rho/2, so that a' = rho pull and rho' = a pull:

    c >= 0:  u = log rho,  a = +-sqrt(c + rho^2),  u' = (a/rho) pull
    c < 0:   a = sqrt(-c) sinh u,  rho = sqrt(-c) cosh u,  u' = pull
    x' = -(a/rho) (pi - theta)/(2 pi)

c is a parameter and cannot drift: the sign of a where c >= 0, balance, and that a neuron is dead hold to the
last bit, however small rho becomes.

After a mask that keeps |mask * v| = nu < 1 of the target, x belongs to the angle with mask * v,
cos(theta) = -nu tanh(x), and x' gains a factor nu.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.kernel import kernel, routine
from singleneuron.model import Array, Reduced
from singleneuron.outcome import TINY_NORM
from singleneuron.solver import EVENT, build, workspace

NU, SIGMA, C, SCALE, TOL = range(5)
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
    """(a, rho) of a state; SIGMA is the sign of a where c >= 0, else 0, and SCALE then sqrt(-c)."""
    if p[SIGMA] == 0.0:
        e = math.exp(u)
        return 0.5 * p[SCALE] * (e - 1.0 / e), 0.5 * p[SCALE] * (e + 1.0 / e)
    rho = math.exp(max(u, -690.0))
    # On its own where c = 0: the square of a small rho underflows.
    return p[SIGMA] * (rho if p[C] == 0.0 else math.sqrt(p[C] + rho * rho)), rho


@routine
def field(y, p, out):
    k, delta = angles(y[1], p[NU])
    a, rho = sides(y[0], p)
    ratio = a / rho
    pull = k - 0.5 * a * rho
    out[0] = pull if p[SIGMA] == 0.0 else ratio * pull
    out[1] = -p[NU] * ratio * delta / TWO_PI


@routine
def gauge(y, p, g):
    a, rho = sides(y[0], p)
    g[0] = 1.0
    if a < 0.0:
        g[0] = rho / TINY_NORM - 1.0 if p[SIGMA] == 0.0 else y[0] - LOG_TINY
    g[1] = 1.0
    if p[NU] == 1.0 and y[1] < 0.0:
        theta = 2.0 * math.atan(math.exp(max(y[1], -700.0)))
        g[1] = max(theta, abs(a * rho - 1.0)) - p[TOL]
    g[2] = 1.0 if a > 0.0 or (a < 0.0 and p[C] >= 0.0) else -1.0


solve = build(field, gauge, 2)


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
def outer(y, p, out):
    """(a, log rho, x) of a state."""
    a, rho = sides(y[0], p)
    out[0], out[1], out[2] = a, math.log(rho) if p[SIGMA] == 0.0 else y[0], y[1]


@routine
def follow(y, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, inner, work):
    """One trajectory from y = (a, log rho, x), which becomes its end: (reason, time decided)."""
    a = y[0]
    p = np.array([nu, np.sign(a), c, math.sqrt(max(0.0, -c)), tolerance])
    z = y[1:].copy()
    if c < 0.0:
        p[SIGMA] = 0.0
        z[0] = math.asinh(a / p[SCALE])
    reason, t, filled, since = solve(z, p, 0.0, times, 0, inner, rtol, atol, limit, t_certain, math.nan, work)
    for i in range(filled):
        outer(inner[i], p, path[i])
    outer(z, p, y)
    while filled < times.size:
        path[filled] = y
        if reason == EVENT:
            decay(y, nu, times[filled] - t, path[filled])
        filled += 1
    if not limit:
        y[:] = path[-1]
    return reason, t if math.isnan(since) else since


@kernel(parallel=True)
def _follow(start, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    blocks = min(start.shape[0], 64)
    for block in prange(blocks):
        inner, work = np.empty((times.size, 2)), workspace(2)
        for b in range(block, start.shape[0], blocks):
            end[b] = start[b]
            reason[b], time[b] = follow(
                end[b], nu[b], c[b], times, rtol, atol, limit, t_certain, tolerance, path[b], inner, work
            )


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
    overlap, c = (np.ascontiguousarray(np.broadcast_to(value, size), dtype=float) for value in (overlap, c))
    options = (float(rtol), float(atol), limit, float(t_certain), float(tolerance))
    _follow(np.ascontiguousarray(start), overlap, c, times, *options, path, end, reason, time)
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
