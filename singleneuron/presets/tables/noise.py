"""Tables of two effects of label noise: crossing times and slides."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import xarray as xr

import singleneuron as sn
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.common import PresetPart, full_states, time_points


class Crossings(PresetPart):
    """Times at which w crosses 0 upwards on noisy samples in one coordinate, simulated and predicted.

    There are `draws` data sets for every n, and every start (a, w) is trained on each data set. The predicted
    time is computed for slopes from `s_neg[0]` to `s_neg[1]`.
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
        """Compute `simulated` crossing times over (draw, start), and `predicted` times over (start, s).

        The dimension `draw` runs over the data sets of all `n`. `s_neg`, over (draw), is the least-squares
        slope of each data set's samples with x < 0. Times are in units of 1/(2 C_neg), where C_neg is the sum
        of x^2 over x < 0, divided by n. This unit is 1 for the population. A simulated time is NaN if w does
        not cross before `t_end`.
        """
        starts = sn.State(a=np.array(self.a), w=np.array(self.w)[:, None])
        times = time_points(self.t_end, self.points)
        simulated, s_neg = [], []
        for index, n in enumerate(np.repeat(self.n, self.draws)):
            problem = sn.Sample.draw(d=1, n=int(n), noise=self.noise, seed=self.seed + index)
            path = full_states(sn.integrate(problem, starts, t_eval=times, method="ode").state)
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


class Slide(PresetPart):
    """A trajectory of the sample flow that slides in hyperplanes, and gradient descent from the same start.

    The hyperplane w.x_i = 0 of one sample is watched: `sample` is its index i, counted from 1. For each
    learning rate in `hop_rates`, the distance from this hyperplane is recorded at every descent step. For
    each learning rate in `learning_rates`, only the largest distance of descent from the flow is recorded,
    over times that are multiples of the largest of these rates.
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
        """Compute the table.

        Variables:

        - `share`, over (time, sample): 1 while a sample is active, 0 while it is inactive and, during a slide
          in its hyperplane, the share of the time in which it is active.
        - `distance`, over (time): w.x/|x| along the flow, for the watched sample.
        - `hop`, over (hop_rate, step): w.x/|x| under gradient descent, at the times `hop_time`.
        - `error`, over (learning_rate): the largest difference in (a, w) between descent and the flow.
        """
        from singleneuron.flows.samples.ensemble import sample_trace

        problem = sn.Sample.draw(d=self.d, n=self.n, noise=self.noise, seed=self.seed)
        start = sn.State(a=np.array([self.a]), w=np.array([self.w]))
        normal = problem.x[self.sample - 1] / np.linalg.norm(problem.x[self.sample - 1])
        times = time_points(self.t_end, self.points)
        tolerances: dict[str, Any] = {"rtol": self.rtol, "atol": self.rtol}
        flow, share, _ = sample_trace(problem.x, problem.y, self.a, start.w, times, **tolerances)

        def descend(rate: float, at: np.ndarray) -> sn.State:
            return full_states(sn.integrate(problem, start, t_eval=at, learning_rate=rate).state)

        steps = np.arange(1 + int(np.ceil(self.t_end / min(self.hop_rates))))
        hop_time = np.outer(self.hop_rates, steps)
        hop_time[hop_time > self.t_end * (1 + 1e-12)] = np.nan
        hop = np.full(hop_time.shape, np.nan)
        for row, rate in enumerate(self.hop_rates):
            at = hop_time[row][~np.isnan(hop_time[row])]
            hop[row, : at.size] = descend(rate, at).w[:, 0] @ normal
        common = np.arange(0, self.t_end, max(self.learning_rates))
        exact = full_states(sn.integrate(problem, start, t_eval=common, method="ode", **tolerances).state)
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


def _upward(times: np.ndarray, w: np.ndarray) -> float:
    """Return the time at which w passes 0 upwards, or NaN if it never does.

    The time is extrapolated from the last two points before the crossing, because w has a kink at 0 and
    interpolation across the kink would be less accurate.
    """
    last = int(np.argmax(w > 0)) - 1
    if last < 1:
        return math.nan
    step = times[last] - times[last - 1]
    return float(times[last] - w[last] * step / (w[last] - w[last - 1]))
