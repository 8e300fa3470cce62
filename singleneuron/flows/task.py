"""What `integrate` is asked for, checked once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array, finite_array, integer_in_range, number

METHODS = ("auto", "ode", "exact")
HORIZON = 1e5
"""In the limit, what is not decided by this time stays undecided."""


CERTAIN_TIME = 2e3
"""In the limit, the time from which on a trajectory ends as soon as its limit is certain."""


MAX_DESCENT = 1e12
"""Most steps of gradient descent."""


@dataclass(frozen=True)
class Task:
    """What is asked of any method: `times` (T,), whose last is the horizon in the limit, and how exactly."""

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
        """What the integrators of the ODE are told."""
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
    """What `integrate` was asked for, checked; ValueError, in one line, for what cannot be."""
    if (t_end is None) == (t_eval is None):
        raise ValueError("give exactly one of t_end (a time or inf) and t_eval (the times to report)")
    if t_eval is not None:
        times = np.atleast_1d(finite_array("t_eval", t_eval))
        if times.ndim != 1 or not times.size or times[0] < 0 or np.any(np.diff(times) < 0):
            raise ValueError("t_eval must be increasing times >= 0, at least one")
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


def check_length(task: Task) -> None:
    """ValueError for times that the ODE's explicit steps do not reach."""
    if task.times[-1] > HORIZON:
        raise ValueError(
            f"the ODE takes times up to {HORIZON:g}, its explicit steps being too many beyond, but was given "
            f"{task.times[-1]:g}; take t_end = inf for the limit, or method 'exact' where there is one"
        )
