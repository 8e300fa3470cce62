"""Locks: files that only one process can hold at a time, so that two processes never work in one folder.

The kernel releases a lock however the process ends. But Lustre and NFS are often mounted without locks
(ENOSYS, ENOLCK, EOPNOTSUPP), and Windows lacks this kind of lock. A second file, `NAME.held`, then serves as
the lock: only one process can create it, and it names that process, its owner. If the owner ran on this
machine and has ended, the next process takes over. An owner on another machine cannot be checked from here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Error codes of file systems without locks."""


class Busy(ValueError):
    """Another process holds the file; the message names the process and says what to do."""


@contextlib.contextmanager
def hold(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the file `path` for this process while the context lasts.

    Parameters
    ----------
    path : Path
        The file; it is created, with its folder, if it is missing, and is not removed afterwards.
    say : callable
        Called with a line of text if the file system has no locks and another file serves as the lock.

    Yields
    ------
    None
        Within the context, this process holds the file.

    Raises
    ------
    Busy
        If another process holds the file.
    OSError
        If the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        file = _open(path, stack, say)
        # If the disk is full, the name of this process cannot be written, but the file is still locked.
        with contextlib.suppress(OSError):
            file.truncate(0)
            os.write(file.fileno(), _this_process().encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


def is_held(path: Path) -> bool:
    """Return whether any process holds the file `path`; the check needs only permission to read the file.

    Parameters
    ----------
    path : Path
        The file; it need not exist.

    Returns
    -------
    bool
        Whether the file is held.
    """
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            _lock(file, shared=True)
        except BlockingIOError:
            return True
        except OSError:
            return _running(_read(beside(path))) is not None
    return False


def wait(path: Path, pause: float = 0.5) -> None:
    """Wait until no process holds the file `path`.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    pause : float
        Seconds between checks.
    """
    while is_held(path):
        time.sleep(pause)


def beside(path: Path) -> Path:
    """Return the file that serves as the lock if the file system has no locks.

    Parameters
    ----------
    path : Path
        The file to be held.

    Returns
    -------
    Path
        The lock file, in the same folder.
    """
    return path.with_name(f"{path.name}.held")


def _open(path: Path, stack: contextlib.ExitStack, say: Callable[[str], None]) -> IO[Any]:
    """Open the file and lock it until `stack` is closed."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # the last holder has just removed the folder
            if path.is_symlink():  # a broken link, which would fail again
                raise
            continue
        attempt = contextlib.ExitStack()
        with attempt:
            attempt.enter_context(file)
            try:
                _lock_once_unobserved(file)
            except BlockingIOError:
                raise Busy(f"{_read_name(_text(file))} is working there; wait for it") from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    error.filename = str(path)
                    raise
                attempt.enter_context(_created(beside(path)))
                say(f"this file system has no locks ({error.strerror}); using '{beside(path)}' as the lock")
            # The previous holder may have removed the file between `open` and the lock.
            if _stands_at(path, file):
                stack.push(attempt.pop_all())
                return file


def _lock_once_unobserved(file: IO[Any]) -> None:
    """Lock an open file; retry briefly while another process holds it without having written its name there.

    That process may only be checking the file with `is_held`, which locks the file for microseconds.
    """
    for _ in range(20):
        try:
            _lock(file)
            return
        except BlockingIOError:
            if _text(file):
                raise
        time.sleep(0.01)
    _lock(file)


def _text(file: IO[Any]) -> str:
    """Return the present text of an open file."""
    file.seek(0)
    return str(file.read())


def _lock(file: IO[Any], shared: bool = False) -> None:
    """Lock an open file without waiting; raise BlockingIOError if another process holds it."""
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _stands_at(path: Path, file: IO[Any]) -> bool:
    """Return whether `path` still leads to an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False


@contextlib.contextmanager
def _created(path: Path) -> Iterator[None]:
    """Create the file that serves as the lock, and remove it when the context ends."""
    _remove_stale(path)
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise Busy("another process has just started there; wait for it") from None
    try:
        with file:
            file.write(_this_process())
        yield
    finally:
        path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove the file if its owner has ended; raise Busy if the owner may still be running.

    Two processes may find the same stale file. The slower process must not remove the new file that the
    faster process has created in the meantime. A process therefore first makes a hard link to the file. The
    name of the link is derived from the stale text, so only one process at a time can make it. The process
    then removes the file only if the link has the stale text and still leads to the same file. This check is
    necessary because the system may look up the file before another process takes over, and make the link
    afterwards.
    """
    stale = _read(path)
    if stale is None:
        return
    if (owner := _running(stale)) is not None:
        raise Busy(f"'{path}' names {owner}; wait for it, or delete that file if that process is gone")
    claim = path.with_name(f"{path.name}-{''.join(c if c.isalnum() else '-' for c in stale)}")
    try:
        os.link(path, claim)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Busy(
            f"'{path}' was left behind by {_read_name(stale)}, which is gone, but it cannot be taken over "
            f"({error.strerror}); delete it and '{claim}'"
        ) from None
    try:
        if _read(claim) == stale and _is_same_file(path, claim):
            path.unlink(missing_ok=True)
    finally:
        claim.unlink(missing_ok=True)


def _is_same_file(path: Path, other: Path) -> bool:
    """Return whether both paths lead to one file; False if either of them is missing."""
    with contextlib.suppress(FileNotFoundError):
        return path.samefile(other)
    return False


def _this_process() -> str:
    """Return the name that this process writes into the files that it holds."""
    return f"process {os.getpid()} on {platform.node()}"


def _read(path: Path) -> str | None:
    """Return the text of a file, or None if there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace")
    return None


def _read_name(text: str) -> str:
    """Return the name of the process that the text of a held file gives, on one line."""
    return " ".join(text.split()) or "another process"


def _running(text: str | None) -> str | None:
    """Return the name of the process in the text, or None if there is no text or that process has ended."""
    if text is None:
        return None
    number, _, host = text.removeprefix("process ").partition(" on ")
    if host == platform.node() and number.isdecimal():
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return None
        except OSError:  # the process belongs to another user
            pass
    return _read_name(text)
