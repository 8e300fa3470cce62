"""Make histograms of the last level at which surviving weights changed sign, and of how often they did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepexp.analysis.derived import averaged
from deepexp.storage import folder as layout

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.recipes.plan import PlannedRun

AXES = ("panel", "arm", "seed")  # the coordinates that identify a run in the tables


def sign_table(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> xr.Dataset:
    """Gather the histograms of the complete runs into a table.

    The table has the coordinates of `levels`, and also the coordinate `flips`, the number of sign flips.
    """
    import xarray as xr

    place = places(levels)
    shape = tuple(levels.sizes[axis] for axis in AXES)
    prunings = levels.sizes["level"] - 1
    last = np.full((*shape, prunings + 1), np.nan)
    count = np.full((*shape, prunings + 2), np.nan)
    for run in complete:
        at = place(run)
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


def places(levels: xr.Dataset) -> Callable[[PlannedRun], tuple[int, int, int]]:
    """Return a function that gives the positions of a run along the axes `panel`, `arm` and `seed`."""
    panels, arms, seeds = (levels[axis].astype(str).values.tolist() for axis in AXES)
    return lambda run: (panels.index(run.panel), arms.index(run.arm), seeds.index(str(run.config.seed)))


def sign_histograms(folder: Path, prunings: int) -> tuple[np.ndarray, np.ndarray]:
    """Count the weights that survive to the last level, by last-flip level and by number of flips.

    The two histograms have dtype int64 and shapes (prunings + 1,) and (prunings + 2,). In the first
    histogram, a weight that never flipped is counted as if its last flip was at level 0.
    """
    from deepexp.pruning import signs
    from deepexp.pruning.masks import Mask
    from deepexp.storage import bit_files

    alive = bit_files.load(layout.file(folder, "masks", prunings))

    def survivors(level: int | str) -> dict[str, Any]:
        path = layout.file(folder, "signs", level)
        read = bit_files.load(path)
        if {name: t.shape for name, t in read.items()} != {name: t.shape for name, t in alive.items()}:
            raise ValueError(
                f"'{path}' must have the same layers and shapes as the masks of its run, but it does not; "
                "restore it"
            )
        return {name: read[name][there] for name, there in alive.items()}

    history = [survivors(level) for level in ("initial", *range(prunings + 1))]
    # `history` has only the signs of survivors. They are alive at every level, so their masks are all true.
    whole = [Mask({name: there[there] for name, there in alive.items()})] * (prunings + 1)
    last, count = (
        np.concatenate([tensor.numpy() for tensor in found(history, whole).values()])
        for found in (signs.last_flip, signs.switches)
    )
    return np.bincount(last, minlength=prunings + 1), np.bincount(count, minlength=prunings + 2)
