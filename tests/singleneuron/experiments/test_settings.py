"""The records of settings: complete, frozen, and the one home of every default."""

import inspect
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
