"""The finished pieces of a study on disk: each written once, atomically, checked when read again."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures.results import atomic, source_digest

MANIFEST = "study.json"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1)


class Store:
    """A folder of chunks of one study, by name; without a folder nothing is kept.

    Raises ValueError where the folder holds anything but chunks made by this configuration and these sources.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self.folder = folder
        if folder is None:
            return
        manifest = folder / MANIFEST
        stated = {"config": json.loads(_text(config)), "source_digest": source_digest()}
        if manifest.is_file():
            _check_manifest(manifest, stated)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"'{folder}' must be a folder of chunks, but is not; remove it or name another")
        else:
            _write(manifest, _text(stated))

    def load(self, name: str) -> Any:
        """What `save` was given under this name; None if nothing, or if its checksum does not match."""
        if self.folder is None or not (path := self.folder / f"{name}.json").is_file():
            return None
        checksum, _, text = path.read_bytes().partition(b"\n")
        if checksum.decode(errors="replace") != hashlib.sha256(text).hexdigest():
            logging.getLogger(__name__).warning("the chunk '%s' is damaged; computing it again", path)
            return None
        return json.loads(text)

    def save(self, name: str, value: Any) -> None:
        if self.folder is not None:
            text = _text(value)
            _write(self.folder / f"{name}.json", f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def _check_manifest(manifest: Path, stated: Mapping[str, Any]) -> None:
    try:
        found = json.loads(manifest.read_text("utf-8"))
        theirs, ours = found["config"], stated["config"]
        differ = sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key))
        if found["source_digest"] != stated["source_digest"]:
            differ.append("source code")
    except (ValueError, KeyError, TypeError):
        differ = ["unreadable manifest"]
    if differ:
        raise ValueError(
            f"'{manifest.parent}' holds chunks of another study (different: {', '.join(differ)}); "
            "finish that one, name another output, or discard them with --fresh"
        )


def _write(path: Path, text: str) -> None:
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise RuntimeError(
            f"cannot write '{path}' ({error.strerror}); what is finished is kept in '{path.parent}': "
            "make room and run again"
        ) from None


def discard(folder: Path) -> None:
    """Remove a folder of chunks; anything else in it stays."""
    if (folder / MANIFEST).is_file():
        for path in [*folder.glob("*.json"), *folder.glob(".*.json")]:
            path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
