"""The table of the explorer: every start in a plane, with its paths and its losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field

import singleneuron as sn
from singleneuron.algorithms import ALGORITHMS, Algorithm
from singleneuron.experiments.plane import grid_axis
from singleneuron.flows.result import Progress
from singleneuron.parameterization import Name
from singleneuron.presets.tables.common import PresetPart, full_states
from singleneuron.problem.status import Status


class Explorer(PresetPart):
    """Each start of a map over (a(0), w_1(0)), with its paths in the plane (a, w_1) and its loss by level.

    The starts are the same as in `success_map`. They are trained on the population, with each of
    `parameterizations` in turn. IMP, WR (rewound to `rewind_time`) and LRR share the path of the dense level,
    and each algorithm has its own path for the last level. Paths are computed at t = 0 and at `fine`
    geometrically spaced times from `first` to `t_end`. Each path keeps `points` of these times, which split
    the path into pieces of about the same length.
    """

    kind: Literal["explorer"]
    d: int
    resolution: int
    levels: int = Field(ge=2)  # LRR's last path must not start from a trapped dense level
    rewind_time: float
    t_end: float
    first: float
    fine: int
    points: int
    extent: float = 2.0
    parameterizations: tuple[Name, ...] = ("plain", "sign-in")

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute the table.

        The first dimension of all variables is `parameterization`. The other dimensions are:

        - (algorithm, a0, w0) for `success` and `status`;
        - (algorithm, a0, w0, level) for `loss`;
        - (path, a0, w0, point) for `time`, `a` and `w`.

        The coordinate `path` is 'dense', or the algorithm whose last level the path shows. The coordinate
        `kept` is the number of coordinates left at each level.
        """
        total, tables = len(self.parameterizations), []
        for index, name in enumerate(self.parameterizations):

            def advance(done: int, of: int, index: int = index) -> None:
                progress(index * of + done, total * of)

            tables.append(self._table(sn.Parameterization(name), advance))
        names = xr.DataArray(list(self.parameterizations), dims="parameterization", name="parameterization")
        return xr.concat(tables, names)

    def _table(self, parameterization: sn.Parameterization, progress: Progress) -> xr.Dataset:
        """Compute the table for one parameterization."""
        how: dict[str, Any] = {"method": "ode", "parameterization": parameterization}
        axis = grid_axis(self.extent, self.resolution)
        a, w = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        rest = np.full((a.size, self.d - 1), math.sqrt(1 - 1 / self.d) / math.sqrt(max(self.d - 1, 1)))
        problem, starts = sn.Population(self.d), sn.State(a=a, w=np.column_stack([w, rest]))
        dense = sn.integrate(problem, starts, math.inf, **how)
        rewound = full_states(sn.integrate(problem, starts, self.rewind_time, **how).state)
        runs, paths = [], [self._path(problem, starts, how)]
        for index, name in enumerate(ALGORITHMS):
            algorithm = Algorithm.fitting(name, rewind_time=self.rewind_time)
            run = sn.prune(problem, starts, algorithm=algorithm, levels=self.levels, dense=dense, **how)
            assert run.mask is not None
            before = sn.State(run.a[:, -2], run.w[:, -2])
            source = algorithm.source(rewound if algorithm.rewinds_to else starts, before)
            begin = sn.State(source.a, np.where(run.mask, source.w, 0.0))
            paths.append(self._path(problem, begin, how, run.mask))
            runs.append(run)
            progress(index + 1, len(ALGORITHMS))
        cells = (self.resolution, self.resolution)
        grid, along = ("algorithm", "a0", "w0"), ("path", "a0", "w0", "point")
        names = zip(("time", "a", "w"), zip(*paths, strict=True), strict=True)
        return xr.Dataset(
            {
                "success": (grid, np.reshape([run.success for run in runs], (-1, *cells))),
                "status": (grid, np.reshape([run.status for run in runs], (-1, *cells))),
                "loss": ((*grid, "level"), np.reshape([run.loss for run in runs], (len(runs), *cells, -1))),
            }
            | {name: (along, np.reshape(values, (len(paths), *cells, -1))) for name, values in names},
            coords={
                "algorithm": list(ALGORITHMS),
                "path": ["dense", *ALGORITHMS],
                "a0": axis,
                "w0": axis,
                "kept": ("level", list(runs[0].counts)),
            },
            attrs={
                "d": self.d,
                "rewind_time": self.rewind_time,
                "status_codes": ", ".join(f"{s.value} {s.label}" for s in Status),
            },
        )

    def _path(
        self,
        problem: sn.Population,
        starts: sn.State,
        how: Mapping[str, Any],
        mask: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Integrate paths, and return t, a and w_1 at the points kept, each of shape (starts, points)."""
        times = np.append(0.0, np.geomspace(self.first, self.t_end, self.fine))
        path = full_states(sn.integrate(problem, starts, t_eval=times, mask=mask, **how).state)
        a, w = path.a.T, path.w[..., 0].T
        length = np.cumsum(np.hypot(np.diff(a, prepend=a[:, :1]), np.diff(w, prepend=w[:, :1])), axis=1)
        wanted = length[:, -1:] * np.linspace(0, 1, self.points)
        kept = np.array([np.searchsorted(*row) for row in zip(length, wanted, strict=True)])
        return times[kept], np.take_along_axis(a, kept, 1), np.take_along_axis(w, kept, 1)
