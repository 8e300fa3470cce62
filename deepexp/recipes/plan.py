"""Turn a recipe into a list of runs.

A run's settings are merged from these sources, each of which overrides all sources before it: the protocol,
`ON_CUDA`, the recipe's `settings`, the panel, the profile's `settings`, the profile's settings for the panel,
the arm, and the caller's machine settings, which do not change the experiment. An arm that borrows masks
drops `pruning.keep`, because the masks determine how many weights are kept. If a protocol does not define an
algorithm, the arm uses the algorithm as the protocol 'signflow' defines it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepexp.config.algorithms import POLICIES
from deepexp.config.build import build
from deepexp.config.settings import Config
from deepexp.recipes.recipe import NOT_SETTINGS, Profile, Recipe, arms_of, flat, load, ordered_arms
from signflow.messages import unknown

# The default settings on a GPU. The profile 'smoke' ignores them, and has the same settings as on a CPU.
ON_CUDA: dict[str, Any] = {"machine.precision": "bf16", "machine.compile": True}


@dataclass(frozen=True)
class PlannedRun:
    """A run that a recipe asks for.

    Attributes
    ----------
    panel, arm : str
        The names of the run's panel and arm in the recipe.
    config : Config
        All settings of the run.
    needs : tuple of str
        The run_ids of the runs that must be complete before this run starts.
    """

    panel: str
    arm: str
    config: Config
    needs: tuple[str, ...] = ()


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
) -> list[PlannedRun]:
    """Plan the runs of a recipe, each listed after the runs that it needs.

    Runs with the same configuration, even in different arms or recipes, share one run_id and one folder.

    Parameters
    ----------
    recipe : Recipe or str
        The recipe, or a name or path that `load` accepts.
    profile : str
        The name of one of the recipe's profiles.
    seeds : sequence of int, optional
        The seeds to run (default: the seeds of the profile).
    panels : sequence of str, optional
        The panels to run (default: the panels of the profile that are not optional).
    device : str
        'cpu' or 'cuda'.
    processes : int
        The number of processes that train a run together.
    stack : bool
        Whether all seeds of an arm train together as a stack (see `deepexp.runs.stack`).
    machine : mapping, optional
        Machine settings by dotted key, such as 'machine.compile'. They override all other settings.

    Returns
    -------
    list of PlannedRun

    Raises
    ------
    ValueError
        If the recipe cannot be planned. The message is one line that states what is wrong.
    """
    made = load(recipe) if isinstance(recipe, str) else recipe
    if profile not in made.profiles:
        unknown(f"recipe {made.name}: the profile must be", profile, made.profiles)
    chosen = made.profiles[profile]
    offered = (*chosen.panels, *chosen.optional)
    for panel in panels or ():
        if panel not in offered:
            unknown(f"recipe {made.name}: the panel of the profile '{profile}' must be", panel, offered)
    arms, told = arms_of(made, chosen), _of_the_machine(machine or {})
    here = {"machine.device": device, "machine.processes": processes, **told}
    default = ON_CUDA if here["machine.device"] == "cuda" and profile != "smoke" else {}
    every = list(dict.fromkeys(chosen.seeds if seeds is None else seeds))
    if stack and len(every) < 2:
        raise ValueError(f"a stack must have at least two seeds, got {every}; leave --stack out")
    seeds_of = {arm: _seeds_of(settings, chosen, every) for arm, settings in arms.items()}
    arms_for = {seed: _stacked(arms, seeds_of, seed) if stack else arms for seed in every}
    return [
        run
        for panel in dict.fromkeys(panels or chosen.panels)
        for seed in every
        for run in _panel_runs(made, profile, panel, arms_for[seed], default, {**here, "seed": seed}, told)
        if seed in seeds_of[run.arm]
    ]


def _seeds_of(arm: Mapping[str, Any], profile: Profile, seeds: Sequence[int]) -> list[int]:
    """Return the subset of `seeds` with which an arm runs.

    An arm that sets `seeds = n` runs only with seeds that are among the first n seeds of the profile.
    """
    first = profile.seeds[: arm["seeds"]] if "seeds" in arm else seeds
    return [seed for seed in seeds if seed in first]


def _stacked(
    arms: Mapping[str, Mapping[str, Any]], seeds_of: Mapping[str, Sequence[int]], seed: int
) -> dict[str, Mapping[str, Any]]:
    """Return the arms, with `machine.stack` set in each arm that trains both `seed` and other seeds."""
    return {
        arm: {**settings, "machine.stack": sorted(seeds_of[arm])}
        if seed in seeds_of[arm] and len(seeds_of[arm]) > 1
        else settings
        for arm, settings in arms.items()
    }


def _of_the_machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings`; raise ValueError if a key is not a machine setting, or is 'machine.stack'."""
    for key in settings:
        if not key.startswith("machine."):
            raise ValueError(
                f"only the machine settings of a recipe can be changed, such as machine.compile=true, got "
                f"'{key}'; write your own recipe to change the experiment"
            )
    if "machine.stack" in settings:
        raise ValueError(
            f"machine.stack must not be set for a recipe, got {settings['machine.stack']}; pass --stack to "
            "train the seeds together"
        )
    return dict(settings)


def _panel_runs(
    recipe: Recipe,
    profile: str,
    panel: str,
    arms: Mapping[str, Mapping[str, Any]],
    default: Mapping[str, Any],
    given: Mapping[str, Any],
    told: Mapping[str, Any],
) -> Iterator[PlannedRun]:
    """Yield the runs of a panel; the recipe overrides `default`, and `told` overrides all settings."""
    chosen = recipe.profiles[profile]
    shared = {
        **default,
        **flat(recipe.settings),
        **flat({key: value for key, value in recipe.panels[panel].items() if key != "arms"}),
        **flat(chosen.settings),
        **flat(chosen.panel.get(panel, {})),
        **given,
    }
    made: dict[str, str] = {}
    for arm in ordered_arms(recipe, panel, arms):
        settings = dict(shared)
        own = {key: value for key, value in arms[arm].items() if key not in NOT_SETTINGS}
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
        yield PlannedRun(panel, arm, config, tuple(needs))
