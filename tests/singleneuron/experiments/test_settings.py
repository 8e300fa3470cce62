"""The records of settings: complete, frozen, and the one home of every default."""

import inspect
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, fields

import numpy as np
import pytest

import singleneuron as sn
from signflow.results import write
from singleneuron.cli import main
from singleneuron.experiments import success_rate as rates
from singleneuron.experiments.options import made
from singleneuron.experiments.settings import MapSettings, StudySettings

RECORDS = [(MapSettings, sn.success_map), (StudySettings, sn.success_rate)]


@pytest.mark.parametrize(("record", "function"), RECORDS)
def test_a_function_takes_what_its_record_has_with_the_same_defaults(record, function):
    missing = inspect.Parameter.empty
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("progress", "training", *rates._NOT_SETTINGS)
    }
    held = {
        item.name: missing if item.default is MISSING else item.default
        for item in fields(record)
        if item.name != "training"
    }
    assert taken == held


@pytest.mark.parametrize("record", [MapSettings, StudySettings])
def test_nobody_can_change_a_record(record):
    settings = record(d=3, algorithms=["imp"])
    assert settings.algorithms == ("imp",)
    with pytest.raises(FrozenInstanceError):
        settings.d = 4


def test_lists_and_arrays_are_the_same_study():
    one = StudySettings(d=[2, 3], noise=np.array([0.0, 0.5]), n=5)
    other = StudySettings(d=(2, 3), noise=(0.0, 0.5), n=5)
    assert one == other
    assert one.grid.groups == other.grid.groups


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "d must be given, but is missing"),
        ({"d": 2, "rusn": 5}, "got 'rusn'; did you mean 'runs'?"),
        ({"d": 2, "run": 5, "rtol": 1e-6}, "a setting must be one of d, n, noise"),
    ],
)
def test_names_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(StudySettings, arguments)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("map --d 2 --resolution 999999999", "memory"),
        ("map --d 2 --noise 0.1", "give their number n as well"),
        ("study --d 2 --runs 1e15", "runs"),
        ("study --d 2 --scale 0", "scale"),
    ],
)
def test_the_impossible_is_said_before_another_result_is(line, message, tmp_path, capsys):
    command = line.split()[0]
    out = tmp_path / f"{command}.csv"
    write(sn.success_rate(2, runs=2, workers=1), out, config={"other": 1}, seed=0)
    assert main.main([*line.split(), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--overwrite" not in error


@pytest.mark.parametrize(
    ("record", "arguments", "message"),
    [
        (MapSettings, {"algorithms": 3}, "algorithms must be a name, an Algorithm, or a list of them, got 3"),
        (MapSettings, {"resolution": "many"}, "resolution must be an integer, got 'many'"),
        (MapSettings, {"rewind_time": "x"}, "rewind_time must be a number, got 'x'"),
        (MapSettings, {"rewind_time": [1]}, r"rewind_time must be a number, got \(1,\)"),
        (MapSettings, {"balanced": "no"}, "balanced must be true or false, got 'no'"),
        (MapSettings, {"learning_rate": 0, "level_time": 5}, "learning_rate must be a finite number > 0"),
        (MapSettings, {"learning_rate": np.nan}, "learning_rate must be a finite number > 0, but is nan"),
        (MapSettings, {"targets": 0}, "targets must be an integer from 1 to 2, but is 0"),
        (MapSettings, {"targets": 2.0}, "targets must be an integer from 1 to 2, but is 2.0"),
        (MapSettings, {"algorithms": ["lrr"], "imp": "rebalance"}, "with 'lrr' only; leave it out"),
        (MapSettings, {"d": 10**10, "levels": 10**8}, "levels must be <= 10,000"),
        (StudySettings, {"d": -5, "algorithms": ["nonsense"]}, "d must be an integer >= 1"),
        (StudySettings, {"init": {"a": 1}}, "init must be a string or a list of them"),
        (
            StudySettings,
            {"algorithms": [["imp"]]},
            "algorithms must be a name, an Algorithm, or a list of them",
        ),
        (
            StudySettings,
            {"method": "exact", "learning_rate": [None, 0.1]},
            "gradient descent has no closed form",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(record, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        made(record, {"d": 2} | arguments)
    assert "\n" not in str(caught.value)


def test_a_record_keeps_plain_values_and_shares_nothing_with_its_caller():
    training = {"tolerance": np.float64(1e-2), "rtol": 1e-6}
    settings = StudySettings(d=np.int64(3), seed=np.int64(5), noise=np.array([0.1]), n=4, training=training)
    assert hash(settings) == hash(StudySettings(d=3, seed=5, noise=(0.1,), n=4, training=dict(training)))
    assert type(settings.seed) is int
    assert type(settings.noise[0]) is float
    training["rtol"] = 1.0
    assert dict(settings.training)["rtol"] == 1e-6
    assert MapSettings(d=2, algorithms="imp").algorithms == ("imp",)


def test_checks_hold_without_assertions():
    code = "from singleneuron.experiments.settings import StudySettings; StudySettings(d=2, noise=-1.0, n=3)"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ValueError: noise must be")
