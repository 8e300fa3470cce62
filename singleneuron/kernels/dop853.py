"""One embedded Runge-Kutta pair, DOP853, for autonomous systems, with a step size for every trajectory.

Hairer, Norsett & Wanner, *Solving Ordinary Differential Equations I*, section II.5 and II.6: order 8, error
estimates of order 5 and 3, dense output of order 7. The tableau is scipy's. A right-hand side is a
compiled function ``rhs(y, p, out)``; `solve` follows one trajectory, a kernel of each flow loops
over the ensemble.
"""

import math

import numpy as np

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853_step import (
    ORDER,
    STAGES,
    attempt,
    error_norm,
    first_step,
    locate,
    prepare_dense,
    step_factor,
)

MAX_STEPS = 2_000_000
MAX_CERTAIN_STEPS = 100_000  # spent in the limit on a stiff trajectory whose limit is certain
LEAST_STEP = 1e-290

# Why `solve` returned.
END, EVENT, CONVERGED, CERTAIN, FAILED, AMBIGUOUS, RUNNING = 0, 1, 2, 3, 4, 5, 6


FLOOR_OF_LAST = 0.1


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
