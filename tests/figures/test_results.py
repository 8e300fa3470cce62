"""Result files: round trips, provenance, errors, and that nothing partial is ever left behind."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from figures import results

CONFIG = {"d": 10, "algorithm": ("imp", "lrr"), "level_time": float("inf"), "noise": 0.1}


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "success": (("algorithm", "a0"), rng.random((2, 3))),
            "status": (("algorithm", "a0"), np.array([["dead", "converged", "stuck"]] * 2)),
            "predicted": (("algorithm", "a0"), np.array([[True, False, True]] * 2)),
        },
        # neither sorted: a table must come back in the order in which it was written
        coords={"algorithm": ["lrr", "imp"], "a0": [0.1, -1 / 3, 2.0]},
        attrs={"note": "kept"},
    )


@pytest.mark.parametrize("suffix", results.SUFFIXES)
def test_dataset_round_trip_is_exact(dataset, tmp_path, suffix):
    dataset["success"][0, 1] = np.nan
    path = results.write(dataset, tmp_path / f"new/folder/map{suffix}", config=CONFIG, seed=3)
    back = results.read(path)
    xr.testing.assert_equal(back, dataset)
    assert list(back.algorithm.values) == ["lrr", "imp"]
    assert back.predicted.dtype == bool
    assert back.attrs["note"] == "kept"
    assert int(back.attrs["seed"]) == 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_groups_round_trip(dataset, tmp_path):
    named = {"map": dataset, "paths": xr.Dataset({"x": ("t", np.arange(4.0))})}
    back = results.read(results.write(named, tmp_path / "fig.nc", config=CONFIG))
    assert set(back) == set(named)
    for name, group in named.items():
        xr.testing.assert_equal(back[name], group)
        assert json.loads(back[name].attrs["config"])["d"] == 10


def test_provenance_names_what_made_the_result():
    made = results.provenance(CONFIG, seed=5)
    assert json.loads(made["config"]) == CONFIG | {"algorithm": ["imp", "lrr"], "level_time": "inf"}
    assert made["seed"] == 5
    versions = json.loads(made["versions"])
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert ("torch" in versions) == ("torch" in sys.modules)
    assert re.fullmatch(r"[0-9a-f]{64}", made["source_digest"])
    assert re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?|sources-[0-9a-f]{12}", made["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made["created"])
    assert "seed" not in results.provenance(CONFIG)


def _tree(folder):
    (folder / "singleneuron").mkdir(parents=True)
    (folder / "singleneuron/model.py").write_text("a = 1\n")
    return folder


def test_digest_follows_the_computing_sources_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_ROOT", _tree(tmp_path))
    first = results.source_digest()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/toy.py").write_text("b = 2\n")
    (tmp_path / "singleneuron/model.pyc").write_text("cache")
    assert results.source_digest() == first
    (tmp_path / "singleneuron/model.py").write_text("a = 2\n")
    assert results.source_digest() != first


def test_revision_with_and_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_ROOT", _tree(tmp_path))
    assert results.revision.__wrapped__() == f"sources-{results.source_digest()[:12]}"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=20)
    clean = results.revision.__wrapped__()
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    (tmp_path / "singleneuron/model.py").write_text("a = 3\n")
    assert results.revision.__wrapped__() == f"{clean}-dirty"


def test_current_means_same_configuration_and_sources(dataset, tmp_path, monkeypatch):
    path = tmp_path / "map.nc"
    assert not results.is_current(path, config=CONFIG)
    results.write(dataset, path, config=CONFIG)
    assert results.is_current(path, config=CONFIG)
    assert not results.is_current(path, config=CONFIG | {"d": 11})
    monkeypatch.setattr(results, "source_digest", lambda: "0" * 64)
    assert not results.is_current(path, config=CONFIG)


@pytest.mark.parametrize("suffix", results.SUFFIXES)
def test_failed_write_keeps_the_old_file_and_leaves_nothing(dataset, tmp_path, suffix, monkeypatch):
    path = results.write(dataset, tmp_path / f"map{suffix}", config=CONFIG)
    before = path.read_bytes()

    def fail_late(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(results.os, "replace", fail_late)
    with pytest.raises(OSError, match="no space"):
        results.write(dataset, path, config=CONFIG)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_data_leaves_nothing(tmp_path):
    with pytest.raises((TypeError, ValueError)):
        results.write(xr.Dataset({"x": ("t", np.array([object()]))}), tmp_path / "map.nc", config=CONFIG)
    with pytest.raises(ValueError, match="at least one"):
        results.write({}, tmp_path / "map.nc", config=CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_check_output_rejects_what_cannot_be_written(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nc").mkdir()
    for path, message in [
        (tmp_path / "map.npz", r"must end in \.nc or \.csv"),
        (tmp_path / "folder.nc", "must be a file"),
        (tmp_path / "file/map.nc", "must be writable"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            results.check_output(path)
        assert "\n" not in str(caught.value)
    results.check_output(tmp_path / "not/yet/there/map.csv")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder.nc"]
    with pytest.raises(ValueError, match="one table"):
        results.write({"map": dataset}, tmp_path / "map.csv", config=CONFIG)


def test_read_names_a_missing_or_damaged_file(dataset, tmp_path):
    whole = results.write(dataset, tmp_path / "map.nc", config=CONFIG).read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nc").write_text("not NetCDF")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    for name, message in [
        ("none.nc", "there is none"),
        ("map.npz", "must end in"),
        ("cut.nc", "cannot read"),
        ("text.nc", "cannot read"),
        ("table.csv", "no provenance"),
        ("foreign.nc", "no provenance"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            results.read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_import_is_light():
    code = "import sys, figures.results; print(sorted({'matplotlib', 'xarray', 'pandas'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
