"""The distribution: a wheel built from the sdist works in a clean environment, outside the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command, cwd, **environment):
    """Run a command; return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900,
        env=clean | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sdist from what git tracks, and the wheel from the sdist; return the folder of both."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "venv", folder / "builder", cwd=folder)
    builder = folder / "builder" / "bin" / "python"
    run(builder, "-m", "pip", "install", "-q", "build", cwd=folder)
    run(builder, "-m", "build", source, "--outdir", folder, cwd=folder)
    return folder


def test_the_sdist_holds_what_a_packager_needs(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"Makefile", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "constraints.txt"}
    assert needed <= names
    assert {"tests/test_layers.py", "docs/index.md"} <= names


def test_the_wheel_holds_the_packages_alone(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = archive.namelist()
    folders = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"singleneuron", "deepexp", "figures", "signflow"}
    assert not [name for name in names if "benchmark" in name and name.startswith("singleneuron/")]
    for data in ("singleneuron/presets/fig1a.toml", "deepexp/recipes/fig3.toml", "figures/report/report.js"):
        assert data in names
    assert {f"{name}/py.typed" for name in folders} <= set(names)


def test_the_wheel_works_in_a_clean_environment(built, tmp_path):
    venv.create(tmp_path / "clean", with_pip=True)
    bin_ = tmp_path / "clean" / "bin"
    wheel = next(built.glob("*.whl"))
    run(bin_ / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    # A stranger's script of this name must not shadow anything.
    (work / "figures.py").write_text("raise RuntimeError('a stranger')\n", "utf-8")
    (work / "script.py").write_text(
        "import signflow, singleneuron\nprint(singleneuron.Population(d=2))\n", "utf-8"
    )
    assert "Population" in run(bin_ / "python", "script.py", cwd=work)
    run(bin_ / "singleneuron", "map", "--d", "1", "--resolution", "16", "--out", "map.nc", cwd=work)
    assert "fig1a" in run(bin_ / "singleneuron", "preset", "--list", cwd=work)
    run(bin_ / "singleneuron", "preset", "fig1a", "--out", "results", cwd=work)
    drawn = run(bin_ / "figures", "draw", "fig1a", "--results", "results", "--out", "drawn", cwd=work)
    assert (work / "drawn" / "fig1a.pdf").is_file(), drawn
