"""Download data sets: resume interrupted transfers, verify archives and unpack them."""

from __future__ import annotations

import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepexp.data.catalogue import SOURCES, Source, folder


def fetch(name: str, *, url: str | None = None, progress: bool = True) -> Path:
    """Download and unpack a data set, unless this machine already has it.

    An interrupted transfer resumes where it stopped. A failed request is repeated. An archive whose MD5
    differs from the published one is deleted.

    Parameters
    ----------
    name : str
        A key of `SOURCES`.
    url : str, optional
        The address of a mirror of the archive.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Path
        The folder of the data set.

    Raises
    ------
    ValueError
        If the data set cannot be downloaded, or an incomplete copy is in its place.
    """
    source, target = SOURCES[name], folder()
    if _is_there(source, target):
        return target / source.folder
    if name == "imagenet":
        raise ValueError(
            "imagenet must be downloaded by hand, since image-net.org requires registration; put its "
            f"train/CLASS/*.JPEG and val/CLASS/*.JPEG into '{target / source.folder}'"
        )
    if not source.url:
        return target
    _check_free(source, target)
    import pooch
    import requests

    archive = url or source.url
    pooch.get_logger().setLevel("INFO" if progress else "WARNING")
    registry = pooch.create(
        path=target,
        base_url=archive.rpartition("/")[0] + "/",
        registry={Path(source.url).name: f"md5:{source.md5}"},
        urls={Path(source.url).name: archive},
        retry_if_failed=4,
    )
    try:
        path = registry.fetch(Path(source.url).name, downloader=_resuming(progress))
    except (OSError, ValueError, requests.RequestException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{archive} must be an archive with MD5 {source.md5}, but fetching failed: {reason}; try again, "
            "name a mirror with --url, or put the official files under SIGNFLOW_DATA"
        ) from None
    _unpack(Path(path), target, source)
    return target / source.folder


def _is_there(source: Source, target: Path) -> bool:
    return all((target / source.folder / part).exists() for part in source.parts)


def _check_free(source: Source, target: Path) -> None:
    """Raise ValueError if a missing data set's folder is occupied, for example by an incomplete copy."""
    place = target / source.folder
    if place.is_symlink() or place.is_file() or (place.is_dir() and any(place.iterdir())):
        missing = next(part for part in source.parts if not (place / part).exists())
        raise ValueError(
            f"'{place}' must be complete or absent, but '{missing}' is missing there; move or delete the "
            "folder, and fetch again"
        )


def _resuming(progress: bool) -> Callable[[str, str, Any], None]:
    """Return a downloader for pooch that keeps received data in a '.part' file and requests only the rest."""

    def download(url: str, output: str, pooch: Any) -> None:
        import requests
        import urllib3
        from rich.progress import Progress

        part = Path(pooch.path) / f"{Path(url).name}.part"
        have = part.stat().st_size if part.exists() else 0
        # Some servers send every .gz file with 'Content-Encoding: gzip', so that requests would unpack it.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=30) as response:
            if response.status_code == 416:  # nothing is left to download
                os.replace(part, output)
                return
            response.raise_for_status()
            mode = "ab" if response.status_code == 206 else "wb"
            have = have if mode == "ab" else 0
            length = have + int(response.headers.get("Content-Length", 0))
            with part.open(mode) as file, Progress(disable=not progress, transient=True) as bar:
                task = bar.add_task(Path(url).name, total=length or None, completed=have)
                try:
                    for chunk in response.raw.stream(1 << 16, decode_content=False):
                        file.write(chunk)
                        bar.advance(task, len(chunk))
                except urllib3.exceptions.HTTPError as error:
                    raise requests.ConnectionError(error) from None
        if part.stat().st_size < length:
            raise requests.ConnectionError(f"the transfer stopped after {part.stat().st_size:,} bytes")
        os.replace(part, output)

    return download


def _unpack(archive: Path, target: Path, source: Source) -> None:
    """Unpack an archive in a temporary folder, and move the data set into place when it is complete."""
    with tempfile.TemporaryDirectory(dir=target) as aside:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(aside)
        else:
            with tarfile.open(archive) as file:
                # Python before 3.11.4 lacks this filter. There, only the archive's checksum gives protection.
                file.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                file.extractall(aside)
        if not _is_there(source, target):  # another process may have unpacked it meanwhile
            _check_free(source, target)
            os.replace(Path(aside) / source.folder, target / source.folder)
