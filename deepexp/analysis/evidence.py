"""Build the tables about masks and signs, with counts for each seed and statistics over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepexp.analysis.alignment import alignment_table
from deepexp.analysis.derived import over, spelled
from deepexp.analysis.overlap import layer_table, overlap_tables
from deepexp.predictions.statistics import pair_moments

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.recipes.plan import PlannedRun

COUNTS = {
    "alignment": ("ticket", "shared", "aligned", "aligned_initially", "aligned_epoch"),
    "overlap": ("common", "expected", "size"),
    "seed_overlap": ("common", "expected", "size"),
    "layers": ("kept", "total"),
}
"""The variables of each table that hold counts for each seed. All others are computed from these."""


def gathered(levels: xr.Dataset, complete: Sequence[PlannedRun], folder: Path) -> dict[str, xr.Dataset]:
    """Compare the masks and signs of the complete runs; `levels` gives the coordinates of the tables."""
    return {
        "alignment": alignment_table(levels, complete, folder),
        **overlap_tables(levels, complete, folder),
        "layers": layer_table(levels, complete, folder),
    }


def kept(tables: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return the counts in the tables of a result file; old files may lack some of them."""
    return {
        name: tables[name].drop_attrs()[[count for count in counts if count in tables[name]]]
        for name, counts in COUNTS.items()
        if name in tables
    }


def with_statistics(counts: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Compute shares from the counts, and add their statistics over the seeds to the tables."""
    add = {"alignment": _alignment, "overlap": _overlap, "seed_overlap": _seed_overlap, "layers": _layers}
    return {name: add[name](table) for name, table in counts.items()}


def _alignment(counts: xr.Dataset) -> xr.Dataset:
    shared = counts.shared.where(counts.shared > 0)  # a share of no weights is undefined
    shares = {
        "alignment": counts.aligned / shared,
        "initial_alignment": counts.aligned_initially / shared,
        "shared_share": counts.shared / counts.ticket,
    }
    if "aligned_epoch" in counts:
        shares["epoch_alignment"] = counts.aligned_epoch / shared.isel(level=0, drop=True)
    made: dict[str, Any] = {}
    for name, values in shares.items():
        made |= over(values, "seed", name)
    return counts.assign(made)


def _overlap(counts: xr.Dataset) -> xr.Dataset:
    made: dict[str, Any] = {}
    for name, values in _shares(counts).items():
        made |= over(values, "seed", name)
    return counts.assign(made)


def _seed_overlap(counts: xr.Dataset) -> xr.Dataset:
    made: dict[str, Any] = {}
    for name, values in _shares(counts).items():
        pairs = values.transpose("panel", "arm", "level", "seed", "other")
        made |= spelled(name, pair_moments(pairs.values), pairs.dims[:-2])
    return counts.assign(made)


def _shares(counts: xr.Dataset) -> dict[str, xr.DataArray]:
    size = counts["size"].where(counts["size"] > 0)  # `counts.size` would look like numpy's attribute
    return {"overlap": counts.common / size, "chance": counts.expected / size}


def _layers(counts: xr.Dataset) -> xr.Dataset:
    return counts.assign(over(counts.kept / counts.total, "seed", "density"))
