"""Success-rate studies: how often IMP, WR and LRR succeed from random starts, over a grid of factors.

A study is a set of `Group`s, the points of its grid that share their dense level. Each is cut into chunks,
ranges of runs, which any executor may count in any order.
"""

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from signflow.machine import cores
from signflow.messages import Failure
from signflow.workers import MOST_WORKERS, processes
from singleneuron.experiments.binomial import Limits, clopper_pearson, confidence_sequence, with_undecided
from singleneuron.experiments.engine import COUNTS
from singleneuron.experiments.grid import FACTORS, Group
from singleneuron.experiments.runs import check_training, count_runs
from singleneuron.experiments.settings import StudySettings
from singleneuron.experiments.store import Store, opened
from singleneuron.flows.result import Progress
from singleneuron.formulas.rates import predicted_rate
from singleneuron.problem.arguments import Array, integer_in_range
from singleneuron.problem.status import TOLERANCE

if TYPE_CHECKING:
    import xarray as xr

IN_FLIGHT = 128
"""Chunks handed to an executor of unknown width at a time."""
UNDECIDED_SHARE = 0.01
"""Where more of the runs than this are undecided, only bounds of the rate are given."""
_NOT_SETTINGS = ("workers", "executor", "directory", "progress")
"""Arguments of `success_rate` that say how it works, not what it finds."""


# --- counting -----------------------------------------------------------------------------------------------


class _Counts:
    """The counts of a group: of all its runs, or of those up to the first chunk after which it may stop.

    Chunks arrive in any order and are added in theirs, so that where a group stops depends on them alone.
    """

    def __init__(self, group: Group, runs: int, ci_width: float | None) -> None:
        size = group.chunk
        self.ranges = [(first, min(first + size, runs)) for first in range(0, runs, size)]
        self.total = np.zeros((len(group.algorithms), len(COUNTS)), dtype=np.int64)
        self.position, self.done, self.ci_width = 0, 0, ci_width
        self.early: dict[int, list[list[int]]] = {}

    @property
    def closed(self) -> bool:
        return self.position == len(self.ranges)

    def add(self, index: int, counts: list[list[int]]) -> None:
        """Take in the counts of a chunk; those after the last one that counts are dropped."""
        if index >= len(self.ranges):
            return
        self.early[index] = counts
        self.done += self.ranges[index][1] - self.ranges[index][0]
        while not self.closed and self.position in self.early:
            self.total += self.early.pop(self.position)
            self.position += 1
            if self.ci_width is not None:
                low, high = _interval(confidence_sequence, self.total)
                if np.all(high - low < self.ci_width):
                    del self.ranges[self.position :]
                    self.done = self.runs

    @property
    def runs(self) -> int:
        return self.ranges[-1][1]


def _interval(limits: Limits, table: NDArray[np.int64]) -> tuple[Array, Array]:
    """The confidence limits (low, high) that counts leave, a row of `COUNTS` each."""
    successes, _, decided, undecided = table.T[:4]
    return with_undecided(limits, successes, undecided, decided + undecided)


def _count(
    groups: list[Group],
    counts: list[_Counts],
    store: Store,
    executor: Executor,
    width: int,
    progress: Progress,
) -> None:
    """Count every chunk that is not in the store, at most `width` at a time."""
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
        kept = "" if store.folder is None else f"; what is finished is kept in '{store.folder}': run again"
        raise Failure(
            f"a worker process died (killed, out of memory, or a script without a __main__ guard){kept}"
        ) from None
    finally:
        for future in running:
            future.cancel()


def _todo(counts: list[_Counts], store: Store) -> Iterator[tuple[int, int]]:
    """The chunks to count, (group, index), all groups in step; those in the store are added instead."""
    for index in range(max(len(c.ranges) for c in counts)):
        for g, c in enumerate(counts):
            if index < len(c.ranges):
                found = store.load(_name(g, *c.ranges[index]))
                if found is None:
                    yield g, index
                else:
                    c.add(index, found)


def _name(group: int, first: int, last: int) -> str:
    return f"{group:04d}-{first:012d}-{last:012d}"


# --- the study ----------------------------------------------------------------------------------------------


def success_rate(
    d: int | Sequence[int],
    algorithms: str | Sequence[str] = ("imp", "lrr"),
    *,
    n: float | Sequence[float | None] | None = None,
    noise: float | Sequence[float] = 0.0,
    init: str | Sequence[str] = "balanced",
    scale: float | Sequence[float] = 1.0,
    learning_rate: float | Sequence[float | None] | None = None,
    level_time: float | Sequence[float] = np.inf,
    rewind_time: float | Sequence[float | None] | None = None,
    targets: int | Sequence[int] = 1,
    levels: int = 1,
    imp: str = "keep",
    runs: int = 10_000,
    seed: int = 0,
    ci_width: float | None = None,
    method: str = "ode",
    workers: int | None = None,
    executor: Executor | None = None,
    directory: str | Path | None = None,
    progress: Progress | None = None,
    **training: Any,
) -> "xr.Dataset":
    """Success rates of pruning algorithms from random starts, over the grid of all factors given as lists.

    d, n, noise, init, scale, learning_rate, level_time, targets, algorithms, rewind_time : a value, or a list
        of values, which becomes a dim. n : None or inf for the population, else each run draws its own n
        samples. init : 'balanced' or 'independent', times `scale`. rewind_time : of 'wr' alone. The rest as
        in `prune`, to which `training` (rtol, tolerance, ...) goes as well.
    runs : of every point, by `seed`: the same counts bit for bit whatever the workers, their order or
        interruptions. Points of one d, init and seed share their
        starts, except that those of the population with one target, at most one pruning and levels without
        end, which need (a, p, q) alone, draw others than the rest. Data of a smaller n are the first samples
        of a larger one.
    ci_width : stop the points that share a dense level as soon as all their intervals are narrower, looking
        after every chunk; `runs` is then the most (undecided runs may keep an interval wide for ever). The
        intervals are those of `confidence_sequence`, which hold wherever one stops; otherwise those of
        `clopper_pearson`.
    method : 'ode' integrates; 'exact' and 'auto' as in `integrate`.
    workers : processes, 1 for none (default: all cores). executor : any other, instead.
    directory : where finished chunks are kept; a study that finds them there does not repeat them.
    progress : called as progress(done, total) with numbers of runs.

    Returns a Dataset over the dims given: `successes`, of them `trapped` (in the limit), `decided` and
    `undecided` runs, of the latter `ambiguous` and `failed` (gradient descent that diverges is decided: it
    fails); `rate_low` and `rate_high`, the rate if all undecided runs fail, or succeed; `rate` =
    successes/decided, NaN where more than 1 % of the runs are undecided, which is said in a warning;
    `ci_low`, `ci_high`, a 95 % interval that holds however the undecided runs would end; and `predicted` by
    theory (NaN: no formula).
    """
    arguments = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    settings = StudySettings(**arguments)
    workers = cores() if workers is None else integer_in_range("workers", workers, 1, MOST_WORKERS)
    settings.check_size()
    groups = settings.grid.groups
    counts = [_Counts(group, runs, ci_width) for group in groups]
    for group in groups:
        check_training(group)
    # Chunks depend neither on how many there are nor on when to stop: a study may be extended.
    config = {"groups": [asdict(group) for group in groups]}
    report = progress or (lambda done, total: None)
    chunks = sum(len(c.ranges) for c in counts)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(opened(None if directory is None else Path(directory), config))
        width = IN_FLIGHT if executor is not None else 2 * workers
        if executor is None:
            executor = stack.enter_context(processes(min(workers, chunks)))
        _count(groups, counts, store, executor, width, report)
    data = _dataset(settings, counts)
    if vague := int(data.rate.isnull().sum()):
        logging.getLogger(__name__).warning(
            "more than %g %% of the runs are undecided at %d of %d points, whose rates are known only to lie "
            "between their bounds",
            100 * UNDECIDED_SHARE, vague, data.rate.size,
        )  # fmt: skip
    return data


def _dataset(settings: StudySettings, counts: list[_Counts]) -> "xr.Dataset":
    import xarray as xr

    grid = settings.grid
    table = np.array([counts[group].total[row] for group, row in grid.where])
    data: dict[str, NDArray[Any]] = dict(zip(COUNTS, table.T, strict=True))
    successes, decided, undecided = data["successes"], data["decided"], data["undecided"]
    counted = decided + undecided
    clear = undecided <= UNDECIDED_SHARE * counted
    data["rate"] = np.divide(successes, decided, out=np.full(len(table), np.nan), where=clear)
    data["rate_low"], data["rate_high"] = successes / counted, (successes + undecided) / counted
    limits, interval = clopper_pearson, "Clopper-Pearson 95 %"
    if settings.ci_width is not None:
        limits, interval = confidence_sequence, "95 % confidence sequence"
    data["ci_low"], data["ci_high"] = _interval(limits, table)
    theory: dict[str, Any] = {"levels": settings.levels, "imp": settings.imp}
    theory["tolerance"] = settings.training.get("tolerance", TOLERANCE)
    data["predicted"] = np.array([predicted_rate(**point, **theory) for point in grid.points()])
    absent = {"n": np.inf, "learning_rate": np.nan, "rewind_time": np.nan}
    coords = {
        name: [absent[name] if value is None else value for value in values]
        for name, values in grid.values.items()
    }
    dataset = xr.Dataset(
        {name: (FACTORS, values.reshape(grid.shape)) for name, values in data.items()},
        coords=coords,
        attrs={
            "runs": settings.runs, "seed": settings.seed, "interval": interval, "levels": settings.levels,
            "imp": settings.imp, "method": settings.method,
        },
    )  # fmt: skip
    return dataset.squeeze([name for name in FACTORS if name not in grid.dims])
