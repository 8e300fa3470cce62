"""Result files: round trips, provenance, errors, and that nothing partial is ever left behind."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import signflow
from signflow import files, provenance, results

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


@pytest.mark.parametrize("suffix", files.SUFFIXES)
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


def test_a_mostly_empty_table_takes_little_space_and_comes_back_exactly(tmp_path):
    values = np.full((100, 1000), np.nan)
    values[:3, :7] = np.random.default_rng(0).normal(size=(3, 7))
    table = xr.Dataset({"difference": (("arm", "seed"), values), "n": ((), 3)})
    path = results.write({"paired": table}, tmp_path / "study.nc", config=CONFIG)
    assert path.stat().st_size < values.nbytes / 10
    xr.testing.assert_identical(results.read(path)["paired"].drop_attrs(), table)


def test_provenance_names_what_made_the_result():
    made = provenance.provenance(CONFIG, seed=5)
    assert json.loads(made["config"]) == CONFIG | {"algorithm": ["imp", "lrr"], "level_time": "inf"}
    assert made["seed"] == 5
    versions = json.loads(made["versions"])
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert ("torch" in versions) == ("torch" in sys.modules)
    assert re.fullmatch(r"[0-9a-f]{64}", made["source_digest"])
    assert re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?|sources-[0-9a-f]{12}", made["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made["created"])
    assert "seed" not in provenance.provenance(CONFIG)


def _tree(folder):
    (folder / "singleneuron").mkdir(parents=True)
    (folder / "singleneuron/model.py").write_text("a = 1\n")
    return folder


def test_digest_follows_the_computing_sources_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", _tree(tmp_path))
    first = provenance.source_digest()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/toy.py").write_text("b = 2\n")
    (tmp_path / "singleneuron/model.pyc").write_text("cache")
    assert provenance.source_digest() == first
    (tmp_path / "signflow").mkdir()
    (tmp_path / "signflow/workers.py").write_text("c = 3\n")
    assert (shared := provenance.source_digest()) != first
    (tmp_path / "singleneuron/model.py").write_text("a = 2\n")
    assert provenance.source_digest() not in (first, shared)


def test_revision_with_and_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", _tree(tmp_path))
    assert provenance.revision.__wrapped__() == f"sources-{provenance.source_digest()[:12]}"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=20)
    clean = provenance.revision.__wrapped__()
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    (tmp_path / "singleneuron/model.py").write_text("a = 3\n")
    assert provenance.revision.__wrapped__() == f"{clean}-dirty"


def test_current_means_same_configuration_and_sources(dataset, tmp_path, monkeypatch):
    path = tmp_path / "map.nc"
    assert not results.is_current(path, config=CONFIG)
    results.write(dataset, path, config=CONFIG)
    assert results.is_current(path, config=CONFIG)
    assert not results.is_current(path, config=CONFIG | {"d": 11})
    monkeypatch.setattr(results, "source_digest", lambda: "0" * 64)
    assert not results.is_current(path, config=CONFIG)


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_failed_write_keeps_the_old_file_and_leaves_nothing(dataset, tmp_path, suffix, monkeypatch):
    path = results.write(dataset, tmp_path / f"map{suffix}", config=CONFIG)
    before = path.read_bytes()

    def fail_late(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "replace", fail_late)
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


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
@pytest.mark.parametrize("name", ["map.nc", "groups.nc", "map.csv"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, name):
    code = """
import resource, sys
import numpy as np, xarray as xr
from signflow import command_line as command
from signflow import results
big = xr.Dataset({"x": ("t", np.random.default_rng(0).random(20_000))})
data = {"map": big} if "groups" in sys.argv[1] else big
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # as a disk that is full
raise SystemExit(command.finish("lab", lambda: results.write(data, sys.argv[1], config={}) and None))
"""
    path = tmp_path / name
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lab: '{path}': File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", files.SUFFIXES)
@pytest.mark.parametrize("seed", [2**63, 2**64 - 1, 2**128 - 1])
def test_seeds_of_any_size_are_kept(dataset, tmp_path, suffix, seed):
    dataset.attrs["seed"] = seed
    back = results.read(results.write(dataset, tmp_path / f"map{suffix}", config={"seed": seed}, seed=seed))
    assert int(back.attrs["seed"]) == seed
    assert json.loads(back.attrs["config"]) == {"seed": seed}
    groups = results.write({"map": dataset}, tmp_path / "groups.nc", config={}, seed=seed)
    assert int(results.read(groups)["map"].attrs["seed"]) == seed


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_a_coordinate_may_be_no_number(tmp_path, suffix):
    data = xr.Dataset(
        {"rate": (("learning_rate", "n"), [[0.1, 0.2, 0.3], [0.4, np.nan, 0.6]])},
        coords={"learning_rate": [np.nan, 0.1], "n": [5.0, np.inf, 1.0]},
    )
    xr.testing.assert_equal(results.read(results.write(data, tmp_path / f"s{suffix}", config={})), data)


def test_a_table_that_lacks_or_repeats_rows_is_damaged(dataset, tmp_path):
    path = results.write(dataset, tmp_path / "map.csv", config={})
    lines = path.read_text().splitlines(keepends=True)
    for damaged in (lines[:-1], lines + lines[-1:]):
        path.write_text("".join(damaged))
        with pytest.raises(ValueError, match=r"map\.csv' \(the table must have exactly one row"):
            results.read(path)
    path.write_text("".join([*lines[:-6], *reversed(lines[-6:])]))  # a table that was sorted is whole
    assert bool(results.read(path).reindex_like(dataset).equals(dataset))


@pytest.mark.parametrize("change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")])
def test_a_table_that_an_editor_has_saved_again_is_read(dataset, tmp_path, change):
    path = results.write(dataset, tmp_path / "map.csv", config=CONFIG)
    path.write_bytes(change(path.read_bytes()))
    xr.testing.assert_equal(results.read(path), dataset)
    assert results.is_current(path, config=CONFIG)
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ValueError, match=r"cannot read the result file '.*map\.csv' \('utf-8'"):
        results.read(path)


def test_a_result_that_another_program_writes_is_in_use(dataset, tmp_path):
    path = results.write(dataset, tmp_path / "map.nc", config=CONFIG)
    code = (
        "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', locking=True); print('open', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        for use in (results.read, lambda path: results.claim(path, config=CONFIG)):
            with pytest.raises(ValueError, match=r"map\.nc' is in use: another program") as caught:
                use(path)
            assert "\n" not in str(caught.value)
        other.communicate("")
    results.claim(path, config=CONFIG)
    xr.testing.assert_equal(results.read(path), dataset)


def test_only_an_earlier_result_of_the_same_configuration_is_replaced(dataset, tmp_path):
    path = results.write(dataset, tmp_path / "map.nc", config=CONFIG | {"title": "one", "part": {"a": 1}})
    results.claim(path, config=CONFIG | {"title": "two", "part": {"a": 1}})  # words change no number
    for config, differ in (
        ({"title": "one", "part": {"a": 2}}, r"\(different: part\.a\)"),
        ({"part": {"a": 1}, "d": 3, "seed": None}, r"\(different: d, seed\)"),
    ):
        with pytest.raises(ValueError, match=differ):
            results.claim(path, config=CONFIG | config)
        results.claim(path, config=CONFIG | config, overwrite=True)
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    (tmp_path / "damaged.nc").write_bytes(path.read_bytes()[:3000])
    (tmp_path / "mine.json").write_text("[]")
    (tmp_path / "link.nc").symlink_to(tmp_path / "nowhere.nc")
    for name in ("foreign.nc", "damaged.nc", "mine.json"):
        with pytest.raises(ValueError, match=rf"{name}.*--overwrite") as caught:
            results.claim(tmp_path / name, config=CONFIG, suffixes=(".nc", ".json"))
        assert "\n" not in str(caught.value)
    results.claim(tmp_path / "link.nc", config=CONFIG)


def test_sources_that_were_edited_meanwhile_are_told_and_never_current(
    dataset, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(provenance, "_ROOT", _tree(tmp_path / "lab"))
    provenance.started_with.cache_clear()
    try:
        path = files.check_output(tmp_path / "map.nc")
        first = provenance.source_digest()
        (tmp_path / "lab/singleneuron/model.py").write_text("a = 2\n")
        results.write(dataset, path, config=CONFIG)
        assert len(caplog.messages) == 1
        assert "edited during this run" in caplog.messages[0]
        assert results.read(path).attrs["source_digest"].startswith(first)
        assert not results.is_current(path, config=CONFIG)
        (tmp_path / "lab/singleneuron/model.py").write_text("a = 1\n")
        assert provenance.source_digest() == first
        assert not results.is_current(path, config=CONFIG)
    finally:
        provenance.started_with.cache_clear()


def test_what_editors_leave_behind_is_no_source(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", _tree(tmp_path))
    first = provenance.source_digest()
    package = tmp_path / "singleneuron"
    (package / ".ipynb_checkpoints").mkdir()
    (package / ".ipynb_checkpoints/model.py").write_text("a = 0\n")
    (package / "._model.py").write_text("")
    (package / ".#model.py").symlink_to(tmp_path / "someone@somewhere")  # as Emacs locks what it edits
    (package / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert provenance.source_digest() == first


def test_a_checkout_that_was_never_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "_LIBRARIES", ("numpy", "a-package-that-is-not-installed"))
    versions = json.loads(provenance.provenance({})["versions"])
    assert versions["a-package-that-is-not-installed"] == "unknown"
    assert versions["numpy"] == np.__version__


def test_check_output_rejects_what_cannot_be_written(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nc").mkdir()
    for path, message in [
        (tmp_path / "map.npz", r"must end in \.nc or \.csv"),
        (tmp_path / "folder.nc", "must be a file"),
        (tmp_path / "file/map.nc", "must be writable"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            files.check_output(path)
        assert "\n" not in str(caught.value)
    files.check_output(tmp_path / "not/yet/there/map.csv")
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
        ("none.nc", "does not exist"),
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
    code = (
        "import sys, signflow.results; print(sorted({'matplotlib', 'xarray', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_results_are_read_by_the_name_of_what_was_installed():
    assert signflow.read is results.read
