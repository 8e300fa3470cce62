"""The table of the loss after every pruning level."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import xarray as xr

import singleneuron as sn
from singleneuron.algorithms import Name
from singleneuron.flows.result import Progress
from singleneuron.presets.tables.common import PresetPart, full_states, problem_of


class Levels(PresetPart):
    """The loss after every level, from balanced starts with both signs of a(0) and of w_1(0).

    The starts of one seed differ only in these two signs. If `n` is set, each seed also draws its own
    samples.
    """

    kind: Literal["levels"]
    d: int
    seeds: int
    levels: int
    algorithms: tuple[Name, ...] = ("imp", "lrr")
    n: int | None = None
    noise: float = 0.0
    learning_rate: float | None = None
    level_time: float = math.inf
    seed: int = 0

    def compute(self, progress: Progress) -> xr.Dataset:
        """Compute `loss` over (algorithm, a_sign, w_sign, seed, level), and the `success` of the last level.

        The coordinate `kept` is the number of coordinates left at each level. If `n` is set, `s_neg`,
        over (seed), is the least-squares slope of each data set's samples with x_1 < 0.
        """
        signs = np.array([(a, w) for a in (1, -1) for w in (1, -1)])
        drawn = full_states(sn.balanced_starts(d=self.d, size=self.seeds, seed=self.seed))
        a = signs[:, :1] * np.abs(drawn.a)  # (4, seeds)
        w = np.repeat(drawn.w[None], len(signs), axis=0)  # (4, seeds, d)
        w[..., 0] = signs[:, 1:] * np.abs(w[..., 0])
        # On the population all seeds train at once; with samples each seed trains on its own data.
        seeds = np.arange(self.seeds)
        batches = [seeds] if self.n is None else np.split(seeds, self.seeds)
        problems = [problem_of(self.d, self.n, self.noise, self.seed + int(batch[0])) for batch in batches]
        runs, ends = [], []
        for algorithm in self.algorithms:
            for problem, batch in zip(problems, batches, strict=True):
                run = sn.prune(
                    problem,
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
                ends.append(run.success.reshape(2, 2, len(batch)))
                progress(len(runs), len(self.algorithms) * len(batches))
        loss = np.concatenate(runs, axis=2)  # (2, 2, algorithms * seeds, levels + 1)
        loss = loss.reshape(2, 2, len(self.algorithms), self.seeds, -1)
        success = np.concatenate(ends, axis=2).reshape(2, 2, len(self.algorithms), self.seeds)
        over = ("a_sign", "w_sign", "algorithm", "seed")
        slopes = [problem.statistics.s_neg[0] for problem in problems if isinstance(problem, sn.Sample)]
        return xr.Dataset(
            {"loss": ((*over, "level"), loss), "success": (over, success)}
            | ({"s_neg": ("seed", slopes)} if slopes else {}),
            coords={
                "algorithm": list(self.algorithms),
                "a_sign": [1, -1],
                "w_sign": [1, -1],
                "seed": seeds,
                "kept": ("level", list(run.counts)),
            },
            attrs={"d": self.d} | ({} if self.n is None else {"n": self.n, "noise": self.noise}),
        )
