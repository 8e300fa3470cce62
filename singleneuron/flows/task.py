"""The arguments of `integrate`, checked once and bundled as a task."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike

from signflow.messages import nearest
from singleneuron.problem.arguments import Array, finite_array, integer_in_range, number

Method = Literal["auto", "ode", "exact"]
METHODS: tuple[str, ...] = get_args(Method)
HORIZON = 1e5
"""With t_end = inf, a trajectory whose outcome is still open at this time is undecided."""


CERTAIN_TIME = 2e3
"""With t_end = inf, the time from which a trajectory ends as soon as its limit is certain."""


MAX_DESCENT = 1e12
"""The largest number of steps of gradient descent."""


class Accuracy(TypedDict, total=False):
    """Arguments of `integrate` that maps and studies pass on."""

    rtol: float
    atol: float | None
    tolerance: float
    label_noise: float


class Training(Accuracy, total=False):
    """Arguments of `integrate` that pruning passes on."""

    method: Method
    learning_rate: float | None
    seed: int


@dataclass(frozen=True)
class Task:
    """The checked arguments of `integrate`, as each training method receives them.

    Attributes
    ----------
    times : Array
        (T,) times at which to report the states. If t_end is inf, the only entry is HORIZON.
    limit : bool
        Whether t_end is inf.
    path : bool
        Whether t_eval was given, so that the states have a leading time axis.
    rtol, atol : float
        Tolerances of the integrator.
    tolerance : float
        Largest deviation from the target with which a state counts as converged.
    learning_rate : float | None
        Step size of gradient descent; None for the flow.
    label_noise, seed : float or int
        Standard deviation and seed of the label noise in gradient descent.
    """

    times: Array
    limit: bool
    path: bool
    rtol: float
    atol: float
    tolerance: float
    learning_rate: float | None
    label_noise: float
    seed: int

    @property
    def ode(self) -> dict[str, Any]:
        """Keyword arguments for the integrators of the ODE."""
        return {
            "rtol": self.rtol,
            "atol": self.atol,
            "limit": self.limit,
            "t_certain": CERTAIN_TIME,
            "tolerance": self.tolerance,
        }


def make_task(
    t_end: float | None,
    t_eval: ArrayLike | None,
    rtol: float,
    atol: float | None,
    tolerance: float,
    learning_rate: float | None,
    label_noise: float,
    seed: int,
) -> Task:
    """Return the arguments of `integrate` as a task, or raise ValueError if one of them is invalid."""
    if (t_end is None) == (t_eval is None):
        raise ValueError("give exactly one of t_end (a time or inf) and t_eval (the times to report)")
    if t_eval is not None:
        times = np.atleast_1d(finite_array("t_eval", t_eval))
        if times.ndim != 1 or not times.size or times[0] < 0 or np.any(np.diff(times) < 0):
            raise ValueError("t_eval must be one or more times >= 0 that never decrease")
    else:
        times = np.array([number("t_end", t_end, least=0.0, finite=False)])
    limit = bool(np.isinf(times[-1]))
    rtol = number("rtol", rtol, least=1e-14)
    return Task(
        np.array([HORIZON]) if limit else times,
        limit,
        t_eval is not None,
        rtol,
        number("atol", rtol if atol is None else atol, least=0.0, open_end=True),
        number("tolerance", tolerance, least=0.0, open_end=True),
        None if learning_rate is None else number("learning_rate", learning_rate, least=0.0, open_end=True),
        number("label_noise", label_noise, least=0.0),
        integer_in_range("seed", seed, 0),
    )


def check_keywords(function: Callable[..., Any], given: Iterable[str], passed_on: Any) -> None:
    """Check the names of the arguments that a function passes on to `integrate`.

    Parameters
    ----------
    function : callable
        The function that was called.
    given : iterable of str
        The names of the extra arguments that `function` received.
    passed_on : type
        `Accuracy` or `Training`, whose keys are the names that `function` may pass on.

    Raises
    ------
    TypeError
        If `given` contains any other name.
    """
    allowed = passed_on.__optional_keys__
    for name in given:
        if name not in allowed:
            own = inspect.signature(function).parameters
            close = nearest(name, [*(key for key in own if key != "training"), *sorted(allowed)])
            raise TypeError(f"{function.__name__}() has no argument '{name}'{close or '; leave it out'}")


def check_method(method: object) -> None:
    """Raise ValueError unless `method` is one of METHODS.

    Parameters
    ----------
    method : object
        The argument of `integrate`.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but is {method!r}")


def check_length(task: Task) -> None:
    """Raise ValueError if the last time of `task` exceeds HORIZON, as the flow would need too many steps."""
    if task.times[-1] > HORIZON:
        raise ValueError(
            f"times must be at most {HORIZON:g} with method 'ode', but one is {task.times[-1]:g}, which "
            "would take too many steps; use t_end = inf for the limit, or method 'exact' if it applies"
        )
