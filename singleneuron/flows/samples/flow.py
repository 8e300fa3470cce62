"""The flow of n samples in d > 1 coordinates: event-driven, with Filippov sliding.

A trajectory goes from cell to cell: take a step of the flow inside a cell, find the first event within it,
and enter the cell that follows.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from singleneuron.flows.samples.cells import Hyperplanes, cell_field, empty_cell, hyperplanes, step
from singleneuron.flows.samples.events import (
    NOTHING,
    REACHED,
    TURNED,
    arrive,
    bend_of,
    empty_coefficients,
    enter_next,
    leads_across,
    next_event,
)
from singleneuron.flows.samples.limits import MOVED, MOVING, ending, fate
from singleneuron.flows.samples.near_planes import empty_watch, look_around, room, watched
from singleneuron.flows.samples.steps import begin, rebalance, record, within_reach
from singleneuron.kernels.bernstein import DEGREE
from singleneuron.kernels.compiling import kernel
from singleneuron.kernels.dop853 import CONVERGED, END, EVENT, FAILED, LEAST_STEP
from singleneuron.kernels.dop853_step import ROWS, STAGES, error_norm, first_step, prepare_dense, step_factor
from singleneuron.kernels.vectors import dot, fill, put
from singleneuron.problem.arguments import Array
from singleneuron.problem.status import TINY_NORM

BUDGET = 200_000
"""Most steps of a trajectory. One that needs more is too stiff for an explicit method and ends as FAILED."""


class Options(NamedTuple):
    """How to integrate, as in `sample_flow`."""

    rtol: float
    atol: float
    limit: bool
    t_certain: float
    tolerance: float


@kernel()
def follow(planes, options, y, c, times, path, shares, log, cell, watch, coefficients, work):
    """Follow one trajectory; return (reason, t, events, ambiguous, fate) and leave its last state in y."""
    # Over 50 lines: this is the loop of an integrator, whose dozen local variables (step size, spacing of
    # events, counters) every branch reads and writes. Whatever needs only a few of them is a routine already.
    # A look at the limit is costly: `calm` allows one after 8 steps without events, or up to 64 with them.
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
        # Near w = 0 the error must be small beside |w|, so that the direction of w is right.
        square = dot(y[1:], y[1:])
        error = error_norm(y, y1, h, k, options.rtol, options.atol * min(1.0, math.sqrt(square)))
        if not error < 1.0:
            h *= min(1.0, step_factor(error))
            rejected = True
            continue
        prepare_dense(cell_field, cell, y, y1, h, k, dense, scratch)
        bend = bend_of(dense)
        # All hyperplanes meet at w = 0: a step may approach it but not pass it.
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
            # Only the part of a step before the next event is used, so aim for the usual spacing of events.
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


class SampleFlow(NamedTuple):
    """B trajectories of the flow of n samples."""

    path: Array  # (B, T, 1 + d), (a, w) at the times asked for
    end: Array  # (B, 1 + d), the last state; with `limit`, the limit of a trajectory that is decided
    reason: NDArray[np.int64]  # (B,), why it ended
    time: Array  # (B,), when it ended
    events: NDArray[np.int64]  # (B,), number of crossings, entries and releases
    ambiguous: NDArray[np.bool_]  # (B,), whether a passed 0 while sliding: no unique continuation
    fate: NDArray[np.int64]  # (B,), what is certain for a flow that ran to its last time (`limits.fate`)


def _run(
    planes: Hyperplanes,
    options: Options,
    a: Array,
    w: Array,
    c: Array | None,
    times: Array,
    shares: Array,
    log: Array,
) -> SampleFlow:
    """Follow all starts on threads; `shares` (T, m or 0) and `log` take the record of a single trajectory."""
    start = np.concatenate([np.reshape(a, (-1, 1)), w], axis=1).astype(np.float64)
    size, width = start.shape
    if c is None:
        rho = np.linalg.norm(start[:, 1:], axis=1)
        c = (np.abs(start[:, 0]) - rho) * (np.abs(start[:, 0]) + rho)
    times = np.array(times, dtype=np.float64)
    flow = SampleFlow(
        np.empty((size, times.size, width)),
        np.empty((size, width)),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.bool_),
        np.empty(size, np.int64),
    )

    def run(part: range) -> None:
        m, d = planes.x.shape
        stages, state = (ROWS, 1 + d), (1 + d,)
        work = tuple(np.empty(shape) for shape in (stages, stages, state, (DEGREE, 1 + d), state))
        scratch = empty_cell(m, d), empty_watch(m, d), empty_coefficients(d), work
        for i in part:
            y = flow.end[i]
            y[:] = start[i]
            ended = follow(planes, options, y, c[i], times, flow.path[i], shares, log, *scratch)
            flow.reason[i], flow.time[i], flow.events[i], flow.ambiguous[i], flow.fate[i] = ended

    # Python threads, since the kernel releases the lock; numba's `prange` would double its compile time.
    threads = min(numba.get_num_threads(), size)
    if threads <= 1:
        run(range(size))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, [range(i, size, 8 * threads) for i in range(min(size, 8 * threads))]))
    return flow


def sample_flow(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    times: Array,
    *,
    c: Array | None = None,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> SampleFlow:
    """Integrate the gradient flow of samples from event to event.

    A trajectory ends as EVENT (dead) where no sample is active, or at w = 0 if that holds it (see `apex`),
    and as FAILED after BUDGET steps. Where a passes 0 while sliding, the hyperplane turns repelling and the
    continuation is not unique: by convention all hyperplanes of the slide are released to the inactive side,
    and the trajectory is marked ambiguous.

    Parameters
    ----------
    x, y : Array
        (n, d) inputs and (n,) labels, with d > 1.
    a, w : Array
        (B,) and (B, d) starts.
    times : Array
        (T,) increasing times to report.
    c : Array | None
        (B,) balance of the starts, exactly 0 where they are balanced by construction; None to compute it.
        Where c >= 0, a never passes 0.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory that is certain to tend to the critical point of its cell, once it is within
        `tolerance` of it in a w (CONVERGED). Its `end` is that point.
    t_certain : float
        With `limit`, the time from which on such a trajectory ends at any distance (CERTAIN). From
        then on one with a < 0 <= c ends likewise: a keeps its sign, and never fits a target.
    tolerance : float
        See `limit`.

    Returns
    -------
    SampleFlow
        Paths, end states and why each trajectory ended.

    References
    ----------
    A. F. Filippov, *Differential Equations with Discontinuous Righthand Sides*, 1988: what sliding means.
    """
    planes, _, _ = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), bool(limit), float(t_certain), float(tolerance))
    return _run(planes, options, a, w, c, times, np.empty((len(times), 0)), np.empty(0))


def sample_trace(
    x: Array, y: Array, a: float, w: Array, times: Array, *, c: float | None = None, rtol: float, atol: float
) -> tuple[SampleFlow, Array, Array]:
    """Integrate one trajectory and record how it slides.

    Parameters
    ----------
    x, y : Array
        (n, d) inputs and (n,) labels, with d > 1.
    a, w : Array or float
        Outer weight and (d,) inner weights of the start.
    times : Array
        (T,) increasing times to report.
    c : float | None
        Balance of the start, exactly 0 if it is balanced by construction; None to compute it.
    rtol, atol : float
        Tolerances of the integrator.

    Returns
    -------
    tuple[SampleFlow, Array, Array]
        The flow, with B = 1; shares (T, n) of the samples: 1 where a sample is active, 0 where it is not,
        and its multiplier alpha while the flow slides in its hyperplane; and the times of the events.
    """
    # Integrated twice: the first run counts the events, so that the second has room to log them.
    planes, group, scale = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), False, math.inf, 0.0)
    start = np.atleast_1d(a), np.atleast_2d(w), None if c is None else np.atleast_1d(c)
    events = _run(planes, options, *start, times, np.empty((len(times), 0)), np.empty(0)).events[0]
    shares, log = np.empty((len(times), len(planes.x))), np.empty(events)
    flow = _run(planes, options, *start, times, shares, log)
    shares = shares[:, group]
    return flow, np.where(scale > 0, shares, np.where(scale < 0, 1 - shares, 0.0)), log
