"""The folder of a run: where each file is, and which process may write there.

The folder holds config.toml, about.json (the data and software used), levels.csv (one row per level),
layers.csv, epochs.csv, log.txt and progress.json. There are five subfolders. For each level, masks/ and
signs/ have a bit-packed file, and weights/ has a state dict. The initial state and the state at the rewind
point are in states/. The states from which a stopped run resumes are in checkpoints/. Every file except the
log is written atomically.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from deepexp.config.build import read
from deepexp.config.settings import Config
from signflow import locks
from signflow.files import atomic

RUNS_OWN = (
    "config.toml",
    "about.json",
    "levels.csv",
    "checkpoints",
)  # any of these files marks a run's folder
# The pattern of the names that `atomic` gives to unfinished files.
_TEMPORARY = re.compile(r"\..+-[0-9a-f]{8}(\.\w+)?")


def file(folder: Path, kind: str, level: int | str) -> Path:
    """Return the path of a level's tensors in a run's folder.

    Parameters
    ----------
    folder : Path
        The run's folder.
    kind : str
        'masks', 'signs', 'weights' or 'states'.
    level : int or str
        The level, or a name such as 'initial' or 'rewind'.

    Returns
    -------
    Path
    """
    name = level if isinstance(level, str) else f"{level:02d}"
    return folder / kind / f"{name}.safetensors"


def read_config(folder: Path) -> Config:
    """Read the configuration of the run in `folder`.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        config.toml is missing or damaged.
    """
    path = folder / "config.toml"
    if not path.exists():
        raise ValueError(
            f"there must be a run in '{folder}', but it has no config.toml; choose a run's folder"
        )
    try:
        return read(read_run_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"'{path}' must be as the run wrote it, but it is not ({error}); restore it, or delete "
            f"'{folder}' and start the run again"
        ) from None


def check(config: Config, folder: Path) -> None:
    """Raise ValueError unless the folder is new or holds the run of exactly this configuration.

    Parameters
    ----------
    config : Config
        The configuration to run.
    folder : Path
        The run's folder.
    """
    if (folder / "config.toml").exists():
        there = read_config(folder)
        if there != config:
            raise ValueError(
                f"the folder '{folder}' must hold {config.run_id}, but it holds {there.run_id}; choose "
                f"another --out"
            )
    elif folder.is_dir() and any(
        entry.name not in ("lock", locks.beside(folder / "lock").name, "log.txt")
        and not entry.name.startswith(".")
        for entry in folder.iterdir()
    ):
        raise ValueError(
            f"the run folder '{folder}' must be new or have a run's config.toml, but it only has other "
            "files; restore config.toml, or choose another folder"
        )


@contextlib.contextmanager
def lock(folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Lock `folder` for this process while the context lasts; create it if it is missing.

    Parameters
    ----------
    folder : Path
        The run's folder.
    say : Callable[[str], None]
        Called with a line of text if the file system has no locks and another file serves as the lock.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        Another process has locked the folder, or the folder is not writable.
    """
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locks.hold(folder / "lock", say))
        except OSError as error:
            raise ValueError(
                f"the run folder '{folder}' must be a writable folder, but it is not ({error.strerror}); "
                "choose another --out"
            ) from None
        except locks.Busy as error:
            raise ValueError(
                f"the run folder '{folder}' must belong to one process, but {error}, or choose another --out"
            ) from None
        yield


def wait(folder: Path) -> None:
    """Wait until no process holds the lock of `folder`.

    Parameters
    ----------
    folder : Path
        The run's folder.
    """
    locks.wait(folder / "lock")


def logger(folder: Path, echo: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that writes a line to a run's log and passes it on to `echo`.

    Parameters
    ----------
    folder : Path
        The run's folder.
    echo : Callable[[str], None]
        Called with each line, without the time.

    Returns
    -------
    Callable[[str], None]
        A function that appends a line, with the time, to log.txt if it can, and calls `echo`.
    """

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # even if the disk is full, the line must reach `echo`
            if folder.is_dir():
                with (folder / "log.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        echo(line)

    return say


def read_run_text(path: Path) -> str:
    """Read a text file, ignoring a byte-order mark that an editor may have added."""
    return path.read_text(encoding="utf-8-sig")


def damaged_text(path: Path, why: object) -> str:
    """Return the message for a damaged file of a run; `why` says why the file cannot be read."""
    return f"'{path}' is damaged ({why}); delete it and resume its run, which writes it again"


def clean(folder: Path) -> None:
    """Remove the temporary files that a killed process has left behind.

    Parameters
    ----------
    folder : Path
        The run's folder.
    """
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and not path.is_dir():
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        The text to write.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
