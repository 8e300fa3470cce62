"""Closed forms of the gradient flow: one coordinate at any balance, and d > 1 balanced.

The laws are those of Theorem 2.1 (d = 1) and Lemma 2.2 (d > 1, population). c = a^2 - |w|^2 is the
balance, theta the angle between w and the target v, delta = pi - theta. Angles travel as
x = log tan(theta/2), which keeps delta when w is nearly antiparallel to v.
"""

import functools
import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from singleneuron.kernel import kernel, routine

Array = NDArray[np.float64]


@routine
def _at(values: Array, i: int) -> float:
    """Entry i of an array, or its only one."""
    return values[i] if values.size > 1 else values[0]


@routine
def _saturated(z: float, base: float, span: float) -> float:
    """z / sqrt(base^2 + (z span)^2), also where z underflows."""
    if z == 0.0:
        return 0.0
    if abs(z) * span < base:
        return z / math.hypot(base, z * span)
    return math.copysign(1.0 / math.hypot(base / z, span), z)


@routine
def _side_flow(a: float, w: float, rate: float, slope: float, t: float) -> tuple[float, float]:
    """The state at t on the side of w's sign: a' = rate w (slope - a w), w' = rate a (slope - a w).

    a + w and a - w keep their signs, and their squares obey Riccati equations. With kappa = c/(2R),
    sigma = slope/R, R^2 = slope^2 + c^2/4, tau = tanh(rate R t) and

        e1 = 1 + sigma tau + (a - w)^2 tau/(2R),  e2 = 1 - sigma tau + (a + w)^2 tau/(2R):

    a + w is multiplied by sqrt(e1/e2), a - w by its inverse, and their half sum and difference are

        a <- (a (1 + kappa tau) + sigma tau w) / sqrt(e1 e2),
        w <- (w (1 - kappa tau) + sigma tau a) / sqrt(e1 e2).

    The latter form has no cancellation where a w slope >= 0, so that a dying w keeps its digits; the former
    has none where a w slope < 0, other than that of the passage through 0 itself.
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
    # sqrt(1 - sigma tau) and sqrt(1 + sigma tau); 1 - sigma = kappa^2/(1 + sigma).
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
        # 1/sqrt(e1 e2) is lead_t/(lead root^2): no tiny start underflows.
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
    # Rounding never carries a state across an axis; what underflows keeps its sign.
    if abs(a) >= abs(w):
        a_t = math.copysign(a_t, a)
    if w_t * math.copysign(1.0, w) <= 0.0:
        w_t = math.copysign(0.0, w)
    return a_t, w_t


@routine
def _crossing(a: float, w: float, rate: float, slope: float) -> float:
    """Time at which w reaches 0: where w (1 - kappa tau) = -sigma tau a in `_side_flow`."""
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
        a0, w0, time = a[i], w[i], _at(t, i)
        if w0 == 0.0 or time == 0.0:
            a_t[i], w_t[i] = a0, w0
            continue
        rate, slope, other_rate, other_slope = _at(c_pos, i), _at(s_pos, i), _at(c_neg, i), _at(s_neg, i)
        if w0 < 0.0:
            rate, slope, other_rate, other_slope = other_rate, other_slope, rate, slope
        arrival = math.inf
        if _at(balanced, i):
            a0 = math.copysign(w0, a0)
        else:
            arrival = _crossing(a0, w0, rate, slope)
        if arrival == math.inf or time < arrival:
            a_t[i], w_t[i] = _side_flow(a0, w0, rate, slope, time)
            continue
        stop = math.copysign(math.sqrt(abs(a0) - abs(w0)) * math.sqrt(abs(a0) + abs(w0)), a0)
        # Beyond the line the other side's statistics drive: on in the same direction, or back onto the line.
        if other_rate > 0.0 and np.sign(slope) * np.sign(other_slope) > 0.0:
            a_t[i], w_t[i] = _side_flow(
                stop, math.copysign(0.0, -w0), other_rate, other_slope, time - arrival
            )
        else:
            a_t[i], w_t[i] = stop, math.copysign(0.0, w0)


@kernel()
def _crossing_kernel(a, w, c_pos, s_pos, c_neg, s_neg, balanced, time):
    for i in range(a.size):
        rate, slope = (_at(c_pos, i), _at(s_pos, i)) if w[i] > 0.0 else (_at(c_neg, i), _at(s_neg, i))
        time[i] = math.inf if _at(balanced, i) and w[i] != 0.0 else _crossing(a[i], w[i], rate, slope)


def _flat(*arrays: ArrayLike, whole: int = 1) -> tuple[tuple[int, ...], list[Array]]:
    """The common shape of float64 arrays, and each of them broadcast to it and flattened.

    After the first `whole` of them, those that are one number stay so: `_at` takes it for every entry.
    """
    values = [np.asarray(array, dtype=np.float64) for array in arrays]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    flat = []
    for i, value in enumerate(values):
        if i >= whole and value.size == 1:
            value = value.reshape(1)
        elif value.shape != shape:
            value = np.broadcast_to(value, shape)
        # numba would compile every mixture of read-only and writable arguments anew: those are copied.
        flat.append((value if value.flags.carray else np.array(value)).reshape(-1))
    return shape, flat


def _check_time(t: ArrayLike) -> None:
    if not np.all(np.asarray(t) >= 0):
        raise ValueError(f"t must be >= 0, but its least entry is {np.min(t):g}")


def _check_balanced(a: Array, rho: Array) -> None:
    # Wide enough for states that were integrated: this catches wrong arguments, not rounding.
    wrong = np.flatnonzero(np.abs(np.abs(a) - rho) > 1e-6 * rho + 1e-300)
    if wrong.size:
        i = wrong[0]
        raise ValueError(
            f"balanced starts must have |a| = |w|, but start {i} has a = {a[i]} and |w| = {rho[i]}"
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
    """(a, w) at time t of the flow in one coordinate; all arguments broadcast, t may be inf.

    On w > 0: a' = c_pos w (s_pos - a w), w' = c_pos a (s_pos - a w); on w < 0 with (c_neg, s_neg). The
    defaults are the population of Theorem 2.1; for n samples c_pos = (1/n) sum_{x>0} x^2 (0: nothing moves)
    and s_pos = sum_{x>0} x y / sum_{x>0} x^2. A flow that reaches w = 0 goes on where both sides drive the
    same way, and sticks where they do not; a start at w = 0 stays (phi'(0) = 0). w keeps the sign of its
    side, also as a zero.
    balanced : bool, the start has a = +-w exactly (w is taken); never inferred, since rounding escapes later.
    Errors are a few ulp of max(|a|, |w|) times the condition of the flow.
    """
    _check_time(t)
    shape, (a, w, t, c_pos, s_pos, c_neg, s_neg, flag) = _flat(
        a, w, t, c_pos, s_pos, c_neg, s_neg, balanced, whole=2
    )
    flag = flag != 0
    given = np.broadcast_to(flag, a.shape)
    _check_balanced(a[given], np.abs(w[given]))
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
    """Time at which w reaches 0 from the side of its start, inf if it never does; arguments as `line_flow`.

    Finite iff c > 0 and a w s < 0 with that side's s (and its data are not empty); 0 at w = 0.
    """
    shape, (a, w, c_pos, s_pos, c_neg, s_neg, flag) = _flat(
        a, w, c_pos, s_pos, c_neg, s_neg, balanced, whole=2
    )
    time = np.empty_like(a)
    _crossing_kernel(a, w, c_pos, s_pos, c_neg, s_neg, flag != 0, time)
    return time.reshape(shape)


def population_limit(c: ArrayLike) -> Array:
    """a > 0 of the target on the level a^2 - |w|^2 = c: a rho = 1, a^2 = (c + sqrt(c^2 + 4))/2."""
    half = np.abs(np.asarray(c, dtype=np.float64)) / 2
    larger = np.sqrt(half + np.hypot(half, 1))
    return np.where(np.asarray(c) < 0, 1 / larger, larger)


class Curve(NamedTuple):
    """The universal angle curve: dx/dT = -delta/(2 pi), T = 0 at x = 0, and the growth of the norm on it.

    Rows of polynomial coefficients on uniform cells: `time` T(x) and `growth` h(x) from X_MIN in cells
    of X_STEP, `angle` x(T) from time_min in cells of T_STEP. Beyond them series, whose constants these are:
    T = near_pi - 2 pi/delta + ... and T = -2 x + near_zero - ....
    h = H/E with E = (delta/sin(delta))^2 and H the integral of (E - 1) dT from delta = 0.
    """

    time: Array
    growth: Array
    angle: Array
    time_min: float
    time_max: float
    near_pi: float
    near_zero: float


X_MIN, X_MAX, X_STEP, T_STEP = -20.0, 4.0, 1 / 32, 1 / 8
DEGREE = 7
M_LINE = 1e-304  # below this sine, w is on the line through v


@routine
def _piecewise(rows: Array, position: float) -> float:
    """The polynomial of cell floor(position) at its fractional part."""
    cell = max(0, min(int(position), rows.shape[0] - 1))  # the last cell's end, and NaN
    z = position - cell
    value = rows[cell, DEGREE]
    for power in range(DEGREE - 1, -1, -1):
        value = value * z + rows[cell, power]
    return value


@routine
def _delta(m: float, x: float) -> float:
    """pi - theta from m = e^{-|x|} and the sign of x."""
    half = math.atan(m)
    return 2.0 * half if x > 0.0 else math.pi - 2.0 * half


@routine
def _time_series(delta: float) -> float:
    """T - near_pi: the integral of 2 pi/(delta sin delta), to order delta^7."""
    d2 = delta * delta
    odd = delta * (1 / 6 + d2 * (7 / 1080 + d2 * (31 / 75600 + d2 * (127 / 4233600))))
    return 2 * math.pi * (odd - 1.0 / delta)


@routine
def _time_of_angle(x: float, delta: float, curve: Curve) -> float:
    if x > X_MAX:
        return curve.near_pi + _time_series(delta)
    if x < X_MIN:
        return curve.near_zero - 2.0 * x - 4 / math.pi * math.exp(x)
    return _piecewise(curve.time, (x - X_MIN) / X_STEP)


@routine
def _angle_of_time(time: float, curve: Curve) -> float:
    if time < curve.time_min:
        # The reversed series of T(delta), and x = -log tan(delta/2).
        pole = 2 * math.pi / (curve.near_pi - time)
        p2 = pole * pole
        return math.log(2.0 / pole) + p2 * (1 / 12 - p2 * (53 / 4320 - p2 * (1291 / 453600)))
    if time > curve.time_max:
        x = 0.5 * (curve.near_zero - time)
        return x - 2 / math.pi * math.exp(x)
    return _piecewise(curve.angle, (time - curve.time_min) / T_STEP)


@routine
def _growth_series(delta: float) -> float:
    """h, to order delta^7."""
    d2 = delta * delta
    return 2 * math.pi * delta * (1 / 3 - d2 * (19 / 270 - d2 * (779 / 113400 - d2 * (1807 / 4762800))))


@routine
def _growth(x: float, delta: float, curve: Curve) -> float:
    if x > X_MAX:
        return _growth_series(delta)
    if x < X_MIN:
        return 1.0
    return _piecewise(curve.growth, (x - X_MIN) / X_STEP)


@functools.cache
def _curve() -> Curve:
    """Quadrature of the two integrals over x, and the inverse of the first by Newton's method."""
    from scipy.interpolate import make_interp_spline

    def cells(grid: Array, values: Array) -> Array:
        """Taylor coefficients, in units of a cell, of the spline through the values: (cells, DEGREE + 1)."""
        spline, step = make_interp_spline(grid, values, k=DEGREE), grid[1] - grid[0]
        columns = [spline(grid[:-1], nu=m) * step**m / math.factorial(m) for m in range(DEGREE + 1)]
        return np.ascontiguousarray(np.stack(columns, axis=1))

    x = np.linspace(X_MIN, X_MAX, round((X_MAX - X_MIN) / X_STEP) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    inner = x[:-1, None] + X_STEP * (nodes + 1) / 2
    delta = 2 * np.arctan(np.exp(-inner))
    cell_times = np.pi * X_STEP * (1 / delta) @ weights
    cell_growths = np.pi * X_STEP * (delta * np.cosh(inner) ** 2 - 1 / delta) @ weights

    origin = round(-X_MIN / X_STEP)
    later, earlier = np.cumsum(cell_times[:origin][::-1])[::-1], np.cumsum(cell_times[origin:])
    time = np.concatenate([later, [0.0], -earlier])
    delta = 2 * np.arctan(np.exp(-x))
    energy = (delta * np.cosh(x)) ** 2
    tail = _growth_series.py_func(delta[-1]) * energy[-1]
    growth = np.cumsum(np.append(cell_growths, tail)[::-1])[::-1] / energy

    time_grid = np.arange(time[-1], time[0], T_STEP)
    forward = make_interp_spline(x, time, k=DEGREE)
    angle = np.interp(time_grid, time[::-1], x[::-1])
    for _ in range(4):
        angle += (forward(angle) - time_grid) * np.arctan(np.exp(-angle)) / np.pi
    return Curve(
        time=cells(x, time),
        growth=cells(x, growth),
        angle=cells(time_grid, angle),
        time_min=float(time_grid[0]),
        time_max=float(time_grid[-1]),
        near_pi=float(time[-1] - _time_series.py_func(delta[-1])),
        near_zero=float(time[0] + 2 * X_MIN + 4 / np.pi * np.exp(X_MIN)),
    )


@kernel()
def _time_kernel(x, curve, time):
    for i in range(x.size):
        time[i] = _time_of_angle(x[i], _delta(math.exp(-abs(x[i])), x[i]), curve)


@kernel()
def _angle_kernel(time, curve, x):
    for i in range(x.size):
        x[i] = _angle_of_time(time[i], curve)


def angle_time_x(x: ArrayLike) -> Array:
    """T as a function of x = log tan(theta/2): the relative error of delta near pi is that of T."""
    shape, (x,) = _flat(x)
    time = np.empty_like(x)
    _time_kernel(x, _curve(), time)
    return time.reshape(shape)


def universal_x(time: ArrayLike) -> Array:
    """The inverse of `angle_time_x`: x = log tan(theta/2) at `time` on the universal angle curve."""
    shape, (time,) = _flat(time)
    x = np.empty_like(time)
    _angle_kernel(time, _curve(), x)
    return x.reshape(shape)


def angle_time(theta: ArrayLike) -> Array:
    """T(theta) = 2 pi int_theta^{pi/2} dphi / ((pi - phi) sin(phi)), inf at 0 and -inf at pi.

    Balanced flows of the population (d > 1) follow T(theta(t)) = T(theta(0)) + t for a > 0, - t for a < 0,
    whatever d and the norm.
    """
    theta = np.asarray(theta, dtype=np.float64)
    outside = (theta < 0) | (theta > np.pi)
    if np.any(outside):
        raise ValueError(f"theta must lie in [0, pi], but has an entry {theta[outside].flat[0]!r}")
    late = theta > np.pi / 2
    with np.errstate(divide="ignore"):
        x = np.log(np.tan(np.where(late, np.pi - theta, theta) / 2))
    return angle_time_x(np.where(late, -x, x))


def universal_angle(time: ArrayLike) -> Array:
    """Theta, the inverse of `angle_time`: pi/2 at time 0, 0 at inf, pi at -inf; error <= 1e-12."""
    x = universal_x(time)
    half = np.arctan(np.exp(-np.abs(x)))
    return np.where(x > 0, np.pi - 2 * half, 2 * half)


@routine
def _balanced_point(a: float, p: float, q: float, t: float, curve: Curve) -> tuple[float, float, float]:
    """One start of `balanced_flow`.

    The angle moves along the universal curve, T <- T + sign(a) t. With E and H as in `Curve` and rho = |w|,
    d(E/rho^2)/dt = E: this grows by t + |change of H|. Written with the ratio <= 1 of sqrt(E) at the two
    ends, so that nothing overflows. m = e^{-|x|}.
    """
    norm = abs(a)
    if norm == 0.0 or t == 0.0:
        return a, p, q
    if q > 0.0 and t == math.inf:
        return (1.0, 1.0, 0.0) if a > 0.0 else (-0.0, -0.0, 0.0)
    m = q / (norm + abs(p))
    if m < M_LINE:
        a_t, p_t = _side_flow(math.copysign(p, a), p, 0.5, 1.0 if p > 0.0 else 0.0, t)
        return a_t, p_t, q / norm * abs(a_t)
    x = math.copysign(math.log(m), -p)
    delta = _delta(m, x)
    x_t = _angle_of_time(_time_of_angle(x, delta, curve) + math.copysign(t, a), curve)
    m_t = math.exp(-abs(x_t))
    delta_t = _delta(m_t, x_t)
    h, h_t = _growth(x, delta, curve), _growth(x_t, delta_t, curve)
    # 1/sqrt(E) = sin(delta)/delta, and sin(delta) = sin(theta) = 1/cosh(x).
    sine_t = 2.0 * m_t / (1.0 + m_t * m_t)
    root, root_t = 2.0 * m / (1.0 + m * m) / delta, sine_t / delta_t
    if a > 0.0:
        ratio = root_t / root
        gained = math.sqrt(t * root_t * root_t + max(h_t - h * ratio * ratio, 0.0))
        norm_t = norm / math.hypot(ratio, norm * gained)
    else:
        ratio = root / root_t
        gained = math.sqrt(t * root * root + max(h - h_t * ratio * ratio, 0.0))
        norm_t = norm * ratio / math.hypot(1.0, norm * gained)
    cosine_t = (1.0 - m_t) * (1.0 + m_t) / (1.0 + m_t * m_t)
    return math.copysign(norm_t, a), math.copysign(norm_t * cosine_t, -x_t), norm_t * sine_t


@kernel(parallel=True)
def _balanced_kernel(a, p, q, t, curve, a_t, p_t, q_t):
    for i in numba.prange(a.size):
        a_t[i], p_t[i], q_t[i] = _balanced_point(a[i], p[i], q[i], _at(t, i), curve)


def balanced_flow(a: ArrayLike, p: ArrayLike, q: ArrayLike, t: ArrayLike) -> tuple[Array, Array, Array]:
    """(a, p, q) at time t of the balanced population flow in d > 1; all arguments broadcast, t may be inf.

    p = w.v and q = |w - p v| >= 0 of starts with |a| = |w| = hypot(p, q) (a is taken for the norm). At q = 0
    the problem has one coordinate, as in `line_flow`. Relative errors are about 1e-13 times the condition
    of the flow.
    """
    _check_time(t)
    shape, (a, p, q, t) = _flat(a, p, q, t, whole=3)
    if np.any(q < 0):
        raise ValueError(f"q = |w_perp| must be >= 0, but its least entry is {np.min(q):g}")
    _check_balanced(a, np.hypot(p, q))
    a_t, p_t, q_t = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    _balanced_kernel(a, p, q, t, _curve(), a_t, p_t, q_t)
    return a_t.reshape(shape), p_t.reshape(shape), q_t.reshape(shape)


def flip_angle(t: ArrayLike) -> Array:
    """The angle theta* > pi/2 from which a balanced flow with a > 0 reaches pi/2 at time t: T(theta*) = -t.

    Flows from below it have w_1 > 0 at t. So P(WR succeeds) = P(theta(0) < theta*)/2 with rewind time t.
    """
    _check_time(t)
    return universal_angle(-np.asarray(t, dtype=np.float64))


def balanced_angle_cdf(theta: ArrayLike, d: ArrayLike) -> Array:
    """P(angle(w, v) < theta) for w uniform in direction in R^d, theta in [0, pi].

    cos^2 of the angle has the distribution Beta(1/2, (d - 1)/2). At d = 1 the angles are 0 and pi.
    """
    from scipy.special import betainc, betaincc

    theta, d = np.asarray(theta, dtype=np.float64), np.asarray(d, dtype=np.float64)
    freedom = np.maximum(d - 1, 1) / 2
    sine2, cosine2 = np.sin(theta) ** 2, np.cos(theta) ** 2
    # The tail beyond theta or pi - theta, from the argument that has lost no digits.
    tail = np.where(sine2 < 0.5, betainc(freedom, 0.5, sine2), betaincc(0.5, freedom, cosine2)) / 2
    tail = np.where(d > 1, tail, np.where(theta > 0, 0.5, 0.0))
    return np.where((theta > np.pi / 2) & (d > 1), 1 - tail, tail)


def escape_time(a: ArrayLike, rho: ArrayLike, delta: ArrayLike) -> Array:
    """Time at which a population flow (d > 1) from near theta = pi, antiparallel to v, has turned to pi/2.

    Leading order in delta = pi - theta; rho = |w|; inf where a <= 0 and c = a^2 - rho^2 >= 0 (never).
    While the pull on a, rho k with k ~ delta^3/(6 pi), is negligible, a/rho grows like e^{ct/2}, and
    (1/delta)' = -(a/rho)/(2 pi): 2 pi rho/(a delta) at c = 0, else (2/c) log(1 + pi c rho/(a delta)) if that
    log exists. If not (c < 0), delta stops at delta_1, 1/delta_1 = 1/delta - a/(pi |c| rho), until on the
    slow manifold a = 2 k/rho, rho^2 = |c|, delta' = delta^5/(6 pi^2 |c|) drives it: (3 pi^2/2) |c|/delta_1^4.
    """
    a, rho, delta = np.broadcast_arrays(*(np.asarray(z, dtype=np.float64) for z in (a, rho, delta)))
    c = (np.abs(a) - rho) * (np.abs(a) + rho)
    fast = a * delta > np.pi * np.maximum(-c, 0) * rho
    pull = np.pi * rho / np.where(fast, a * delta, 1.0)
    exponent = np.where(fast, c * pull, 0.0)
    log_rate = np.where(exponent != 0, np.log1p(exponent) / np.where(exponent != 0, c, 1.0), pull)
    deficit = np.where((c < 0) & ~fast, -c, 1.0)
    with np.errstate(divide="ignore"):  # delta = 0: never
        stall = 1 / delta - a / (np.pi * deficit * rho)
    slow = np.where(c < 0, 1.5 * np.pi**2 * deficit * stall**4, np.inf)
    return np.where(fast, 2 * log_rate, slow)
