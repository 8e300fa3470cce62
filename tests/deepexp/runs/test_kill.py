"""A run killed at any moment, resumed each time, ends in the bits of the uninterrupted one."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepexp.config.build import build, to_toml
from deepexp.runs import run
from deepexp.schedule import execute
from deepexp.storage import completeness

# Runs a configuration. Given a number, dies at that os.replace: after the first byte of a temporary file is
# written and before its rename, with the given share of the file on the disk. Checkpoints come after a pause.
DRIVER = """
import os, signal, sys
from pathlib import Path
from deepexp.config.build import read
from deepexp.runs import checkpoint, run
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
for event in run.run(config, Path(sys.argv[2])):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "count"),
    [({}, 20), ({"train.parameterization": "sign-in", "train.reset_epochs": 3}, 10)],
    ids=["plain", "sign-in"],
)
def test_kills_change_no_bit(tmp_path, same_run, parameters, count):
    """Half of them at any time, half while a file is written, the very first one among them."""
    settings = {
        "algorithm": "wr",
        "policy.rewind_step": 7,
        "data.crop_padding": 1,
        "data.flip": "random",
        "train.epochs": 10,
        "pruning.levels": 4,
        **parameters,
    }
    config = build(settings)
    (tmp_path / "config.toml").write_text(to_toml(config))
    for _ in run.run(config, tmp_path / "whole"):
        pass
    killed, dice, kills = tmp_path / "killed", random.Random(0), 0
    while not completeness.is_complete(killed, config):
        writing = kills % 2 == 0 and kills < count
        deadly = 0 if not writing else 1 if kills == 0 else dice.randrange(1, 14)
        arguments = [str(tmp_path / "config.toml"), str(killed), str(deadly), str(dice.choice([0, 0.5, 1]))]
        arguments.append(str(dice.choice([0, 0.3, 60])))
        process = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE)
        assert process.stdout.readline()
        if kills < count and not writing:
            time.sleep(dice.uniform(0, 2))
            os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=120)
        process.stdout.close()
        if kills >= count:
            assert process.returncode == 0
            continue
        assert process.returncode == -signal.SIGKILL, f"the run was over after {kills} kills; make it longer"
        kills += 1
        if kills == 1:  # nothing but the lock and the first file's temporary one
            assert sorted(path.name[:8] for path in killed.iterdir()) == [".config-", "lock"]
    assert kills == count
    same_run(tmp_path / "whole", killed)


class Killed(BaseException):
    """Ends a run between two operations on files, and every operation after it: none of a dead process is."""


@pytest.fixture
def deadly(monkeypatch):
    """Count the operations on files; those from number `at` on raise Killed, with half of a write done."""
    state = {"count": 0, "at": 0}

    def alive():
        state["count"] += 1
        if state["at"] and state["count"] >= state["at"]:
            raise Killed

    def guarded(real):
        def call(*arguments, **options):
            alive()
            return real(*arguments, **options)

        return call

    def write_bytes(path, content):
        alive()
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            alive()
            file.write(content[len(content) // 2 :])

    for name in ("replace", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    return state


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_kill_between_any_two_operations_on_files_changes_no_file(tmp_path, deadly, same_run, seeds):
    """The rewind point and the signs of every epoch among them; of a stack, each member's files."""
    alone = {"algorithm": "wr", "policy.rewind_step": 1, "train.signs": "epoch", "pruning.levels": 1}
    stacked = {"machine.stack": list(seeds), "pruning.levels": 0}
    settings = {
        **(alone if len(seeds) == 1 else stacked),
        "model.width": 0.125,
        "data.limit": 32,
        "train.epochs": 2,
        "train.batch_size": 16,
    }
    configs = [build({**settings, "seed": seed}) for seed in seeds]

    def train(name):
        folders = [tmp_path / name / str(seed) for seed in seeds]
        for _ in execute.trained(configs, folders, lambda _: None):
            pass

    train("whole")
    deadly.update(count=0)
    train("again")  # without what is done once in a process
    whole, places = deadly["count"], 0
    for at in range(1, whole + 1):
        deadly.update(count=0, at=at)
        with contextlib.suppress(Killed):
            train(str(at))
        places += deadly["count"] >= at
        deadly.update(at=0)
        train(str(at))
        for seed in seeds:
            same_run(tmp_path / "whole" / str(seed), tmp_path / str(at) / str(seed))
    assert places == whole > 40
