"""Training by Sign-In through `integrate`: masks, kinds of start, limits, and gradient descent."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.parameterization import Parameterization

PRODUCT = Parameterization("sign-in", 0.7, 1.3)
RATE, STEPS = 0.05, 40


@pytest.fixture(scope="module")
def starts():
    return sn.independent_starts(d=3, size=20, seed=3)


@pytest.fixture(scope="module")
def sample():
    return sn.Sample.draw(d=3, n=30, noise=0.3, seed=1)


def test_masked_weights_descend_as_if_they_did_not_exist(starts):
    problem, product = sn.Population(3), PRODUCT
    mask = np.array([True, True, False])
    masked = sn.integrate(
        problem, starts, STEPS * RATE, mask=mask, learning_rate=RATE, parameterization=product
    )
    alone = sn.integrate(
        sn.Population(2), sn.State(starts.a, starts.w[:, :2]), STEPS * RATE, learning_rate=RATE,
        parameterization=product,
    )  # fmt: skip
    np.testing.assert_array_equal(masked.state.w[:, :2], alone.state.w)
    assert not masked.state.w[:, 2].any()


def test_small_steps_never_raise_the_loss(starts, sample):
    product = Parameterization("sign-in", 0.7, 1.3, reset_every=5)
    for problem in (sn.Population(3), sample):
        path = sn.integrate(
            problem, starts, t_eval=np.arange(0, 2, 0.02), learning_rate=0.01, parameterization=product
        )
        assert np.all(np.diff(sn.loss(problem, path.state), axis=0) <= 1e-15)


def test_a_weight_at_zero_can_move():
    product = Parameterization("sign-in")
    start = sn.State(a=[0.0], w=[[0.5, 0.5]])
    end = sn.integrate(sn.Population(2), start, np.inf, learning_rate=0.1, parameterization=product)
    assert sn.Status(end.status[0]) is sn.Status.CONVERGED


def test_kinds_of_start_may_be_mixed():
    """A start on the target's line, one at w = 0, an antiparallel one and a general one, in one batch."""
    starts = sn.State(
        a=[-0.5, 1.0, 1.0, 1.0, -0.5], w=[[0.6, 0.0], [0.0, 0.0], [-0.4, 0.0], [-0.4, 0.3], [0.5, 0.3]]
    )
    end = sn.integrate(sn.Population(2), starts, np.inf, parameterization=Parameterization("sign-in"))
    labels = [sn.Status(code).label for code in end.status]
    assert labels == ["converged", "stuck", "stuck", "converged", "converged"]
    one = [
        sn.integrate(
            sn.Population(2), starts[i : i + 1], np.inf, parameterization=Parameterization("sign-in")
        )
        for i in range(5)
    ]
    np.testing.assert_array_equal(end.state.w, np.concatenate([each.state.w for each in one]))


@pytest.mark.parametrize("w", [0.4, -0.4])
def test_two_equal_target_weights_stay_equal(w):
    problem = sn.Population(3, targets=2)
    starts = sn.State(a=[0.7], w=[[w, w, 0.0]])
    path = sn.integrate(problem, starts, t_eval=[0.0, 1.0, 300.0], parameterization=PRODUCT)
    np.testing.assert_array_equal(path.state.w[..., 0], path.state.w[..., 1])
    end = sn.integrate(problem, starts, np.inf, parameterization=PRODUCT)
    assert sn.Status(end.status[0]).label == ("converged" if w > 0 else "stuck")


def test_a_mask_without_the_target_is_stuck_or_dead():
    starts = sn.State(a=[1.0, -1.0], w=[[0.5, 0.6, 0.1], [0.5, 0.6, 0.1]])
    mask = np.array([False, True, True])
    end = sn.integrate(sn.Population(3), starts, np.inf, mask=mask, parameterization=PRODUCT)
    assert [sn.Status(code).label for code in end.status] == ["stuck", "dead"]
    assert not end.state.w[:, 0].any()


def test_samples_in_several_coordinates_follow_their_mask(sample, starts):
    mask = np.array([True, False, True])
    end = sn.integrate(sample, starts, 3.0, mask=mask, parameterization=PRODUCT)
    part = sn.Sample(sample.x[:, mask], sample.y)
    alone = sn.integrate(part, sn.State(starts.a, starts.w[:, mask]), 3.0, parameterization=PRODUCT)
    np.testing.assert_allclose(end.state.w[:, mask], alone.state.w, rtol=1e-12, atol=1e-14)


def test_reduced_starts_and_closed_forms_are_refused():
    reduced = sn.balanced_starts(d=3, size=2, reduced=True)
    with pytest.raises(ValueError, match="Sign-In needs full states"):
        sn.integrate(sn.Population(3), reduced, 1.0, parameterization=PRODUCT)
    full = sn.balanced_starts(d=3, size=2)
    with pytest.raises(ValueError, match="Sign-In has no closed form"):
        sn.integrate(sn.Population(3), full, 1.0, method="exact", parameterization=PRODUCT)


@pytest.mark.parametrize(("beta_a", "d"), [(1.0, 2), (1.0, 5), (2.0, 1), (0.5, 3)])
def test_pruning_ends_as_predicted_from_balanced_starts(beta_a, d):
    product = Parameterization("sign-in", beta_a)
    problem, starts = sn.Population(d), sn.balanced_starts(d=d, size=300, seed=2)
    for algorithm in ("imp", "lrr"):
        for imp in ("keep", "rebalance") if algorithm == "imp" else ("keep",):
            rule = sn.Algorithm(algorithm, imp=imp)
            run = sn.prune(problem, starts, algorithm=rule, parameterization=product)
            theory = sn.predicted(problem, starts, rule, parameterization=product)
            decided = ~np.isnan(run.success)
            assert decided.mean() > 0.99
            np.testing.assert_array_equal(run.success[decided], theory[decided])


def test_trapped_levels_are_pruned_at_their_limit():
    """LRR over several levels: after a trapped level, w lies along the target and the law still holds."""
    product, problem = Parameterization("sign-in"), sn.Population(6)
    starts = sn.balanced_starts(d=6, size=200, seed=5)
    run = sn.prune(problem, starts, algorithm="lrr", levels=3, parameterization=product)
    assert np.any(run.levels[:, 0] == sn.Status.TRAPPED)
    assert np.all(run.success[~np.isnan(run.success)] == 1)
    assert run.mask[:, 0].all()


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("d", [1, 3])
def test_descent_on_one_coordinate_ends_as_plain_descent_does(d, noise):
    """The metric only rescales time in one coordinate, so both end alike from each quadrant."""
    sample = sn.Sample.draw(d=d, n=40, noise=noise, seed=1)
    mask = np.arange(d) == 0
    starts = sn.State(a=[1.0, -1.0, 1.0, -1.0], w=np.outer([0.5, 0.5, -0.5, -0.5], mask))
    how = {"mask": mask, "learning_rate": 0.05}
    plain = sn.integrate(sample, starts, np.inf, **how)
    product = sn.integrate(sample, starts, np.inf, parameterization="sign-in", **how)
    failed = [sn.Status.DEAD, sn.Status.STUCK]
    assert product.status[0] == plain.status[0] == sn.Status.CONVERGED
    assert np.isin(product.status[1:], failed).tolist() == np.isin(plain.status[1:], failed).tolist()


def test_a_tiny_neuron_whose_balance_is_negative_is_not_dead():
    product, sample = Parameterization("sign-in", 100.0), sn.Sample.draw(2, 30, 0.0, seed=2)
    start = sn.State(a=[-5e-12], w=[[8e-13, 3e-13]])
    assert product.balance(start)[0] < 0
    end = sn.integrate(sample, start, 0.0, parameterization=product)
    assert sn.Status(end.status[0]) is sn.Status.UNDECIDED
