"""Files written completely or not at all."""

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
    """Return `path`, having made sure that a result can be written there, without leaving anything behind.

    Raises ValueError when the path ends in none of `suffixes` (if any), or when the folder cannot be written.
    """
    path = Path(path)
    started_with()  # what computes a result is what stands here before it is computed
    if suffixes and path.suffix not in suffixes:
        raise ValueError(f"the output must end in {' or '.join(suffixes)}, got '{path}'")
    if path.is_dir():
        raise ValueError(f"the output must be a file, but '{path}' is a folder")
    check_folder(path.parent)
    return path


def check_folder(folder: str | Path, name: str = "the output's folder") -> None:
    """Raise ValueError, in which `name` says what it is, unless files can be written into `folder`.

    What is missing of the folder must be one that can be made; nothing of it is.
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
    """The text of a UTF-8 file, without a byte-order mark, lines ending in a newline alone; ValueError."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' must be UTF-8 text, but it is not at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ValueError(
            f"'{path}' must be a file that can be read, but it is not ({error.strerror}); give another"
        ) from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block succeeds and vanishes when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # A write to a full disk names no file, and a rename the temporary one.
        if error.errno is not None and str(error.filename) in ("None", str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
