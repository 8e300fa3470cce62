"""Presets: one TOML file a figure, naming the tables that it is drawn from."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from singleneuron.presets.parts import Part, Paths, Progress

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Paths", "Preset", "load", "names", "run"]


class Preset(BaseModel):
    """A named set of tables; `figure`: whether `figures draw` draws it.

    shows : what is to be seen in them, in a sentence; formulas in it stand between backticks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    figure: bool = False
    shows: str = ""
    parts: dict[str, Part]


def names() -> list[str]:
    """The presets there are, sorted."""
    return sorted(file.name[:-5] for file in files(__name__).iterdir() if file.name.endswith(".toml"))


def load(name: str) -> Preset:
    """The preset `name`; ValueError if there is none, or if its file is not valid."""
    if name not in names():
        raise ValueError(f"a preset must be one of {', '.join(names())}, got '{name}'")
    return parse(files(__name__).joinpath(f"{name}.toml").read_text("utf-8"), name)


def parse(text: str, name: str) -> Preset:
    """The preset that a TOML `text` states; ValueError, naming every wrong entry in one line, otherwise."""
    try:
        return Preset.model_validate(tomllib.loads(text))
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"preset '{name}' is not valid: {'; '.join(wrong)}") from None


def run(name: str, *, progress: Progress | None = None) -> dict[str, xr.Dataset]:
    """Compute every table of the preset `name`; progress(done, total) counts thousandths of a table."""
    report = progress or (lambda done, total: None)
    parts = load(name).parts
    tables = {}
    for index, (label, part) in enumerate(parts.items()):

        def advance(done: int, total: int, index: int = index) -> None:
            report(1000 * index + 1000 * done // total, 1000 * len(parts))

        tables[label] = part.compute(advance)
        advance(1, 1)
    return tables
