"""Ctrl-C, pressed at any time and as often as one likes, in programs of their own."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from signflow import command_line

ROOT = Path(__file__).resolve().parents[2]
# It says when it imports, works, puts things in order, and when Python itself ends; each takes its time.
BUSY = """
import os, time
from signflow import command_line

def take(name):
    os.write(1, name.encode() + b"\\n")
    time.sleep(float(os.environ[name.upper()]))

class Last:
    def __del__(self, take=take):
        take("ends")

last = Last()
take("imports")

def action():
    try:
        take("works")
    finally:
        take("orders")
        os.write(1, b"ordered\\n")

def main():
    return command_line.finish("busy", action)
"""
TIMES = {"IMPORTS": "0", "WORKS": "60", "ORDERS": "0", "ENDS": "0"}


@pytest.fixture
def interrupted(tmp_path):
    """Exit code, what was said and the errors, where Ctrl-C is pressed so often at each stage."""
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "cli.py").write_text(BUSY)
    (tmp_path / "busy" / "__init__.py").touch()
    program = [
        sys.executable,
        "-c",
        "from signflow.interrupt import program; raise SystemExit(program('busy', 'busy.cli'))",
    ]
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # as a shell's foreground job

    def press(presses, times, pause=0.05):
        env = {**os.environ, **TIMES, **times, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        said = []
        with subprocess.Popen(program, preexec_fn=heeding, env=env, **pipes) as process:
            for line in process.stdout:
                said.append(line.strip())
                for _ in range(presses.get(said[-1], 0)):
                    process.send_signal(signal.SIGINT)
                    time.sleep(pause)
            errors = process.stderr.read()
        return process.returncode, said, errors

    return press


@pytest.mark.parametrize("presses", [1, 2, 5])
def test_ctrl_c_ends_a_program_in_order_however_often_it_is_pressed(interrupted, presses):
    found = interrupted({"works": 1, "orders": presses - 1}, {"ORDERS": "0.5"})
    assert found == (130, ["imports", "works", "orders", "ordered", "ends"], "busy: interrupted\n")


def test_ctrl_c_ends_imports_in_one_line(interrupted):
    code, said, errors = interrupted({"imports": 1}, {"IMPORTS": "60"})
    assert (code, said[0], errors) == (130, "imports", "busy: interrupted\n")
    assert "works" not in said


def test_ctrl_c_does_not_disturb_how_python_ends(interrupted):
    """Of a program that was interrupted, and of one that was not."""
    stages = ["imports", "works", "orders", "ordered", "ends"]
    assert interrupted({"works": 1, "ends": 3}, {"ENDS": "0.5"}) == (130, stages, "busy: interrupted\n")
    assert interrupted({"ends": 3}, {"WORKS": "0", "ENDS": "0.5"}) == (0, stages, "")


def test_ctrl_c_ends_at_once_what_does_not_end_by_itself(interrupted):
    code, said, errors = interrupted({"works": 1, "orders": 8}, {"ORDERS": "60"}, pause=0.5)
    assert (code, said, errors) == (130, ["imports", "works", "orders"], "")


def test_a_signal_handler_of_others_stays(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    assert command_line.finish("program", lambda: 0) == 0
    assert signal.getsignal(signal.SIGINT) is before
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert command_line.finish("program", lambda: signal.getsignal(signal.SIGINT) != signal.SIG_IGN) == 0
    finally:
        signal.signal(signal.SIGINT, ours)


def test_the_sources_are_known_before_a_program_is_read(tmp_path):
    """What is edited while it loads must not pass for what it computed with."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").touch()
    asks = "from signflow import provenance\nknown = provenance.started_with.cache_info().currsize\n"
    (tmp_path / "slow" / "cli.py").write_text(asks + "def main():\n    return 0 if known else 1\n")
    script = "from signflow.interrupt import program; raise SystemExit(program('slow', 'slow.cli'))"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    assert subprocess.run([sys.executable, "-c", script], env=env).returncode == 0
