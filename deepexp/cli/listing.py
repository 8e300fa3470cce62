"""List what `deepexp train` accepts: settings, networks and data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from deepexp.config.settings import Config

_OWN = "a function of your own, by its import path, such as 'mypkg.mymodule:function'"
_NOT_SET = ("protocol", "seed", "machine.stack")  # other options set these keys
_COLUMN = 40


def settings(config: Config) -> Iterator[str]:
    """Yield a line for each key that --set accepts, with its value in `config` and its meaning."""
    for key, value, meaning in _leaves(config, type(config)):
        if key not in _NOT_SET and not key.endswith(".code"):
            yield f"{key}{'' if value is None else f'={_text(value)}'}".ljust(_COLUMN) + f" {meaning}"


def _leaves(section: BaseModel, model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    from pydantic import BaseModel

    meanings = _meanings(model)
    for name in model.model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, type(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, meanings.get(name, "")


def _text(value: Any) -> str:
    from deepexp.config.build import toml

    return value if isinstance(value, str) else toml(value)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the first sentence about each field in a model's docstring, followed by the field's choices."""
    found: dict[str, str] = {}
    entry = re.compile(r"^    (\w[\w, ]*)(?: : (.*))?\n((?:        .*\n)+)", re.MULTILINE)
    for names, kind, text in entry.findall(model.__doc__ or ""):
        sentence = re.split(r"(?<=[.;])\s", " ".join(text.split()))[0].rstrip(".;")
        choices = f" {kind}" if kind.startswith("{") else ""
        found |= dict.fromkeys(names.split(", "), re.sub(r" \(see `.*?`\)", "", sentence) + choices)
    return found


def networks() -> Iterator[str]:
    """Yield a line for each network that --model accepts."""
    from deepexp import models
    from deepexp.config.sections import MODELS

    for name in MODELS:
        weights = sum(weight.numel() for weight in models.prunable(models.outline(name, classes=10)).values())
        yield f"{name:10s} {weights:>12,} prunable weights, with 10 classes and model.width=1"
    yield _OWN


def data_sets() -> Iterator[str]:
    """Yield a line for each data set that --dataset accepts."""
    from deepexp.config.sections import Data
    from deepexp.data import catalogue, described, reading

    for name, source in catalogue.SOURCES.items():
        train, test = described.counts(Data(dataset=name))
        side = f"{source.shape[0]}x{source.shape[1]}"
        sizes = "of many sizes" if name == "imagenet" else f"of {side} pixels"
        try:
            reading.check(Data(dataset=name))
            where = "on this machine"
        except ValueError:
            where = f"missing here; deepexp data fetch {name}" if source.url else "missing here"
        yield (
            f"{name:13s} {source.classes:>5,} classes, {train:>9,} + {test:>6,} images {sizes:14s} ({where})"
        )
    yield "a folder of your own, with --set data.folder=PATH: PATH/train/CLASS/*.png, PATH/test/CLASS/*.png"
    yield _OWN
