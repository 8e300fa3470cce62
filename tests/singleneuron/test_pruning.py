"""IMP, WR and LRR against theory's predictions, and their relations to each other."""

from itertools import pairwise

import numpy as np
import pytest

from singleneuron.algorithms import ALGORITHMS, Algorithm, level_counts
from singleneuron.flows.integrate import integrate
from singleneuron.formulas.regions import line_success, predicted
from singleneuron.problem.line import Line
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.reduction import reduce
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State
from singleneuron.problem.status import Status
from singleneuron.pruning import prune, rebalanced, smallest_pruned

VARIANTS = [("lrr", {}), ("imp", {}), ("imp", {"imp": "rebalance"}), ("wr", {"rewind_time": 0.7})]


def test_level_counts_are_geometric_and_always_fall():
    assert level_counts(1000, 1, 3) == (1000, 100, 10, 1)
    assert level_counts(10, 1, 1) == (10, 1)
    assert level_counts(6, 2, 4) == (6, 5, 4, 3, 2)
    assert level_counts(4, 4, 1) == (4,)
    for d in (2, 7, 40):
        for levels in range(1, d):
            counts = level_counts(d, 1, levels)
            assert (len(counts), counts[0], counts[-1]) == (levels + 1, d, 1)
            assert all(np.diff(counts) < 0)
    with pytest.raises(ValueError, match="levels must be <= d - targets = 2"):
        level_counts(3, 1, 3)


def test_the_smallest_are_pruned_and_the_lower_index_wins_a_tie():
    w = np.array([[3.0, -5.0, 5.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    everything = np.ones((3, 4), dtype=bool)
    assert np.array_equal(np.flatnonzero(smallest_pruned(w, everything, 1)[0]), [1])
    kept = smallest_pruned(w, everything, 2)
    assert np.array_equal(kept, [[0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]])
    masked = np.array([[True, False, True, True]] * 3)
    again = smallest_pruned(w, masked, 2)
    assert np.array_equal(again, [[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]])


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS)
@pytest.mark.parametrize(("d", "targets"), [(1, 1), (2, 1), (10, 1), (6, 2)])
def test_balanced_starts_end_as_predicted(algorithm, options, d, targets):
    problem, starts = Population(d, targets), balanced_starts(d, 1500, seed=d)
    run = prune(problem, starts, algorithm=algorithm, method="ode", **options)
    expected = predicted(problem, starts, algorithm, **options)
    if algorithm == "wr" and targets > 1:
        assert np.isnan(expected).all()
        return
    assert np.array_equal(run.success, expected)


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS[:3])
@pytest.mark.parametrize(("d", "targets"), [(1, 1), (3, 1), (10, 1), (4, 2)])
def test_independent_starts_end_as_predicted(algorithm, options, d, targets):
    problem, starts = Population(d, targets), independent_starts(d, 1500, seed=d)
    run = prune(problem, starts, algorithm=algorithm, **options)
    decided = ~np.isnan(run.success)
    assert np.mean(decided) > 0.99
    expected = predicted(problem, starts, algorithm, **options)
    assert np.array_equal(run.success[decided], expected[decided])
    assert np.all(run.mask[decided].sum(axis=1) == targets)
    assert np.all(run.mask[decided, :targets])


def test_wr_at_any_balance_is_decided_by_the_state_at_the_rewind_time():
    problem, starts = Population(5), independent_starts(5, 800, seed=9)
    for t in (0.3, 2.0):
        rewound = integrate(problem, starts, t).state
        run = prune(problem, starts, algorithm="wr", rewind_time=t)
        decided = ~np.isnan(run.success)
        expected = line_success(rewound.a, rewound.w[:, 0])
        assert np.array_equal(run.success[decided], expected[decided].astype(float))


def test_imp_wr_and_lrr_are_nested():
    problem, starts = Population(6), balanced_starts(6, 1000, seed=1)
    runs = [prune(problem, starts, algorithm="imp").success]
    runs += [
        prune(problem, starts, algorithm="wr", rewind_time=t, method="ode").success
        for t in (0.0, 0.5, 2.0, 8.0)
    ]
    runs += [prune(problem, starts, algorithm="lrr").success]
    assert np.array_equal(runs[0], runs[1])
    for fewer, more in pairwise(runs):
        assert np.all(fewer <= more)
    assert runs[0].sum() < runs[2].sum() < runs[-1].sum()


@pytest.mark.parametrize("algorithm", ["imp", "lrr"])
def test_the_number_of_prunings_does_not_matter_in_the_limit(algorithm):
    problem, starts = Population(9), independent_starts(9, 400, seed=2)
    one, many = (prune(problem, starts, algorithm=algorithm, levels=n) for n in (1, 5))
    both = ~np.isnan(one.success) & ~np.isnan(many.success)
    assert both.mean() > 0.98
    assert np.array_equal(one.success[both], many.success[both])
    assert many.loss.shape == (400, 6)
    assert many.w.shape == (400, 6, 9)
    assert np.array_equal(np.count_nonzero(many.w[0], axis=1), many.counts)


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS)
def test_reduced_starts_give_the_same_runs(algorithm, options):
    for starts in (balanced_starts(7, 500, seed=3), independent_starts(7, 500, seed=3)):
        problem = Population(7)
        full = prune(problem, starts, algorithm=algorithm, method="ode", **options)
        less = prune(problem, reduce(problem, starts), algorithm=algorithm, method="ode", **options)
        assert np.array_equal(full.success, less.success, equal_nan=True)


def test_a_finite_level_succeeds_if_it_ends_within_tolerance():
    problem, starts = Population(6, 2), balanced_starts(6, 4000, seed=4)
    rates = {
        "imp": prune(problem, starts, algorithm="imp", level_time=20.0).success.mean(),
        "rebalance": prune(problem, starts, algorithm="imp", imp="rebalance", level_time=20.0).success.mean(),
        "lrr": prune(problem, starts, algorithm="lrr", level_time=20.0).success.mean(),
    }
    # The gap in time between IMP and LRR for two targets; standard error 0.008.
    for name, rate in {"imp": 0.495, "rebalance": 0.388, "lrr": 0.53}.items():
        assert abs(rates[name] - rate) < 0.06, name
    assert rates["rebalance"] < rates["imp"] < rates["lrr"]
    run = prune(problem, starts, algorithm="lrr", level_time=20.0)
    assert np.array_equal(run.success == 1, run.status == Status.CONVERGED)


def test_lrr_goes_on_from_where_a_finite_level_ended():
    problem, starts, t = Population(4), balanced_starts(4, 300, seed=8), 1.5
    run = prune(problem, starts, algorithm="lrr", level_time=t, method="ode")
    dense = integrate(problem, starts, t, method="ode").state
    last = integrate(problem, dense, t, method="ode", mask=run.mask)
    assert np.array_equal(run.w[:, 0], dense.w)
    assert np.array_equal(run.w[:, 1], last.state.w)
    assert np.array_equal(run.success == 1, last.status == Status.CONVERGED)
    assert run.success.sum() < 10  # so soon hardly any is within tolerance


def test_dense_level_may_be_shared():
    problem, starts = Population(4), independent_starts(4, 200, seed=5)
    dense = integrate(problem, starts, np.inf)
    for algorithm in ("imp", "lrr"):
        alone, shared = (prune(problem, starts, algorithm=algorithm, dense=given) for given in (None, dense))
        assert np.array_equal(alone.loss, shared.loss)
        assert np.array_equal(alone.success, shared.success, equal_nan=True)


def test_loss_by_level_is_that_of_the_weights_by_level():
    problem, starts = Population(5), balanced_starts(5, 50, seed=6)
    run = prune(problem, starts, algorithm="imp", levels=2)
    for level in range(3):
        state = State(run.a[:, level], run.w[:, level])
        assert np.allclose(run.loss[:, level], loss(problem, state), rtol=0, atol=1e-15)


def test_label_noise_opens_the_wedge_for_imp():
    # With s_neg > 0 the last level of IMP succeeds from w_1 < 0 too; with s_neg <= 0 it does not.
    rates = {}
    for seed in range(6):
        data = Sample.draw(1, 400, noise=0.5, seed=seed)
        line = Line(*(value[0] for value in data.statistics))
        starts = independent_starts(1, 2000, seed=10 + seed)
        run = prune(data, starts, algorithm="imp", method="ode")
        assert np.array_equal(run.success, line_success(starts.a, starts.w[:, 0], line).astype(float))
        rates.setdefault(bool(line.s_neg > 0), []).append(run.success.mean())
    assert set(rates) == {True, False}
    # Wedges of a and w independent: 3/8, and another 1/8 where s_neg > 0.
    assert np.allclose(rates[False], 3 / 8, atol=0.05)
    assert np.allclose(rates[True], 1 / 2, atol=0.05)


@pytest.mark.slow
def test_label_noise_rescues_imp_at_the_measured_rates():
    # 2,000 data draws; the dense level to its limit, the last one to t = 20 (success: w > 0) or to its limit.
    starts, methods = balanced_starts(10, 2000, seed=12), ("ode", "exact")
    upright, succeeds = ({method: np.empty(2000) for method in methods} for _ in range(2))
    for draw in range(2000):
        data, start = Sample.draw(10, 1000, noise=0.1, seed=draw), starts[draw : draw + 1]
        dense = integrate(data, start, np.inf)
        for method in methods:
            run = prune(data, start, algorithm="imp", dense=dense, level_time=20.0, method=method)
            upright[method][draw] = run.w[0, -1, 0] > 0
            run = prune(data, start, algorithm="imp", dense=dense, method=method)
            succeeds[method][draw] = run.success[0]
    assert np.array_equal(upright["ode"], upright["exact"])
    assert np.array_equal(succeeds["ode"], succeeds["exact"])  # and none is NaN
    assert np.mean(upright["ode"]) == pytest.approx(0.362, abs=0.03)
    assert np.mean(succeeds["ode"]) == pytest.approx(0.375, abs=0.03)


def test_rebalancing_is_exact_on_one_coordinate():
    starts = independent_starts(3, 100, seed=7)
    mask = np.zeros((100, 3), dtype=bool)
    mask[:, 0] = True
    again = rebalanced(starts, mask)
    assert np.array_equal(np.abs(again.a), np.abs(again.w[:, 0]))
    assert np.array_equal(np.sign(again.a), np.sign(starts.a))
    assert not again.c.any()


START = State([1.0], [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "lth"}, "algorithm must be one of imp, wr, lrr, but is 'lth'"),
        ({"algorithm": "wr"}, "needs a rewind_time"),
        ({"algorithm": "wr", "rewind_time": -1.0}, "rewind_time must be a finite number >= 0"),
        ({"imp": "drop"}, "imp must be one of keep, rebalance"),
        ({"levels": 0}, "levels must be an integer >= 1"),
        ({"levels": 2}, "levels must be <= d - targets = 1"),
        ({"level_time": 0.0}, "level_time must be a number > 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message):
        prune(Population(2), START, **options)


def test_reduced_starts_say_what_they_cannot_do():
    with pytest.raises(ValueError, match="pass full states"):
        prune(Population(6, 2), balanced_starts(6, 3, reduced=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"algorithm": "imp", "rewind_time": 3.0},
            "rewind_time only applies to 'wr', got 3.0 for 'imp'; leave it out",
        ),
        (
            {"algorithm": "lrr", "rewind_time": 3.0},
            "rewind_time only applies to 'wr', got 3.0 for 'lrr'; leave it out",
        ),
        (
            {"algorithm": "lrr", "imp": "rebalance"},
            "imp only applies to 'imp' and 'wr', got 'rebalance' for 'lrr'",
        ),
        ({"algorithm": "wr", "rewind_time": 3.0, "level_time": 2.0}, "rewind_time must be <= level_time = 2"),
        (
            {"learning_rate": 40.0, "level_time": 30.0},
            "level_time must be near a multiple of the learning rate 40",
        ),
        (
            {"algorithm": "wr", "rewind_time": 0.3, "level_time": 3.0, "learning_rate": 0.5},
            "rewind_time must be near a multiple of the learning rate 0.5, but is 0.3; 0.5 is the nearest",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        prune(Population(3), balanced_starts(3, 2), **options)
    assert "\n" not in str(error.value)


def test_several_algorithms_share_options_of_which_each_takes_its_own():
    shared = {"imp": "rebalance", "rewind_time": 3.0}
    assert Algorithm.fitting("imp", **shared) == Algorithm("imp", None, "rebalance")
    assert Algorithm.fitting("wr", **shared) == Algorithm("wr", 3.0, "rebalance")
    assert Algorithm.fitting("lrr", **shared) == Algorithm("lrr")


def test_an_algorithm_says_by_itself_what_a_level_starts_from():
    assert [Algorithm.fitting(name, rewind_time=3.0).rewinds_to for name in ALGORITHMS] == [0.0, 3.0, None]
    assert [Algorithm.fitting(name, rewind_time=3.0).source("rewound", "trained") for name in ALGORITHMS] == [
        "rewound", "rewound", "trained",
    ]  # fmt: skip
    problem, starts = Population(5), balanced_starts(5, 50, seed=2)
    for algorithm in (Algorithm("wr", 0.7, "rebalance"), Algorithm("lrr")):
        told = {"rewind_time": algorithm.rewind_time, "imp": algorithm.imp}
        one = prune(problem, starts, algorithm=algorithm, levels=2, method="ode")
        other = prune(problem, starts, algorithm=algorithm.name, levels=2, method="ode", **told)
        assert np.array_equal(one.a, other.a)
        assert np.array_equal(one.w, other.w)


@pytest.mark.parametrize(("given", "levels"), [(False, 3), (True, 2)])
def test_progress_counts_every_level_that_is_trained(given, levels):
    problem, starts, seen = Population(5), balanced_starts(5, 20, 1), []
    dense = integrate(problem, starts, np.inf) if given else None
    prune(problem, starts, levels=2, dense=dense, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (20 * levels, 20 * levels)
    assert seen == sorted(seen)


def test_an_algorithm_has_its_options_already():
    with pytest.raises(ValueError, match="must be set in the Algorithm"):
        prune(Population(3), balanced_starts(3, 2, 1), algorithm=Algorithm("imp"), imp="rebalance")
