"""The population flow: laws it obeys, and scipy in other coordinates as the independent reference."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from singleneuron.flows.integrate import integrate
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import Reduced, State, balance, start_balance
from singleneuron.problem.status import Status


def cartesian(problem, a, w, t, rtol=1e-12):
    """scipy on (a, w) itself, from the gradient of the loss: no reduced coordinates, no angle."""

    def field(_, y):
        da, dw = gradient(problem, State(y[:1], y[None, 1:]))
        return np.concatenate([-da, -dw[0]])

    return solve_ivp(field, (0, t), np.concatenate([[a], w]), "DOP853", rtol=rtol, atol=1e-13).y[:, -1]


def away_from_the_tip(problem, starts, t, mask=None):
    """Indices of the starts whose |w| stays of order 1: the tip of the cone is stiff for scipy."""
    end = integrate(problem, starts, t, method="ode", mask=mask).state
    return np.flatnonzero(np.linalg.norm(end.w, axis=1) > 0.05)


@pytest.mark.parametrize("targets", [1, 2])
def test_agrees_with_scipy_on_the_gradient(targets):
    problem, rtol = Population(4, targets), 1e-10
    starts = independent_starts(4, 20, seed=2)
    end = integrate(problem, starts, 8.0, rtol=rtol, method="ode").state
    gentle = away_from_the_tip(problem, starts, 8.0)
    assert gentle.size >= 12
    for i in gentle:
        expected = cartesian(problem, starts.a[i], starts.w[i], 8.0)
        assert np.allclose(np.concatenate([[end.a[i]], end.w[i]]), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("targets", [2, 3])
def test_a_mask_that_loses_targets_agrees_with_scipy_too(targets):
    problem = Population(5, targets)
    starts = independent_starts(5, 12, seed=3)
    mask = np.ones((12, 5), dtype=bool)
    mask[:6, 0] = mask[:, 4] = False  # the first six lose a target coordinate
    mask[0] = [False, True, False, False, False]
    mask[1] = [False, False, False, True, False]
    end = integrate(problem, starts, 3.0, rtol=1e-11, method="ode", mask=mask)
    gentle = away_from_the_tip(problem, starts, 3.0, mask)
    assert gentle.size >= 8
    for i in gentle:

        def field(_, y, i=i):
            w = np.zeros(5)
            w[mask[i]] = y[1:]
            da, dw = gradient(problem, State(y[:1], w[None]))
            return np.concatenate([-da, -dw[0, mask[i]]])

        start = np.concatenate([[starts.a[i]], starts.w[i, mask[i]]])
        expected = solve_ivp(field, (0, 3), start, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        assert end.state.a[i] == pytest.approx(expected[0], abs=1e-8)
        assert np.allclose(end.state.w[i, mask[i]], expected[1:], rtol=0, atol=1e-8)
        assert not end.state.w[i, ~mask[i]].any()
    assert np.all(np.isin(end.status[:6], [Status.STUCK, Status.DEAD]))


def test_no_false_success_where_the_neuron_dies():
    # In theta, solvers pass pi here and end at a rho = -1 with a small residual.
    start = Reduced([-1.0], [0.3 * np.cos(1.0)], [0.3 * np.sin(1.0)])
    end = integrate(Population(2), start, 100.0, rtol=1e-10, method="ode")
    assert end.status[0] == Status.DEAD
    rho = np.hypot(end.state.p[0], end.state.q[0])
    assert rho == pytest.approx(2.0117e-21, rel=1e-4)
    assert end.state.a[0] == pytest.approx(-np.sqrt(1 - 0.3**2), abs=1e-9)
    delta = np.arctan2(end.state.q[0], -end.state.p[0])
    assert delta == pytest.approx(np.pi * np.sqrt(1 - 0.3**2) * rho, rel=1e-6)


def test_the_dying_tail_is_the_flow():
    # Beyond rho = 1e-12 the end is in closed form: it agrees with scipy in the same logarithmic coordinates.
    from singleneuron.problem.line import angle_kernel

    start = Reduced([-1.1], [0.2], [0.5])
    times = np.array([30.0, 60.0, 90.0, 140.0])
    path = integrate(Population(2), start, t_eval=times, rtol=1e-11, method="ode").state

    def field(_, y):
        a, rho, delta = y[0], np.exp(y[1]), 2 * np.arctan(np.exp(-y[2]))
        k = angle_kernel(np.pi - delta)
        return [rho * k - a * rho**2 / 2, a * k / rho - a**2 / 2, -a / rho * delta / (2 * np.pi)]

    y0 = [-1.1, np.log(np.hypot(0.2, 0.5)), -np.arcsinh(0.2 / 0.5)]
    for t, a, p, q in zip(times, path.a[:, 0], path.p[:, 0], path.q[:, 0], strict=True):
        expected = solve_ivp(field, (0, t), y0, "LSODA", rtol=1e-12, atol=1e-12).y[:, -1]
        assert a == pytest.approx(expected[0], abs=1e-9)
        assert np.log(np.hypot(p, q)) == pytest.approx(expected[1], abs=1e-6)
        assert np.arcsinh(-p / q) == pytest.approx(expected[2], abs=1e-6)


def test_balance_and_energy_along_1000_trajectories():
    """c stays in both directions of the coordinates; L(0) - L(t) is the integral of a'^2 + |w'|^2."""
    rtol = 1e-9
    starts = independent_starts(3, 1000, seed=7)
    problem = Population(3)
    # Gauss-Legendre panels, fine where the flow is fast.
    edges = np.concatenate([[0], np.geomspace(0.01, 100, 120)])
    nodes, weights = np.polynomial.legendre.leggauss(10)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    times = (middle[:, None] + half[:, None] * nodes).ravel()
    path = integrate(problem, starts, t_eval=times, rtol=rtol, method="ode").state
    da, dw = gradient(problem, path)
    power = (da**2 + np.sum(dw**2, axis=-1)).reshape(len(half), 10, -1)
    released = np.einsum("i,j,ijb->b", half, weights, power)
    end = integrate(problem, starts, 100.0, rtol=rtol, method="ode").state
    bound = 100 * rtol * np.maximum(1, starts.a**2 + np.sum(starts.w**2, axis=1))
    assert np.all(np.abs(balance(path) - balance(starts)) <= bound)
    assert np.all(np.abs(loss(problem, starts) - loss(problem, end) - released) <= bound)


def test_every_start_ends_with_the_status_theory_gives_it():
    starts = independent_starts(2, 20_000, seed=11)
    result = integrate(Population(2), starts, np.inf, method="ode")
    c = start_balance(starts)
    doomed = (starts.a < 0) & (c >= 0)
    assert np.array_equal(result.status == Status.DEAD, doomed)
    others = np.isin(result.status, [Status.CONVERGED, Status.TRAPPED, Status.UNDECIDED])
    assert np.all(others[~doomed])
    assert np.mean(result.status == Status.UNDECIDED) < 1e-3
    converged = result.state[result.status == Status.CONVERGED]
    assert np.max(loss(Population(2), converged)) <= 1e-5


def test_a_start_exactly_at_the_saddle_stays():
    end = integrate(Population(3), State([0.8], [[0.0, 0.0, 0.0]]), 50.0, method="ode")
    assert end.state.a[0] == 0.8
    assert not end.state.w.any()
    assert end.status[0] == Status.STUCK


def test_a_dead_balanced_neuron_stays_dead_however_close_to_the_target_it_points():
    # rho falls to about theta before w turns: there an error of the tolerance in a would have a cross 0.
    theta = np.geomspace(1e-9, 3.0, 400)
    for rho in (0.3, 1.0, 2.5):
        starts = Reduced(np.full(400, -rho), rho * np.cos(theta), rho * np.sin(theta), c=0.0)
        for t in (50.0, np.inf):
            assert np.all(integrate(Population(2), starts, t, method="ode").status == Status.DEAD)
    barely = Reduced([-0.3000000003], [0.3], [3e-7])  # c = 2e-10
    assert integrate(Population(2), barely, np.inf).status[0] == Status.DEAD


def test_balance_by_construction_holds_to_the_last_bit():
    starts = balanced_starts(3, 300, seed=4)
    end = integrate(Population(3), starts, 30.0, method="ode").state
    rho = np.linalg.norm(end.w, axis=1)
    assert np.all(np.abs(np.abs(end.a) - rho) <= 1e-14 * rho)


def test_a_start_next_to_antiparallel_turns_in_no_time_at_all():
    # rho reaches 1e-40 or less, where w turns within a time far below the resolution of t.
    for q in (1e-12, 1e-40, 1e-100):
        end = integrate(Population(2), Reduced([2.0], [-1.0], [q]), np.inf, method="ode")
        assert end.status[0] == Status.CONVERGED
        # (2/c) log(1 + pi c rho/(a delta)) to turn, and an O(1) time before and after.
        assert abs(end.time[0] - 2 / 3 * np.log(np.pi * 3 / (2 * q))) < 6


def test_a_stiff_start_is_trapped_and_not_lost():
    starts = independent_starts(10**5, 2, seed=1, reduced=True)
    assert np.all(integrate(Population(10**5), starts, np.inf, method="ode").status == Status.TRAPPED)


@pytest.mark.parametrize("scale", [1e-13, 1e-30])
def test_a_small_start_is_not_dead_for_being_small(scale):
    """Its flow is that of a start at 0.001, but for a time log(0.001/scale)/k and a smaller w at the turn."""
    starts = independent_starts(2, 400, seed=3, reduced=True)
    small = Reduced(*(scale * getattr(starts, name) for name in ("a", "p", "q")))
    status = integrate(Population(2), small, np.inf, method="ode").status
    learns = (starts.a > 0) | (start_balance(starts) < 0)
    assert np.array_equal(status == Status.DEAD, ~learns)
    assert np.mean(np.isin(status[learns], [Status.CONVERGED, Status.TRAPPED])) > 0.7


@pytest.mark.parametrize("q", [1e-5, 1e-8, 1e-13, 1e-60, 1e-200])
def test_beside_the_line_through_the_target_c_decides(q):
    # |a| = |w_1| to the last bit: c = -q^2. Where w points to the target, a < 0 turns at |w| about q.
    problem, w = Population(3), 0.7826086956521738
    starts = State([-w, -w, w, w], [[s, q, 0.0] for s in (w, -w, w, -w)])
    ends = integrate(problem, starts, np.inf, method="ode")
    assert np.array_equal(ends.status, [Status.CONVERGED, Status.UNDECIDED, Status.CONVERGED, Status.TRAPPED])
