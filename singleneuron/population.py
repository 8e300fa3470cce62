"""The population flow at any balance, in logarithmic coordinates: log rho and x = log tan(theta/2).

In theta a solver passes pi where a < 0 < c, and reports a false success; x has no end to pass, and
neither delta = pi - theta nor rho is lost as they decay together. Where a keeps its sign for ever,
that is for a > 0 and for a < 0 <= c, the third coordinate is eta = log(|a|/rho), with sigma = sign(a):

    eta' = (e^{2 eta} - 1)(rho^2/2 - sigma k e^{-eta}),  (log rho)' = sigma k e^eta - rho^2 e^{2 eta}/2,
    x' = -sigma e^eta (pi - theta)/(2 pi)

so that eta = 0, balance, and the sign of c = rho^2 (e^{2 eta} - 1) hold to the last bit, however small rho
becomes; a itself would drift by the tolerance, and a dead neuron come alive. For a <= 0 and c < 0, where a
passes 0, the coordinate is a: a' = rho (k - a rho/2), and a = sigma rho e^eta in the others.

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

NU, SIGMA, SIZE, SIGN_C, TOL = range(5)
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
def outer(y, p):
    """a of a state; its first coordinate is eta/SIZE where SIGMA is +-1, else a."""
    if p[SIGMA] == 0.0:
        return y[0]
    return p[SIGMA] * math.exp(y[1] + p[SIZE] * y[0])


@routine
def field(y, p, out):
    k, delta = angles(y[2], p[NU])
    rho = math.exp(max(y[1], -690.0))
    if p[SIGMA] == 0.0:
        a = y[0]
        out[0] = rho * (k - 0.5 * a * rho)
        out[1] = a * (k / rho - 0.5 * a)
        out[2] = -p[NU] * a * delta / (TWO_PI * rho)
        return
    ratio = math.exp(p[SIZE] * y[0])
    pull = p[SIGMA] * k
    square = 0.5 * rho * rho
    out[0] = math.expm1(2.0 * p[SIZE] * y[0]) * (square - pull / ratio) / p[SIZE]
    out[1] = ratio * (pull - square * ratio)
    out[2] = -p[NU] * p[SIGMA] * ratio * delta / TWO_PI


@routine
def gauge(y, p, g):
    a = outer(y, p)
    g[0] = y[1] - LOG_TINY if a < 0.0 else 1.0
    g[1] = 1.0
    if p[NU] == 1.0 and y[2] < 0.0:
        theta = 2.0 * math.atan(math.exp(max(y[2], -700.0)))
        g[1] = max(theta, abs(a * math.exp(y[1]) - 1.0)) - p[TOL]
    g[2] = 1.0 if a > 0.0 or (a < 0.0 and p[SIGN_C] >= 0.0) else -1.0


solve = build(field, gauge)


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
def follow(y, nu, c, times, rtol, atol, limit, t_certain, tolerance, path, work):
    """One trajectory from y = (a, log rho, x), which becomes its end: (reason, time decided)."""
    a, square = y[0], math.exp(2.0 * y[1])
    p = np.array([nu, 0.0, 1.0, np.sign(c), tolerance])
    if a > 0.0 or (a < 0.0 and c >= 0.0):
        p[SIGMA] = np.sign(a)
        eta = 0.5 * math.log1p(c / square) if abs(c) < 0.5 * square else math.log(abs(a)) - y[1]
        if eta != 0.0:
            p[SIZE] = min(1.0, abs(eta))  # the tolerance is relative to where eta starts
        y[0] = eta / p[SIZE]
    reason, t, filled, since = solve(y, p, 0.0, times, 0, path, rtol, atol, limit, t_certain, math.nan, work)
    for i in range(filled):
        path[i, 0] = outer(path[i], p)
    y[0] = outer(y, p)
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
        work = workspace(3)
        for b in range(block, start.shape[0], blocks):
            end[b] = start[b]
            reason[b], time[b] = follow(
                end[b], nu[b], c[b], times, rtol, atol, limit, t_certain, tolerance, path[b], work
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
