"""The limits of trapped trajectories, which ran out of time but are certain to tend to the target."""

from typing import Any

import numpy as np

from singleneuron.flows.result import FlowResult
from singleneuron.formulas.population import population_limit
from singleneuron.formulas.sign_in import sign_in_limit
from singleneuron.parameterization import Parameterization
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.state import Reduced, Starts, State
from singleneuron.problem.status import Status


def at_limit(
    problem: Problem, starts: Starts, trained: FlowResult[Any], parameterization: Parameterization
) -> Starts:
    """Return the end states of a level, with trapped trajectories moved to their limits.

    In the limit, w points along the target, a = 1/rho, and the balance is the same as at the start.

    Parameters
    ----------
    problem : Population or Sample
        The problem. On samples, the limits are not known, and nothing is moved.
    starts : State or Reduced
        Starts (B,) of the level.
    trained : FlowResult
        The result of the level.
    parameterization : Parameterization
        Plain weights or Sign-In, which conserve different balances.

    Returns
    -------
    State or Reduced
        The end states (B,).
    """
    trapped = trained.status == Status.TRAPPED
    if not isinstance(problem, Population) or not trapped.any():
        return trained.state
    c = parameterization.balance(starts)
    if parameterization.plain:
        found = population_limit(c)
    else:
        found = sign_in_limit(c, parameterization, problem.targets)
    a = np.where(trapped, found, trained.state.a)
    rho = 1 / np.where(trapped, a, 1.0)
    if isinstance(trained.state, Reduced):
        p, q = (
            np.where(trapped, limit, now) for limit, now in ((rho, trained.state.p), (0.0, trained.state.q))
        )
        return Reduced(a, p, q, trained.state.c)
    w = np.where(trapped[:, None], rho[:, None] * problem.v, trained.state.w)
    return State(a, w, trained.state.c)
