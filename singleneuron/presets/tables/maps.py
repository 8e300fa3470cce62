"""Tables of success maps and vector fields."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import xarray as xr

import singleneuron as sn
from singleneuron.experiments.plane import map_problem, predicted_edge
from singleneuron.experiments.settings import MapSettings
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.common import ExperimentPart, PresetPart


class Map(ExperimentPart):
    """A map computed by `singleneuron.success_map`.

    Unless `balanced` or `average` is set, the edge of each predicted region is added.
    """

    kind: Literal["map"]
    record = MapSettings

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute the variables of `success_map` over (algorithm, a0, w0), and add the predicted edge.

        `edge`, over (algorithm, edge_w0), comes from `predicted_edge`. `edge_of`, over (algorithm), is
        'prediction' if `edge` is predicted for the map's own problem. It is 'population' if theory gives no
        edge for the samples, so that `edge` is predicted for the population.
        """
        settings: MapSettings = self.settings
        data = sn.success_map(**self.arguments, progress=progress)
        if settings.balanced or settings.average:
            return data
        problem = map_problem(settings)
        w_perp = math.sqrt(1 - 1 / settings.d) if settings.w_perp is None else settings.w_perp
        extent = float(abs(data.a0).max())
        # w_1 = 0 is left out, because it can be a special case. Since the edge may jump at 0, a point is
        # added on either side, so close to 0 that no figure shows the gap.
        w = np.sort(np.append(np.linspace(-extent, extent, 800), [-1e-9, 1e-9]))
        population = sn.Population(settings.d, settings.targets, settings.v)
        edges, of = [], []
        for rule in settings.rules:
            sampled = settings.n is not None and settings.d > 1 and rule.name != "imp"
            where = population if sampled else problem
            edges.append(predicted_edge(where, rule, w, w_perp, extent, settings.product))
            of.append("population" if sampled else "prediction")
        edge = {"edge": (("algorithm", "edge_w0"), edges), "edge_of": ("algorithm", of)}
        return data.assign(edge).assign_coords(edge_w0=w)


class VectorField(PresetPart):
    """The population flow in one coordinate, which is minus the gradient of the loss, on a grid of (a, w)."""

    kind: Literal["field"]
    extent: float
    resolution: int

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute `da` and `dw` over (a, w)."""
        axis = np.linspace(-self.extent, self.extent, self.resolution)
        a, w = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        da, dw = sn.gradient(sn.Population(1), sn.State(a=a, w=w[:, None]))
        shape = (self.resolution, self.resolution)
        flow = {"da": (("a", "w"), -da.reshape(shape)), "dw": (("a", "w"), -dw.reshape(shape))}
        return xr.Dataset(flow, coords={"a": axis, "w": axis})
