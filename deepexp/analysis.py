"""From the folders of runs to one table per experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepexp.config import read
from deepexp.folder import rows

if TYPE_CHECKING:
    import xarray as xr

_COLUMNS = ("density", "kept", "flips", "train_loss", "validation_accuracy", "test_loss", "test_accuracy")


def accuracy_by_level(folders: Sequence[Path]) -> xr.Dataset:
    """The columns of the runs' levels.csv over (algorithm, seed, level); NaN where a run has no such level.

    Accuracies are fractions, at the end of the level's last epoch. Raises ValueError where two runs share
    algorithm and seed, or one has no complete level.
    """
    import xarray as xr

    tables = {}
    for folder in folders:
        path = folder / "config.toml"
        if not path.is_file():
            raise ValueError(f"there must be a run in '{folder}', but there is none; run it first")
        config = read(path.read_text())
        key = (config.algorithm, config.seed)
        if key in tables:
            raise ValueError(
                f"the runs must differ in algorithm or seed, but two have {key}: one is '{folder}'"
            )
        tables[key] = rows(folder / "levels.csv")
        if not tables[key]:
            raise ValueError(
                f"the run in '{folder}' must have a complete level, but it has none; let it go on"
            )
    algorithms = list(dict.fromkeys(algorithm for algorithm, _ in tables))
    seeds = sorted({seed for _, seed in tables})
    levels = max(map(len, tables.values()))
    values = {name: np.full((len(algorithms), len(seeds), levels), np.nan) for name in _COLUMNS}
    for (algorithm, seed), table in tables.items():
        for level, row in enumerate(table):
            for name in _COLUMNS:
                values[name][algorithms.index(algorithm), seeds.index(seed), level] = float(
                    row[name] or "nan"
                )
    dims = ("algorithm", "seed", "level")
    return xr.Dataset(
        {name: (dims, array) for name, array in values.items()},
        coords={"algorithm": algorithms, "seed": seeds, "level": range(levels)},
    )
