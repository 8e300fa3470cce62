"""The flow on n samples in d > 1 coordinates, integrated from event to event with Filippov sliding.

A trajectory moves from cell to cell: `follow` takes a step of the flow inside a cell, finds the first event
in that step, and enters the next cell.
"""

import math
from typing import NamedTuple

from singleneuron.flows.samples.cells import cell_field, step
from singleneuron.flows.samples.events import (
    NOTHING,
    REACHED,
    TURNED,
    arrive,
    bend_of,
    enter_next,
    leads_across,
    next_event,
)
from singleneuron.flows.samples.limits import MOVED, MOVING, ending, fate
from singleneuron.flows.samples.near_planes import look_around, room, watched
from singleneuron.flows.samples.steps import begin, rebalance, record, within_reach
from singleneuron.kernels.compiling import kernel
from singleneuron.kernels.dop853 import CONVERGED, END, EVENT, FAILED, LEAST_STEP
from singleneuron.kernels.dop853_step import STAGES, error_norm, first_step, prepare_dense, step_factor
from singleneuron.kernels.vectors import dot, fill, put
from singleneuron.problem.status import TINY_NORM

BUDGET = 200_000
"""The largest number of steps of a trajectory. If it needs more, it is too stiff and ends as FAILED."""


class Options(NamedTuple):
    """The options of the integration, which are arguments of `sample_flow`."""

    rtol: float
    atol: float
    limit: bool
    t_certain: float
    tolerance: float


@kernel()
def follow(planes, options, y, c, times, path, shares, log, cell, watch, coefficients, work):
    """Follow one trajectory; return (reason, t, events, ambiguous, fate) and leave the last state in y."""
    # This function is long because it is the loop of an integrator: every branch reads and writes the dozen
    # local variables (step size, spacing of events, counters). Code that needs only a few of these variables
    # is in separate routines.
    k, k_within, y1, dense, scratch = work
    t, t_end, filled, events, ambiguous = 0.0, times[-1], 0, 0, False
    spacing, gap, calm, rejected = math.inf, 0.0, 0, False
    begin(planes, cell, watch, y)
    cell_field(y, cell, k[0])
    h = first_step(cell_field, cell, y, options.rtol, options.atol, k, y1)
    reason = FAILED
    if dot(y[1:], y[1:]) > 0.0:
        look_around(planes, y, watch)
    for _ in range(BUDGET):
        while filled < times.size and times[filled] <= t:
            record(cell, y, path[filled], shares[filled])
            filled += 1
        if filled == times.size:
            reason = END
            break
        # Checking for a limit is costly, so it waits until `calm` reaches 64. A step with an event adds 1 to
        # `calm`, and any other step adds 8.
        look = calm >= 64
        calm = 0 if look else calm
        end = ending(planes, cell, watch, options, y, k[0], c, t, look, scratch)
        if end == MOVED:
            if events < log.size:
                log[events] = t
            events += 1
            rebalance(cell, y, c)
            cell_field(y, cell, k[0])
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
        step(cell, y, h, k, y1)
        # Near w = 0 the error must be small relative to |w|, so that the direction of w is accurate.
        square = dot(y[1:], y[1:])
        error = error_norm(y, y1, h, k, options.rtol, options.atol * min(1.0, math.sqrt(square)))
        if not error < 1.0:
            h *= min(1.0, step_factor(error))
            rejected = True
            continue
        prepare_dense(cell_field, cell, y, y1, h, k, dense, scratch)
        bend = bend_of(dense)
        # All hyperplanes meet at w = 0: a step may approach this point but not pass it.
        if min(space, room(watch, y1)) <= bend or dot(y[1:], y1[1:]) < 0.1 * square:
            h *= 0.5
            rejected = True
            continue
        watched(watch, y1, watch.stop)
        fraction, kind, which = next_event(planes, cell, watch, y, dense, bend, coefficients)
        if kind == NOTHING:
            t_new = t_end if last else t + h
        else:
            t_new = t + arrive(planes, cell, y, fraction * h, kind, which, k, k_within, y1)
        while filled < times.size and times[filled] < t_new:
            put(k_within[0], k[0])
            step(cell, y, times[filled] - t, k_within, scratch)
            record(cell, scratch, path[filled], shares[filled])
            filled += 1
        rebalance(cell, y1, c)
        put(y, y1)
        factor = step_factor(error)
        gap += t_new - t
        if kind == NOTHING:
            put(k[0], k[STAGES])
            put(watch.start, watch.stop)
            calm += 8
            h *= min(1.0, factor) if rejected else factor
        elif kind == REACHED and not leads_across(planes, cell, y, which, k[0]):
            watched(watch, y, watch.start)
            calm += 8
            h *= min(1.0, factor)
        else:
            if events < log.size:
                log[events] = t_new
            events += 1
            ambiguous = ambiguous or kind == TURNED
            enter_next(planes, cell, y, kind, which)
            cell_field(y, cell, k[0])
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
        cell_field(y, cell, k[0])
        future = fate(planes, cell, watch, options, y, k[0], c, scratch)
    elif reason == EVENT:
        future = CONVERGED
        if dot(y[1:], y[1:]) <= TINY_NORM * TINY_NORM:
            fill(y[1:], 0.0)
    while filled < times.size:
        record(cell, y, path[filled], shares[filled])
        filled += 1
    return reason, t, events, ambiguous, future
