"""Sign-In: predictions say what the symbolic regions do, rates measure them, and limits keep the law."""

import numpy as np
import pytest
import sympy as sp

import singleneuron as sn
from singleneuron.formulas.rates import predicted_rate
from singleneuron.formulas.sign_in import _root, weight_at
from singleneuron.parameterization import Parameterization, distance
from singleneuron.theory import sign_in_regions as theory
from singleneuron.theory.regions import a0, norm, w1

DRAW = {"balanced": sn.balanced_starts, "independent": sn.independent_starts}
SYMBOLS = (a0, w1, norm, theory.g_a, theory.g_w, theory.g_1, theory.g_even)
SIZE = 100_000


def product(beta_a: float, beta_w: float = 1.0) -> Parameterization:
    return Parameterization("sign-in", beta_a=beta_a, beta_w=beta_w)


def grid(d: int) -> sn.State:
    """Starts on the axes and off them, balanced ones, and equal weights."""
    steps = np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0])
    points = np.stack(np.meshgrid(*[steps] * (d + 1), indexing="ij"), axis=-1).reshape(-1, d + 1)
    w = points[:, 1:]
    signs = np.where(points[:, 0] < 0, -1.0, 1.0)
    balanced = np.where(np.count_nonzero(w, axis=1) <= 1, np.abs(w).max(axis=1), np.linalg.norm(w, axis=1))
    return sn.State(np.append(points[:, 0], signs * balanced), np.concatenate([w, w]))


def stated(predicate: sp.Basic, starts: sn.State, betas: Parameterization) -> np.ndarray:
    """Evaluate a region; only differences of distances matter, and `balance` rounds them in its own way."""
    first, size = starts.w[:, 0], np.linalg.norm(starts.w, axis=1)
    of_first = starts.w[:, :1]
    lead = betas.balance(starts if theory.g_w in predicate.free_symbols else sn.State(starts.a, of_first))
    even = betas.balance(sn.State(np.abs(first), of_first))
    rho = np.where(np.any(starts.w[:, 1:] != 0, axis=1), size, np.abs(first))
    values = (starts.a, first, rho, lead, 0 * lead, 0 * lead, even)
    return np.broadcast_to(sp.lambdify(SYMBOLS, predicate, "numpy")(*values), starts.a.shape).astype(float)


@pytest.mark.parametrize("betas", [product(1.0), product(0.5), product(3.0), product(0.2, 5.0)])
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("lrr", {}), ("imp", {}), ("imp", {"imp": "rebalance"}), ("wr", {"rewind_time": 0.0})],
)
def test_predicted_is_the_symbolic_region(algorithm, options, betas):
    starts = grid(3)
    predicted = sn.predicted(sn.Population(3), starts, algorithm, parameterization=betas, **options)
    region = theory.success_region(algorithm, imp=options.get("imp", "keep"))
    # The symbolic region leaves out w = 0, where phi'(0) = 0 keeps every start.
    expected = np.where(starts.w.any(axis=1), stated(region, starts, betas), 0.0)
    # A start along the target is a start in one coordinate.
    alone = ~starts.w[:, 1:].any(axis=1)
    expected = np.where(alone & (algorithm == "lrr"), stated(theory.line_success(), starts, betas), expected)
    np.testing.assert_array_equal(predicted, expected)
    assert 0 < predicted.mean() < 1


@pytest.mark.parametrize("s_neg", [-1, 1])
@pytest.mark.parametrize("betas", [product(1.0), product(0.5), product(3.0)])
def test_predicted_of_samples_in_one_coordinate(betas, s_neg):
    x = np.array([[1.0], [2.0], [-1.0], [-0.5]])
    problem, starts = sn.Sample(x=x, y=np.array([1.0, 2.0, -0.3 * s_neg, -0.2 * s_neg])), grid(1)
    assert np.sign(problem.statistics.s_neg[0]) == s_neg
    predicted = sn.predicted(problem, starts, "lrr", parameterization=betas)
    region = theory.line_success(s_neg=sp.Integer(s_neg))
    np.testing.assert_array_equal(predicted, stated(region, starts, betas))
    assert (predicted[starts.w[:, 0] < 0].sum() > 0) == (s_neg > 0)
    mirrored = sn.Sample(x=x, y=-problem.y)  # (a, y) -> (-a, -y) is a symmetry
    np.testing.assert_array_equal(
        sn.predicted(mirrored, sn.State(-starts.a, starts.w), "lrr", parameterization=betas), predicted
    )


@pytest.mark.parametrize("betas", [product(0.5), product(3.0)])
def test_imp_on_samples_ends_in_one_coordinate(betas):
    problem = sn.Sample.draw(d=3, n=60, noise=0.5, seed=1)
    starts = sn.balanced_starts(d=3, size=200, seed=2)
    s_neg = sp.Float(problem.statistics.s_neg[0])
    for imp in ("keep", "rebalance"):
        predicted = sn.predicted(problem, starts, "imp", imp=imp, parameterization=betas)
        expected = stated(theory.success_region("imp", imp=imp, s_neg=s_neg), starts, betas)
        np.testing.assert_array_equal(predicted, expected)
    assert np.isnan(sn.predicted(problem, starts, "lrr", parameterization=betas)).all()


def test_there_is_no_formula_for_wr_beyond_time_zero():
    starts = sn.balanced_starts(d=3, size=4, seed=1)
    for known in (
        sn.predicted(sn.Population(3), starts, "wr", rewind_time=1.0, parameterization=product(1.0)),
        sn.sign_in_rate(3, "wr", product(1.0), rewind_time=1.0).rate,
        predicted_rate(3, "lrr", level_time=10.0, parameterization=product(1.0)),
        predicted_rate(3, "imp", n=1000, parameterization=product(1.0)),
    ):
        assert np.isnan(known).all()


def test_reduced_starts_and_plain_weights_are_refused():
    reduced = sn.balanced_starts(d=3, size=4, seed=1, reduced=True)
    with pytest.raises(ValueError, match="needs full states"):
        sn.predicted(sn.Population(3), reduced, "lrr", parameterization=product(1.0))
    with pytest.raises(ValueError, match="use population_limit"):
        sn.sign_in_limit(0.0, Parameterization())


def test_the_table_of_balanced_starts():
    """Rates by algorithm, at beta_a > beta_w and at equal betas; plain: 1/2, 1/4 and 1/4."""
    for d in (2, 5, 1000):
        for betas, even in ((product(2.0), 0.5), (product(1.0), 0.25)):
            assert sn.sign_in_rate(d, "lrr", betas) == (1.0, 0.0)
            assert sn.sign_in_rate(d, "imp", betas, imp="rebalance") == (even, 0.0)
        assert sn.sign_in_rate(d, "imp", product(1.0)) == (0.25, 0.0)
        keep = [sn.sign_in_rate(d, "imp", product(beta)).rate for beta in (0.5, 1.0, 2.0, 10.0, 1e3, 1e9)]
        assert keep[0] == keep[1] == 0.25
        assert np.all(np.diff(keep) >= 0)
        assert np.all(np.diff(keep[1:]) > 0) or d == 1000  # there |w_perp| is too large for small betas
        assert keep[-1] == pytest.approx(0.5, abs=1e-3)
    for betas, rate in ((product(2.0), 0.5), (product(1.0), 0.25), (product(0.5), 0.25)):
        assert sn.sign_in_rate(1, "lrr", betas) == (rate, 0.0)


@pytest.mark.parametrize(("d", "rate"), [(2, 0.543), (5, 0.684), (20, 0.951)])
def test_rates_of_a_smaller_beta_of_a(d, rate):
    """The stated rates come from 200,000 other starts, and hold within 0.002."""
    found = sn.sign_in_rate(d, "lrr", product(0.5))
    assert found.rate == pytest.approx(rate, abs=0.002 + 3 * found.error)
    assert 0 < found.error < 1e-3
    assert predicted_rate(d, "lrr", parameterization=product(0.5)) == found.rate


@pytest.mark.parametrize("init", DRAW)
@pytest.mark.parametrize(("d", "targets"), [(1, 1), (2, 1), (5, 1), (5, 2), (3, 3)])
@pytest.mark.parametrize("betas", [product(0.5), product(1.0), product(3.0)])
def test_rates_are_the_measure_of_the_regions(init, d, targets, betas):
    starts = DRAW[init](d=d, size=SIZE, seed=3, scale=1.5)
    for algorithm, imp in (("lrr", "keep"), ("imp", "keep"), ("imp", "rebalance")):
        hits = sn.predicted(sn.Population(d, targets), starts, algorithm, imp=imp, parameterization=betas)
        found = sn.sign_in_rate(d, algorithm, betas, init=init, scale=1.5, targets=targets, imp=imp)
        spread = np.sqrt(found.rate * (1 - found.rate) / SIZE + found.error**2)
        assert np.mean(hits) == pytest.approx(found.rate, abs=4 * spread)


@pytest.mark.parametrize("init", DRAW)
@pytest.mark.parametrize("betas", [product(0.5), product(1.0), product(3.0)])
def test_rates_of_one_coordinate_hold_under_label_noise(init, betas):
    starts = DRAW[init](d=1, size=SIZE, seed=4)
    hits = 0.0
    for s_neg in (-0.3, 0.3):  # equally likely
        problem = sn.Sample(x=np.array([[1.0], [-1.0]]), y=np.array([1.0, -s_neg]))
        hits += sn.predicted(problem, starts, "lrr", parameterization=betas).mean() / 2
    rate = predicted_rate(1, "lrr", init=init, n=10**4, noise=0.1, parameterization=betas)
    assert hits == pytest.approx(rate, abs=4 * 0.5 / np.sqrt(SIZE))


def test_large_betas_are_plain_and_small_ones_measure_the_one_norm():
    starts = sn.independent_starts(d=3, size=2000, seed=5)
    for algorithm in ("imp", "lrr"):
        large = sn.predicted(sn.Population(3), starts, algorithm, parameterization=product(1e4, 1e4))
        np.testing.assert_array_equal(large, sn.predicted(sn.Population(3), starts, algorithm))
    small = sn.predicted(sn.Population(3), starts, "lrr", parameterization=product(1e-9, 1e-9))
    np.testing.assert_array_equal(small, starts.a > -np.abs(starts.w).sum(axis=1))


@pytest.mark.parametrize("betas", [product(1.0), product(1e-6, 1e6), product(1e6, 1e-6), product(0.5, 2.0)])
@pytest.mark.parametrize("targets", [1, 3])
def test_the_limit_keeps_the_law(betas, targets):
    c = np.concatenate([-np.logspace(8, -9, 18), [0.0], np.logspace(-9, 8, 18)])
    a = sn.sign_in_limit(c, betas, targets)
    target = sn.State(a, np.outer(1 / a, np.full(targets, targets**-0.5)))
    largest = np.maximum(distance(target.a, betas.beta_a), distance(target.w, betas.beta_w).sum(axis=1))
    np.testing.assert_array_less(np.abs(betas.balance(target) - c), 1e-14 * largest)
    assert np.all(np.diff(a) >= 0)


def test_the_limit_for_large_betas_is_the_plain_one():
    c, beta = np.array([-3.0, 0.0, 2.0]), 1e6
    np.testing.assert_allclose(
        sn.sign_in_limit(2 * c / beta, product(beta, beta)), sn.population_limit(c), rtol=1e-9
    )


def test_newton_steps_never_pass_the_root(monkeypatch):
    """Stopped early at any step, the root is approached from below."""
    own, other = (1, 0.3), (2, 5.0)
    c = np.array([0.0, 1.0, 1e3])
    reached = []
    for steps in range(1, 8):
        monkeypatch.setattr("singleneuron.formulas.sign_in.NEWTON_STEPS", steps)
        reached.append(_root(c, own, other))
    assert np.all(np.diff(reached, axis=0) >= 0)
    np.testing.assert_allclose(reached[-1], reached[-2], rtol=1e-15)


def test_weight_at_inverts_the_distance():
    theta = np.array([0.0, 1e-12, 0.3, 2.0, 1e150])
    np.testing.assert_allclose(weight_at(distance(theta, 0.7), 0.7), theta, rtol=1e-14)
