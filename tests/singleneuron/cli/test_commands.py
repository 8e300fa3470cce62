"""The command line: bad input is one line and exit code 2 and leaves nothing; good input leaves a result."""

import json
import subprocess
import sys

import numpy as np
import pytest

import singleneuron as sn
from signflow import files, provenance, results
from singleneuron.cli import common, main, study

SMALL = ["--resolution", "9", "--quiet"]


def _run(arguments):
    """The exit code, whether argparse or the command itself refuses."""
    try:
        return main.main(arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map", "--d", "10", "--algorithm", "snip"], "snip"),
        (["map", "--d", "0"], "d must be"),
        (["map", "--d", "2", "--resolution", "1"], "resolution"),
        (["map", "--d", "2", "--extent", "-1"], "extent"),
        (["map", "--d", "2", "--n", "0"], "n must be"),
        (["map", "--d", "2", "--n", "10", "--noise", "-0.1", "--learning-rate", "0.1"], "noise"),
        (["map", "--d", "2", "--w-perp", "1", "--balanced"], "not allowed"),
        (["map", "--d", "2", "--res", "9"], "--res"),
        (["map", "--d", "2", "--rewind-time", "0.5"], "rewind_time is for 'wr'"),
        (
            ["map", "--d", "2", "--algorithm", "wr", "--rewind-time", "5", "--level-time", "2"],
            "rewind_time must be <= level_time = 2",
        ),
        (["map", "--d", "2", "--level-time", "30", "--learning-rate", "40"], "40 is the nearest"),
        (
            ["study", "--d", "2", "--algorithm", "wr", "--rewind-time", "5", "--level-time", "2"],
            "rewind_time must be <= level_time = 2",
        ),
        (["study", "--d", "2", "--level-time", "30", "--learning-rate", "40"], "40 is the nearest"),
        (["map", "--d", "1", "--levels", "0"], "levels must be an integer >= 1"),
        (["map", "--d", "1", "--levels", "3"], "levels must be 1 if d = targets = 1"),
        (["map", "--d", "1", "--w-perp", "0.5"], "w_perp is the norm of w_2, ..., w_d"),
        (["map", "--d", "2", "--level-time", "-1"], "level_time must be"),
        (["map", "--d", "2", "--level-time", "nan"], "level_time must be"),
        (["map", "--d", "2", "--workers", "0"], "--workers must be from 1 to"),
        (["map", "--d", "2", "--workers", "999"], "but is 999"),
        (["map", "--d", "2", "--method", "exact", "--learning-rate", "0.1"], "no closed form"),
        (["map", "--d", "2", "--learning-rate", "1e-14"], "learning_rate 1e-14 needs"),
        (["map", "--d", "2", "--learning-rate", "1e-320"], "learning_rate"),
        (["map"], "--d"),
        (["trajectory", "--d", "1", "--a", "nan", "--w", "1", "--t-end", "1"], "nan"),
        (["trajectory", "--d", "2", "--a", "1", "--w", "1", "--t-end", "1"], "d = 2"),
        (["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "-1"], "t_end"),
        (["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--points", "1"], "points"),
        (["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--n", "0"], "n must be"),
        (
            ["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--noise", "0.5"],
            "their number n",
        ),
        (
            ["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--noise", "-1"],
            "noise must be",
        ),
        (["trajectory", "--d", "1", "--a", "x", "--w", "1", "--t-end", "1"], "invalid float"),
        (["study"], "--d"),
        (["study", "--d"], "--d"),
        (["study", "--d", "2", "--runs", "0"], "runs"),
        (["study", "--d", "2", "--n", "0"], "n must be"),
        (["study", "--d", "2", "--n", "many"], "many"),
        (["study", "--d", "2", "--n", "10", "--noise", "nan"], "noise must be"),
        (["study", "--d", "2", "2"], "distinct"),
        (["study", "--d", "2", "--algorithm", "snip"], "snip"),
        (["study", "--d", "2", "--algorithm", "wr"], "rewind_time"),
        (["study", "--d", "2", "--ci-width", "-1"], "ci_width"),
        (["study", "--d", "2", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "not allowed"),
        (["map", "--d", "999999999999999999999"], "GB of memory"),
        (["map", "--d", "2", "--resolution", "999999999"], "GB of memory"),
        (["map", "--d", "2", "--average", "1e12"], "days"),
        (["map", "--d", "2", "--n", "999999999999"], "GB of memory"),
        (["study", "--d", "999999999999999999999"], "d must be < 2^63"),
        (["study", "--d", "999999999999", "--level-time", "5"], "GB of memory"),
        (["study", "--d", "2", "--n", "999999999999"], "GB of memory"),
        (["study", "--d", "2", "--runs", "1e18", "--ci-width", "0.01"], "GB of memory"),
        (["study", "--d", "2", "3", "--runs", "1e12"], "days"),
        (["verify", "--runs", "1e12"], "days"),
        (
            ["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--points", "999999999999"],
            "GB of memory",
        ),
        (["map", "--d", "2", "--out", ""], "a path must be"),
        (["map", "--d", "2.5"], "whole number"),
        (["preset"], "required"),
        (["preset", "fig99"], "fig99"),
        ([], "required"),
        (["fly"], "fly"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _run(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert message in streams.err
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sn, "success_map", lambda **_: pytest.fail("worked in vain"))
    (tmp_path / "file").write_text("")
    for out, message in ((tmp_path / "map.txt", ".nc or .csv"), (tmp_path / "file/map.nc", "writable")):
        assert _run(["map", "--d", "2", "--out", str(out)]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert _run(["preset", "fig1a", "--out", str(tmp_path / "file")]) == 2
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_another_result_is_replaced_only_when_told(suffix, tmp_path, monkeypatch, capsys):
    out = tmp_path / f"map{suffix}"
    line = ["map", "--d", "2", *SMALL, "--out", str(out)]
    assert _run(line) == 0
    assert _run(line) == 0  # its own earlier result
    before = out.read_bytes()
    (tmp_path / "letter.csv").write_text("dear reader\n")
    with monkeypatch.context() as patch:
        patch.setattr(sn, "success_map", lambda **_: pytest.fail("worked in vain"))
        assert _run([*line, "--seed", "3", "--imp", "rebalance"]) == 2
        err = capsys.readouterr().err
        assert err == (
            f"singleneuron: '{out}' holds the result of another configuration (different: imp, seed); "
            "write to another file, or use --overwrite to replace it\n"
        )
        assert _run([*line, "--out", str(tmp_path / "letter.csv")]) == 2
        err = capsys.readouterr().err
        assert "letter.csv" in err
        assert "--overwrite" in err
        assert err.count("\n") == 1
    assert out.read_bytes() == before
    assert (tmp_path / "letter.csv").read_text() == "dear reader\n"
    assert _run([*line, "--seed", "3", "--overwrite"]) == 0
    assert json.loads(results.read(out).attrs["config"])["seed"] == 3
    trajectory = ["trajectory", "--d", "1", "--a", "1", "--w", "1", "--t-end", "1", "--out", str(out)]
    study = ["study", "--d", "2", "--runs", "10", "--workers", "1", "--out", str(out)]
    for other in (trajectory, study):
        assert _run(other) == 2
        assert "another configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("two\nlines"), 1),
        (OSError("disk full"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("v"), 2),
    ],
)
def test_failures_are_one_line_without_a_traceback(error, code, tmp_path, monkeypatch, capsys):
    def fail(**_):
        raise error

    monkeypatch.setattr(sn, "success_map", fail)
    assert _run(["map", "--d", "2", "--out", str(tmp_path / "map.nc")]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", ["1", "3"])
def test_samples_fewer_than_coordinates_have_outcomes_too(n, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = ["--d", "4", "--n", n, "--noise", "0.3"]
    study = ["study", *data, "--init", "independent", "--runs", "40", "--workers", "1", "--quiet"]
    assert _run([*study, "--out", "study.nc"]) == 0
    assert _run(["trajectory", *data, "--a", "1", "--w", "1", "0", "0", "0", "--t-end", "5", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    written = results.read(tmp_path / "study.nc")
    assert int(written.failed.sum()) == 0
    assert np.all(written.decided + written.undecided == 40)
    assert np.all(written.undecided <= 2)


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_map_writes_what_success_map_returns(suffix, tmp_path, capsys):
    out = tmp_path / f"map{suffix}"
    assert _run(["map", "--d", "3", "--algorithm", "imp", "lrr", "--resolution", "8", "--out", str(out)]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.splitlines()[-2:] == [str(out), f"draw it: figures draw {out}"]
    assert "0 of 64 cells differ" in streams.out
    written = results.read(out)
    direct = sn.success_map(d=3, algorithms=("imp", "lrr"), resolution=8)
    assert list(written.algorithm.values) == ["imp", "lrr"]
    for name in ("success", "predicted", "loss"):
        np.testing.assert_array_equal(written[name].transpose(*direct[name].dims), direct[name])
    config = json.loads(written.attrs["config"])
    assert (config["d"], config["resolution"], config["level_time"]) == (3, 8, "inf")
    assert int(written.attrs["seed"]) == 0


def test_maps_over_the_cone_and_averaged_are_summed_up(tmp_path, capsys):
    line = ["map", "--d", "3", "--resolution", "9", "--out", str(tmp_path / "map.nc")]
    assert _run([*line, "--balanced"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    written = results.read(tmp_path / "map.nc").sel(algorithm="lrr")
    exist = int((written.status >= 0).sum())
    assert 0 < exist < 81
    assert f"0 of {exist} cells differ" in streams.out.splitlines()[1]
    assert _run([*line, "--average", "3", "--overwrite"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    written = results.read(tmp_path / "map.nc").sel(algorithm="lrr")
    mean, predicted = float(written.success.mean()), float(written.predicted.mean())
    assert streams.out.splitlines()[1] == (
        f"lrr: mean success {mean:.4f}, predicted {predicted:.4f}, "
        "81 of 81 cells decided in every run; 0 failed"
    )


@pytest.mark.parametrize("average", [[], ["--average", "2"]])
def test_a_map_that_fails_is_kept_and_named(average, tmp_path, capsys):
    out = tmp_path / "map.nc"
    line = ["map", "--d", "3", "--extent", "1e200", "--resolution", "4", "--out", str(out)]
    assert _run(line + average) == 1
    streams = capsys.readouterr()
    assert (
        streams.err == f"singleneuron: the integrator gave up on 32 of 32 cells; the map is kept in {out}\n"
    )
    assert streams.out.count("16 failed") == 2
    assert bool((results.read(out).status == sn.Status.FAILED).all())


def test_a_trajectory_that_fails_is_kept_and_named(tmp_path, capsys):
    out = tmp_path / "path.nc"
    line = "trajectory --d 1 --a 1e200 --w 1e200 --t-end 1 --quiet --out"
    assert _run([*line.split(), str(out)]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == f"singleneuron: the integrator gave up; the path until then is kept in {out}\n"
    assert results.read(out).attrs["status"] == "failed"


def test_every_map_option_reaches_success_map(tmp_path, monkeypatch):
    seen = {}

    def record(**arguments):
        seen.update(arguments)
        raise RuntimeError("seen")

    monkeypatch.setattr(sn, "success_map", record)
    line = (
        "map --d 5 --algorithm imp wr --resolution 7 --extent 3 --average 4 --imp rebalance --rewind-time 0.5"
        " --levels 2 --n 50 --noise 0.2 --learning-rate 0.1 --level-time 20 --method ode --seed 9 --workers 1"
        " --parameterization sign-in --beta-a 2 --beta-w 0.5 --reset-every 10"
    )
    assert _run([*line.split(), "--out", str(tmp_path / "map.nc")]) == 1
    progress = seen.pop("progress")
    progress(1, 2)
    assert seen == {
        "d": 5, "algorithms": ["imp", "wr"], "resolution": 7, "extent": 3.0, "balanced": False, "average": 4,
        "imp": "rebalance", "rewind_time": 0.5, "levels": 2, "n": 50, "noise": 0.2, "learning_rate": 0.1,
        "level_time": 20.0, "method": "ode", "seed": 9, "parameterization": "sign-in", "beta_a": 2.0,
        "beta_w": 0.5, "reset_every": 10,
    }  # fmt: skip


def test_study_writes_what_success_rate_returns_and_leaves_no_chunks(tmp_path, capsys):
    out = tmp_path / "study.nc"
    line = "study --d 2 5 --algorithm imp wr lrr --rewind-time 0.5 --n inf --runs 300 --workers 1"
    assert _run([*line.split(), "--out", str(out)]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert [item.name for item in tmp_path.iterdir()] == ["study.nc"]
    written = results.read(out)
    direct = sn.success_rate(
        d=[2, 5], algorithms=["imp", "wr", "lrr"], rewind_time=[0.5], n=[np.inf], runs=300, workers=1
    )
    for name in direct.data_vars:
        np.testing.assert_array_equal(written[name], direct[name])
    assert written.rate.dims == ("d", "n", "algorithm", "rewind_time")
    lines = streams.out.splitlines()
    assert len(lines) == 6 + 2
    first = direct.isel(d=0, n=0, algorithm=0, rewind_time=0)
    assert lines[0].startswith(f"d 2 n inf algorithm imp rewind_time 0.5: {first.rate.item():.4f} [")
    assert f"{first.successes.item()} of 300 decided" in lines[0]
    assert lines[-2:] == [str(out), f"draw it: figures draw {out}"]


def test_undecided_runs_are_told_as_bounds(tmp_path, capsys):
    out = tmp_path / "study.csv"
    line = "study --d 2 --algorithm lrr --init independent --scale 1e-30 --runs 200 --workers 1"
    assert _run([*line.split(), "--out", str(out)]) == 0
    found = results.read(out).squeeze()
    assert capsys.readouterr().out.splitlines()[0] == (
        f"d 2 init independent scale 1e-30 algorithm lrr: between {found.rate_low.item():.4f} and "
        f"{found.rate_high.item():.4f} [{found.ci_low.item():.4f}, {found.ci_high.item():.4f}], "
        f"predicted 0.8536; {found.successes.item()} of {found.decided.item()} decided "
        f"({found.trapped.item()} trapped), {found.undecided.item()} undecided"
    )


def test_a_map_says_what_its_prediction_is_of(tmp_path, capsys):
    out = ["--resolution", "8", "--out", str(tmp_path / "map.nc")]
    assert _run(["map", "--d", "3", "--level-time", "1e-6", *out]) == 0
    for line in capsys.readouterr().out.splitlines()[:2]:
        assert line.endswith("differ from the prediction (for the flow in the limit of long levels)")
    assert _run(["map", "--d", "3", "--n", "2", "--overwrite", *out]) == 0
    imp, lrr, *_ = capsys.readouterr().out.splitlines()
    assert "; 0 of " in imp
    assert imp.endswith("cells differ from the prediction")
    assert lrr.endswith("; no prediction")


def test_every_study_option_reaches_success_rate(tmp_path, monkeypatch):
    seen = {}

    def record(**arguments):
        seen.update(arguments)
        raise RuntimeError("seen")

    monkeypatch.setattr(sn, "success_rate", record)
    line = (
        "study --d 5 --n inf 50 --noise 0.2 --algorithm imp wr --init independent --scale 2"
        " --learning-rate 0.1 --level-time 20 --rewind-time 0.5 --targets 2 --levels 2 --imp rebalance"
        " --runs 7 --ci-width 0.1 --seed 9 --method ode --workers 3"
    )
    out = tmp_path / "study.nc"
    assert _run([*line.split(), "--out", str(out)]) == 1
    seen.pop("progress")(1, 2)
    assert seen == {
        "d": [5], "n": [np.inf, 50], "noise": [0.2], "algorithms": ["imp", "wr"], "init": ["independent"],
        "scale": [2.0], "learning_rate": [0.1], "level_time": [20.0], "rewind_time": [0.5], "targets": [2],
        "levels": 2, "imp": "rebalance", "runs": 7, "ci_width": 0.1, "seed": 9, "method": "ode",
        "workers": 3, "directory": tmp_path / "study.nc.chunks",
    }  # fmt: skip


def test_a_study_left_by_another_is_refused_until_it_is_discarded(tmp_path, monkeypatch, capsys):
    out = tmp_path / "study.nc"
    line = ["study", "--d", "2", "--runs", "100", "--workers", "1", "--out", str(out)]
    monkeypatch.setattr(study, "write", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    assert _run(line) == 1
    assert (tmp_path / "study.nc.chunks" / "study.json").exists()
    monkeypatch.setattr(study, "write", results.write)
    capsys.readouterr()
    assert _run([*line, "--seed", "5"]) == 2
    err = capsys.readouterr().err
    assert "--fresh" in err
    assert err.count("\n") == 1
    assert _run([*line, "--seed", "5", "--fresh"]) == 0
    assert [item.name for item in tmp_path.iterdir()] == ["study.nc"]


def test_trajectory_is_the_integrated_path(tmp_path, capsys):
    out = tmp_path / "path.csv"
    line = "trajectory --d 2 --a 1 --w -0.5 0.5 --t-end 5 --points 6"
    assert _run([*line.split(), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == str(out)
    written = results.read(out)
    path = sn.integrate(
        sn.Population(2), sn.State(a=np.array([1.0]), w=np.array([[-0.5, 0.5]])), t_eval=np.linspace(0, 5, 6)
    )
    np.testing.assert_array_equal(written.time, np.linspace(0, 5, 6))
    np.testing.assert_array_equal(written.w.transpose("time", "coordinate"), path.state.w[:, 0])
    np.testing.assert_array_equal(written.a.isel(coordinate=0), path.state.a[:, 0])
    assert written.attrs["status"] == sn.Status(path.status[0]).label


def test_trajectory_by_gradient_descent_on_samples(tmp_path):
    line = (
        "trajectory --d 1 --a 1 --w 0.5 --n 200 --noise 0.1 --learning-rate 0.1 --t-end 50 --quiet --seed 2"
    )
    assert _run([*line.split(), "--out", str(tmp_path / "path.nc")]) == 0
    end = results.read(tmp_path / "path.nc").isel(time=-1)
    s_pos = sn.Sample.draw(d=1, n=200, noise=0.1, seed=2).statistics.s_pos[0]
    assert float(end.a * end.w[0]) == pytest.approx(s_pos, abs=1e-3)


@pytest.mark.parametrize("suffix", files.SUFFIXES)
@pytest.mark.parametrize(
    "line",
    [
        "map --d 2 --resolution 3 --average 2 --n 5 --noise 0.1 --learning-rate 0.1 --level-time 1",
        "study --d 2 --n 5 --noise 0.1 --learning-rate 0.5 --level-time 2 --runs 3 --workers 1",
        "trajectory --d 1 --a 1 --w 1 --t-end 2 --points 3 --n 5 --noise 0.1 --learning-rate 0.5",
    ],
)
def test_seeds_of_128_bits(line, suffix, tmp_path, capsys):
    seed, out = 2**127 + 12345, tmp_path / f"result{suffix}"
    command = [*line.split(), "--quiet", "--out", str(out), "--seed"]
    assert _run([*command, str(seed)]) == 0
    assert capsys.readouterr().err == ""
    first = results.read(out)
    assert int(first.attrs["seed"]) == json.loads(first.attrs["config"])["seed"] == seed
    assert _run([*command, str(seed)]) == 0
    assert results.read(out).drop_attrs().equals(first.drop_attrs())
    if line.startswith("trajectory"):
        assert _run([*command, str(seed + 2**64), "--overwrite"]) == 0  # every bit counts
        assert not results.read(out).equals(first)


def test_home_is_where_a_path_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    line = "trajectory --d 1 --a 1 --w 1 --t-end 2 --quiet --out ~/new/path.nc"
    assert _run(line.split()) == 0
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.nc")] == ["new/path.nc"]


@pytest.mark.skipif(sys.platform == "win32", reason="closed pipes are no signal there")
def test_a_reader_that_has_had_enough_ends_it_quietly():
    command = [sys.executable, "-c", "from singleneuron.cli.main import main; raise SystemExit(main())"]
    with subprocess.Popen(
        [*command, "preset", "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_help_and_version_are_light():
    code = (
        "import sys\nfrom singleneuron.cli.main import main\n"
        "heavy = {'numba', 'sympy', 'matplotlib', 'scipy', 'xarray', 'pydantic', 'torch'}\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted(heavy & set(sys.modules)))"
    )
    for arguments in (["--help"], ["map", "--help"], ["--version"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "[]"
    assert provenance.revision() in done.stdout


def test_progress_keeps_quiet_without_a_terminal(capsys):
    with common.progress_bar("map", quiet=False) as progress:
        progress(1, 2)
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("", "")
