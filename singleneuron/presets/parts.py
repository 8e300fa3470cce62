"""The kinds of table that a preset is made of: each a validated configuration that computes one Dataset."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

import singleneuron as sn
from figures.machine import check_memory
from singleneuron.drift import free_flow
from singleneuron.maps import grid_axis, predicted_edge
from singleneuron.model import number, reduce
from singleneuron.outcome import Status, success
from singleneuron.rates import STABLE_RATE, crossing_law, hop_rate, predicted_rates

Progress = Callable[[int, int], None]
CURVE_POINTS = 50
EXPLORED = ("imp", "wr", "lrr")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def given(self) -> dict[str, Any]:
        """What the preset states; the rest keeps the defaults of the function that computes it."""
        return self.model_dump(exclude={"kind"}, exclude_unset=True)


class Map(_Part):
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
        problem = _problem(self.d, self.n, self.noise or 0.0, self.seed or 0)
        w_perp = math.sqrt(1 - 1 / self.d) if self.w_perp is None else self.w_perp
        extent = float(abs(data.a0).max())
        # Not w_1 = 0, a line of its own; but beside it, where an edge may jump, closer than any print shows.
        w = np.sort(np.append(np.linspace(-extent, extent, 800), [-1e-9, 1e-9]))
        options: dict[str, Any] = {"imp": self.imp or "keep", "rewind_time": self.rewind_time}
        population = sn.Population(self.d)
        edges, of = [], []
        for name in map(str, data.algorithm.values):
            sampled = self.n is not None and self.d > 1 and name != "imp"
            about = population if sampled else problem
            edges.append(predicted_edge(about, name, w, w_perp, extent, **options))
            of.append("population" if sampled else "prediction")
        edge = {"edge": (("algorithm", "edge_w0"), edges), "edge_of": ("algorithm", of)}
        return data.assign(edge).assign_coords(edge_w0=w)


class Paths(_Part):
    """Trajectories from given starts at evenly spaced times, by the ODE or by gradient descent.

    w: one list of coordinates a start; trailing zeros may be left out. n, noise: samples, drawn by `seed`.
    """

    kind: Literal["paths"] = "paths"
    d: int
    a: tuple[float, ...]
    w: tuple[tuple[float, ...], ...]
    t_end: float
    points: int = 200
    n: int | None = None
    noise: float = 0.0
    seed: int = 0
    learning_rate: float | None = None

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (start, time, coordinate): a, w, loss along the way; status and success at the end."""
        size = 8 * self.points * len(self.a) * (self.d + 2)
        check_memory(f"a path with points = {self.points}, d = {self.d}", size)
        times = _times(self.t_end, self.points)
        problem = _problem(self.d, self.n, self.noise, self.seed)
        if any(len(row) > self.d for row in self.w):
            raise ValueError(f"w must have at most d = {self.d} coordinates, got {max(map(len, self.w))}")
        starts = sn.State(
            a=np.array(self.a), w=np.array([row + (0.0,) * (self.d - len(row)) for row in self.w])
        )
        training: dict[str, Any] = {"method": "ode", "learning_rate": self.learning_rate}
        end = sn.integrate(problem, starts, t_eval=times, progress=progress, **training)
        # Descent takes whole steps: rows at the times that it reached, each once.
        times, rows = np.unique(end.times, return_index=True)
        path = _full(end.state)[rows]
        return xr.Dataset(
            {
                "a": (("time", "start"), path.a),
                "w": (("time", "start", "coordinate"), path.w),
                "loss": (("time", "start"), sn.loss(problem, path)),
                "status": ("start", [Status(code).label for code in end.status]),
                "success": ("start", success(end.status)),
            },
            coords={"time": times, "start": range(len(self.a)), "coordinate": range(1, self.d + 1)},
        ).transpose("start", "time", "coordinate")


class VectorField(_Part):
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


class Levels(_Part):
    """Loss after every level of pruning, from balanced starts of every sign of a(0) and w_1(0).

    Starts of one seed differ in these two signs alone. With n, every seed draws its own samples.
    """

    kind: Literal["levels"]
    d: int
    seeds: int
    levels: int
    algorithms: tuple[str, ...] = ("imp", "lrr")
    n: int | None = None
    noise: float = 0.0
    learning_rate: float | None = None
    level_time: float = math.inf
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (algorithm, a_sign, w_sign, seed, level): loss; kept (level), the coordinates left."""
        signs = np.array([(a, w) for a in (1, -1) for w in (1, -1)])
        drawn = _full(sn.balanced_starts(d=self.d, size=self.seeds, seed=self.seed))
        a = signs[:, :1] * np.abs(drawn.a)  # (4, seeds)
        w = np.repeat(drawn.w[None], len(signs), axis=0)  # (4, seeds, d)
        w[..., 0] = signs[:, 1:] * np.abs(w[..., 0])
        # The population trains all seeds at once, samples each seed on its own data.
        seeds = np.arange(self.seeds)
        batches = [seeds] if self.n is None else np.split(seeds, self.seeds)
        runs = []
        for algorithm in self.algorithms:
            for batch in batches:
                run = sn.prune(
                    _problem(self.d, self.n, self.noise, self.seed + int(batch[0])),
                    sn.State(
                        a=a[:, batch].ravel(), w=w[:, batch].reshape(-1, self.d), c=np.zeros(4 * len(batch))
                    ),
                    algorithm=algorithm,
                    levels=self.levels,
                    level_time=self.level_time,
                    learning_rate=self.learning_rate,
                    method="ode",
                )
                runs.append(run.loss.reshape(2, 2, len(batch), -1))
                progress(len(runs), len(self.algorithms) * len(batches))
        loss = np.concatenate(runs, axis=2)  # (2, 2, algorithms * seeds, levels + 1)
        loss = loss.reshape(2, 2, len(self.algorithms), self.seeds, -1)
        return xr.Dataset(
            {"loss": (("a_sign", "w_sign", "algorithm", "seed", "level"), loss)},
            coords={
                "algorithm": list(self.algorithms),
                "a_sign": [1, -1],
                "w_sign": [1, -1],
                "seed": seeds,
                "kept": ("level", list(run.counts)),
            },
            attrs={"d": self.d} | ({} if self.n is None else {"n": self.n, "noise": self.noise}),
        )


class Crossings(_Part):
    """When w crosses zero upwards on noisy samples of one coordinate, integrated and by the closed form.

    `draws` data sets for every n, started from every (a, w); s_neg: least and largest of the curve.
    """

    kind: Literal["crossings"]
    a: tuple[float, ...]
    w: tuple[float, ...]
    n: tuple[int, ...]
    noise: float
    draws: int
    t_end: float
    points: int
    s_neg: tuple[float, float]
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (start, draw): simulated, at s_neg (draw); (start, s): predicted.

        Times are in units of 1/(2 C_neg), the population's; NaN where w never crosses before t_end.
        """
        starts = sn.State(a=np.array(self.a), w=np.array(self.w)[:, None])
        times = _times(self.t_end, self.points)
        simulated, s_neg = [], []
        for index, n in enumerate(np.repeat(self.n, self.draws)):
            problem = sn.Sample.draw(d=1, n=int(n), noise=self.noise, seed=self.seed + index)
            path = _full(sn.integrate(problem, starts, t_eval=times, method="ode").state)
            scale = 2 * problem.statistics.c_neg[0]
            simulated.append([scale * _upward(times, column) for column in path.w[..., 0].T])
            s_neg.append(problem.statistics.s_neg[0])
            progress(index + 1, len(self.n) * self.draws)
        s = np.geomspace(*self.s_neg, 200)
        predicted = sn.crossing_time(starts.a[:, None], starts.w, c_neg=0.5, s_neg=s)
        return xr.Dataset(
            {
                "simulated": (("draw", "start"), simulated),
                "s_neg": ("draw", s_neg),
                "predicted": (("start", "s"), predicted),
                "a0": ("start", list(self.a)),
                "w0": ("start", list(self.w)),
            },
            coords={"s": s},
            attrs={"noise": self.noise},
        )


class Slide(_Part):
    """One trajectory of the sample flow that slides in hyperplanes, and gradient descent beside it.

    hop_rates: learning rates whose every step is recorded; learning_rates: those whose error is, at the
    multiples of the largest of them. `sample` (counted from 1) is the one whose hyperplane is watched.
    """

    kind: Literal["slide"]
    d: int
    n: int
    noise: float
    seed: int
    a: float
    w: tuple[float, ...]
    t_end: float
    points: int
    sample: int
    hop_rates: tuple[float, ...]
    learning_rates: tuple[float, ...]
    rtol: float = 1e-10

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (time, sample): share, the multipliers; (time): distance = w.x/|x| of the sample watched;
        (hop_rate, step): hop_time, and hop, that distance under gradient descent; (learning_rate): error, the
        largest difference of (a, w) from the flow's.
        """
        from singleneuron.samples import sample_trace

        problem = sn.Sample.draw(d=self.d, n=self.n, noise=self.noise, seed=self.seed)
        start = sn.State(a=np.array([self.a]), w=np.array([self.w]))
        normal = problem.x[self.sample - 1] / np.linalg.norm(problem.x[self.sample - 1])
        times = _times(self.t_end, self.points)
        tolerances: dict[str, Any] = {"rtol": self.rtol, "atol": self.rtol}
        flow, share, _ = sample_trace(problem.x, problem.y, self.a, start.w, times, **tolerances)

        def descend(rate: float, at: np.ndarray) -> sn.State:
            return _full(sn.integrate(problem, start, t_eval=at, learning_rate=rate).state)

        steps = np.arange(1 + int(np.ceil(self.t_end / min(self.hop_rates))))
        hop_time = np.outer(self.hop_rates, steps)
        hop_time[hop_time > self.t_end * (1 + 1e-12)] = np.nan
        hop = np.full(hop_time.shape, np.nan)
        for row, rate in enumerate(self.hop_rates):
            at = hop_time[row][~np.isnan(hop_time[row])]
            hop[row, : at.size] = descend(rate, at).w[:, 0] @ normal
        common = np.arange(0, self.t_end, max(self.learning_rates))
        exact = _full(sn.integrate(problem, start, t_eval=common, method="ode", **tolerances).state)
        error = []
        for index, rate in enumerate(self.learning_rates):
            path = descend(rate, common)
            error.append(max(np.abs(path.a - exact.a).max(), np.abs(path.w - exact.w).max()))
            progress(index + 1, len(self.learning_rates))
        return xr.Dataset(
            {
                "share": (("time", "sample"), share),
                "distance": ("time", flow.path[0, :, 1:] @ normal),
                "hop_time": (("hop_rate", "step"), hop_time),
                "hop": (("hop_rate", "step"), hop),
                "error": ("learning_rate", error),
            },
            coords={
                "time": times,
                "sample": np.arange(1, self.n + 1),
                "hop_rate": list(self.hop_rates),
                "learning_rate": list(self.learning_rates),
            },
            attrs={"watched": self.sample},
        )


class AngleFlows(_Part):
    """Balanced population flows of several d, both signs of a(0) in turn, and the universal angle curve."""

    kind: Literal["angle"]
    d: tuple[int, ...]
    starts: int
    t_end: float
    points: int
    tau: tuple[float, float]
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (d, start, time): theta, and tau = T(theta(0)) +- t; (s,): curve, the angle at time s."""
        times = _times(self.t_end, self.points)
        theta, tau = [], []
        for index, d in enumerate(self.d):
            problem = sn.Population(d)
            drawn = sn.balanced_starts(d=d, size=self.starts, seed=self.seed + index)
            sign = np.where(np.arange(self.starts) % 2 == 0, 1.0, -1.0)
            starts = sn.State(sign * np.abs(drawn.a), _full(drawn).w, np.zeros(self.starts))
            path = sn.reduce(problem, _full(sn.integrate(problem, starts, t_eval=times, method="ode").state))
            theta.append(np.arctan2(path.q, path.p))
            tau.append(sn.angle_time(theta[-1][0]) + sign * times[:, None])
            progress(index + 1, len(self.d))
        s = np.linspace(*self.tau, 400)
        return xr.Dataset(
            {
                "theta": (("d", "time", "start"), theta),
                "tau": (("d", "time", "start"), tau),
                "curve": ("s", sn.universal_angle(s)),
            },
            coords={"d": list(self.d), "time": times, "s": s},
        )


class Conservation(_Part):
    """How far c = a^2 - |w|^2 drifts along ODE solutions that do not impose it, from independent starts."""

    kind: Literal["conservation"]
    d: int
    rtol: tuple[float, ...]
    starts: int
    t_end: float
    points: int
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (rtol, start, time): drift = |c(t) - c(0)| / max(1, a^2 + |w|^2)."""
        problem = sn.Population(self.d)
        starts = sn.independent_starts(d=self.d, size=self.starts, seed=self.seed)
        times = np.geomspace(1e-2, self.t_end, self.points)
        drift = np.empty((len(self.rtol), self.points, self.starts))
        for row, rtol in enumerate(self.rtol):
            if self.d > 1:  # elsewhere, such flows are integrated on the level of c
                path: sn.State | sn.Reduced = free_flow(reduce(problem, starts), times, rtol)
            else:
                path = sn.integrate(problem, starts, t_eval=times, rtol=rtol, method="ode").state
            c = sn.balance(path)
            drift[row] = np.abs(c - sn.balance(starts))
            drift[row] /= np.maximum(1, 2 * path.a**2 - c)
            progress(row + 1, len(self.rtol))
        return xr.Dataset(
            {"drift": (("rtol", "time", "start"), drift)},
            coords={"rtol": list(self.rtol), "time": times},
            attrs={"d": self.d},
        ).transpose("rtol", "start", "time")


class Study(_Part):
    """`singleneuron.success_rate` with these arguments, and theory's rates between the values of one factor.

    along : that factor, or none.
    """

    kind: Literal["study"]
    d: int | tuple[int, ...]
    algorithms: tuple[str, ...]
    n: int | tuple[int, ...] | None = None
    noise: float | tuple[float, ...] | None = None
    init: str | tuple[str, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    learning_rate: float | tuple[float, ...] | None = None
    level_time: float | tuple[float, ...] | None = None
    rewind_time: float | tuple[float, ...] | None = None
    targets: int | tuple[int, ...] | None = None
    levels: int | None = None
    imp: str | None = None
    runs: int | None = None
    seed: int | None = None
    rtol: float | None = None
    along: str | None = None

    def compute(
        self, progress: Progress, *, directory: Path | None = None, workers: int | None = None
    ) -> xr.Dataset:
        """As `success_rate`; with `along` = F also curve, as `predicted`, at the values curve_F of F."""
        given = self.given()
        along = given.pop("along", None)
        data = sn.success_rate(**given, directory=directory, workers=workers, progress=progress)
        if along is None:
            return data
        values = data[along].values
        fine = np.geomspace(values.min(), values[np.isfinite(values)].max(), CURVE_POINTS)
        fine = np.unique(np.rint(fine)).astype(int) if values.dtype.kind == "i" else fine
        others = ("algorithms", "runs", "seed", "rtol")
        factors = {key: value for key, value in given.items() if key not in others}
        curve = predicted_rates(**factors | {"algorithm": self.algorithms, along: fine})
        return data.assign(curve=curve.transpose(*data.rate.dims).rename({along: f"curve_{along}"}))


class Hops(_Part):
    """`hop_rate` between two learning rates: the share of starts that one step of descent lets succeed."""

    kind: Literal["hops"]
    d: int
    algorithms: tuple[str, ...]
    scale: tuple[float, ...]
    learning_rate: tuple[float, float]

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (algorithm, scale, learning_rate): rate; attrs['stable'], the last with a stable minimum."""
        steps = np.geomspace(*self.learning_rate, CURVE_POINTS)
        rate = [
            [[hop_rate(self.d, name, learning_rate=step, scale=s) for step in steps] for s in self.scale]
            for name in self.algorithms
        ]
        dims = ("algorithm", "scale", "learning_rate")
        coords = dict(zip(dims, (list(self.algorithms), list(self.scale), steps), strict=True))
        return xr.Dataset({"rate": (dims, rate)}, coords, {"stable": STABLE_RATE})


class Law(_Part):
    """`crossing_law`, the time after which label noise carries w_1 across 0."""

    kind: Literal["law"]
    d: int
    n: tuple[int, ...]
    noise: tuple[float, ...]

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (n, noise): time."""
        time = [[crossing_law(self.d, n, noise) for noise in self.noise] for n in self.n]
        return xr.Dataset({"time": (("n", "noise"), time)}, {"n": list(self.n), "noise": list(self.noise)})


class Explorer(_Part):
    """Each start of a map over (a(0), w_1(0)) with its path in the plane (a, w_1) and its loss by level.

    Starts as in `success_map`, of the population. IMP, WR (rewound to `rewind_time`) and LRR share the dense
    level; of their last one each has its own path. Both are integrated to `t_end`, `fine` geometric times
    from `first` on; of these a path keeps the `points` nearest to equal steps of its length.
    """

    kind: Literal["explorer"]
    d: int
    resolution: int
    levels: int
    rewind_time: float
    t_end: float
    first: float
    fine: int
    points: int
    extent: float = 2.0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Dims (algorithm, a0, w0): success, status; and (level): loss; (path, a0, w0, point): time, a, w.

        path: 'dense', and the algorithms' last levels. kept (level): coordinates left.
        """
        axis = grid_axis(self.extent, self.resolution)
        a, w = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        rest = np.full((a.size, self.d - 1), math.sqrt(1 - 1 / self.d) / math.sqrt(max(self.d - 1, 1)))
        problem, starts = sn.Population(self.d), sn.State(a=a, w=np.column_stack([w, rest]))
        dense = sn.integrate(problem, starts, math.inf, method="ode")
        rewound = _full(sn.integrate(problem, starts, self.rewind_time, method="ode").state)
        runs, paths = [], [self._path(problem, starts)]
        for index, algorithm in enumerate(EXPLORED):
            time = self.rewind_time if algorithm == "wr" else None
            run = sn.prune(
                problem, starts, algorithm=algorithm, levels=self.levels, rewind_time=time, dense=dense,
                method="ode",
            )  # fmt: skip
            assert run.mask is not None
            before = sn.State(run.a[:, -2], run.w[:, -2])
            source = {"imp": starts, "wr": rewound, "lrr": before}[algorithm]
            paths.append(self._path(problem, sn.State(source.a, np.where(run.mask, source.w, 0.0)), run.mask))
            runs.append(run)
            progress(index + 1, len(EXPLORED))
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
                "algorithm": list(EXPLORED),
                "path": ["dense", *EXPLORED],
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
        self, problem: sn.Population, starts: sn.State, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """time, a, w_1 at the points kept, each (starts, points)."""
        times = np.append(0.0, np.geomspace(self.first, self.t_end, self.fine))
        path = _full(sn.integrate(problem, starts, t_eval=times, mask=mask, method="ode").state)
        a, w = path.a.T, path.w[..., 0].T
        length = np.cumsum(np.hypot(np.diff(a, prepend=a[:, :1]), np.diff(w, prepend=w[:, :1])), axis=1)
        wanted = length[:, -1:] * np.linspace(0, 1, self.points)
        kept = np.array([np.searchsorted(*row) for row in zip(length, wanted, strict=True)])
        return times[kept], np.take_along_axis(a, kept, 1), np.take_along_axis(w, kept, 1)


def _full(state: sn.State | sn.Reduced) -> sn.State:
    """`state`, which was never reduced."""
    assert isinstance(state, sn.State)
    return state


def _problem(d: int, n: int | None, noise: float, seed: int) -> sn.Population | sn.Sample:
    if n is None:
        if number("noise", noise, least=0.0):
            raise ValueError(
                f"noise is that of samples: give their number n too, or no noise (it is {noise:g})"
            )
        return sn.Population(d)
    return sn.Sample.draw(d=d, n=n, noise=noise, seed=seed)


def _upward(times: np.ndarray, w: np.ndarray) -> float:
    """The time at which w passes 0 upwards; NaN if it never does.

    By linear extrapolation of the last two times before it: w has a kink at 0.
    """
    last = int(np.argmax(w > 0)) - 1
    if last < 1:
        return math.nan
    step = times[last] - times[last - 1]
    return float(times[last] - w[last] * step / (w[last] - w[last - 1]))


def _times(t_end: float, points: int) -> np.ndarray:
    if not 0 < t_end < math.inf:
        raise ValueError(f"t_end must be a finite number > 0, got {t_end:g}")
    if points < 2:
        raise ValueError(f"points must be >= 2, got {points}")
    return np.linspace(0, t_end, points)


Part = Annotated[
    Map
    | Paths
    | VectorField
    | Levels
    | Crossings
    | Slide
    | AngleFlows
    | Conservation
    | Explorer
    | Study
    | Hops
    | Law,
    Field(discriminator="kind"),
]
