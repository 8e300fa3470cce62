"""Maps and studies of a problem that the user brings."""

import json

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.experiments import counting
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.runs import draw_starts
from singleneuron.experiments.settings import MapSettings, StudySettings
from singleneuron.problem.seeds import key_of
from singleneuron.problem.starts import INITS

DATA = sn.Sample.draw(d=3, n=40, noise=0.2, seed=5)
OWN = sn.Sample(x=DATA.x, y=DATA.y)


def test_a_map_of_own_samples_is_the_map_of_the_same_samples_drawn():
    own = sn.success_map(problem=OWN, resolution=6)
    drawn = sn.success_map(3, n=40, noise=0.2, seed=5, resolution=6)
    for name in drawn.data_vars:
        np.testing.assert_array_equal(own[name], drawn[name])
    config = json.loads(own.attrs["config"])
    assert (config["d"], config["n"]) == (3, 40)
    assert config["problem"]["n"] == 40
    assert "problem" not in json.loads(drawn.attrs["config"])


def test_every_run_of_a_study_trains_on_the_own_samples():
    runs = 12
    data = sn.success_rate(problem=OWN, algorithms=("imp", "lrr"), runs=runs, seed=2, workers=1)
    assert data.n.item() == 40
    assert bool(data.predicted.isnull().all())
    starts = draw_starts(StudySettings(problem=OWN, seed=2).grid.groups[0], 0, runs)
    for algorithm in ("imp", "lrr"):
        ends = sn.prune(OWN, starts, algorithm=algorithm, method="ode")
        assert data.successes.sel(algorithm=algorithm).item() == int(np.nansum(ends.success))


def test_an_own_population_is_the_default_one():
    own = sn.success_rate(problem=sn.Population(4, targets=2), runs=30, workers=1)
    default = sn.success_rate(4, targets=2, runs=30, workers=1)
    for name in default.data_vars:
        np.testing.assert_array_equal(own[name], default[name])


def test_workers_get_the_problem_too_and_count_the_same():
    counts = [sn.success_rate(problem=OWN, runs=70, workers=workers).successes.values for workers in (1, 2)]
    np.testing.assert_array_equal(*counts)


def test_chunks_of_other_data_are_not_taken(tmp_path, monkeypatch):
    folder = tmp_path / "chunks"
    sn.success_rate(problem=OWN, runs=5, workers=1, directory=folder)
    other = sn.Sample(x=DATA.x, y=2 * DATA.y)
    with pytest.raises(ValueError, match=r"chunks of another study \(different: problem\)"):
        sn.success_rate(problem=other, runs=5, workers=1, directory=folder)
    monkeypatch.setattr(counting, "count_runs", lambda *_: pytest.fail("counted again"))
    sn.success_rate(problem=sn.Sample(x=DATA.x, y=DATA.y), runs=5, workers=1, directory=folder)


@pytest.mark.parametrize("record", [MapSettings, StudySettings])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "d must be given, but is missing; give d, or a problem"),
        ({"problem": "mine"}, "problem must be a Population or a Sample, but is 'mine'"),
        ({"problem": OWN, "d": 4}, "d belongs to the problem; leave out d = 4"),
        ({"problem": OWN, "n": 41}, "n belongs to the problem; leave out n = 41"),
        ({"problem": OWN, "noise": 0.2}, "noise belongs to the problem; leave out noise = 0.2"),
        ({"problem": OWN, "targets": 2}, "targets belongs to the problem; leave out targets = 2"),
        ({"problem": sn.Population(3), "n": 5}, "n belongs to the problem; leave out n = 5"),
    ],
)
def test_a_problem_states_its_own_sizes(record, arguments, message):
    with pytest.raises(ValueError, match=message):
        record(**arguments)


def test_sizes_that_agree_with_the_problem_are_accepted():
    assert MapSettings(problem=OWN, d=3, n=40).d == 3
    study = StudySettings(problem=OWN, d=[3], algorithms="imp")
    assert study.grid.dims == ["d"]
    assert configuration_of(study)["d"] == (3,)
    assert MapSettings(problem=sn.Population(4, targets=2)).targets == 2


V = (0.6, 0.0, -0.8)


def test_a_map_and_a_study_take_a_target():
    one = sn.success_map(3, v=V, resolution=6)
    other = sn.success_map(problem=sn.Population(3, v=V), resolution=6)
    np.testing.assert_array_equal(one.success, other.success)
    off = one.success.notnull() & one.predicted.notnull()
    assert bool(off.all())
    np.testing.assert_array_equal(one.success, one.predicted)
    assert 0 < one.success.mean() < 1
    config = json.loads(one.attrs["config"])
    assert config["v"] == pytest.approx(V, abs=1e-15)
    assert config["targets"] == 2
    drawn = sn.success_map(3, v=V, n=40, noise=0.1, seed=2, resolution=4)
    own = sn.success_map(problem=sn.Sample.draw(3, 40, 0.1, 2, v=V), resolution=4)
    np.testing.assert_array_equal(drawn.success, own.success)


def test_a_study_draws_the_data_of_a_target():
    arguments = {"v": V, "n": 60, "noise": 0.1, "runs": 8, "seed": 4, "workers": 1}
    data = sn.success_rate(3, **arguments)
    group = StudySettings(d=3, v=V, n=60, noise=0.1, seed=4).grid.groups[0]
    starts, won = draw_starts(group, 0, 8), 0
    for run in range(8):
        sample = sn.Sample.draw(3, 60, 0.1, key_of(4, len(INITS), 3, run), v=V)
        won += int(sn.prune(sample, starts[run : run + 1], algorithm="lrr", method="ode").success[0])
    assert data.successes.sel(algorithm="lrr").item() == won
    assert data.targets.item() == 2


def test_the_rate_of_a_target_is_that_of_its_number_of_coordinates():
    """Starts are symmetric about every direction and within every group of coordinates."""
    arguments = {"init": "independent", "runs": 1000, "seed": 1, "workers": 1}
    data, default = sn.success_rate(3, v=V, **arguments), sn.success_rate(3, targets=2, **arguments)
    np.testing.assert_array_equal(data.predicted, default.predicted)
    assert data.predicted[0] < data.predicted[1]
    assert bool(((data.ci_low < data.predicted) & (data.predicted < data.ci_high)).all())
    assert data.successes.values.tolist() != default.successes.values.tolist()


@pytest.mark.parametrize("record", [MapSettings, StudySettings])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 3, "v": [1.0, 1.0, 0.0]}, "v must be a unit vector"),
        ({"d": 2, "v": V}, "v must have d = 2 entries"),
        ({"d": 3, "v": V, "targets": 3}, "v has 2 entries that are not 0, but targets = 3"),
        ({"problem": OWN, "v": V}, "v belongs to the problem; leave out v"),
    ],
)
def test_a_target_must_fit(record, arguments, message):
    with pytest.raises(ValueError, match=message):
        record(**arguments)


def test_a_target_needs_one_d_and_may_be_the_default():
    with pytest.raises(ValueError, match=r"d must be one number, but is \(3, 4\)"):
        StudySettings(d=[3, 4], v=V)
    assert MapSettings(d=3, v=[1.0, 0.0, 0.0]) == MapSettings(d=3)
