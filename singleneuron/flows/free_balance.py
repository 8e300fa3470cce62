"""The population flow in (a, log rho, x), which does not know that c = a^2 - rho^2 is conserved.

`population` follows a flow on the level of its c. Here c is free: how far it drifts measures the integrator,
and that both end in the same states tests the coordinates there.
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
    """The right-hand side of y = (a, log rho, x); p = (nu,), see `population`."""
    a, rho = y[0], math.exp(max(y[1], -690.0))
    k, delta = angles(y[2], p[0])
    out[0] = rho * (k - 0.5 * a * rho)
    out[1] = a * (k / rho - 0.5 * a)
    out[2] = -a * p[0] * delta / (2 * math.pi * rho)


solve = build(field, no_gauge)


@kernel(parallel=True)
def _follow(start: Any, times: Any, rtol: Any, path: Any) -> None:
    for b in prange(start.shape[0]):
        solve(
            start[b], np.ones(1), 0.0, times, 0, path[b],
            rtol, rtol, False, np.inf, np.nan, workspace(3),
        )  # fmt: skip


def free_flow(starts: Reduced, times: Array, rtol: float) -> Reduced:
    """The states (T, B) of starts (B,) at the increasing `times` (T,), integrated with c free.

    rho = 0 and w parallel or antiparallel to the target (q = 0) are no states of these coordinates.
    """
    y = log_coordinates(starts)
    path = np.full((len(y), len(times), 3), np.nan)
    _follow(np.ascontiguousarray(y), np.asarray(times, dtype=float), float(rtol), path)
    return from_log_coordinates(np.moveaxis(path, 1, 0))
