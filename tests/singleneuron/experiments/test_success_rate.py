"""Studies: the counts depend on the seed and the question alone, and agree with theory."""

import errno
import itertools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import singleneuron as sn
from signflow.results import read, write
from signflow.workers import Here
from singleneuron.algorithms import Algorithm
from singleneuron.experiments import counting, grid, runs, success_rate
from singleneuron.experiments.binomial import clopper_pearson, confidence_sequence
from singleneuron.experiments.engine import COUNTS
from singleneuron.experiments.grid import Group
from singleneuron.experiments.runs import draw_starts
from singleneuron.experiments.store import MANIFEST, discard, opened

SMALL = {"d": [2, 10], "runs": 2500, "workers": 1}


class Counting(Here):
    """Counts what it is given, and fails at one of them."""

    def __init__(self, fails_at=None):
        self.submitted, self.fails_at = 0, fails_at

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        if self.submitted == self.fails_at:
            raise RuntimeError("killed")
        return super().submit(fn, *args, **kwargs)


class Backwards(Here):
    """Finishes what it is given in the opposite order."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.waiting.append((future, fn, args))
        if len(self.waiting) == 3:
            for late, work, given in reversed(self.waiting):
                late.set_result(work(*given))
            self.waiting = []
        return future


def _chunks_of(monkeypatch, size):
    monkeypatch.setattr(Group, "chunk", property(lambda group: size))


def test_rates_agree_with_theory_and_nothing_is_left_open():
    study = sn.success_rate(
        d=[2, 10, 1000], algorithms=("imp", "wr", "lrr"), rewind_time=[0.3, 2.0], runs=4000, workers=1
    )
    assert dict(study.sizes) == {"d": 3, "algorithm": 3, "rewind_time": 2}
    error = np.sqrt(study.predicted * (1 - study.predicted) / study.decided)
    assert float(np.abs((study.rate - study.predicted) / error).max()) < 4
    assert int(study.undecided.max()) == 0
    assert bool((study.decided + study.undecided == 4000).all())
    # The regions are nested, and the algorithms share their starts: not only on average.
    imp, wr, lrr = (study.successes.sel(algorithm=name) for name in ("imp", "wr", "lrr"))
    assert bool(((imp < wr) & (wr <= lrr)).all())
    low, high = clopper_pearson(study.successes, study.decided)
    np.testing.assert_array_equal(study.ci_low, low)
    np.testing.assert_array_equal(study.ci_high, high)


@pytest.mark.parametrize(
    "factors",
    [
        {"d": 1, "init": "independent"},
        {"d": 3, "init": "independent", "rtol": 1e-6},
        {"d": 5, "targets": 2, "imp": "rebalance"},
        {"d": 5, "levels": 3, "imp": "rebalance"},
        {"d": 1, "n": 30, "noise": 0.3, "init": "independent", "method": "exact"},
    ],
)
def test_rates_beyond_the_paper(factors):
    study = sn.success_rate(**factors, runs=1500, workers=1, seed=2)
    error = np.sqrt(study.predicted * (1 - study.predicted) / study.decided)
    assert float(np.abs((study.rate - study.predicted) / error).max()) < 4
    assert float((study.undecided / 1500).max()) < 1e-3


def test_counts_do_not_depend_on_chunks_order_executor_or_the_number_of_runs(monkeypatch):
    monkeypatch.setattr(grid, "BLOCK", 1000)
    reference = sn.success_rate(**SMALL)
    _chunks_of(monkeypatch, 417)  # across the blocks, and an odd rest
    xr.testing.assert_identical(sn.success_rate(**SMALL), reference)
    with ThreadPoolExecutor(2) as threads:
        xr.testing.assert_identical(sn.success_rate(**SMALL, executor=threads), reference)
    xr.testing.assert_identical(sn.success_rate(**SMALL, executor=Backwards()), reference)
    halves = [sn.success_rate(**SMALL | {"d": [d]}) for d in (2, 10)]
    np.testing.assert_array_equal(xr.concat(halves, "d").successes, reference.successes)


def test_runs_across_blocks_are_the_same_runs():
    group = Group(
        d=3, n=None, noise=0.0, init="balanced", scale=2.0, learning_rate=None, level_time=np.inf, targets=1,
        levels=1, method="ode", seed=7, training=(),
    )  # fmt: skip
    whole = draw_starts(group, 0, 10_000)
    assert len(np.unique(whole.p)) == 10_000
    for first, last in ((0, 1), (4095, 4097), (5000, 9999), (4096, 8192)):
        part = draw_starts(group, first, last)
        for name in ("a", "p", "q"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[first:last])
    # As likely as any: w_i ~ N(0, 1/d) times the scale, a = +-|w|.
    assert np.mean(whole.p**2) == pytest.approx(4 / 3, rel=0.06)
    assert np.mean(whole.p**2 + whole.q**2) == pytest.approx(4, rel=0.04)
    np.testing.assert_array_equal(np.abs(whole.a), 2 * np.hypot(whole.p / 2, whole.q / 2))


def test_samples_are_drawn_anew_for_every_run(monkeypatch):
    seen = []
    draw = sn.Sample.draw
    monkeypatch.setattr(runs.Sample, "draw", lambda *a: seen.append(draw(*a)) or seen[-1])
    options = {"n": [8], "noise": [0.0, 0.2], "learning_rate": 0.2, "level_time": 2.0, "workers": 1}
    sn.success_rate(d=2, runs=5, **options)
    data = [s for s in seen if s.n == 8]
    assert len(data) == 10
    assert len({s.x.tobytes() for s in data}) == 5  # noise levels share their inputs
    assert len({s.y.tobytes() for s in data}) == 10


def test_points_that_no_run_can_tell_apart_are_counted_once():
    executor = Counting()
    factors = {"d": [3], "noise": [0.0, 0.1], "n": [np.inf, 20], "learning_rate": 0.5}
    study = sn.success_rate(**factors, level_time=5.0, runs=50, executor=executor)
    assert executor.submitted == 3
    quiet, noisy = (study.successes.sel(noise=noise) for noise in (0.0, 0.1))
    np.testing.assert_array_equal(quiet.sel(n=np.inf), noisy.sel(n=np.inf))
    assert dict(study.sizes) == {"d": 1, "n": 2, "noise": 2, "algorithm": 2}
    assert study.init.item() == "balanced"


def test_a_million_dimensions_cost_no_more():
    study = sn.success_rate(d=10**6, runs=500, workers=1)
    assert study.rate.sel(algorithm="lrr").item() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(500))


def test_an_interrupted_study_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    _chunks_of(monkeypatch, 500)
    reference = sn.success_rate(**SMALL)
    submitted = 0
    for fails_at in (3, 4, None):
        executor = Counting(fails_at)
        options = SMALL | {"executor": executor, "directory": tmp_path}
        if fails_at is None:
            xr.testing.assert_identical(sn.success_rate(**options), reference)
        else:
            monkeypatch.setattr(success_rate, "IN_FLIGHT", 1)
            with pytest.raises(RuntimeError, match="killed"):
                sn.success_rate(**options)
            submitted -= 1
        submitted += executor.submitted
    assert submitted == 10
    # More runs later: only those that are new.
    executor = Counting()
    longer = sn.success_rate(**SMALL | {"runs": 3000, "executor": executor, "directory": tmp_path})
    assert executor.submitted == 2
    xr.testing.assert_identical(longer, sn.success_rate(**SMALL | {"runs": 3000}))


def test_a_damaged_chunk_is_said_and_computed_again(tmp_path, monkeypatch, caplog):
    _chunks_of(monkeypatch, 500)
    reference = sn.success_rate(**SMALL, directory=tmp_path)
    chunk = sorted(tmp_path.glob("0000-*.json"))[1]
    text = chunk.read_bytes()
    for damaged in (text[:-3], text.replace(b"0", b"1"), b"", b"\xff\xfe\n"):
        chunk.write_bytes(damaged)
        executor = Counting()
        again = sn.success_rate(**SMALL | {"executor": executor}, directory=tmp_path)
        assert executor.submitted == 1
        assert caplog.messages == [f"the chunk '{chunk}' is damaged; computing it again"]
        caplog.clear()
        xr.testing.assert_identical(again, reference)
        assert chunk.read_bytes() == text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": 1}, "seed"), ({"d": [2]}, "groups"), ({"imp": "rebalance"}, "algorithms"),
        ({"rtol": 1e-6}, "training"),
    ],
)  # fmt: skip
def test_another_study_is_refused(change, what, tmp_path):
    sn.success_rate(**SMALL, directory=tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=rf"another study \(different: (.*, )?{what}\b.*--fresh"):
        sn.success_rate(**SMALL | change, directory=tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def _open(folder, config):
    with opened(folder, config):
        pass


def test_other_sources_and_other_folders_are_refused(tmp_path, monkeypatch):
    _open(tmp_path / "study", {"a": 1})
    monkeypatch.setattr("singleneuron.experiments.store.source_digest", lambda: "other")
    with pytest.raises(ValueError, match="source code"):
        _open(tmp_path / "study", {"a": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("")
    with pytest.raises(ValueError, match=r"folder of chunks, but holds 'letter\.txt'"):
        _open(tmp_path / "mine", {})
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    with pytest.raises(ValueError, match="folder of chunks"):
        _open(tmp_path / "mine/letter.txt", {})


def test_a_folder_of_chunks_belongs_to_one_process(tmp_path):
    folder = tmp_path / "study.nc.chunks"
    holder = rf"process {os.getpid()} on .* is working there"
    with opened(folder, {"a": 1}) as store:
        store.save("0000-000000000000-000000000500", [[1]])
        for use in (lambda: _open(folder, {"a": 1}), lambda: discard(folder)):
            with pytest.raises(ValueError, match=holder) as caught:
                use()
            assert "\n" not in str(caught.value)
        assert store.load("0000-000000000000-000000000500") == [[1]]
    discard(folder)
    assert list(tmp_path.iterdir()) == []


def test_chunks_without_a_manifest_and_strays_are_in_nobodys_way(tmp_path):
    folder = tmp_path / "study.nc.chunks"
    folder.mkdir()
    left = (
        "0000-000000000000-000000000500.json",
        ".0000-000000000000-000000000500-1a2b3c4d.json",
        ".study-1a2b3c4d.json",
        ".DS_Store",
    )
    for name in left:
        (folder / name).write_text("x")
    (folder / ".#study.json").symlink_to("someone@somewhere")
    with opened(folder, {"a": 1}) as store:
        assert store.load(left[0][:-5]) is None
        found = {path.name for path in folder.iterdir()}
        assert found == {".DS_Store", ".#study.json", MANIFEST, "lock"}
    (folder / MANIFEST).unlink()
    (folder / left[0]).write_text("x")
    discard(folder)
    assert {path.name for path in folder.iterdir()} == {".DS_Store", ".#study.json"}


def test_two_studies_stay_apart_where_the_file_system_has_no_locks(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("signflow.locks.fcntl.flock", flock)
    folder = tmp_path / "study"
    with opened(folder, {"a": 1}):
        with pytest.raises(ValueError, match=rf"belong to one process, but .*process {os.getpid()} on"):
            _open(folder, {"a": 1})
        assert len(caplog.messages) == 1
        assert "has no locks (No locks available)" in caplog.messages[0]
    discard(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch):
    _chunks_of(monkeypatch, 500)
    write, room = Path.write_text, itertools.count()

    def limited(path, *arguments):
        if next(room) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", limited)
        with pytest.raises(RuntimeError, match=r"No space left on device.*kept") as caught:
            sn.success_rate(**SMALL, directory=tmp_path)
    assert "\n" not in str(caught.value)
    executor = Counting()
    sn.success_rate(**SMALL | {"executor": executor}, directory=tmp_path)
    assert executor.submitted == 10 - 4


def test_a_disk_that_is_full_from_the_start_keeps_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RuntimeError, match="No space left on device"):
        sn.success_rate(**SMALL, directory=tmp_path / "chunks")
    assert list(tmp_path.iterdir()) == []


def test_a_study_stops_when_its_intervals_are_narrow(monkeypatch):
    _chunks_of(monkeypatch, 200)
    options = {"d": [2, 10], "runs": 10_000, "ci_width": 0.12}
    study = sn.success_rate(**options, workers=1)
    assert float((study.ci_high - study.ci_low).max()) < 0.12
    assert 200 < int(study.decided.max()) < 10_000
    xr.testing.assert_identical(sn.success_rate(**options, executor=Counting()), study)
    fewer = sn.success_rate(**options | {"runs": int(study.decided.max()) - 200}, workers=1)
    assert float((fewer.ci_high - fewer.ci_low).max()) > 0.12


def test_where_a_study_stops_depends_on_no_order():
    group = Group(
        d=2, n=None, noise=0.0, init="balanced", scale=1.0, learning_rate=None, level_time=np.inf, targets=1,
        levels=1, method="ode", seed=0, training=(), algorithms=(Algorithm("lrr"),),
    )  # fmt: skip
    size = group.chunk
    rows = [[[size // 2 + shift, 0, size, 0, 0, 0]] for shift in (3, -5, 7, 11)]
    ends = set()
    for order in itertools.permutations(range(4)):
        counts = counting.GroupCounts(group, 4 * size, 0.03)
        for index in order:
            counts.add(index, rows[index])
        assert counts.closed
        ends.add((counts.runs, counts.done, tuple(counts.total[0])))
    assert len(ends) == 1
    assert next(iter(ends))[0] == 3 * size


def test_progress_counts_runs(monkeypatch):
    _chunks_of(monkeypatch, 500)
    seen = []
    sn.success_rate(**SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 5000)
    assert seen[-1] == (5000, 5000)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d": []}, "d must have one or more distinct values"),
        ({"d": [2, 2]}, "distinct"),
        ({"d": 0}, "d must be"),
        ({"d": [2, 2.5]}, "d must be"),
        ({"algorithms": ()}, "algorithm must have"),
        ({"algorithms": "snip"}, "snip"),
        ({"algorithms": ("wr",)}, "rewind_time"),
        ({"rewind_time": 1.0}, "rewind_time"),
        ({"runs": 0}, "runs"),
        ({"n": 0}, "n must be"),
        ({"n": 1.5}, "n must be"),
        ({"noise": -1}, "noise"),
        ({"noise": [0, 0.1]}, "give their number n"),
        ({"noise": [0.1, "x"]}, "noise"),
        ({"init": "zero"}, "init"),
        ({"scale": 0}, "scale"),
        ({"scale": 1e160}, "scale must be at most 1e\\+100, but is 1e\\+160"),
        ({"algorithms": "lrr", "imp": "rebalance"}, "with 'lrr' only; leave it out"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"level_time": 0}, "level_time"),
        ({"targets": 11}, "targets"),
        ({"levels": 20}, "levels"),
        ({"imp": "lose"}, "imp"),
        ({"seed": -1}, "seed"),
        ({"ci_width": 0}, "ci_width"),
        ({"workers": 0}, "workers"),
        ({"workers": 999_999}, "workers must be an integer from 1 to 1024, but is 999999"),
        ({"method": "euler"}, "method"),
        ({"init": "independent", "method": "exact"}, "exact"),
        ({"rtol": -1.0}, "rtol"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(change, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        sn.success_rate(**{"d": [2, 10]} | change, directory=tmp_path / "chunks")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_counts_add_up():
    assert COUNTS[:4] == ("successes", "trapped", "decided", "undecided")
    # d = 2, unbalanced, to a short end: some converge, none is left out.
    study = sn.success_rate(d=2, init="independent", level_time=3.0, runs=400, workers=1)
    assert bool((study.decided + study.undecided == 400).all())
    assert bool((study.trapped == 0).all())


def test_a_descent_that_diverges_has_failed():
    study = sn.success_rate(5, scale=3.0, learning_rate=[0.01, 2.5], level_time=50.0, runs=200, workers=1)
    assert bool((study.decided == 200).all())
    diverged = study.sel(learning_rate=2.5)
    assert int(diverged.failed.min()) > 100
    assert int(diverged.successes.max()) == 0
    assert int(study.sel(learning_rate=0.01).failed.max()) == 0


SLOW = {"d": 2, "init": "independent", "scale": 1e-30, "runs": 500, "workers": 1}
"""Of these starts, a sixth with a < 0 cannot turn before any time that one could integrate to."""


def test_undecided_runs_bound_the_rate_and_are_told(tmp_path, caplog):
    study = sn.success_rate(**SLOW, algorithms="lrr")
    truth = float(study.predicted)
    assert truth == pytest.approx((2 + np.sqrt(2)) / 4)
    assert int(study.undecided) > 50
    assert float(study.ci_low) < float(study.rate_low) < truth < float(study.rate_high) < float(study.ci_high)
    assert float(study.rate_low) == int(study.successes) / 500
    assert float(study.rate_high) == (int(study.successes) + int(study.undecided)) / 500
    assert np.isnan(float(study.rate))
    (message,) = caplog.messages
    assert "more than 1 % of the runs are undecided at 1 of 1 points" in message
    for name in ("study.nc", "study.csv"):
        write(study.expand_dims("d"), tmp_path / name, config={}, seed=0)
        back = read(tmp_path / name)
        for variable in study.data_vars:
            np.testing.assert_array_equal(back[variable].squeeze(), study[variable])


def test_a_few_undecided_runs_leave_a_rate_between_its_bounds(monkeypatch):
    monkeypatch.setattr(success_rate, "UNDECIDED_SHARE", 0.5)
    study = sn.success_rate(**SLOW, algorithms="lrr")
    assert float(study.rate_low) < float(study.rate) < float(study.rate_high)


def test_undecided_runs_keep_a_study_from_stopping(monkeypatch):
    _chunks_of(monkeypatch, 100)
    options = SLOW | {"algorithms": "lrr", "ci_width": 0.2}
    study = sn.success_rate(**options)
    low, high = (
        confidence_sequence(study.successes, 500)[0],
        confidence_sequence(study.successes + study.undecided, 500)[1],
    )
    assert int(study.decided + study.undecided) == 500
    assert (float(study.ci_low), float(study.ci_high)) == (low, high)
    # Over the decided runs alone it would have stopped.
    over_decided = confidence_sequence(study.successes, study.decided)
    assert over_decided[1] - over_decided[0] < 0.2 < high - low


def test_descent_is_given_no_rate_that_the_slow_runs_are_missing_from():
    study = sn.success_rate(10, learning_rate=0.1, runs=100, workers=1)
    lrr = study.sel(algorithm="lrr")
    assert int(lrr.undecided) > 20  # a < 0: they drift to c < 0, but have not succeeded
    assert float(lrr.ci_low) < 0.6
    assert float(lrr.ci_high) > 0.9
    assert np.isnan(float(lrr.rate))
