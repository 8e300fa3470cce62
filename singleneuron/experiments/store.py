"""Store the finished chunks of a study on disk. Each is written once, atomically, and checked when read."""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from signflow import locks
from signflow.files import atomic
from signflow.messages import Failure
from signflow.provenance import source_digest

MANIFEST = "study.json"
"""File that states which study the chunks in a folder belong to."""
LOCK = "lock"
"""File that a process keeps locked while it uses the folder."""
_CHUNK = re.compile(r"\d{4,}-\d{12,}-\d{12,}\.json")


def _text(value: Any) -> str:
    """Return `value` as a JSON string, which is the same for equal values."""
    return json.dumps(value, sort_keys=True, indent=1)


class Store:
    """The chunks of one study, stored by name in a folder. Without a folder nothing is kept. See `opened`."""

    def __init__(self, folder: Path | None) -> None:
        """Use the folder, which must exist unless it is None."""
        self.folder = folder

    def load(self, name: str) -> Any:
        """Return the value saved under a name, or None if it is missing or its checksum does not match."""
        if self.folder is None or not (path := self.folder / f"{name}.json").is_file():
            return None
        checksum, _, text = path.read_bytes().partition(b"\n")
        if checksum.decode(errors="replace") != hashlib.sha256(text).hexdigest():
            logging.getLogger(__name__).warning("the chunk '%s' is damaged; computing it again", path)
            return None
        return json.loads(text)

    def save(self, name: str, value: Any) -> None:
        """Save a value under a name, with a checksum."""
        if self.folder is not None:
            text = _text(value)
            _write(self.folder / f"{name}.json", f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")


@contextlib.contextmanager
def opened(folder: Path | None, config: Mapping[str, Any]) -> Iterator[Store]:
    """Open the chunks in a folder, and lock the folder so that no other process may use it meanwhile.

    Parameters
    ----------
    folder : Path or None
        The folder, which is created if it is missing. If None, nothing is kept.
    config : Mapping
        Everything that the chunks depend on besides the source code.

    Yields
    ------
    Store
        The store of the chunks.

    Raises
    ------
    ValueError
        If the folder holds anything but chunks of this configuration and source code, or if another process
        is using it.
    """
    if folder is None:
        yield Store(None)
        return
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"'{folder}' must be a folder of chunks, but is a file; choose another")
    manifest = folder / MANIFEST
    _check_strangers(folder)
    with _removed_if_empty(folder), _held(folder):
        stated = {"config": json.loads(_text(config)), "source_digest": source_digest()}
        if manifest.is_file():
            _check_manifest(manifest, stated)
        else:  # without a manifest, chunks left by an interrupted removal may belong to any study
            _clear(folder)
            try:
                _write(manifest, _text(stated))
            except RuntimeError:
                _remove_lock(folder)
                raise
        yield Store(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock the folder for this process, or raise a ValueError that names the process that holds it."""
    try:
        with locks.hold(folder / LOCK, logging.getLogger(__name__).warning):
            yield
    except locks.Busy as error:
        raise ValueError(
            f"'{folder}' must belong to one process, but {error}, or choose another output"
        ) from None


def _check_strangers(folder: Path) -> None:
    """Raise ValueError if the folder holds unknown files, apart from hidden files."""
    known = (MANIFEST, LOCK, locks.beside(folder / LOCK).name)
    others = [
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name not in known and not path.name.startswith((".", f"{known[-1]}-"))
        if not _CHUNK.fullmatch(path.name)
    ]
    if others:
        raise ValueError(
            f"'{folder}' must be a folder of chunks, but holds '{min(others)}'; "
            "remove that file, or choose another folder"
        )


def _check_manifest(manifest: Path, stated: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the differences if the chunks do not belong to the study `stated`."""
    try:
        found = json.loads(manifest.read_text("utf-8"))
        theirs, ours = found["config"], stated["config"]
        differ = _differing(theirs, ours)
        if found["source_digest"] != stated["source_digest"]:
            differ.append("source code")
    except (ValueError, KeyError, TypeError):
        differ = ["unreadable manifest"]
    if differ:
        raise ValueError(
            f"'{manifest.parent}' holds chunks of another study (different: {', '.join(differ)}); "
            "finish that study, choose another output, or discard the chunks with --fresh"
        )


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the names of the entries that differ; for 'groups', the names of the fields that differ."""
    names = {key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key)}
    pairs = list(zip(theirs.get("groups", ()), ours.get("groups", ()), strict=False))
    within = {key for one, other in pairs for key in one | other if one.get(key) != other.get(key)}
    return sorted({*names, *within} - ({"groups"} if within else set()))


def _write(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    with kept(path, path.parent), atomic(path) as temporary:
        temporary.write_text(text, "utf-8")


@contextlib.contextmanager
def kept(path: Path, folder: Path) -> Iterator[None]:
    """If writing fails within the context, report that the finished chunks are kept in their folder.

    Parameters
    ----------
    path : Path
        File to be written.
    folder : Path
        Folder of the chunks.

    Yields
    ------
    None
        While `path` is being written.

    Raises
    ------
    Failure
        Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise Failure(
            f"cannot write '{path}' ({error.strerror or error}); the finished chunks are kept in '{folder}'; "
            "make room and run again"
        ) from None


def discard(folder: Path) -> None:
    """Remove the chunks in a folder, then the folder itself unless it holds anything else.

    Parameters
    ----------
    folder : Path
        The folder; it need not exist.

    Raises
    ------
    ValueError
        If another process is using the folder.
    """
    if folder.is_dir() and any(folder.iterdir()):
        with _removed_if_empty(folder), _held(folder):
            _clear(folder)
            _remove_lock(folder)


def _remove_lock(folder: Path) -> None:
    """Remove the lock file from a folder that this process holds."""
    with contextlib.suppress(OSError):  # on Windows an open file cannot be removed
        (folder / LOCK).unlink()


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove the folder when the context ends, if it is empty. By then it must no longer be locked."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def discard_finished(folder: Path) -> None:
    """Discard the chunks of a study whose result has been written.

    A folder that another process is using is kept, since that process will discard it.

    Parameters
    ----------
    folder : Path
        The folder; it need not exist.
    """
    with contextlib.suppress(ValueError):
        discard(folder)


def _clear(folder: Path) -> None:
    """Remove the chunks in a folder and the files left by interrupted writes, and the manifest last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST):
        name = path.name.removeprefix(".")
        if _CHUNK.fullmatch(name) or name == MANIFEST or re.fullmatch(r"\..+-[0-9a-f]{8}\.json", path.name):
            path.unlink(missing_ok=True)
