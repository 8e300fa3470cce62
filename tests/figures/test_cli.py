"""`figures draw`: one line and exit code 2 for what it cannot draw, nothing left behind."""

import os
import subprocess
import sys

import pytest
import xarray as xr

from figures import cli
from signflow import provenance, results


def _fails(capsys, arguments, message):
    assert cli.main(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert message in streams.err


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys):
    source, out = tmp_path / "results", tmp_path / "figures"
    source.mkdir()
    folders = ["--results", str(source), "--out", str(out)]
    _fails(capsys, ["draw", "fig9", *folders], "must be one of fig1a")
    (source / ".nc").write_text("")
    for odd in ("", "../fig1a", "."):
        _fails(capsys, ["draw", odd, *folders], "must be given by its name, or as a file that ends in")
    _fails(capsys, ["draw", "all", "fig1a", *folders], "'all' must be the only name, got all fig1a")
    _fails(capsys, ["draw", "all", *folders], f"the result file '{source}/fig1a.nc' does not exist")
    (source / "fig1b.nc").write_text("not a result")
    _fails(capsys, ["draw", "fig1b", *folders], "cannot read")
    results.write({"map": xr.Dataset({"x": 1.0})}, source / "fig1b.nc", config={})
    _fails(capsys, ["draw", "fig1b", *folders], "must hold the tables that fig1b draws")
    results.write(xr.Dataset({"x": 1.0}), source / "fig1b.nc", config={})
    _fails(capsys, ["draw", "fig1b", *folders], "must hold the tables that fig1b draws")
    results.write({"map": xr.Dataset({"x": 1.0})}, source / "mine.nc", config={})
    _fails(capsys, ["draw", "mine", *folders], "must hold the tables that mine draws")
    (tmp_path / "file").write_text("")
    _fails(capsys, ["draw", "fig1b", "--results", str(source), "--out", str(tmp_path / "file")], "writable")
    assert not out.exists()


@pytest.mark.parametrize("arguments", [[], ["paint"], ["draw", "all", "--re", "x"]])
def test_usage_errors_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_backend_of_a_notebook_is_not_needed(tmp_path):
    code = "from figures.cli import main; raise SystemExit(main(['draw', 'fig1a', '--results', 'none']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"MPLBACKEND": "module://a_backend.that_is_not_there"},
    )
    assert done.returncode == 2
    assert "does not exist; create it first" in done.stderr


def test_help_and_version_are_light():
    code = (
        "import sys\nfrom figures.cli import main\n"
        "try: main([sys.argv[1]])\n"
        "finally: print(sorted({'matplotlib', 'numpy', 'xarray'} & set(sys.modules)))"
    )
    for option, expected in (("--help", "draw results"), ("--version", provenance.revision())):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, timeout=60, check=True
        )
        assert expected in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"
