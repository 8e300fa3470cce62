"""Train a batch of starts on samples, in the coordinates that their masks keep, by the chosen method."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.flows import descent
from singleneuron.flows.of_population import train_line
from singleneuron.flows.result import (
    CHUNK,
    SLOW_CHUNK,
    BoolArray,
    FlowResult,
    Progress,
    balance_at_end,
    choose_method,
    descent_steps,
    masked_start,
    reported_chunks,
    times_reached,
)
from singleneuron.flows.samples import ensemble as samples
from singleneuron.flows.samples.limits import FADES, MOVING
from singleneuron.flows.task import Task
from singleneuron.kernels.dop853 import AMBIGUOUS, CERTAIN, CONVERGED, END, FAILED
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Sample
from singleneuron.problem.reduction import unit_overlap
from singleneuron.problem.state import State, start_balance
from singleneuron.problem.status import Status, sample_status


def train_samples(
    problem: Sample, starts: State, kept: BoolArray | None, task: Task, method: str, progress: Progress | None
) -> FlowResult[Any]:
    """Train from `starts` on samples; starts whose masks keep the same coordinates run together."""
    c = start_balance(starts := masked_start(starts, kept))
    patterns, member = np.ones((1, starts.d), dtype=bool), np.zeros(starts.size, dtype=np.intp)
    if kept is not None:
        patterns, member = np.unique(kept, axis=0, return_inverse=True)
    method = choose_method(method, bool(np.all(patterns.sum(axis=1) == 1)), task)

    rows = len(task.times)
    a, w = np.empty((rows, starts.size)), np.zeros((rows, starts.size, starts.d))
    status, time = np.empty(starts.size, dtype=np.int8), np.empty(starts.size)
    done = 0
    for index, pattern in enumerate(patterns):
        columns, group = np.flatnonzero(pattern), np.flatnonzero(member == index)
        size = CHUNK if columns.size == 1 and method != "descent" else SLOW_CHUNK
        overlap = float(unit_overlap(problem, pattern)[0])
        part = problem.restricted(columns)
        for i in reported_chunks(group, done, starts.size, size, progress):
            start = State(starts.a[i], starts.w[np.ix_(i, columns)], c[i])
            if columns.size == 1 and method != "descent":
                line_problem = Line(*(value[0] for value in part.statistics))
                a[:, i], w[:, i, columns[0]], status[i], time[i] = train_line(
                    start.a, start.w[:, 0], c[i], line_problem, np.full(i.size, overlap), task, method
                )
                continue
            train = _descend_sample if method == "descent" else _flow_sample
            a[:, i], w[np.ix_(np.arange(rows), i, columns)], reason, time[i], fate = train(
                part, start, i, task
            )
            end = np.column_stack([a[-1, i], w[-1][np.ix_(i, columns)]])
            # Descent does not conserve c.
            known = np.full(i.size, -np.inf) if method == "descent" else c[i]
            settled = reason != END if task.limit and method != "descent" else None
            status[i] = fated_status(part, end, known, overlap, task, reason, fate, settled)
        done += group.size
    a[task.times == 0], w[task.times == 0] = starts.a, starts.w
    state = State(a, w) if task.path else State(a[-1], w[-1])
    state = replace(state, c=balance_at_end(starts, state, status, method))
    return FlowResult(state, status, time, times_reached(task, method), method)


def _descend_sample(part: Sample, starts: State, index: NDArray[np.intp], task: Task) -> tuple[Any, ...]:
    rate, steps = descent_steps(task)
    path, end, reason, step = descent.descend_sample(
        part.x, part.y, starts.a, starts.w, steps, rate, tolerance=task.tolerance,
        label_noise=task.label_noise, seed=task.seed, trajectory=index, limit=task.limit,
    )  # fmt: skip
    path = end[None] if task.limit else np.moveaxis(path, 1, 0)
    fate = np.full(len(end), MOVING)  # with label noise, a trajectory never comes to rest for good
    if not task.label_noise:
        from_end = replace(task, times=np.zeros(1), limit=False)
        fate = _flow_sample(part, State(end[:, 0], end[:, 1:]), index, from_end)[-1]
        fate[reason == CERTAIN] = CONVERGED  # further steps change nothing
    return path[..., 0], path[..., 1:], reason, step * rate, fate


def _flow_sample(part: Sample, starts: State, index: NDArray[np.intp], task: Task) -> tuple[Any, ...]:
    flow = samples.sample_flow(part.x, part.y, starts.a, starts.w, task.times, c=starts.c, **task.ode)
    path = flow.end[None] if task.limit else np.moveaxis(flow.path, 1, 0)
    reason = np.where(flow.ambiguous, AMBIGUOUS, flow.reason)
    fate = np.where(flow.reason == END, MOVING, CONVERGED) if task.limit else flow.fate
    return path[..., 0], path[..., 1:], reason, flow.time, fate


def fated_status(
    part: Sample,
    end: Array,
    c: Array,
    overlap: float,
    task: Task,
    reason: NDArray[np.int64],
    fate: NDArray[np.int64],
    settled: BoolArray | None,
    ratio: float = 1.0,
) -> NDArray[np.int8]:
    """Determine the status of end states on samples, using the reason and the fate of each trajectory.

    Parameters
    ----------
    part : Sample
        The samples, in the coordinates that are kept.
    end : ndarray, shape (B, 1 + d)
        End states (a, w).
    c : ndarray, shape (B,)
        Balance of the starts, or -inf if it is not conserved.
    overlap : float
        |mask * v|, below 1 if the mask lost a target coordinate.
    task : Task
        The arguments of `integrate`, of which the tolerance and the learning rate are used.
    reason : ndarray of int, shape (B,)
        Why each trajectory ended, as a code of `kernels.dop853`.
    fate : ndarray of int, shape (B,)
        What each trajectory would do next, as a code of `samples.limits`.
    settled : ndarray of bool, shape (B,), optional
        True where the state is certainly a limit.
    ratio : float
        beta_a / beta_w under Sign-In, 1 for plain weights.

    Returns
    -------
    ndarray of int8, shape (B,)
        Codes of `Status`.
    """
    state = State(end[:, 0], end[:, 1:])
    found = sample_status(part, state, c, overlap, task.tolerance, settled, task.learning_rate or 0.0, ratio)
    if overlap == 1:  # a slow state may look as if it were at rest, so its fate decides
        found[(found == Status.STUCK) & (fate == MOVING)] = Status.UNDECIDED
        found[fate == FADES] = Status.DEAD
    found[reason == FAILED] = Status.FAILED
    found[reason == AMBIGUOUS] = Status.AMBIGUOUS
    return found
