"""The problem and its states: quadrature, finite differences, symmetries, and refusals."""

import numpy as np
import pytest
from scipy import integrate as quad

from singleneuron.problem.line import angle_kernel
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.reduction import expand, reduce
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import Reduced, State, balance


def test_angle_kernel_is_the_gaussian_expectation():
    for theta in (0.0, 0.3, 1.2, np.pi / 2, 2.5, np.pi - 0.05):
        # E[phi(w.x) phi(v.x)] in polar coordinates: the radial part gives 1/pi, the angular one an integral.
        angular, _ = quad.quad(lambda f, t=theta: np.cos(f) * np.cos(f - t), theta - np.pi / 2, np.pi / 2)
        assert angle_kernel(theta) == pytest.approx(angular / np.pi, abs=1e-14)
    delta = np.array([1e-8, 1e-4, 0.1, 0.1999, 0.2001])
    series = delta**3 / 6 / np.pi
    assert np.all(np.abs(angle_kernel(np.pi - delta) / series - 1) < 0.11 * delta**2 + 1e-7)


@pytest.mark.parametrize("targets", [1, 2])
def test_population_loss_is_the_limit_of_the_sample_loss(targets):
    problem, data = Population(3, targets), Sample.draw(3, 400_000, seed=5, targets=targets)
    starts = independent_starts(3, 20, seed=1)
    assert np.max(np.abs(loss(problem, starts) / loss(data, starts) - 1)) < 0.02


@pytest.mark.parametrize("problem", [Population(4), Population(4, 2), Sample.draw(4, 30, 0.3, seed=2)])
def test_gradient_is_the_derivative_of_the_loss(problem):
    starts = independent_starts(4, 25, seed=3)
    da, dw = gradient(problem, starts)
    h = 1e-6
    slope = (loss(problem, State(starts.a + h, starts.w)) - loss(problem, State(starts.a - h, starts.w))) / (
        2 * h
    )
    assert np.allclose(da, slope, rtol=0, atol=1e-8)
    for i in range(4):
        step = h * np.eye(4)[i]
        slope = loss(problem, State(starts.a, starts.w + step)) - loss(
            problem, State(starts.a, starts.w - step)
        )
        assert np.allclose(dw[:, i], slope / (2 * h), rtol=0, atol=1e-8)


def test_loss_keeps_its_digits_at_the_target():
    near = State([1.0 + 1e-9], [[1.0, 1e-10]])
    assert loss(Population(2), near)[0] == pytest.approx(1e-18 / 4 + 1e-20 / 4, rel=1e-3)


def test_kernel_subgradient_at_zero():
    da, dw = gradient(Population(3), State([1.0], [[0.0, 0.0, 0.0]]))
    assert da[0] == 0
    assert not dw.any()
    sample = Sample(x=np.array([[1.0, 0.0], [0.0, 1.0]]), y=np.ones(2))
    assert not gradient(sample, State([1.0], [[-1.0, 0.0]]))[1].any()


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_reducing_and_expanding_are_inverse(targets):
    problem, starts = Population(7, targets), independent_starts(7, 50, seed=4)
    mask = np.random.default_rng(0).random((50, 7)) < 0.7
    mask[:, 0] = True
    for kept in (None, mask):
        reduced = reduce(problem, starts, kept)
        again = expand(problem, reduced, starts, kept)
        assert np.allclose(again.w, starts.w if kept is None else starts.w * kept, rtol=0, atol=1e-14)
        assert np.allclose(np.hypot(reduced.p, reduced.q), np.linalg.norm(again.w, axis=1), rtol=1e-14)
    assert np.allclose(reduce(problem, starts).p, starts.w @ problem.v, rtol=0, atol=1e-14)


@pytest.mark.parametrize("targets", [1, 3])
def test_a_parallel_w_has_exactly_no_perpendicular_part(targets):
    w = np.zeros((3, 5))
    w[:, :targets] = np.array([[0.1], [-0.7], [1 / 3]])
    assert not reduce(Population(5, targets), State(np.ones(3), w)).q.any()


def test_statistics_are_those_of_the_two_sides():
    x, y = np.array([[1.0], [2.0], [-1.0], [0.0]]), np.array([1.0, 3.0, 0.5, 9.0])
    c_pos, s_pos, c_neg, s_neg = (value[0] for value in Sample(x, y).statistics)
    assert (c_pos, s_pos, c_neg, s_neg) == (5 / 4, 7 / 5, 1 / 4, -0.5)
    empty = Sample(np.ones((2, 1)), np.ones(2)).statistics
    assert empty.c_neg[0] == 0
    assert empty.s_neg[0] == 0


def test_starts_have_the_stated_distribution():
    w = balanced_starts(10, 40_000, seed=1)
    assert np.array_equal(np.abs(w.a), np.linalg.norm(w.w, axis=1))
    assert not w.c.any()
    assert abs(np.mean(w.a > 0) - 0.5) < 4 * 0.5 / 200
    assert abs(np.mean(w.w**2) * 10 - 1) < 4 * np.sqrt(2 / 400_000)
    one = balanced_starts(1, 100, seed=1)
    assert np.array_equal(np.abs(one.a), np.abs(one.w[:, 0]))
    reduced = balanced_starts(10**7, 20_000, seed=1, reduced=True)
    assert abs(np.mean(reduced.p**2) * 1e7 - 1) < 4 * np.sqrt(2 / 20_000)
    assert np.allclose(np.hypot(reduced.p, reduced.q), 1, atol=2e-3)
    assert abs(np.mean(independent_starts(2, 40_000, seed=2, scale=3.0).a ** 2) / 9 - 1) < 4 * np.sqrt(
        2 / 40_000
    )


def test_the_seed_is_all_that_matters():
    assert np.array_equal(balanced_starts(3, 5, seed=0).w, balanced_starts(3, 5, seed=0).w)
    assert not np.array_equal(balanced_starts(3, 5, seed=0).w, balanced_starts(3, 5, seed=1).w)
    clean, noisy = Sample.draw(2, 9, 0.0, seed=3), Sample.draw(2, 9, 0.5, seed=3)
    assert np.array_equal(clean.x, noisy.x)
    assert not np.array_equal(clean.y, noisy.y)


def test_states_are_values():
    a = np.array([1.0, 2.0])
    state = State(a, [[1.0], [2.0]], c=0.0)
    a[0] = np.nan
    assert state.a[0] == 1
    assert np.array_equal(state[1:].c, [0.0])
    with pytest.raises(ValueError, match="read-only"):
        state.a[0] = 5
    assert balance(Reduced([2.0], [1.0], [1.0]))[0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: State([1.0], [[np.nan]]), "w must be finite, but w"),
        (lambda: State([1.0, 2.0], [[1.0]]), r"a has shape \(2,\) and w \(1, 1\)"),
        (lambda: State(["1.5"], [["2"]]), "array of real numbers, but its entries are"),
        (lambda: State([1.0j], [[1.0]]), "array of real numbers, but its entries are complex128"),
        (
            lambda: State([1.0, 2.0], [[1.0], [1.0]], c=[1.0, 2.0, 3.0]),
            r"c must be a number or have shape \(2,\)",
        ),
        (lambda: Population(0), "d must be an integer >= 1, but is 0"),
        (lambda: Population(2.5), "d must be an integer"),
        (lambda: Population(2, targets=3), "targets must be <= d = 2"),
        (lambda: Sample([[1.0]], [1.0, 2.0]), r"x has shape \(1, 1\) and y \(2,\)"),
        (lambda: Sample([[1.0]], [np.inf]), "y must be finite"),
        (lambda: Sample.draw(2, 0), "n must be an integer >= 1"),
        (lambda: Sample.draw(2, 5, noise=-0.1), "noise must be a finite number >= 0, but is -0.1"),
        (lambda: Sample.draw(2, 5, seed=-1), "seed must be an integer >= 0"),
        (lambda: Reduced([1.0], [1.0], [-1.0]), "must be >= 0"),
        (lambda: balanced_starts(2, 5, scale=0.0), "scale must be a finite number > 0"),
        (lambda: reduce(Population(3), State([1.0], [[1.0]])), "w must have d = 3 coordinates, but has 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("q", [0.3, 1e-8, 1e-13, 1e-120])
def test_a_balance_of_others_that_the_norm_rounds_away_keeps_its_sign(q):
    for a in (0.7, -0.7):
        for state in (State([a], [[-0.7, q, 0.0]]), Reduced([a], [0.7], [q])):
            assert balance(state)[0] == pytest.approx(-(q**2), rel=1e-9, abs=0)
    # Its size underflows; its sign must not.
    assert -1e-250 < balance(State([0.7], [[0.7, 1e-200]]))[0] < 0
    assert balance(State([[0.7, 1.0]], [[[0.7, 0.0], [0.0, 0.0]]])).tolist() == [[0.0, 1.0]]
