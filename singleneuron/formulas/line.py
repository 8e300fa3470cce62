"""The flow in one coordinate (Theorem 2.1) in closed form, at any balance, and the time until w reaches 0."""

import math

import numba
import numpy as np
from numpy.typing import ArrayLike

from singleneuron.formulas.broadcasting import broadcast_at, check_balanced, check_nonnegative_time, flattened
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.problem.arguments import Array


@routine
def _saturated(z: float, base: float, span: float) -> float:
    """Compute z / sqrt(base^2 + (z span)^2), accurately even for tiny z."""
    if z == 0.0:
        return 0.0
    if abs(z) * span < base:
        return z / math.hypot(base, z * span)
    return math.copysign(1.0 / math.hypot(base / z, span), z)


@routine
def side_flow(a: float, w: float, rate: float, slope: float, t: float) -> tuple[float, float]:
    """Solve a' = rate w (slope - a w) and w' = rate a (slope - a w) up to time t, while w keeps its sign.

    The flow keeps the signs of a + w and a - w, whose squares obey Riccati equations. Let c = a^2 - w^2,
    R^2 = slope^2 + c^2/4, kappa = c/(2R), sigma = slope/R and tau = tanh(rate R t), and let

        e1 = 1 + sigma tau + (a - w)^2 tau/(2R),  e2 = 1 - sigma tau + (a + w)^2 tau/(2R).

    The first form of the solution multiplies a + w by sqrt(e1/e2) and divides a - w by the same factor. The
    second form is half the sum and half the difference of the results:

        a <- (a (1 + kappa tau) + sigma tau w) / sqrt(e1 e2),
        w <- (w (1 - kappa tau) + sigma tau a) / sqrt(e1 e2).

    If a w slope >= 0, the second form is used. Nothing in it cancels, so w stays accurate even if it decays
    to 0. If a w slope < 0, the first form is used. Nothing in it cancels either, except where a or w passes
    through 0.
    """
    if rate == 0.0 or t == 0.0:
        return a, w
    plus, minus = a + w, a - w
    half = 0.5 * plus * minus
    r = math.hypot(slope, half)
    if r == 0.0:
        shrink = math.hypot(1.0, max(abs(plus), abs(minus)) * math.sqrt(0.5 * rate * t))
        return a / shrink, w / shrink
    kappa, sigma = half / r, abs(slope) / r
    y = rate * t * r
    tau, e = math.tanh(y), math.exp(-y)
    root_left = e * math.sqrt(2.0 / (1.0 + e * e))  # sqrt(1 - tau)
    root_span = math.sqrt(0.5 * rate * t) if y < 1e-8 else math.sqrt(0.5 * tau) / math.sqrt(r)
    # near is sqrt(1 - sigma tau), computed from 1 - sigma = kappa^2/(1 + sigma); far is sqrt(1 + sigma tau).
    near = math.hypot(kappa / math.sqrt(1.0 + sigma), math.sqrt(sigma) * root_left)
    far = math.sqrt(1.0 + sigma * tau)
    if slope < 0.0:
        near, far = far, near
    root1, plus_t = math.hypot(far, minus * root_span), _saturated(plus, near, root_span)
    root2, minus_t = math.hypot(near, plus * root_span), _saturated(minus, far, root_span)
    plus_t, minus_t = plus_t * root1, minus_t * root2
    if np.sign(a) * np.sign(w) * slope < 0.0:
        a_t, w_t = 0.5 * (plus_t + minus_t), 0.5 * (plus_t - minus_t)
    else:
        # 1/sqrt(e1 e2) is written as lead_t/(lead root^2), so that tiny starts do not underflow.
        small = sigma * sigma / (1.0 + abs(kappa)) + abs(kappa) * root_left * root_left
        large = 1.0 + abs(kappa) * tau
        if kappa < 0.0:
            small, large = large, small
        drift = math.copysign(sigma, slope) * tau
        lead, lead_t, root = (
            (plus, plus_t, root1) if slope > 0.0 or abs(plus) > abs(minus) else (minus, minus_t, root2)
        )
        unit_a, unit_w, lead_t = a / lead, w / lead, lead_t / (root * root)
        a_t, w_t = (unit_a * large + drift * unit_w) * lead_t, (unit_w * small + drift * unit_a) * lead_t
    # Rounding must never carry a state across an axis, so a value that underflows keeps its sign.
    if abs(a) >= abs(w):
        a_t = math.copysign(a_t, a)
    if w_t * math.copysign(1.0, w) <= 0.0:
        w_t = math.copysign(0.0, w)
    return a_t, w_t


@routine
def _crossing(a: float, w: float, rate: float, slope: float) -> float:
    """Compute the time at which w reaches 0; inf if it never does.

    At this time w (1 - kappa tau) = -sigma tau a, in the notation of `side_flow`.
    """
    if w == 0.0:
        return 0.0
    excess = abs(a) - abs(w)
    if not (np.sign(a) * np.sign(w) * slope < 0.0 and rate > 0.0 and excess > 0.0):
        return math.inf
    half = 0.5 * (a - w) * (a + w)
    r = math.hypot(slope, half)
    kappa, sigma = half / r, abs(slope) / r
    gap = excess + abs(w) * kappa * (1.0 + sigma + kappa) / ((1.0 + sigma) * (1.0 + kappa))
    return math.log1p(2.0 * (abs(w) / abs(slope)) * (r / gap)) / (2.0 * rate * r)


@kernel(parallel=True)
def _line_kernel(a, w, t, c_pos, s_pos, c_neg, s_neg, balanced, a_t, w_t):
    for i in numba.prange(a.size):
        a0, w0, time = a[i], w[i], broadcast_at(t, i)
        if w0 == 0.0 or time == 0.0:
            a_t[i], w_t[i] = a0, w0
            continue
        rate, slope, other_rate, other_slope = (
            broadcast_at(c_pos, i),
            broadcast_at(s_pos, i),
            broadcast_at(c_neg, i),
            broadcast_at(s_neg, i),
        )
        if w0 < 0.0:
            rate, slope, other_rate, other_slope = other_rate, other_slope, rate, slope
        arrival = math.inf
        if broadcast_at(balanced, i):
            a0 = math.copysign(w0, a0)
        else:
            arrival = _crossing(a0, w0, rate, slope)
        if arrival == math.inf or time < arrival:
            a_t[i], w_t[i] = side_flow(a0, w0, rate, slope, time)
            continue
        stop = math.copysign(math.sqrt(abs(a0) - abs(w0)) * math.sqrt(abs(a0) + abs(w0)), a0)
        # Beyond w = 0 the statistics of the other side apply. They drive w onwards, or hold it at 0.
        if other_rate > 0.0 and np.sign(slope) * np.sign(other_slope) > 0.0:
            a_t[i], w_t[i] = side_flow(stop, math.copysign(0.0, -w0), other_rate, other_slope, time - arrival)
        else:
            a_t[i], w_t[i] = stop, math.copysign(0.0, w0)


@kernel()
def _crossing_kernel(a, w, c_pos, s_pos, c_neg, s_neg, balanced, time):
    for i in range(a.size):
        rate, slope = (
            (broadcast_at(c_pos, i), broadcast_at(s_pos, i))
            if w[i] > 0.0
            else (broadcast_at(c_neg, i), broadcast_at(s_neg, i))
        )
        time[i] = (
            math.inf if broadcast_at(balanced, i) and w[i] != 0.0 else _crossing(a[i], w[i], rate, slope)
        )


def line_flow(
    a: ArrayLike,
    w: ArrayLike,
    t: ArrayLike,
    c_pos: ArrayLike = 0.5,
    s_pos: ArrayLike = 1.0,
    c_neg: ArrayLike = 0.5,
    s_neg: ArrayLike = 0.0,
    *,
    balanced: ArrayLike = False,
) -> tuple[Array, Array]:
    """Compute (a, w) of the flow in one coordinate at time t; all arguments broadcast.

    For w > 0, the flow is a' = c_pos w (s_pos - a w) and w' = c_pos a (s_pos - a w). For w < 0, c_neg and
    s_neg replace c_pos and s_pos. When w reaches 0, it crosses if both sides drive it in the same direction;
    otherwise it stays at 0. A start with w = 0 does not move, since phi'(0) = 0. Errors are a few ulp of
    max(|a|, |w|) times the condition number of the flow.

    Parameters
    ----------
    a, w : array_like
        Weights at the start.
    t : array_like
        Times >= 0; inf gives the limit.
    c_pos, s_pos, c_neg, s_neg : array_like
        Statistics of the data, as in `Line`; the defaults are for the population.
    balanced : array_like of bool
        True where a = +-w exactly at the start; |w| is then used as |a|. This is never inferred from a and w,
        because a start that is balanced only up to rounding escapes eventually.

    Returns
    -------
    a, w : ndarray
        The state at time t, in arrays of the common shape. If w is 0, its sign bit shows from which side it
        came.

    Raises
    ------
    ValueError
        If a time is negative, or if a start is marked as balanced but is not.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the
    paper.

    Examples
    --------
    From w > 0 the population flow reaches a w = 1; from w < 0 it never crosses w = 0:

    >>> import singleneuron as sn
    >>> a, w = sn.line_flow(a=[1.0, 1.0], w=[0.5, -0.5], t=[100.0, 100.0])
    >>> (abs(a * w - 1) < 1e-6).tolist(), (w > 0).tolist()
    ([True, False], [True, False])
    """
    check_nonnegative_time(t)
    shape, (a, w, t, c_pos, s_pos, c_neg, s_neg, flag) = flattened(
        a, w, t, c_pos, s_pos, c_neg, s_neg, balanced, whole=2
    )
    flag = flag != 0
    given = np.broadcast_to(flag, a.shape)
    check_balanced(a[given], np.abs(w[given]))
    a_t, w_t = np.empty_like(a), np.empty_like(w)
    _line_kernel(a, w, t, c_pos, s_pos, c_neg, s_neg, flag, a_t, w_t)
    return a_t.reshape(shape), w_t.reshape(shape)


def crossing_time(
    a: ArrayLike,
    w: ArrayLike,
    c_pos: ArrayLike = 0.5,
    s_pos: ArrayLike = 1.0,
    c_neg: ArrayLike = 0.5,
    s_neg: ArrayLike = 0.0,
    *,
    balanced: ArrayLike = False,
) -> Array:
    """Compute the time at which w first reaches 0.

    Let c = a^2 - w^2, and let s be `s_pos` or `s_neg`, depending on the side on which w starts. From w != 0,
    the time is finite iff c > 0, a w s < 0 and this side has data.

    Parameters
    ----------
    a, w : array_like
        Weights at the start.
    c_pos, s_pos, c_neg, s_neg : array_like
        Statistics of the data, as in `Line`; the defaults are for the population.
    balanced : array_like of bool
        True where a = +-w exactly at the start, as in `line_flow`.

    Returns
    -------
    ndarray
        Times, of the common shape: inf where w never reaches 0, and 0 where w = 0.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024) gives the flow; the formula is beyond the paper.

    Examples
    --------
    Label noise carries w across 0, after a time that grows with the logarithm of 1/s_neg:

    >>> import singleneuron as sn
    >>> sn.crossing_time(a=1.0, w=-0.5, s_neg=[0.1, 1e-2, 1e-4, 0.0]).round(2).tolist()
    [4.22, 9.75, 21.95, inf]
    """
    shape, (a, w, c_pos, s_pos, c_neg, s_neg, flag) = flattened(
        a, w, c_pos, s_pos, c_neg, s_neg, balanced, whole=2
    )
    time = np.empty_like(a)
    _crossing_kernel(a, w, c_pos, s_pos, c_neg, s_neg, flag != 0, time)
    return time.reshape(shape)
