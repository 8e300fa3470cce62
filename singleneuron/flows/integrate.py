"""`integrate`: training by gradient flow or gradient descent, with a status for every trajectory."""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.flows.of_population import train_population
from singleneuron.flows.of_samples import train_samples
from singleneuron.flows.result import FlowResult, Mask, Progress, S
from singleneuron.flows.task import METHODS, make_task
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.state import Starts, State, balance
from singleneuron.problem.status import TOLERANCE

BALANCE_ERROR, BALANCE_DRIFT = 1e-2, 1e-6
"""A known balance is wrong where it differs from that of a and w by more than this share of a^2 + |w|^2, and
by more than integrators at their default tolerance let it drift: what they end in is a start again."""


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
    task = make_task(t_end, t_eval, rtol, atol, tolerance, learning_rate, label_noise, seed)
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
        return cast(FlowResult[S], train_population(problem, starts, kept, task, method, progress))
    if not isinstance(starts, State):
        raise ValueError(
            "samples need full states w (B, d), but reduced ones (a, p, q) were given; use State"
        )
    return cast(FlowResult[S], train_samples(problem, starts, kept, task, method, progress))


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


# --- one coordinate -----------------------------------------------------------------------------------------


# --- the population -----------------------------------------------------------------------------------------


# --- samples ------------------------------------------------------------------------------------------------
