"""Draw the starts and data of a study's runs, train them, and count their outcomes.

The random draws of run i depend only on the seed, the problem and i, so any range of runs may be counted
anywhere, in any order.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.experiments.engine import COUNTS, START_LAWS, tally, train_and_prune
from singleneuron.experiments.grid import Group
from singleneuron.flows.integrate import integrate
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.seeds import key_of
from singleneuron.problem.starts import INITS
from singleneuron.problem.state import Reduced, Starts, State


def draw_starts(group: Group, first: int, last: int) -> Starts:
    """Return the starts of the runs first, ..., last - 1.

    The start of a run depends only on the run's index, on d, init, seed and scale, and on `group.reduced`.
    """
    draw = START_LAWS[group.init]
    stream, size, parts = INITS.index(group.init), group.block, []
    for index in range(first // size, -(-last // size)):
        block = draw(group.d, size, key_of(group.seed, stream, group.d, index), reduced=group.reduced)
        parts.append(block[max(first - index * size, 0) : last - index * size])
    names = ("a", "p", "q") if group.reduced else ("a", "w")
    arrays = {name: group.scale * np.concatenate([getattr(p, name) for p in parts]) for name in names}
    c = np.zeros(last - first) if group.init == "balanced" else None
    return Reduced(**arrays, c=c) if group.reduced else State(**arrays, c=c)


# Threads of one process take turns, because some threading layers of numba do not let two threads run kernels
# at the same time.
_turn = threading.Lock()


def count_runs(group: Group, first: int, last: int) -> list[list[int]]:
    """Count the runs first, ..., last - 1 on one core, and return a row of `COUNTS` for each algorithm."""
    import numba

    with _turn:
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            starts = draw_starts(group, first, last)
            if group.n is None:
                problem = group.problem or group.population
                return _count(group, problem, starts, group.seed).tolist()
            total = np.zeros((len(group.algorithms), len(COUNTS)), dtype=np.int64)
            for run in range(first, last):
                key = key_of(group.seed, len(INITS), group.d, run)
                data = group.problem or Sample.draw(
                    group.d, group.n, group.noise, key, group.targets, group.v
                )
                total += _count(group, data, starts[run - first : run - first + 1], key)
            return total.tolist()
        finally:
            numba.set_num_threads(threads)


def _training(group: Group, seed: int) -> dict[str, Any]:
    """Return the arguments of `integrate` that are the same at every level."""
    own = {"learning_rate": group.learning_rate, "method": group.method, "seed": seed}
    return dict(group.training) | own | {"parameterization": group.parameterization}


def check_training(group: Group) -> None:
    """Raise the ValueError of `integrate` if a training argument is invalid, before any work is done."""
    drawn = group.population if group.n is None else Sample.draw(group.d, 1)
    problem = group.problem or drawn
    integrate(problem, draw_starts(group, 0, 1), 1e-6, **_training(group, group.seed))


def _count(group: Group, problem: Population | Sample, starts: Starts, seed: int) -> NDArray[np.int64]:
    """Count the outcomes of the runs from `starts`, and return a row of `COUNTS` for each algorithm."""
    descent = group.learning_rate is not None
    ends = train_and_prune(
        problem, starts, group.algorithms, levels=group.levels, level_time=group.level_time,
        **_training(group, seed),
    )  # fmt: skip
    return np.array([tally(end.success, end.status, descent=descent) for end in ends])
