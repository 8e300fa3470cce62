"""Who holds a file, by the kernel's locks and where a file system has none."""

import errno
import fcntl
import multiprocessing
import os
import platform
import subprocess
import sys
import time

import pytest

from signflow import locks

NOBODY_HERE = "elsewhere"


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def without_locks(monkeypatch, request):
    """As Lustre and NFS are often mounted."""
    number = getattr(errno, request.param)

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def _gone():
    """The number of a process that has ended."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_one_holds_it_and_the_others_are_told_who(tmp_path):
    path = tmp_path / "new" / "lock"
    with locks.hold(path, pytest.fail):
        assert locks.is_held(path)
        who = rf"process {os.getpid()} on {platform.node()} is working there; wait for it"
        with pytest.raises(locks.Busy, match=who), locks.hold(path):
            pass
    assert not locks.is_held(path)
    assert path.read_text() == ""


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys, pathlib; from signflow import locks\n"
        "with locks.hold(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(locks.Busy, match=f"process {process.pid} on"), locks.hold(path):
            pass
        process.kill()
    with locks.hold(path):
        pass


def test_a_file_stands_for_a_lock_that_the_file_system_does_not_have(tmp_path, without_locks):
    said, path = [], tmp_path / "lock"
    with locks.hold(path, said.append):
        assert locks.beside(path).read_text() == f"process {os.getpid()} on {platform.node()}"
        assert locks.is_held(path)
        message = f"lock.held' names process {os.getpid()} on .*; wait for it, or delete that file if"
        with pytest.raises(locks.Busy, match=message), locks.hold(path):
            pass
        assert locks.beside(path).exists()
    assert "this file system has no locks" in said[0]
    assert not locks.is_held(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]


def test_who_asks_whether_it_is_held_is_in_nobodys_way(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    code = (
        "import sys, pathlib; from signflow import locks\n"
        "print('asking', flush=True)\nwhile True: locks.is_held(pathlib.Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"asking\n"
        for _ in range(300):
            with locks.hold(path):
                pass
        process.kill()


def test_a_link_to_nowhere_is_an_error_and_no_endless_loop(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "gone" / "lock")
    with pytest.raises(FileNotFoundError), locks.hold(tmp_path / "lock"):
        pass


def test_a_full_disk_leaves_no_file_that_stands_for_a_lock(tmp_path, without_locks, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(locks, "_this_process", full)
    with pytest.raises(OSError, match="No space left"), locks.hold(tmp_path / "lock"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]


def test_another_error_is_not_taken_for_a_missing_lock(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error") as caught, locks.hold(tmp_path / "lock"):
        pass
    assert caught.value.filename == str(tmp_path / "lock")


@pytest.mark.parametrize("host", ["", NOBODY_HERE])
def test_a_process_that_is_gone_holds_nothing_but_one_elsewhere_may(tmp_path, without_locks, host):
    path = tmp_path / "lock"
    path.touch()
    locks.beside(path).write_text(f"process {_gone()} on {host or platform.node()}")
    assert locks.is_held(path) is bool(host)
    if host:
        with pytest.raises(locks.Busy, match="on elsewhere; wait for it, or delete"), locks.hold(path):
            pass
        return
    with locks.hold(path):
        assert locks.is_held(path)


def test_who_finds_a_stale_file_late_does_not_remove_the_new_one(tmp_path, monkeypatch, without_locks):
    path = tmp_path / "lock"
    stale = f"process {_gone()} on {platform.node()}"
    locks.beside(path).write_text(stale)
    read = locks._read

    def overtaken(file):
        """Another process takes over between this one's look and its next step."""
        text = read(file)
        if text == stale and file == locks.beside(path):
            file.unlink()
            file.write_text(f"process 1 on {NOBODY_HERE}")
        return text

    monkeypatch.setattr(locks, "_read", overtaken)
    with pytest.raises(locks.Busy, match="just started"), locks.hold(path):
        pass
    assert read(locks.beside(path)) == f"process 1 on {NOBODY_HERE}"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lock", "lock.held"]


def test_a_link_that_comes_after_another_took_over_does_not_remove_the_new_one(
    tmp_path, monkeypatch, without_locks
):
    path = tmp_path / "lock"
    stale = f"process {_gone()} on {platform.node()}"
    locks.beside(path).write_text(stale)
    link = os.link

    def overtaken(source, target):
        """The system looks the stale file up; another process takes over; then the system makes the link."""
        link(source, tmp_path / "looked up")
        source.unlink()
        source.write_text(f"process 1 on {NOBODY_HERE}")
        link(tmp_path / "looked up", target)

    monkeypatch.setattr(os, "link", overtaken)
    with pytest.raises(locks.Busy, match="just started"), locks.hold(path):
        pass
    assert locks.beside(path).read_text() == f"process 1 on {NOBODY_HERE}"


def _compete(path, barrier, inside, most):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = flock
    barrier.wait()
    for _ in range(200):
        try:
            with locks.hold(path):
                with inside.get_lock():
                    inside.value += 1
                    most.value = max(most.value, inside.value)
                time.sleep(0.001)
                with inside.get_lock():
                    inside.value -= 1
            os.link(path.with_name("stale"), locks.beside(path))  # as one that was killed leaves it
        except (locks.Busy, FileExistsError):
            continue


def test_never_two_hold_it_however_many_find_stale_files(tmp_path):
    context = multiprocessing.get_context("fork")
    (tmp_path / "stale").write_text(f"process {_gone()} on {platform.node()}")
    barrier, inside, most = context.Barrier(4), context.Value("i", 0), context.Value("i", 0)
    racers = [
        context.Process(target=_compete, args=(tmp_path / "lock", barrier, inside, most)) for _ in range(4)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert most.value == 1
