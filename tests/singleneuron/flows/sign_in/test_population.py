"""Sign-In's population flow: laws it obeys, and scipy on all weights or factors as the reference."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from singleneuron.flows import population as plain
from singleneuron.flows.sign_in import directions, population
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, EVENT, FAILED
from singleneuron.parameterization import Parameterization, distance, metric
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population
from singleneuron.problem.reduction import reduce
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State
from singleneuron.problem.status import FAILURE, SUCCESS, Status, population_status

BETAS = (1.5, 0.7)


def flow(problem, starts, times, betas=BETAS, *, kept=None, rtol=1e-10, limit=False, tolerance=1e-3):
    v = problem.v if kept is None else np.where(kept, problem.v, 0.0)
    return population.population_flow(
        starts.a, starts.w, v, *betas, np.atleast_1d(np.asarray(times, dtype=float)),
        c=Parameterization("sign-in", *betas).balance(starts), rtol=rtol, atol=rtol, limit=limit,
        t_certain=2e3, tolerance=tolerance,
    )  # fmt: skip


def on_all_weights(problem, starts, times, betas=BETAS, kept=True):
    """(B, 1 + d) at every time, by scipy on the d + 1 weights of every start, all in one system."""

    def field(_, y):
        a, w = y.reshape(len(starts.a), -1)[:, 0], y.reshape(len(starts.a), -1)[:, 1:]
        da, dw = gradient(problem, State(a, w))
        return -np.column_stack([metric(a, betas[0]) * da, metric(w, betas[1]) * dw * kept]).ravel()

    y = np.column_stack([starts.a, starts.w]).ravel()
    path = solve_ivp(field, (0, times[-1]), y, "DOP853", times, rtol=1e-12, atol=1e-13).y
    return np.moveaxis(path.reshape(len(starts.a), -1, len(times)), 2, 1)


def gentle(problem, starts, t, kept=None):
    """The starts whose |w| stays of order 1: scipy's steps chatter at w = 0."""
    end = flow(problem, starts, t, kept=kept)[1]
    return starts[np.linalg.norm(end[:, 1:], axis=1) > 0.05]


def paths(a_and_w):
    """State with time as the first axis, from paths (B, T, 1 + d)."""
    a_and_w = np.moveaxis(a_and_w, 1, 0)
    return State(a_and_w[..., 0], a_and_w[..., 1:])


def statuses(problem, starts, end, betas, overlap=1.0, tolerance=1e-3):
    c = Parameterization("sign-in", *betas).balance(starts)
    v = problem.v * (np.arange(problem.d) < round(overlap**2 * problem.targets))
    overlap = np.full(starts.size, overlap)
    return population_status(end[:, 0], *directions.status_coordinates(end[:, 1:], v), c, overlap, tolerance)


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_agrees_with_scipy_on_all_weights(targets):
    problem, t, rtol = Population(5, targets), 6.0, 1e-10
    starts = gentle(problem, independent_starts(5, 24, seed=targets), t)
    assert starts.size >= 16
    assert np.any(starts.a < 0)
    path = flow(problem, starts, [1.0, t], rtol=rtol)[0]
    assert np.max(np.abs(path - on_all_weights(problem, starts, [1.0, t]))) <= 10 * rtol


def test_agrees_with_scipy_on_the_factors_m_and_u():
    problem, t, rtol = Population(3), 5.0, 1e-10
    starts = gentle(problem, independent_starts(3, 12, seed=5), t)
    beta = np.array([BETAS[0], *[BETAS[1]] * 3])

    def field(_, y):
        m, u = y.reshape(2, -1, 4)
        da, dw = gradient(problem, State((m * u)[:, 0], (m * u)[:, 1:]))
        slope = np.column_stack([da, dw])
        return -np.concatenate([u * slope, m * slope], axis=None)

    start = np.column_stack([starts.a, starts.w])
    m = np.sqrt((beta + np.hypot(beta, 2 * start)) / 2)
    y = np.concatenate([m, start / m], axis=None)
    m, u = solve_ivp(field, (0, t), y, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(2, -1, 4)
    assert np.allclose(m**2 - u**2, beta, rtol=0, atol=1e-10)
    assert np.max(np.abs(flow(problem, starts, t, rtol=rtol)[1] - m * u)) <= 10 * rtol


@pytest.mark.parametrize("lost", [[0], [0, 1]])
def test_a_target_that_the_mask_cuts_agrees_with_scipy(lost):
    problem, t, rtol = Population(5, 3), 4.0, 1e-10
    kept = ~np.isin(np.arange(5), [*lost, 4])
    draw = independent_starts(5, 16, seed=3)
    starts = gentle(problem, State(draw.a, draw.w * kept), t, kept)
    assert starts.size >= 8
    path = flow(problem, starts, [t], kept=kept, rtol=rtol)[0]
    assert np.max(np.abs(path - on_all_weights(problem, starts, [t], kept=kept))) <= 10 * rtol
    assert not path[:, :, 1:][:, :, ~kept].any()


def test_a_target_that_the_mask_removes_only_rescales_w():
    problem, kept = Population(3), np.array([False, True, True])
    starts = State([1.0, -0.2], [[0.0, 0.3, -0.4], [0.0, 0.5, 0.6]])
    path = flow(problem, starts, [4.0], kept=kept)[0]
    assert np.max(np.abs(path - on_all_weights(problem, starts, [4.0], kept=kept))) <= 1e-9


def test_the_conserved_law_holds_where_it_is_not_imposed():
    rtol, problem = 1e-9, Population(4)
    starts = independent_starts(4, 300, seed=7)
    law = Parameterization("sign-in", *BETAS)
    c = law.balance(starts)
    path = paths(flow(problem, starts, np.geomspace(0.01, 100, 40), rtol=rtol)[0])
    drift = np.abs(law.balance(path) - c).max(axis=0)
    size = distance(starts.a, BETAS[0]) + distance(starts.w, BETAS[1]).sum(axis=1)
    assert np.sum(c < 0) > 100
    assert np.sum(c > 0) > 10
    assert np.all(drift <= 100 * rtol * np.maximum(1, size))


def test_loss_falls_by_the_energy_that_the_flow_releases():
    """L(0) - L(t) is the integral of the sum of S (dL/dtheta)^2."""
    rtol, problem = 1e-9, Population(3, 2)
    starts = independent_starts(3, 100, seed=8)
    edges = np.concatenate([[0], np.geomspace(0.003, 30, 90)])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    times = (middle[:, None] + half[:, None] * nodes).ravel()
    path = paths(flow(problem, starts, np.append(times, 30.0), rtol=rtol)[0])
    da, dw = gradient(problem, path)
    power = metric(path.a, BETAS[0]) * da**2 + np.sum(metric(path.w, BETAS[1]) * dw**2, axis=-1)
    released = np.einsum("i,j,ijb->b", half, weights, power[:-1].reshape(len(half), 8, -1))
    values = loss(problem, path)
    bound = 100 * rtol * np.maximum(1, starts.a**2 + np.sum(starts.w**2, axis=1))
    assert np.all(np.abs(loss(problem, starts) - values[-1] - released) <= bound)
    assert np.all(np.diff(values, axis=0) <= bound)


def test_coordinates_across_the_target_may_be_permuted_and_reflected():
    rng = np.random.default_rng(0)
    starts = independent_starts(6, 40, seed=9)
    order, signs = np.append(0, 1 + rng.permutation(5)), np.append(1, rng.choice([-1, 1], 5))
    path = flow(Population(6), starts, [1.0, 7.0, 40.0])[0]
    moved = flow(Population(6), State(starts.a, starts.w[:, order] * signs), [1.0, 7.0, 40.0])[0]
    assert np.allclose(moved[:, :, 1:] * signs, path[:, :, 1 + order], rtol=0, atol=1e-11)
    assert np.allclose(moved[:, :, 0], path[:, :, 0], rtol=0, atol=1e-11)


def test_target_weights_may_be_permuted():
    starts = independent_starts(5, 40, seed=10)
    order = np.array([2, 0, 1, 3, 4])
    end = flow(Population(5, 3), starts, 20.0)[1]
    moved = flow(Population(5, 3), State(starts.a, starts.w[:, order]), 20.0)[1]
    assert np.allclose(moved[:, 1:], end[:, 1 + order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("targets", [1, 2])
def test_a_large_beta_gives_the_plain_flow_in_the_time_beta_t(targets):
    beta, rtol = 1e7, 1e-10
    problem, times = Population(4, targets), np.array([0.5, 3.0, 12.0])
    starts = independent_starts(4, 60, seed=11)
    path = paths(flow(problem, starts, times / beta, (beta, beta), rtol=rtol)[0])
    reduced = reduce(problem, starts)
    c = starts.a**2 - np.sum(starts.w**2, axis=1)
    y = plain.population_flow(
        plain.log_coordinates(reduced), np.ones(60), c, times,
        rtol=rtol, atol=rtol, limit=False, t_certain=np.inf, tolerance=1e-3,
    )[0]  # fmt: skip
    expected, found = plain.from_log_coordinates(np.moveaxis(y, 1, 0)), reduce(problem, path)
    for name in ("a", "p", "q"):
        assert np.max(np.abs(getattr(found, name) - getattr(expected, name))) <= 100 * rtol


def test_a_small_beta_conserves_the_difference_of_one_norms():
    beta, rtol = 1e-9, 1e-10
    starts = independent_starts(4, 60, seed=12)
    path = paths(flow(Population(4), starts, [1.0, 10.0, 100.0], (beta, beta), rtol=rtol)[0])
    lead = 2 * (np.abs(path.a) - np.abs(path.w).sum(axis=-1))
    assert np.ptp(np.sign(path.a), axis=0).any()
    assert np.max(np.abs(lead - lead[:1])) <= 5 * beta + 100 * rtol * np.abs(lead).max()


@pytest.mark.parametrize(("d", "targets"), [(2, 1), (5, 1), (3, 2)])
def test_the_law_decides_the_limit_of_every_start(d, targets):
    problem = Population(d, targets)
    starts = independent_starts(d, 400, seed=13)
    starts = State(starts.a, starts.w * np.where(np.arange(400) % 2, 1.0, 0.4)[:, None])
    end, reason = flow(problem, starts, 1e5, rtol=1e-8, limit=True)[1:3]
    c = Parameterization("sign-in", *BETAS).balance(starts)
    dies = (starts.a <= 0) & (c >= 0)
    assert dies.sum() > 20
    assert np.sum((starts.a < 0) & ~dies) > 100
    found = statuses(problem, starts, end, BETAS)
    assert np.array_equal(np.isin(found, FAILURE), dies)
    assert np.array_equal(found == Status.CONVERGED, reason == CONVERGED)
    assert np.array_equal(found == Status.TRAPPED, reason == CERTAIN) or np.all(
        end[reason == CERTAIN, 0] != 0
    )
    success = np.isin(found, SUCCESS)
    assert np.all(end[success, 0] > 0)
    assert np.mean(found == Status.UNDECIDED) < 0.02
    assert np.all(loss(problem, State(end[found == 0, 0], end[found == 0, 1:])) < 1e-5)


def test_balanced_starts_need_no_larger_beta_of_a_in_more_than_one_dimension():
    starts = balanced_starts(4, 200, seed=1)
    end = flow(Population(4), starts, 1e5, (1.0, 1.0), rtol=1e-8, limit=True)[1]
    found = statuses(Population(4), starts, end, (1.0, 1.0))
    assert not np.isin(found, FAILURE).any()
    assert np.mean(np.isin(found, SUCCESS)) > 0.98


def test_a_small_beta_of_a_can_kill_a_balanced_start():
    starts = balanced_starts(2, 300, seed=2)
    end = flow(Population(2), starts, 1e5, (0.1, 1.0), rtol=1e-8, limit=True)[1]
    dead = statuses(Population(2), starts, end, (0.1, 1.0)) == Status.DEAD
    assert 0.2 < np.mean(dead[starts.a < 0]) < 1
    assert not dead[starts.a > 0].any()


def test_time_is_when_the_state_came_within_tolerance():
    problem, starts, tolerance = Population(3), independent_starts(3, 30, seed=14), 1e-4
    for limit in (True, False):
        _, _, reason, time = flow(problem, starts, 300.0, limit=limit, tolerance=tolerance)
        came = np.flatnonzero((reason == (CONVERGED if limit else EVENT)) & (time < 300))
        came = came[starts.a[came] > 0][:5]
        assert came.size == 5
        for i in came:
            end = flow(problem, starts[i : i + 1], time[i])[1][0]
            theta, product = np.arctan2(np.linalg.norm(end[2:]), end[1]), end[0] * np.linalg.norm(end[1:])
            assert max(theta, abs(product - 1)) == pytest.approx(tolerance, rel=1e-4)


def test_the_closed_form_at_the_target_is_the_flow():
    # `limit` switches it off; a target that is never within tolerance lets that run to its end.
    rtol, starts = 1e-8, balanced_starts(5, 60, seed=3)
    for targets in (1, 2):
        problem = Population(5, targets)
        closed, _, reason, _ = flow(problem, starts, [60.0, 90.0, 150.0], rtol=rtol)
        assert np.sum(reason == EVENT) > 40
        path = flow(problem, starts, [60.0, 90.0, 150.0], rtol=1e-12, limit=True, tolerance=1e-300)[0]
        assert np.max(np.abs(closed - path)) <= 10 * rtol


def test_the_slow_passage_of_the_saddle():
    # Here 0 < a < 0.02 for a time of 100 and more, which multiplies errors.
    rtol, problem, times = 1e-10, Population(3), [100.0, 200.0, 300.0]
    starts = State([-0.5, -1.0], [[-1.0, 0.45, 0.1], [-0.6, 0.7, 0.2]])
    path = flow(problem, starts, times, (1.0, 1.0), rtol=rtol)[0]
    assert np.all(path[:, 0, 0] < 0.02)
    assert path[0, -1, 0] > 0.5
    assert np.max(np.abs(path - on_all_weights(problem, starts, times, (1.0, 1.0)))) <= 10 * rtol


def test_a_start_next_to_antiparallel_turns_in_a_logarithmic_time():
    # w fades at the rate beta a^2/2 until |w| is about q, where it turns; then g(a) = c.
    times = {}
    for q in (1e-12, 1e-40, 1e-60):
        start = State([2.0], [[-1.0, q]])
        _, _, reason, time = flow(Population(2), start, 1e5, (1.0, 1.0), rtol=1e-9, limit=True)
        assert reason[0] == CONVERGED
        times[q] = time[0]
    c = Parameterization("sign-in").balance(start)[0]
    rate = c * (c + 2) / 8  # a^2/2
    assert times[1e-60] - times[1e-40] == pytest.approx(20 * math.log(10) / rate, rel=1e-6)


def test_a_dead_neuron_fades_at_one_rate_and_never_comes_back():
    start = State([-1.5], [[0.4, 0.3, -0.2]])
    times = np.arange(10.0, 101.0, 10.0)
    path, _, reason, time = flow(Population(3), start, times)
    assert reason[0] == EVENT
    assert times[1] < time[0] < times[-3]
    a, w = path[0, :, 0], path[0, :, 1:]
    rate = BETAS[1] * a[-1] ** 2 / 2
    # Before and after |w| = 1e-12, from which on the decay is in closed form.
    assert np.allclose(np.diff(np.log(np.linalg.norm(w, axis=1))), -10 * rate, rtol=1e-4)
    assert np.all(w[:, 0] < 0)
    assert np.ptp(a[2:]) < 1e-9


@pytest.mark.parametrize("scale", [1e-13, 1e-60])
def test_a_small_start_follows_the_law(scale):
    starts = independent_starts(3, 100, seed=15)
    small = State(scale * starts.a, scale * starts.w)
    end = flow(Population(3), small, 1e5, rtol=1e-8, limit=True)[1]
    found = statuses(Population(3), small, end, BETAS)
    learns = (starts.a > 0) | (Parameterization("sign-in", *BETAS).balance(small) < 0)
    assert np.array_equal(found == Status.DEAD, ~learns)
    assert np.all(np.isin(found[starts.a > 0], SUCCESS))


def test_starts_beyond_the_range_of_floats_fail_and_stay_where_they_are():
    starts = State([1e200, 1e-200, 0.5], [[0.1, 0.2], [1e-200, 1e-200], [0.3, 0.4]])
    path, end, reason, _ = flow(Population(2), starts, [1.0, 2.0])
    assert reason.tolist()[:2] == [FAILED, FAILED]
    assert reason[2] != FAILED
    assert np.array_equal(end[:2], np.column_stack([starts.a, starts.w])[:2])
    assert np.array_equal(path[:2, 1], end[:2])


def test_starts_and_targets_that_the_flow_cannot_take():
    with pytest.raises(ValueError, match="as its only weight"):
        flow(Population(3), State([1.0, 1.0], [[0.3, 0.1, 0.0], [-0.5, 0.0, 0.0]]), 1.0)
    with pytest.raises(ValueError, match="as its only weight"):
        flow(Population(3, 2), State([1.0], [[0.0, 0.0, 0.0]]), 1.0)
    with pytest.raises(ValueError, match="equal or 0"):
        population.population_flow(
            np.ones(1), np.ones((1, 2)), np.array([0.6, 0.8]), 1.0, 1.0, np.ones(1),
            c=np.zeros(1), rtol=1e-8, atol=1e-8, limit=False, t_certain=1.0, tolerance=1e-3,
        )  # fmt: skip


def test_the_status_coordinates_keep_their_digits_near_antiparallel():
    delta = np.array([1e-3, 1e-20, 1e-200])
    for targets in (1, 2):
        v = Population(4, targets).v
        w = -v + delta[:, None] * np.array([0.0, 0.0, 0.6, -0.8])
        log_rho, x = directions.status_coordinates(w, v)
        assert np.allclose(x, -np.log(np.tan(np.arctan(delta) / 2)), rtol=1e-14, atol=0)
        assert np.allclose(log_rho, np.log(np.hypot(1, delta)), rtol=0, atol=1e-15)
    log_rho, x = directions.status_coordinates(np.array([[1.0, 0.0], [0.0, 0.0]]), Population(2).v)
    assert x.tolist() == [-np.inf, -np.inf]
    assert log_rho.tolist() == [0.0, -np.inf]
