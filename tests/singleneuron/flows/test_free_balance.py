"""The population flow with c free: it is conserved, and the flow on its level ends in the same states."""

import numpy as np

from singleneuron.flows.free_balance import free_flow
from singleneuron.flows.integrate import integrate
from singleneuron.problem.problem import Population
from singleneuron.problem.starts import independent_starts
from singleneuron.problem.state import balance

RTOL = 1e-9
TIMES = np.concatenate([[0.0], np.geomspace(0.01, 100, 80)])


def test_balance_is_conserved_where_nothing_imposes_it():
    starts = independent_starts(3, 1000, seed=7, reduced=True)
    path = free_flow(starts, TIMES, RTOL)
    bound = 100 * RTOL * np.maximum(1, starts.a**2 + starts.p**2 + starts.q**2)
    drift = np.abs(balance(path) - balance(starts))
    assert np.all(drift <= bound)
    assert np.max(drift) > 0.01 * RTOL  # an integrator that imposed c would not drift at all


def test_the_flow_on_the_level_of_c_is_the_same_flow():
    starts = independent_starts(3, 1000, seed=8, reduced=True)
    # Near c = 0 the sign of c decides what becomes of a dying neuron: the flow is ill-conditioned there.
    starts = starts[np.flatnonzero(np.abs(balance(starts)) > 0.1)]
    free = free_flow(starts, TIMES, RTOL)
    ours = integrate(Population(3), starts, t_eval=TIMES, rtol=RTOL, method="ode").state
    for name in ("a", "p", "q"):
        assert np.max(np.abs(getattr(free, name) - getattr(ours, name))) < 1e3 * RTOL
