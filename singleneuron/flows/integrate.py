"""`integrate`: training by gradient flow or gradient descent, with a status for every trajectory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from singleneuron.flows import descent, line, population
from singleneuron.flows.samples import flow as samples
from singleneuron.flows.samples.limits import FADES, MOVING
from singleneuron.flows.task import CERTAIN_TIME, MAX_DESCENT, METHODS, _check_length, _Task, _task
from singleneuron.formulas import balanced
from singleneuron.formulas import line as formulas_line
from singleneuron.kernels.dop853 import AMBIGUOUS, CERTAIN, CONVERGED, END, FAILED
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, Population, Problem, Sample, population_line
from singleneuron.problem.state import (
    Reduced,
    Starts,
    State,
    balance,
    expand,
    reduce,
    start_balance,
    unit_overlap,
)
from singleneuron.problem.status import (
    DEAD_RATIO,
    TINY_NORM,
    TOLERANCE,
    Status,
    line_status,
    population_status,
    sample_status,
)

BALANCE_ERROR, BALANCE_DRIFT = 1e-2, 1e-6
"""A known balance is wrong where it differs from that of a and w by more than this share of a^2 + |w|^2, and
by more than integrators at their default tolerance let it drift: what they end in is a start again."""
CHUNK, SLOW_CHUNK = 32768, 256
"""Trajectories between two reports of progress."""

Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]
_Ends = tuple[Array, NDArray[np.int8], Array]  # path (3, T, B) of (a, p, q), status (B,), time (B,)


S = TypeVar("S", bound=Starts)


@dataclass(frozen=True)
class FlowResult(Generic[S]):
    """End states, or a path with a leading time axis, of B trajectories.

    state : at t_end, or at every t_eval; in the limit (t_end = inf) where each trajectory was decided.
    status : (B,) int8, codes of `Status`, of the last state. time : (B,), since when that outcome held, or
    the end of the integration; of descent on samples since when |grad L| <= tolerance. times : (T,), those of
    the states: t_end or t_eval, of descent the multiples of its learning rate that are nearest, in the limit
    the last that it may take. method : 'ode', 'exact' or 'descent'.
    """

    state: S
    status: NDArray[np.int8]
    time: Array
    times: Array
    method: str


def integrate(
    problem: Problem,
    starts: S,
    t_end: float | None = None,
    *,
    t_eval: ArrayLike | None = None,
    rtol: float = 1e-8,
    atol: float | None = None,
    method: str = "auto",
    mask: ArrayLike | None = None,
    learning_rate: float | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> FlowResult[S]:
    """Train every start by gradient flow, or by gradient descent where a learning rate is given.

    starts : `State` with w (B, d), or for the population `Reduced` states, which cost the same for any d.
        Their c, where given, is a^2 - |w|^2.
    t_end : final time, or inf for the limit: a trajectory ends when it converged, died or stuck, from
        CERTAIN_TIME on also when its limit is certain; the rest is undecided at HORIZON. Of gradient
        descent, which conserves no c, no limit is certain: what is open at CERTAIN_TIME is undecided.
    t_eval : increasing times (T,) >= 0 to report instead; the state then has shape (T, B, ...).
    rtol, atol : tolerances of the integrator (atol defaults to rtol); tolerance : of convergence.
    method : 'ode', 'exact' (one coordinate, or balanced population starts), or 'auto': exact where possible.
    mask : (B, d) or (d,) bool, the coordinates kept; pruned weights start at 0 and stay there.
    label_noise : deviation of fresh noise on the labels at every step of gradient descent on samples, a
        function of `seed`, the trajectory and the step alone.
    progress : called as progress(done, total) as trajectories finish.

    Raises ValueError, in one line, for anything that does not fit.
    """
    task = _task(t_end, t_eval, rtol, atol, tolerance, learning_rate, label_noise, seed)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but is {method!r}")
    if not isinstance(problem, Population | Sample):
        raise ValueError(f"the problem must be a Population or a Sample, but is {problem!r}")
    if isinstance(starts, State) and starts.d != problem.d:
        raise ValueError(f"w must have d = {problem.d} coordinates, but has {starts.d}")
    if starts.a.ndim != 1:
        raise ValueError(f"starts must be one batch, a of shape (B,), but a has shape {starts.a.shape}")
    _check_balance(starts)
    kept = _kept(problem, starts, mask)
    if task.learning_rate is None and label_noise:
        raise ValueError("label_noise is drawn at every step of gradient descent: give a learning_rate too")
    if isinstance(problem, Population):
        if label_noise:
            raise ValueError("the population averages label_noise away: give a Sample, or no label_noise")
        return cast(FlowResult[S], _population(problem, starts, kept, task, method, progress))
    if not isinstance(starts, State):
        raise ValueError(
            "samples need full states w (B, d), but reduced ones (a, p, q) were given; use State"
        )
    return cast(FlowResult[S], _sample(problem, starts, kept, task, method, progress))


def _check_balance(starts: Starts) -> None:
    """ValueError for a c that is not the balance of a and w, by more than an integrator may let it drift."""
    if starts.c is None:
        return
    found = balance(starts)
    with np.errstate(over="ignore", invalid="ignore"):
        square = 2 * starts.a**2 - found  # a^2 + |w|^2
        wrong = np.abs(found - starts.c) > BALANCE_DRIFT + BALANCE_ERROR * square
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"c must be a^2 - |w|^2, but c[{i}] is {starts.c[i]:g} where a and w give {found[i]:g}; "
            "correct it, or leave c out"
        )


def _balance_then(starts: Starts, end: Starts, status: NDArray[np.int8], method: str) -> Array | None:
    """The c that is known of end states: descent conserves none, nor does an integrator that gave up."""
    if starts.c is None or method == "descent":
        return None
    lost = status == Status.FAILED
    return np.where(lost, balance(end), starts.c) if lost.any() and end.a.ndim == 1 else starts.c


def _kept(problem: Problem, starts: Starts, mask: ArrayLike | None) -> Mask | None:
    """The mask as (B, d), or None where it keeps everything."""
    if mask is None:
        return None
    kept = np.asarray(mask)
    if kept.dtype != bool or not isinstance(starts, State) or kept.shape not in (starts.w.shape, (starts.d,)):
        raise ValueError(
            f"mask must be boolean of shape (B, d) or (d,) for full states, but is {kept.dtype} {kept.shape}"
        )
    kept = np.broadcast_to(kept, starts.w.shape)
    if not np.all(kept.any(axis=1)):
        raise ValueError("mask must keep at least one coordinate of every student")
    return None if kept.all() else kept


def _method(method: str, closed: bool, task: _Task) -> str:
    """The method to use; `closed`: the problem has a closed form."""
    if task.learning_rate is not None:
        if method == "exact":
            raise ValueError("gradient descent has no closed form: leave method at 'auto'")
        return "descent"
    if method == "exact" and not closed:
        raise ValueError(
            "method 'exact' needs one coordinate, or population starts known to be balanced; take 'ode'"
        )
    chosen = ("exact" if closed else "ode") if method == "auto" else method
    if chosen == "ode":
        _check_length(task)
    return chosen


def _chunks(index: NDArray[np.intp], done: int, total: int, size: int, progress: Progress | None) -> Any:
    """Slices of `index`, reporting progress after each."""
    for first in range(0, index.size, size):
        chunk = index[first : first + size]
        yield chunk
        if progress is not None:
            progress(done + first + chunk.size, total)


def _masked_start(starts: State, kept: Mask | None) -> State:
    """The starts with pruned weights at 0; a known balance grows by the weight that is pruned."""
    if kept is None:
        return starts
    pruned = np.sum(np.where(kept, 0.0, starts.w) ** 2, axis=1)
    return State(starts.a, np.where(kept, starts.w, 0.0), None if starts.c is None else starts.c + pruned)


# --- one coordinate -----------------------------------------------------------------------------------------


def _line(
    a: Array, w: Array, c: Array, problem: Line, overlap: Array, task: _Task, method: str
) -> tuple[Array, Array, NDArray[np.int8], Array]:
    """Paths (T, B) of a and w, status and time of starts with one coordinate."""
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


# --- the population -----------------------------------------------------------------------------------------


def _population(
    problem: Population,
    starts: Starts,
    kept: Mask | None,
    task: _Task,
    method: str,
    progress: Progress | None,
) -> FlowResult[Any]:
    overlap = np.ones(starts.size)
    if isinstance(starts, State):
        starts = _masked_start(starts, kept)
        if kept is not None:
            overlap = unit_overlap(problem, kept)[0]
        reduced = reduce(problem, starts, kept)
    else:
        reduced = starts
    c = start_balance(starts)
    # w parallel to v, w = 0, and one coordinate alike: the direction never turns.
    single = (reduced.q == 0) & ((overlap > 0) | (reduced.p == 0))
    closed = bool(np.all(single | ((c == 0) & (overlap == 1) & (starts.c is not None))))
    method = _method(method, closed, task)

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
        for i in _chunks(group, done, starts.size, size, progress):
            if is_line:
                path[0][:, i], path[1][:, i], status[i], time[i] = _line(
                    reduced.a[i], reduced.p[i], c[i], population_line(overlap[i]), overlap[i], task, method
                )
                path[2][:, i] = 0.0
            else:
                run = {"descent": _descend_population, "exact": _exact_population, "ode": _ode_population}[
                    method
                ]
                path[:, :, i], status[i], time[i] = run(reduced[i], overlap[i], c[i], task)
        done += group.size
    path[:, task.times == 0] = np.stack([reduced.a, reduced.p, reduced.q])[:, None]  # to the last bit
    if not task.path:
        path = path[:, -1]
    end = Reduced(path[0], path[1], path[2])
    end = replace(end, c=_balance_then(starts, end, status, method))
    state: Starts = end
    if isinstance(starts, State):
        state = expand(problem, end, starts, kept)
        if task.path:
            w = np.where((task.times == 0)[:, None, None], starts.w, state.w)
            state = State(state.a, w, state.c)
    return FlowResult(state, status, time, _reached(task, method), method)


def _ode_population(starts: Reduced, overlap: Array, c: Array, task: _Task) -> _Ends:
    start = population.log_coordinates(starts)
    path, end, reason, time = population.population_flow(start, overlap, c, task.times, **task.ode)
    status = population_status(end[:, 0], end[:, 1], end[:, 2], c, overlap, task.tolerance)
    status[reason == FAILED] = Status.FAILED
    states = population.from_log_coordinates(end[:, None] if task.limit else path)
    return np.stack([states.a.T, states.p.T, states.q.T]), status, time


def _exact_population(starts: Reduced, overlap: Array, c: Array, task: _Task) -> _Ends:
    times = np.array([np.inf]) if task.limit else task.times
    path = np.stack(balanced.balanced_flow(starts.a, starts.p, starts.q, times[:, None]))
    a, p, q = path[:, -1]
    rho = np.hypot(p, q)
    x = np.arcsinh(np.divide(-p, q, out=np.copysign(np.inf, -p), where=q > 0))
    log_rho = np.log(rho, out=np.full(a.shape, -np.inf), where=rho > 0)
    status = population_status(a, log_rho, x, c, overlap, task.tolerance)
    return path, status, np.full(a.size, times[-1])


def _descend_population(starts: Reduced, overlap: Array, c: Array, task: _Task) -> _Ends:
    rate, steps = _steps(task)
    path, end, reason, step = descent.descend_population(
        starts.a, starts.p, starts.q, overlap, steps, rate, limit=task.limit, tolerance=task.tolerance
    )
    a, rho, theta = end[:, 0], np.hypot(end[:, 1], end[:, 2]), np.arctan2(end[:, 2], end[:, 1])
    near = (np.abs(a * rho - 1) <= task.tolerance) & (theta <= task.tolerance)
    # Descent conserves no c, so that neither death nor success is certain before it is there.
    status = np.select(
        [
            reason == FAILED,
            overlap < 1,
            near,
            (rho == 0) | ((a <= -DEAD_RATIO * rho) & (rho <= TINY_NORM)),
            reason == CERTAIN,
        ],
        [Status.FAILED, Status.STUCK, Status.CONVERGED, Status.DEAD, Status.STUCK],
        Status.UNDECIDED,
    ).astype(np.int8)
    states = np.moveaxis(end[:, None] if task.limit else path, (2, 1), (0, 1))
    return states, status, step.astype(np.float64) * rate


def _reached(task: _Task, method: str) -> Array:
    """The times of the states."""
    if method == "descent":
        rate, steps = _steps(task)
        return np.asarray(rate * steps, dtype=np.float64)
    return np.array([np.inf]) if task.limit else task.times


def _steps(task: _Task) -> tuple[float, NDArray[np.int64]]:
    """The learning rate, and the step counts to report; in the limit those of CERTAIN_TIME."""
    rate = task.learning_rate or 0.0
    steps = np.rint((np.array([CERTAIN_TIME]) if task.limit else task.times) / rate)
    if steps[-1] > MAX_DESCENT:
        raise ValueError(
            f"learning_rate {rate:g} needs {steps[-1]:.3g} steps to t = {task.times[-1]:g}, "
            f"more than {MAX_DESCENT:g}: raise it, or shorten the time"
        )
    return rate, steps.astype(np.int64)


# --- samples ------------------------------------------------------------------------------------------------


def _sample(
    problem: Sample, starts: State, kept: Mask | None, task: _Task, method: str, progress: Progress | None
) -> FlowResult[Any]:
    """Starts that keep the same coordinates see the same data: one problem for each such pattern."""
    c = start_balance(starts := _masked_start(starts, kept))
    patterns, member = np.ones((1, starts.d), dtype=bool), np.zeros(starts.size, dtype=np.intp)
    if kept is not None:
        patterns, member = np.unique(kept, axis=0, return_inverse=True)
    method = _method(method, bool(np.all(patterns.sum(axis=1) == 1)), task)

    rows = len(task.times)
    a, w = np.empty((rows, starts.size)), np.zeros((rows, starts.size, starts.d))
    status, time = np.empty(starts.size, dtype=np.int8), np.empty(starts.size)
    done = 0
    for index, pattern in enumerate(patterns):
        columns, group = np.flatnonzero(pattern), np.flatnonzero(member == index)
        size = CHUNK if columns.size == 1 and method != "descent" else SLOW_CHUNK
        overlap = float(unit_overlap(problem, pattern)[0])
        part = replace(
            problem, x=problem.x[:, columns], targets=max(1, int(pattern[: problem.targets].sum()))
        )
        for i in _chunks(group, done, starts.size, size, progress):
            start = State(starts.a[i], starts.w[np.ix_(i, columns)], c[i])
            if columns.size == 1 and method != "descent":
                line_problem = Line(*(value[0] for value in part.statistics))
                a[:, i], w[:, i, columns[0]], status[i], time[i] = _line(
                    start.a, start.w[:, 0], c[i], line_problem, np.full(i.size, overlap), task, method
                )
                continue
            train = _descend_sample if method == "descent" else _flow_sample
            a[:, i], w[np.ix_(np.arange(rows), i, columns)], reason, time[i], fate = train(
                part, start, i, task
            )
            end = State(a[-1, i], w[-1][np.ix_(i, columns)])
            known = np.full(i.size, -np.inf) if method == "descent" else c[i]  # descent conserves no c
            settled = reason != END if task.limit and method != "descent" else None
            hop = task.learning_rate or 0.0
            found = sample_status(part, end, known, overlap, task.tolerance, settled, hop)
            if overlap == 1:  # at rest is not for ever: what creeps looks the same
                found[(found == Status.STUCK) & (fate == MOVING)] = Status.UNDECIDED
                found[fate == FADES] = Status.DEAD
            status[i] = found
            status[i[reason == FAILED]] = Status.FAILED
            status[i[reason == AMBIGUOUS]] = Status.AMBIGUOUS
        done += group.size
    a[task.times == 0], w[task.times == 0] = starts.a, starts.w
    state = State(a, w) if task.path else State(a[-1], w[-1])
    state = replace(state, c=_balance_then(starts, state, status, method))
    return FlowResult(state, status, time, _reached(task, method), method)


def _descend_sample(part: Sample, starts: State, index: NDArray[np.intp], task: _Task) -> tuple[Any, ...]:
    rate, steps = _steps(task)
    path, end, reason, step = descent.descend_sample(
        part.x, part.y, starts.a, starts.w, steps, rate, tolerance=task.tolerance,
        label_noise=task.label_noise, seed=task.seed, trajectory=index, limit=task.limit,
    )  # fmt: skip
    path = end[None] if task.limit else np.moveaxis(path, 1, 0)
    fate = np.full(len(end), MOVING)  # with label noise nothing is for ever
    if not task.label_noise:
        from_end = replace(task, times=np.zeros(1), limit=False)
        fate = _flow_sample(part, State(end[:, 0], end[:, 1:]), index, from_end)[-1]
        fate[reason == CERTAIN] = CONVERGED  # a step changes nothing
    return path[..., 0], path[..., 1:], reason, step * rate, fate


def _flow_sample(part: Sample, starts: State, index: NDArray[np.intp], task: _Task) -> tuple[Any, ...]:
    flow = samples.sample_flow(part.x, part.y, starts.a, starts.w, task.times, c=starts.c, **task.ode)
    path = flow.end[None] if task.limit else np.moveaxis(flow.path, 1, 0)
    reason = np.where(flow.ambiguous, AMBIGUOUS, flow.reason)
    fate = np.where(flow.reason == END, MOVING, CONVERGED) if task.limit else flow.fate
    return path[..., 0], path[..., 1:], reason, flow.time, fate
