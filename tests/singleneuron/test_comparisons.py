"""Laws against integration: true ones stay within their limits, broken ones do not and are confirmed."""

import dataclasses
import math

import numpy as np
import pytest

from singleneuron import comparisons, exact

LAWS = (
    comparisons.line_flows,
    comparisons.balanced_flows,
    comparisons.angle_curve,
    comparisons.limit_states,
    comparisons.flip_times,
    comparisons.wedge_times,
    comparisons.wedge_logarithm,
    comparisons.escape_times,
)


@pytest.mark.parametrize("law", LAWS)
def test_laws_hold(law):
    found = law(24, 7)
    assert found.starts == 24
    assert 0 < found.error <= found.limit
    assert found.beyond == 0
    assert found.confirmed is None
    assert all(math.isfinite(value) for value in found.worst.values())
    assert dataclasses.asdict(law(24, 7)) == dataclasses.asdict(found)
    assert law(24, 8).worst != found.worst


@pytest.mark.parametrize(
    ("law", "formula", "factor"),
    [
        (comparisons.line_flows, "line_flow", 1 + 1e-5),
        (comparisons.balanced_flows, "balanced_flow", 1 + 1e-5),
        (comparisons.angle_curve, "universal_x", 1 + 1e-5),
        (comparisons.limit_states, "population_limit", 1 + 1e-5),
        (comparisons.wedge_times, "crossing_time", 1 - 1e-2),
        (comparisons.escape_times, "escape_time", 1.2),
    ],
)
def test_a_wrong_formula_is_found_and_confirmed(law, formula, factor, monkeypatch):
    right = getattr(exact, formula)

    def wrong(*arguments, **options):
        values = right(*arguments, **options)
        return tuple(factor * v for v in values) if isinstance(values, tuple) else factor * values

    monkeypatch.setattr(exact, formula, wrong)
    found = law(12, 7)
    assert found.beyond > 0
    assert found.error > found.limit
    assert found.confirmed


def test_a_wrong_integration_is_not_confirmed(monkeypatch):
    right = comparisons.line.line_flow

    def wrong(*arguments, **options):
        path, end, *rest = right(*arguments, **options)
        return path * (1 + 1e-5), end, *rest

    monkeypatch.setattr(comparisons.line, "line_flow", wrong)
    found = comparisons.line_flows(12, 7)
    assert found.beyond > 0
    assert found.confirmed is False


def test_errors_are_in_units_of_the_tolerance():
    stated, again = np.array([[1.0, 3.0]]), np.array([1.0])
    off = stated + np.array([[0.0, 8 * comparisons.RTOL]])
    found = comparisons._compare("x", stated, off, {"a0": np.array([5.0, 6.0])}, lambda i: again)
    assert found.error == pytest.approx(2)
    assert found.worst == {"a0": 6.0}
    lost = comparisons._compare("x", stated, off * np.nan, {"a0": np.zeros(2)}, lambda i: again)
    assert lost.beyond == 2
