"""Tables of success rates over grids of factors, and of predicted rates and times."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
import xarray as xr
from pydantic import model_validator

import singleneuron as sn
from signflow.messages import unknown
from singleneuron.experiments.grid import FACTORS
from singleneuron.experiments.settings import StudySettings
from singleneuron.flows.result import Progress
from singleneuron.formulas.descent import STABLE_RATE, hop_rate
from singleneuron.formulas.rates import crossing_law, predicted_rates
from singleneuron.presets.tables.common import CURVE_POINTS, ExperimentPart, PresetPart


class Study(ExperimentPart):
    """A study computed by `singleneuron.success_rate`, and a curve of predicted rates along one factor.

    Attributes
    ----------
    along : str or None
        The factor along which the curve runs; None for no curve.
    """

    kind: Literal["study"]
    along: str | None = None
    record = StudySettings

    @model_validator(mode="after")
    def _has_values_along(self) -> Self:
        """Check that `along` is None or a factor given as a list of numbers."""
        grid = self.settings.grid
        known = [name for name in grid.dims if name not in ("algorithm", "init")]
        if self.along is not None and not known:
            raise ValueError(f"along = {self.along!r} needs a factor with a list of numbers; leave along out")
        if self.along is not None and self.along not in known:
            unknown("along must be a factor with a list of numbers,", self.along, known)
        return self

    def compute(
        self, progress: Progress, *, directory: Path | None = None, workers: int | None = None
    ) -> xr.Dataset:
        """Compute the data of `success_rate`, and add the predicted rates `curve` if `along` is not None.

        The dimension of `curve` along a factor F is named curve_F.
        """
        given = self.arguments
        data = sn.success_rate(**given, directory=directory, workers=workers, progress=progress)
        if self.along is None:
            return data
        values = data[self.along].values
        fine = np.geomspace(values.min(), values[np.isfinite(values)].max(), CURVE_POINTS)
        fine = np.unique(np.rint(fine)).astype(int) if values.dtype.kind == "i" else fine
        names = (*FACTORS, "levels", "imp", "tolerance")
        factors = {key: value for key, value in given.items() if key in names}
        factors |= {"algorithm": self.settings.algorithms, self.along: fine}
        curve = predicted_rates(**factors)
        dims = {self.along: f"curve_{self.along}"}
        return data.assign(curve=curve.transpose(*data.rate.dims).rename(dims))


class Hops(PresetPart):
    """The share of starts in the success region after one descent step, for a range of learning rates."""

    kind: Literal["hops"]
    d: int
    algorithms: tuple[str, ...]
    scale: tuple[float, ...]
    learning_rate: tuple[float, float]

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute `rate` by `hop_rate`.

        The attribute `stable` is the learning rate below which minima are stable.
        """
        steps = np.geomspace(*self.learning_rate, CURVE_POINTS)
        rate = [
            [[hop_rate(self.d, name, learning_rate=step, scale=s) for step in steps] for s in self.scale]
            for name in self.algorithms
        ]
        dims = ("algorithm", "scale", "learning_rate")
        coords = dict(zip(dims, (list(self.algorithms), list(self.scale), steps), strict=True))
        return xr.Dataset({"rate": (dims, rate)}, coords, {"stable": STABLE_RATE})


class CrossingLaw(PresetPart):
    """The median time in which label noise carries w_1 to 0, computed by `crossing_law`."""

    kind: Literal["law"]
    d: int
    n: tuple[int, ...]
    noise: tuple[float, ...]

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute `time` over (n, noise)."""
        time = [[crossing_law(self.d, n, noise) for noise in self.noise] for n in self.n]
        return xr.Dataset({"time": (("n", "noise"), time)}, {"n": list(self.n), "noise": list(self.noise)})
