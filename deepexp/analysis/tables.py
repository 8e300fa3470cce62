"""Gather a recipe's runs into the tables of its result file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepexp.analysis import evidence
from deepexp.analysis.derived import derived
from deepexp.analysis.histograms import AXES, sign_table
from deepexp.analysis.starvation import counting_fed, starving
from deepexp.predictions import published
from deepexp.storage import completeness, records
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


def tables(
    recipe: Recipe, runs: Sequence[PlannedRun], folder: Path, *, without_starved: bool = False
) -> dict[str, xr.Dataset]:
    """Gather a recipe's complete runs into tables.

    Parameters
    ----------
    recipe : Recipe
        The recipe, whose predictions get a verdict.
    runs : sequence of PlannedRun
        The recipe's runs, complete or not.
    folder : Path
        The folder of the runs.
    without_starved : bool
        Whether means over levels exclude the levels at which a layer starves in any run of the panel.

    Returns
    -------
    dict of Dataset
        The tables by their names in the result file. Statistics over the seeds are the variables NAME_mean,
        NAME_low and NAME_high (the ends of the 95 % t-interval), NAME_deviation and NAME_n.

        levels      (panel, arm, seed, level): the columns of levels.csv; accuracies are fractions, measured
                    after the level's last epoch. `starved` counts the layers with fewer than 10 or less than
                    1 % of their weights left; `empty` counts the layers with none left. With
                    `without_starved`, `counted` (panel, level) is true where no layer starves in any run.
                    Further coordinates describe the arms. The attribute `missing` lists the incomplete runs.
        means       (panel, arm, level): statistics over the seeds of the test accuracy and of the flips per
                    prunable weight.
        paired      (panel, arm, baseline, level): statistics over the seeds of the difference in test
                    accuracy between an arm and a baseline, for runs of the same seed.
        low         (panel, arm, baseline, at_most): statistics as in `paired`, but of the mean test accuracy
                    over all levels whose density is at most `at_most`.
        signs       (panel, arm, seed): two histograms of the weights that survive to the last level, and the
                    mean of each. `last_flip` is by the level of the last flip, `switches` by the number of
                    flips.
        sign_means  (panel, arm): statistics over the seeds of the table `signs`; the histograms are shares of
                    the survivors.
        alignment   (panel, arm, seed, level or epoch): the counts of `alignment_table`, and statistics over
                    the seeds of these shares: `alignment` = aligned / shared, `initial_alignment` =
                    aligned_initially / shared, `shared_share` = shared / ticket, and `epoch_alignment` =
                    aligned_epoch / shared at level 0.
        overlap     (panel, arm, seed, level, baseline): the counts of `overlap_tables`, and statistics over
                    the seeds of `overlap` = common / size and `chance` = expected / size.
        seed_overlap (panel, arm, seed, level, other): as `overlap`, for pairs of seeds; `pair_moments`
                    computes the statistics.
        layers      (panel, arm, seed, level, layer): the number of weights left in each layer, and statistics
                    over the seeds of the layer's density.
        verdicts    (verdict): the result of `verdict_table`, if the recipe tests predictions.
        reference   (curve, point): published accuracies, if there are any for this protocol and network.

    Raises
    ------
    ValueError
        If no run is complete, or if the files of a run contradict each other.
    """
    complete = [run for run in runs if completeness.is_recorded(folder / run.config.run_id, run.config)]
    for run in complete:
        completeness.check_holds(folder / run.config.run_id, run.config.run_id)
    if not complete:
        raise ValueError(
            f"the recipe {recipe.name} must have a complete run in '{folder}', but none of its "
            f"{len(runs)} runs is complete; run the recipe first"
        )
    levels = _levels(runs, complete, folder)
    levels = counting_fed(levels) if without_starved else levels
    made = derived(levels, sign_table(levels, complete, folder), recipe.predictions)
    made |= evidence.with_statistics(evidence.gathered(levels, complete, folder))
    reference = _reference(complete)
    return made if reference is None else {**made, "reference": reference}


def again(
    recipe: Recipe, path: Path, *, without_starved: bool = False
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Reduce a result file again, starting from the values that it contains for each seed.

    Use this to apply new rules to a result file whose runs no longer exist.

    Parameters
    ----------
    recipe : Recipe
        The recipe that the file belongs to.
    path : Path
        A result file of `deepexp reduce`.
    without_starved : bool
        As for `tables`.

    Returns
    -------
    tables : dict of Dataset
        As from `tables`.
    config : dict
        The configuration stored in the file, with `without_starved` and `reduced_from` added. `reduced_from`
        has the date of the file, and the revision and the digest of the source code that wrote it.

    Raises
    ------
    ValueError
        If `path` is not a result file of this recipe.
    """
    old = read(path)
    if not isinstance(old, dict) or not {"levels", "signs"} <= old.keys():
        raise ValueError(
            f"'{path}' must be a result file of `deepexp reduce`, but it has no table 'levels' or no table "
            "'signs'"
        )
    levels, signs = (old[name].drop_attrs() for name in ("levels", "signs"))
    levels = levels.drop_vars("counted", errors="ignore").assign_attrs(missing=old["levels"].attrs["missing"])
    about = old["levels"].attrs
    config = json.loads(about["config"])
    if config.get("recipe") != recipe.name:
        raise ValueError(
            f"'{path}' must be a result file of the recipe {recipe.name}, but it belongs to "
            f"the recipe {config.get('recipe')}"
        )
    if without_starved and "starved" not in levels:
        raise ValueError(
            f"'{path}' must record which layers starve, but it does not; reduce its runs instead"
        )
    made = derived(counting_fed(levels) if without_starved else levels, signs, recipe.predictions)
    made |= evidence.with_statistics(evidence.kept(old))
    if "reference" in old:
        made["reference"] = old["reference"].drop_attrs()
    origin = {name: about[name] for name in ("revision", "source_digest", "created")}
    return made, {**config, "without_starved": without_starved, "reduced_from": origin}


def origins(runs: Sequence[PlannedRun], folder: Path) -> list[dict[str, Any]]:
    """List the data, software and hardware that the complete runs were made with.

    Parameters
    ----------
    runs : sequence of PlannedRun
        The runs, complete or not.
    folder : Path
        The folder of the runs.

    Returns
    -------
    list of dict
        One entry for each combination of data, software and hardware. 'runs' is the number of runs that were
        made with the combination.
    """
    counted: dict[str, int] = {}
    for run_id, config in {run.config.run_id: run.config for run in runs}.items():
        if not completeness.is_recorded(folder / run_id, config):
            continue
        about = records.about(folder / run_id)
        variant, *others = records.ORIGIN
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
        for level, row in enumerate(records.numbers(folder / run.config.run_id / "levels.csv", COLUMNS)):
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
    """Return the seeds in a form that a file can store, as strings if any seed needs more than 63 bits."""
    return seeds if max(seeds) < 2**63 else [str(seed) for seed in seeds]


def _described(config: Config | None) -> dict[str, Any]:
    """Return the coordinates that describe an arm; `planned` says whether the panel has this arm."""
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
    """Name the network of a panel; add the width if all runs have the same width and this is not 1."""
    names = " and ".join(dict.fromkeys(config.model.name for config in configs))
    widths = {config.model.width for config in configs}
    return names if len(widths) > 1 or widths == {1.0} else f"{names}, width {widths.pop():g}"


def _reference(runs: Sequence[PlannedRun]) -> xr.Dataset | None:
    """Find the published curves that match these runs, at most one for each panel and arm."""
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
