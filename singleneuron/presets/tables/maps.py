"""Success maps and vector fields."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import xarray as xr

import singleneuron as sn
from singleneuron.algorithms import Algorithm
from singleneuron.experiments.success_map import predicted_edge
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.common import PresetPart, problem_of


class Map(PresetPart):
    """`singleneuron.success_map` with these arguments, and the predicted edge where w_perp is fixed."""

    kind: Literal["map"]
    d: int
    algorithms: tuple[str, ...] | None = None
    resolution: int | None = None
    extent: float | None = None
    w_perp: float | None = None
    balanced: bool | None = None
    average: int | None = None
    imp: str | None = None
    rewind_time: float | None = None
    levels: int | None = None
    n: int | None = None
    noise: float | None = None
    learning_rate: float | None = None
    level_time: float | None = None
    method: str | None = None
    seed: int | None = None

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (algorithm, a0, w0) as `success_map`; (algorithm, edge_w0): edge, as `predicted_edge`.

        edge_of (algorithm): 'prediction', or 'population' where theory has none for samples: its edge then.
        """
        data = sn.success_map(**self.given(), progress=progress)
        data.attrs |= {} if self.n is None else {"n": self.n, "noise": self.noise or 0.0}
        if self.balanced or self.average:
            return data
        problem = problem_of(self.d, self.n, self.noise or 0.0, self.seed or 0)
        w_perp = math.sqrt(1 - 1 / self.d) if self.w_perp is None else self.w_perp
        extent = float(abs(data.a0).max())
        # Not w_1 = 0, a line of its own; but beside it, where an edge may jump, closer than any print shows.
        w = np.sort(np.append(np.linspace(-extent, extent, 800), [-1e-9, 1e-9]))
        population = sn.Population(self.d)
        edges, of = [], []
        for name in map(str, data.algorithm.values):
            sampled = self.n is not None and self.d > 1 and name != "imp"
            about = population if sampled else problem
            algorithm = Algorithm.fitting(name, imp=self.imp or "keep", rewind_time=self.rewind_time)
            edges.append(predicted_edge(about, algorithm, w, w_perp, extent))
            of.append("population" if sampled else "prediction")
        edge = {"edge": (("algorithm", "edge_w0"), edges), "edge_of": ("algorithm", of)}
        return data.assign(edge).assign_coords(edge_w0=w)


class VectorField(PresetPart):
    """The population flow of one coordinate, minus the gradient of the loss, on a grid of (a, w)."""

    kind: Literal["field"]
    extent: float
    resolution: int

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (a, w): da, dw."""
        axis = np.linspace(-self.extent, self.extent, self.resolution)
        a, w = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        da, dw = sn.gradient(sn.Population(1), sn.State(a=a, w=w[:, None]))
        shape = (self.resolution, self.resolution)
        flow = {"da": (("a", "w"), -da.reshape(shape)), "dw": (("a", "w"), -dw.reshape(shape))}
        return xr.Dataset(flow, coords={"a": axis, "w": axis})
