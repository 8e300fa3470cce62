"""Descent on the factors of Sign-In: against plain loops, its order in the learning rate, and its resets."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from singleneuron.flows.sign_in import descent
from singleneuron.flows.sign_in.line import line_flow
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.philox import normal_pair
from singleneuron.parameterization import Parameterization, metric
from singleneuron.problem.line import Line
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State

STEPS = np.array([0, 1, 7, 300])
BETAS = {"beta_a": 2.0, "beta_w": 0.5}


def descend(problem, starts, steps, rate, tolerance=1e-3, betas=BETAS, **options):
    """Descend on the population or on samples, by the routine for it."""
    steps = np.atleast_1d(steps)
    if isinstance(problem, Population):
        data, run = (starts.a, starts.w, problem.v, 1.0), descent.descend_population
    else:
        data, run = (problem.x, problem.y, starts.a, starts.w), descent.descend_sample
    return run(*data, steps, rate, tolerance=tolerance, **betas, **options)


def weights(starts):
    return np.concatenate([starts.a[:, None], starts.w], axis=1)


def slope(problem, theta):
    da, dw = gradient(problem, State(theta[:, 0], theta[:, 1:]))
    return np.concatenate([da[:, None], dw], axis=1)


def plain_loop(problem, starts, steps_at, rate, reset_every=None, noises=None, kept=1.0):
    theta, path = weights(starts), []
    beta = np.array([BETAS["beta_a"]] + [BETAS["beta_w"]] * starts.d)
    for step in range(steps_at[-1] + 1):
        if step in steps_at:
            path.append(theta)
        if step == 0 or (reset_every and step % reset_every == 0):
            m = np.sqrt((beta + np.sqrt(beta**2 + 4 * theta**2)) / 2)
            u = theta / m
        data = problem if noises is None else Sample(problem.x, problem.y + noises[step], problem.targets)
        g = slope(data, theta) * kept
        m, u = m - rate * u * g, u - rate * m * g
        theta = m * u
    return np.stack(path, axis=1)


@pytest.mark.parametrize("reset_every", [None, 1, 5])
@pytest.mark.parametrize(
    "problem", [Population(4), Population(5, targets=3), Sample.draw(d=4, n=31, noise=0.3, seed=5)]
)
def test_descent_follows_the_plain_loop(problem, reset_every):
    starts = independent_starts(d=problem.d, size=20, seed=1, scale=0.7)
    expected = plain_loop(problem, starts, STEPS, 0.1, reset_every)
    path, end, reason, _ = descend(problem, starts, STEPS, 0.1, reset_every=reset_every)
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-12)
    assert np.array_equal(path[:, 0], weights(starts))
    assert np.array_equal(end, path[:, -1])
    assert np.all(reason == END)


@pytest.mark.parametrize("kept", [[0, 2], [2, 3]])
def test_a_mask_that_lost_targets_restricts_the_coordinates(kept):
    # The same descent with the pruned weights held at 0 by hand; the target is (1, 1, 0, 0)/sqrt(2).
    problem, columns = Population(d=4, targets=2), np.array(kept)
    mask = np.isin(np.arange(4), columns)
    starts = independent_starts(d=4, size=20, seed=2)
    held = State(starts.a, starts.w * mask)
    expected = plain_loop(problem, held, STEPS, 0.1, kept=np.concatenate([[1], mask]))
    v = problem.v[columns]
    path, _, _, _ = descent.descend_population(
        held.a, held.w[:, columns], v, np.linalg.norm(v), STEPS, 0.1, tolerance=1e-3, **BETAS
    )
    np.testing.assert_allclose(path, expected[..., np.concatenate([[0], 1 + columns])], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(expected[..., 1:][..., ~mask], 0)


@pytest.mark.parametrize("n", [8, 9])
def test_label_noise_is_that_of_plain_descent(n):
    problem = Sample.draw(d=3, n=n, seed=1)
    starts = independent_starts(d=3, size=3, seed=2)
    options = {"label_noise": 0.5, "seed": 11, "reset_every": 4}
    path, _, _, step = descend(problem, starts, STEPS, 0.1, trajectory=4 + np.arange(3), **options)
    pair = numba.njit(normal_pair.py_func)
    for b in range(3):
        pairs = [[pair(11, 4 + b, step, i) for i in range((n + 1) // 2)] for step in range(STEPS[-1] + 1)]
        noises = 0.5 * np.reshape(pairs, (STEPS[-1] + 1, -1))[:, :n]
        expected = plain_loop(problem, State(starts.a[[b]], starts.w[[b]]), STEPS, 0.1, 4, noises)
        np.testing.assert_allclose(path[b], expected[0], rtol=0, atol=1e-12)
    again = descend(problem, starts, STEPS, 0.1, trajectory=4 + np.arange(3), **options)[0]
    alone = descend(problem, State(starts.a[[2]], starts.w[[2]]), STEPS, 0.1, trajectory=[6], **options)[0]
    assert np.array_equal(path, again)
    assert np.array_equal(path[2:], alone)
    assert np.all(step == STEPS[-1])


def test_first_order_in_the_learning_rate():
    problem = Population(d=4)
    starts = independent_starts(d=4, size=12, seed=3)
    beta = np.array([BETAS["beta_a"]] + [BETAS["beta_w"]] * 4)

    def field(_, y):
        theta = y.reshape(12, 5)
        return (-metric(theta, beta) * slope(problem, theta)).ravel()

    flow = solve_ivp(field, (0, 1), weights(starts).ravel(), "DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    for reset_every in (None, 1, 16):
        ends = [
            descend(problem, starts, 2**k, 2.0**-k, reset_every=reset_every)[1].ravel() for k in (9, 10, 11)
        ]
        errors = [np.linalg.norm(end - flow) for end in ends]
        assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)
        assert errors[1] / errors[2] == pytest.approx(2, rel=0.01)
        # Extrapolation to rate 0 leaves an error of second order.
        assert np.linalg.norm(2 * ends[2] - ends[1] - flow) < 0.01 * errors[2]


def test_one_coordinate_converges_to_the_flow_on_the_line():
    # Samples on both sides of x = 0; from w < 0 the flow crosses upwards, and from a < 0 < w `a` passes 0.
    problem = Sample(x=[[1.0], [-0.8]], y=[1.0, -0.3])
    a, w = np.array([1.0, -0.3, 0.5]), np.array([-0.3, 0.8, 0.6])
    starts, t = State(a, w[:, None]), 4.0
    c = Parameterization("sign-in", **BETAS).balance(starts)
    line = Line(*(value[0] for value in problem.statistics))
    options = {"rtol": 1e-11, "atol": 1e-11, "limit": False, "t_certain": np.inf, "tolerance": 1e-3}
    flow = line_flow(a, w, c, line, *BETAS.values(), np.array([t]), **options)[1]
    assert flow[0, 1] > 0
    assert flow[1, 0] > 0
    errors = [
        np.abs(descend(problem, starts, round(t / rate), rate)[1] - flow).max(axis=1)
        for rate in (2.0**-10, 2.0**-11)
    ]
    np.testing.assert_allclose(errors[0][1:] / errors[1][1:], 2, rtol=0.02)
    assert np.all(errors[1] < 2e-3)  # the first one steps over w = 0, at a fraction of a step that varies


# Below 1e-290, u = theta/m may underflow.
sizes = st.floats(-1e3, 1e3).filter(lambda theta: theta == 0 or abs(theta) > 1e-290)


factorize = numba.njit(descent.factorize.py_func)


@settings(max_examples=100, deadline=None)
@given(theta=st.lists(sizes, min_size=2, max_size=5), beta=st.floats(1e-6, 1e6))
def test_a_reset_restores_beta_and_leaves_theta(theta, beta):
    theta = np.array(theta)
    m, u = np.empty_like(theta), np.empty_like(theta)
    factorize(theta, (beta, 0.5 * beta), m, u)
    size = metric(theta, beta)
    np.testing.assert_allclose(m * u, theta, rtol=1e-15, atol=0)
    given_betas = np.array([beta] + [0.5 * beta] * (theta.size - 1))
    # hypot, the sum, the root and the two squares may each be off by half a unit in the last place or one.
    assert np.all(np.abs(m**2 - u**2 - given_betas) <= 4 * np.finfo(float).eps * size)


def test_one_step_is_a_step_of_the_flow_with_a_correction_of_second_order():
    problem, rate = Sample.draw(d=3, n=20, noise=0.1, seed=1), 0.2
    starts = independent_starts(d=3, size=30, seed=4)
    theta = weights(starts)
    g = slope(problem, theta)
    s = metric(theta, np.array([2.0, 0.5, 0.5, 0.5]))
    _, end, _, _ = descend(problem, starts, 1, rate)
    np.testing.assert_allclose(end, theta - rate * s * g + rate**2 * g**2 * theta, rtol=0, atol=1e-14)


def test_resets_count_from_the_start():
    problem = Population(d=3)
    starts = independent_starts(d=3, size=10, seed=5)
    steps = np.arange(12)
    never, rarely, always = (
        descend(problem, starts, steps, 0.3, reset_every=every)[0] for every in (None, 5, 1)
    )
    # A reset before the step from 5 to 6 shows there for the first time.
    assert np.array_equal(never[:, :6], rarely[:, :6])
    assert np.all(np.any(never[:, 6] != rarely[:, 6], axis=1))
    assert np.all(np.any(rarely[:, 2] != always[:, 2], axis=1))
    # From step 5 on, it is the descent that starts there.
    anew = descend(problem, State(rarely[:, 5, 0], rarely[:, 5, 1:]), np.arange(7), 0.3, reset_every=5)[0]
    assert np.array_equal(anew, rarely[:, 5:])


@pytest.mark.parametrize("problem", [Population(6, targets=2), Sample.draw(d=6, n=50, noise=0.3, seed=7)])
def test_the_loss_decreases_at_a_small_learning_rate(problem):
    starts = independent_starts(d=6, size=40, seed=6)
    path = descend(problem, starts, np.arange(0, 500, 5), 0.01, reset_every=100)[0]
    values = loss(problem, State(path[..., 0].T, np.moveaxis(path[..., 1:], 1, 0)))
    assert np.all(np.diff(values, axis=0) <= 1e-15)


def test_weights_at_zero_can_move():
    problem = Population(d=3)
    starts = State([0.0, 0.8], [[0.0, 0.6, 0.0], [0.0, 0.6, 0.0]])
    _, end, _, _ = descend(problem, starts, 300, 0.1)
    assert np.all(end[:, :2] > 0.1)
    assert np.all(end[:, 3] == 0)  # by symmetry, dL/dw_3 = 0 at w_3 = 0
    # But w = 0 as a whole is at rest, since phi'(0) = 0.
    _, end, reason, step = descend(problem, State([0.7], [[0.0, 0.0, 0.0]]), 300, 0.1, limit=True)
    assert np.array_equal(end, [[0.7, 0, 0, 0]])
    assert (reason[0], step[0]) == (CERTAIN, 0)


def test_company_and_factors_together_learn_from_every_balanced_start():
    # Plain descent fails from a < 0; with equal betas Sign-In succeeds in d > 1, though slowly.
    starts = balanced_starts(d=8, size=60, seed=8)
    _, end, reason, _ = descend(
        Population(d=8), starts, 20_000, 0.05, betas={"beta_a": 1.0, "beta_w": 1.0}, limit=True
    )
    from_below = starts.a < 0
    assert from_below.sum() > 20
    assert np.all(reason[~from_below] == CONVERGED)
    assert np.mean(reason[from_below] == CONVERGED) > 0.8
    assert np.all(end[reason == CONVERGED, 0] > 0)


def test_limit_ends_at_the_first_step_within_tolerance():
    starts = State([1.0, -2.0], [[-0.3, 0.8], [0.2, 0.1]])
    _, end, reason, step = descend(Population(d=2), starts, 200_000, 0.05, limit=True)
    assert list(reason) == [CONVERGED, EVENT]
    assert np.hypot(*end[1, 1:]) <= 1e-12
    one = State(starts.a[:1], starts.w[:1])
    path, _, _, since = descend(Population(d=2), one, [step[0] - 1, step[0], 5000], 0.05)
    rho, theta = np.hypot(*path[0, :, 1:].T), np.arctan2(path[0, :, 2], path[0, :, 1])
    distance = np.maximum(np.abs(path[0, :, 0] * rho - 1), theta)
    assert distance[0] > 1e-3 >= distance[1]
    assert np.array_equal(path[0, 1], end[0])
    assert since[0] == step[0]


def test_a_large_ratio_of_betas_can_revive_a_negligible_w():
    # In the distances of the conserved law, w leads `a` by far.
    start = State([-2e-6], [[5e-13, 1e-13]])
    for beta_a, expected in ((1.0, EVENT), (1e16, END)):
        betas = {"beta_a": beta_a, "beta_w": 1.0}
        assert descend(Population(d=2), start, 0, 0.1, betas=betas, limit=True)[2][0] == expected


def test_sample_limit_is_where_the_gradient_vanishes():
    problem = Sample.draw(d=3, n=60, noise=0.1, seed=4)
    starts = independent_starts(d=3, size=12, seed=5)
    _, end, reason, _ = descend(problem, starts, 40_000, 0.1, limit=True, tolerance=1e-4, reset_every=10)
    size = np.linalg.norm(slope(problem, end), axis=1)
    assert np.sum(reason == CONVERGED) >= 5
    assert np.all(size[reason == CONVERGED] <= 1e-7)
    assert np.all(size[reason == END] > 1e-7)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("reset_every", [None, 3])
def test_a_neuron_that_no_sample_activates_is_at_rest(noise, reset_every):
    problem = Sample(x=[[1.0, 0.0], [1.0, 1.0]], y=[1.0, 1.0])
    options = {"label_noise": noise, "reset_every": reset_every, "limit": True, "tolerance": 1e-300}
    _, end, reason, step = descend(problem, State([1.0], [[-1.0, 1.0]]), 1000, 0.1, **options)
    assert np.array_equal(end[0], [1, -1, 1])
    assert reason[0] == (CONVERGED if noise == 0 else CERTAIN)
    assert step[0] <= (reset_every or 0)


def test_divergence_keeps_the_last_finite_state():
    for problem in (Population(2), Sample([[1.0, 0.0], [1.0, 1.0]], [1.0, 1.0])):
        path, end, reason, _ = descend(problem, State([50.0], [[50.0, 20.0]]), [0, 1000], 1.0)
        assert reason[0] == FAILED
        assert np.all(np.isfinite(path))
        assert np.all(np.abs(end) <= 1e30)


@pytest.mark.parametrize("steps", [[3, 2], [-1, 2], [], [[1]]])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match="steps_at must be step counts >= 0"):
        descend(Population(1), State([1.0], [[1.0]]), np.array(steps), 0.1)
