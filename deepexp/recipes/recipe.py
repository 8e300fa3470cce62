"""Recipes: experiments described as TOML files, and the arms that they compare.

A recipe states its question, the predictions that it tests, and its source. It also has these tables:

- `[panels.X]`: the settings of panel X, usually its data set. A panel that does not use all arms of the
  recipe lists its arms under `arms`.
- `[arms.X]`: the settings of arm X. With `masks = "Y"`, each run of arm X uses the mask sequence of the run
  of arm Y on the same panel with the same seed (`pruning.source` is then 'run' unless the arm sets it). With
  `donor = "Y"`, each run of arm X takes amplitudes or signs from the weights of the run of arm Y on the same
  panel with the same seed. With `seeds = 3`, the arm runs only with the first three seeds of the profile. If
  the name X contains fields in braces, the table defines one arm for each combination of the fields' values
  in `[each]`, and "{field}" in a setting is replaced by the value.
- `[profiles.smoke|short|full]`: the protocol, the panels (panels under `optional` run only when requested by
  name), the seeds, `settings` for all panels, `panel.X` for panel X, and `each` for values that replace the
  values in `[each]`. With `base = "usual"`, the profile inherits the keys that it does not set from the
  profile of the same name in profiles.toml.

The module `plan` turns a recipe into runs.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepexp.config.protocols import PROTOCOLS
from deepexp.predictions.predictions import PREDICTIONS
from signflow.files import read_text
from signflow.messages import invalid, unknown

REFERENCES = ("masks", "donor")  # the keys by which an arm refers to another arm
NOT_SETTINGS = (*REFERENCES, "seeds")  # the keys of an arm that are not settings of its runs
_FOLDER = resources.files("deepexp").joinpath("recipes")
_PROFILES = "profiles.toml"


class Profile(BaseModel):
    """The size at which a recipe is run: the protocol, the panels and the seeds.

    Attributes
    ----------
    base : 'usual', optional
        If this is set, the profile inherits the keys that it does not set (see the module's docstring).
    protocol : str
        A name in `PROTOCOLS`.
    panels : tuple of str
        The panels that run by default.
    optional : tuple of str
        The panels that run only when requested by name.
    seeds : tuple of int
        The seeds with which the arms run.
    settings : dict
        The settings for all panels.
    panel : dict of dicts
        Further settings for single panels, by the name of the panel.
    each : dict of lists
        Values that replace the values in the recipe's `each`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Literal["usual"] | None = None
    protocol: str
    panels: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(min_length=1)
    settings: dict[str, Any] = {}
    panel: dict[str, dict[str, Any]] = {}
    each: dict[str, list[Any]] = {}


class Recipe(BaseModel):
    """An experiment as its TOML file describes it; the module's docstring explains the keys.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    question : str
        What the experiment asks.
    predictions : tuple of str
        The predictions that the experiment tests, as keys of `PREDICTIONS`.
    source : str
        Where the experiment was published, or 'this project'.
    settings : dict
        The settings of all runs.
    panels : dict of dicts
        The settings of each panel, by the name of the panel.
    arms : dict of dicts
        The settings of each arm, by the name of the arm.
    each : dict of lists
        The values of each field in braces, by the name of the field.
    profiles : dict of Profile
        The profiles by name, from the smallest to the largest: smoke, short, full.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    predictions: tuple[str, ...] = ()
    source: str
    settings: dict[str, Any] = {}
    panels: dict[str, dict[str, Any]]
    arms: dict[str, dict[str, Any]]
    each: dict[str, list[Any]] = {}
    profiles: dict[str, Profile]


def recipes() -> dict[str, Recipe]:
    """Load every recipe of this package.

    Returns
    -------
    dict of Recipe
        The recipes by name.
    """
    return {name: load(name) for name in _names()}


def load(name: str) -> Recipe:
    """Load a recipe and check it.

    Parameters
    ----------
    name : str
        The name of a recipe of this package, or the path of a TOML file.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If there is no such recipe, or if its file is invalid. The message is one line.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ValueError(f"the recipe '{path}' must be a file, but there is no such file")
        return _parse(path.stem, read_text(path))
    if name not in _names():
        unknown("the recipe must be", name, _names(), ", or the path of a .toml file")
    return _parse(name, _FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _names() -> list[str]:
    return sorted(
        file.name.removesuffix(".toml")
        for file in _FOLDER.iterdir()
        if file.name.endswith(".toml") and file.is_file() and not file.name.startswith(".")
        if file.name != _PROFILES
    )


def _parse(name: str, text: str) -> Recipe:
    try:
        made = Recipe.model_validate({**_completed(tomllib.loads(text)), "name": name})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {name}: it must be valid TOML: {error}") from None
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {invalid(error, Recipe)}") from None
    for prediction in made.predictions:
        if prediction not in PREDICTIONS:
            unknown(f"recipe {name}: every prediction must be", prediction, PREDICTIONS)
    for profile, chosen in made.profiles.items():
        if chosen.protocol not in PROTOCOLS:
            unknown(f"recipe {name}: profiles.{profile}.protocol must be", chosen.protocol, PROTOCOLS)
        for key in ("panels", "optional", "panel"):
            for panel in getattr(chosen, key):
                if panel not in made.panels:
                    unknown(
                        f"recipe {name}: every name in profiles.{profile}.{key} must be", panel, made.panels
                    )
        arms = arms_of(made, chosen)
        for panel in (*chosen.panels, *chosen.optional):
            ordered_arms(made, panel, arms)
        _check_seeds(made, arms)
    return made


def _check_seeds(recipe: Recipe, arms: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError if an arm has an invalid number of seeds, or more seeds than an arm it refers to."""
    for arm, settings in arms.items():
        count = settings.get("seeds", math.inf)
        if "seeds" in settings and (type(count) is not int or count < 1):
            raise ValueError(
                f"recipe {recipe.name}: arms.{arm}.seeds must be a whole number of at least 1, got {count!r}"
            )
        for other in (settings[key] for key in REFERENCES if key in settings):
            most = arms.get(other, {}).get("seeds", math.inf)
            if isinstance(most, int) and count > most:
                raise ValueError(
                    f"recipe {recipe.name}: arms.{arm}.seeds must be at most {most}, as in the arm {other} "
                    f"that it refers to, got {'all seeds' if count == math.inf else count}"
                )


def _completed(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the recipe `tree` with the keys that profiles with `base = "usual"` inherit."""
    usual = tomllib.loads(_FOLDER.joinpath(_PROFILES).read_text(encoding="utf-8"))
    profiles = tree.get("profiles")
    if not isinstance(profiles, dict):  # the validation that follows reports the wrong type
        return tree
    for name, stated in profiles.items():
        if _has_base(stated) and name not in usual:
            unknown("a profile with base = 'usual' must be", name, usual)
    done = {name: usual[name] | stated if _has_base(stated) else stated for name, stated in profiles.items()}
    return {**tree, "profiles": done}


def _has_base(profile: object) -> bool:
    return isinstance(profile, dict) and profile.get("base") == "usual"


def arms_of(recipe: Recipe, profile: Profile) -> dict[str, dict[str, Any]]:
    """Return the flat settings of every arm, by the arm's name, with the fields in braces filled in."""
    each = {**recipe.each, **profile.each}
    single = {field: values[0] for field, values in each.items() if len(values) == 1}
    arms: dict[str, dict[str, Any]] = {}
    for name, settings in recipe.arms.items():
        fields = [field for field in each if f"{{{field}}}" in name]
        for values in itertools.product(*(each[field] for field in fields)):
            chosen = {**single, **dict(zip(fields, values, strict=True))}
            try:
                filled = {key: _filled(value, chosen) for key, value in flat(settings).items()}
                arms[name.format(**chosen)] = filled
            except KeyError as error:
                raise ValueError(
                    f"recipe {recipe.name}: arms.{name}: the field {error} must be listed in [each]; if "
                    "it has several values there, the arm's name must contain it in braces"
                ) from None
            except (IndexError, AttributeError, ValueError) as error:
                raise ValueError(
                    f"recipe {recipe.name}: arms.{name}: braces must contain the name of a field: {error}"
                ) from None
    return arms


def _filled(value: Any, fields: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    # A setting that consists of a single field keeps the type of the field's value.
    alone = next((field for field in fields if value == f"{{{field}}}"), None)
    return value.format(**fields) if alone is None else fields[alone]


def ordered_arms(recipe: Recipe, panel: str, arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the panel's arms, each after the arms that it refers to; raise ValueError for a cycle."""
    here = recipe.panels[panel].get("arms", list(arms))
    for arm in here:
        if arm not in list(arms):
            unknown(f"recipe {recipe.name}: every name in panels.{panel}.arms must be", arm, arms)
    ordered: list[str] = []

    def visit(arm: str, path: tuple[str, ...]) -> None:
        if arm in ordered:
            return
        for key in REFERENCES:
            other = arms[arm].get(key)
            if other is None:
                continue
            if other not in here:
                where = f" of the panel {panel}" if other in list(arms) else ""
                unknown(f"recipe {recipe.name}: arms.{arm}.{key} must name an arm{where},", other, here)
            if other in (*path, arm):
                cycle = " -> ".join([*path[path.index(other) :], arm, other] if other in path else [arm, arm])
                raise ValueError(f"recipe {recipe.name}: arms.{arm}.{key} must not be circular, got {cycle}")
            visit(other, (*path, arm))
        ordered.append(arm)

    for arm in here:
        visit(arm, ())
    return ordered


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings into one dictionary with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
