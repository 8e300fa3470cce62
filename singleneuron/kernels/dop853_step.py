"""One step of DOP853: its stages, its error, its dense output, and where on it an event happens."""

import math

import numpy as np
from scipy.integrate import DOP853

from singleneuron.kernels.compiling import routine, template

STAGES = 12
ROWS = 16  # 12 stages, the derivative at the end of the step, 3 stages of the dense output
A = np.zeros((ROWS, ROWS))


A[:STAGES, :STAGES] = DOP853.A


A[STAGES, :STAGES] = DOP853.B


A[STAGES + 1 :, :] = DOP853.A_EXTRA


E3, E5, D = (np.ascontiguousarray(table) for table in (DOP853.E3, DOP853.E5, DOP853.D))


ORDER = 8


@template
def stage(rhs, p, y, h, k, s, y_stage):
    """Stage `s` of a step of size h from y: fills k[s] (and y_stage, its argument)."""
    n = y.size
    for i in range(n):
        y_stage[i] = 0.0
    for j in range(s):
        weight = A[s, j]
        if weight != 0.0:
            for i in range(n):
                y_stage[i] += weight * k[j, i]
    for i in range(n):
        y_stage[i] = y[i] + h * y_stage[i]
    rhs(y_stage, p, k[s])


@template
def attempt(rhs, p, y, h, k, y1):
    """One step from y, given k[0] = rhs(y): y1 = y(h), k[12] = rhs(y1); k[:13] is filled."""
    for s in range(1, STAGES + 1):
        stage(rhs, p, y, h, k, s, y1)


# DOP853's estimate passes 0 where that of order 5 changes sign: steps hundreds of times worse than asked
# pass, in about one of 10,000 balanced population flows. Two more, of the same order in h, bound it from
# below: from the estimate of order 3 alone, and from the previous step's.
FLOOR_OF_THREE = 0.1


@routine
def error_norm(y, y1, h, k, rtol, atol):
    """Scaled error of the step (accept if < 1); inf if any stage is not finite."""
    n = y.size
    sum5 = 0.0
    sum3 = 0.0
    for i in range(n):
        scale = atol + rtol * max(abs(y[i]), abs(y1[i]))
        e5 = 0.0
        e3 = 0.0
        # A stage that overflows would make scale infinite and the error 0.
        finite = math.isfinite(y1[i])
        for j in range(STAGES + 1):
            value = k[j, i]
            finite = finite and math.isfinite(value)
            e5 += E5[j] * value
            e3 += E3[j] * value
        if not finite:
            return math.inf
        sum5 += (e5 / scale) ** 2
        sum3 += (e3 / scale) ** 2
    # The sum, not the mean: coordinates at rest must not excuse those that move.
    error = abs(h) * sum5 / math.sqrt(sum5 + 0.01 * sum3) if sum5 > 0.0 else 0.0
    return max(error, FLOOR_OF_THREE * rtol * h * h * sum3)


@routine
def step_factor(error):
    """Ratio of the next step size to this one: 0.9 error^(-1/ORDER), within [0.2, 10]."""
    eighth_root = math.sqrt(math.sqrt(math.sqrt(error)))
    return min(10.0, max(0.2, 0.9 / eighth_root)) if error < math.inf else 0.2


@template
def first_step(rhs, p, y, rtol, atol, k, y1):
    """Starting step size (Hairer et al., II.4), given k[0] = rhs(y)."""
    n = y.size
    d0 = 0.0
    d1 = 0.0
    for i in range(n):
        scale = atol + rtol * abs(y[i])
        d0 += (y[i] / scale) ** 2
        d1 += (k[0, i] / scale) ** 2
    d0 = math.sqrt(d0 / n)
    d1 = math.sqrt(d1 / n)
    h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    for i in range(n):
        y1[i] = y[i] + h0 * k[0, i]
    rhs(y1, p, k[1])
    d2 = 0.0
    for i in range(n):
        scale = atol + rtol * abs(y[i])
        d2 += ((k[1, i] - k[0, i]) / scale) ** 2
    d2 = math.sqrt(d2 / n) / h0
    largest = max(d1, d2)
    if not math.isfinite(largest):
        return h0 * 1e-3
    h1 = max(1e-6, h0 * 1e-3) if largest <= 1e-15 else (0.01 / largest) ** (1.0 / ORDER)
    return min(100.0 * h0, h1)


@template
def prepare_dense(rhs, p, y, y1, h, k, dense, scratch):
    """Fill the interpolation coefficients `dense` (7, n) of an accepted step."""
    n = y.size
    for s in range(STAGES + 1, ROWS):
        stage(rhs, p, y, h, k, s, scratch)
    for i in range(n):
        delta = y1[i] - y[i]
        dense[0, i] = delta
        dense[1, i] = h * k[0, i] - delta
        dense[2, i] = 2.0 * delta - h * (k[STAGES, i] + k[0, i])
        for r in range(4):
            total = 0.0
            for j in range(ROWS):
                total += D[r, j] * k[j, i]
            dense[3 + r, i] = h * total


@routine
def interpolate(y, dense, fraction, out):
    """Dense output at y(t + fraction h)."""
    for i in range(y.size):
        value = 0.0
        for r in range(7):
            value += dense[6 - r, i]
            value *= fraction if r % 2 == 0 else 1.0 - fraction
        out[i] = y[i] + value


@template
def locate(gauge, which, p, y, y1, dense, g, scratch):
    """Fraction of the step at which g[which] falls to 0 (> 0 at its start, <= 0 at its end).

    The Illinois form of regula falsi: a bracket throughout, superlinear, no derivative.
    """
    low, high = 0.0, 1.0
    gauge(y, p, g)
    g_low = g[which]
    gauge(y1, p, g)
    g_high = g[which]
    side = 0
    for _ in range(200):
        width = high - low
        middle = high - width * g_high / (g_high - g_low)
        if not low < middle < high:
            middle = low + 0.5 * width
        if width < 1e-14 or middle <= low or middle >= high:
            break
        interpolate(y, dense, middle, scratch)
        gauge(scratch, p, g)
        value = g[which]
        if value <= 0.0:
            if high - middle < 1e-15:
                high = middle
                break
            high, g_high = middle, value
            if side == 1:
                g_low *= 0.5
            side = 1
        else:
            low, g_low = middle, value
            if side == -1:
                g_high *= 0.5
            side = -1
    return high


@routine
def workspace(n):
    """Scratch arrays of `solve` for a system of n unknowns."""
    return np.empty((ROWS, n)), np.empty((ROWS, n)), np.empty(n), np.empty((7, n)), np.empty(n), np.empty(3)
