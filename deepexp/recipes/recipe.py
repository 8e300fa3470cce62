"""Recipes: an experiment as a TOML file, and the runs that it stands for.

A recipe has a question, the predictions that it decides, and its source; then

- `[panels.X]`: the settings that tell the panels apart (their data set, as a rule); `arms` where a panel
  has some of the recipe's arms only;
- `[arms.X]`: the settings of an arm. `masks = "Y"` gives it the mask sequence of arm Y's run of the same
  panel and seed (`pruning.source` is 'run' unless it says otherwise), `donor = "Y"` that run's weights.
  A name with fields in braces stands for one arm for every combination of the values in `[each]`, and a
  setting "{field}" for the arm's value;
- `[profiles.smoke|short|full]`: protocol, panels (and `optional` ones, run when asked for by name), seeds,
  `settings`, those of one panel (`panel.X`), and its own values in `each`.

Later wins: protocol, `ON_CUDA`, `[settings]`, panel, profile, the profile's panel, arm, and what the caller
says of the machine, which is no part of the question. What an arm's masks decide by
themselves (how many weights are kept) is left out there. An algorithm that the protocol's source does not
have is ours.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepexp.config.algorithms import POLICIES
from deepexp.config.build import build
from deepexp.config.protocols import PROTOCOLS
from deepexp.config.settings import Config
from deepexp.predictions.predictions import PREDICTIONS
from signflow.files import read_text
from signflow.messages import invalid, unknown

_FOLDER = resources.files("deepexp").joinpath("recipes")
_REFERENCES = ("masks", "donor")
# What a GPU is for, unless a recipe or its caller says otherwise. `smoke` is there as it is on a CPU.
ON_CUDA: dict[str, Any] = {"machine.precision": "bf16", "machine.compile": True}


class Profile(BaseModel):
    """How much of a recipe is run: by whose protocol, on which panels, for which seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    panels: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(min_length=1)
    settings: dict[str, Any] = {}
    panel: dict[str, dict[str, Any]] = {}
    each: dict[str, list[Any]] = {}


class Recipe(BaseModel):
    """An experiment as its TOML file has it; see the module's docstring."""

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


@dataclass(frozen=True)
class Run:
    """One run of a recipe; `needs` are the run_ids that must be complete before it starts."""

    panel: str
    arm: str
    config: Config
    needs: tuple[str, ...] = ()


def recipes() -> dict[str, Recipe]:
    """Every recipe of this package, by name."""
    return {name: load(name) for name in _names()}


def load(name: str) -> Recipe:
    """The recipe of that name, or in that TOML file. Raises ValueError with one line where it is none."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ValueError(f"there must be a recipe in '{path}', but there is no such file")
        return _parse(path.stem, read_text(path))
    if name not in _names():
        unknown("the recipe must be", name, _names(), ", or the path of a .toml")
    return _parse(name, _FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def runs(
    recipe: Recipe | str,
    *,
    profile: str,
    seeds: Sequence[int] | None = None,
    panels: Sequence[str] | None = None,
    device: str = "cpu",
    processes: int = 1,
    stack: bool = False,
    machine: Mapping[str, Any] | None = None,
) -> list[Run]:
    """The runs of a recipe, each after those that it needs; by default of the profile's panels and seeds.

    `machine` has dotted settings of that section ('machine.compile') and wins over every other word on it.
    With `stack` all seeds of an arm train together, as `deepexp.stack` says. Runs of equal configuration, in
    two arms or two recipes, have one run_id and so one folder.
    Raises ValueError with one line that names the recipe and its key.
    """
    made = load(recipe) if isinstance(recipe, str) else recipe
    if profile not in made.profiles:
        unknown(f"recipe {made.name}: the profile must be", profile, made.profiles)
    chosen = made.profiles[profile]
    offered = (*chosen.panels, *chosen.optional)
    for panel in panels or ():
        if panel not in offered:
            unknown(f"recipe {made.name}: the panel of the profile '{profile}' must be", panel, offered)
    arms, told = _arms(made, chosen), _of_the_machine(machine or {})
    here = {"machine.device": device, "machine.processes": processes, **told}
    default = ON_CUDA if here["machine.device"] == "cuda" and profile != "smoke" else {}
    every = list(dict.fromkeys(chosen.seeds if seeds is None else seeds))
    if stack and len(every) < 2:
        raise ValueError(f"a stack must have two seeds or more, got {every}; leave --stack out")
    if stack:
        told["machine.stack"] = sorted(every)
    return [
        run
        for panel in dict.fromkeys(panels or chosen.panels)
        for seed in every
        for run in _panel_runs(made, profile, panel, arms, default, {**here, "seed": seed}, told)
    ]


def _of_the_machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings`, if they ask a recipe's question of another machine and not another question."""
    for key in settings:
        if not key.startswith("machine."):
            raise ValueError(
                f"a recipe takes settings of the machine alone, as machine.compile=true, got '{key}'; write "
                "a recipe of your own to change what it asks"
            )
    if "machine.stack" in settings:
        raise ValueError(
            f"a recipe's seeds train together by --stack, got machine.stack = {settings['machine.stack']}"
        )
    return dict(settings)


def _names() -> list[str]:
    return sorted(
        file.name.removesuffix(".toml")
        for file in _FOLDER.iterdir()
        if file.name.endswith(".toml") and file.is_file() and not file.name.startswith(".")
    )


def _parse(name: str, text: str) -> Recipe:
    try:
        made = Recipe.model_validate({**tomllib.loads(text), "name": name})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {name}: it must be TOML: {error}") from None
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {invalid(error, Recipe)}") from None
    for prediction in made.predictions:
        if prediction not in PREDICTIONS:
            unknown(f"recipe {name}: predictions must have", prediction, PREDICTIONS)
    for profile, chosen in made.profiles.items():
        if chosen.protocol not in PROTOCOLS:
            unknown(f"recipe {name}: profiles.{profile}.protocol must be", chosen.protocol, PROTOCOLS)
        for key in ("panels", "optional", "panel"):
            for panel in getattr(chosen, key):
                if panel not in made.panels:
                    unknown(f"recipe {name}: profiles.{profile}.{key} must have", panel, made.panels)
        arms = _arms(made, chosen)
        for panel in (*chosen.panels, *chosen.optional):
            _order(made, panel, arms)
    return made


def _arms(recipe: Recipe, profile: Profile) -> dict[str, dict[str, Any]]:
    """The settings of every arm, names with fields in braces spelled out."""
    each = {**recipe.each, **profile.each}
    single = {field: values[0] for field, values in each.items() if len(values) == 1}
    arms: dict[str, dict[str, Any]] = {}
    for name, settings in recipe.arms.items():
        fields = [field for field in each if f"{{{field}}}" in name]
        for values in itertools.product(*(each[field] for field in fields)):
            chosen = {**single, **dict(zip(fields, values, strict=True))}
            try:
                filled = {key: _filled(value, chosen) for key, value in _flat(settings).items()}
                arms[name.format(**chosen)] = filled
            except KeyError as error:
                raise ValueError(
                    f"recipe {recipe.name}: arms.{name}: the field {error} must have values in [each], one "
                    "alone where the arm's name is without it"
                ) from None
            except (IndexError, AttributeError, ValueError) as error:
                raise ValueError(
                    f"recipe {recipe.name}: arms.{name}: braces must hold the name of a field: {error}"
                ) from None
    return arms


def _filled(value: Any, fields: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    alone = next((field for field in fields if value == f"{{{field}}}"), None)
    return value.format(**fields) if alone is None else fields[alone]


def _panel_runs(
    recipe: Recipe,
    profile: str,
    panel: str,
    arms: Mapping[str, Mapping[str, Any]],
    default: Mapping[str, Any],
    given: Mapping[str, Any],
    told: Mapping[str, Any],
) -> Iterator[Run]:
    """The runs of a panel; the settings `default` are below those of the recipe, `told` above them."""
    chosen = recipe.profiles[profile]
    shared = {
        **default,
        **_flat(recipe.settings),
        **_flat({key: value for key, value in recipe.panels[panel].items() if key != "arms"}),
        **_flat(chosen.settings),
        **_flat(chosen.panel.get(panel, {})),
        **given,
    }
    made: dict[str, str] = {}
    for arm in _order(recipe, panel, arms):
        settings = dict(shared)
        own = {key: value for key, value in arms[arm].items() if key not in _REFERENCES}
        if masks := arms[arm].get("masks"):
            settings = {key: value for key, value in settings.items() if key != "pruning.keep"}
            own = {"pruning.source": "run", "pruning.run": made[masks], **own}
        if donor := arms[arm].get("donor"):
            own["donor"] = made[donor]
        settings |= {**own, **told}
        algorithm = settings.get("algorithm")
        if algorithm not in POLICIES[chosen.protocol] and algorithm in POLICIES["signflow"]:
            settings["algorithm"] = f"signflow-{algorithm}"
        try:
            config = build(settings, protocol=chosen.protocol)
        except ValueError as error:
            raise ValueError(
                f"recipe {recipe.name}: arms.{arm} on the panel {panel}, profile {profile}: {error}"
            ) from None
        made[arm] = config.run_id
        needs = dict.fromkeys(filter(None, (config.pruning.run, config.donor)))
        yield Run(panel, arm, config, tuple(needs))


def _order(recipe: Recipe, panel: str, arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The panel's arms, each after those that it refers to."""
    here = recipe.panels[panel].get("arms", list(arms))
    for arm in here:
        if arm not in list(arms):
            unknown(f"recipe {recipe.name}: panels.{panel}.arms must have", arm, arms)
    ordered: list[str] = []

    def visit(arm: str, path: tuple[str, ...]) -> None:
        if arm in ordered:
            return
        for key in _REFERENCES:
            other = arms[arm].get(key)
            if other is None:
                continue
            if other not in here:
                where = f" of the panel {panel}" if other in list(arms) else ""
                unknown(f"recipe {recipe.name}: arms.{arm}.{key} must name an arm{where},", other, here)
            if other in (*path, arm):
                cycle = " -> ".join([*path[path.index(other) :], arm, other] if other in path else [arm, arm])
                raise ValueError(f"recipe {recipe.name}: arms.{arm}.{key} must not lead back, got {cycle}")
            visit(other, (*path, arm))
        ordered.append(arm)

    for arm in here:
        visit(arm, ())
    return ordered


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
