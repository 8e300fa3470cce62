"""A run killed at any moment, resumed each time, ends in the bits of the uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from deepexp import folder as layout
from deepexp import levels
from deepexp.config import build, to_toml

# Runs a configuration; given a number, dies at that os.replace: after the temporary write, before the rename.
DRIVER = """
import os, signal, sys
from pathlib import Path
from deepexp import levels
from deepexp.config import read
deadly = int(sys.argv[3])
real = os.replace
def replace(*paths):
    global deadly
    deadly -= 1
    if deadly == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*paths)
os.replace = replace
config = read(Path(sys.argv[1]).read_text())
for event in levels.run(config, Path(sys.argv[2])):
    print("event", flush=True)
"""


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path, same_run):
    settings = {
        "algorithm": "wr",
        "policy.rewind_step": 7,
        "data.crop_padding": 1,
        "data.flip": "random",
        "train.epochs": 10,
        "pruning.levels": 4,
    }
    config = build(settings)
    (tmp_path / "config.toml").write_text(to_toml(config))
    for _ in levels.run(config, tmp_path / "whole"):
        pass
    dice = random.Random(0)
    kills, renames = 0, 0
    while not layout.is_complete(tmp_path / "killed", config):
        rename = kills % 2 == 1
        deadly = dice.randrange(1, 14) if rename else 0
        command = [
            sys.executable,
            "-c",
            DRIVER,
            str(tmp_path / "config.toml"),
            str(tmp_path / "killed"),
            str(deadly),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        if kills >= 20:
            process.wait(timeout=120)
        elif not rename:
            assert process.stdout.readline()  # it trains
            time.sleep(dice.uniform(0, 0.5))
            os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=120)
        process.stdout.close()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            renames += rename
        else:
            assert process.returncode == 0
    assert kills == 20, f"the run was over after {kills} kills; make it longer"
    assert renames == 10
    same_run(tmp_path / "whole", tmp_path / "killed")
