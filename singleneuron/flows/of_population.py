"""Train a batch of starts on the population, or with one coordinate, by the chosen method."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.flows import descent, line, population
from singleneuron.flows.result import (
    CHUNK,
    SLOW_CHUNK,
    BoolArray,
    Ends,
    FlowResult,
    Progress,
    balance_at_end,
    choose_method,
    descent_steps,
    masked_start,
    reported_chunks,
    times_reached,
)
from singleneuron.flows.task import Task
from singleneuron.formulas import balanced
from singleneuron.formulas import line as formulas_line
from singleneuron.kernels.dop853 import CERTAIN, FAILED
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line, population_line
from singleneuron.problem.problem import Population
from singleneuron.problem.reduction import expand, reduce, unit_overlap
from singleneuron.problem.state import Reduced, Starts, State, start_balance
from singleneuron.problem.status import DEAD_RATIO, TINY_NORM, Status, line_status, population_status


def train_line(
    a: Array, w: Array, c: Array, problem: Line, overlap: Array, task: Task, method: str
) -> tuple[Array, Array, NDArray[np.int8], Array]:
    """Train from starts with one coordinate; return paths (T, B) of a and w, status (B,) and time (B,)."""
    if method == "exact":
        times = np.array([np.inf]) if task.limit else task.times
        path_a, path_w = formulas_line.line_flow(a, w, times[:, None], *problem, balanced=c == 0)
        time, reason = np.full(a.size, times[-1]), np.zeros(a.size, dtype=np.int64)
    else:
        path, end, reason, time = line.line_flow(a, w, c, problem, task.times, **task.ode)
        path_a, path_w = end.T[:, None] if task.limit else np.moveaxis(path, (2, 1), (0, 1))
    status = line_status(path_a[-1], path_w[-1], c, problem, overlap, task.tolerance)
    status[reason == FAILED] = Status.FAILED
    return path_a, path_w, status, time


def train_population(
    problem: Population,
    starts: Starts,
    kept: BoolArray | None,
    task: Task,
    method: str,
    progress: Progress | None,
) -> FlowResult[Any]:
    """Train from `starts` on the population, and return the states at the times of the task."""
    # This function is long because each group of starts writes into the arrays below, and a function for the
    # loop would need all these arrays and the task as arguments.
    overlap = np.ones(starts.size)
    if isinstance(starts, State):
        starts = masked_start(starts, kept)
        if kept is not None:
            overlap = unit_overlap(problem, kept)[0]
        reduced = reduce(problem, starts, kept)
    else:
        reduced = starts
    c = start_balance(starts)
    # If w is 0, has one coordinate, or is (anti)parallel to mask * v, it stays on a line: use `train_line`.
    single = (reduced.q == 0) & ((overlap > 0) | (reduced.p == 0))
    closed = bool(np.all(single | ((c == 0) & (overlap == 1) & (starts.c is not None))))
    method = choose_method(method, closed, task)

    rows = len(task.times)
    path = np.empty((3, rows, starts.size))
    status, time = np.empty(starts.size, dtype=np.int8), np.empty(starts.size)
    everyone = np.arange(starts.size)
    size = SLOW_CHUNK if method == "descent" else CHUNK
    groups = (
        [(everyone, False)] if method == "descent" else [(everyone[single], True), (everyone[~single], False)]
    )
    done = 0
    for group, is_line in groups:
        for i in reported_chunks(group, done, starts.size, size, progress):
            if is_line:
                path[0][:, i], path[1][:, i], status[i], time[i] = train_line(
                    reduced.a[i], reduced.p[i], c[i], population_line(overlap[i]), overlap[i], task, method
                )
                path[2][:, i] = 0.0
            else:
                run = {"descent": _descend_population, "exact": _exact_population, "ode": _ode_population}[
                    method
                ]
                path[:, :, i], status[i], time[i] = run(reduced[i], overlap[i], c[i], task)
        done += group.size
    # Report the starts exactly, without the rounding errors of a change of coordinates.
    path[:, task.times == 0] = np.stack([reduced.a, reduced.p, reduced.q])[:, None]
    if not task.path:
        path = path[:, -1]
    end = Reduced(path[0], path[1], path[2])
    end = replace(end, c=balance_at_end(starts, end, status, method))
    state: Starts = end
    if isinstance(starts, State):
        state = expand(problem, end, starts, kept)
        if task.path:
            w = np.where((task.times == 0)[:, None, None], starts.w, state.w)
            state = State(state.a, w, state.c)
    return FlowResult(state, status, time, times_reached(task, method), method)


def _ode_population(starts: Reduced, overlap: Array, c: Array, task: Task) -> Ends:
    start = population.log_coordinates(starts)
    path, end, reason, time = population.population_flow(start, overlap, c, task.times, **task.ode)
    status = population_status(end[:, 0], end[:, 1], end[:, 2], c, overlap, task.tolerance)
    status[reason == FAILED] = Status.FAILED
    states = population.from_log_coordinates(end[:, None] if task.limit else path)
    return np.stack([states.a.T, states.p.T, states.q.T]), status, time


def _exact_population(starts: Reduced, overlap: Array, c: Array, task: Task) -> Ends:
    times = np.array([np.inf]) if task.limit else task.times
    path = np.stack(balanced.balanced_flow(starts.a, starts.p, starts.q, times[:, None]))
    a, p, q = path[:, -1]
    rho = np.hypot(p, q)
    x = np.arcsinh(np.divide(-p, q, out=np.copysign(np.inf, -p), where=q > 0))
    log_rho = np.log(rho, out=np.full(a.shape, -np.inf), where=rho > 0)
    status = population_status(a, log_rho, x, c, overlap, task.tolerance)
    return path, status, np.full(a.size, times[-1])


def _descend_population(starts: Reduced, overlap: Array, c: Array, task: Task) -> Ends:
    rate, steps = descent_steps(task)
    path, end, reason, step = descent.descend_population(
        starts.a, starts.p, starts.q, overlap, steps, rate, limit=task.limit, tolerance=task.tolerance
    )
    status = descent_status(Reduced(end[:, 0], end[:, 1], end[:, 2]), reason, overlap, task.tolerance)
    states = np.moveaxis(end[:, None] if task.limit else path, (2, 1), (0, 1))
    return states, status, step.astype(np.float64) * rate


def descent_status(
    end: Reduced, reason: NDArray[np.int64], overlap: Array, tolerance: float
) -> NDArray[np.int8]:
    """Determine the status of the end states of gradient descent on the population.

    Descent does not conserve c, so neither death nor success is certain until it has happened.

    Parameters
    ----------
    end : Reduced
        End states (B,).
    reason : ndarray of int, shape (B,)
        Why each trajectory ended, as a code of `kernels.dop853`.
    overlap : ndarray, shape (B,)
        |mask * v|, below 1 where the mask lost a target coordinate.
    tolerance : float
        Largest |a rho - 1| and theta with which a state counts as converged.

    Returns
    -------
    ndarray of int8, shape (B,)
        Codes of `Status`.
    """
    rho, theta = np.hypot(end.p, end.q), np.arctan2(end.q, end.p)
    near = (np.abs(end.a * rho - 1) <= tolerance) & (theta <= tolerance)
    return np.select(
        [
            reason == FAILED,
            overlap < 1,
            near,
            (rho == 0) | ((end.a <= -DEAD_RATIO * rho) & (rho <= TINY_NORM)),
            reason == CERTAIN,
        ],
        [Status.FAILED, Status.STUCK, Status.CONVERGED, Status.DEAD, Status.STUCK],
        Status.UNDECIDED,
    ).astype(np.int8)
