"""The option `--data`: the commands train on the samples of a file, and another file is another result."""

import json

import numpy as np
import pytest

import singleneuron as sn
from signflow import results
from singleneuron.cli import main

DATA = sn.Sample.draw(d=2, n=30, noise=0.3, seed=8)
COMMANDS = (
    "map --resolution 5",
    "study --runs 6 --workers 1",
    "trajectory --a 1 --w -0.2 0.5 --t-end 3 --points 4",
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", x=DATA.x, y=DATA.y)
    np.savez("other.npz", x=DATA.x, y=DATA.y + 0.1)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", COMMANDS)
def test_another_file_is_another_result(line, capsys):
    command = [*line.split(), "--quiet", "--out", "result.nc", "--data"]
    assert main.main([*command, "own.npz"]) == 0
    assert main.main([*command, "own.npz"]) == 0  # its own earlier result
    config = json.loads(results.read("result.nc").attrs["config"])
    assert (config["d"], config["n"]) == (2, 30)
    assert config["problem"] == sn.problem.data.identity(sn.read_sample("own.npz"))
    assert capsys.readouterr().err == ""
    assert main.main([*command, "other.npz"]) == 2
    assert (
        "another configuration (different: problem.arrays_sha256, problem.file_sha256)"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("files")
def test_a_trajectory_follows_the_samples_of_the_file():
    line = "trajectory --data own.npz --a 1 --w -0.2 0.5 --t-end 3 --points 4 --quiet --out path.nc"
    assert main.main(line.split()) == 0
    starts = sn.State(a=[1.0], w=[[-0.2, 0.5]])
    path = sn.integrate(DATA, starts, t_eval=np.linspace(0, 3, 4), method="ode").state
    found = results.read("path.nc")
    np.testing.assert_array_equal(found.w.transpose("time", "coordinate"), path.w[:, 0])
    np.testing.assert_array_equal(found.loss, sn.loss(DATA, path)[:, 0])


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give --d, the number of input coordinates, or --data, a file of samples"),
        (["--data", "missing.csv"], "'missing.csv' must be a readable file of samples"),
        (["--data", "own.npz", "--d", "3"], "d belongs to the problem"),
        (["--data", "own.npz", "--n", "5"], "n belongs to the problem"),
        (["--data", "own.npz", "--noise", "0.1"], "noise belongs to the problem"),
    ],
)
def test_bad_input_is_one_line(line, more, message, capsys):
    assert main.main([*line.split(), *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
