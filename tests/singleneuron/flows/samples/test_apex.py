"""w = 0, where all hyperplanes meet: the sample flow leaves it unless the fields around it hold it."""

import numpy as np
import pytest

from singleneuron.flows.descent import descend_sample
from singleneuron.flows.integrate import integrate
from singleneuron.flows.samples.ensemble import sample_flow
from singleneuron.kernels.dop853 import EVENT
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Sample
from singleneuron.problem.starts import independent_starts
from singleneuron.problem.state import State, balance
from singleneuron.problem.status import Status
from tests.singleneuron.flows.samples.reference import fields_around, holds, rays_from, reference_flow

USUAL = {"rtol": 1e-8, "atol": 1e-8, "limit": False, "t_certain": 2e3, "tolerance": 1e-3}
FORK = Sample([[1.0, 0.0], [-1.0, 0.5], [-1.0, -0.5]], [1.0, -0.5, -0.5])
SILENT = Sample(FORK.x, [1.0, 0.0, 0.0])


@pytest.mark.parametrize("t_end", [60.0, np.inf])
@pytest.mark.parametrize("aside", [0.0, 1e-30, 1e-15, 1e-12, -1e-12, 1e-9])
def test_a_positive_neuron_goes_through(aside, t_end):
    end = integrate(FORK, State([1.0], [[-0.4, aside]]), t_end)
    assert end.status[0] == Status.CONVERGED
    assert np.allclose([end.state.a[0], *end.state.w[0]], [1.22662943, 0.81524214, 0], rtol=0, atol=1e-8)
    line = integrate(Sample(FORK.x[:, :1], FORK.y), State([1.0], [[-0.4]]), t_end, method="exact")
    assert np.allclose([line.state.a[0], line.state.w[0, 0]], [end.state.a[0], end.state.w[0, 0]], atol=1e-7)


def test_balance_is_kept_on_the_way_through():
    times = np.linspace(0, 10, 2001)
    for problem, start in (
        (FORK, State([1.0], [[-0.4, 0.0]])),
        (Sample.draw(2, 20, 1.0, seed=104921388), State([1.4], [[-0.68, 0.13]])),
    ):
        path = integrate(problem, start, t_eval=times).state
        size = np.linalg.norm(path.w[:, 0], axis=1)
        assert size.min() < 2e-3
        assert np.abs(balance(path) - balance(start)).max() <= 1e-7
        assert np.all(np.diff(loss(problem, path)[:, 0]) <= 1e-12)
        # At w = 0 the field is bounded, so that w moves on at once.
        assert np.abs(np.diff(path.w[:, 0], axis=0)).max() <= 5e-3


def test_a_slide_that_leads_to_it_goes_on_beyond():
    problem = Sample.draw(2, 20, 1.0, seed=104921388)
    end = integrate(problem, State([1.4], [[-0.68, 0.13]]), 60.0)
    assert np.allclose([end.state.a[0], *end.state.w[0]], [1.3111, 0.4749, -0.1137], rtol=0, atol=1e-4)
    assert loss(problem, end.state)[0] == pytest.approx(0.5294, abs=1e-4)
    descent = integrate(problem, State([1.4], [[-0.68, 0.13]]), 60.0, learning_rate=1e-4)
    assert np.abs(descent.state.w - end.state.w).max() <= 1e-3


def test_the_slow_integrator_goes_the_same_way():
    times, passed = np.array([0.0, 1.0, 3.0, 6.0, 12.0]), 0
    for seed in (10024, 20002, 50012):
        problem, starts = (
            Sample.draw(2, seed // 1000, 1.0, seed=seed),
            independent_starts(2, 60, seed=seed % 100),
        )
        a = np.abs(starts.a)
        flow = sample_flow(problem.x, problem.y, a, starts.w, times, **USUAL | {"rtol": 1e-11, "atol": 1e-11})
        fine = sample_flow(problem.x, problem.y, a, starts.w, np.linspace(0, 12, 4001), **USUAL).path[..., 1:]
        for b in np.flatnonzero(np.linalg.norm(fine, axis=-1).min(axis=1) < 1e-3)[:4]:
            slow = reference_flow(problem.x, problem.y, a[b], starts.w[b], times)
            passed += any(event[2] == "left" for event in slow.events)
            assert np.abs(flow.path[b] - slow.path).max() <= 1e-8
    assert passed >= 6


def test_rounding_does_not_choose_the_ray():
    # A slide carries an error of 1e-17, which beside |w| = 1e-13 is a direction of its own.
    problem, starts = Sample.draw(2, 10, 1.0, seed=10028), independent_starts(2, 100, seed=8)
    for rtol in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12):
        end = integrate(problem, State([abs(starts.a[6])], starts.w[6:7]), 60.0, rtol=rtol)
        assert np.allclose(end.state.w[0], [0.8915, -0.0662], rtol=0, atol=1e-4)


def test_a_negative_neuron_stays_only_where_it_is_held():
    # One sample each side of the line: with a < 0 and labels y >= 0 every field points to w = 0.
    held = Sample(FORK.x, [1.0, 0.5, 0.5])
    end = integrate(held, State([-1.0], [[0.4, 0.1]]), 60.0)
    assert end.status[0] == Status.DEAD
    assert np.array_equal(end.state.w, [[0, 0]])
    # With y < 0 on the other side it crosses down, as with one coordinate, and fits those labels.
    end = integrate(FORK, State([-1.0], [[0.4, 0.0]]), 60.0)
    line = integrate(Sample(FORK.x[:, :1], FORK.y), State([-1.0], [[0.4]]), 60.0, method="exact")
    assert end.status[0] == Status.DEAD
    assert np.allclose([end.state.a[0], end.state.w[0, 0]], [line.state.a[0], line.state.w[0, 0]], atol=1e-6)
    assert line.state.w[0, 0] < -0.1


def test_a_start_at_zero_stays():
    end = integrate(FORK, State([1.0, -1.0], np.zeros((2, 2))), 60.0)
    assert np.array_equal(end.state.w, np.zeros((2, 2)))
    assert list(end.status) == [Status.DEAD, Status.DEAD]


def test_tiny_starts_are_not_next_to_zero():
    # Beside a of its own size no |w| is tiny: what counts is the ratio, and all of them learn.
    x = np.array([[1.0, 0.2], [-1.0, 0.3]])
    starts = State([3e-20, -1e-30], [[-1e-20, 2e-20], [2e-30, 1e-30]])
    end = integrate(Sample(x, [1.0, 0.1]), starts, np.inf)
    assert np.all(end.state.a > 0.1)


def check_against_descent(data_sets, starts_each):
    """Ends at w = 0 (with a > 0), starts that passed it, and those where descent takes another ray."""
    passed = other = 0
    for n in (10, 20, 50):
        for seed in range(data_sets):
            problem = Sample.draw(2, n, 1.0, seed=1000 * n + 20 + seed)
            starts = independent_starts(2, starts_each, seed=seed)
            starts = State(np.abs(starts.a), starts.w)
            flow = sample_flow(problem.x, problem.y, starts.a, starts.w, np.array([60.0]), **USUAL)
            at_zero = (flow.reason == EVENT) & (np.linalg.norm(flow.end[:, 1:], axis=1) == 0)
            held = holds(fields_around(problem.x, problem.y))
            assert held or not at_zero.any()
            ends = [
                descend_sample(
                    problem.x, problem.y, starts.a, starts.w, np.array([round(60 / h)]), h, tolerance=1e-3
                )[1]
                for h in (4e-3, 1e-3)
            ]
            far = np.min([np.abs(end - flow.end).max(axis=1) for end in ends], axis=0) > 0.02
            assert not far.any() or len(rays_from(problem.x, problem.y)) > 1
            other += far.sum()
            smallest = sample_flow(
                problem.x, problem.y, starts.a, starts.w, np.linspace(0, 20, 4001), **USUAL
            ).path[..., 1:]
            passed += np.sum(np.linalg.norm(smallest, axis=-1).min(axis=1) < 1e-3)
    return passed, other


def test_descent_leaves_zero_where_the_flow_does():
    assert check_against_descent(data_sets=2, starts_each=30)[1] == 0


@pytest.mark.slow
def test_descent_leaves_zero_where_the_flow_does_from_many_starts():
    passed, other = check_against_descent(data_sets=17, starts_each=100)
    assert passed >= 20
    assert other <= 2  # of 5,100: where several rays lead away, descent may take another one


@pytest.mark.parametrize("t_end", [2000.0, np.inf])
def test_a_balanced_neuron_that_sees_labels_zero_alone_never_learns(t_end):
    end = integrate(SILENT, State([1.0], [[-1.0, 0.0]], c=[0.0]), t_end)
    assert end.status[0] == Status.DEAD
    if np.isinf(t_end):
        assert end.time[0] < 100
    # Beside that line it leaves the cell, however late.
    start = State([np.hypot(1, 0.1)], [[-1.0, 0.1]], c=[0.0])
    assert integrate(SILENT, start, 2000.0).status[0] == Status.UNDECIDED
    assert integrate(SILENT, start, 3200.0).status[0] == Status.CONVERGED
    assert integrate(SILENT, start, np.inf).status[0] == Status.CONVERGED


def test_a_silent_cell_holds_no_neuron_that_leaves_it_later():
    # c > 0: |w| decays to 1e-16 before w_2, which decays more slowly, carries it into a cell with labels.
    end = integrate(SILENT, State([1.0], [[-0.4, 1e-12]]), np.inf)
    assert end.status[0] == Status.CONVERGED
    assert np.allclose([end.state.a[0], *end.state.w[0]], [1.22662943, 0.81524214, 0], rtol=0, atol=1e-8)
    assert integrate(SILENT, State([1.0], [[-0.4, 0.0]]), np.inf).status[0] == Status.DEAD
