"""Results say what they hold and how they were made, from Python as from the command line."""

import json

import numpy as np
import pytest
import xarray as xr

import signflow
import singleneuron as sn
from signflow import files, provenance
from signflow.formats import labelled
from singleneuron.cli import main

MAP = {"d": 2, "resolution": 5, "algorithms": ("imp", "lrr")}
STUDY = {"d": (2, 3), "algorithms": ("imp",), "runs": 5, "workers": 1}


def _named(data):
    for name, variable in data.variables.items():
        assert variable.attrs["long_name"], name
        assert ("units" in variable.attrs) == (variable.dtype.kind in "iuf" and name != "status"), name


def test_every_variable_has_a_name_and_a_unit():
    _named(sn.success_map(**MAP))
    _named(sn.success_map(**MAP, average=2))
    _named(sn.success_rate(**STUDY))


def test_status_codes_carry_their_meanings():
    data = sn.success_map(**MAP, balanced=True)
    about = data.status.attrs
    assert about["flag_values"].dtype == data.status.dtype
    meanings = dict(zip(about["flag_values"].tolist(), about["flag_meanings"].split(), strict=True))
    assert meanings == {-1: "none"} | {status.value: status.label for status in sn.Status}
    assert set(np.unique(data.status)) <= meanings.keys()


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_names_survive_a_file(suffix, tmp_path):
    data = sn.success_map(**MAP)
    back = signflow.read(signflow.write(data, tmp_path / f"map{suffix}"))
    _named(back)
    for name, variable in data.variables.items():
        for key, value in variable.attrs.items():
            np.testing.assert_array_equal(back[name].attrs[key], value)


@pytest.mark.parametrize(
    ("line", "make"),
    [
        ("map --d 2 --resolution 5", lambda: sn.success_map(**MAP)),
        ("study --d 2 3 --algorithm imp --runs 5 --workers 1", lambda: sn.success_rate(**STUDY)),
    ],
)
def test_python_and_the_command_line_record_the_same(line, make, tmp_path):
    assert main.main([*line.split(), "--quiet", "--out", str(tmp_path / "one.nc")]) == 0
    signflow.write(make(), tmp_path / "other.nc")
    one, other = (signflow.read(tmp_path / name).attrs for name in ("one.nc", "other.nc"))
    for key in (*provenance.RECORDED, "seed"):
        assert key == "created" or one[key] == other[key]
    # The command line may replace what Python wrote, since it is the same result.
    assert main.main([*line.split(), "--quiet", "--out", str(tmp_path / "other.nc")]) == 0


def test_settings_that_no_option_offers_are_recorded():
    config = json.loads(sn.success_map(**MAP, rtol=1e-5).attrs["config"])
    assert config["rtol"] == 1e-5
    assert "targets" not in config
    assert json.loads(sn.success_map(**MAP, targets=2).attrs["config"])["targets"] == 2


def test_a_result_without_a_configuration_is_refused(tmp_path):
    bare = xr.Dataset({"x": 1.0})
    with pytest.raises(ValueError, match="the Dataset carries none; pass it as config="):
        signflow.write(bare, tmp_path / "x.nc")
    with pytest.raises(ValueError, match="the table 'two' carries none"):
        signflow.write({"one": sn.success_map(**MAP), "two": bare}, tmp_path / "x.nc")
    assert not list(tmp_path.iterdir())


def test_tables_of_several_origins_are_configured_by_name(tmp_path):
    tables = {"map": sn.success_map(**MAP), "study": sn.success_rate(**STUDY)}
    back = signflow.read(signflow.write(tables, tmp_path / "both.nc"))
    config = json.loads(back["map"].attrs["config"])
    assert config == {name: json.loads(table.attrs["config"]) for name, table in tables.items()}
    for name, table in tables.items():
        xr.testing.assert_equal(back[name], table)


def test_units_are_read_from_the_brackets():
    made = labelled(xr.Dataset({"x": 1.0, "y": "text"}), {"x": "gap [percent]", "y": "a word", "z": "none"})
    assert made.x.attrs == {"long_name": "gap", "units": "percent"}
    assert made.y.attrs == {"long_name": "a word"}
