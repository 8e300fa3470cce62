"""The embedded Runge-Kutta pair DOP853 for autonomous systems, with a separate step size for each trajectory.

The method is from Hairer, Norsett & Wanner, *Solving Ordinary Differential Equations I*, sections II.5 and
II.6. It has order 8, error estimates of orders 5 and 3, and dense output of order 7. The tableau is taken
from scipy. A right-hand side is a compiled function ``rhs(y, p, out)``. `solve` follows one trajectory; each
flow has a kernel that loops over the ensemble.
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
from singleneuron.kernels.vectors import put

MAX_STEPS = 2_000_000  # a trajectory fails if it needs more
MAX_CERTAIN_STEPS = 100_000  # with `limit`, more steps than this end a trajectory whose limit is certain
LEAST_STEP = 1e-290

# The reasons why `solve` returns; RUNNING means that the trajectory goes on.
END, EVENT, CONVERGED, CERTAIN, FAILED, AMBIGUOUS, RUNNING = 0, 1, 2, 3, 4, 5, 6

# The error estimate of a step is at least this share of the last accepted step's error, scaled to the size of
# the new step; the comment on `dop853_step.FLOOR_OF_THREE` says why.
FLOOR_OF_LAST = 0.1

# Indices into `s`, an array of `KNOWN` numbers that describes a trajectory between two steps:
# T: the time.
# STEP: the size of the next step.
# LAST: whether the next step ends at the last time.
# SINCE: the time since which the state has been within tolerance of its target; NaN if it is not.
# INSIDE: whether the state is within tolerance of its target.
# REJECTED: whether the last step was rejected.
# FILLED: the number of recorded times.
# TRIED: the number of steps tried.
# ERROR: the error of the last accepted step.
# SIZE: the size of the last accepted step.
T, STEP, LAST, SINCE, INSIDE, REJECTED, FILLED, TRIED, ERROR, SIZE, KNOWN = range(11)


@routine
def propose(s, h, t_end):
    """Set the size of the next step, at most `h`; return RUNNING, END or FAILED."""
    if s[T] >= t_end:
        return END
    if s[TRIED] >= MAX_STEPS:
        return FAILED
    s[LAST] = h >= t_end - s[T]
    s[STEP] = min(h, t_end - s[T])
    # Steps below the resolution of t are allowed, since the system is autonomous.
    return RUNNING if s[STEP] >= LEAST_STEP else FAILED


def parts(rhs, gauge):
    """Compile ``begin``, ``step`` and ``settle`` for one flow, once each.

    Parameters
    ----------
    rhs : routine
        Right-hand side ``rhs(y, p, out)``, which fills `out` with y' for the parameters p.
    gauge : routine
        Function ``gauge(y, p, g)``, which fills g with measures of the state y. If g[0] <= 0, an event has
        occurred, and the step ends at the event. If g[0] is NaN, the flow cannot reach the state, and the
        step is repeated with half the size. If g[1] <= 0, the state is within tolerance of its target. If
        g[2] > 0, the limit of the trajectory is certain.

    Returns
    -------
    begin : routine
        Starts a trajectory.
    step : routine
        Tries a step.
    settle : routine
        Accepts or rejects the step.
    """
    # This function is long because the routines are closures over rhs and gauge. Templates take functions as
    # arguments and are inlined wherever they are called. To keep the compiled code small, each template is
    # called in only one of these routines.

    @routine
    def step(p, y, h, k, y1):
        """Try one step from y, given k[0] = rhs(y); fill y1 and k[1:13]."""
        attempt(rhs, p, y, h, k, y1)

    @routine
    def within(p, y, h, k, k_within, out):
        """Compute the state at the time h within an accepted step, by a separate step, given k[0] = rhs(y).

        The dense output is used only to locate events, *not* to compute states: its order is lower, and
        nothing controls its error, which on long smooth steps reaches hundreds of times the tolerance.
        """
        put(k_within[0], k[0])
        step(p, y, h, k_within, out)

    @routine
    def start(p, y, rtol, atol, k, y1):
        """Choose the size of the first step."""
        return first_step(rhs, p, y, rtol, atol, k, y1)

    @routine
    def interpolant(p, y, y1, h, k, dense, scratch):
        """Prepare the dense output of an accepted step."""
        prepare_dense(rhs, p, y, y1, h, k, dense, scratch)

    @routine
    def find(which, p, y, y1, dense, g, scratch):
        """Locate the fraction of the step at which g[which] falls to 0."""
        return locate(gauge, which, p, y, y1, dense, g, scratch)

    @routine
    def begin(p, y, s, times, out, rtol, atol, limit, work):
        """Prepare to follow y from s[T] on, given s[SINCE] and s[FILLED]; return a code as `settle` does."""
        k, _, y1, _, _, g = work
        filled = int(s[FILLED])
        while filled < times.size and times[filled] <= s[T]:
            put(out[filled], y)
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
        """Accept or reject the step to y1, record the states at times within it, and choose the next step.

        Returns RUNNING, or the reason why the trajectory ends.
        """
        # This function is long because its parts share state: s, the number of recorded times, and the
        # fraction of the step.
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
        put(y, y1)
        if filled < times.size and times[filled] == t_new:
            put(out[filled], y)
            filled += 1
        s[T], s[FILLED] = t_new, filled
        if limit and inside and not event:
            return CONVERGED
        if event:
            return EVENT
        if limit and certain and (t_new >= t_certain or s[TRIED] > MAX_CERTAIN_STEPS):
            return CERTAIN
        put(k[0], k[STAGES])
        s[ERROR], s[SIZE] = error, h
        factor = step_factor(error)
        h *= min(1.0, factor) if s[REJECTED] else factor
        s[REJECTED] = 0.0
        return propose(s, h, t_end)

    return begin, step, settle


@routine
def no_gauge(y, p, g):
    """Measure a state of a flow that has no events and no target.

    Parameters
    ----------
    y, p : ndarray
        State and parameters; unused.
    g : ndarray, shape (3,)
        Filled with values that mean no event, no target nearby and no certain limit (see `parts`).
    """
    g[0], g[1], g[2] = 1.0, 1.0, -1.0


def build(rhs, gauge):
    """Compile the solver for one flow.

    Parameters
    ----------
    rhs, gauge : routine
        As in `parts`.

    Returns
    -------
    routine
        ``solve``, which follows one trajectory.
    """
    begin, step, settle = parts(rhs, gauge)

    @routine
    def solve(y, p, t, times, filled, out, rtol, atol, limit, t_certain, since, work):
        """Follow one trajectory of y' = rhs(y, p) from (t, y) to times[-1], and record y(times) in `out`.

        With `limit`, the trajectory ends as soon as it has converged or, from t_certain on, as soon as its
        limit is certain. `work` is a `dop853_step.workspace`.

        Returns (reason, t, filled, since), and sets y to the state at t. `reason` says why the trajectory
        ended, t is its last time, and `filled` is the number of recorded times. `since` is the time since
        which the state has been within tolerance; NaN if it is not.
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
