"""Laws against integration: true ones stay within their limits, broken ones do not and are confirmed."""

import math

import numpy as np
import pytest

from singleneuron.formulas import balanced, line, population
from singleneuron.verification import laws, time_laws

LAWS = (
    laws.line_flows,
    laws.balanced_flows,
    laws.angle_curve,
    laws.limit_states,
    time_laws.flip_times,
    time_laws.wedge_times,
    time_laws.wedge_logarithm,
    time_laws.escape_times,
)


@pytest.mark.parametrize("law", LAWS)
def test_laws_hold(law):
    found = law(24, 7)
    assert found.starts == 24
    assert 0 < found.error <= found.limit
    assert found.beyond == 0
    assert found.confirmed is None
    assert all(math.isfinite(value) for value in found.worst.values())
    assert law(24, 7) == found
    assert law(24, 8).worst != found.worst


@pytest.mark.parametrize(
    ("law", "home", "formula", "factor"),
    [
        (laws.line_flows, line, "line_flow", 1 + 1e-5),
        (laws.balanced_flows, balanced, "balanced_flow", 1 + 1e-5),
        (laws.angle_curve, balanced, "universal_x", 1 + 1e-5),
        (laws.limit_states, population, "population_limit", 1 + 1e-5),
        (time_laws.wedge_times, line, "crossing_time", 1 - 1e-2),
        (time_laws.escape_times, population, "escape_time", 1.2),
    ],
)
def test_a_wrong_formula_is_found_and_confirmed(law, home, formula, factor, monkeypatch):
    right = getattr(home, formula)

    def wrong(*arguments, **options):
        values = right(*arguments, **options)
        return tuple(factor * v for v in values) if isinstance(values, tuple) else factor * values

    monkeypatch.setattr(home, formula, wrong)
    found = law(12, 7)
    assert found.beyond > 0
    assert found.error > found.limit
    assert found.confirmed


def test_a_wrong_integration_is_not_confirmed(monkeypatch):
    right = laws.line.line_flow

    def wrong(*arguments, **options):
        path, end, *rest = right(*arguments, **options)
        return path * (1 + 1e-5), end, *rest

    monkeypatch.setattr(laws.line, "line_flow", wrong)
    found = laws.line_flows(12, 7)
    assert found.beyond > 0
    assert found.confirmed is False


def test_errors_are_in_units_of_the_tolerance():
    stated, again = np.array([[1.0, 3.0]]), np.array([1.0])
    off = stated + np.array([[0.0, 8 * laws.RTOL]])
    found = laws.compare("x", stated, off, {"a0": np.array([5.0, 6.0])}, lambda i: again)
    assert found.error == pytest.approx(2)
    assert found.worst == {"a0": 6.0}
    lost = laws.compare("x", stated, off * np.nan, {"a0": np.zeros(2)}, lambda i: again)
    assert lost.beyond == 2
