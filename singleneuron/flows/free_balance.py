"""The population flow in (a, log rho, x), integrated without using the conservation of c = a^2 - rho^2.

The module `population` keeps c fixed. Here c may drift, and its drift measures the error of the integrator.
Comparing the end states of the two modules tests the coordinates that `population` uses.
"""

import math
from typing import Any

import numpy as np
from numba import prange

from singleneuron.flows.population import from_log_coordinates, log_coordinates
from singleneuron.flows.population_field import angles
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import build, no_gauge
from singleneuron.kernels.dop853_step import workspace
from singleneuron.problem.arguments import Array
from singleneuron.problem.state import Reduced


@routine
def field(y: Any, p: Any, out: Any) -> None:
    """Fill `out` with the time derivative of y = (a, log rho, x).

    Parameters
    ----------
    y : Any
        (3,) state.
    p : Any
        (1,) the norm nu = |mask * v| of the part of the target that the mask keeps; see `population`.
    out : Any
        (3,) array for the derivative.
    """
    # rho is at least e^-690, so that k/rho stays finite.
    a, rho = y[0], math.exp(max(y[1], -690.0))
    k, delta = angles(y[2], p[0])
    out[0] = rho * (k - 0.5 * a * rho)
    out[1] = a * (k / rho - 0.5 * a)
    out[2] = -a * p[0] * delta / (2 * math.pi * rho)


solve = build(field, no_gauge)


@kernel(parallel=True)
def _follow(start: Any, times: Any, rtol: Any, path: Any) -> None:
    """Integrate every start to the last of `times`, without events, limits or a target."""
    for b in prange(start.shape[0]):
        solve(
            start[b], np.ones(1), 0.0, times, 0, path[b],
            rtol, rtol, False, np.inf, np.nan, workspace(3),
        )  # fmt: skip


def free_flow(starts: Reduced, times: Array, rtol: float) -> Reduced:
    """Integrate the population flow without imposing the conservation of c.

    Parameters
    ----------
    starts : Reduced
        States (B,) with q > 0. The coordinates cannot represent a w that is 0, or that is parallel or
        antiparallel to the target.
    times : Array
        (T,) increasing times at which to report the states.
    rtol : float
        Tolerance of the integrator, relative and absolute.

    Returns
    -------
    Reduced
        States (T, B) at `times`.
    """
    y = log_coordinates(starts)
    path = np.full((len(y), len(times), 3), np.nan)
    _follow(np.ascontiguousarray(y), np.asarray(times, dtype=float), float(rtol), path)
    return from_log_coordinates(np.moveaxis(path, 1, 0))
