"""Check whether a run is complete, and which of its files are missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepexp.config.settings import Config
from deepexp.storage.folder import damaged_text, file, read_config
from deepexp.storage.records import about, numbers, rows


def is_recorded(folder: Path, config: Config) -> bool:
    """Return whether levels.csv has a row for every level.

    Parameters
    ----------
    folder : Path
        The run's folder.
    config : Config
        The run's configuration.

    Returns
    -------
    bool
    """
    return len(rows(folder / "levels.csv")) == config.pruning.levels + 1


def is_complete(folder: Path, config: Config) -> bool:
    """Return whether levels.csv has a row for every level, and no table, mask or file of signs is missing.

    Parameters
    ----------
    folder : Path
        The run's folder.
    config : Config
        The run's configuration.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        All levels are recorded, but about.json, which names the data and software that made the run, is
        missing or damaged.
    """
    if not is_recorded(folder, config):
        return False
    about(folder)
    return not lost(folder, config)


def lost(folder: Path, config: Config) -> list[Path]:
    """List the missing tables, masks and sign files of a run whose levels are all recorded.

    Parameters
    ----------
    folder : Path
        The run's folder.
    config : Config
        The run's configuration.

    Returns
    -------
    list of Path
    """
    return [path for path in _files(folder, config) if not path.exists()]


def _files(folder: Path, config: Config) -> list[Path]:
    levels = range(config.pruning.levels + 1)
    files = [folder / name for name in ("levels.csv", "layers.csv", "epochs.csv")]
    files += [file(folder, kind, level) for kind in ("masks", "signs") for level in levels]
    return [*files, file(folder, "signs", "initial")]


def damaged(folder: Path, config: Config) -> list[Path]:
    """List the damaged or truncated tables, masks and sign files of a run whose levels are all recorded.

    Parameters
    ----------
    folder : Path
        The run's folder.
    config : Config
        The run's configuration.

    Returns
    -------
    list of Path
    """
    from deepexp.storage import bit_files  # imported here, because torch takes seconds to load

    last = config.pruning.levels
    ends = {"layers.csv": {"level": last}}
    ends["epochs.csv"] = {"level": last, "epoch": config.epochs(last) - 1}
    found = []
    for path in _files(folder, config):
        try:
            if path.exists() and path.suffix == ".csv":
                _check_table(path, ends.get(path.name, {}))
            elif path.exists():
                bit_files.load(path)
        except ValueError:
            found.append(path)
    return found


def _check_table(path: Path, ends: Mapping[str, int]) -> None:
    """Raise ValueError if a value other than a layer's name is not a number, or if rows are missing.

    `ends` maps the names of some columns to the values that they must have in the last row.
    """
    found = rows(path)
    columns = [name for name in (found[0] if found else ()) if name != "layer"]
    values = numbers(path, columns)
    if not values or any(values[-1].get(name) != end for name, end in ends.items()):
        raise ValueError(damaged_text(path, "its last rows are missing"))


def check_holds(folder: Path, run_id: str) -> Config:
    """Read the configuration in a folder that must hold the run `run_id`.

    Parameters
    ----------
    folder : Path
        The folder.
    run_id : str
        The run that the folder must hold.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        The folder holds no run, or a run with a different run_id.
    """
    if not (folder / "config.toml").exists():
        raise ValueError(f"there is no run {run_id} in '{folder.parent}'; run it first")
    there = read_config(folder)
    if there.run_id != run_id:
        raise ValueError(f"the folder '{folder}' must hold {run_id}, but it holds {there.run_id}")
    return there


def check_complete(folder: Path, run_id: str) -> None:
    """Raise ValueError unless the folder holds the complete run `run_id`.

    Parameters
    ----------
    folder : Path
        The folder.
    run_id : str
        The run that another run builds on.
    """
    there = check_holds(folder, run_id)
    if not is_complete(folder, there):
        raise ValueError(
            f"the run {run_id} must be complete before another run builds on it, but it is not; finish it "
            "first"
        )
