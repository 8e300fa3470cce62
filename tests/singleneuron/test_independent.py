"""The independent solver against closed forms and against the kernels, of which it shares nothing."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron import independent
from singleneuron.model import Line
from singleneuron.outcome import success


def test_plane_follows_the_balanced_closed_form():
    starts = sn.balanced_starts(d=5, size=6, seed=3, reduced=True)
    stated = np.stack(sn.balanced_flow(starts.a, starts.p, starts.q, 3.0))
    found = [independent.plane(starts.a[i], starts.p[i], starts.q[i], 3.0) for i in range(6)]
    np.testing.assert_allclose(np.array(found).T, stated, rtol=0, atol=100 * independent.RTOL)


@pytest.mark.parametrize("s_neg", [-0.3, 0.3])
def test_line_crosses_or_sticks_as_the_closed_form_does(s_neg):
    data = Line(0.4, 0.9, 0.6, s_neg)
    for a, w in ((1.0, -0.5), (-1.0, -0.5), (-1.0, 0.5), (0.3, -0.5), (-0.2, 0.5), (1.0, 0.0)):
        stated = sn.line_flow(a, w, 6.0, *data)
        np.testing.assert_allclose(independent.line(a, w, data, 6.0), stated, atol=1000 * independent.RTOL)


def test_turning_time_is_the_universal_one():
    theta = 2.5
    time = independent.turning_time(0.7, 0.7 * np.cos(theta), 0.7 * np.sin(theta), 100.0)
    assert time == pytest.approx(-float(sn.angle_time(theta)), rel=1e-8)
    assert independent.turning_time(-0.7, 0.7 * np.cos(theta), 0.7 * np.sin(theta), 10.0) == np.inf


def test_outcomes_are_those_of_the_kernels():
    starts = sn.independent_starts(d=2, size=20, seed=5, reduced=True)
    ends = sn.integrate(sn.Population(2), starts, t_end=np.inf, method="ode")
    for i, wins in enumerate(success(ends.status)):
        found = independent.plane_outcome(starts.a[i], starts.p[i], starts.q[i])
        assert np.isnan(found) or found == wins
    starts = sn.independent_starts(d=1, size=50, seed=5, reduced=True)
    ends = sn.integrate(sn.Population(1), starts, t_end=np.inf, method="ode")
    found = [independent.line_outcome(a, w, Line()) for a, w in zip(starts.a, starts.p, strict=True)]
    np.testing.assert_array_equal(found, success(ends.status))


def test_balanced_flow_towards_the_line_does_not_escape_by_rounding():
    # A saddle: the error of any solver grows like e^(t/2) along the flow's exit from it.
    assert independent.line_outcome(-0.7, 0.7, Line(), balanced=True) == 0
    assert independent.line_outcome(0.7, 0.7, Line(), balanced=True) == 1
