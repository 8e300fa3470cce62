"""Who works in a folder, by the kernel's locks and where a file system has none."""

import errno
import fcntl
import os
import platform
import subprocess

import pytest

from deepexp.cli import main
from deepexp.storage import folder as layout
from deepexp.storage import locks, status


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def without_locks(monkeypatch, request):
    """As Lustre and NFS are often mounted."""
    number = getattr(errno, request.param)

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def _gone():
    """The number of a process that is no more."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_one_holds_it_and_the_others_are_told(tmp_path):
    with layout.lock(tmp_path, pytest.fail):
        assert locks.is_held(tmp_path / "lock")
        with pytest.raises(ValueError, match="another one is at work there; wait"), layout.lock(tmp_path):
            pass
    assert not locks.is_held(tmp_path / "lock")


def test_a_file_stands_for_a_lock_that_the_file_system_does_not_have(tmp_path, without_locks):
    said, beside = [], tmp_path / "lock.held"
    with layout.lock(tmp_path, said.append):
        assert beside.read_text() == f"{os.getpid()} {platform.node()}"
        assert locks.is_held(tmp_path / "lock")
        message = f"lock.held' names process {os.getpid()} of .*; wait for it, or delete that file if it is"
        with pytest.raises(ValueError, match=message), layout.lock(tmp_path):
            pass
        assert beside.exists()
    assert "this file system has no locks" in said[0]
    assert not beside.exists()
    assert not locks.is_held(tmp_path / "lock")


@pytest.mark.parametrize("host", ["", "elsewhere"])
def test_a_process_that_is_gone_holds_nothing_but_one_elsewhere_may(tmp_path, without_locks, host):
    (tmp_path / "lock").touch()
    (tmp_path / "lock.held").write_text(f"{_gone()} {host or platform.node()}")
    assert locks.is_held(tmp_path / "lock") is bool(host)
    if host:
        with pytest.raises(ValueError, match="of elsewhere; wait for it, or delete"), layout.lock(tmp_path):
            pass
        return
    with layout.lock(tmp_path):
        assert locks.is_held(tmp_path / "lock")


def test_a_run_trains_and_has_a_status_without_locks(tmp_path, capsys, without_locks):
    settings = ["model.width=0.25", "data.limit=64", "train.batch_size=32"]
    run = ["train", "--levels", "0", "--epochs", "1", "--out", str(tmp_path / "run"), "--set", *settings]
    assert main.main(run) == 0
    assert "lock.held' stands for one" in capsys.readouterr().out
    assert [one.state for one in status.status(tmp_path)] == ["complete"]
    (tmp_path / "run" / "levels.csv").unlink()
    assert [one.state for one in status.status(tmp_path)] == ["stopped"]
    (tmp_path / "run" / "lock.held").write_text(f"1 {platform.node()}")
    assert [one.state for one in status.status(tmp_path)] == ["running"]
    assert main.main(run) == 2
    assert "names process 1 of" in capsys.readouterr().err
