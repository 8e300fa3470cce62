"""One embedded Runge-Kutta pair, DOP853, for autonomous systems, with a step size for every trajectory.

Hairer, Norsett & Wanner, *Solving Ordinary Differential Equations I*, section II.5 and II.6: order 8, error
estimates of order 5 and 3, dense output of order 7. The tableau is scipy's. A right-hand side is a
compiled function ``rhs(y, p, out)``; `solve` follows one trajectory, a kernel of each flow loops
over the ensemble.
"""

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
MAX_STEPS = 2_000_000
MAX_CERTAIN_STEPS = 100_000  # spent in the limit on a stiff trajectory whose limit is certain
LEAST_STEP = 1e-290

# Why `solve` returned.
END, EVENT, CONVERGED, CERTAIN, FAILED, AMBIGUOUS, RUNNING = 0, 1, 2, 3, 4, 5, 6


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
FLOOR_OF_LAST = 0.1


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


# What is known of a trajectory between two steps: its time, the size of its next step, if that one ends at
# the last time, since when it is within tolerance of its target (NaN) and whether it is, whether its last
# step was rejected, how many times are recorded, how many steps were tried; of the last one accepted, its
# error and its size.
T, STEP, LAST, SINCE, INSIDE, REJECTED, FILLED, TRIED, ERROR, SIZE, KNOWN = range(11)


@routine
def propose(s, h, t_end):
    """Set the size of the next step: (RUNNING | END | FAILED)."""
    if s[T] >= t_end:
        return END
    if s[TRIED] >= MAX_STEPS:
        return FAILED
    s[LAST] = h >= t_end - s[T]
    s[STEP] = min(h, t_end - s[T])
    # Below the resolution of t the system, which is autonomous, goes on all the same.
    return RUNNING if s[STEP] >= LEAST_STEP else FAILED


def parts(rhs, gauge):
    """``begin``, ``step`` and ``settle`` of one flow, each compiled once.

    ``rhs(y, p, out)`` is its right-hand side. ``gauge(y, p, g)`` measures a state: the step on which g[0]
    becomes <= 0 ends at that event; g[1] <= 0 where y is within tolerance of its target; g[2] > 0 where its
    limit is certain; g[0] is NaN in a state that the flow cannot reach: it is repeated at half its size.
    """

    @routine
    def step(p, y, h, k, y1):
        """One step from y, given k[0] = rhs(y): y1, and k[:13]."""
        attempt(rhs, p, y, h, k, y1)

    @routine
    def within(p, y, h, k, k_within, out):
        """y(h) within an accepted step, given k[0] = rhs(y), by a step of its own.

        *Not* by the dense output: its order is lower and nothing controls its error, which on long smooth
        steps reaches hundreds of tolerances. It serves to locate events.
        """
        k_within[0] = k[0]
        step(p, y, h, k_within, out)

    @routine
    def start(p, y, rtol, atol, k, y1):
        return first_step(rhs, p, y, rtol, atol, k, y1)

    @routine
    def interpolant(p, y, y1, h, k, dense, scratch):
        prepare_dense(rhs, p, y, y1, h, k, dense, scratch)

    @routine
    def find(which, p, y, y1, dense, g, scratch):
        return locate(gauge, which, p, y, y1, dense, g, scratch)

    @routine
    def begin(p, y, s, times, out, rtol, atol, limit, work):
        """Make ready to follow y from s[T] on; s[SINCE] and s[FILLED] are given, too. As `settle`."""
        k, _, y1, _, _, g = work
        filled = int(s[FILLED])
        while filled < times.size and times[filled] <= s[T]:
            out[filled] = y
            filled += 1
        s[FILLED], s[TRIED], s[REJECTED], s[ERROR], s[SIZE] = filled, 0.0, 0.0, 0.0, 1.0
        rhs(y, p, k[0])
        h = start(p, y, rtol, atol, k, y1)
        gauge(y, p, g)
        s[INSIDE] = g[1] <= 0.0
        if s[INSIDE] and math.isnan(s[SINCE]):
            s[SINCE] = s[T]
        if s[INSIDE] and limit:
            return CONVERGED
        return propose(s, h, times[-1])

    @routine
    def settle(p, y, error, s, times, out, limit, t_certain, work):
        """Accept the step to y1, or not; record what it passed; choose the next. RUNNING, or why it ended."""
        k, k_within, y1, dense, scratch, g = work
        h, t, t_end = s[STEP], s[T], times[-1]
        s[TRIED] += 1
        if not error < 1.0:
            s[REJECTED] = 1.0
            return propose(s, h * min(1.0, step_factor(error)), t_end)
        gauge(y1, p, g)
        if math.isnan(g[0]):
            s[REJECTED] = 1.0
            return propose(s, h * 0.5, t_end)
        event = g[0] <= 0.0
        inside = g[1] <= 0.0
        entered = inside and not s[INSIDE]
        certain = g[2] > 0.0
        s[INSIDE] = inside
        if not inside:
            s[SINCE] = math.nan
        fraction = 1.0
        if event or entered:
            interpolant(p, y, y1, h, k, dense, scratch)
            if event:
                fraction = find(0, p, y, y1, dense, g, scratch)
            if entered:
                crossing = find(1, p, y, y1, dense, g, scratch)
                if crossing <= fraction:
                    s[SINCE] = t + crossing * h
        t_new = t_end if s[LAST] and fraction == 1.0 else t + fraction * h
        filled = int(s[FILLED])
        while filled < times.size and times[filled] < t_new:
            within(p, y, times[filled] - t, k, k_within, out[filled])
            filled += 1
        if fraction < 1.0:
            within(p, y, fraction * h, k, k_within, y1)
        y[:] = y1
        if filled < times.size and times[filled] == t_new:
            out[filled] = y
            filled += 1
        s[T], s[FILLED] = t_new, filled
        if limit and inside and not event:
            return CONVERGED
        if event:
            return EVENT
        if limit and certain and (t_new >= t_certain or s[TRIED] > MAX_CERTAIN_STEPS):
            return CERTAIN
        k[0] = k[STAGES]
        s[ERROR], s[SIZE] = error, h
        factor = step_factor(error)
        h *= min(1.0, factor) if s[REJECTED] else factor
        s[REJECTED] = 0.0
        return propose(s, h, t_end)

    return begin, step, settle


@routine
def no_gauge(y, p, g):
    """The gauge of a flow without events and without a target."""
    g[0], g[1], g[2] = 1.0, 1.0, -1.0


def build(rhs, gauge):
    """The solver of one flow, of its `parts`."""
    begin, step, settle = parts(rhs, gauge)

    @routine
    def solve(y, p, t, times, filled, out, rtol, atol, limit, t_certain, since, work):
        """Follow one trajectory of y' = rhs(y, p) from (t, y) to times[-1], recording y(times) in `out`.

        With `limit`, the trajectory ends as soon as it converged or, from t_certain on, its limit is certain.

        Returns (reason, t, filled, since): `y` is the state at t, `out[:filled]` is recorded, `since` is
        the time from which on the state was within tolerance (NaN while it is not).
        """
        k, y1 = work[0], work[2]
        s = np.empty(KNOWN)
        s[T], s[SINCE], s[FILLED] = t, since, filled
        reason = begin(p, y, s, times, out, rtol, atol, limit, work)
        while reason == RUNNING:
            step(p, y, s[STEP], k, y1)
            error = error_norm(y, y1, s[STEP], k, rtol, atol)
            error = max(error, FLOOR_OF_LAST * s[ERROR] * (s[STEP] / s[SIZE]) ** ORDER)
            reason = settle(p, y, error, s, times, out, limit, t_certain, work)
        return reason, s[T], int(s[FILLED]), s[SINCE]

    return solve
