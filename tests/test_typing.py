"""What type checkers see of the packages: they accept a user's script, and find the errors in another.

Both checkers start from outside the repository, so that they resolve the installed packages.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import singleneuron as sn

SCRIPTS = Path(__file__).parent / "scripts"
WRONG_LINES = {5, 6, 7, 8, 9}
MYPY = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir=/dev/null"]
PYRIGHT = [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable]


def check(checker, script, folder):
    """Run a type checker on a script in another folder; return its exit code and the lines with errors."""
    copy = folder / script
    copy.write_text((SCRIPTS / script).read_text("utf-8"), "utf-8")
    done = subprocess.run([*checker, str(copy)], cwd=folder, capture_output=True, text=True, timeout=300)
    lines = re.findall(rf"{re.escape(script)}:(\d+)[:\d]*\s*(?:-\s*)?error", done.stdout)
    return done.returncode, {int(line) for line in lines}, done.stdout + done.stderr


def test_the_public_names_are_listed_literally():
    from singleneuron import _HOME

    assert sn.__all__ == sorted(name for names in _HOME.values() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_type_checkers_accept_a_correct_script(checker, tmp_path):
    code, lines, said = check(checker, "user.py", tmp_path)
    assert (code, lines) == (0, set()), said


@pytest.mark.slow
@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=["mypy", "pyright"])
def test_type_checkers_find_each_error(checker, tmp_path):
    code, lines, said = check(checker, "typos.py", tmp_path)
    assert code == 1, said
    assert lines == WRONG_LINES, said
