"""Presets: one TOML file a figure, naming the tables that it is drawn from."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from signflow.messages import invalid, unknown
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.kinds import Part
from singleneuron.presets.tables.paths import Paths
from singleneuron.presets.tables.studies import Study

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Paths", "Preset", "load", "names", "run"]


class Preset(BaseModel):
    """A named set of tables; `figure`: whether `figures draw` draws it, of a theorem or of a study.

    shows : what is to be seen in them, in a sentence; formulas in it stand between backticks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    figure: Literal["theorem", "study"] | None = None
    shows: str = ""
    parts: dict[str, Part]

    def with_runs(self, runs: int) -> Preset:
        """The same with so many runs of every point of its studies; ValueError if it has none."""
        if not any(isinstance(part, Study) for part in self.parts.values()):
            raise ValueError(f"runs are those of studies, but there is none in '{self.title}'")
        parts = {
            label: part.model_copy(update={"runs": runs}) if isinstance(part, Study) else part
            for label, part in self.parts.items()
        }
        return self.model_copy(update={"parts": parts})


def names() -> list[str]:
    """The presets there are, sorted."""
    found = (file.name for file in files(__name__).iterdir() if file.is_file())
    return sorted(name[:-5] for name in found if name.endswith(".toml") and not name.startswith("."))


def load(name: str) -> Preset:
    """The preset `name`; ValueError if there is none, or if its file is not valid."""
    if name not in names():
        unknown("a preset must be", name, names())
    return parse(files(__name__).joinpath(f"{name}.toml").read_text("utf-8"), name)


def parse(text: str, name: str) -> Preset:
    """The preset that a TOML `text` states; ValueError, naming every wrong entry in one line, otherwise."""
    try:
        return Preset.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise ValueError(f"preset '{name}' is not valid: {invalid(error, Preset)}") from None


def chunks(name: str, label: str) -> str:
    """Name of the folder in which a running preset keeps the finished chunks of its study `label`."""
    return f"{name}.{label}.chunks"


def run(
    name: str,
    *,
    runs: int | None = None,
    workers: int | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, xr.Dataset]:
    """Compute every table of the preset `name`; progress(done, total) counts thousandths of a table.

    runs : of every point of its studies, instead of what it states. workers : their processes (default: all
    cores). directory : where their finished chunks are kept, in the folders named `chunks`, and found again.
    """
    report = progress or (lambda done, total: None)
    preset = load(name) if runs is None else load(name).with_runs(runs)
    parts = preset.parts
    tables = {}
    for index, (label, part) in enumerate(parts.items()):

        def advance(done: int, total: int, index: int = index) -> None:
            report(1000 * index + 1000 * done // total, 1000 * len(parts))

        if isinstance(part, Study):
            folder = None if directory is None else directory / chunks(name, label)
            tables[label] = part.compute(advance, directory=folder, workers=workers)
        else:
            tables[label] = part.compute(advance)
        advance(1, 1)
    return tables
