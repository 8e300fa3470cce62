"""One coordinate: the four cases of the switching line, and scipy as the independent reference."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from singleneuron.flows.integrate import integrate
from singleneuron.flows.line import line_flow
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.starts import independent_starts
from singleneuron.problem.state import State, balance
from singleneuron.problem.status import Status

STICKS = Line(0.5, 1.0, 0.5, -0.2)
OPENS = Line(0.5, 1.0, 0.4, 0.2)


def run(a, w, line, t, rtol=1e-10):
    a, w = np.atleast_1d(np.asarray(a, dtype=float)), np.atleast_1d(np.asarray(w, dtype=float))
    c = (np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w))
    return line_flow(
        a, w, c, line, np.atleast_1d(np.asarray(t, dtype=float)),
        rtol=rtol, atol=rtol, limit=False, t_certain=2e3, tolerance=1e-3,
    )  # fmt: skip


def reference(a, w, line, t):
    """scipy with the event w = 0, one side at a time; sides and cases by the sign of w' alone."""
    side, y, now = np.sign(w), np.array([a, w]), 0.0
    while side != 0 and now < t:
        slope, target = (line.c_pos, line.s_pos) if side > 0 else (line.c_neg, line.s_neg)

        def field(_, y, slope=slope, target=target):
            pull = slope * (target - y[0] * y[1])
            return [pull * y[1], pull * y[0]]

        def hits(_, y):
            return y[1]

        hits.terminal = True
        hits.direction = -side
        done = solve_ivp(field, (now, t), y, "DOP853", rtol=1e-12, atol=1e-13, events=hits)
        y, now = done.y[:, -1], done.t[-1]
        if done.status == 1:
            other = (line.c_neg, line.s_neg) if side > 0 else (line.c_pos, line.s_pos)
            y[1] = 0.0
            # On the other side w' = C a s at the line; it carries away from the line or back to it.
            side = -side if other[0] * y[0] * other[1] * -side > 0 else 0
    return y


# The four cases of the switching line w = 0: start, line, what happens.
CASES = {
    "sticks": ((-1.0, 0.4), STICKS, Status.STUCK, 0),
    "crosses down": ((-1.0, 0.4), OPENS, Status.STUCK, -1),
    "crosses up": ((1.0, -0.4), OPENS, Status.CONVERGED, 1),
    "is never reached": ((1.0, -0.4), STICKS, Status.STUCK, -1),
}


@pytest.mark.parametrize("case", CASES)
def test_switching_line(case):
    (a, w), line, status, side = CASES[case]
    path, end, _, _ = run(a, w, line, [0.1, 1.0, 5.0, 60.0])
    for t, y in zip([0.1, 1.0, 5.0, 60.0], path[0], strict=True):
        assert np.allclose(y, reference(a, w, line, t), rtol=0, atol=1e-8)
    assert np.sign(end[0, 1]) == side
    if case == "sticks":
        assert end[0, 0] == pytest.approx(-np.sqrt(a**2 - w**2), abs=1e-9)
    sample = Sample(x=[[np.sqrt(2 * line.c_pos)], [-np.sqrt(2 * line.c_neg)]], y=[1.0, 1.0])
    slopes = [line.s_pos * sample.x[0, 0], line.s_neg * sample.x[1, 0]]
    problem = Sample(x=sample.x, y=slopes)
    assert np.allclose([value[0] for value in problem.statistics], line)
    for t_end in (200.0, np.inf):
        result = integrate(problem, State([a], [[w]]), t_end, method="ode")
        assert result.status[0] == status


def test_a_start_on_the_switching_line_stays():
    path, end, _, _ = run([1.0, -1.0], [0.0, 0.0], OPENS, [1.0, 50.0])
    assert np.array_equal(end, [[1.0, 0.0], [-1.0, 0.0]])
    assert np.array_equal(path[:, 0], end)


def test_sides_are_kept_for_ever():
    # Dead states end at (sqrt(c), 0-): no rounding may carry one across, at any tolerance.
    a, w = (grid.ravel() for grid in np.meshgrid(np.linspace(0.05, 2, 12), np.linspace(-2, -0.01, 12)))
    for rtol in (1e-3, 1e-6, 1e-10):
        for t in (30.0, 1e3, 1e5):
            assert np.all(run(a, w, Line(), t, rtol)[1][:, 1] < 0)


def test_random_starts_agree_with_scipy():
    rng = np.random.default_rng(0)
    for line in (Line(), STICKS, OPENS, Line(0.3, -0.8, 0.6, 0.5), Line(0.5, 0.7, 0.0, 0.0)):
        a, w, t = rng.normal(size=12), rng.normal(size=12), rng.uniform(0, 30, size=12)
        for i in range(12):
            end = run(a[i], w[i], line, t[i])[1][0]
            assert np.allclose(end, reference(a[i], w[i], line, t[i]), rtol=0, atol=1e-8)


def test_balance_and_energy():
    starts = independent_starts(1, 300, seed=1)
    times = np.concatenate([np.linspace(0, 5, 401), np.linspace(5, 100, 200)[1:]])
    rtol = 1e-10
    path = integrate(Population(1), starts, t_eval=times, rtol=rtol, method="ode").state
    bound = 100 * rtol * np.maximum(1, starts.a**2 + starts.w[:, 0] ** 2)
    assert np.all(np.abs(balance(path) - balance(starts)) <= bound)


def test_an_empty_side_does_not_move():
    _, end, _, _ = run(0.7, -0.3, Line(0.5, 1.0, 0.0, 0.0), 100.0)
    assert np.array_equal(end, [[0.7, -0.3]])
