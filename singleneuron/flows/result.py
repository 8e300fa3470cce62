"""What a flow returns, and the parts of a batch that are followed together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from singleneuron.flows.task import CERTAIN_TIME, MAX_DESCENT, Task, check_length
from singleneuron.problem.arguments import Array
from singleneuron.problem.state import Starts, State, balance
from singleneuron.problem.status import Status

CHUNK, SLOW_CHUNK = 32768, 256
"""Trajectories between two reports of progress."""


Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]


Ends = tuple[Array, NDArray[np.int8], Array]  # path (3, T, B) of (a, p, q), status (B,), time (B,)


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


def balance_at_end(starts: Starts, end: Starts, status: NDArray[np.int8], method: str) -> Array | None:
    """The c that is known of end states: descent conserves none, nor does an integrator that gave up."""
    if starts.c is None or method == "descent":
        return None
    lost = status == Status.FAILED
    return np.where(lost, balance(end), starts.c) if lost.any() and end.a.ndim == 1 else starts.c


def choose_method(method: str, closed: bool, task: Task) -> str:
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
        check_length(task)
    return chosen


def in_chunks(index: NDArray[np.intp], done: int, total: int, size: int, progress: Progress | None) -> Any:
    """Slices of `index`, reporting progress after each."""
    for first in range(0, index.size, size):
        chunk = index[first : first + size]
        yield chunk
        if progress is not None:
            progress(done + first + chunk.size, total)


def masked_start(starts: State, kept: Mask | None) -> State:
    """The starts with pruned weights at 0; a known balance grows by the weight that is pruned."""
    if kept is None:
        return starts
    pruned = np.sum(np.where(kept, 0.0, starts.w) ** 2, axis=1)
    return State(starts.a, np.where(kept, starts.w, 0.0), None if starts.c is None else starts.c + pruned)


def times_reached(task: Task, method: str) -> Array:
    """The times of the states."""
    if method == "descent":
        rate, steps = descent_steps(task)
        return np.asarray(rate * steps, dtype=np.float64)
    return np.array([np.inf]) if task.limit else task.times


def descent_steps(task: Task) -> tuple[float, NDArray[np.int64]]:
    """The learning rate, and the step counts to report; in the limit those of CERTAIN_TIME."""
    rate = task.learning_rate or 0.0
    steps = np.rint((np.array([CERTAIN_TIME]) if task.limit else task.times) / rate)
    if steps[-1] > MAX_DESCENT:
        raise ValueError(
            f"learning_rate {rate:g} needs {steps[-1]:.3g} steps to t = {task.times[-1]:g}, "
            f"more than {MAX_DESCENT:g}: raise it, or shorten the time"
        )
    return rate, steps.astype(np.int64)
