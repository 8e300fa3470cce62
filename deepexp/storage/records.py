"""The records of a run: its tables, its provenance (about.json) and its progress (progress.json)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepexp.storage.folder import damaged_text, read_run_text, write_text
from signflow.files import atomic

ORIGIN = ("data_variant", "revision", "cpu", "platform")  # keys of every about.json, besides `versions`
_MADE_BY = ("revision", "source_digest", "versions", "cpu", "platform")
_PROGRESS = ("level", "epoch", "images_per_second", "seconds_left")


def rows(path: Path) -> list[dict[str, str]]:
    """Read a table of a run.

    Parameters
    ----------
    path : Path
        A .csv file.

    Returns
    -------
    list of dict of str to str
        The rows of the table; an empty list if there is no file.

    Raises
    ------
    ValueError
        The table is damaged.
    """
    if not path.exists():
        return []
    try:
        return list(csv.DictReader(io.StringIO(read_run_text(path))))
    except (csv.Error, OSError, ValueError) as error:
        raise ValueError(damaged_text(path, error)) from None


def numbers(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Read numeric columns from a table of a run.

    Parameters
    ----------
    path : Path
        A .csv file.
    columns : Sequence[str]
        The names of the columns.

    Returns
    -------
    list of dict of str to float
        The rows of the table. An empty field becomes NaN.

    Raises
    ------
    ValueError
        The table is damaged.
    """
    found = rows(path)
    try:
        return [{name: float("nan" if row[name] == "" else row[name]) for name in columns} for row in found]
    except KeyError as error:
        raise ValueError(damaged_text(path, f"it has no column {error}")) from None
    except TypeError:
        raise ValueError(damaged_text(path, "a row is too short")) from None
    except ValueError as error:
        raise ValueError(damaged_text(path, error)) from None


def write_tables(
    folder: Path, levels: list[dict[str, Any]], epochs: list[dict[str, Any]], sizes: Mapping[str, int]
) -> None:
    """Write levels.csv, layers.csv and epochs.csv.

    Parameters
    ----------
    folder : Path
        The run's folder.
    levels : list of dict
        The rows of levels.csv. Each row also holds the number of living weights of each layer, under the key
        'layers'.
    epochs : list of dict
        The rows of epochs.csv.
    sizes : Mapping[str, int]
        The number of weights of each layer, alive or pruned.
    """
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
    # levels.csv comes last, because its last row marks the run as complete.
    for name, table in (("layers", layers), ("epochs", epochs), ("levels", plain)):
        with (
            atomic(folder / f"{name}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)


def about(folder: Path) -> dict[str, Any]:
    """Read about.json, which records the data, software and hardware of a run.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    dict of str to Any
        Everything in the file, with `versions` as a mapping.

    Raises
    ------
    ValueError
        The file is missing or damaged.
    """
    path = folder / "about.json"
    try:
        found = json.loads(read_run_text(path))
        versions = dict(json.loads(found["versions"]))
        return {**found, **{name: found[name] for name in ORIGIN}, "versions": versions}
    except KeyError as error:
        why = f"it has no {error}"
    except OSError as error:
        why = str(error.strerror)
    except (TypeError, ValueError):
        why = "it is not the JSON object that a run writes"
    raise ValueError(
        f"'{path}' must say which data and software made the run, but it does not ({why}); restore it, or "
        f"delete '{folder}' and start the run again"
    )


def write_about(folder: Path, now: Mapping[str, Any]) -> None:
    """Write about.json: the data, software and hardware of the run.

    If the run was resumed with different software or on a different machine, that software and machine are
    added under `continued`.

    Parameters
    ----------
    folder : Path
        The run's folder.
    now : Mapping[str, Any]
        The data, software and hardware of this process, and the current time as `created`.
    """
    path, made = folder / "about.json", dict(now)
    if path.exists():
        made = json.loads(read_run_text(path))
        others = made.get("continued", [])
        with_this = {name: now[name] for name in (*_MADE_BY, "created")}
        last = others[-1] if others else made
        if any(last.get(name) != now[name] for name in _MADE_BY):
            made["continued"] = [*others, with_this]
    write_text(path, json.dumps(made, indent=1))


def progress(folder: Path) -> dict[str, float]:
    """Read the progress of a run from progress.json.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    dict of str to float
        The values of 'level', 'epoch', 'images_per_second' and 'seconds_left'; empty if there is no file.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    path = folder / "progress.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(read_run_text(path))
        return {name: float(found[name]) for name in _PROGRESS}
    except KeyError as error:
        raise ValueError(damaged_text(path, f"it has no {error}")) from None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(damaged_text(path, error)) from None
