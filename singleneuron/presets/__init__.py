"""Load and run presets. A preset is a TOML file that lists the tables from which a figure is drawn.

Some presets are shipped with the package, and you can write your own.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from signflow.files import read_text
from signflow.messages import invalid, unknown
from signflow.provenance import origin
from singleneuron.experiments.labels import with_labels
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.kinds import Table
from singleneuron.presets.tables.paths import Paths
from singleneuron.presets.tables.studies import Study

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Paths", "Preset", "load", "name_of", "names", "run"]

SUFFIX = ".toml"
"""The ending of the name of a preset's file."""


class Preset(BaseModel):
    """The contents of a preset's file: a title, a description and labelled tables.

    Attributes
    ----------
    title : str
        One-line title.
    figure : {'theorem', 'study'} or None
        What the figure of the tables illustrates; None if `figures draw` draws no figure of them.
    shows : str
        One or more sentences that say what the tables show, with formulas between backticks.
    parts : dict of str to Table
        The tables, by label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    figure: Literal["theorem", "study"] | None = None
    shows: str = ""
    parts: dict[str, Table]

    def with_runs(self, runs: int) -> Preset:
        """Return a copy of the preset with `runs` runs per point of its studies.

        Raise ValueError if the preset has no study.
        """
        if not any(isinstance(part, Study) for part in self.parts.values()):
            raise ValueError(f"runs are for studies, but '{self.title}' has no study; leave out the runs")
        parts = {
            label: Study(**part.model_dump() | {"runs": runs}) if isinstance(part, Study) else part
            for label, part in self.parts.items()
        }
        return self.model_copy(update={"parts": parts})


def names() -> list[str]:
    """List the names of the presets that are shipped with the package.

    Returns
    -------
    list of str
        The names, sorted.
    """
    found = (file.name for file in files(__name__).iterdir() if file.is_file())
    return sorted(
        name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX) and not name.startswith(".")
    )


def name_of(preset: str | Path) -> str:
    """Return the name of a preset, after which its result and its chunks are named.

    Parameters
    ----------
    preset : str or Path
        One of `names()`, or the path of your own file, which must end in .toml.

    Returns
    -------
    str
        The given name or, for a file, its name without the ending.
    """
    return Path(preset).stem if str(preset).endswith(SUFFIX) else str(preset)


def load(name: str | Path) -> Preset:
    """Read a preset.

    Parameters
    ----------
    name : str or Path
        One of `names()`, or the path of your own file, which must end in .toml.

    Returns
    -------
    Preset
        The preset.

    Raises
    ------
    ValueError
        If there is no such preset, or if its file is not valid.
    """
    if str(name).endswith(SUFFIX):
        return parse(read_text(name), str(name))
    if name not in names():
        unknown("a preset must be", name, names(), ", or a file of your own that ends in .toml")
    return parse(files(__name__).joinpath(f"{name}{SUFFIX}").read_text("utf-8"), str(name))


def parse(text: str, name: str) -> Preset:
    """Parse the TOML text of a preset, or raise a one-line ValueError that says why it is not valid."""
    try:
        return Preset.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"preset '{name}' is not valid: it is not TOML ({error})") from None
    except ValidationError as error:
        raise ValueError(f"preset '{name}' is not valid: {invalid(error, Preset)}") from None


def chunks(name: str, label: str) -> str:
    """Return the name of the folder in which a running preset keeps the finished chunks of a study.

    Parameters
    ----------
    name : str
        The name of the preset.
    label : str
        The label of the study in the preset.

    Returns
    -------
    str
        The name of the folder.
    """
    return f"{name}.{label}.chunks"


def run(
    name: str | Path,
    *,
    runs: int | None = None,
    workers: int | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, xr.Dataset]:
    """Compute every table of a preset.

    Parameters
    ----------
    name : str or Path
        The preset, as in `load`.
    runs : int, optional
        Number of runs per point of a study; by default, the number in the preset.
    workers : int, optional
        Number of processes for a study; by default, one per core.
    directory : Path, optional
        Folder of the studies' finished chunks, which are not computed again. `chunks` names a subfolder for
        each study.
    progress : callable, optional
        Called as progress(done, total), both counted in thousandths of a table.

    Returns
    -------
    dict of str to Dataset
        The tables, by label. Each has the provenance that `signflow.write` stores.
    """
    report = progress or (lambda done, total: None)
    preset = load(name) if runs is None else load(name).with_runs(runs)
    made = origin(preset.model_dump(mode="json", exclude_none=True))
    parts = preset.parts
    tables = {}
    for index, (label, part) in enumerate(parts.items()):

        def advance(done: int, total: int, index: int = index) -> None:
            report(1000 * index + 1000 * done // total, 1000 * len(parts))

        if isinstance(part, Study):
            folder = None if directory is None else directory / chunks(name_of(name), label)
            table = part.compute(advance, directory=folder, workers=workers)
        else:
            table = part.compute(advance)
        tables[label] = with_labels(table).assign_attrs(made)
        advance(1, 1)
    return tables
