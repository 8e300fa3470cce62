"""List the images and classes of Tiny ImageNet, of ImageNet, or of a user's own folder of image files.

The two published data sets are in the folder named by the environment variable SIGNFLOW_DATA, or else in the
user's cache.

- Tiny ImageNet-200 (Stanford's course CS231n): tiny-imagenet-200/train/CLASS/images/*.JPEG, and
  tiny-imagenet-200/val/images/*.JPEG. The images in `val` are not sorted by class; the file
  val/val_annotations.txt lists their classes.
- ImageNet (Russakovsky et al., IJCV 2015): imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG.

A subset of either data set also works if it has the same layout. A user's own folder has the files
train/CLASS/*.png and test/CLASS/*.png, or *.jpg instead of *.png. Classes are numbered in the sorted order of
their names.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepexp.data import catalogue, jpeg

_JPEG = (".jpeg", ".jpg")
_OWN = (*_JPEG, ".png")  # the endings of image files in a user's own folder


@dataclass(frozen=True)
class LabelledFiles:
    """The files of the training images or of the test images.

    Attributes
    ----------
    paths : list of str
        One path for each image.
    y : ndarray (n,) of int64
        The class of each image.
    """

    paths: list[str]
    y: np.ndarray


@dataclass(frozen=True)
class Listing:
    """The images in a copy of a data set, either of all classes or of the first few classes.

    Attributes
    ----------
    variant : str
        'own' for a user's own folder. For a published data set, 'complete' if the whole copy has as many
        classes and images as were published, else 'subset'.
    digest : str
        The SHA-1 of the names, classes and lengths of all listed files.
    classes : tuple of str
        The names of the listed classes.
    train, test : LabelledFiles
        The training and test images. For a published data set, the test images are the published validation
        images.
    """

    variant: str
    digest: str
    classes: tuple[str, ...]
    train: LabelledFiles
    test: LabelledFiles


def listing(name: str, classes: int | None = None) -> Listing:
    """List the images in this machine's copy of a data set, without opening an image file.

    Parameters
    ----------
    name : str
        'tinyimagenet' or 'imagenet'.
    classes : int, optional
        How many classes to list, in the order of their names (default: all).

    Returns
    -------
    Listing

    Raises
    ------
    ValueError
        If a folder, an annotation or a class is missing, or if an annotation is wrong.
    """
    source = catalogue.SOURCES[name]
    root = catalogue.folder() / source.folder
    if not root.is_dir():
        hint = f"run `deepexp data fetch {name}` or " if source.url else ""
        raise ValueError(
            f"{name} must be in '{root}', but there is no such folder; {hint}set SIGNFLOW_DATA to the "
            f"folder that holds {source.folder}"
        )
    names = _classes(root / "train")
    tiny = name == "tinyimagenet"
    train = _by_class(root / "train", names, "images" if tiny else "")
    if tiny:
        test = _annotated(root / "val", names)
    else:
        test = _by_class(root / "val", _same_classes(root, "val", names), "")
    published = (source.classes, *source.images)
    complete = (len(names), len(train.paths), len(test.paths)) == published
    made = _first_classes(root, "val", names, train, test, classes)
    return replace(made, variant="complete" if complete else "subset")


def own_listing(root: Path, classes: int | None = None) -> Listing:
    """List the images in a user's own folder, without opening an image file.

    Parameters
    ----------
    root : Path
        The folder.
    classes : int, optional
        How many classes to list, in the order of their names (default: all).

    Returns
    -------
    Listing
        The listing, whose variant is 'own'.

    Raises
    ------
    ValueError
        If a folder or a class is missing, or if there are fewer than `classes` classes.
    """
    if not root.is_dir():
        raise ValueError(f"data.folder must be a folder of images, but there is no such folder as '{root}'")
    names = _classes(root / "train")
    train = _by_class(root / "train", names, "", _OWN)
    test = _by_class(root / "test", _same_classes(root, "test", names), "", _OWN)
    return _first_classes(root, "test", names, train, test, classes)


def _first_classes(
    root: Path,
    tested: str,
    names: tuple[str, ...],
    train: LabelledFiles,
    test: LabelledFiles,
    classes: int | None,
) -> Listing:
    """Return a listing of the first `classes` classes; `tested` is the name of the test images' folder."""
    if classes is not None and classes > len(names):
        raise ValueError(
            f"data.classes must be at most {len(names)}, the number of classes in '{root}', got {classes}"
        )
    names = names[:classes]
    train, test = (_of_the_first(part, len(names)) for part in (train, test))
    if not test.paths:
        raise ValueError(f"'{root / tested}' must have images of the first {len(names)} classes, found none")
    digest = hashlib.sha1()
    for part in (train, test):
        for path, label in zip(part.paths, part.y.tolist(), strict=True):
            digest.update(os.fsencode(Path(path).relative_to(root)))  # the name need not be UTF-8
            digest.update(f" {label} {os.stat(path).st_size}\n".encode())
    return Listing("own", digest.hexdigest(), names, train, test)


def verify(name: str, progress: Callable[[int, int], None] = lambda done, of: None) -> str:
    """Check this machine's copy of a data set by decoding every image.

    The pixels are not compared with the published images, since no checksums of single images are known. Only
    the checksum of the archive is known, and `download.fetch` verifies it.

    Parameters
    ----------
    name : str
        'tinyimagenet' or 'imagenet'.
    progress : callable
        Called after each image with the number of images checked so far and the total.

    Returns
    -------
    str
        A description of what the copy contains.

    Raises
    ------
    ValueError
        If images are missing or damaged.
    """
    found = listing(name)
    size = catalogue.SOURCES[name].shape[0] if name == "tinyimagenet" else None
    paths, damaged = [*found.train.paths, *found.test.paths], []

    def check(path: str) -> str | None:
        try:
            jpeg.picture(path, size)
        except ValueError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max(1, jpeg.workers())) as pool:
        for number, wrong in enumerate(pool.map(check, paths, chunksize=64), 1):
            damaged += [wrong] if wrong else []
            progress(number, len(paths))
    if damaged:
        raise ValueError(f"{len(damaged):,} of {len(paths):,} images are damaged, the first: {damaged[0]}")
    return (
        f"{found.variant} ({len(found.classes):,} classes, {len(found.train.paths):,} training and "
        f"{len(found.test.paths):,} test images, all of them decoded)"
    )


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in _entries(folder) if entry.is_dir()))
    if len(names) < 2:
        raise ValueError(
            f"'{folder}' must contain at least two class folders of images, found {len(names)}; unpack the "
            "data set there with its folder structure"
        )
    return names


def _same_classes(root: Path, tested: str, names: tuple[str, ...]) -> tuple[str, ...]:
    found = _classes(root / tested)
    if found != names:
        odd = sorted(set(found) ^ set(names))[0]
        raise ValueError(
            f"'{root / tested}' must have the same class folders as '{root / 'train'}', but only one of them "
            f"has '{odd}'; sort the images into the folders of their classes"
        )
    return names


def _by_class(
    folder: Path, names: Sequence[str], inside: str, endings: tuple[str, ...] = _JPEG
) -> LabelledFiles:
    """List the images in `folder`/CLASS/`inside`."""
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        here = folder / name / inside
        files = sorted(entry.path for entry in _entries(here) if _is_image(entry, endings))
        if not files:
            kinds = "*.JPEG" if endings is _JPEG else "*.png or *.jpg"
            raise ValueError(f"'{here}' must have {kinds} images of the class '{name}', found none")
        paths += files
        labels += [label] * len(files)
    return LabelledFiles(paths, np.array(labels, np.int64))


def _annotated(folder: Path, names: Sequence[str]) -> LabelledFiles:
    """List the images in `folder`/images in the order of val_annotations.txt, which lists their classes."""
    notes, label = folder / "val_annotations.txt", {name: number for number, name in enumerate(names)}
    if not notes.is_file():
        raise ValueError(
            f"'{notes}' must list the classes of the validation images, but there is no such file; restore it"
        )
    rows = [line.split("\t") for line in notes.read_text("utf-8-sig", "replace").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or row[1] not in label:
            raise ValueError(
                f"every line of '{notes}' must name an image and one of the training classes, but line "
                f"{number} is {' '.join(row)!r}"
            )
    have = {entry.name for entry in _entries(folder / "images") if _is_image(entry)}
    lines = Counter(row[0] for row in rows)
    odd = sorted((have ^ lines.keys()) | {name for name, count in lines.items() if count > 1})
    if odd:
        found = {0: "no line", 1: "no image"}.get(lines[odd[0]], "more than one line")
        raise ValueError(
            f"'{notes}' must have one line for every image in '{folder / 'images'}', but there is "
            f"{found} for '{odd[0]}'; restore both from the same copy"
        )
    paths = [str(folder / "images" / row[0]) for row in rows]
    return LabelledFiles(paths, np.array([label[row[1]] for row in rows], np.int64))


def _of_the_first(part: LabelledFiles, classes: int) -> LabelledFiles:
    chosen = np.flatnonzero(part.y < classes)
    return LabelledFiles([part.paths[number] for number in chosen.tolist()], part.y[chosen])


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    """List a folder's entries, except hidden files, which editors and file managers create."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise ValueError(f"'{folder}' must be a folder of images ({error.strerror}); restore it") from None


def _is_image(entry: os.DirEntry[str], endings: tuple[str, ...] = _JPEG) -> bool:
    return entry.name.lower().endswith(endings) and entry.is_file()
