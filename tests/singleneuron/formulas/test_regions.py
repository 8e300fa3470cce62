"""The numpy predicates say what the symbolic ones do, on grids that hold every boundary exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray

from singleneuron import algorithms
from singleneuron.formulas import balanced as exact
from singleneuron.formulas import regions
from singleneuron.problem.line import Line, population_line
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.starts import balanced_starts
from singleneuron.problem.state import Reduced
from singleneuron.theory import Equation, population
from singleneuron.theory import regions as theory

STEPS = np.arange(-6, 7) / 2  # q = 2 and p = 3/2 make |w| = 5/2, exactly


def numeric(predicate: sp.Basic, *symbols: sp.Symbol) -> Callable[..., NDArray[np.bool_]]:
    function = sp.lambdify(symbols, predicate, "numpy")
    # numpy's logical_and.reduce wants arguments of one shape.
    return lambda *values: np.broadcast_to(function(*np.broadcast_arrays(*values)), np.shape(values[0]))


def start_grid(on_edge: bool = False) -> Reduced:
    """Starts with q = 0 and q > 0; those with a = -w_1 and q > 0 only `on_edge`."""
    a, p, q = (axis.ravel() for axis in np.meshgrid(STEPS, STEPS, STEPS[STEPS >= 0], indexing="ij"))
    chosen = ((a == -p) & (q > 0)) == on_edge
    return Reduced(a[chosen], p[chosen], q[chosen])


def stated(predicate: sp.Basic, starts: Reduced) -> NDArray[np.bool_]:
    function = numeric(predicate, theory.a0, theory.w1, theory.norm)
    return function(starts.a, starts.p, np.hypot(starts.p, starts.q))


@pytest.mark.parametrize("s_pos", [1.0, -0.5])
@pytest.mark.parametrize("s_neg", [-0.25, 0.0, 0.25])
def test_line_success(s_pos: float, s_neg: float) -> None:
    a, w = np.meshgrid(STEPS, STEPS)
    symbols = theory.a0, theory.w1, theory.s_pos, theory.s_neg
    function = numeric(theory.line_success(*symbols), *symbols)
    predicted = regions.line_success(a, w, Line(0.5, s_pos, 0.5, s_neg))
    np.testing.assert_array_equal(predicted, function(a, w, s_pos, s_neg))
    assert 0 < predicted.sum() < predicted.size


def test_dense_success() -> None:
    starts = start_grid()
    predicted = regions.dense_success(starts.a, starts.p, starts.q)
    np.testing.assert_array_equal(predicted, stated(theory.dense_success(), starts))
    assert 0 < predicted.sum() < predicted.size


@pytest.mark.parametrize("imp", theory.IMP_VARIANTS)
@pytest.mark.parametrize("algorithm", ["imp", "lrr"])
def test_predicted_of_the_population(algorithm: str, imp: str) -> None:
    starts = start_grid()
    predicted = regions.predicted(Population(d=5), starts, algorithm, imp=imp)
    expected = stated(theory.success_region(algorithm, imp=imp), starts)
    np.testing.assert_array_equal(predicted, expected.astype(float))


@pytest.mark.parametrize("imp", theory.IMP_VARIANTS)
@pytest.mark.parametrize("algorithm", ["imp", "lrr"])
def test_predicted_on_the_edge_of_imp(algorithm: str, imp: str) -> None:
    starts = start_grid(on_edge=True)
    predicted = regions.predicted(Population(d=5), starts, algorithm, imp=imp)
    expected = stated(theory.success_region(algorithm, imp=imp), starts)
    np.testing.assert_array_equal(predicted, expected.astype(float))


@pytest.mark.parametrize("imp", theory.IMP_VARIANTS)
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_predicted_of_samples(seed: int, noise: float, imp: str) -> None:
    problem, starts = Sample.draw(d=4, n=50, noise=noise, seed=seed), start_grid()
    s_neg = sp.Float(problem.statistics.s_neg[0])
    predicted = regions.predicted(problem, starts, "imp", imp=imp)
    expected = stated(theory.success_region("imp", imp=imp, s_neg=s_neg), starts)
    np.testing.assert_array_equal(predicted, expected.astype(float))


def test_samples_of_both_signs_are_tested() -> None:
    slopes = [Sample.draw(d=4, n=50, noise=0.5, seed=seed).statistics.s_neg[0] for seed in range(4)]
    assert min(slopes) < 0 < max(slopes)


@pytest.mark.parametrize("imp", theory.IMP_VARIANTS)
@pytest.mark.parametrize("rewind_time", [0.0, 0.3, 3.0])
def test_predicted_of_wr(rewind_time: float, imp: str) -> None:
    starts: Any = balanced_starts(d=3, size=2000, seed=5, reduced=True)
    predicted = regions.predicted(Population(d=3), starts, "wr", imp=imp, rewind_time=rewind_time)
    rewound = Reduced(*exact.balanced_flow(starts.a, starts.p, starts.q, rewind_time))
    np.testing.assert_array_equal(
        predicted, stated(theory.success_region("wr", imp=imp), rewound).astype(float)
    )
    assert 0.25 < predicted.mean() + 0.03 < 0.5


def test_wr_is_predicted_of_the_balanced_starts_of_any_batch() -> None:
    balanced: Any = balanced_starts(d=3, size=20, seed=5, reduced=True)
    c = np.where(np.arange(20) % 3 == 0, 0.5, 0.0)
    mixed = Reduced(balanced.a, balanced.p, balanced.q, c)
    known = regions.predicted(Population(d=3), balanced, "wr", rewind_time=0.3)
    predicted = regions.predicted(Population(d=3), mixed, "wr", rewind_time=0.3)
    np.testing.assert_array_equal(predicted, np.where(c == 0, known, np.nan))


@pytest.mark.parametrize(("algorithm", "imp"), [("lth", "keep"), ("imp", "kept"), ("lrr", "kept")])
def test_unknown_names_are_refused(algorithm: str, imp: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        regions.predicted(Population(d=3), start_grid(), algorithm, imp=imp)


def test_the_names_agree() -> None:
    assert theory.ALGORITHMS == algorithms.ALGORITHMS
    assert theory.IMP_VARIANTS == algorithms.IMP_VARIANTS


@pytest.mark.parametrize("overlap", [1.0, 0.8, 0.5])
def test_population_line(overlap: float) -> None:
    claims = population.one_kept_coordinate()
    angle = {population.theta: np.arccos(overlap)}
    values = [float(claim.stated.subs(angle)) for claim in claims if isinstance(claim, Equation)]
    np.testing.assert_allclose(values, population_line(overlap), rtol=0, atol=1e-15)
