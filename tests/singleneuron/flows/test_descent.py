"""Gradient descent: against plain loops, its order in the learning rate, and what may not matter."""

import numba
import numpy as np
import pytest

from singleneuron.flows import descent
from singleneuron.flows.integrate import integrate
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.philox import normal_pair, philox
from singleneuron.problem.loss import gradient
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.reduction import expand, reduce
from singleneuron.problem.starts import independent_starts
from singleneuron.problem.state import Reduced, State
from singleneuron.problem.status import Status

STEPS = np.array([0, 1, 7, 300])


def descend_population(*problem, tolerance=1e-3, **options):
    return descent.descend_population(*problem, tolerance=tolerance, **options)


def descend_sample(*problem, tolerance=1e-3, **options):
    return descent.descend_sample(*problem, tolerance=tolerance, **options)


def plain_loop(problem, a, w, steps_at, rate, noises=None):
    a, w, path = a.copy(), w.copy(), []
    for step in range(steps_at[-1] + 1):
        if step in steps_at:
            path.append(np.concatenate([a[:, None], w], axis=1))
        data = problem if noises is None else Sample(problem.x, problem.y + noises[step], problem.targets)
        da, dw = gradient(data, State(a, w))
        a, w = a - rate * da, w - rate * dw
    return np.stack(path, axis=1)


def reduced_starts(size, d=4, seed=3):
    starts = independent_starts(d=d, size=size, seed=seed, reduced=True)
    return starts.a, starts.p, starts.q


def test_a_small_start_is_not_dead_for_being_small():
    starts = Reduced([-5e-31, -2.0], [9e-31, 0.1], [1e-31, 0.1])
    status = integrate(Population(2), starts, np.inf, learning_rate=0.1).status
    assert np.array_equal(status, [Status.CONVERGED, Status.DEAD])


@pytest.mark.parametrize("targets", [1, 3])
def test_population_follows_the_plain_loop(targets):
    problem = Population(d=5, targets=targets)
    starts = independent_starts(d=5, size=40, seed=1, scale=0.5)
    expected = plain_loop(problem, starts.a, starts.w, STEPS, 0.3)
    r = reduce(problem, starts)
    path, end, reason, step = descend_population(r.a, r.p, r.q, np.ones(40), STEPS, 0.3)
    for index in range(STEPS.size):
        state = State(expected[:, index, 0], expected[:, index, 1:])
        there = reduce(problem, state)
        assert np.allclose(path[:, index], np.stack([there.a, there.p, there.q], -1), rtol=0, atol=1e-12)
    assert np.array_equal(end, path[:, -1])
    assert np.all(reason == END)
    assert np.all(step <= STEPS[-1])


def test_population_under_a_mask_that_lost_targets():
    # The same descent with w_2 = 0 held by hand: v = (1, 1, 0)/sqrt(2) of which only coordinate 1 is kept.
    problem, rate = Population(d=3, targets=2), 0.2
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=30), rng.normal(size=(30, 3)) * [1, 0, 1]
    a1, w1 = a.copy(), w.copy()
    for _ in range(50):
        da, dw = gradient(problem, State(a1, w1))
        a1, w1 = a1 - rate * da, w1 - rate * dw * [1, 0, 1]
    nu = np.full(30, np.sqrt(0.5))
    _, end, _, _ = descend_population(a, w[:, 0], np.abs(w[:, 2]), nu, np.array([50]), rate)
    assert np.allclose(end, np.stack([a1, w1[:, 0], np.abs(w1[:, 2])], -1), rtol=0, atol=1e-12)


def test_one_coordinate_of_the_population_flips_like_the_plain_loop():
    # d = 1: q = 0 stays exactly 0, and a large step may carry w across 0.
    # (Later, rounding in the plain loop's sin(pi) lets a w that decayed to 1e-16 hop about 0.)
    problem, steps = Population(d=1), STEPS[:3]
    starts = independent_starts(d=1, size=50, seed=2, scale=0.7)
    expected = plain_loop(problem, starts.a, starts.w, steps, 0.9)
    assert np.any(np.sign(expected[:, 0, 1]) != np.sign(expected[:, 1, 1]))
    path, _, _, _ = descend_population(starts.a, starts.w[:, 0], np.zeros(50), np.ones(50), steps, 0.9)
    assert np.all(path[..., 2] == 0)
    assert np.allclose(path[..., :2], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("d", [1, 4])
def test_sample_follows_the_plain_loop(d):
    problem = Sample.draw(d=d, n=31, noise=0.3, seed=5)
    starts = independent_starts(d=d, size=20, seed=6)
    expected = plain_loop(problem, starts.a, starts.w, STEPS, 0.1)
    path, end, reason, _ = descend_sample(problem.x, problem.y, starts.a, starts.w, STEPS, 0.1)
    assert np.allclose(path, expected, rtol=0, atol=1e-12)
    assert np.array_equal(end, path[:, -1])
    assert np.all(reason == END)


def noise_table(seed, trajectory, steps, n):
    pair = numba.njit(normal_pair.py_func)
    pairs = [[pair(seed, trajectory, step, i) for i in range((n + 1) // 2)] for step in range(steps)]
    return np.reshape(pairs, (steps, -1))[:, :n]


def test_label_noise_enters_every_step_anew():
    problem = Sample.draw(d=3, n=9, seed=1)
    starts = independent_starts(d=3, size=3, seed=2)
    path, _, _, _ = descend_sample(
        problem.x,
        problem.y,
        starts.a,
        starts.w,
        STEPS,
        0.1,
        label_noise=0.5,
        seed=11,
        trajectory=4 + np.arange(starts.size),
    )
    for b in range(3):
        noises = 0.5 * noise_table(11, 4 + b, STEPS[-1] + 1, 9)
        expected = plain_loop(problem, starts.a[b : b + 1], starts.w[b : b + 1], STEPS, 0.1, noises)
        assert np.allclose(path[b], expected[0], rtol=0, atol=1e-12)


def test_generator_gives_the_published_known_answers():
    # Known answers of Philox4x32-10, distributed with Random123.
    cases = [
        ([0] * 6, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 6, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ]
    compiled = numba.njit(philox.py_func)
    for words, expected in cases:
        assert [int(word) for word in compiled(*(np.uint64(word) for word in words))] == expected


def test_noise_is_standard_normal_and_uncorrelated():
    table = noise_table(3, 0, 200, 500)
    assert abs(table.mean()) < 5 / np.sqrt(table.size)
    assert abs((table**2).mean() - 1) < 5 * np.sqrt(2 / table.size)
    assert abs((table**4).mean() - 3) < 5 * np.sqrt(96 / table.size)
    for other in (np.roll(table, 1, axis=0), np.roll(table, 1, axis=1), noise_table(3, 1, 200, 500)):
        assert abs((table * other).mean()) < 5 / np.sqrt(table.size)


def test_chunks_threads_and_order_do_not_matter():
    problem = Sample.draw(d=3, n=20, noise=0.1, seed=1)
    starts = independent_starts(d=3, size=150, seed=2)
    options = {"label_noise": 0.2, "seed": 7}
    whole = descend_sample(problem.x, problem.y, starts.a, starts.w, STEPS, 0.1, **options)[0]
    parts = [
        descend_sample(
            problem.x,
            problem.y,
            starts.a[i : i + 40],
            starts.w[i : i + 40],
            STEPS,
            0.1,
            trajectory=i + np.arange(40),
            **options,
        )[0]
        for i in range(0, 150, 40)
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = descend_sample(problem.x, problem.y, starts.a, starts.w, STEPS, 0.1, **options)[0]
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(whole, alone)


def test_first_order_in_the_learning_rate():
    # A smooth stretch of the flow: halving the learning rate halves the distance to it.
    a, p, q = reduced_starts(50)
    keep = (np.hypot(p, q) > 0.5) & (np.abs(a) < 1.5)
    a, p, q, nu = a[keep], p[keep], q[keep], np.ones(keep.sum())
    runs = [
        descend_population(a, p, q, nu, np.array([round(1 / rate)]), rate)[1]
        for rate in (2.0**-7, 2.0**-8, 2.0**-9, 2.0**-14)
    ]
    errors = [np.abs(run - runs[-1]).max() for run in runs[:-1]]
    # (h - h0)/(h/2 - h0) with h0 the reference's rate
    assert errors[0] / errors[1] == pytest.approx((2**7 - 1) / (2**6 - 1), rel=0.03)
    assert errors[1] / errors[2] == pytest.approx((2**6 - 1) / (2**5 - 1), rel=0.03)


def test_limit_stops_at_the_first_step_within_tolerance():
    a, p, q = np.array([1.0, -1.0, -0.6]), np.array([-0.3, 0.2, 0.5]), np.array([0.8, 0.1, 0.0])
    steps = np.array([200_000])
    _, end, reason, step = descend_population(a, p, q, np.ones(3), steps, 0.1, limit=True, tolerance=1e-3)
    assert list(reason) == [CONVERGED, EVENT, EVENT]
    theta = np.arctan2(end[0, 2], end[0, 1])
    assert max(abs(end[0, 0] * np.hypot(*end[0, 1:]) - 1), theta) <= 1e-3
    path, _, _, since = descend_population(
        a[:1], p[:1], q[:1], np.ones(1), np.array([step[0] - 1, step[0], 5000]), 0.1
    )
    before = path[0, 0]
    assert max(abs(before[0] * np.hypot(*before[1:]) - 1), np.arctan2(before[2], before[1])) > 1e-3
    assert np.array_equal(path[0, 1], end[0])
    assert since[0] == step[0]


def test_sample_limit_is_where_the_gradient_vanishes():
    problem = Sample.draw(d=3, n=60, noise=0.1, seed=4)
    starts = independent_starts(d=3, size=30, seed=5)
    _, end, reason, step = descend_sample(
        problem.x,
        problem.y,
        starts.a,
        starts.w,
        np.array([200_000]),
        0.1,
        limit=True,
        tolerance=1e-4,
    )
    da, dw = gradient(problem, State(end[:, 0], end[:, 1:]))
    size = np.sqrt(da**2 + np.sum(dw**2, axis=-1))
    done = reason == CONVERGED
    assert done.sum() >= 10
    assert np.all(size[done] <= 1e-7)
    assert np.all(size[reason == END] > 1e-7)
    assert np.all(step[reason == END] == 200_000)


def test_stationary_states_are_certain_and_divergence_keeps_the_last_finite_state():
    steps = np.array([0, 1000])
    path, end, reason, _ = descend_population(
        np.array([0.5, 50.0]), np.zeros(2), np.array([0.0, 50.0]), np.ones(2), steps, 1.0, limit=True
    )
    assert list(reason) == [CERTAIN, FAILED]
    assert np.all(np.isfinite(path))
    assert np.array_equal(end[0], [0.5, 0, 0])
    x, y = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([1.0, 1.0])
    # Inactive on both samples: phi'(0) = 0 and nothing moves, with label noise neither.
    for noise in (0.0, 1.0):
        _, end, _, step = descend_sample(x, y, [1.0], [[-1.0, 1.0]], steps, 0.1, label_noise=noise)
        assert np.array_equal(end[0], [1, -1, 1])
        assert step[0] == 0
    _, end, reason, _ = descend_sample(x, y, [1e200], [[1e200, 1.0]], steps, 1.0)
    assert reason[0] == FAILED
    assert np.all(np.isfinite(end))


def test_reduced_descent_is_the_full_one_in_its_plane():
    problem = Population(d=6)
    origin = independent_starts(d=6, size=10, seed=9)
    r = reduce(problem, origin)
    _, end, _, _ = descend_population(r.a, r.p, r.q, np.ones(10), np.array([400]), 0.05)
    full = plain_loop(problem, origin.a, origin.w, np.array([400]), 0.05)[:, 0]
    lifted = expand(problem, Reduced(*end.T), origin)
    assert np.allclose(lifted.w, full[:, 1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [[3, 2], [-1, 2], [], [[1]]])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match="steps_at must be step counts >= 0"):
        descend_population(np.ones(1), np.ones(1), np.ones(1), np.ones(1), np.array(steps), 0.1)
