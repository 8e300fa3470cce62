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
from numpy.typing import ArrayLike

from singleneuron.formulas.broadcasting import broadcast_at, check_balanced, check_nonnegative_time, flattened
from singleneuron.formulas.line import side_flow
from singleneuron.kernels.compiling import kernel, routine


class AngleCurve(NamedTuple):
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
SPLINE_DEGREE = 7
M_LINE = 1e-304  # below this sine, w is on the line through v


@routine
def _piecewise(rows: Array, position: float) -> float:
    """The polynomial of cell floor(position) at its fractional part."""
    cell = max(0, min(int(position), rows.shape[0] - 1))  # the last cell's end, and NaN
    z = position - cell
    value = rows[cell, SPLINE_DEGREE]
    for power in range(SPLINE_DEGREE - 1, -1, -1):
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
def _time_of_angle(x: float, delta: float, curve: AngleCurve) -> float:
    if x > X_MAX:
        return curve.near_pi + _time_series(delta)
    if x < X_MIN:
        return curve.near_zero - 2.0 * x - 4 / math.pi * math.exp(x)
    return _piecewise(curve.time, (x - X_MIN) / X_STEP)


@routine
def _angle_of_time(time: float, curve: AngleCurve) -> float:
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
def _growth(x: float, delta: float, curve: AngleCurve) -> float:
    if x > X_MAX:
        return _growth_series(delta)
    if x < X_MIN:
        return 1.0
    return _piecewise(curve.growth, (x - X_MIN) / X_STEP)


@functools.cache
def _curve() -> AngleCurve:
    """Quadrature of the two integrals over x, and the inverse of the first by Newton's method."""
    from scipy.interpolate import make_interp_spline

    def cells(grid: Array, values: Array) -> Array:
        """Taylor coefficients, in units of a cell, of the spline through the values: (cells, SPLINE_DEGREE + 1)."""
        spline, step = make_interp_spline(grid, values, k=SPLINE_DEGREE), grid[1] - grid[0]
        columns = [spline(grid[:-1], nu=m) * step**m / math.factorial(m) for m in range(SPLINE_DEGREE + 1)]
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
    forward = make_interp_spline(x, time, k=SPLINE_DEGREE)
    angle = np.interp(time_grid, time[::-1], x[::-1])
    for _ in range(4):
        angle += (forward(angle) - time_grid) * np.arctan(np.exp(-angle)) / np.pi
    return AngleCurve(
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
    shape, (x,) = flattened(x)
    time = np.empty_like(x)
    _time_kernel(x, _curve(), time)
    return time.reshape(shape)


def universal_x(time: ArrayLike) -> Array:
    """The inverse of `angle_time_x`: x = log tan(theta/2) at `time` on the universal angle curve."""
    shape, (time,) = flattened(time)
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
def _balanced_point(a: float, p: float, q: float, t: float, curve: AngleCurve) -> tuple[float, float, float]:
    """One start of `balanced_flow`.

    The angle moves along the universal curve, T <- T + sign(a) t. With E and H as in `AngleCurve` and rho = |w|,
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
        a_t, p_t = side_flow(math.copysign(p, a), p, 0.5, 1.0 if p > 0.0 else 0.0, t)
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
        a_t[i], p_t[i], q_t[i] = _balanced_point(a[i], p[i], q[i], broadcast_at(t, i), curve)


def balanced_flow(a: ArrayLike, p: ArrayLike, q: ArrayLike, t: ArrayLike) -> tuple[Array, Array, Array]:
    """(a, p, q) at time t of the balanced population flow in d > 1; all arguments broadcast, t may be inf.

    p = w.v and q = |w - p v| >= 0 of starts with |a| = |w| = hypot(p, q) (a is taken for the norm). At q = 0
    the problem has one coordinate, as in `line_flow`. Relative errors are about 1e-13 times the condition
    of the flow.
    """
    check_nonnegative_time(t)
    shape, (a, p, q, t) = flattened(a, p, q, t, whole=3)
    if np.any(q < 0):
        raise ValueError(f"q = |w_perp| must be >= 0, but its least entry is {np.min(q):g}")
    check_balanced(a, np.hypot(p, q))
    a_t, p_t, q_t = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    _balanced_kernel(a, p, q, t, _curve(), a_t, p_t, q_t)
    return a_t.reshape(shape), p_t.reshape(shape), q_t.reshape(shape)


def flip_angle(t: ArrayLike) -> Array:
    """The angle theta* > pi/2 from which a balanced flow with a > 0 reaches pi/2 at time t: T(theta*) = -t.

    Flows from below it have w_1 > 0 at t. So P(WR succeeds) = P(theta(0) < theta*)/2 with rewind time t.
    """
    check_nonnegative_time(t)
    return universal_angle(-np.asarray(t, dtype=np.float64))
