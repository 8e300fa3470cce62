"""Integrate the flow on n samples: many trajectories in parallel, or one with a record of its slides."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from singleneuron.flows.samples.cells import Hyperplanes, empty_cell, hyperplanes
from singleneuron.flows.samples.events import empty_coefficients
from singleneuron.flows.samples.flow import Options, follow
from singleneuron.flows.samples.near_planes import empty_watch
from singleneuron.kernels.bernstein import DEGREE
from singleneuron.kernels.dop853_step import ROWS
from singleneuron.problem.arguments import Array


class SampleFlow(NamedTuple):
    """B trajectories of the flow on n samples."""

    path: Array  # (B, T, 1 + d), (a, w) at the requested times
    end: Array  # (B, 1 + d), the last state; with `limit`, the limit of a decided trajectory
    reason: NDArray[np.int64]  # (B,), why the trajectory ended
    time: Array  # (B,), when the trajectory ended
    events: NDArray[np.int64]  # (B,), number of crossings, entries and releases
    ambiguous: NDArray[np.bool_]  # (B,), whether a passed 0 while sliding, so that the flow is not unique
    fate: NDArray[np.int64]  # (B,), `limits.fate` of a trajectory that ran to the last time


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
    """Follow all starts in parallel threads.

    `shares` (T, m) and `log` record a single trajectory. With several starts, they are empty.
    """
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

    # Python threads suffice, because the kernel releases the GIL. `prange` would double its compile time.
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
    """Integrate the gradient flow on samples from event to event.

    A trajectory ends as EVENT (dead) if no sample is active or if it stays at w = 0 (see `apex`). It ends as
    FAILED after BUDGET steps. If `a` passes 0 during a slide, the hyperplanes of the slide become repelling,
    and the continuation is not unique. By convention, w then moves to the off side of all of them, and the
    trajectory is marked ambiguous.

    Parameters
    ----------
    x, y : Array
        Inputs (n, d) and labels (n,), with d > 1.
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts.
    times : Array
        (T,) increasing times at which to report the state.
    c : Array | None
        (B,) balance of the starts, exactly 0 if they are balanced by construction, or None to compute it.
        If c >= 0, `a` never passes 0.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as CONVERGED once it is certain to tend to the critical point of its cell and its
        a w is within `tolerance` of this point, which then becomes its `end`.
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
    A. F. Filippov, *Differential Equations with Discontinuous Righthand Sides*, 1988 (definition of sliding).
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
        Inputs (n, d) and labels (n,), with d > 1.
    a, w : Array or float
        Outer weight and inner weights (d,) of the start.
    times : Array
        (T,) increasing times at which to report the state.
    c : float | None
        Balance of the start, exactly 0 if it is balanced by construction, or None to compute it.
    rtol, atol : float
        Tolerances of the integrator.

    Returns
    -------
    flow : SampleFlow
        The trajectory, with B = 1.
    shares : Array
        (T, n) share of each sample: 1 while the sample is active, 0 while it is inactive, and its multiplier
        alpha while the flow slides in its hyperplane.
    events : Array
        Times of the events.
    """
    # Integrate twice: the first run counts the events, so that the second run has room to log them.
    planes, group, scale = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), False, math.inf, 0.0)
    start = np.atleast_1d(a), np.atleast_2d(w), None if c is None else np.atleast_1d(c)
    events = _run(planes, options, *start, times, np.empty((len(times), 0)), np.empty(0)).events[0]
    shares, log = np.empty((len(times), len(planes.x))), np.empty(events)
    flow = _run(planes, options, *start, times, shares, log)
    shares = shares[:, group]
    return flow, np.where(scale > 0, shares, np.where(scale < 0, 1 - shares, 0.0)), log
