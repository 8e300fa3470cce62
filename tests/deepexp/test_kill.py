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

# Runs a configuration. Given a number, dies at that os.replace: after the first byte of a temporary file is
# written and before its rename, with the given share of the file on the disk. Checkpoints come after a pause.
DRIVER = """
import os, signal, sys
from pathlib import Path
from deepexp import checkpoint, levels
from deepexp.config import read
deadly, share, checkpoint.PAUSE = int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
real = os.replace
def replace(*paths):
    global deadly
    deadly -= 1
    if deadly == 0:
        os.truncate(paths[0], round(share * os.path.getsize(paths[0])))
        os.kill(os.getpid(), signal.SIGKILL)
    real(*paths)
os.replace = replace
config = read(Path(sys.argv[1]).read_text())
print("begins", flush=True)
for event in levels.run(config, Path(sys.argv[2])):
    pass
"""


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path, same_run):
    """Ten at any time from the run's start on, ten while a file is written, the very first one among them."""
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
    killed, dice, kills = tmp_path / "killed", random.Random(0), 0
    while not layout.is_complete(killed, config):
        writing = kills % 2 == 0 and kills < 20
        deadly = 0 if not writing else 1 if kills == 0 else dice.randrange(1, 14)
        arguments = [str(tmp_path / "config.toml"), str(killed), str(deadly), str(dice.choice([0, 0.5, 1]))]
        arguments.append(str(dice.choice([0, 0.3, 60])))
        process = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE)
        assert process.stdout.readline()
        if kills < 20 and not writing:
            time.sleep(dice.uniform(0, 2))
            os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=120)
        process.stdout.close()
        if kills >= 20:
            assert process.returncode == 0
            continue
        assert process.returncode == -signal.SIGKILL, f"the run was over after {kills} kills; make it longer"
        kills += 1
        if kills == 1:  # nothing but the lock and the first file's temporary one
            assert sorted(path.name[:8] for path in killed.iterdir()) == [".config-", "lock"]
    assert kills == 20
    same_run(tmp_path / "whole", killed)
