"""Count the runs of a study in chunks: ranges of runs that any executor may count, in any order."""

import itertools
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait

import numpy as np
from numpy.typing import NDArray

from signflow.messages import Failure
from singleneuron.experiments.binomial import Limits, confidence_sequence, with_undecided
from singleneuron.experiments.engine import COUNTS
from singleneuron.experiments.grid import Group
from singleneuron.experiments.runs import count_runs
from singleneuron.experiments.store import Store
from singleneuron.flows.result import Progress
from singleneuron.problem.arguments import Array


class GroupCounts:
    """The counts of a group: over all its runs, or up to the first chunk after which the group may stop.

    Chunks may arrive in any order but are added in the order of their runs, so that the point where a group
    stops depends only on the counts.
    """

    def __init__(self, group: Group, runs: int, ci_width: float | None) -> None:
        """Start with no counts; the group may stop once all its intervals are narrower than `ci_width`."""
        size = group.chunk
        self.ranges = [(first, min(first + size, runs)) for first in range(0, runs, size)]
        self.total = np.zeros((len(group.algorithms), len(COUNTS)), dtype=np.int64)
        self.position, self.done, self.ci_width = 0, 0, ci_width
        self.early: dict[int, list[list[int]]] = {}

    @property
    def closed(self) -> bool:
        """Whether all chunks up to the stopping point have been added."""
        return self.position == len(self.ranges)

    def add(self, index: int, counts: list[list[int]]) -> None:
        """Add the counts of a chunk, or drop them if the chunk is beyond the point where the group stops."""
        if index >= len(self.ranges):
            return
        self.early[index] = counts
        self.done += self.ranges[index][1] - self.ranges[index][0]
        while not self.closed and self.position in self.early:
            self.total += self.early.pop(self.position)
            self.position += 1
            if self.ci_width is not None:
                low, high = confidence_limits(confidence_sequence, self.total)
                if np.all(high - low < self.ci_width):
                    del self.ranges[self.position :]
                    self.done = self.runs

    @property
    def runs(self) -> int:
        """Number of runs to count; it shrinks once the group may stop early."""
        return self.ranges[-1][1]


def confidence_limits(limits: Limits, table: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return confidence limits (low, high) for each row of a table of `COUNTS`; see `with_undecided`."""
    successes, _, decided, undecided = table.T[:4]
    return with_undecided(limits, successes, undecided, decided + undecided)


def count_chunks(
    groups: list[Group],
    counts: list[GroupCounts],
    store: Store,
    executor: Executor,
    width: int,
    progress: Progress,
) -> None:
    """Count every chunk that is not in the store, with at most `width` chunks in the executor at a time."""
    running: dict[Future[list[list[int]]], tuple[int, int]] = {}
    todo = _todo(counts, store)
    try:
        while True:
            progress(sum(c.done for c in counts), sum(c.runs for c in counts))
            for g, index in itertools.islice(todo, width - len(running)):
                first, last = counts[g].ranges[index]
                running[executor.submit(count_runs, groups[g], first, last)] = (g, index)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                g, index = running.pop(future)
                found = future.result()
                if index < len(counts[g].ranges):
                    store.save(_name(g, *counts[g].ranges[index]), found)
                    counts[g].add(index, found)
        progress(sum(c.done for c in counts), sum(c.runs for c in counts))
    except BrokenExecutor:
        kept = "" if store.folder is None else f"; finished chunks are kept in '{store.folder}'; run again"
        raise Failure(
            f"a worker process died (killed, out of memory, or a script without a __main__ guard){kept}"
        ) from None
    finally:
        for future in running:
            future.cancel()


def _todo(counts: list[GroupCounts], store: Store) -> Iterator[tuple[int, int]]:
    """Yield (group, index) of each chunk missing from the store, from each group in turn; add the others."""
    for index in range(max(len(c.ranges) for c in counts)):
        for g, c in enumerate(counts):
            if index < len(c.ranges):
                found = store.load(_name(g, *c.ranges[index]))
                if found is None:
                    yield g, index
                else:
                    c.add(index, found)


def _name(group: int, first: int, last: int) -> str:
    """Return the name of a chunk in the store."""
    return f"{group:04d}-{first:012d}-{last:012d}"
