"""Success maps: where in the plane (a(0), w_1(0)) IMP, WR and LRR succeed, simulated and predicted."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm
from singleneuron.experiments.engine import train_and_prune
from singleneuron.experiments.settings import CELLS, MapSettings
from singleneuron.flows.result import Progress
from singleneuron.formulas.regions import predicted
from singleneuron.problem.arguments import Array, number
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.seeds import child_seed
from singleneuron.problem.state import State
from singleneuron.problem.status import Status
from singleneuron.pruning import PruneResult

if TYPE_CHECKING:
    import xarray as xr


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
    learning_rate: float | None = None,
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
    arguments = {name: value for name, value in locals().items() if name != "progress"}
    settings = MapSettings(**arguments)
    settings.check_size()
    return _table(settings, *_cells(settings, progress or (lambda done, total: None)))


def _cells(settings: MapSettings, progress: Progress) -> tuple[dict[str, Array], NDArray[np.int8]]:
    """Run every algorithm from every cell: means over the runs by name, and codes, (algorithms, cells)."""
    axis = grid_axis(settings.extent, settings.resolution)
    average, rules = settings.average, settings.rules
    runs = average or 1
    shape = (len(rules), axis.size**2)
    bounds = () if average is None else ("success_low", "success_high")
    total = {name: np.zeros(shape) for name in ("success", "loss", "predicted", *bounds)}
    status = np.full(shape, -1, dtype=np.int8)
    exists = np.zeros(shape[1], dtype=bool)
    done, everything = 0, runs * status.size
    for run in range(runs):
        data = _data(settings, run)
        for cells, starts in _starts(settings, axis, run):
            exists[cells] = True
            ends = train_and_prune(
                data, starts, rules, levels=settings.levels, level_time=settings.level_time, **settings.how
            )
            for row, (algorithm, end) in enumerate(zip(rules, ends, strict=True)):
                total["success"][row, cells] += end.success
                for name, reading in zip(bounds, (0.0, 1.0), strict=False):
                    total[name][row, cells] += np.where(np.isnan(end.success), reading, end.success)
                total["loss"][row, cells] += end.loss[:, -1]
                total["predicted"][row, cells] += _predicted(data, starts, end, algorithm)
                failed = end.status == Status.FAILED
                status[row, cells] = np.where(failed | (average is None), end.status, status[row, cells])
                done += cells.size
                progress(done, everything)
    for values in total.values():
        values[:, ~exists] = np.nan
    return {name: values / runs for name, values in total.items()}, status


def _table(settings: MapSettings, means: dict[str, Array], status: NDArray[np.int8]) -> "xr.Dataset":
    import xarray as xr

    axis = grid_axis(settings.extent, settings.resolution)
    grid = (len(settings.algorithms), axis.size, axis.size)
    dims = ("algorithm", "a0", "w0")
    codes = ", ".join(f"{s.value} {s.label}" for s in Status)
    return xr.Dataset(
        {name: (dims, values.reshape(grid)) for name, values in means.items()}
        | {"status": (dims, status.reshape(grid))},
        coords={"algorithm": list(settings.algorithms), "a0": axis, "w0": axis},
        attrs={"status_codes": codes, "d": settings.d, "imp": settings.imp},
    )


def _data(settings: MapSettings, run: int) -> Problem:
    """What a run trains on; each of an average draws its own samples."""
    if settings.n is None:
        return Population(settings.d, settings.targets)
    seed = settings.seed if settings.average is None else child_seed(settings.seed, run)
    return Sample.draw(settings.d, settings.n, settings.noise, seed, settings.targets)


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


def _starts(settings: MapSettings, axis: Array, run: int) -> Iterator[tuple[NDArray[np.intp], State]]:
    """Chunks of the grid: flat indices of the cells where a start exists, and the starts."""
    d, resolution, rng = settings.d, axis.size, None
    if settings.average is not None:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([settings.seed, run])))
    others = max(d - 1, 1)
    for first in range(0, resolution**2, CELLS):
        cells = np.arange(first, min(first + CELLS, resolution**2))
        a, w = axis[cells // resolution], axis[cells % resolution]
        norm = np.full(a.shape, np.sqrt(1 - 1 / d) if settings.w_perp is None else settings.w_perp)
        if settings.balanced:
            # At d = 1 the cone is |a| = |w|.
            on_cone = np.abs(a) == np.abs(w) if d == 1 else np.abs(a) >= np.abs(w)
            cells, a, w = cells[on_cone], a[on_cone], w[on_cone]
            norm = np.sqrt((np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)))
        rest = np.repeat(norm[:, None] / np.sqrt(others), d - 1, axis=1)
        if rng is not None:
            rest = rng.standard_normal((a.size, d - 1)) / np.sqrt(d)
        if cells.size:
            c = np.zeros(a.size) if settings.balanced else None
            yield cells, State(a, np.column_stack([w, rest]), c)
