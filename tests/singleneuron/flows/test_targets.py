"""Flows toward any target: the laws are those of e_1 in turned coordinates."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.problem.reduction import reduce
from singleneuron.problem.status import TOLERANCE

D = 4
V = np.array([0.5, -0.1, 0.7, -0.5]) / np.linalg.norm([0.5, -0.1, 0.7, -0.5])
TIMES = np.array([0.0, 0.5, 2.0, 10.0])
RTOL = 1e-8


def rotation():
    """An orthogonal matrix that turns e_1 into V."""
    others = np.random.default_rng(1).standard_normal((D, D - 1))
    turn, _ = np.linalg.qr(np.column_stack([V, others]))
    return turn * np.sign(turn[:, 0] @ V)


TURN = rotation()
STARTS = sn.independent_starts(D, 40, seed=1)
TURNED = sn.State(STARTS.a, STARTS.w @ TURN.T)
DRAWN = sn.Sample.draw(D, 60, noise=0.2, seed=3)


@pytest.mark.parametrize("options", [{}, {"learning_rate": 0.05}])
@pytest.mark.parametrize(
    ("straight", "turned"),
    [
        (sn.Population(D), sn.Population(D, v=V)),
        (DRAWN, sn.Sample(DRAWN.x @ TURN.T, DRAWN.y, v=V)),
    ],
    ids=["population", "samples"],
)
def test_a_turned_problem_has_the_turned_flow(straight, turned, options):
    one, other = (
        sn.integrate(problem, starts, t_eval=TIMES, method="ode", rtol=RTOL, **options)
        for problem, starts in ((straight, STARTS), (turned, TURNED))
    )
    assert np.max(np.abs(one.state.w @ TURN.T - other.state.w)) < 100 * RTOL
    assert np.max(np.abs(one.state.a - other.state.a)) < 100 * RTOL
    np.testing.assert_array_equal(one.status, other.status)
    np.testing.assert_allclose(
        sn.loss(turned, other.state[-1]), sn.loss(straight, one.state[-1]), rtol=0, atol=100 * RTOL
    )


ORDER, SIGNS = np.array([1, 3, 0, 2]), np.array([1.0, -1.0, 1.0, 1.0])


def moved(w):
    """Exchange the axes, and turn the second one; the first one becomes the second."""
    found = np.empty_like(w)
    found[..., ORDER] = w
    return found * SIGNS if found.dtype == float else found


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("kept", [None, np.array([True, True, True, False])])
@pytest.mark.parametrize("product", ["plain", "sign-in"])
@pytest.mark.parametrize("options", [{}, {"learning_rate": 0.05}])
def test_exchanging_and_turning_axes_changes_nothing_else(targets, kept, product, options):
    options = options | {"t_eval": TIMES, "method": "ode", "rtol": RTOL, "parameterization": product}
    population, samples = sn.Population(D, targets), sn.Sample.draw(D, 30, 0.1, 2, targets)
    v = moved(population.v)
    starts = sn.State(STARTS.a, moved(STARTS.w))
    for straight, other in (
        (population, sn.Population(D, v=v)),
        (samples, sn.Sample(moved(samples.x), samples.y, v=v)),
    ):
        one = sn.integrate(straight, STARTS, mask=kept, **options)
        two = sn.integrate(other, starts, mask=None if kept is None else moved(kept), **options)
        assert np.max(np.abs(two.state.w - moved(one.state.w))) < 100 * RTOL
        np.testing.assert_array_equal(one.status, two.status)


def test_a_single_coordinate_learns_a_negative_target():
    """After pruning to w_2 alone, success needs w_2 < 0 if v = -e_2: Theorem 2.1, mirrored."""
    starts = sn.independent_starts(D, 200, seed=6)
    mask = np.arange(D) == 1
    for problem in (sn.Population(D, v=-np.eye(D)[1]), sn.Sample.draw(D, 300, seed=1, v=-np.eye(D)[1])):
        end = sn.integrate(problem, starts, np.inf, mask=mask, method="ode")
        won = np.isin(end.status, (sn.Status.CONVERGED, sn.Status.TRAPPED))
        np.testing.assert_array_equal(won, (starts.w[:, 1] < 0) & (starts.a > starts.w[:, 1]))


@pytest.mark.parametrize("v", [[0.6, 0.0, -0.8, 0.0], [0.0, 0.0, -1.0, 0.0]])
@pytest.mark.parametrize("imp", ["keep", "rebalance"])
def test_pruning_finds_the_target_and_succeeds_where_theory_says(v, imp):
    problem = sn.Population(D, v=v)
    for algorithm in (sn.Algorithm("imp", imp=imp), sn.Algorithm("lrr")):
        run = sn.prune(problem, STARTS, algorithm=algorithm, method="ode")
        theory = sn.predicted(problem, STARTS, algorithm)
        np.testing.assert_array_equal(run.success, theory)
        won = run.success == 1
        assert won.any()
        assert not won.all()
        np.testing.assert_array_equal(run.mask[won], np.broadcast_to(problem.v != 0, run.mask[won].shape))
        end = reduce(problem, sn.State(run.a[:, -1], run.w[:, -1]))
        near = run.status == sn.Status.CONVERGED
        assert near.any()
        assert np.max(np.arctan2(end.q, end.p)[near]) < TOLERANCE


def test_pruning_samples_finds_the_target_too():
    v = [0.6, 0.0, -0.8, 0.0]
    data = sn.Sample.draw(D, 400, noise=0.05, seed=5, v=v)
    starts = sn.balanced_starts(D, 30, seed=2)
    run = sn.prune(data, starts, algorithm="lrr", method="ode")
    won = run.success == 1
    np.testing.assert_array_equal(won, starts.a > 0)
    np.testing.assert_array_equal(run.mask[won], np.broadcast_to(data.v != 0, run.mask[won].shape))
    direction = run.w[won, -1] / np.linalg.norm(run.w[won, -1], axis=1, keepdims=True)
    assert np.max(np.abs(direction - v)) < 0.05


def test_sign_in_on_the_population_refuses_a_target_of_unequal_entries():
    with pytest.raises(ValueError, match="needs a target v whose nonzero entries have the same size"):
        sn.integrate(sn.Population(D, v=V), STARTS, 1.0, parameterization="sign-in")
