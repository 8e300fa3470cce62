"""Tables of the universal angle curve of balanced flows in d > 1: angle to time, time to angle, and the norm.

theta is the angle between w and the target v, and delta is pi - theta. Angles are passed as
x = log tan(theta/2), so that delta stays accurate when w is nearly antiparallel to v.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from singleneuron.kernels.compiling import routine
from singleneuron.problem.arguments import Array


class AngleCurve(NamedTuple):
    """Tables of the universal angle curve and of the norm along it.

    The curve is defined by dx/dT = -delta/(2 pi) with T = 0 at x = 0. Each table holds polynomial
    coefficients, with one row per cell of a uniform grid. Beyond the grid, series replace the tables.

    Attributes
    ----------
    time : ndarray, shape (cells, SPLINE_DEGREE + 1)
        The time T(x), in cells of width X_STEP that start at X_MIN.
    growth : ndarray, shape (cells, SPLINE_DEGREE + 1)
        The growth h(x) = H/E of the norm, in the same cells. E is (delta/sin(delta))^2, and H is the integral
        of (E - 1) dT from delta = 0.
    angle : ndarray, shape (cells, SPLINE_DEGREE + 1)
        The inverse x(T), in cells of width T_STEP that start at `time_min`.
    time_min, time_max : float
        The first and the last T in the table `angle`.
    near_pi, near_zero : float
        Constants in two series for T: near theta = pi, T = near_pi - 2 pi/delta + ..., and near theta = 0,
        T = near_zero - 2 x - ....
    """

    time: Array
    growth: Array
    angle: Array
    time_min: float
    time_max: float
    near_pi: float
    near_zero: float


X_MIN, X_MAX, X_STEP, T_STEP = -20.0, 4.0, 1 / 32, 1 / 8  # range and cell widths of the tables
SPLINE_DEGREE = 7


@routine
def _piecewise(rows: Array, position: float) -> float:
    """Evaluate the polynomial of cell floor(position) at the fractional part of `position`."""
    cell = max(0, min(int(position), rows.shape[0] - 1))  # a valid row even at the grid's end and for NaN
    z = position - cell
    value = rows[cell, SPLINE_DEGREE]
    for power in range(SPLINE_DEGREE - 1, -1, -1):
        value = value * z + rows[cell, power]
    return value


@routine
def delta_of(m: float, x: float) -> float:
    """Compute delta = pi - theta from m = e^{-|x|} and the sign of x.

    Parameters
    ----------
    m : float
        e^{-|x|}, which callers have already computed.
    x : float
        log tan(theta/2).

    Returns
    -------
    float
        delta, with a relative error of a few ulp even near 0.
    """
    half = math.atan(m)
    return 2.0 * half if x > 0.0 else math.pi - 2.0 * half


@routine
def _time_series(delta: float) -> float:
    """Compute T - near_pi, the integral of 2 pi/(delta sin delta), to order delta^7."""
    d2 = delta * delta
    odd = delta * (1 / 6 + d2 * (7 / 1080 + d2 * (31 / 75600 + d2 * (127 / 4233600))))
    return 2 * math.pi * (odd - 1.0 / delta)


@routine
def time_of_angle(x: float, delta: float, curve: AngleCurve) -> float:
    """Compute the time T on the curve from x and delta."""
    if x > X_MAX:
        return curve.near_pi + _time_series(delta)
    if x < X_MIN:
        return curve.near_zero - 2.0 * x - 4 / math.pi * math.exp(x)
    return _piecewise(curve.time, (x - X_MIN) / X_STEP)


@routine
def angle_of_time(time: float, curve: AngleCurve) -> float:
    """Compute x on the curve from the time T."""
    if time < curve.time_min:
        # Invert the series of T(delta) and insert it into x = -log tan(delta/2).
        pole = 2 * math.pi / (curve.near_pi - time)
        p2 = pole * pole
        return math.log(2.0 / pole) + p2 * (1 / 12 - p2 * (53 / 4320 - p2 * (1291 / 453600)))
    if time > curve.time_max:
        x = 0.5 * (curve.near_zero - time)
        return x - 2 / math.pi * math.exp(x)
    return _piecewise(curve.angle, (time - curve.time_min) / T_STEP)


@routine
def _growth_series(delta: float) -> float:
    """Compute the growth h to order delta^7."""
    d2 = delta * delta
    return 2 * math.pi * delta * (1 / 3 - d2 * (19 / 270 - d2 * (779 / 113400 - d2 * (1807 / 4762800))))


@routine
def growth_of_norm(x: float, delta: float, curve: AngleCurve) -> float:
    """Compute the growth h on the curve from x and delta."""
    if x > X_MAX:
        return _growth_series(delta)
    if x < X_MIN:
        return 1.0
    return _piecewise(curve.growth, (x - X_MIN) / X_STEP)


@functools.cache
def tabulated_curve() -> AngleCurve:
    """Tabulate the curve: compute T and h by quadrature over x, and invert T by Newton's method."""
    from scipy.interpolate import make_interp_spline

    def cells(grid: Array, values: Array) -> Array:
        """Return the Taylor coefficients of the spline through `values`, one row per cell of `grid`."""
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
