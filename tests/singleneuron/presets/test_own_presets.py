"""Presets of your own: a file is checked, computed, recorded and resumed as the shipped presets are."""

import json

import numpy as np
import pytest

import singleneuron as sn
from signflow import results
from singleneuron import presets
from singleneuron.cli import main, preset
from singleneuron.experiments import counting

OWN = """
title = "a map toward a target of my own, and a study"

[parts.map]
kind = "map"
d = 2
v = [0.6, -0.8]
resolution = 4

[parts.rates]
kind = "study"
d = [2, 3]
algorithms = ["lrr"]
runs = 30
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(OWN, "utf-8")
    return file


def test_a_file_is_a_preset_with_provenance(own, capsys):
    line = ["preset", "mine.toml", "--out", "results", "--workers", "1"]
    assert main.main(line) == 0
    assert capsys.readouterr().out.splitlines()[0] == "results/mine.nc"
    data = results.read("results/mine.nc")
    direct = sn.success_map(2, v=[0.6, -0.8], resolution=4)
    np.testing.assert_array_equal(data["map"].success, direct.success)
    rates = sn.success_rate([2, 3], ["lrr"], runs=30, workers=1)
    np.testing.assert_array_equal(data["rates"].successes, rates.successes)
    config = json.loads(data["map"].attrs["config"])
    assert config == json.loads(json.dumps(presets.load(own).model_dump(mode="json", exclude_none=True)))
    assert config["parts"]["map"]["v"] == [0.6, -0.8]
    assert main.main(line) == 0
    assert capsys.readouterr().out.splitlines()[0] == "results/mine.nc (up to date)"
    own.write_text(OWN.replace("runs = 30", "runs = 31"), "utf-8")
    assert main.main(line) == 2
    assert "different: parts.rates.runs" in capsys.readouterr().err


def test_an_interrupted_file_resumes(own, monkeypatch):
    line = ["preset", str(own), "--out", "results", "--workers", "1", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(preset, "write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main.main(line) == 130
    assert (own.parent / "results" / "mine.rates.chunks" / "study.json").is_file()
    monkeypatch.setattr(counting, "count_runs", lambda *_: pytest.fail("counted again"))
    assert main.main(line) == 0
    assert [path.name for path in (own.parent / "results").iterdir()] == ["mine.nc"]


def test_runs_of_a_file_can_be_changed(own):
    tables = presets.run(own, runs=7, workers=1)
    assert tables["rates"].attrs["runs"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "preset 'mine.toml' is not valid: it is not TOML (Invalid value"),
        (OWN.replace("resolution", "resolutoin"), "did you mean 'resolution'?"),
        (OWN.replace("-0.8]", "0.9]"), "v must be a unit vector"),
        ('title = "empty"', "parts must be given"),
    ],
)
@pytest.mark.usefixtures("own")
def test_mistakes_in_a_file_are_one_line(text, message, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    assert main.main(["preset", "mine.toml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("own")
def test_a_missing_file_and_two_files_of_one_name_are_refused(tmp_path, capsys):
    assert main.main(["preset", "missing.toml"]) == 2
    assert "'missing.toml' must be a readable file" in capsys.readouterr().err
    (tmp_path / "fig1a.toml").write_text(OWN, "utf-8")
    assert main.main(["preset", "fig1a", "fig1a.toml"]) == 2
    assert "'fig1a' and 'fig1a.toml' would both write 'fig1a.nc'" in capsys.readouterr().err
    assert main.main(["preset", "mine"]) == 2
    assert "or a file of your own that ends in .toml, got 'mine'" in capsys.readouterr().err
