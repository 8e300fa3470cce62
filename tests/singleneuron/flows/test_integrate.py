"""`integrate`: every method and problem behind one call."""

import numpy as np
import pytest

from singleneuron.flows.integrate import integrate
from singleneuron.flows.result import CHUNK
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.reduction import reduce
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import Reduced, State, balance
from singleneuron.problem.status import SUCCESS, Status

RTOL = 1e-10


def distance(one, other):
    """Largest difference in (a, p, q) or (a, w), by trajectory."""
    if isinstance(one, State):
        return np.maximum(np.abs(one.a - other.a), np.max(np.abs(one.w - other.w), axis=-1))
    return np.max([np.abs(getattr(one, n) - getattr(other, n)) for n in ("a", "p", "q")], axis=0)


def condition(problem, starts, t):
    """Condition number of the end state in the start, from the closed form by central differences."""
    h, worst = 1e-6, np.zeros(starts.size)

    def end(a, w):
        moved = Reduced(a, w[:, 0], np.linalg.norm(w[:, 1:], axis=1), c=np.zeros(a.size))
        return integrate(problem, moved, t, method="exact").state

    for i in range(starts.d):
        step = h * np.eye(starts.d)[i]
        high, low = starts.w + step, starts.w - step
        norm = [np.sign(starts.a) * np.linalg.norm(w, axis=1) for w in (high, low)]
        worst = np.maximum(worst, distance(end(norm[0], high), end(norm[1], low)) / (2 * h))
    return worst


@pytest.mark.parametrize("kind", ["line", "balanced"])
def test_closed_form_against_ode(kind):
    """One time for a chunk of starts each; within 100 rtol max(1, condition)."""
    rng = np.random.default_rng(5)
    for t in rng.uniform(0, 100, size=10):
        seed = int(1000 * t)
        if kind == "line":
            problem, starts = Population(1), independent_starts(1, 1000, seed=seed)
            grown = [
                integrate(problem, State(starts.a + da, starts.w + dw), t, method="exact").state
                for da, dw in ((1e-7, 0), (-1e-7, 0), (0, 1e-7), (0, -1e-7))
            ]
            kappa = np.maximum(distance(grown[0], grown[1]), distance(grown[2], grown[3])) / 2e-7
        else:
            problem, starts = Population(4), balanced_starts(4, 1000, seed=seed)
            kappa = condition(problem, starts, t)
        exact, ode = (integrate(problem, starts, t, rtol=RTOL, method=m) for m in ("exact", "ode"))
        assert (exact.method, ode.method) == ("exact", "ode")
        assert np.all(distance(exact.state, ode.state) <= 100 * RTOL * np.maximum(1, kappa))
        # Statuses are read off the end state, so ends on the edge of the tolerance may differ.
        assert np.mean(exact.status != ode.status) <= 0.01


def test_the_limit_by_both_methods():
    for d in (1, 3):
        starts = balanced_starts(d, 500, seed=2)
        exact, ode = (integrate(Population(d), starts, np.inf, method=m) for m in ("exact", "ode"))
        succeeds = np.isin(exact.status, (Status.CONVERGED, Status.TRAPPED))
        assert np.array_equal(succeeds, np.isin(ode.status, (Status.CONVERGED, Status.TRAPPED)))
        assert np.all(loss(Population(d), exact.state[succeeds]) < 1e-15)
        assert np.all(loss(Population(d), ode.state[succeeds]) < 1e-5)


def test_paths_have_a_leading_time_axis_and_begin_at_the_start():
    starts, times = independent_starts(3, 40, seed=1), np.array([0.0, 0.0, 1.0, 4.0])
    for options in ({}, {"learning_rate": 0.01}):
        path = integrate(Population(3), starts, t_eval=times, **options).state
        assert path.w.shape == (4, 40, 3)
        assert np.array_equal(path.w[0], starts.w)
        assert np.array_equal(path.a[1], starts.a)
        end = integrate(Population(3), starts, 4.0, **options).state
        assert np.allclose(path.w[-1], end.w, rtol=0, atol=1e-6)


def test_time_says_when_a_trajectory_was_decided():
    starts = independent_starts(3, 200, seed=3)
    result = integrate(Population(3), starts, 200.0, method="ode")
    converged = result.status == Status.CONVERGED
    assert converged.sum() > 50
    for i in np.flatnonzero(converged)[:20]:
        before, after = (
            integrate(Population(3), starts[i : i + 1], result.time[i] * f, method="ode").status[0]
            for f in (1 - 1e-6, 1 + 1e-6)
        )
        assert (before == Status.CONVERGED, after == Status.CONVERGED) == (False, True)
    open_ended = result.status == Status.TRAPPED
    assert np.all(result.time[open_ended] == 200.0)


def test_reduced_and_full_starts_are_one_flow():
    problem, starts = Population(6), independent_starts(6, 100, seed=4)
    # An ulp in the start may move the first step a little: by much less than the tolerance, in the end.
    full = integrate(problem, starts, 5.0, rtol=1e-12)
    reduced = integrate(problem, reduce(problem, starts), 5.0, rtol=1e-12)
    assert np.array_equal(full.status, reduced.status)
    assert np.max(distance(reduce(problem, full.state), reduced.state)) < 1e-13


def test_rotations_about_the_target_commute_with_the_flow():
    problem, starts = Population(5), independent_starts(5, 50, seed=5)
    rotation = np.eye(5)
    rotation[1:, 1:] = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    turned = integrate(problem, State(starts.a, starts.w @ rotation), 3.0).state
    assert np.allclose(turned.w, integrate(problem, starts, 3.0).state.w @ rotation, rtol=0, atol=1e-7)


def test_w_parallel_or_antiparallel_to_v_is_the_problem_with_one_coordinate():
    rng = np.random.default_rng(1)
    a, w1 = rng.normal(size=30), rng.normal(size=30)
    w = np.zeros((30, 4))
    w[:, 0] = w1
    for t in (3.0, np.inf):
        full = integrate(Population(4), State(a, w), t)
        line = integrate(Population(1), State(a, w1[:, None]), t)
        assert np.array_equal(full.status, line.status)
        assert np.array_equal(full.state.w[:, 0], line.state.w[:, 0])
        assert not full.state.w[:, 1:].any()


def test_gradient_descent_tends_to_the_flow_at_first_order():
    starts = independent_starts(3, 40, seed=6)
    for problem in (Population(3), Population(1), Sample.draw(1, 30, 0.2, seed=1)):
        begin = starts if problem.d == 3 else State(starts.a, starts.w[:, :1])
        flow = integrate(problem, begin, 4.0, rtol=1e-11, method="ode").state
        ends = [integrate(problem, begin, 4.0, learning_rate=h) for h in (4e-3, 2e-3, 1e-3)]
        assert all(end.method == "descent" for end in ends)
        errors = [np.median(distance(end.state, flow)) for end in ends]
        assert 1.8 < errors[0] / errors[1] < 2.2
        assert 1.8 < errors[1] / errors[2] < 2.2


def test_descent_claims_nothing_before_it_is_there():
    # A step this long diverges, oscillates, or brings a dead neuron back: none is a success, or a death.
    diverging = integrate(Population(1), State([3.0], [[5.0]]), 10.0, learning_rate=5.0)
    assert diverging.status[0] in (Status.UNDECIDED, Status.FAILED)
    oscillating = integrate(Population(3), State([1.2], [[0.7, 0.2, 0.1]]), np.inf, learning_rate=2.5)
    assert oscillating.status[0] == Status.UNDECIDED
    start = State([-1.0], [[0.6, 0.8]], c=0.0)
    assert integrate(Population(2), start, 50.0, learning_rate=0.3).status[0] == Status.UNDECIDED
    with pytest.raises(ValueError, match="raise the learning rate, or shorten the time"):
        integrate(Population(2), start, 1.0, learning_rate=1e-30)


def test_pruned_weights_stay_at_zero():
    mask = np.array([True, False, True, False])
    starts = independent_starts(4, 60, seed=7)
    kept = integrate(Population(2), State(starts.a, starts.w[:, mask]), 3.0).state
    for options in ({}, {"learning_rate": 1e-4}):
        pruned = integrate(Population(4), starts, 3.0, mask=mask, **options).state
        assert not pruned.w[:, ~mask].any()
        assert np.allclose(pruned.w[:, mask], kept.w, rtol=0, atol=1e-3 if options else 1e-9)


def test_results_do_not_depend_on_the_batch():
    size = CHUNK + 50
    starts, seen = independent_starts(2, size, seed=8), []
    whole = integrate(Population(2), starts, 2.0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(CHUNK, size), (size, size)]
    part = integrate(Population(2), starts[CHUNK - 5 : CHUNK + 5], 2.0)
    assert np.array_equal(part.state.w, whole.state.w[CHUNK - 5 : CHUNK + 5])
    assert np.array_equal(part.status, whole.status[CHUNK - 5 : CHUNK + 5])


def test_known_balance_outweighs_rounding():
    # a = -|w|(1 - ulp): by its floats c < 0, and the flow would escape.
    w = np.array([[0.6, 0.8 + 3e-16]])
    a = -np.linalg.norm(w, axis=1) * (1 - 2e-16)
    assert balance(State(a, w))[0] < 0
    assert integrate(Population(2), State(a, w), np.inf, method="ode").status[0] != Status.DEAD
    assert integrate(Population(2), State(a, w, c=0.0), np.inf, method="ode").status[0] == Status.DEAD


START = State([1.0], [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Population(2), START), {}, "exactly one of t_end"),
        ((Population(2), START, -1.0), {}, "t_end must be a number >= 0"),
        ((Population(2), START, np.nan), {}, "t_end must be a number >= 0, but is nan"),
        (
            (Population(2), START),
            {"t_eval": [2.0, 1.0]},
            "must be one or more times >= 0 that never decrease",
        ),
        ((Population(3), START, 1.0), {}, "w must have d = 3 coordinates, but has 2"),
        ((Population(2), START, 1.0), {"method": "rk4"}, "method must be one of auto, ode, exact"),
        ((Population(2), START, 1.0), {"method": "exact"}, "use 'ode'"),
        ((Population(2), START, 1.0), {"rtol": 0.0}, "rtol must be"),
        ((Population(2), START, 1.0), {"learning_rate": 0.0}, "learning_rate must be a finite number > 0"),
        ((Population(2), START, 1.0), {"label_noise": 0.1}, "give a learning_rate too"),
        (
            (Population(2), START, 1.0),
            {"label_noise": 0.1, "learning_rate": 0.1},
            "the population averages label_noise away",
        ),
        ((Population(2), START, 1.0), {"mask": [False, False]}, "at least one coordinate"),
        ((Population(2), START, 1.0), {"mask": [1, 0]}, "mask must be a boolean array"),
        (
            (Population(2), Reduced([1.0], [1.0], [1.0]), 1.0),
            {"mask": [True, False]},
            "pass starts as State, not as Reduced",
        ),
        (
            (Population(2), START, np.inf),
            {"learning_rate": 1e-9},
            "2e\\+12 steps to reach t = 2000, but at most",
        ),
        ((Sample.draw(2, 5), Reduced([1.0], [1.0], [1.0]), 1.0), {}, "samples need full states"),
        (("population", START, 1.0), {}, "must be a Population or a Sample"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, options, message):
    with pytest.raises(ValueError, match=message) as error:
        integrate(*arguments, **options)
    assert "\n" not in str(error.value)


def test_noiseless_samples_hold_a_neuron_on_the_silent_side():
    # c < 0 near -v, where every active label is 0: a -> 0 with w at rest is the limit, and certain.
    problem = Sample.draw(d=2, n=30, noise=0.0, seed=0)
    starts = State([-0.5, -1.0], [[-1.5, 0.1], [0.3, 0.2]])
    end = integrate(problem, starts, np.inf, method="ode")
    assert np.array_equal(end.status, [Status.DEAD, Status.DEAD])
    assert end.state.a[0] == 0
    assert np.allclose(end.state.w[0] @ end.state.w[0], 1.5**2 + 0.1**2 - 0.5**2, rtol=1e-6)


def test_samples_of_low_rank_duplicated_or_all_on_one_side():
    rng, starts = np.random.default_rng(0), independent_starts(4, 60, seed=1)
    # Fewer samples than coordinates: many solutions, and each run ends at one of them or elsewhere for good.
    few = Sample(rng.normal(size=(3, 4)), np.array([1.0, -0.5, 0.3]))
    end = integrate(few, starts, np.inf)
    assert set(end.status) == {Status.CONVERGED, Status.DEAD, Status.STUCK}

    # All on one side: linear regression from where it is active, death at once from where it is not.
    x = np.abs(rng.normal(size=(12, 4)))
    one_side = Sample(x, x[:, 0])
    end = integrate(one_side, starts, np.inf)
    inactive = ~np.any(starts.w @ x.T > 0, axis=1)
    assert inactive.sum() >= 3
    assert np.all(end.status[inactive] == Status.DEAD)
    assert np.all(end.time[inactive] == 0)
    fitted = end.status == Status.CONVERGED
    assert fitted.sum() >= 30
    assert np.allclose((end.state.a[:, None] * end.state.w)[fitted], [1, 0, 0, 0], rtol=0, atol=1e-12)

    # Every row twice is the same loss.
    twice = integrate(Sample(np.tile(x, (2, 1)), np.tile(x[:, 0], 2)), starts, np.inf)
    assert np.array_equal(twice.status, end.status)
    assert np.allclose(twice.state.w, end.state.w, rtol=0, atol=1e-8)


def test_a_label_that_is_not_a_number_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^y must be finite, but y\[1\] is nan; remove that entry$"):
        Sample(np.eye(2), [1.0, np.nan])


@pytest.mark.parametrize("rtol", [1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12])
@pytest.mark.parametrize("t_end", [60.0, np.inf])
def test_a_sample_on_its_plane_is_not_active(rtol, t_end):
    # The flow ends on the plane of the only active sample, where the output is 0 on both.
    problem = Sample([[0.3, 0.9], [-1.0, 0.1]], [-0.7, 0.5])
    end = integrate(problem, State([1.5], [[0.61, 0.17]]), t_end, rtol=rtol)
    assert end.status[0] == Status.DEAD
    assert loss(problem, end.state)[0] == pytest.approx(0.185, abs=1e-6)


def test_descent_converges_to_a_minimum_on_a_kink():
    problem = Sample.draw(3, 20, 0.5, seed=1)
    start = State([0.92858], [[0.34803, -0.724816, 0.464519]])
    flow = integrate(problem, start, 200.0)
    assert flow.status[0] == Status.CONVERGED
    for rate in (1e-2, 1e-3):
        descent = integrate(problem, start, 200.0, learning_rate=rate)
        assert descent.status[0] == Status.CONVERGED
        assert np.abs(descent.state.w - flow.state.w).max() <= rate


def test_small_starts_are_followed_beside_their_own_size():
    tiny = State([1e-200], [[1e-200]], c=0.0)
    exact = integrate(Population(1), tiny, np.inf, method="exact")
    ode = integrate(Population(1), tiny, np.inf, method="ode")
    assert (exact.status[0], ode.status[0]) == (Status.CONVERGED, Status.CONVERGED)
    assert ode.time[0] == pytest.approx(400 * np.log(10) + np.log(999), rel=1e-5)  # u' = u (1 - u)
    for scale, t in ((1e-12, 62.0), (1e-50, 260.0)):
        starts = balanced_starts(1, 400, seed=3, scale=scale)
        exact, ode = (integrate(Population(1), starts, t, method=method) for method in ("exact", "ode"))
        assert np.array_equal(exact.status, ode.status)
        assert np.all(distance(exact.state, ode.state) <= 1e-6)
        assert np.sum(ode.status == Status.CONVERGED) >= 20


def test_a_target_smaller_than_the_tolerance_is_reached_across_the_line():
    problem = Sample([[1.0], [-1.0]], [5e-4, -1.0])
    for method in ("ode", "exact"):
        end = integrate(problem, State([1.0], [[-0.5]]), np.inf, method=method)
        assert end.status[0] == Status.CONVERGED
        assert end.state.w[0, 0] > 0


def test_what_descent_creeps_through_is_not_stuck():
    # The balanced neuron shrinks like 1/sqrt(t) on labels 0, and learns at about t = 3,100.
    problem = Sample([[1.0, 0.0], [-1.0, 0.5], [-1.0, -0.5]], [1.0, 0.0, 0.0])
    start = State([np.hypot(1, 0.1)], [[-1.0, 0.1]])
    assert integrate(problem, start, 2000.0, learning_rate=0.1).status[0] == Status.UNDECIDED


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("learning_rate", [None, 0.05])
def test_a_neuron_whose_active_labels_are_0_learns_nothing(side, learning_rate):
    """Its output tends to 0: with c < 0 by a -> 0, whose last sign is rounding."""
    problem = Sample([[1.0, 0.1], [0.8, -0.2], [-1.0, 0.5], [-1.0, -0.5]], [0.0, 0.0, 1.0, 1.0])
    start = State([0.4 * side], [[0.6, 0.1]])
    for t_end in (200.0, 300.0, 1000.0, 3000.0, np.inf):
        end = integrate(problem, start, t_end, learning_rate=learning_rate)
        assert end.status[0] == Status.DEAD
        assert loss(problem, end.state)[0] == pytest.approx(np.mean(problem.y**2) / 2)


@pytest.mark.parametrize("a", [1.5, 0.6, 0.4, -0.4])
@pytest.mark.parametrize("method", ["ode", "exact"])
def test_one_coordinate_whose_active_labels_are_0_learns_nothing(a, method):
    problem = Sample([[1.0], [0.8], [-1.0]], [0.0, 0.0, 1.0])
    for t_end in (1.0, 10.0, 100.0, np.inf):
        assert integrate(problem, State([a], [[0.6]]), t_end, method=method).status[0] == Status.STUCK


TIMES_OF_FATE = (20.0, 30.0, 60.0, 200.0, 1000.0, np.inf)


@pytest.mark.parametrize(("label", "w"), [(1.0, (-1.0, 0.5)), (2.0, (-1.0, 0.5)), (2.0, (-0.5, 1e-3))])
def test_a_hyperplane_that_the_flow_only_tends_to_is_never_crossed(label, w):
    """Sample 2 alone is active, label 0: w_1 < 0 decays, and integration errors must not carry it across."""
    problem = Sample([[1.0, 0.0], [-1.0, 0.0]], [label, 0.0])
    for t_end in TIMES_OF_FATE:
        end = integrate(problem, State([2.0], [w]), t_end)
        assert end.status[0] == Status.DEAD
        assert -0.01 < end.state.w[0, 0] <= 0
        assert end.state.w[0, 1] == pytest.approx(w[1])
        assert end.state.a[0] == pytest.approx(np.sqrt(4 - w[0] ** 2), abs=1e-6)


def test_a_feature_that_is_always_0_changes_no_fate():
    """Noise-free labels are 0 wherever x < 0; the same data in one coordinate tell the outcome."""
    for seed in (12, 24, 33):
        line = Sample.draw(1, 8, seed=seed)
        plane = Sample(np.column_stack([line.x[:, 0], np.zeros(8)]), line.y)
        rng = np.random.default_rng(seed)
        a, w = rng.uniform(0.2, 2.0, 10), rng.uniform(-1.0, 1.0, (10, 2))
        one = integrate(line, State(a, w[:, :1], c=a**2 - w[:, 0] ** 2), np.inf, method="ode")
        two = integrate(plane, State(a, w), np.inf)
        assert np.array_equal(np.isin(one.status, SUCCESS), np.isin(two.status, SUCCESS))


@pytest.mark.parametrize(
    ("x", "y", "a", "w"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0], 1.0, (0.5, 0.0)),
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, -1.0], 1.0, (0.5, 0.2)),
        (
            [[1.0, 1.0], [1.0, -1.0]],
            [0.0, -1.0],
            1.5344355707933535,
            (0.9854303995570634, -0.8835250463911076),
        ),
    ],
)
def test_a_path_within_a_hyperplane_fades_for_ever(x, y, a, w):
    for t_end in TIMES_OF_FATE[1:]:
        assert integrate(Sample(x, y), State([a], [w]), t_end).status[0] == Status.DEAD


def test_a_neuron_that_slowly_fades_has_its_limit():
    """c < 0, and part of w is never acted on, so that a does not reach 0."""
    problem = Sample([[-0.0906, 0.0147], [0.1813, -0.0295]], [0.0, -0.46])
    start = State([-0.2095], [[0.033, 1.0642]])
    late, limit = (integrate(problem, start, t_end) for t_end in (1e5, np.inf))
    assert (late.status[0], limit.status[0]) == (Status.DEAD, Status.DEAD)
    assert limit.state.a[0] == pytest.approx(late.state.a[0], abs=1e-4)
    np.testing.assert_allclose(limit.state.w, late.state.w, atol=1e-4)
    assert balance(limit.state)[0] == pytest.approx(balance(start)[0], rel=1e-9)


def test_a_limit_on_the_edge_of_the_targets_side_is_no_success():
    problem = Sample(
        [[-1.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, -2.0, 2.0], [-2.0, 2.0, -1.0]], [-0.5, 0.5, 1.0, 1.0]
    )
    start = State([0.5298131763546896], [[-0.6966625502401537, 0.040710937787331765, -0.37343891940053686]])
    for t_end in TIMES_OF_FATE[1:]:
        assert integrate(problem, start, t_end).status[0] == Status.STUCK


def test_time_of_descent_on_samples_is_that_of_the_tolerance_asked_for():
    problem, start = Sample.draw(2, 50, 0.1, seed=0), State([1.0], [[0.5, 0.5]])
    path = integrate(problem, start, t_eval=0.1 * np.arange(400), learning_rate=0.1).state
    da, dw = gradient(problem, path)
    size = np.sqrt(da[:, 0] ** 2 + np.sum(dw[:, 0] ** 2, axis=-1))
    for tolerance in (1e-1, 1e-3, 1e-6):
        end = integrate(problem, start, 39.9, learning_rate=0.1, tolerance=tolerance)
        since = 0.1 * (1 + np.flatnonzero(size > tolerance)[-1])
        assert end.time[0] == pytest.approx(since)
    # In the limit it goes on to a thousandth of the tolerance.
    limit = integrate(problem, start, np.inf, learning_rate=0.1, tolerance=1e-3)
    assert limit.time[0] == integrate(problem, start, 39.9, learning_rate=0.1, tolerance=1e-3).time[0]
    da, dw = gradient(problem, limit.state)
    assert np.hypot(da[0], np.linalg.norm(dw[0])) <= 1e-6


def test_times_are_those_that_descent_reached():
    start = State([1.0], [[0.5, 0.5]])
    for problem in (Population(2), Sample.draw(2, 20, 0.1)):
        assert list(integrate(problem, start, 30.0, learning_rate=40.0).times) == [40.0]
        times = integrate(problem, start, t_eval=[0.0, 0.16, 1.0], learning_rate=0.1).times
        assert np.allclose(times, [0.0, 0.2, 1.0])
        assert list(integrate(problem, start, t_eval=[0.0, 0.16, 1.0]).times) == [0.0, 0.16, 1.0]
        assert list(integrate(problem, start, np.inf).times) == [np.inf]


def test_a_balance_that_contradicts_the_weights_is_refused():
    for starts in (
        State([1.0, 1.0], [[0.5, 0.5]] * 2, c=[0.5, 0.0]),
        Reduced([1.0, 1.0], [0.5] * 2, [0.5] * 2, c=[0.5, 0]),
    ):
        with pytest.raises(
            ValueError, match=r"c\[1\] is 0 while a and w give 0.5; correct it, or leave"
        ) as error:
            integrate(Population(2), starts, 1.0)
        assert "\n" not in str(error.value)
    # Descent conserves no c, so none is known of its end: the next level takes that of a and w.
    start = State([1.0], [[0.6, 0.8]], c=0.0)
    assert integrate(Population(2), start, 5.0, learning_rate=0.5).state.c is None
    assert integrate(Population(2), start, 5.0).state.c[0] == 0


def test_the_end_of_a_flow_is_a_start_again_though_its_balance_has_drifted():
    """A study prunes what a dead neuron with c = 0 ends in: w = 0, and an a of about 1e-12."""
    problem = Sample.draw(2, 10, 0.5, seed=0)
    end = integrate(problem, State([1e-12], [[0.0, 0.0]], c=0.0), 10.0)
    assert end.status[0] == Status.DEAD
    with pytest.raises(ValueError, match="correct it, or leave"):
        integrate(problem, State([1.0], [[1.0, 1.0]], c=1.0), 10.0)


def test_a_stiff_sample_flow_ends_after_its_budget_of_steps():
    problem = Sample.draw(2, 10, 0.5, seed=1)
    end = integrate(Sample(1e4 * problem.x, problem.y), independent_starts(2, 9, seed=1)[1:2], np.inf)
    assert end.status[0] == Status.FAILED
    assert 0.1 < end.time[0] < 0.3  # where 200,000 steps end
