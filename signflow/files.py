"""Write files completely or not at all, and check in advance that they can be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from signflow.provenance import started_with

SUFFIXES = (".nc", ".csv")


def check_output(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Make sure that a result can be written to `path`; leave no file behind.

    Parameters
    ----------
    path : str | Path
        File to be written later.
    suffixes : tuple[str, ...]
        The allowed endings; if empty, any ending is allowed.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the path has a different ending or is a folder, or if files cannot be written into its folder.
    """
    path = Path(path)
    started_with()  # compute the digest now, since the sources may be edited during the run
    if suffixes and path.suffix not in suffixes:
        raise ValueError(f"the output must end in {' or '.join(suffixes)}, got '{path}'")
    if path.is_dir():
        raise ValueError(f"the output must be a file, but '{path}' is a folder")
    check_folder(path.parent)
    return path


def check_folder(folder: str | Path, name: str = "the output's folder") -> None:
    """Make sure that files can be written into `folder`; do not create the folder.

    Parameters
    ----------
    folder : str | Path
        Folder to be used later. If it does not exist yet, its nearest existing parent must be writable.
    name : str
        What the error message calls the folder.

    Raises
    ------
    ValueError
        If files cannot be written into the folder.
    """
    folder = Path(folder).absolute()
    while not (folder.exists() or folder.is_symlink()):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{name} must be writable, but '{folder}' is not ({error.strerror}); choose another"
        ) from None


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, without its byte-order mark.

    Parameters
    ----------
    path : str | Path
        The file.

    Returns
    -------
    str
        The text, with a single newline character at the end of each line.

    Raises
    ------
    ValueError
        If the file cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' must be UTF-8 text, but is invalid at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ValueError(
            f"'{path}' must be a readable file, but it is not ({error.strerror}); choose another"
        ) from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    Parameters
    ----------
    path : str | Path
        The file; its folder is created if it is missing.

    Yields
    ------
    Path
        A temporary path in the same folder, to be written in the block. The temporary file replaces `path` if
        the block succeeds, and is removed if the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # If the disk is full, a failed write reports no file name, and a failed rename reports `temporary`.
        if error.errno is not None and str(error.filename) in ("None", str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
