"""The folder of a run: where each of its files lies, who may write there, and its tables.

config.toml, about.json (which data, which software), levels.csv (one row a level), layers.csv, epochs.csv,
log.txt, progress.json; by level masks/, signs/ (bit-packed) and weights/ (a state dict); states/ has the
initial state and the rewind point, checkpoints/ what a stopped run goes on from. Every file is written
atomically.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from deepexp.config.build import read
from deepexp.config.settings import Config
from signflow import locks
from signflow.files import atomic

ORIGIN = ("data_variant", "revision", "cpu", "platform")  # what about.json has, `versions` apart
_MADE_BY = ("revision", "source_digest", "versions", "cpu", "platform")
_RUNS_OWN = ("config.toml", "about.json", "levels.csv", "checkpoints")  # any of them makes a folder a run's
_PROGRESS = ("level", "epoch", "images_per_second", "seconds_left")
# A name that `atomic` gives to what it has not finished.
_TEMPORARY = re.compile(r"\..+-[0-9a-f]{8}(\.\w+)?")


def file(folder: Path, kind: str, level: int | str) -> Path:
    """The file of a level (or of 'initial', 'rewind') in a run's masks/, signs/, weights/ or states/."""
    name = level if isinstance(level, str) else f"{level:02d}"
    return folder / kind / f"{name}.safetensors"


def read_config(folder: Path) -> Config:
    """The configuration of the run in `folder`. Raises ValueError where its file is damaged or missing."""
    path = folder / "config.toml"
    if not path.exists():
        raise ValueError(f"there must be a run in '{folder}', but it has no config.toml; give a run's folder")
    try:
        return read(_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"'{path}' must be as the run wrote it, but: {error}; restore it, or delete '{folder}' to make "
            "the run again"
        ) from None


def check(config: Config, folder: Path) -> None:
    """Raise ValueError unless the folder is new, or that of this very configuration."""
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
            f"the run folder '{folder}' must be new or have a run's config.toml, but it has other files "
            "alone; restore that, or choose another"
        )


@contextlib.contextmanager
def lock(folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold `folder` for this process; `say` is told where that is not by a lock of the kernel's."""
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locks.hold(folder / "lock", say))
        except OSError as error:
            raise ValueError(
                f"the run folder '{folder}' must be a folder that can be written, but it is not "
                f"({error.strerror}); choose another --out"
            ) from None
        except locks.Busy as error:
            raise ValueError(
                f"the run folder '{folder}' must belong to one process, but {error}, or choose another --out"
            ) from None
        yield


def wait(folder: Path) -> None:
    """Return once no process holds `folder`."""
    locks.wait(folder / "lock")


def logger(folder: Path, echo: Callable[[str], None]) -> Callable[[str], None]:
    """A function that adds a line to the run's log.txt, if that can be written, and passes it to `echo`."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk is not what the line is about
            if folder.is_dir():
                with (folder / "log.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        echo(line)

    return say


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table of a run; none where it does not exist. Raises ValueError where it is damaged."""
    if not path.exists():
        return []
    try:
        return list(csv.DictReader(io.StringIO(_text(path))))
    except (csv.Error, OSError, ValueError) as error:
        raise ValueError(damaged_text(path, error)) from None


def numbers(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Columns of a table of a run, NaN where one is empty. Raises ValueError where the table is damaged."""
    found = rows(path)
    try:
        return [{name: float("nan" if row[name] == "" else row[name]) for name in columns} for row in found]
    except KeyError as error:
        raise ValueError(damaged_text(path, f"it has no column {error}")) from None
    except TypeError:
        raise ValueError(damaged_text(path, "a row is too short")) from None
    except ValueError as error:
        raise ValueError(damaged_text(path, error)) from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")  # whatever an editor put before it


def damaged_text(path: Path, why: object) -> str:
    """The message on a file of a run that cannot be read."""
    return f"'{path}' is damaged ({why}); delete it and go on with its run, which writes it again"


def about(folder: Path) -> dict[str, Any]:
    """Which data, software and hardware made a run: about.json, `versions` as a mapping.

    Raises ValueError where it is missing or damaged.
    """
    path = folder / "about.json"
    try:
        found = json.loads(_text(path))
        versions = dict(json.loads(found["versions"]))
        return {**found, **{name: found[name] for name in ORIGIN}, "versions": versions}
    except KeyError as error:
        why = f"it has no {error}"
    except OSError as error:
        why = str(error.strerror)
    except (TypeError, ValueError):
        why = "it is no JSON object of a run's"
    raise ValueError(
        f"'{path}' must say which data and software made the run, but: {why}; restore it, or delete "
        f"'{folder}' to make the run again"
    )


def write_about(folder: Path, now: Mapping[str, Any]) -> None:
    """Write about.json: what made the run as it began, and under `continued` what else went on with it."""
    path, made = folder / "about.json", dict(now)
    if path.exists():
        made = json.loads(_text(path))
        others = made.get("continued", [])
        with_this = {name: now[name] for name in (*_MADE_BY, "created")}
        last = others[-1] if others else made
        if any(last.get(name) != now[name] for name in _MADE_BY):
            made["continued"] = [*others, with_this]
    write_text(path, json.dumps(made, indent=1))


def progress(folder: Path) -> dict[str, float]:
    """What progress.json says; empty where there is none. Raises ValueError where it is damaged."""
    path = folder / "progress.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(_text(path))
        return {name: float(found[name]) for name in _PROGRESS}
    except KeyError as error:
        raise ValueError(damaged_text(path, f"it has no {error}")) from None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(damaged_text(path, error)) from None


def clean(folder: Path) -> None:
    """Remove the temporary files of writes that a kill interrupted."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and not path.is_dir():
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tables(
    folder: Path, levels: list[dict[str, Any]], epochs: list[dict[str, Any]], sizes: Mapping[str, int]
) -> None:
    """Write levels.csv, layers.csv and epochs.csv from their rows; `sizes` has the layers' weights."""
    layers = [
        {
            "level": row["level"],
            "layer": name,
            "kept": kept,
            "total": sizes[name],
            "density": kept / sizes[name],
        }
        for row in levels
        for name, kept in row["layers"].items()
    ]
    plain = [{key: value for key, value in row.items() if key != "layers"} for row in levels]
    # levels.csv last: its last row says that the run is complete.
    for name, table in (("layers", layers), ("epochs", epochs), ("levels", plain)):
        with (
            atomic(folder / f"{name}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
