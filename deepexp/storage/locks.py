"""Who works in a folder: a file that one process holds, by the kernel's lock or, where none is to be had, by
another file beside it.

The kernel lets go of its lock however a process ends. Lustre and NFS are often mounted without (ENOSYS,
ENOLCK, EOPNOTSUPP). To go on unprotected there, two processes would remove each other's files; to refuse
would leave those clusters without this program. So `NAME.held` is made, which only one process can make, and
says who it is. A process of this machine that is gone holds nothing; of one elsewhere nobody here can tell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from signflow.lock import NO_LOCKS


class Busy(ValueError):
    """Another process holds the file; the message ends with who and what to do, where that is known."""


@contextlib.contextmanager
def hold(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the file for this process. Raises Busy, or OSError where it cannot be written.

    `say` is told where the file system has no locks.
    """
    with path.open("w") as file, contextlib.ExitStack() as beside:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("another one is at work there; wait for it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            name = _beside(path)
            say(f"this file system has no locks ({error.strerror}): '{name}' stands for one")
            beside.enter_context(_made(name))
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the file; asks for a shared lock, which needs no right to write there."""
    if not path.is_file():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return _holder(_beside(path)) is not None
    return False


def wait(path: Path, pause: float = 0.5) -> None:
    """Return once no process holds the file."""
    while is_held(path):
        time.sleep(pause)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


@contextlib.contextmanager
def _made(path: Path) -> Iterator[None]:
    """Make the file, which nobody else may have made and still need, and remove it in the end."""
    if (holder := _holder(path)) is not None:
        raise Busy(f"'{path}' names {holder}; wait for it, or delete that file if it is gone")
    path.unlink(missing_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {platform.node()}")
    except FileExistsError:
        raise Busy("another one has just begun there; wait for it") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _holder(path: Path) -> str | None:
    """Whom the file names, unless it is a process of this machine that is gone."""
    try:
        number, _, host = path.read_text(encoding="utf-8", errors="replace").partition(" ")
    except FileNotFoundError:
        return None
    if host == platform.node() and number.isdecimal():
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return None
        except OSError:  # another user's
            pass
    return f"process {number} of {host}" if host else "a process"
