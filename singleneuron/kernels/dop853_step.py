"""One step of DOP853: its stages, its error, its dense output, and the location of an event within it."""

import math

import numpy as np
from scipy.integrate import DOP853

from singleneuron.kernels.compiling import routine, template

STAGES = 12
ROWS = 16  # 12 stages, the derivative at the end of the step, and 3 stages of the dense output
A = np.zeros((ROWS, ROWS))
A[:STAGES, :STAGES] = DOP853.A
A[STAGES, :STAGES] = DOP853.B
A[STAGES + 1 :, :] = DOP853.A_EXTRA
E3, E5, D = (np.ascontiguousarray(table) for table in (DOP853.E3, DOP853.E5, DOP853.D))
ORDER = 8


@template
def stage(rhs, p, y, h, k, s, y_stage):
    """Compute stage s of a step of size h from y; fill the state `y_stage` and k[s] = rhs(y_stage)."""
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
    """Try one step from y, given k[0] = rhs(y); fill y1 = y(h) and k[1:13], where k[12] = rhs(y1).

    Parameters
    ----------
    rhs : routine
        Right-hand side ``rhs(y, p, out)``.
    p : ndarray
        Parameters of the right-hand side.
    y : ndarray, shape (n,)
        State at the start of the step.
    h : float
        Size of the step.
    k : ndarray, shape (ROWS, n)
        Stages; row 0 is given, rows 1 to 12 are filled.
    y1 : ndarray, shape (n,)
        Filled with the state at the end of the step.
    """
    for s in range(1, STAGES + 1):
        stage(rhs, p, y, h, k, s, y1)


# The error estimate of DOP853 passes through 0 where its term of order 5 changes sign. On its own, it would
# accept steps there whose errors are hundreds of times the tolerance, in about one of 10,000 balanced
# population flows. So two more estimates of the same order in h bound it from below. The first is computed
# from the term of order 3, and the second from the error of the last accepted step.
FLOOR_OF_THREE = 0.1


@routine
def error_norm(y, y1, h, k, rtol, atol):
    """Estimate the error of a step in units of the tolerance; a step with an error below 1 is accepted.

    Parameters
    ----------
    y, y1 : ndarray, shape (n,)
        States at the two ends of the step.
    h : float
        Size of the step.
    k : ndarray, shape (ROWS, n)
        Stages, with k[:13] filled.
    rtol, atol : float
        Relative and absolute tolerance.

    Returns
    -------
    float
        The error; inf if any stage is not finite.
    """
    n = y.size
    sum5 = 0.0
    sum3 = 0.0
    for i in range(n):
        scale = atol + rtol * max(abs(y[i]), abs(y1[i]))
        e5 = 0.0
        e3 = 0.0
        # Check this separately, because a stage that overflows can make the scale infinite and the error 0.
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
    # Sum over the coordinates, *not* the mean: coordinates at rest must not hide the errors of the others.
    error = abs(h) * sum5 / math.sqrt(sum5 + 0.01 * sum3) if sum5 > 0.0 else 0.0
    return max(error, FLOOR_OF_THREE * rtol * h * h * sum3)


@routine
def step_factor(error):
    """Compute the ratio of the next step size to this one: 0.9 error^(-1/ORDER), within [0.2, 10].

    Parameters
    ----------
    error : float
        Error of this step in units of the tolerance, >= 0 or inf.

    Returns
    -------
    float
        The ratio.
    """
    eighth_root = math.sqrt(math.sqrt(math.sqrt(error)))
    return min(10.0, max(0.2, 0.9 / eighth_root)) if error < math.inf else 0.2


@template
def first_step(rhs, p, y, rtol, atol, k, y1):
    """Choose the size of the first step (Hairer et al., II.4), given k[0] = rhs(y).

    Parameters
    ----------
    rhs : routine
        Right-hand side ``rhs(y, p, out)``.
    p : ndarray
        Parameters of the right-hand side.
    y : ndarray, shape (n,)
        Start.
    rtol, atol : float
        Relative and absolute tolerance.
    k : ndarray, shape (ROWS, n)
        Stages; row 0 is given, row 1 is overwritten.
    y1 : ndarray, shape (n,)
        Scratch.

    Returns
    -------
    float
        The step size, > 0.
    """
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
    """Compute the dense output of an accepted step.

    Parameters
    ----------
    rhs : routine
        Right-hand side ``rhs(y, p, out)``.
    p : ndarray
        Parameters of the right-hand side.
    y, y1 : ndarray, shape (n,)
        States at the two ends of the step.
    h : float
        Size of the step.
    k : ndarray, shape (ROWS, n)
        Stages; k[:13] is given, the other rows are filled.
    dense : ndarray, shape (7, n)
        Filled with the coefficients that `interpolate` uses.
    scratch : ndarray, shape (n,)
        Scratch.
    """
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
    """Fill `out` with the state that the dense output gives at `fraction` of the step."""
    for i in range(y.size):
        value = 0.0
        for r in range(7):
            value += dense[6 - r, i]
            value *= fraction if r % 2 == 0 else 1.0 - fraction
        out[i] = y[i] + value


@template
def locate(gauge, which, p, y, y1, dense, g, scratch):
    """Return the fraction of the step at which g[which] falls to 0.

    g[which] is > 0 at the start and <= 0 at the end of the step. The Illinois form of regula falsi is used:
    it keeps a bracket, converges superlinearly, and needs no derivative.
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
    """Allocate the scratch arrays of a solver.

    Parameters
    ----------
    n : int
        Number of unknowns.

    Returns
    -------
    k, k_within : ndarray, shape (ROWS, n)
        Stages of a step, and of a shorter step within it.
    y1 : ndarray, shape (n,)
        State at the end of the step.
    dense : ndarray, shape (7, n)
        Coefficients of the dense output.
    scratch : ndarray, shape (n,)
        Scratch.
    g : ndarray, shape (3,)
        Values of the gauge.
    """
    return np.empty((ROWS, n)), np.empty((ROWS, n)), np.empty(n), np.empty((7, n)), np.empty(n), np.empty(3)
