"""A folder held by one process at a time; the system lets go of it however the process ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = "lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if it is missing; ValueError, naming the holder, if another one does.

    Where the file system has no locks (some Lustre and NFS mounts), a warning says so, and the work goes on.
    """
    with contextlib.closing(_take(folder)):
        yield


def _take(folder: Path) -> IO[Any]:
    """The open file that holds the lock until it is closed."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # who held it has just removed the folder
            continue
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(_busy(folder, file)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                error.filename = str(path)
                raise
            logging.getLogger(__name__).warning(
                "the file system of '%s' has no locks (%s); let no other process work there",
                *(folder, error.strerror),
            )
        if _is(path, file):
            with contextlib.suppress(OSError):  # a full disk: nobody will know who holds it
                file.truncate(0)
                os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
            return file
        file.close()  # its holder has removed it, and another one may stand there by now


def _busy(folder: Path, file: IO[Any]) -> str:
    file.seek(0)
    holder = " ".join(file.read().split()) or "another process"
    file.close()
    return (
        f"'{folder}' must belong to one process, but {holder} is at work there; wait, or name another output"
    )


def _is(path: Path, file: IO[Any]) -> bool:
    """Whether the open file still stands at `path`."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False
