"""Count the signs that each run shares with LRR's last ticket, at each level and each epoch of level 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepexp.analysis.histograms import AXES, places
from deepexp.storage import folder as layout

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from deepexp.pruning.masks import Mask
    from deepexp.recipes.plan import PlannedRun

    Bits = Mapping[str, Tensor]

TICKET = "lrr"  # every arm is compared with the last mask and signs of this arm


def alignment_table(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> xr.Dataset:
    """Count the weights in each complete run that have the sign of LRR's last ticket.

    The ticket consists of the mask and the signs that the arm 'lrr' has after its last level, for the same
    panel and seed. Only weights that are in the ticket and alive in the run are compared.

    Parameters
    ----------
    levels : Dataset
        The table `levels`. The result has the same coordinates.
    complete : sequence of PlannedRun
        The complete runs.
    folder : Path
        The folder of the runs.

    Returns
    -------
    Dataset
        These counts of weights:

        - `ticket` (panel, seed): weights in the ticket.
        - `shared` (panel, arm, seed, level): weights in the ticket that are alive in the run at this level.
        - `aligned` (panel, arm, seed, level): shared weights that have the ticket's sign after this level.
        - `aligned_initially` (panel, arm, seed, level): shared weights that had the ticket's sign at
          initialisation.
        - `aligned_epoch` (panel, arm, seed, epoch): weights shared at level 0 that have the ticket's sign
          after `epoch` epochs of level 0. This is left out if no run recorded signs after each epoch.

        Counts are NaN if there is no complete run of LRR for the panel and seed, or if the networks differ in
        shape. `aligned_epoch` is also NaN where no signs were recorded.
    """
    import xarray as xr

    place = places(levels)
    shape = tuple(levels.sizes[axis] for axis in AXES)
    ticket = np.full((shape[0], shape[2]), np.nan)
    counts = np.full((3, *shape, levels.sizes["level"]), np.nan)
    longest = max(_recorded(run) for run in complete)
    epochs = np.full((*shape, 1 + longest), np.nan)
    lrr = {(run.panel, run.config.seed): run for run in complete if run.arm == TICKET}
    for run in complete:
        if (run.panel, run.config.seed) not in lrr:
            continue
        found = _against(lrr[run.panel, run.config.seed], run, folder)
        panel, arm, seed = place(run)
        if found is not None:
            ticket[panel, seed], by_level, by_epoch = found
            counts[:, panel, arm, seed, : by_level.shape[1]] = by_level
            epochs[panel, arm, seed, : len(by_epoch)] = by_epoch
    names = ("shared", "aligned", "aligned_initially")
    return xr.Dataset(
        {"ticket": (("panel", "seed"), ticket)}
        | {name: ((*AXES, "level"), values) for name, values in zip(names, counts, strict=True)}
        | ({"aligned_epoch": ((*AXES, "epoch"), epochs)} if longest else {}),
        {axis: levels[axis].values for axis in (*AXES, "level")}
        | ({"epoch": range(1 + longest)} if longest else {}),
    )


def _recorded(run: PlannedRun) -> int:
    """Return the number of epochs of level 0 after which a run recorded its signs."""
    return 0 if run.config.train.signs == "level" else run.config.epochs(0)


def _against(lrr: PlannedRun, run: PlannedRun, folder: Path) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Compare `run` with the last ticket of `lrr`; return None if their networks differ in shape.

    Otherwise, return the number of weights in the ticket, the counts `shared`, `aligned` and
    `aligned_initially` as an array (3, levels), and the counts `aligned_epoch`, starting at initialisation.
    """
    from deepexp.pruning.masks import Mask
    from deepexp.storage import bit_files

    def read(of: PlannedRun, kind: str, level: int | str) -> dict[str, Tensor]:
        return bit_files.load(layout.file(folder / of.config.run_id, kind, level))

    last = lrr.config.pruning.levels
    ticket, signs = Mask(read(lrr, "masks", last)), read(lrr, "signs", last)
    initial = read(run, "signs", "initial")
    if {name: t.shape for name, t in initial.items()} != {name: t.shape for name, t in signs.items()}:
        return None
    alive = [Mask(read(run, "masks", level)) for level in range(run.config.pruning.levels + 1)]
    found = [
        (common(ticket, mask), *(_aligned(ticket, mask, signs, other) for other in (after, initial)))
        for mask, after in ((mask, read(run, "signs", level)) for level, mask in enumerate(alive))
    ]
    during = [read(run, "signs", f"00-{epoch:04d}") for epoch in range(_recorded(run))]
    by_epoch = [_aligned(ticket, alive[0], signs, now) for now in (initial, *during)]
    return ticket.kept, np.array(found).T, np.array(by_epoch if during else [])


def common(first: Mask, second: Mask) -> int:
    """Count the weights that are alive in both masks."""
    return sum(int((there & second.alive[name]).count_nonzero()) for name, there in first)


def _aligned(first: Mask, second: Mask, signs: Bits, others: Bits) -> int:
    """Count the weights that are alive in both masks and have the same sign in `signs` and `others`."""
    return sum(
        int((there & second.alive[name] & (signs[name] == others[name])).count_nonzero())
        for name, there in first
    )
