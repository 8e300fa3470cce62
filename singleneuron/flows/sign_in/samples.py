"""The Sign-In gradient flow on n samples in d > 1 coordinates, from event to event, with Filippov sliding.

The plain flow (`singleneuron.flows.samples`) uses the same cells, hyperplanes and search for crossings. The
field, the slides and the limits depend on the metric and are specific to Sign-In.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from singleneuron.flows.samples.cells import SLID, empty_cell, hyperplanes
from singleneuron.flows.samples.ensemble import SampleFlow
from singleneuron.flows.samples.events import NOTHING, REACHED, TURNED, bend_of, empty_coefficients
from singleneuron.flows.samples.flow import BUDGET, Options
from singleneuron.flows.samples.limits import MOVED, MOVING
from singleneuron.flows.samples.near_planes import empty_watch, look_around, room, watched
from singleneuron.flows.samples.steps import begin, within_reach
from singleneuron.flows.sign_in.limits import distance_sum, ending_in_cell, fate_in_cell
from singleneuron.flows.sign_in.sliding import (
    enter_next_cell,
    metric_arrive,
    metric_cell,
    metric_field,
    metric_leads_across,
    metric_step,
    next_metric_event,
)
from singleneuron.kernels.bernstein import DEGREE
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import CONVERGED, END, EVENT, FAILED, LEAST_STEP
from singleneuron.kernels.dop853_step import (
    ROWS,
    STAGES,
    error_norm,
    first_step,
    prepare_dense,
    step_factor,
)
from singleneuron.kernels.metric import weight_of
from singleneuron.kernels.vectors import add, dot, fill, put
from singleneuron.problem.arguments import Array
from singleneuron.problem.status import TINY_NORM


@routine
def restore(p, y, c):
    """Remove the drift of a step: put w back on its slide and, if c >= 0, set `a` so that c is conserved.

    If c >= 0, `a` never passes 0, but near w = 0 a drift of c could carry it past 0.
    """
    w = y[1:]
    for s in range(p.cell.counts[SLID]):
        add(w, -dot(p.cell.basis[s], w), p.cell.basis[s])
    if c >= 0.0:
        y[0] = math.copysign(weight_of(c + distance_sum(w, 1.0, p.beta[1]), p.beta[0]), y[0])


@kernel()
def follow_metric(planes, p, options, y, c, times, path, watch, coefficients, work):
    """Follow one trajectory; return (reason, t, events, ambiguous, fate) and leave the last state in y."""
    # This function is long because it is the loop of an integrator, as in `samples.flow.follow`: every branch
    # reads and writes the dozen local variables.
    k, k_within, y1, dense, scratch = work
    cell = p.cell
    t, t_end, filled, events, ambiguous = 0.0, times[-1], 0, 0, False
    spacing, gap, calm, rejected = math.inf, 0.0, 0, False
    begin(planes, cell, watch, y)
    metric_field(y, p, k[0])
    h = first_step(metric_field, p, y, options.rtol, options.atol, k, y1)
    # Where a weight passes 0, it varies on the scale of its beta, so the tolerance must be below the betas.
    atol = options.atol * min(1.0, p.beta[0], p.beta[1])
    reason = FAILED
    if dot(y[1:], y[1:]) > 0.0:
        look_around(planes, y, watch)
    for _ in range(BUDGET):
        while filled < times.size and times[filled] <= t:
            put(path[filled], y)
            filled += 1
        if filled == times.size:
            reason = END
            break
        look = calm >= 64
        calm = 0 if look else calm
        end = ending_in_cell(planes, p, watch, options, y, k[0], c, t, look, scratch)
        if end == MOVED:
            events += 1
            restore(p, y, c)
            metric_field(y, p, k[0])
            look_around(planes, y, watch)
            h = 0.1 * math.sqrt(dot(y[1:], y[1:]) / dot(k[0, 1:], k[0, 1:]))
            spacing, gap, calm, rejected = math.inf, 0.0, 0, False
            continue
        if end != MOVING:
            reason = end
            break
        h, space = within_reach(planes, watch, y, k[0, 1:], min(h, t_end - t))
        last = h >= t_end - t
        if h < LEAST_STEP:
            break
        metric_step(p, y, h, k, y1)
        square = dot(y[1:], y[1:])
        error = error_norm(y, y1, h, k, options.rtol, min(atol, options.atol * math.sqrt(square)))
        if not error < 1.0:
            h *= min(1.0, step_factor(error))
            rejected = True
            continue
        prepare_dense(metric_field, p, y, y1, h, k, dense, scratch)
        bend = bend_of(dense)
        # All hyperplanes meet at w = 0: a step may approach this point but not pass it.
        if min(space, room(watch, y1)) <= bend or dot(y[1:], y1[1:]) < 0.1 * square:
            h *= 0.5
            rejected = True
            continue
        watched(watch, y1, watch.stop)
        fraction, kind, which = next_metric_event(planes, p, watch, y, dense, bend, coefficients)
        if kind == NOTHING:
            t_new = t_end if last else t + h
        else:
            t_new = t + metric_arrive(planes, p, y, fraction * h, kind, which, k, k_within, y1)
        while filled < times.size and times[filled] < t_new:
            put(k_within[0], k[0])
            metric_step(p, y, times[filled] - t, k_within, path[filled])
            filled += 1
        restore(p, y1, c)
        put(y, y1)
        factor = step_factor(error)
        gap += t_new - t
        if kind == NOTHING:
            put(k[0], k[STAGES])
            put(watch.start, watch.stop)
            calm += 8
            h *= min(1.0, factor) if rejected else factor
        elif kind == REACHED and not metric_leads_across(planes, p, y, which, k[0]):
            watched(watch, y, watch.start)
            calm += 8
            h *= min(1.0, factor)
        else:
            events += 1
            ambiguous = ambiguous or kind == TURNED
            enter_next_cell(planes, p, y, kind, which)
            metric_field(y, p, k[0])
            watched(watch, y, watch.start)
            # The next event cuts a step short, so do not try a step much longer than the usual spacing.
            spacing = gap if spacing == math.inf else 0.7 * spacing + 0.3 * gap
            gap = 0.0
            calm += 1
            h = min(h * factor, 4.0 * spacing)
        t = t_new
        rejected = False
    future = MOVING
    if reason == END and not options.limit:
        metric_field(y, p, k[0])
        future = fate_in_cell(planes, p, watch, options, y, k[0], c, scratch)
    elif reason == EVENT:
        future = CONVERGED
        if dot(y[1:], y[1:]) <= TINY_NORM * TINY_NORM:
            fill(y[1:], 0.0)
    while filled < times.size:
        put(path[filled], y)
        filled += 1
    return reason, t, events, ambiguous, future


def sample_flow(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    beta_a: float,
    beta_w: float,
    times: Array,
    *,
    c: Array,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> SampleFlow:
    """Integrate the Sign-In gradient flow on samples from event to event.

    As in the plain flow (`flows.samples.ensemble.sample_flow`), a trajectory ends as EVENT if it is dead, and
    is marked ambiguous if `a` passes 0 during a slide.

    Parameters
    ----------
    x, y : Array
        Inputs (n, d) and labels (n,), with d > 1.
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts.
    beta_a, beta_w : float
        The values > 0 of m^2 - u^2 for `a` and for every coordinate of w.
    times : Array
        (T,) increasing times at which to report the state.
    c : Array
        (B,) balance g(a, beta_a) - sum_i g(w_i, beta_w) of the starts, where g is `distance`. If c >= 0, `a`
        never passes 0.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as CONVERGED once it is certain to tend to the critical point of its cell and its
        a w is within `tolerance` of this point, which then becomes its `end`. If the data of the cell do not
        determine w at this point (fewer active samples than coordinates), the state itself is the end.
    t_certain : float
        With `limit`, the time from which a trajectory that is certain to tend to this point ends as CERTAIN,
        however far away it is. From this time on, a trajectory with a < 0 <= c also ends as CERTAIN, because
        `a` stays negative and the neuron never fits the target.
    tolerance : float
        See `limit`.

    Returns
    -------
    SampleFlow
        The path and the end state of each trajectory, and why it ended.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).
    A. F. Filippov, *Differential Equations with Discontinuous Righthand Sides*, 1988 (definition of sliding).
    """
    planes, _, _ = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), bool(limit), float(t_certain), float(tolerance))
    start = np.concatenate([np.reshape(a, (-1, 1)), w], axis=1).astype(np.float64)
    times = np.array(times, dtype=np.float64)
    size, width = start.shape
    flow = SampleFlow(
        np.empty((size, times.size, width)),
        start,
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.bool_),
        np.empty(size, np.int64),
    )

    def run(part: range) -> None:
        m, d = planes.x.shape
        stages, state = (ROWS, width), (width,)
        work = tuple(np.empty(shape) for shape in (stages, stages, state, (DEGREE, width), state))
        p = metric_cell(empty_cell(m, d), planes, beta_a, beta_w)
        scratch = empty_watch(m, d), empty_coefficients(d), work
        for i in part:
            ended = follow_metric(planes, p, options, flow.end[i], c[i], times, flow.path[i], *scratch)
            flow.reason[i], flow.time[i], flow.events[i], flow.ambiguous[i], flow.fate[i] = ended

    # Python threads suffice, because the kernel releases the GIL. `prange` would double its compile time.
    threads = min(numba.get_num_threads(), size)
    parts = [range(i, size, 8 * threads) for i in range(min(size, 8 * threads))]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(run, parts))
    return flow
