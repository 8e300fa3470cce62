"""A run of a study: what it draws, and how it ends.

Run i draws its start and its data from counters keyed by the seed, the problem and i alone, so that any range
of runs may be counted anywhere, in any order.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from signflow.machine import check_memory
from signflow.workers import check_runs
from singleneuron.algorithms import Algorithm, level_counts
from singleneuron.flows.integrate import integrate
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.seeds import key_of
from singleneuron.problem.starts import INITS, balanced_starts, independent_starts
from singleneuron.problem.state import Reduced, Starts, State
from singleneuron.problem.status import Status
from singleneuron.pruning import PruneResult, prune

COUNTS = ("successes", "trapped", "decided", "undecided", "ambiguous", "failed")
BLOCK = 4096
"""Starts drawn at a time; fewer in many dimensions. What a run draws depends on it, not on chunks."""
BLOCK_NUMBERS = 2**22


@dataclass(frozen=True)
class Group:
    """Points of a study's grid that share their dense level, and all that their runs depend on."""

    d: int
    n: int | None
    noise: float
    init: str
    scale: float
    learning_rate: float | None
    level_time: float
    targets: int
    levels: int
    method: str
    seed: int
    training: tuple[tuple[str, Any], ...]
    algorithms: tuple[Algorithm, ...] = ()

    @property
    def reduced(self) -> bool:
        """Whether (a, p, q) is all that a run needs, so that its cost does not grow with d."""
        one_pruning = len(level_counts(self.d, self.targets, self.levels)) <= 2
        return self.n is None and self.targets == 1 and one_pruning and np.isinf(self.level_time)

    @property
    def block(self) -> int:
        return BLOCK if self.reduced else min(BLOCK, max(1, BLOCK_NUMBERS // self.d))

    @property
    def chunk(self) -> int:
        """Runs in a chunk: about a second's work."""
        return 64 if self.n is not None else 2 * self.block


def draw_starts(group: Group, first: int, last: int) -> Starts:
    """The starts of the runs first, ..., last - 1, the same for one d, init, seed and form of the starts."""
    draw = balanced_starts if group.init == "balanced" else independent_starts
    stream, size, parts = INITS.index(group.init), group.block, []
    for index in range(first // size, -(-last // size)):
        block = draw(group.d, size, key_of(group.seed, stream, group.d, index), reduced=group.reduced)
        parts.append(block[max(first - index * size, 0) : last - index * size])
    names = ("a", "p", "q") if group.reduced else ("a", "w")
    arrays = {name: group.scale * np.concatenate([getattr(p, name) for p in parts]) for name in names}
    c = np.zeros(last - first) if group.init == "balanced" else None
    return Reduced(**arrays, c=c) if group.reduced else State(**arrays, c=c)


# Threads of one process take turns: numba's kernels may not run concurrently on every threading layer.
_turn = threading.Lock()


def count_runs(group: Group, first: int, last: int) -> list[list[int]]:
    """The `COUNTS` of runs first, ..., last - 1, for every algorithm of the group, on one core."""
    import numba

    with _turn:
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            starts = draw_starts(group, first, last)
            if group.n is None:
                return _tally(group, _prune(group, Population(group.d, group.targets), starts, group.seed))
            total = np.zeros((len(group.algorithms), len(COUNTS)), dtype=np.int64)
            for run in range(first, last):
                key = key_of(group.seed, len(INITS), group.d, run)
                data = Sample.draw(group.d, group.n, group.noise, key, group.targets)
                start = starts[run - first : run - first + 1]
                total += _tally(group, _prune(group, data, start, key))
            return [[int(value) for value in row] for row in total]
        finally:
            numba.set_num_threads(threads)


def _training(group: Group, seed: int) -> dict[str, Any]:
    own = {"learning_rate": group.learning_rate, "method": group.method, "seed": seed}
    return dict(group.training) | own


def check_size(groups: Sequence[Group], runs: int, at_most: bool) -> None:
    """ValueError, in one line, for a study that does not fit this machine or takes too long.

    at_most : it stops when it knows enough, so that `runs` says nothing of its time.
    """
    if not at_most:
        check_runs(runs * len(groups))
    for group in groups:
        if group.n is not None:
            check_memory(f"a sample with n = {group.n}, d = {group.d}", 8 * group.n * group.d)
        if not group.reduced:
            check_memory(f"a block of starts with d = {group.d}", 3 * 8 * group.block * group.d)
    chunks = sum(-(-runs // group.chunk) for group in groups)
    check_memory(f"a list of {chunks:.3g} chunks of runs", 150 * chunks)


def check_training(group: Group) -> None:
    """ValueError, from `integrate` itself, for training that does not fit: before any work."""
    problem = Population(group.d, group.targets) if group.n is None else Sample.draw(group.d, 1)
    integrate(problem, draw_starts(group, 0, 1), 1e-6, **_training(group, group.seed))


def _prune(group: Group, problem: Population | Sample, starts: Starts, seed: int) -> list[PruneResult]:
    training = _training(group, seed)
    dense = integrate(problem, starts, group.level_time, **training)
    return [
        prune(
            problem, starts, algorithm=algorithm, levels=group.levels, level_time=group.level_time,
            dense=dense, **training,
        )
        for algorithm in group.algorithms
    ]  # fmt: skip


def _tally(group: Group, results: list[PruneResult]) -> list[list[int]]:
    rows = []
    for end in results:
        won, open_end = end.success == 1, np.isnan(end.success)
        if group.learning_rate is not None:  # no integrator gave up: it is descent itself that diverges
            open_end &= end.status != Status.FAILED
        row = (
            won, won & (end.status == Status.TRAPPED), ~open_end, open_end,
            end.status == Status.AMBIGUOUS, end.status == Status.FAILED,
        )  # fmt: skip
        rows.append([int(np.count_nonzero(which)) for which in row])
    return rows
