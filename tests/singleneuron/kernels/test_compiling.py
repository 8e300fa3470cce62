"""The cache of compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import singleneuron
from singleneuron.kernels import compiling

PACKAGE = Path(singleneuron.__file__).parent


def run(folder: Path, code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True
    ).stdout.strip()


def test_editing_a_callee_in_another_file_changes_the_next_run(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = tmp_path / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "kernel.py").write_text((PACKAGE / "kernels" / "compiling.py").read_text())
    callee = package / "callee.py"
    callee.write_text("from lab.kernel import routine\n\n@routine\ndef double(x):\n    return 2.0 * x\n")
    (package / "entry.py").write_text(
        "from lab.kernel import kernel\nfrom lab.callee import double\n\n"
        "@kernel()\ndef entry(x):\n    return double(x)\n"
    )
    code = "from lab.entry import entry; print(entry(3.0), entry.stats.cache_hits)"
    assert run(tmp_path, code).startswith("6.0 ")
    assert run(tmp_path, code) == "6.0 {(float64,): 1}" or run(tmp_path, code).endswith("1})")
    callee.write_text(callee.read_text().replace("2.0 * x", "5.0 * x"))
    assert run(tmp_path, code).startswith("15.0 ")
    folders = [path.name for path in (package / "__pycache__").iterdir() if path.is_dir()]
    assert len(folders) == 1, "the stale machine code is removed"


@pytest.mark.parametrize(
    "imports",
    [
        "from lab.far.callee import double",
        "from lab.far.callee import (\n    double,\n)",
        "from lab.far import callee\ndouble = callee.double",
        "import lab.far.callee as other\ndouble = other.double",
        "from ..far.callee import double",
        "from .. import far\nfrom ..far import callee as other\ndouble = other.double",
        "from lab.far.callee import *",
        "from lab.middle import double",
        "if True:\n    from lab.far.callee import double",
    ],
)
def test_digest_follows_a_callee_two_folders_away_by_any_import(tmp_path, imports):
    files = {
        "lab/__init__.py": "",
        "lab/far/__init__.py": "",
        "lab/far/callee.py": "def double(x):\n    return 2.0 * x\n",
        "lab/middle/__init__.py": "from lab.far.callee import double\n",
        "lab/near/__init__.py": "",
        "lab/near/entry.py": f"{imports}\n\ndef entry(x):\n    return double(x)\n",
        "lab/near/other.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    module, callee = tmp_path / "lab/near/entry.py", tmp_path / "lab/far/callee.py"
    before = compiling.kernel_digest(module)
    (tmp_path / "lab/near/other.py").write_text("# edited\n")
    assert compiling.kernel_digest(module) == before
    callee.write_text("def double(x):\n    return 3.0 * x\n")
    assert compiling.kernel_digest(module) != before


def _lab(folder, monkeypatch):
    """A package with one kernel, whose cache lies within."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = folder / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "kernel.py").write_text((PACKAGE / "kernels" / "compiling.py").read_text())
    (package / "entry.py").write_text(
        "from lab.kernel import kernel\n\n@kernel()\ndef entry(x):\n    return 2.0 * x\n"
    )
    return package


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".nbi", lambda content: b""),
        (".nbi", lambda content: bytes(len(content))),
        (".nbc", lambda content: content[: len(content) // 2]),
    ],
)
def test_a_damaged_cache_is_told_once_and_compiled_again(tmp_path, monkeypatch, suffix, damage):
    package = _lab(tmp_path, monkeypatch)
    code = "from lab.entry import entry; print(entry(3.0), sum(entry.stats.cache_hits.values()))"

    def again() -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        return done.stdout.strip(), done.stderr

    assert again() == ("6.0 0", "")
    assert again() == ("6.0 1", "")
    (file,) = package.rglob(f"*{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    printed, said = again()
    assert printed == "6.0 0"
    assert said.count("\n") == 1
    assert f"compiled kernels cannot be read from '{file.parent}'" in said
    assert again() == ("6.0 1", "")


def test_a_full_disk_costs_the_cache_and_no_result(tmp_path, monkeypatch):
    _lab(tmp_path, monkeypatch)
    code = (
        "import resource; from lab.entry import entry\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); print(entry(3.0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "6.0\n"
    assert "cannot be stored in" in done.stderr
    assert done.stderr.count("\n") == 1


# The last one to write the index is not the last to write the code.
RACE = """
import sys, time
from numba.core.caching import IndexDataCacheFile as Files
from lab.times import times
factor, load, save = int(sys.argv[1]), Files._load_index, Files._save_data
def load_slowly(self):
    index = load(self)
    time.sleep(0.8 + 0.2 * factor)
    return index
def save_slowly(self, *arguments):
    time.sleep(0 if factor > 2 else 3)
    save(self, *arguments)
Files._load_index, Files._save_data = load_slowly, save_slowly
print(times(factor)(1.0) == factor)
"""


def test_processes_that_compile_at_once_get_each_its_own_code(tmp_path):
    """One entry point with several closures has one index: two that save at once must not mix their code."""
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "__init__.py").touch()
    (lab / "times.py").write_text(
        "from singleneuron.kernels.compiling import kernel\n"
        "def times(factor):\n    @kernel()\n    def product(x):\n        return factor * x\n"
        "    return product\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{tmp_path}"}
    for _ in range(2):  # what the first ones compile and save the second ones load
        each = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(factor)], env=env, cwd=tmp_path, stdout=subprocess.PIPE
            )
            for factor in (2, 3, 5)
        ]
        assert [process.communicate()[0] for process in each] == [b"True\n"] * 3


LOADED = """
import sys, importlib
print([importlib.import_module(f"lab.{name}").run(1.0) for name in sys.argv[1:]])
"""


def test_kernels_that_different_processes_compiled_keep_their_own_routines(tmp_path):
    """numba numbers functions from 1 in each process, so here both closures `product` have one number."""
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "__init__.py").touch()
    # With so many calls LLVM does not inline the routine: it stays a function with a name.
    body = "        y = math.cos(y)\n" * 300
    (lab / "times.py").write_text(
        "import math\nfrom singleneuron.kernels.compiling import routine\n"
        "def times(factor):\n"
        f"    @routine\n    def product(x):\n        y = x\n{body}        return factor * x + 0.0 * y\n"
        "    return product\n"
    )
    for name, factor in {"double": 2.0, "triple": 3.0}.items():
        (lab / f"{name}.py").write_text(
            "from lab.times import times\nfrom singleneuron.kernels.compiling import kernel\n"
            f"product = times({factor})\n"
            "@kernel()\ndef run(x):\n    return product(x) + product(0.0 * x)\n"
        )
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{tmp_path}"}
    for names, expected in (("double", "[2.0]"), ("triple", "[3.0]"), ("double triple", "[2.0, 3.0]")):
        command = [sys.executable, "-c", LOADED, *names.split()]
        found = subprocess.run(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert found.stdout.strip() == expected


def test_only_compiled_code_can_call_a_routine():
    @compiling.routine
    def double(x):
        return 2.0 * x

    with pytest.raises(TypeError, match=r"only kernels can call double; from Python, call double.py_func"):
        double(1.0)
    assert compiling.kernel()(lambda x: double(x))(2.0) == 4.0


def test_digest_covers_what_a_kernel_is_built_from_and_nothing_else(tmp_path):
    folder = tmp_path / PACKAGE.name
    for path in PACKAGE.rglob("*.py"):
        copy = folder / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    module = folder / "flows" / "population.py"
    before = compiling.kernel_digest(module)
    for name, counts in {
        "kernels/dop853": True,
        "problem/status": True,
        "flows/population": True,
        "cli/main": False,
        "flows/line": False,
    }.items():
        path = folder / f"{name}.py"
        original = path.read_bytes()
        path.write_bytes(original + b"\n# edited\n")
        assert (compiling.kernel_digest(module) != before) == counts, name
        path.write_bytes(original)
    assert compiling.kernel_digest(module) == before
