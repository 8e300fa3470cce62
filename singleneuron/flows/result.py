"""The result of `integrate`, and the functions that all methods of training share."""

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
"""The number of trajectories between two reports of progress: CHUNK for fast methods, else SLOW_CHUNK."""


BoolArray = NDArray[np.bool_]
Progress = Callable[[int, int], None]
"""A function that is called as progress(done, total) to report progress."""


Ends = tuple[Array, NDArray[np.int8], Array]
"""The path (3, T, B) of (a, p, q), the status (B,) and the time (B,). If t_end is inf, T = 1."""


S = TypeVar("S", bound=Starts)


@dataclass(frozen=True)
class FlowResult(Generic[S]):
    """The end states of B trajectories, or their paths, whose first axis is time.

    Attributes
    ----------
    state : S
        The states at t_end, or the paths of states at t_eval. If t_end is inf, the states in which the
        trajectories were decided.
    status : NDArray[np.int8]
        (B,) `Status` codes of the last states.
    time : Array
        (B,) the time since which the status has held or, if this time is not known, the time at which the
        integration ended. For descent on samples, the time since which |grad L| <= tolerance.
    times : Array
        (T,) the times of the states: t_end or t_eval. Descent rounds these times to multiples of the
        learning rate. If t_end is inf, descent gives CERTAIN_TIME instead, rounded in the same way.
    method : str
        'ode', 'exact' or 'descent'.

    Examples
    --------
    >>> import singleneuron as sn
    >>> path = sn.integrate(sn.Population(d=1), sn.State(a=[1.0], w=[[1.0]]), t_eval=[0.0, 1.0, 20.0])
    >>> path.state.w.shape
    (3, 1, 1)
    >>> sn.Status(path.status[0]).label, path.method
    ('converged', 'exact')
    """

    state: S
    status: NDArray[np.int8]
    time: Array
    times: Array
    method: str


def balance_at_end(starts: Starts, end: Starts, status: NDArray[np.int8], method: str) -> Array | None:
    """Return the c of the end states, or None if it is not known.

    The flow conserves c, so the end states have the c of the starts. For failed trajectories, c is computed
    from the end states instead. After descent, c is not known, because descent does not conserve c.
    """
    if starts.c is None or method == "descent":
        return None
    lost = status == Status.FAILED
    return np.where(lost, balance(end), starts.c) if lost.any() and end.a.ndim == 1 else starts.c


def choose_method(method: str, closed: bool, task: Task) -> str:
    """Return the method to use; `closed` says whether there is a closed form."""
    if task.learning_rate is not None:
        if method == "exact":
            raise ValueError("gradient descent has no closed form, but method is 'exact'; leave it at 'auto'")
        return "descent"
    if method == "exact" and not closed:
        raise ValueError(
            "method 'exact' needs one coordinate, or balanced starts with c = 0 on the population; use 'ode'"
        )
    chosen = ("exact" if closed else "ode") if method == "auto" else method
    if chosen == "ode":
        check_length(task)
    return chosen


def reported_chunks(
    index: NDArray[np.intp], done: int, total: int, size: int, progress: Progress | None
) -> Any:
    """Yield `index` in chunks of at most `size`, and report progress when each has been processed."""
    for first in range(0, index.size, size):
        chunk = index[first : first + size]
        yield chunk
        if progress is not None:
            progress(done + first + chunk.size, total)


def masked_start(starts: State, kept: BoolArray | None) -> State:
    """Return `starts` with pruned weights set to 0; a known c grows by the sum of the squares removed."""
    if kept is None:
        return starts
    pruned = np.sum(np.where(kept, 0.0, starts.w) ** 2, axis=1)
    return State(starts.a, np.where(kept, starts.w, 0.0), None if starts.c is None else starts.c + pruned)


def times_reached(task: Task, method: str) -> Array:
    """Return the times (T,) at which `method` reports states."""
    if method == "descent":
        rate, steps = descent_steps(task)
        return np.asarray(rate * steps, dtype=np.float64)
    return np.array([np.inf]) if task.limit else task.times


def descent_steps(task: Task) -> tuple[float, NDArray[np.int64]]:
    """Return the learning rate, and the step counts (T,) at which to report states.

    If t_end is inf, the step nearest to CERTAIN_TIME is the only step count.
    """
    rate = task.learning_rate or 0.0
    times = np.array([CERTAIN_TIME]) if task.limit else task.times
    steps = np.rint(times / rate)
    if steps[-1] > MAX_DESCENT:
        raise ValueError(
            f"learning_rate {rate:g} needs {steps[-1]:.3g} steps to reach t = {times[-1]:g}, "
            f"but at most {MAX_DESCENT:g} are allowed; raise the learning rate, or shorten the time"
        )
    return rate, steps.astype(np.int64)
