"""The benchmark at tiny sizes: every tool that is installed reaches the error it is asked for."""

import numpy as np
import pytest

from singleneuron.benchmark import __main__, cases, measure, other_solvers, sign_in
from singleneuron.parameterization import metric
from singleneuron.problem.loss import gradient
from singleneuron.problem.problem import Population
from singleneuron.problem.starts import independent_starts


def tools_of(case):
    return [tool.name for tool in case.tools]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line", "population", "sign-in"])
def test_every_tool_meets_the_error(name):
    case = cases.CASES[name](2e-4)
    rows = measure.measure(case, rounds=1)
    assert [row.tool for row in rows] == list(case.tools)
    for row in rows:
        assert 0 <= row.median <= row.largest <= measure.ERROR, row.tool.name
        assert row.rate > 0
    for peer in ("diffrax", "heyoka") if name != "sign-in" else ():
        assert any(tool.startswith(peer) for tool in tools_of(case)) == other_solvers.installed(peer)


@pytest.mark.skipif(not other_solvers.installed("heyoka"), reason="heyoka is not installed")
def test_heyoka_sees_the_event_of_every_start_of_a_batch():
    # With the cooldown of the start before, it missed the events of 598 of these 5,184 starts.
    case = cases.line_case(5_184 / 512**2)
    (heyoka,) = (tool for tool in case.tools if tool.name == "heyoka")
    assert heyoka.size == 5_184
    assert np.abs(heyoka.run(1e-8) - case.reference).max() <= measure.ERROR


def test_samples_beside_the_dense_right_hand_side():
    case = cases.sample_case(3, 20, 4, 1)
    rows = measure.measure(case, rounds=1)
    assert rows[0].largest <= measure.ERROR
    assert "peak memory" in case.remark


def test_dense_right_hand_side_is_the_gradient():
    problem, starts, _ = cases.sample_problem(5, 40, 6)
    da, dw = gradient(problem, starts)
    for i in range(6):
        out = np.empty(6)
        cases.dense_field.py_func(np.append(starts.a[i], starts.w[i]), (problem.x, problem.y), out)
        assert np.allclose(out, -np.append(da[i], dw[i]), rtol=1e-13, atol=1e-15)


def test_sign_in_right_hand_sides_are_the_gradient_in_the_metric():
    starts, betas = independent_starts(6, 8, seed=1), np.array([1.5, 0.7])
    da, dw = gradient(Population(6), starts)
    expected = -np.column_stack([metric(starts.a, 1.5) * da, metric(starts.w, 0.7) * dw])
    for i, y in enumerate(np.column_stack([starts.a, starts.w])):
        for field in (other_solvers.in_place(sign_in.field), sign_in.field_python):
            assert np.allclose(field(0.0, y, betas), expected[i], rtol=1e-13, atol=1e-15)


def test_tolerance_is_the_loosest_that_meets_the_error():
    # A made-up tool whose error is five times its tolerance.
    tool = measure.Tool("made up", 3, lambda tolerance: np.full((3, 2), 5 * tolerance))
    case = measure.Case("made up", np.zeros((5, 2)), [tool])
    (row,) = measure.measure(case, rounds=1)
    assert row.tolerance == pytest.approx(10**-6.75)
    assert row.largest == pytest.approx(5 * 10**-6.75)
    assert "| made up | 3 | 1.8e-07 |" in measure.markdown_table(case, [row])


def test_a_tool_of_few_tolerances_gets_the_loosest_of_them():
    tool = measure.Tool("made up", 3, lambda tolerance: np.full((3, 2), 5 * tolerance), (1e-6, 1e-8))
    (row,) = measure.measure(measure.Case("made up", np.zeros((3, 2)), [tool]), rounds=1)
    assert row.tolerance == 1e-8


@pytest.mark.parametrize("works_below", [1e-7, 0.0])
def test_a_tool_that_fails_is_tried_with_a_smaller_tolerance(works_below):
    def run(tolerance):
        if tolerance >= works_below:
            raise OverflowError("math range error")
        return np.zeros((3, 2))

    tools = [
        measure.Tool("fails", 3, run, (1e-6, 1e-8)),
        measure.Tool("works", 3, lambda _: np.zeros((3, 2))),
    ]
    case = measure.Case("made up", np.zeros((3, 2)), tools)
    row, other = measure.measure(case, rounds=1)
    assert row.tolerance == 1e-8
    assert other.rate > 0
    assert (row.rate > 0) == bool(works_below)
    assert row.largest == (0 if works_below else np.inf)
    assert ("| failed |" in measure.markdown_table(case, [row, other])) == (not works_below)


def test_costs_of_studies_are_a_table():
    lines = __main__.study_costs(share=1e-3, rounds=1).splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == [
        *("2", "100", "10,000", "1,000,000", "100", "100")
    ]
    assert all(float(line.split("|")[4].replace(",", "")) > 0 for line in lines[4:])
