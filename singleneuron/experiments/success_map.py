"""Success maps: where in the plane (a(0), w_1(0)) IMP, WR and LRR succeed, simulated and predicted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from signflow.machine import check_memory
from signflow.workers import check_runs
from singleneuron.algorithms import Algorithm, level_counts
from singleneuron.flows.integrate import integrate
from singleneuron.flows.result import Progress
from singleneuron.formulas.regions import predicted
from singleneuron.problem.arguments import Array, integer_in_range, number
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.seeds import child_seed
from singleneuron.problem.state import State
from singleneuron.problem.status import Status
from singleneuron.pruning import PruneResult, prune

if TYPE_CHECKING:
    import xarray as xr

CELLS = 8192
"""Cells integrated at a time, between two reports of progress."""


def success_map(
    d: int,
    algorithms: Sequence[str] = ("imp", "lrr"),
    *,
    resolution: int = 256,
    extent: float = 2.0,
    w_perp: float | None = None,
    balanced: bool = False,
    average: int | None = None,
    targets: int = 1,
    n: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
    imp: str = "keep",
    rewind_time: float | None = None,
    levels: int = 1,
    level_time: float = np.inf,
    method: str = "ode",
    progress: Progress | None = None,
    **training: Any,
) -> "xr.Dataset":
    """Run every algorithm from every start of the grid linspace(-extent, extent, resolution) squared.

    The other coordinates w_2, ..., w_d of a start have equal size and the norm w_perp (default
    sqrt(1 - 1/d)), or with `balanced` the norm sqrt(a0^2 - w0^2), where it exists; or with `average` = R they
    are drawn R times, N(0, 1/d) each, and the outcomes averaged. With n samples and `noise` the data are
    drawn by `seed`, anew for each of the R runs. `training` (learning_rate, rtol, ...) goes to
    `integrate`.

    Returns a Dataset with dims (algorithm, a0, w0): `success` in [0, 1] (NaN: no such start, or undecided),
    `status` (codes of `Status`; -1: no such start, or an average in which no run failed), `loss` at the end,
    `predicted` by theory for the flow in the limit of long levels (NaN: no formula, as of the dense level on
    samples; that of IMP's last level holds only where the mask keeps the target, and is left out elsewhere).
    With `average` also `success_low` and `success_high`: what it is if all undecided runs fail, or succeed.
    """
    import xarray as xr

    check_map(
        d, algorithms, resolution=resolution, w_perp=w_perp, balanced=balanced, average=average,
        n=n, noise=noise,
    )  # fmt: skip
    check_training(d, targets, algorithms, rewind_time, levels, level_time, method, training)
    check_size(d, len(algorithms), resolution, average or 1)
    axis = grid_axis(extent, resolution)
    run_by = [Algorithm.fitting(name, imp=imp, rewind_time=rewind_time) for name in algorithms]
    for algorithm in run_by:
        algorithm.check_times(level_time, training.get("learning_rate"))
    runs = 1 if average is None else average
    shape = (len(algorithms), resolution**2)
    names = ("success", "loss", "predicted")
    bounds = () if average is None else ("success_low", "success_high")
    total = {name: np.zeros(shape) for name in (*names, *bounds)}
    status = np.full(shape, -1, dtype=np.int8)
    exists = np.zeros(shape[1], dtype=bool)
    done, everything = 0, runs * len(algorithms) * resolution**2
    for run in range(runs):
        data: Problem = Population(d, targets)
        if n is not None:
            data = Sample.draw(d, n, noise, seed if average is None else child_seed(seed, run), targets)
        for cells, starts in _starts(axis, d, w_perp, balanced, None if average is None else [seed, run]):
            exists[cells] = True
            dense = integrate(data, starts, level_time, method=method, seed=seed, **training)
            for row, algorithm in enumerate(run_by):
                end = prune(
                    data, starts, algorithm=algorithm, levels=levels, level_time=level_time, dense=dense,
                    method=method, seed=seed, **training,
                )  # fmt: skip
                total["success"][row, cells] += end.success
                for name, reading in zip(bounds, (0.0, 1.0), strict=False):
                    total[name][row, cells] += np.where(np.isnan(end.success), reading, end.success)
                total["loss"][row, cells] += end.loss[:, -1]
                total["predicted"][row, cells] += _predicted(data, starts, end, algorithm)
                failed = end.status == Status.FAILED
                status[row, cells] = np.where(failed | (average is None), end.status, status[row, cells])
                done += cells.size
                if progress is not None:
                    progress(done, everything)
    for values in total.values():
        values[:, ~exists] = np.nan
    grid = (len(algorithms), resolution, resolution)
    dims = ("algorithm", "a0", "w0")
    return xr.Dataset(
        {name: (dims, (values / runs).reshape(grid)) for name, values in total.items()}
        | {"status": (dims, status.reshape(grid))},
        coords={"algorithm": list(algorithms), "a0": axis, "w0": axis},
        attrs={"status_codes": ", ".join(f"{s.value} {s.label}" for s in Status), "d": d, "imp": imp},
    )


def _predicted(data: Problem, starts: State, end: PruneResult, algorithm: Algorithm) -> Array:
    """As `predicted`; of samples, whose dense level no formula follows, where the mask keeps the target."""
    found = predicted(data, starts, algorithm)
    if isinstance(data, Population) or end.mask is None:
        return found
    return np.where(end.mask[:, : data.targets].all(axis=1), found, np.nan)


def grid_axis(extent: float, resolution: int) -> Array:
    """linspace(-extent, extent, resolution), symmetric to the last bit: a(0) = -w_1(0) means it."""
    axis = np.linspace(-1.0, 1.0, resolution) * number("extent", extent, least=0.0, open_end=True)
    return (axis - axis[::-1]) / 2


def predicted_edge(
    problem: Problem, algorithm: str | Algorithm, w: Array, w_perp: float, extent: float
) -> Array:
    """The a(0) in [-extent, extent] at which predicted success begins for each w_1(0) of `w`, (W,).

    Success grows with a(0) in every region of the theory (s_pos > 0): bisection finds the edge to rounding.
    -inf, inf: all succeed, none does; NaN: no formula. Of IMP on samples it is the edge for
    starts whose mask keeps the target.
    """
    rest = np.full((w.size, problem.d - 1), w_perp / np.sqrt(max(problem.d - 1, 1)))

    def success(a: Array) -> Array:
        return predicted(problem, State(a, np.column_stack([w, rest])), algorithm)

    low, high = np.full(w.shape, -extent), np.full(w.shape, extent)
    first, last = success(low), success(high)
    for _ in range(60):
        middle = (low + high) / 2
        beyond = success(middle) == 1
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    edge = np.select([first == 1, last == 0], [-np.inf, np.inf], high)
    return np.where(np.isnan(first + last), np.nan, edge)


def check_map(
    d: int,
    algorithms: Sequence[str],
    *,
    resolution: int,
    w_perp: float | None,
    balanced: bool,
    average: int | None,
    n: int | None,
    noise: float,
) -> None:
    """ValueError, in one line, for a grid that cannot be."""
    integer_in_range("d", d, 1)
    integer_in_range("resolution", resolution, 2)
    if average is not None:
        integer_in_range("average", average, 1)
    if number("noise", noise, least=0.0) and n is None:
        raise ValueError(f"noise is that of samples: give their number n too, or no noise (it is {noise:g})")
    if not algorithms or len(set(algorithms)) < len(algorithms):
        raise ValueError(f"algorithms must be distinct and at least one, but are {list(algorithms)}")
    if w_perp is not None and number("w_perp", w_perp, least=0.0) and d == 1:
        raise ValueError(f"w_perp is the norm of other coordinates, but d = 1 has none (it is {w_perp:g})")
    given = [
        name
        for name, on in (("w_perp", w_perp is not None), ("balanced", balanced), ("average", average))
        if on
    ]
    if len(given) > 1:
        raise ValueError(
            f"give at most one of w_perp, balanced and average, but {' and '.join(given)} are given"
        )


def check_size(d: int, algorithms: int, resolution: int, runs: int) -> None:
    """ValueError, in one line, for a map that does not fit this machine or takes too long."""
    cells = resolution**2
    starts = 3 * min(CELLS, cells) * d  # drawn, put together, and kept
    check_memory(f"a map with resolution = {resolution}, d = {d}", 8 * (3 * algorithms * cells + starts))
    check_runs(runs * algorithms * cells)


def check_training(
    d: int,
    targets: int,
    algorithms: Sequence[str],
    rewind_time: float | None,
    levels: int,
    level_time: float,
    method: str,
    training: Mapping[str, Any],
) -> None:
    """ValueError, in one line, for options of the training that do not fit each other."""
    if rewind_time is not None and "wr" not in algorithms:
        raise ValueError(f"rewind_time is WR's: run 'wr' too, or give no rewind_time (it is {rewind_time:g})")
    if integer_in_range("levels", levels, 1) > 1 and d == targets:
        raise ValueError(f"levels must be 1 where d = targets = {d}: nothing is pruned; but is {levels}")
    level_counts(d, targets, levels)
    number("level_time", level_time, least=0.0, finite=False, open_end=True)
    if method == "exact" and training.get("learning_rate") is not None:
        raise ValueError("gradient descent has no closed form: give method 'ode', or no learning_rate")


def _starts(
    axis: Array, d: int, w_perp: float | None, balanced: bool, draw: list[int] | None
) -> Iterator[tuple[NDArray[np.intp], State]]:
    """Chunks of the grid: flat indices of the cells where a start exists, and the starts."""
    resolution = axis.size
    rng = None if draw is None else np.random.Generator(np.random.Philox(np.random.SeedSequence(draw)))
    others = max(d - 1, 1)
    for first in range(0, resolution**2, CELLS):
        cells = np.arange(first, min(first + CELLS, resolution**2))
        a, w = axis[cells // resolution], axis[cells % resolution]
        norm = np.full(a.shape, np.sqrt(1 - 1 / d) if w_perp is None else w_perp)
        if balanced:
            # At d = 1 the cone is |a| = |w|.
            on_cone = np.abs(a) == np.abs(w) if d == 1 else np.abs(a) >= np.abs(w)
            cells, a, w = cells[on_cone], a[on_cone], w[on_cone]
            norm = np.sqrt((np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)))
        rest = np.repeat(norm[:, None] / np.sqrt(others), d - 1, axis=1)
        if rng is not None:
            rest = rng.standard_normal((a.size, d - 1)) / np.sqrt(d)
        if cells.size:
            yield cells, State(a, np.column_stack([w, rest]), np.zeros(a.size) if balanced else None)
