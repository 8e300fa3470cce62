"""The sample flow: against a slow independent one, its laws, gradient descent, and every degenerate input."""

import numba
import numpy as np
import pytest

from singleneuron.flows import descent
from singleneuron.flows.samples import ensemble as samples
from singleneuron.flows.samples.cells import hyperplanes
from singleneuron.flows.samples.ensemble import sample_trace
from singleneuron.kernels.bernstein import first_root
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Sample
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State, balance
from tests.singleneuron.flows.samples.reference import reference_flow

TIGHT = {"rtol": 1e-11, "atol": 1e-11}
USUAL = {"rtol": 1e-8, "atol": 1e-8}


def sample_flow(*problem, limit=False, **options):
    return samples.sample_flow(*problem, limit=limit, t_certain=1e3, tolerance=1e-3, **options)


def descend_sample(*problem):
    return descent.descend_sample(*problem, tolerance=1e-3)


def starts_of_every_kind(d, size, seed):
    """Starts with all signs of a and of c, each in a fair share: a ~ N(0, d), w_i ~ N(0, 1)."""
    starts = independent_starts(d=d, size=size, seed=seed)
    starts = State(np.sqrt(d) * starts.a, starts.w)
    assert {(bool(a), bool(c)) for a, c in zip(starts.a > 0, balance(starts) > 0, strict=True)} == {
        (one, two) for one in (True, False) for two in (True, False)
    }
    return starts


def compare_with_reference(size, seed, t_end):
    times, sliding, ambiguous = np.linspace(0, t_end, 9), 0, 0
    for noise in (0.0, 0.3):
        problem = Sample.draw(d=3, n=40, noise=noise, seed=3)
        starts = starts_of_every_kind(3, size, seed)
        flow = sample_flow(problem.x, problem.y, starts.a, starts.w, times, **TIGHT)
        for b in range(size):
            slow = reference_flow(problem.x, problem.y, starts.a[b], starts.w[b], times)
            # Ambiguous ones too: the two share the convention of how to go on.
            assert slow.ambiguous == flow.ambiguous[b]
            assert np.abs(flow.path[b] - slow.path).max() <= 1e-8
            assert len(slow.events) == flow.events[b]
            sliding += np.any((slow.shares > 0) & (slow.shares < 1))
            ambiguous += slow.ambiguous
    return sliding, ambiguous


def test_agrees_with_the_slow_integrator():
    assert compare_with_reference(size=12, seed=5, t_end=6.0)[0] >= 3


@pytest.mark.slow
def test_agrees_with_the_slow_integrator_from_many_starts():
    sliding, ambiguous = compare_with_reference(size=200, seed=4, t_end=20.0)
    assert sliding >= 40
    assert ambiguous >= 1


def test_multipliers_agree_with_the_slow_integrator():
    problem, times = Sample.draw(d=3, n=40, noise=0.0, seed=3), np.linspace(0, 12, 49)
    starts = independent_starts(d=3, size=40, seed=6)
    for b in (20, 27, 34):
        slow = reference_flow(problem.x, problem.y, starts.a[b], starts.w[b], times)
        _, shares, events = sample_trace(problem.x, problem.y, starts.a[b], starts.w[b], times, **TIGHT)
        assert np.abs(shares - slow.shares).max() <= 1e-7
        assert np.allclose(events, [event[0] for event in slow.events], rtol=0, atol=1e-7)
        assert ((shares > 0) & (shares < 1)).sum(axis=1).max() == 2  # as many as can be: d - 1


def check_laws(problem, a, w, t_end):
    """c, L(0) - L(t) = int (a'^2 + |w'|^2) dt, every side and every multiplier; returns whether it slid.

    The integral by Gauss quadrature between the events, on finer pieces early, where the flow is fast.
    """
    rtol, scale = USUAL["rtol"], max(1, a**2 + w @ w)
    events = sample_trace(problem.x, problem.y, a, w, np.array([t_end]), **USUAL)[2]
    knots = np.concatenate([[0], np.geomspace(1e-5 * t_end, t_end, 81), events[events < t_end]])
    nodes, weights = np.polynomial.legendre.leggauss(12)
    knots = np.unique(knots)
    half = np.diff(knots) / 2
    times = (knots[:-1] + half)[:, None] + half[:, None] * nodes
    flow, shares, _ = sample_trace(problem.x, problem.y, a, w, np.append(times.ravel(), t_end), **USUAL)
    assert flow.reason[0] != FAILED
    path = flow.path[0]
    c = path[:, 0] ** 2 - np.sum(path[:, 1:] ** 2, axis=1)
    assert np.abs(c - (a**2 - w @ w)).max() <= 1e3 * rtol * scale

    z = path[:, 1:] @ problem.x.T
    residual = problem.y - path[:, :1] * z
    pull = (shares * residual) @ problem.x / problem.n
    speed = np.sum(path[:, 1:] * pull, axis=1) ** 2 + np.sum((path[:, :1] * pull) ** 2, axis=1)
    spent = np.sum(half * (weights * speed[:-1].reshape(times.shape)).sum(axis=1))
    before, after = loss(problem, State(np.array([a, path[-1, 0]]), np.array([w, path[-1, 1:]])))
    assert abs(before - after - spent) <= 1e3 * rtol * scale

    # On at w.x > 0, off at w.x < 0, sliding at w.x = 0: up to rounding, also of those just released.
    sliding = (shares > 0) & (shares < 1)
    assert np.all(z[shares >= 1] >= -1e-12)
    assert np.all(z[shares <= 0] <= 1e-12)
    assert np.all(np.abs(z[sliding]) <= 1e-12)
    assert shares.min() >= -1e-12
    assert shares.max() <= 1 + 1e-12
    return bool(sliding.any())


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_laws_hold_while_sliding_too(noise):
    problem, starts = Sample.draw(d=3, n=30, noise=noise, seed=7), starts_of_every_kind(3, 20, 8)
    slid = [check_laws(problem, starts.a[b], starts.w[b], 20.0) for b in range(starts.size)]
    assert sum(slid) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(("d", "n"), [(2, 10), (3, 40), (5, 100), (10, 30), (10, 300)])
def test_the_laws_hold_along_a_thousand_trajectories(d, n, noise):
    problem, starts = Sample.draw(d=d, n=n, noise=noise, seed=d), starts_of_every_kind(d, 100, n)
    slid = [check_laws(problem, starts.a[b], starts.w[b], 100.0) for b in range(starts.size)]
    assert sum(slid) >= 10


def test_balance_is_conserved_and_the_loss_falls():
    problem = Sample.draw(d=5, n=200, noise=0.1, seed=1)
    starts, times = independent_starts(d=5, size=200, seed=2), np.linspace(0, 100, 51)
    flow = sample_flow(problem.x, problem.y, starts.a, starts.w, times, **USUAL)
    path = State(flow.path[..., 0].T, np.moveaxis(flow.path[..., 1:], 1, 0))
    scale = np.maximum(1, starts.a**2 + np.sum(starts.w**2, axis=1))
    assert np.all(np.abs(balance(path) - balance(starts)) <= 1e3 * 1e-8 * scale)
    assert np.all(np.diff(loss(problem, path), axis=0) <= 1e-10)
    assert not np.any(flow.reason == FAILED)


def test_gradient_descent_falls_on_the_flow_as_its_step_shrinks():
    problem = Sample.draw(d=3, n=40, noise=0.3, seed=3)
    starts = starts_of_every_kind(3, 40, 6)
    flow = sample_flow(problem.x, problem.y, starts.a, starts.w, np.array([4.0]), **TIGHT)
    unique = ~flow.ambiguous
    errors = [
        np.abs(
            descend_sample(problem.x, problem.y, starts.a, starts.w, np.array([round(4 / h)]), h)[1]
            - flow.path[:, -1]
        ).max(axis=1)[unique]
        for h in (4e-3, 4e-4, 4e-5)
    ]
    assert np.all(errors[2] < 1e-3)
    assert np.median(errors[0] / errors[1]) == pytest.approx(10, rel=0.1)
    assert np.median(errors[1] / errors[2]) == pytest.approx(10, rel=0.1)
    # On the slide descent hops, with an error that is linear too but erratic.
    assert np.all(errors[0] / errors[2] > 20)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_gradient_descent_at_small_steps_from_many_starts(noise):
    problem, t_end = Sample.draw(d=3, n=40, noise=noise, seed=3), 4.0
    starts = starts_of_every_kind(3, 200, 11)
    flow = sample_flow(problem.x, problem.y, starts.a, starts.w, np.array([t_end]), **TIGHT)
    slid = np.zeros(starts.size, dtype=bool)
    for b in range(starts.size):
        times = np.linspace(0, t_end, 801)
        shares = sample_trace(problem.x, problem.y, starts.a[b], starts.w[b], times, **USUAL)[1]
        slid[b] = np.any((shares > 0) & (shares < 1))

    def descend(who, h):
        steps = np.array([round(t_end / h)])
        return descend_sample(problem.x, problem.y, starts.a[who], starts.w[who], steps, h)[1]

    smooth, slid = np.flatnonzero(~slid & ~flow.ambiguous), np.flatnonzero(slid & ~flow.ambiguous)
    # Linear in the step, but for where the steps fall about each crossing: some tenth of the step, erratic.
    extrapolated = 2 * descend(smooth, 2.5e-6) - descend(smooth, 5e-6)
    assert np.abs(extrapolated - flow.path[smooth, -1]).max() <= 1e-6
    assert slid.size >= 10
    errors = [np.abs(descend(slid, h) - flow.path[slid, -1]).max() for h in (1e-4, 1e-5, 1e-6)]
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.05)


def test_threads_and_chunks_do_not_matter():
    problem = Sample.draw(d=4, n=300, noise=0.1, seed=1)
    starts, times = balanced_starts(d=4, size=30, seed=2), np.array([3.0, 10.0])
    whole = sample_flow(problem.x, problem.y, starts.a, starts.w, times, **USUAL)
    alone = [
        sample_flow(problem.x, problem.y, starts.a[[b]], starts.w[[b]], times, **USUAL) for b in range(30)
    ]
    assert np.array_equal(whole.path, np.concatenate([flow.path for flow in alone]))
    assert np.array_equal(whole.events, np.concatenate([flow.events for flow in alone]))


def test_limits_are_critical_points():
    problem = Sample.draw(d=4, n=100, noise=0.2, seed=3)
    starts = independent_starts(d=4, size=100, seed=4)
    flow = sample_flow(problem.x, problem.y, starts.a, starts.w, np.array([1e5]), limit=True, **USUAL)
    assert not np.any(flow.reason == FAILED)
    done = flow.reason == CONVERGED
    assert done.sum() > 60
    for b in np.flatnonzero(done):
        a, w = flow.end[b, 0], flow.end[b, 1:]
        # The limit is at rest: integrating on from it changes nothing.
        on = sample_flow(problem.x, problem.y, [a], w[None], np.array([5.0]), **USUAL)
        assert np.abs(on.path[0, -1] - flow.end[b]).max() <= 1e-6
    smooth = done & (flow.end[:, 0] > 0)
    da, dw = gradient(problem, State(flow.end[smooth, 0], flow.end[smooth, 1:]))
    assert np.median(np.abs(dw).max(axis=1) + np.abs(da)) <= 1e-12


def test_balanced_starts_with_negative_a_never_come_back():
    # c = 0 forbids a to pass 0; a drift of c below 0 would let it, after a long decay.
    problem = Sample.draw(d=10, n=300, noise=0.1, seed=0)
    starts = balanced_starts(d=10, size=20, seed=1)
    down = starts.a < 0
    options = {"c": np.zeros(down.sum()), "rtol": 1e-7, "atol": 1e-7}
    flow = sample_flow(problem.x, problem.y, starts.a[down], starts.w[down], np.array([8e3]), **options)
    assert np.all(flow.end[:, 0] <= 0)
    assert not np.any(flow.ambiguous)
    ends = sample_flow(
        problem.x, problem.y, starts.a[down], starts.w[down], np.array([1e5]), limit=True, **options
    )
    assert set(ends.reason) <= {EVENT, CERTAIN, CONVERGED}


def test_a_negative_neuron_with_positive_balance_dies_in_finite_time():
    problem = Sample.draw(d=3, n=30, noise=0.0, seed=0)
    w = np.array([[0.3, 0.1, 0.0]])
    flow = sample_flow(problem.x, problem.y, [-1.0], w, np.array([50.0]), **USUAL)
    assert flow.reason[0] == EVENT
    assert flow.time[0] < 50
    assert flow.path[0, -1, 0] == pytest.approx(-np.sqrt(0.9), abs=1e-7)
    assert np.all(flow.path[0, -1, 1:] == 0)


def test_ambiguous_where_a_passes_zero_while_sliding():
    problem, times = Sample.draw(d=3, n=40, noise=0.3, seed=3), np.linspace(0, 20, 401)
    starts = independent_starts(d=3, size=40, seed=5)
    flow, shares, _ = sample_trace(problem.x, problem.y, starts.a[1], starts.w[1], times, **TIGHT)
    a = flow.path[0, :, 0]
    turn = int(np.argmax(a >= 0))
    sliding = (shares > 0) & (shares < 1)
    assert flow.ambiguous[0]
    assert a[0] < 0 <= a[-1]
    assert sliding[turn - 1].sum() == 1
    assert np.all(shares[turn][sliding[turn - 1]] == 0)  # by convention to the inactive side
    assert a[-1] > 0.05
    slow = reference_flow(problem.x, problem.y, starts.a[1], starts.w[1], times)
    assert slow.ambiguous
    assert np.abs(slow.path - flow.path[0]).max() <= 1e-8
    assert flow.reason[0] == END


def test_a_start_with_outer_weight_zero_is_not_at_rest():
    problem, w = Sample.draw(d=3, n=40, noise=0.3, seed=3), np.array([[0.5, 0.5, 0.1]])
    flow = sample_flow(problem.x, problem.y, [0.0], w, np.array([0.0, 1.0, 5.0]), **TIGHT)
    slow = reference_flow(problem.x, problem.y, 0.0, w[0], np.array([0.0, 1.0, 5.0]))
    assert np.abs(flow.path[0] - slow.path).max() <= 1e-8


def test_coinciding_hyperplanes_are_one():
    problem = Sample.draw(d=3, n=20, noise=0.3, seed=5)
    starts, times = independent_starts(d=3, size=40, seed=6), np.linspace(0, 10, 5)
    plain = sample_flow(problem.x, problem.y, starts.a, starts.w, times, **TIGHT)
    # Every row twice leaves the loss as it is.
    twice = sample_flow(np.tile(problem.x, (2, 1)), np.tile(problem.y, 2), starts.a, starts.w, times, **TIGHT)
    assert np.allclose(twice.path, plain.path, rtol=0, atol=1e-9)
    assert np.array_equal(twice.events, plain.events)
    # Parallel rows with other lengths and labels, and opposite ones: the limit of rows that are nearly so.
    x = np.concatenate([problem.x, 1.7 * problem.x[:5], -0.6 * problem.x[3:9]])
    y = np.concatenate([problem.y, problem.y[5:10], problem.y[:6]])
    together = sample_flow(x, y, starts.a, starts.w, times, **TIGHT)
    rng = np.random.default_rng(0)
    nearly = x.copy()
    nearly[20:] += 1e-7 * rng.standard_normal(nearly[20:].shape)
    apart = sample_flow(nearly, y, starts.a, starts.w, times, **TIGHT)
    unique = ~(together.ambiguous | apart.ambiguous)
    assert unique.sum() >= 35
    assert np.median(np.abs(together.path - apart.path).max(axis=(1, 2))[unique]) <= 1e-5


def test_hyperplanes_account_for_every_sample():
    x = np.array([[1.0, 2.0], [2.0, 4.0], [-0.5, -1.0], [0.0, 0.0], [3.0, -1.0]])
    y = np.array([1.0, -2.0, 3.0, 4.0, 5.0])
    planes, group, scale = hyperplanes(x, y)
    assert list(group[[0, 1, 2, 4]]) == [0, 0, 0, 1]
    assert list(scale) == [1, 2, -0.5, 0, 1]
    for w in (np.array([1.0, 0.3]), np.array([-1.0, 0.1])):
        on = planes.x @ w > 0
        A = planes.base + (planes.x * (planes.weight * on)[:, None]).T @ planes.x
        b = planes.pull + (planes.jump * on) @ planes.x
        active = x @ w > 0
        assert np.allclose(A, x[active].T @ x[active])
        assert np.allclose(b, y[active] @ x[active])


def test_labels_and_inputs_that_are_zero_and_data_of_low_rank():
    rng = np.random.default_rng(2)
    plane = rng.normal(size=(2, 4))
    x = np.concatenate([rng.normal(size=(6, 2)) @ plane, np.zeros((2, 4))])
    y = np.where(np.arange(8) % 3 == 0, 0.0, rng.normal(size=8))
    starts = independent_starts(d=4, size=50, seed=3)
    flow = sample_flow(x, y, starts.a, starts.w, np.array([0.0, 30.0]), **USUAL)
    assert not np.any(flow.reason == FAILED)
    # w moves in the plane of the samples alone, until it is dead at 0.
    normal = np.linalg.svd(plane)[2][2:]
    assert np.allclose(flow.path[:, -1, 1:] @ normal.T, starts.w @ normal.T, rtol=0, atol=1e-12)
    limits = sample_flow(x, y, starts.a, starts.w, np.array([1e5]), limit=True, **USUAL)
    assert not np.any(limits.reason == FAILED)


def test_a_start_that_no_sample_activates_is_dead_at_once():
    x = np.abs(np.random.default_rng(0).normal(size=(10, 3)))  # all on one side
    flow = sample_flow(
        x, x[:, 0], [1.0, 1.0], [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], np.array([50.0]), **USUAL
    )
    assert list(flow.reason) == [EVENT, END]
    assert flow.time[0] == 0
    assert np.array_equal(flow.path[0, -1], [1, -1, -1, -1])
    # Linear regression from the other start: noiseless labels are fitted.
    fit = sample_flow(x, x[:, 0], [1.0], [[1.0, 1.0, 1.0]], np.array([1e5]), limit=True, **USUAL)
    assert np.allclose(fit.end[0, 0] * fit.end[0, 1:], [1, 0, 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("degree", [7, 14])
def test_first_root_finds_the_first_and_misses_no_pair(degree):
    rng = np.random.default_rng(degree)
    from numpy.polynomial import polynomial

    def bernstein(power):
        from math import comb

        c = np.append(power, np.zeros(degree + 1 - len(power)))
        return np.array(
            [sum(comb(i, j) / comb(degree, j) * c[j] for j in range(i + 1)) for i in range(degree + 1)]
        )

    compiled = numba.njit(first_root.py_func)
    work = np.empty((2, degree + 1))
    for _ in range(200):
        roots = rng.uniform(0.05, 1.5, size=rng.integers(1, 4))
        power = polynomial.polyfromroots(roots)
        power *= np.sign(power[0])
        first = roots.min() if roots.min() <= 1 else 2.0
        assert compiled(bernstein(power), 1.0, work) == pytest.approx(first, abs=1e-9)
    # A dip of relative depth 1e-6 between two close roots, and one that stays above 0.
    dip = polynomial.polyfromroots([0.5, 0.502])
    assert compiled(bernstein(dip), 1.0, work) == pytest.approx(0.5, abs=1e-9)
    assert compiled(bernstein(dip), 0.4, work) == 2.0
    assert compiled(bernstein(dip + [2e-6, 0, 0]), 1.0, work) == 2.0
