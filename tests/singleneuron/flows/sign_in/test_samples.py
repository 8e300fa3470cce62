"""The Sign-In flow of samples: against a slow independent one, its laws, descent on (m, u), its limits."""

import numpy as np
import pytest

from singleneuron.flows.samples import ensemble as plain
from singleneuron.flows.samples.limits import FADES
from singleneuron.flows.sign_in import samples
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.parameterization import Parameterization, metric
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Sample
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State
from singleneuron.problem.status import Status, sample_status
from tests.singleneuron.flows.sign_in.samples_reference import Pattern, reference_flow

TIGHT = {"rtol": 1e-11, "atol": 1e-11}
USUAL = {"rtol": 1e-8, "atol": 1e-8}
FORK = Sample([[1.0, 0.0], [-1.0, 0.5], [-1.0, -0.5]], [1.0, -0.5, -0.5])


def flow_of(problem, starts, beta, times, limit=False, **options):
    c = Parameterization("sign-in", *beta).balance(starts)
    return samples.sample_flow(
        problem.x, problem.y, starts.a, starts.w, *beta, np.atleast_1d(times), c=c, limit=limit,
        t_certain=2e3, tolerance=1e-3, **options,
    )  # fmt: skip


def limits_of(problem, starts, beta):
    flow = flow_of(problem, starts, beta, 1e5, limit=True, **USUAL)
    c = Parameterization("sign-in", *beta).balance(starts)
    end = State(flow.end[:, 0], flow.end[:, 1:])
    return flow, end, sample_status(problem, end, c, settled=flow.reason != END)


def law(path, beta):
    """c_S = S(a, beta_a) - sum_i S(w_i, beta_w)."""
    return metric(path[..., 0], beta[0]) - metric(path[..., 1:], beta[1]).sum(axis=-1)


@pytest.mark.parametrize(
    ("noise", "beta", "chosen"),
    [(0.0, (1.0, 1.0), (1, 7)), (0.3, (2.0, 0.5), (2, 7)), (0.3, (1.0, 1.0), (4, 7))],
)
def test_agrees_with_the_slow_integrator(noise, beta, chosen):
    problem, times = Sample.draw(d=3, n=20, noise=noise, seed=3), np.linspace(0, 6, 13)
    starts, sliding = independent_starts(d=3, size=8, seed=5), 0
    flow = flow_of(problem, starts, beta, times, **TIGHT)
    for b in chosen:
        slow = reference_flow(problem.x, problem.y, starts.a[b], starts.w[b], beta, times)
        assert np.abs(flow.path[b] - slow.path).max() <= 1e-9
        if flow.reason[b] != EVENT:  # next to w = 0 events crowd
            assert len(slow.events) == flow.events[b]
        sliding = max(sliding, *((slow.shares > 0) & (slow.shares < 1)).sum(axis=1))
    assert sliding == 2  # as many as can be: d - 1


@pytest.mark.slow
def test_agrees_with_the_slow_integrator_from_many_starts():
    times, sliding = np.linspace(0, 6, 13), 0
    for d, n, beta in ((2, 10, (1.0, 1.0)), (3, 20, (0.1, 0.3)), (4, 40, (2.0, 0.5))):
        for noise in (0.0, 0.5):
            problem, starts = (
                Sample.draw(d=d, n=n, noise=noise, seed=d),
                independent_starts(d=d, size=20, seed=1),
            )
            flow = flow_of(problem, starts, beta, times, **TIGHT)
            for b in range(starts.size):
                slow = reference_flow(problem.x, problem.y, starts.a[b], starts.w[b], beta, times)
                assert np.abs(flow.path[b] - slow.path).max() <= 1e-8
                assert slow.ambiguous == flow.ambiguous[b]
                sliding += np.any((slow.shares > 0) & (slow.shares < 1))
    assert sliding >= 10


def test_ambiguous_where_a_passes_zero_while_sliding():
    problem, times = Sample.draw(d=3, n=40, noise=0.3, seed=5), np.linspace(0, 12, 25)
    starts = independent_starts(d=3, size=100, seed=5)
    starts = State(starts.a[[71]], starts.w[[71]])
    flow = flow_of(problem, starts, (1.0, 1.0), times, **TIGHT)
    slow = reference_flow(problem.x, problem.y, starts.a[0], starts.w[0], (1.0, 1.0), times)
    assert flow.ambiguous[0]
    assert slow.ambiguous
    assert slow.path[0, 0] < 0 < slow.path[-1, 0]
    assert np.abs(flow.path[0] - slow.path).max() <= 1e-8


@pytest.mark.parametrize("beta", [(1.0, 1.0), (2.0, 0.01)])
def test_the_law_holds_in_units_of_the_tolerance(beta):
    problem, starts = Sample.draw(d=4, n=60, noise=1.0, seed=1), independent_starts(d=4, size=100, seed=2)
    for options in (USUAL, TIGHT):
        flow = flow_of(problem, starts, beta, np.linspace(0, 20, 21), **options)
        drift = np.abs(law(flow.path, beta) - law(flow.path[:, :1], beta)).max(axis=1)
        size = metric(flow.path, 1.0).sum(axis=2).max(axis=1)
        assert np.all(drift <= 1e3 * options["rtol"] * size)
        # A start with c < 0 is free to drift: nothing restores its law.
        open_ended = law(flow.path[:, 0], beta) < beta[0] - 4 * beta[1]
        assert open_ended.sum() > 50
    z = flow.path[open_ended, 1:, 1:] @ problem.x.T
    assert np.any(np.abs(z) <= 1e-13, axis=(1, 2)).sum() >= 5  # these slid


@pytest.mark.parametrize("b", [4, 7])
def test_energy_is_spent_by_the_flow_alone(b):
    """L(0) - L(t) = int sum_k theta_k'^2/S_k dt, by Gauss quadrature between the events, slides included."""
    problem, beta = Sample.draw(d=3, n=20, noise=0.3, seed=3), (2.0, 0.5)
    starts = (
        independent_starts(d=3, size=8, seed=5)[[b]] if False else independent_starts(d=3, size=8, seed=5)
    )
    starts = State(starts.a[[b]], starts.w[[b]])
    slow = reference_flow(problem.x, problem.y, starts.a[0], starts.w[0], beta, np.array([0.0, 5.0]))
    knots = np.unique([0.0, *np.geomspace(1e-3, 5.0, 60), *(event[0] for event in slow.events)])
    knots = knots[knots <= 5.0]
    nodes, weights = np.polynomial.legendre.leggauss(10)
    half = np.diff(knots) / 2
    times = ((knots[:-1] + half)[:, None] + half[:, None] * nodes).ravel()
    path = flow_of(problem, starts, beta, np.append(times, 5.0), **USUAL).path[0]
    energy = loss(problem, State(path[:, 0], path[:, 1:]))
    assert np.all(np.diff(energy) <= 0)
    power = []
    for state in path[:-1]:
        z = problem.x @ state[1:]
        on, sliding = (z > 0).astype(float), np.flatnonzero(np.abs(z) <= 1e-12)
        speed = Pattern(problem.x, problem.y, beta, on, sliding).field(0, state)
        scale = np.append(metric(state[0], beta[0]), metric(state[1:], beta[1]))
        power.append(np.sum(speed**2 / scale))
    spent = np.sum(half * (weights * np.reshape(power, (-1, 10))).sum(axis=1))
    before = loss(problem, starts)[0]
    assert abs(before - energy[-1] - spent) <= 1e3 * USUAL["rtol"]


def descend(problem, starts, beta, rate, t_end):
    """Gradient descent on (m, u), every weight being m u."""
    theta = np.column_stack([starts.a, starts.w])
    both = np.array([beta[0]] + [beta[1]] * starts.d)
    m = np.sqrt((both + np.hypot(both, 2 * theta)) / 2)
    u = theta / m
    for _ in range(round(t_end / rate)):
        theta = m * u
        z = np.maximum(theta[:, 1:] @ problem.x.T, 0)
        residual = theta[:, :1] * z - problem.y
        da = np.mean(residual * z, axis=1)
        dw = theta[:, :1] * ((residual * (z > 0)) @ problem.x) / problem.n
        gradient = np.column_stack([da, dw])
        m, u = m - rate * u * gradient, u - rate * m * gradient
    return m * u


def test_agrees_with_small_steps_of_descent_on_the_factors():
    problem, beta, t_end = Sample.draw(d=3, n=20, noise=0.3, seed=3), (1.5, 0.7), 2.0
    starts = independent_starts(d=3, size=30, seed=8)
    flow = flow_of(problem, starts, beta, t_end, **TIGHT).path[:, -1]
    apart = [
        np.abs(descend(problem, starts, beta, rate, t_end) - flow).max(axis=1) for rate in (2e-3, 1e-3, 5e-4)
    ]
    assert np.all(apart[2] <= 2e-2)
    assert np.median(apart[2]) <= 1e-3
    # The error is linear in the step, apart from a few starts, whose path passes many hyperplanes.
    assert np.median(apart[0] / apart[1]) == pytest.approx(2, abs=0.1)
    assert np.median(apart[1] / apart[2]) == pytest.approx(2, abs=0.1)


def test_with_large_betas_it_is_the_plain_flow_in_another_time():
    problem, starts = Sample.draw(d=3, n=40, noise=0.3, seed=3), independent_starts(d=3, size=40, seed=6)
    times, beta = np.linspace(0, 10, 11), 1e6
    flow = flow_of(problem, starts, (beta, beta), times / beta, **TIGHT)
    other = plain.sample_flow(
        problem.x, problem.y, starts.a, starts.w, times, limit=False, t_certain=1e3, tolerance=1e-3, **TIGHT
    )
    assert np.abs(flow.path - other.path).max() <= 1e-8
    assert np.array_equal(flow.events, other.events)
    assert np.array_equal(flow.ambiguous, other.ambiguous)
    assert np.median(flow.events) >= 2


def test_one_sample_is_fitted_or_never_seen():
    problem, beta = Sample([[1.0, 2.0]], [0.7]), (1.0, 0.5)
    starts = State([-0.3, 0.4, 0.5], [[0.5, 0.4], [0.1, 0.2], [-1.0, 0.3]])
    flow, end, status = limits_of(problem, starts, beta)
    output = end.a * (end.w @ problem.x[0])
    assert np.allclose(output[:2], 0.7, rtol=0, atol=1e-3)
    assert list(flow.reason) == [CONVERGED, CONVERGED, EVENT]
    assert list(status) == [Status.CONVERGED, Status.CONVERGED, Status.DEAD]
    assert np.array_equal(flow.end[2], [0.5, -1.0, 0.3])
    # In the coordinates asinh(2 w_i/beta), w moves along x.
    moved = np.arcsinh(2 * end.w[:2] / beta[1]) - np.arcsinh(2 * starts.w[:2] / beta[1])
    assert np.allclose(moved[:, 1], 2 * moved[:, 0], rtol=1e-6)
    assert np.allclose(law(flow.end, beta), law(np.column_stack([starts.a, starts.w]), beta), atol=1e-6)


def test_coinciding_hyperplanes_are_one():
    problem, beta = Sample.draw(d=3, n=20, noise=0.3, seed=5), (1.0, 0.5)
    starts, times = independent_starts(d=3, size=30, seed=6), np.linspace(0, 10, 5)
    once = flow_of(problem, starts, beta, times, **TIGHT)
    twice = Sample(np.tile(problem.x, (2, 1)), np.tile(problem.y, 2))
    again = flow_of(twice, starts, beta, times, **TIGHT)
    assert np.allclose(again.path, once.path, rtol=0, atol=1e-9)
    assert np.array_equal(again.events, once.events)
    # Parallel rows with other lengths and labels, and opposite ones: the limit of rows that are nearly so.
    x = np.concatenate([problem.x, 1.7 * problem.x[:5], -0.6 * problem.x[3:9]])
    y = np.concatenate([problem.y, problem.y[5:10], problem.y[:6]])
    together = flow_of(Sample(x, y), starts, beta, times, **TIGHT)
    nearly = x.copy()
    nearly[20:] += 1e-7 * np.random.default_rng(0).standard_normal(nearly[20:].shape)
    apart = flow_of(Sample(nearly, y), starts, beta, times, **TIGHT)
    unique = ~(together.ambiguous | apart.ambiguous)
    assert unique.sum() >= 25
    assert np.median(np.abs(together.path - apart.path).max(axis=(1, 2))[unique]) <= 1e-5


def test_balanced_starts_with_negative_a_learn_with_equal_betas():
    problem, starts = Sample.draw(d=3, n=200, noise=0.05, seed=3), balanced_starts(d=3, size=60, seed=5)
    for beta in ((1.0, 1.0), (2.0, 1.0)):
        flow, end, status = limits_of(problem, starts, beta)
        assert not np.any(flow.reason == FAILED)
        assert np.mean(status == Status.CONVERGED) >= 0.95
        assert np.all(end.a[status == Status.CONVERGED] > 0)
    # With a larger beta_w the law stops some of them.
    c = Parameterization("sign-in", 1.0, 4.0).balance(starts)
    _, _, status = limits_of(problem, starts, (1.0, 4.0))
    assert np.array_equal(status == Status.DEAD, (c >= 0) & (starts.a < 0))
    assert np.any(status == Status.DEAD)


def test_a_limit_is_where_the_flow_goes():
    problem, starts, beta = (
        Sample.draw(d=4, n=60, noise=0.2, seed=3),
        independent_starts(d=4, size=36, seed=4),
        (1.0, 0.3),
    )
    flow, _, _ = limits_of(problem, starts, beta)
    later = flow_of(problem, starts, beta, 2e3, **USUAL)
    done = (flow.reason == CONVERGED) & (later.fate == CONVERGED) & ~flow.ambiguous
    assert done.sum() >= 25
    # Both are within the tolerance of one point; what the limit of a rank-deficient cell lacks is below it.
    assert np.median(np.abs(later.path[done, -1] - flow.end[done]).max(axis=1)) <= 1e-7
    assert np.abs(later.path[done, -1] - flow.end[done]).max() <= 1e-2


def test_a_negative_neuron_with_positive_balance_dies_in_finite_time():
    problem, beta = Sample.draw(d=3, n=30, noise=0.0, seed=0), (1.0, 1.0)
    starts = State([-1.0], [[0.3, 0.1, 0.0]])
    flow = flow_of(problem, starts, beta, 50.0, **USUAL)
    assert flow.reason[0] == EVENT
    assert flow.time[0] < 50
    assert np.all(flow.path[0, -1, 1:] == 0)
    g = Parameterization("sign-in", *beta).balance(starts)[0]
    assert flow.path[0, -1, 0] == pytest.approx(-np.sqrt(g * (g + 2)) / 2, abs=1e-7)


@pytest.mark.parametrize("aside", [0.0, 1e-12, 1e-6])
def test_a_positive_neuron_goes_through_zero(aside):
    flow, end, status = limits_of(FORK, State([1.0], [[-0.4, aside]]), (1.0, 1.0))
    assert flow.reason[0] == CONVERGED
    assert status[0] == Status.CONVERGED
    assert np.allclose(end.a * end.w[0], [1.0, 0.0], rtol=0, atol=1e-3)


def test_a_neuron_that_sees_only_zeros_fades():
    problem = Sample([[1.0, 0.2], [0.3, 1.0], [-1.0, -1.0]], [0.0, 0.0, 1.0])
    starts, beta = State([0.3, -0.3, 1.5], [[1.0, 0.8], [1.0, 0.8], [0.4, 0.3]]), (1.0, 1.0)
    flow, end, status = limits_of(problem, starts, beta)
    assert np.all(np.isin(flow.reason, (CERTAIN, CONVERGED, EVENT)))
    assert np.all(status[:2] == Status.DEAD)
    later = flow_of(problem, starts, beta, 500.0, **TIGHT)
    assert list(later.fate[:2]) == [FADES, FADES]
    assert np.allclose(later.path[:2, -1], flow.end[:2], rtol=0, atol=1e-3)
    assert np.allclose(end.a[:2], 0.0, rtol=0, atol=1e-12)


def test_data_of_low_rank_and_labels_that_are_zero():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=(6, 2)) @ rng.normal(size=(2, 4)), np.zeros((2, 4))])
    problem = Sample(x, np.where(np.arange(8) % 3 == 0, 0.0, rng.normal(size=8)))
    starts = independent_starts(d=4, size=40, seed=3)
    assert not np.any(flow_of(problem, starts, (1.0, 0.5), 30.0, **USUAL).reason == FAILED)
    flow, _, status = limits_of(problem, starts, (1.0, 0.5))
    assert not np.any(flow.reason == FAILED)
    assert np.mean(status == Status.UNDECIDED) <= 0.1


def test_a_batch_is_as_its_members_alone():
    problem, starts = Sample.draw(d=3, n=20, noise=0.3, seed=3), independent_starts(d=3, size=6, seed=5)
    whole = flow_of(problem, starts, (1.0, 0.5), np.linspace(0, 5, 6), **USUAL)
    for b in range(6):
        alone = flow_of(
            problem, State(starts.a[[b]], starts.w[[b]]), (1.0, 0.5), np.linspace(0, 5, 6), **USUAL
        )
        assert np.array_equal(alone.path[0], whole.path[b])
