"""Tables of trajectories: paths, angles, and the drift of the balance."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

import singleneuron as sn
from signflow.machine import check_memory
from singleneuron.flows.free_balance import free_flow
from singleneuron.flows.result import Progress
from singleneuron.parameterization import Name
from singleneuron.presets.tables.common import PresetPart, full_states, problem_of, time_points
from singleneuron.problem.problem import Problem
from singleneuron.problem.reduction import reduce
from singleneuron.problem.status import Status, success


class Paths(PresetPart):
    """Trajectories from given starts at evenly spaced times, along the flow or by gradient descent.

    Attributes
    ----------
    d : int
        Number of input coordinates.
    a : tuple of float
        Outer weight of every start.
    w : tuple of tuple of float
        Inner weights of every start. Trailing zeros may be left out.
    t_end : float
        Final time.
    points : int
        Number of times from 0 to `t_end`.
    n : int or None
        Number of samples, drawn with `seed`; None for the population.
    noise : float
        Standard deviation of the samples' label noise.
    seed : int
        Seed of the samples.
    learning_rate : float or None
        Step size of gradient descent; None for the flow.
    parameterization, beta_a, beta_w, reset_every
        The parameterization, as in `success_map`.
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
    parameterization: Name = "plain"
    beta_a: float = 1.0
    beta_w: float = 1.0
    reset_every: int | None = None

    @property
    def product(self) -> sn.Parameterization:
        """The parameterization with its betas."""
        return sn.Parameterization(self.parameterization, self.beta_a, self.beta_w, self.reset_every)

    def compute(self, progress: Progress, problem: Problem | None = None) -> xr.Dataset:
        """Compute `a`, `w` and `loss`, and the `status` and `success` at the end.

        `a` and `loss` are over (start, time); `w` is over (start, time, coordinate). If `problem` is
        given, the starts are trained on it instead of drawn samples or the population.
        """
        size = 8 * self.points * len(self.a) * (self.d + 2)
        check_memory(f"a path with points = {self.points}, d = {self.d}", size)
        times = time_points(self.t_end, self.points)
        problem = problem or problem_of(self.d, self.n, self.noise, self.seed)
        if any(len(row) > self.d for row in self.w):
            raise ValueError(f"w must have at most d = {self.d} coordinates, got {max(map(len, self.w))}")
        starts = sn.State(
            a=np.array(self.a), w=np.array([row + (0.0,) * (self.d - len(row)) for row in self.w])
        )
        training: dict[str, Any] = {"method": "ode", "learning_rate": self.learning_rate}
        training |= {"parameterization": self.product}
        end = sn.integrate(problem, starts, t_eval=times, progress=progress, **training)
        # Descent takes whole steps, so several times may fall on the same step. Each step is kept once.
        times, rows = np.unique(end.times, return_index=True)
        path = full_states(end.state)[rows]
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


class AngleFlows(PresetPart):
    """Balanced population flows for several d and both signs of a(0), and the universal angle curve."""

    kind: Literal["angle"]
    d: tuple[int, ...]
    starts: int
    t_end: float
    points: int
    tau: tuple[float, float]
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute the angle `theta`, the time `tau` on the universal curve, and the universal `curve`.

        `tau` is angle_time(theta(0)) + t if a(0) > 0, and angle_time(theta(0)) - t if a(0) < 0. `theta` and
        `tau` are over (d, time, start). `curve`, over (s), is the universal angle at times s that span the
        field `tau`.
        """
        times = time_points(self.t_end, self.points)
        theta, tau = [], []
        for index, d in enumerate(self.d):
            problem = sn.Population(d)
            drawn = sn.balanced_starts(d=d, size=self.starts, seed=self.seed + index)
            sign = np.where(np.arange(self.starts) % 2 == 0, 1.0, -1.0)
            starts = sn.State(sign * np.abs(drawn.a), full_states(drawn).w, np.zeros(self.starts))
            path = sn.reduce(
                problem, full_states(sn.integrate(problem, starts, t_eval=times, method="ode").state)
            )
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


class Conservation(PresetPart):
    """The drift of c = a^2 - |w|^2 along flows from independent starts, integrated with c free."""

    kind: Literal["conservation"]
    d: int
    rtol: tuple[float, ...]
    starts: int
    t_end: float
    points: int
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute `drift` = |c(t) - c(0)| / max(1, a^2 + |w|^2) over (rtol, start, time)."""
        problem = sn.Population(self.d)
        starts = sn.independent_starts(d=self.d, size=self.starts, seed=self.seed)
        times = np.geomspace(1e-2, self.t_end, self.points)
        drift = np.empty((len(self.rtol), self.points, self.starts))
        for row, rtol in enumerate(self.rtol):
            if self.d > 1:  # `integrate` would hold c fixed here
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
