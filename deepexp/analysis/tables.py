"""From the folders of a recipe's runs to the labelled tables of its result file, verdicts among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepexp.analysis.derived import averaged, derived
from deepexp.analysis.starvation import counting_fed, starving
from deepexp.predictions import published
from deepexp.storage import completeness
from deepexp.storage import folder as layout
from signflow.results import read

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.config.settings import Config
    from deepexp.recipes.plan import PlannedRun
    from deepexp.recipes.recipe import Recipe

COLUMNS = (
    *("density", "kept", "total", "flips", "train_loss", "train_accuracy"),
    *("validation_accuracy", "test_loss", "test_accuracy"),
)
AXES = ("panel", "arm", "seed")


def tables(
    recipe: Recipe, runs: Sequence[PlannedRun], folder: Path, *, without_starved: bool = False
) -> dict[str, xr.Dataset]:
    """The tables of a recipe's complete runs in `folder`, by the name of their group in the result file.

    levels      (panel, arm, seed, level): the columns of levels.csv, accuracies as fractions at the end of
                the last epoch; `starved`, `empty`: how many layers have under 10 or under 1 % of their
                weights left, or none; `counted` (panel, level), with `without_starved`: where no arm has such
                a layer, the levels that means over levels are taken of; coordinates say what each arm is; the
                attribute `missing` lists runs not done
    means       (panel, arm, level): test accuracy and flips per prunable weight, over the seeds
    paired      (panel, arm, baseline, level): arm - baseline of the same seed, in test accuracy
    low         (panel, arm, baseline, at_most): the same for the mean over the levels of density <= at_most
    signs       (panel, arm, seed): last-flip level and switches of the survivors of the last level, counted
                (last_flip, flips) and averaged
    sign_means  (panel, arm): their histograms as shares of the survivors, over the seeds
    verdicts    (verdict): deepexp.predictions.table, where the recipe decides predictions
    reference   (curve, point): published accuracies, where there are any of this protocol and network

    'over the seeds' is mean, low, high (95 % t-interval), deviation and n, in variables NAME_mean and so on.
    Raises ValueError where no run is complete.
    """
    complete = [run for run in runs if completeness.is_recorded(folder / run.config.run_id, run.config)]
    for run in complete:
        completeness.check_holds(folder / run.config.run_id, run.config.run_id)
    if not complete:
        raise ValueError(
            f"the recipe {recipe.name} must have a complete run in '{folder}' to reduce, but none of its "
            f"{len(runs)} is; run it first"
        )
    levels = _levels(runs, complete, folder)
    levels = counting_fed(levels) if without_starved else levels
    made = derived(levels, _signs(levels, complete, folder), recipe.predictions)
    reference = _reference(complete)
    return made if reference is None else {**made, "reference": reference}


def again(
    recipe: Recipe, path: Path, *, without_starved: bool = False
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """The tables and the configuration of a result file of `recipe`, anew from its values by seed.

    For a file whose runs are gone, when the rules have changed. The configuration says under `reduced_from`
    which file it was. Raises ValueError where `path` holds no such file.
    """
    old = read(path)
    if not isinstance(old, dict) or not {"levels", "signs"} <= old.keys():
        raise ValueError(
            f"'{path}' must be a result file of `deepexp reduce`, but it has no levels and signs"
        )
    levels, signs = (old[name].drop_attrs() for name in ("levels", "signs"))
    levels = levels.drop_vars("counted", errors="ignore").assign_attrs(missing=old["levels"].attrs["missing"])
    about = old["levels"].attrs
    config = json.loads(about["config"])
    if config.get("recipe") != recipe.name:
        raise ValueError(f"'{path}' must be of the recipe {recipe.name}, but it is of {config.get('recipe')}")
    if without_starved and "starved" not in levels:
        raise ValueError(f"'{path}' does not say which layers starve; reduce it from its runs")
    made = derived(counting_fed(levels) if without_starved else levels, signs, recipe.predictions)
    if "reference" in old:
        made["reference"] = old["reference"].drop_attrs()
    origin = {name: about[name] for name in ("revision", "source_digest", "created")}
    return made, {**config, "without_starved": without_starved, "reduced_from": origin}


def origins(runs: Sequence[PlannedRun], folder: Path) -> list[dict[str, Any]]:
    """Which data, software and hardware made the complete runs: each combination once, with its number."""
    counted: dict[str, int] = {}
    for run_id, config in {run.config.run_id: run.config for run in runs}.items():
        if not completeness.is_recorded(folder / run_id, config):
            continue
        about = layout.about(folder / run_id)
        variant, *others = layout.ORIGIN
        made_of = {
            "data": f"{config.data.dataset} ({about[variant]})",
            "device": config.machine.device,
            "torch": about["versions"].get("torch", "not recorded"),
            **{key: about[key] for key in others},
        }
        text = json.dumps(made_of)
        counted[text] = counted.get(text, 0) + 1
    return [{**json.loads(text), "runs": number} for text, number in counted.items()]


def _levels(runs: Sequence[PlannedRun], complete: Sequence[PlannedRun], folder: Path) -> xr.Dataset:
    import xarray as xr

    panels, arms = (list(dict.fromkeys(getattr(run, name) for run in runs)) for name in ("panel", "arm"))
    seeds = sorted({run.config.seed for run in runs})
    shape = (len(panels), len(arms), len(seeds), 1 + max(run.config.pruning.levels for run in runs))
    values = {name: np.full(shape, np.nan) for name in (*COLUMNS, "starved", "empty")}
    for run in complete:
        at = panels.index(run.panel), arms.index(run.arm), seeds.index(run.config.seed)
        for level, row in enumerate(layout.numbers(folder / run.config.run_id / "levels.csv", COLUMNS)):
            for name in COLUMNS:
                values[name][(*at, level)] = row[name]
        kept = values["kept"][at][: run.config.pruning.levels + 1]
        for name, counts in zip(
            ("starved", "empty"), starving(folder / run.config.run_id, kept), strict=True
        ):
            values[name][at][: len(counts)] = counts
    first = {(run.panel, run.arm): run.config for run in reversed(runs)}
    described = [[_described(first.get((panel, arm))) for arm in arms] for panel in panels]
    about = {
        name: (("panel", "arm"), [[cell[name] for cell in row] for row in described])
        for name in described[0][0]
    }
    network = [_network([run.config for run in runs if run.panel == panel]) for panel in panels]
    done = {run.config.run_id for run in complete}
    missing = dict.fromkeys(run.config.run_id for run in runs if run.config.run_id not in done)
    return xr.Dataset(
        {name: ((*AXES, "level"), array) for name, array in values.items()},
        {"panel": panels, "arm": arms, "seed": _stored(seeds), "level": range(shape[-1])}
        | {"network": ("panel", network), **about},
        {"missing": json.dumps(list(missing))},
    )


def _stored(seeds: Sequence[int]) -> Sequence[int] | list[str]:
    """The seeds as a file can have them: as text, all of them, where one takes more than 63 bits."""
    return seeds if max(seeds) < 2**63 else [str(seed) for seed in seeds]


def _described(config: Config | None) -> dict[str, Any]:
    """What an arm is, as its coordinates; `planned`: whether the panel has it."""
    return {
        "planned": config is not None,
        "protocol": "" if config is None else config.protocol,
        "algorithm": "" if config is None else config.algorithm,
        "prunings": np.nan if config is None else config.pruning.levels,
        "width": np.nan if config is None else config.model.width,
        "warmup": "" if config is None else config.train.warmup,
        "masks": "" if config is None else config.pruning.source,
        "score": "" if config is None else config.pruning.score,
        "budget": "" if config is None else config.pruning.budget,
        "fraction": np.nan if config is None else config.perturbation.fraction,
        "perturbed": np.nan if config is None else config.perturbation.level,
        "scope": "" if config is None else config.perturbation.scope,
    }


def _network(configs: Sequence[Config]) -> str:
    """The network of a panel, with its width where that is one and not the standard one."""
    names = " and ".join(dict.fromkeys(config.model.name for config in configs))
    widths = {config.model.width for config in configs}
    return names if len(widths) > 1 or widths == {1.0} else f"{names}, width {widths.pop():g}"


def _signs(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> xr.Dataset:
    import xarray as xr

    panels, arms, seeds = (levels[axis].astype(str).values.tolist() for axis in AXES)
    shape = tuple(levels.sizes[axis] for axis in AXES)
    prunings = levels.sizes["level"] - 1
    last = np.full((*shape, prunings + 1), np.nan)
    count = np.full((*shape, prunings + 2), np.nan)
    for run in complete:
        at = panels.index(run.panel), arms.index(run.arm), seeds.index(str(run.config.seed))
        last[at], count[at] = 0, 0
        for histogram, found in zip(
            (last, count), sign_histograms(folder / run.config.run_id, run.config.pruning.levels), strict=True
        ):
            histogram[at][: len(found)] = found
    table = xr.Dataset(
        {"last_flip": ((*AXES, "level"), last), "switches": ((*AXES, "flips"), count)},
        {axis: levels[axis].values for axis in (*AXES, "level")} | {"flips": range(prunings + 2)},
    )
    return averaged(table)


def sign_histograms(folder: Path, prunings: int) -> tuple[np.ndarray, np.ndarray]:
    """How many survivors of the last level flipped last at level 0, 1, ..., and how many 0, 1, ... times.

    One that never flipped counts at level 0; a weight pruned by the last level counts nowhere. int64,
    (prunings + 1,) and (prunings + 2,).
    """
    from deepexp.pruning import signs
    from deepexp.pruning.masks import Mask
    from deepexp.storage import bit_files

    alive = bit_files.load(layout.file(folder, "masks", prunings))

    def survivors(level: int | str) -> dict[str, Any]:
        path = layout.file(folder, "signs", level)
        read = bit_files.load(path)
        if {name: t.shape for name, t in read.items()} != {name: t.shape for name, t in alive.items()}:
            raise ValueError(f"'{path}' must fit the masks of its run, but it does not; restore it")
        return {name: read[name][there] for name, there in alive.items()}

    history = [survivors(level) for level in ("initial", *range(prunings + 1))]
    whole = [Mask({name: there[there] for name, there in alive.items()})] * (prunings + 1)
    last, count = (
        np.concatenate([tensor.numpy() for tensor in found(history, whole).values()])
        for found in (signs.last_flip, signs.switches)
    )
    return np.bincount(last, minlength=prunings + 1), np.bincount(count, minlength=prunings + 2)


def _reference(runs: Sequence[PlannedRun]) -> xr.Dataset | None:
    """The published curves of what these runs do, each once."""
    import xarray as xr

    found = {(run.panel, run.arm): published.matching(run.config) for run in runs}
    curves = [(*key, curve) for key, curve in found.items() if curve is not None]
    if not curves:
        return None
    longest = max(len(curve.points) for *_, curve in curves)
    points = np.full((2, len(curves), longest), np.nan)
    for position, (*_, curve) in enumerate(curves):
        points[:, position, : len(curve.points)] = list(curve.points), list(curve.points.values())
    return xr.Dataset(
        {"density": (("curve", "point"), points[0]), "accuracy": (("curve", "point"), points[1] / 100)}
        | {
            "panel": ("curve", [panel for panel, _, _ in curves]),
            "arm": ("curve", [arm for _, arm, _ in curves]),
        }
        | {"source": ("curve", [curve.source for *_, curve in curves])}
    )
