"""The independent solver against closed forms and against the kernels, of which it shares nothing."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.problem.line import Line
from singleneuron.problem.status import success
from singleneuron.verification import reference_solver


def test_plane_follows_the_balanced_closed_form():
    starts = sn.balanced_starts(d=5, size=6, seed=3, reduced=True)
    stated = np.stack(sn.balanced_flow(starts.a, starts.p, starts.q, 3.0))
    found = [reference_solver.solve_plane(starts.a[i], starts.p[i], starts.q[i], 3.0) for i in range(6)]
    np.testing.assert_allclose(np.array(found).T, stated, rtol=0, atol=100 * reference_solver.RTOL)


@pytest.mark.parametrize("s_neg", [-0.3, 0.3])
def test_line_crosses_or_sticks_as_the_closed_form_does(s_neg):
    data = Line(0.4, 0.9, 0.6, s_neg)
    for a, w in ((1.0, -0.5), (-1.0, -0.5), (-1.0, 0.5), (0.3, -0.5), (-0.2, 0.5), (1.0, 0.0)):
        stated = sn.line_flow(a, w, 6.0, *data)
        np.testing.assert_allclose(
            reference_solver.solve_line(a, w, data, 6.0), stated, atol=1000 * reference_solver.RTOL
        )


def test_turning_time_is_the_universal_one():
    theta = 2.5
    time = reference_solver.turning_time(0.7, 0.7 * np.cos(theta), 0.7 * np.sin(theta), 100.0)
    assert time == pytest.approx(-float(sn.angle_time(theta)), rel=1e-8)
    assert reference_solver.turning_time(-0.7, 0.7 * np.cos(theta), 0.7 * np.sin(theta), 10.0) == np.inf


def test_outcomes_are_those_of_the_kernels():
    starts = sn.independent_starts(d=2, size=20, seed=5, reduced=True)
    ends = sn.integrate(sn.Population(2), starts, t_end=np.inf, method="ode")
    for i, wins in enumerate(success(ends.status)):
        c = float(sn.problem.state.balance(starts)[i])
        found = reference_solver.plane_outcome(starts.a[i], starts.p[i], starts.q[i], c)
        assert np.isnan(wins) or found == wins
    starts = sn.independent_starts(d=1, size=50, seed=5, reduced=True)
    ends = sn.integrate(sn.Population(1), starts, t_end=np.inf, method="ode")
    found = [reference_solver.line_outcome(a, w, Line()) for a, w in zip(starts.a, starts.p, strict=True)]
    np.testing.assert_array_equal(found, success(ends.status))


def test_where_the_time_is_too_long_for_any_solver_the_limit_is_theorys():
    rho = 1.0
    for a, wins in ((-rho + 5e-6, 1), (-rho - 5e-6, 0)):  # a = 0 is passed at about t = 1e6, or never
        c = (abs(a) - rho) * (abs(a) + rho)
        assert reference_solver.plane_outcome(a, np.cos(1.0), np.sin(1.0), c) == wins
    slow = Line(0.5, 1.0, 1e-9, 1e-3)
    assert reference_solver.line_outcome(1.0, -0.5, slow) == 1  # crosses w = 0 at t > 1e9
    assert reference_solver.line_outcome(1.0, -0.5, slow._replace(s_neg=-1e-3)) == 0


def test_descent_on_samples_is_that_of_the_flow():
    problem, start = sn.Sample.draw(3, 50, 0.3, seed=2), sn.balanced_starts(3, 1, seed=4)
    a, w = reference_solver.descend(problem, start.a[0], start.w[0], 5.0, share=1e-3)
    end = sn.integrate(problem, start, 5.0).state
    np.testing.assert_allclose([a, *w], [end.a[0], *end.w[0]], atol=1e-3)
    largest = np.argmax(np.abs(reference_solver.train_dense(problem, start.a[0], start.w[0])[1]))
    assert largest == np.argmax(np.abs(sn.integrate(problem, start, np.inf).state.w[0]))


def test_balanced_flow_towards_the_line_does_not_escape_by_rounding():
    # A saddle: the error of any solver grows like e^(t/2) along the flow's exit from it.
    assert reference_solver.line_outcome(-0.7, 0.7, Line(), balanced=True) == 0
    assert reference_solver.line_outcome(0.7, 0.7, Line(), balanced=True) == 1
