"""Runs on file systems without locks, where another file serves as the lock."""

import errno
import fcntl
import os
import platform

from deepexp.cli import main
from deepexp.storage import status
from signflow import locks


def test_a_run_trains_and_has_a_status_without_locks(tmp_path, capsys, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    settings = ["model.width=0.25", "data.limit=64", "train.batch_size=32"]
    run = ["train", "--levels", "0", "--epochs", "1", "--out", str(tmp_path / "run"), "--set", *settings]
    assert main.main(run) == 0
    assert "lock.held' as the lock" in capsys.readouterr().out
    assert [one.state for one in status.status(tmp_path)] == ["complete"]
    (tmp_path / "run" / "levels.csv").unlink()
    assert [one.state for one in status.status(tmp_path)] == ["stopped"]
    locks.beside(tmp_path / "run" / "lock").write_text(f"process 1 on {platform.node()}")
    assert [one.state for one in status.status(tmp_path)] == ["running"]
    assert main.main(run) == 2
    assert "names process 1 on" in capsys.readouterr().err
