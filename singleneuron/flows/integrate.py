"""Training by gradient flow or gradient descent: `integrate` follows each start and gives it a status."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.flows.of_population import train_population
from singleneuron.flows.of_samples import train_samples
from singleneuron.flows.result import BoolArray, FlowResult, Progress, S
from singleneuron.flows.sign_in.train import train_sign_in
from singleneuron.flows.task import Method, Task, check_method, make_task
from singleneuron.parameterization import PLAIN, Name, Parameterization
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.reduction import negative_axes, turned
from singleneuron.problem.state import Starts, State, balance
from singleneuron.problem.status import TOLERANCE

BALANCE_ERROR, BALANCE_DRIFT = 1e-2, 1e-6
"""A given c is wrong if it differs from a^2 - |w|^2 by more than BALANCE_DRIFT + BALANCE_ERROR (a^2 + |w|^2).

BALANCE_DRIFT allows for the drift of c during an integration at the default tolerance, because the end states
of one integration may be the starts of another.
"""


def integrate(
    problem: Problem,
    starts: S,
    t_end: float | None = None,
    *,
    t_eval: ArrayLike | None = None,
    rtol: float = 1e-8,
    atol: float | None = None,
    method: Method = "auto",
    mask: ArrayLike | None = None,
    parameterization: Name | Parameterization = PLAIN,
    learning_rate: float | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> FlowResult[S]:
    """Train from every start by gradient flow, or by gradient descent if a learning rate is given.

    Parameters
    ----------
    problem : Problem
        The population, or samples.
    starts : S
        B starts, as a `State` with w (B, d). For the population, they may also be a `Reduced`, which makes
        the cost independent of d. If the starts have a c, it must be a^2 - |w|^2.
    t_end : float | None
        Final time, or inf for the limit. With inf, a trajectory ends when it has converged, died or got
        stuck. From CERTAIN_TIME on, it also ends when its limit is certain. A trajectory that has not ended
        by HORIZON is undecided (Sign-In on the population has a later horizon). Gradient descent does not
        conserve c, so no limit is certain in advance: a trajectory that has not ended by CERTAIN_TIME is
        undecided.
    t_eval : ArrayLike | None
        (T,) times at which to report states, instead of t_end. They must be >= 0 and never decrease. The
        state then has shape (T, B, ...).
    rtol, atol : float or float | None
        Tolerances of the integrator. By default, atol is rtol.
    method : {'auto', 'ode', 'exact'}
        'ode' integrates numerically. 'exact' uses closed forms, which exist for one coordinate and for
        balanced starts on the population. 'auto' is 'exact' if possible, else 'ode'.
    mask : ArrayLike | None
        (B, d) or (d,) bool, True for the coordinates to keep. Pruned weights are set to 0 and stay 0.
    parameterization : {'plain', 'sign-in'} or Parameterization
        Plain weights, or the products m u of Sign-In. Sign-In needs full states and has no closed forms.
        Gradient descent under Sign-In updates m and u.
    learning_rate : float | None
        Step size of gradient descent; None for the flow.
    label_noise : float
        Standard deviation of the noise that is drawn anew for every label at every step of gradient descent
        on samples. The noise depends only on `seed`, the trajectory, the step and the sample.
    seed : int
        Seed of the label noise.
    tolerance : float
        Largest deviation from the target with which a state counts as converged, as in
        `problem.status.TOLERANCE`.
    progress : Progress | None
        Called as progress(done, total) as trajectories finish.

    Returns
    -------
    FlowResult
        The states, the status of each trajectory, and the time since which this status has held.

    Raises
    ------
    ValueError
        If an argument is invalid or contradicts another argument. The message says in one line what must
        hold.

    Examples
    --------
    A start with a > 0 succeeds even if w_1 < 0, because the other coordinate lets w turn.

    >>> import singleneuron as sn
    >>> starts = sn.State(a=[1.0, -1.0], w=[[-0.6, 0.8], [0.6, 0.8]], c=0.0)
    >>> end = sn.integrate(sn.Population(d=2), starts, t_end=float("inf"))
    >>> [sn.Status(code).label for code in end.status]
    ['converged', 'dead']
    """
    task = make_task(t_end, t_eval, rtol, atol, tolerance, learning_rate, label_noise, seed)
    check_method(method)
    if not isinstance(problem, Population | Sample):
        raise ValueError(f"the problem must be a Population or a Sample, but is {problem!r}")
    if isinstance(starts, State) and starts.d != problem.d:
        raise ValueError(f"w must have d = {problem.d} coordinates, but has {starts.d}")
    if starts.a.ndim != 1:
        raise ValueError(f"starts must be one batch, with a of shape (B,), but a has shape {starts.a.shape}")
    _check_balance(starts)
    kept = _kept(problem, starts, mask)
    if task.learning_rate is None and label_noise:
        raise ValueError("label_noise is drawn at every step of gradient descent; give a learning_rate too")
    if isinstance(problem, Population) and label_noise:
        raise ValueError("the population averages label_noise away; pass a Sample, or no label_noise")
    product = Parameterization.of(parameterization)
    product.check_method(method, task.learning_rate)
    signs = negative_axes(problem) if isinstance(starts, State) else None
    if signs is None or not isinstance(starts, State):
        return cast(FlowResult[S], _train(problem, starts, kept, task, method, progress, product))
    end = _train(*turned(problem, starts, signs), kept, task, method, progress, product)
    return cast(FlowResult[S], replace(end, state=replace(end.state, w=end.state.w * signs)))


def _train(
    problem: Problem,
    starts: Starts,
    kept: BoolArray | None,
    task: Task,
    method: str,
    progress: Progress | None,
    product: Parameterization,
) -> FlowResult[Any]:
    """Train with the function for this problem and parameterization; full states need a target v >= 0."""
    if not product.plain:
        return train_sign_in(problem, _full(starts, "Sign-In needs"), kept, task, progress, product)
    if isinstance(problem, Population):
        return train_population(problem, starts, kept, task, method, progress)
    return train_samples(problem, _full(starts, "samples need"), kept, task, method, progress)


def _full(starts: Starts, who: str) -> State:
    """Return `starts` if they are full states; else raise ValueError, with `who` as the subject."""
    if not isinstance(starts, State):
        raise ValueError(f"{who} full states with w (B, d), but got reduced states (a, p, q); use State")
    return starts


def _check_balance(starts: Starts) -> None:
    """Raise ValueError if c differs from a^2 - |w|^2 by more than BALANCE_ERROR and BALANCE_DRIFT allow."""
    if starts.c is None:
        return
    found = balance(starts)
    with np.errstate(over="ignore", invalid="ignore"):
        square = 2 * starts.a**2 - found  # a^2 + |w|^2
        wrong = np.abs(found - starts.c) > BALANCE_DRIFT + BALANCE_ERROR * square
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"c must be a^2 - |w|^2, but c[{i}] is {starts.c[i]:g} while a and w give {found[i]:g}; "
            "correct it, or leave c out"
        )


def _kept(problem: Problem, starts: Starts, mask: ArrayLike | None) -> BoolArray | None:
    """Return `mask` as an array (B, d), or None if it keeps everything."""
    if mask is None:
        return None
    if not isinstance(starts, State):
        raise ValueError("mask needs full states: pass starts as State, not as Reduced")
    kept = np.asarray(mask)
    if kept.dtype != bool or kept.shape not in (starts.w.shape, (starts.d,)):
        raise ValueError(
            f"mask must be a boolean array of shape (B, d) or (d,), but has dtype {kept.dtype} and shape "
            f"{kept.shape}"
        )
    kept = np.broadcast_to(kept, starts.w.shape)
    if not np.all(kept.any(axis=1)):
        raise ValueError("mask must keep at least one coordinate of every start")
    return None if kept.all() else kept
