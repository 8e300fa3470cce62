"""Build the plane of a success map: its axes, its starts, and the predicted edge of each region."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm, Name
from singleneuron.experiments.settings import CELLS, MapSettings
from singleneuron.formulas.regions import predicted
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.problem.arguments import Array, number
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.seeds import child_seed
from singleneuron.problem.state import State


def grid_axis(extent: float, resolution: int) -> Array:
    """Return linspace(-extent, extent, resolution), made exactly symmetric.

    The symmetry matters, because starts on the line a(0) = -w_1(0) must lie exactly on it.

    Parameters
    ----------
    extent : float
        Largest value, > 0.
    resolution : int
        Number of points.

    Returns
    -------
    ndarray, shape (resolution,)
        The points.
    """
    axis = np.linspace(-1.0, 1.0, resolution) * number("extent", extent, least=0.0, open_end=True)
    return (axis - axis[::-1]) / 2


def map_problem(settings: MapSettings, run: int = 0) -> Problem:
    """Return the problem that a run of a map trains on.

    Parameters
    ----------
    settings : MapSettings
        The settings of the map.
    run : int
        Number of the run. Each run of an average draws its own samples, unless the settings have a problem.

    Returns
    -------
    Population or Sample
        The problem.
    """
    if settings.problem is not None:
        return settings.problem
    if settings.n is None:
        return Population(settings.d, settings.targets, settings.v)
    seed = settings.seed if settings.average is None else child_seed(settings.seed, run)
    return Sample.draw(settings.d, settings.n, settings.noise, seed, settings.targets, settings.v)


def predicted_edge(
    problem: Problem,
    algorithm: Name | Algorithm,
    w: Array,
    w_perp: float,
    extent: float,
    product: Parameterization = PLAIN,
) -> Array:
    """Find, for each w_1(0), the value of a(0) above which success is predicted.

    If s_pos > 0, a larger a(0) never turns predicted success into failure, so bisection finds this edge up to
    rounding. For IMP on samples, the edge is valid for starts whose mask keeps the target.

    Parameters
    ----------
    problem : Population or Sample
        The problem that the neuron is trained on.
    algorithm : {'imp', 'wr', 'lrr'} or Algorithm
        The algorithm.
    w : ndarray, shape (W,)
        Values of w_1(0).
    w_perp : float
        Norm of w_2, ..., w_d, which have equal size.
    extent : float
        The edge is searched for in [-extent, extent].
    product : Parameterization
        The parameterization of the weights.

    Returns
    -------
    ndarray, shape (W,)
        The edge; -inf if every a(0) succeeds, inf if none does, NaN if there is no formula.
    """
    rest = np.full((w.size, problem.d - 1), w_perp / np.sqrt(max(problem.d - 1, 1)))

    def success(a: Array) -> Array:
        starts = State(a, np.column_stack([w, rest]))
        return predicted(problem, starts, algorithm, parameterization=product)

    low, high = np.full(w.shape, -extent), np.full(w.shape, extent)
    first, last = success(low), success(high)
    for _ in range(60):
        middle = (low + high) / 2
        beyond = success(middle) == 1
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    edge = np.select([first == 1, last == 0], [-np.inf, np.inf], high)
    return np.where(np.isnan(first + last), np.nan, edge)


def plane_starts(settings: MapSettings, axis: Array, run: int) -> Iterator[tuple[NDArray[np.intp], State]]:
    """Generate the starts of a map in chunks.

    Parameters
    ----------
    settings : MapSettings
        The settings of the map.
    axis : ndarray
        The points of each axis.
    run : int
        Number of the run. If w_2, ..., w_d are drawn at random, they depend on it.

    Yields
    ------
    cells : ndarray of int
        Flat indices of cells that have a start.
    starts : State
        The starts of these cells.
    """
    d, resolution, rng = settings.d, axis.size, None
    if settings.average is not None:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([settings.seed, run])))
    others = max(d - 1, 1)
    for first in range(0, resolution**2, CELLS):
        cells = np.arange(first, min(first + CELLS, resolution**2))
        a, w = axis[cells // resolution], axis[cells % resolution]
        norm = np.full(a.shape, np.sqrt(1 - 1 / d) if settings.w_perp is None else settings.w_perp)
        if settings.balanced:
            # With d = 1 there is no other coordinate that could make |w| equal to |a|.
            on_cone = np.abs(a) == np.abs(w) if d == 1 else np.abs(a) >= np.abs(w)
            cells, a, w = cells[on_cone], a[on_cone], w[on_cone]
            norm = np.sqrt((np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)))
        rest = np.repeat(norm[:, None] / np.sqrt(others), d - 1, axis=1)
        if rng is not None:
            rest = rng.standard_normal((a.size, d - 1)) / np.sqrt(d)
        if cells.size:
            c = np.zeros(a.size) if settings.balanced else None
            yield cells, State(a, np.column_stack([w, rest]), c)
