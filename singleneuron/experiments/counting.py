"""Count the runs of a study in chunks, which any executor may count in any order."""

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
    """The counts of a group over all its runs, or up to the first chunk after which the group may stop.

    Chunks may arrive in any order, but they are added in the order of their runs. The point where a group
    stops therefore depends only on the counts.
    """

    def __init__(self, group: Group, runs: int, ci_width: float | None) -> None:
        """Start with no counts. The group may stop once all its intervals are narrower than `ci_width`."""
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
        """Number of runs to count, which shrinks if the group stops early."""
        return self.ranges[-1][1]


def confidence_limits(limits: Limits, table: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the confidence limits (low, high) of `with_undecided` for each row of a table of `COUNTS`."""
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
    """Count each chunk that is not in the store, with at most `width` chunks in the executor at a time."""
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
    """Yield (group, index) of each chunk that is missing from the store, and add the stored chunks.

    The groups take turns.
    """
    for index in range(max(len(c.ranges) for c in counts)):
        for g, c in enumerate(counts):
            if index < len(c.ranges):
                found = store.load(_name(g, *c.ranges[index]))
                if found is None:
                    yield g, index
                else:
                    c.add(index, found)


def _name(group: int, first: int, last: int) -> str:
    """Return the name under which the store keeps a chunk."""
    return f"{group:04d}-{first:012d}-{last:012d}"
