"""Compare the masks of runs: between arms, between seeds, and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepexp.analysis.alignment import common
from deepexp.analysis.histograms import AXES, places
from deepexp.storage import folder as layout
from deepexp.storage import records

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.pruning.masks import Mask
    from deepexp.recipes.plan import PlannedRun

BASELINES = ("imp", "lrr")  # every arm's masks are compared with the masks of these arms
NAMES = ("common", "expected", "size")


def overlap_tables(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> dict[str, xr.Dataset]:
    """Count the weights that pairs of masks have in common, for the same panel and level.

    Parameters
    ----------
    levels, complete, folder
        As for `alignment_table`.

    Returns
    -------
    dict of Dataset
        Two tables, `overlap` and `seed_overlap`. The table `overlap` (panel, arm, seed, level, baseline)
        compares each arm with the arms 'imp' and 'lrr' for the same seed, and is left out if the recipe has
        neither. The table `seed_overlap` (panel, arm, seed, level, other) compares each seed of an arm with
        the other seeds. Both tables have these variables:

        - `common`: the number of weights that are in both masks.
        - `expected`: the expected value of `common` for random masks with as many weights in
          each layer as the two masks.
        - `size`: the mean number of weights in the two masks.

        They are NaN if the networks differ in shape, and where a mask would be compared with itself.
    """
    import xarray as xr

    place = places(levels)
    arms = levels.arm.values.tolist()
    baselines = [name for name in BASELINES if name in arms]
    shape = tuple(levels.sizes[axis] for axis in (*AXES, "level"))
    between_arms = np.full((3, *shape, len(baselines)), np.nan)
    between_seeds = np.full((3, *shape, shape[2]), np.nan)
    for panel, name in enumerate(levels.panel.values):
        here = [run for run in complete if run.panel == name]
        for level in range(shape[3]):
            masks = {place(run)[1:]: mask for run in here if (mask := _mask(run, level, folder)) is not None}
            for (arm, seed), mask in masks.items():
                for position, baseline in enumerate(baselines):
                    other = masks.get((arms.index(baseline), seed))
                    if arms[arm] != baseline and other is not None:
                        between_arms[:, panel, arm, seed, level, position] = _compared(mask, other)
                for another in range(seed):
                    if (other := masks.get((arm, another))) is not None:
                        found = _compared(mask, other)
                        between_seeds[:, panel, arm, seed, level, another] = found
                        between_seeds[:, panel, arm, another, level, seed] = found
    coords = {axis: levels[axis].values for axis in (*AXES, "level")}

    def table(arrays: np.ndarray, axis: str, values: Any) -> xr.Dataset:
        dims = (*AXES, "level", axis)
        counts = {name: (dims, array) for name, array in zip(NAMES, arrays, strict=True)}
        return xr.Dataset(counts, coords | {axis: values})

    made = {"seed_overlap": table(between_seeds, "other", coords["seed"])}
    return made | ({"overlap": table(between_arms, "baseline", baselines)} if baselines else {})


def _mask(run: PlannedRun, level: int, folder: Path) -> Mask | None:
    from deepexp.pruning.masks import Mask
    from deepexp.storage import bit_files

    if level > run.config.pruning.levels:
        return None
    return Mask(bit_files.load(layout.file(folder / run.config.run_id, "masks", level)))


def _compared(first: Mask, second: Mask) -> tuple[float, float, float]:
    """Return how many weights both masks share, how many random masks would share, and the mean size."""
    sizes = first.sizes()
    if {name: t.shape for name, t in first} != {name: t.shape for name, t in second}:
        return np.nan, np.nan, np.nan
    one, other = first.counts(), second.counts()
    expected = sum(one[name] * other[name] / total for name, total in sizes.items() if total)
    return common(first, second), expected, (first.kept + second.kept) / 2


def layer_table(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> xr.Dataset:
    """Gather the number of weights left in each layer of the complete runs.

    Parameters
    ----------
    levels, complete, folder
        As for `alignment_table`.

    Returns
    -------
    Dataset
        - `kept` (panel, arm, seed, level, layer): the number of weights left in the layer.
        - `total` (panel, arm, layer): the number of all weights of the layer.

        The layers are in the order of the network. The numbers are NaN for a layer that a network lacks.
    """
    import xarray as xr

    place = places(levels)
    rows = {run.config.run_id: records.rows(folder / run.config.run_id / "layers.csv") for run in complete}
    layers = list(dict.fromkeys(row["layer"] for table in rows.values() for row in table))
    shape = tuple(levels.sizes[axis] for axis in AXES)
    kept = np.full((*shape, levels.sizes["level"], len(layers)), np.nan)
    total = np.full((*shape[:2], len(layers)), np.nan)
    for run in complete:
        panel, arm, seed = place(run)
        for row in rows[run.config.run_id]:
            layer = layers.index(row["layer"])
            kept[panel, arm, seed, int(row["level"]), layer] = float(row["kept"])
            total[panel, arm, layer] = float(row["total"])
    return xr.Dataset(
        {"kept": ((*AXES, "level", "layer"), kept), "total": (("panel", "arm", "layer"), total)},
        {axis: levels[axis].values for axis in (*AXES, "level")} | {"layer": layers},
    )
