"""Recipes: an experiment as a TOML file, and the runs that it stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from deepexp.config import Config, build


def recipes() -> dict[str, str]:
    """The question that each recipe asks, by name."""
    files = resources.files("deepexp").joinpath("recipes").iterdir()
    names = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return {name: _read(name)["question"] for name in names}


def runs(recipe: str, *, profile: str, seeds: Sequence[int], device: str = "cpu") -> list[Config]:
    """The configurations of `recipe`: every arm for every seed. Raises ValueError for an unknown recipe."""
    known = recipes()
    if recipe not in known:
        raise ValueError(f"the recipe must be one of {', '.join(known)}, got '{recipe}'")
    tree = _read(recipe)
    shared = {**_flat(tree.get("settings", {})), "machine.device": device}
    return [
        build(
            {**shared, **_flat(arm), "seed": seed}, protocol=tree.get("protocol", "signflow"), profile=profile
        )
        for seed in seeds
        for arm in tree["arms"].values()
    ]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("deepexp").joinpath("recipes", f"{name}.toml").read_text())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
