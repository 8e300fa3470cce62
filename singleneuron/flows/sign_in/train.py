"""Train a batch of starts whose weights are products m u, by the flow of Sign-In or by descent on (m, u).

The metric of Sign-In is not invariant under rotations, so starts must be full states. Starts whose masks keep
the same coordinates run together. Statuses follow from the same rules as for plain weights, with the balance
of Sign-In in place of a^2 - |w|^2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.flows.of_population import descent_status
from singleneuron.flows.of_samples import fated_status
from singleneuron.flows.result import (
    CHUNK,
    SLOW_CHUNK,
    BoolArray,
    FlowResult,
    Progress,
    descent_steps,
    masked_start,
    reported_chunks,
    times_reached,
)
from singleneuron.flows.samples import ensemble
from singleneuron.flows.samples.limits import MOVING
from singleneuron.flows.sign_in import descent, directions, line, population, samples
from singleneuron.flows.task import Task, check_length
from singleneuron.kernels.dop853 import AMBIGUOUS, CERTAIN, CONVERGED, END, FAILED
from singleneuron.parameterization import Parameterization
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line, population_line
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.reduction import unit_overlap
from singleneuron.problem.state import Reduced, State, balance
from singleneuron.problem.status import Status, line_status, population_status

HORIZON = 1e10
"""With t_end = inf, a trajectory on the population whose outcome is still open at this time is undecided.

This horizon is later than `task.HORIZON`, because Sign-In passes near the saddle a = 0, theta = pi, where the
flow is slow. The steps of the solver grow there, so a later horizon costs next to nothing.
"""

Ends = tuple[Array, NDArray[np.int8], Array]
"""The path (T, B, 1 + d) of (a, w), the status (B,) and the time (B,)."""


@dataclass(frozen=True)
class Restricted:
    """The problem in the coordinates that one mask keeps.

    Attributes
    ----------
    problem : Population or Sample
        The problem in all coordinates.
    columns : NDArray
        The indices of the coordinates that the mask keeps.
    v : Array
        The entries of the target in these coordinates.
    overlap : float
        |mask * v|, below 1 where the mask lost a target coordinate.
    product : Parameterization
        The parameterization.
    task : Task
        The times and tolerances.
    """

    problem: Problem
    columns: NDArray[np.intp]
    v: Array
    overlap: float
    product: Parameterization
    task: Task

    @property
    def times(self) -> Array:
        """The times at which to report states on the population, or only HORIZON if t_end is inf."""
        return np.array([HORIZON]) if self.task.limit else self.task.times

    @property
    def sample(self) -> Sample:
        """The samples in the coordinates that the mask keeps."""
        assert isinstance(self.problem, Sample)
        return self.problem.restricted(self.columns)

    @property
    def factors(self) -> dict[str, Any]:
        """The keyword arguments that only descent on m and u needs."""
        betas = {"beta_a": self.product.beta_a, "beta_w": self.product.beta_w}
        return betas | {"reset_every": self.product.reset_every}

    @property
    def ratio(self) -> float:
        """beta_a / beta_w."""
        return self.product.beta_a / self.product.beta_w

    @property
    def betas(self) -> tuple[float, float]:
        """beta_a and beta_w."""
        return self.product.beta_a, self.product.beta_w


def train_sign_in(
    problem: Problem,
    starts: State,
    kept: BoolArray | None,
    task: Task,
    progress: Progress | None,
    product: Parameterization,
) -> FlowResult[Any]:
    """Train from `starts` under Sign-In, and return the states at the times of the task."""
    if isinstance(problem, Population) and np.ptp(problem.v[problem.v != 0]):
        raise ValueError(
            "Sign-In on the population needs a target v whose nonzero entries have the same size, but "
            f"v is {problem.v.tolist()}; use samples, or plain weights"
        )
    method = "ode" if task.learning_rate is None else "descent"
    if method == "ode":
        check_length(task)
    starts = masked_start(starts, kept)
    c = product.balance(starts)
    patterns, member = np.ones((1, starts.d), dtype=bool), np.zeros(starts.size, dtype=np.intp)
    if kept is not None:
        patterns, member = np.unique(kept, axis=0, return_inverse=True)

    rows = len(task.times)
    path = np.zeros((rows, starts.size, 1 + starts.d))
    status, time = np.empty(starts.size, dtype=np.int8), np.empty(starts.size)
    done = 0
    for index, pattern in enumerate(patterns):
        columns = np.flatnonzero(pattern)
        overlap = float(unit_overlap(problem, pattern)[0])
        part = Restricted(problem, columns, problem.v[columns], overlap, product, task)
        for alone, group in _by_kind(part, starts, np.flatnonzero(member == index)):
            run = _method_of(part, alone)
            size = CHUNK if run is _line else SLOW_CHUNK
            for i in reported_chunks(group, done, starts.size, size, progress):
                found, status[i], time[i] = run(part, starts.a[i], starts.w[np.ix_(i, columns)], c[i], i)
                path[:, i, 0], path[np.ix_(np.arange(rows), i, columns + 1)] = found[..., 0], found[..., 1:]
            done += group.size
    path[task.times == 0, :, 0], path[task.times == 0, :, 1:] = starts.a, starts.w
    path = path if task.path else path[-1]
    return FlowResult(State(path[..., 0], path[..., 1:]), status, time, times_reached(task, method), method)


def _by_kind(part: Restricted, starts: State, group: NDArray[np.intp]) -> list[tuple[bool, NDArray[np.intp]]]:
    """Split `group` into starts that stay on a line (True) and all other starts (False), omitting empty sets.

    On the population, a start stays on a line if no weight is nonzero except a single target weight. On
    samples, a start stays on a line only if the mask keeps a single coordinate.
    """
    alone = np.full(group.size, part.columns.size == 1)
    if isinstance(part.problem, Population):
        others = part.columns[part.v == 0] if np.count_nonzero(part.v) == 1 else part.columns
        alone |= ~starts.w[np.ix_(group, others)].any(axis=1)
    return [(kind, group[alone == kind]) for kind in (True, False) if np.any(alone == kind)]


def _method_of(part: Restricted, alone: bool) -> Callable[..., Ends]:
    """Return the function that trains from a group of starts, which stay on a line if `alone`."""
    sample = isinstance(part.problem, Sample)
    if part.task.learning_rate is not None:
        return _descend_sample if sample else _descend_population
    if alone:
        return _line
    return _sample if sample else _population


def _line(part: Restricted, a: Array, w: Array, c: Array, index: NDArray[np.intp]) -> Ends:
    """Follow the flow in one coordinate, while all other weights are 0 and stay 0."""
    own = int(np.argmax(part.v != 0))
    data = population_line(np.full(a.size, part.overlap))
    if isinstance(part.problem, Sample):
        data = Line(*(value[own] for value in part.sample.statistics))
    path, end, reason, time = line.line_flow(
        a, w[:, own], c, data, *part.betas, part.task.times, **part.task.ode
    )
    path = end[None] if part.task.limit else np.moveaxis(path, 1, 0)
    status = line_status(path[-1, :, 0], path[-1, :, 1], c, data, part.overlap, part.task.tolerance)
    status[reason == FAILED] = Status.FAILED
    full = np.zeros((len(path), a.size, 1 + w.shape[1]))
    full[..., 0], full[..., 1 + own] = path[..., 0], path[..., 1]
    return full, status, time


def _population(part: Restricted, a: Array, w: Array, c: Array, index: NDArray[np.intp]) -> Ends:
    """Follow the population flow in d > 1."""
    path, end, reason, time = population.population_flow(
        a, w, part.v, *part.betas, part.times, c=c, **part.task.ode
    )
    path = end[None] if part.task.limit else np.moveaxis(path, 1, 0)
    overlap = np.full(a.size, part.overlap)
    log_rho, x = directions.status_coordinates(path[-1, :, 1:], part.v)
    status = population_status(path[-1, :, 0], log_rho, x, c, overlap, part.task.tolerance)
    status[(x == np.inf) & (status != Status.DEAD)] = Status.STUCK  # an exactly antiparallel w never turns
    status[reason == FAILED] = Status.FAILED
    return path, status, time


def _sample(part: Restricted, a: Array, w: Array, c: Array, index: NDArray[np.intp]) -> Ends:
    """Follow the flow of n samples in d > 1, from event to event."""
    data, task = part.sample, part.task
    flow = samples.sample_flow(data.x, data.y, a, w, *part.betas, task.times, c=c, **task.ode)
    path = flow.end[None] if task.limit else np.moveaxis(flow.path, 1, 0)
    reason = np.where(flow.ambiguous, AMBIGUOUS, flow.reason)
    fate = np.where(flow.reason == END, MOVING, CONVERGED) if task.limit else flow.fate
    settled = reason != END if task.limit else None
    status = fated_status(data, path[-1], c, part.overlap, task, reason, fate, settled, part.ratio)
    return path, status, flow.time


def _descend_population(part: Restricted, a: Array, w: Array, c: Array, index: NDArray[np.intp]) -> Ends:
    """Run gradient descent on (m, u) to minimise the population loss."""
    rate, steps = descent_steps(part.task)
    path, end, reason, step = descent.descend_population(
        a, w, part.v, part.overlap, steps, rate, **part.factors, limit=part.task.limit,
        tolerance=part.task.tolerance,
    )  # fmt: skip
    path = end[None] if part.task.limit else np.moveaxis(path, 1, 0)
    p, q = directions.across(end[:, 1:], part.v)
    overlap = np.full(a.size, part.overlap)
    status = descent_status(Reduced(end[:, 0], p, q), reason, overlap, part.task.tolerance)
    return path, status, step.astype(np.float64) * rate


def _descend_sample(part: Restricted, a: Array, w: Array, c: Array, index: NDArray[np.intp]) -> Ends:
    """Run gradient descent on (m, u) to minimise the loss of n samples."""
    data, task = part.sample, part.task
    rate, steps = descent_steps(task)
    path, end, reason, step = descent.descend_sample(
        data.x, data.y, a, w, steps, rate, **part.factors, label_noise=task.label_noise, seed=task.seed,
        trajectory=index, limit=task.limit, tolerance=task.tolerance,
    )  # fmt: skip
    path = end[None] if task.limit else np.moveaxis(path, 1, 0)
    fate = np.full(a.size, MOVING)  # with label noise, a trajectory never comes to rest for good
    if not task.label_noise:
        fate = _fate_of_descent(part, State(end[:, 0], end[:, 1:]))
    fate = np.where(reason == CERTAIN, CONVERGED, fate)  # further steps change nothing
    # Descent does not conserve the balance.
    open_end = np.full(a.size, -np.inf)
    return (
        path,
        fated_status(data, end, open_end, part.overlap, task, reason, fate, None, part.ratio),
        step.astype(np.float64) * rate,
    )


def _fate_of_descent(part: Restricted, end: State) -> NDArray[np.int64]:
    """Return the fate of the flow from the end states of descent, after a reset of the betas.

    With one coordinate, plain weights have the same fate as Sign-In (see `sign_in.line`).
    """
    data, now = part.sample, np.zeros(1)
    options = replace(part.task, times=now, limit=False).ode
    if end.d == 1:
        flow = ensemble.sample_flow(data.x, data.y, end.a, end.w, now, c=balance(end), **options)
    else:
        c = part.product.balance(end)
        flow = samples.sample_flow(data.x, data.y, end.a, end.w, *part.betas, now, c=c, **options)
    return flow.fate
