"""Place starts beside the boundaries of a condition, on both sides and as close as 1e-7.

Starts drawn at random hardly ever come close to a boundary. This module therefore moves a start along one of
its coordinates (a0, w1, rho, theta, ...) to a point where the two sides of a comparison are equal, and places
it next to that point. Further starts are placed anywhere.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.problem import seeds as problem_seeds
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.verification.conditions import Atom, Condition
from singleneuron.verification.runs import batches
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.runs.places import Places, anywhere, batch_at, join_places, reach
from singleneuron.verification.statements import Setting

SPAN = (1e-7, 1e-1)
"""Range of the distances from a boundary, in the unit that `_unit` returns. They are drawn log-uniformly."""
LOG_SPAN = (float(np.log(SPAN[0])), float(np.log(SPAN[1])))
ROUNDS = 8
"""Maximum number of attempts to find enough starts beside boundaries at which the region changes."""
ELSEWHERE = -1
"""The value of `Near.face` for a start that is not beside a boundary of the region."""
BISECTIONS = 60
"""Number of steps of a bisection or a ternary search. So many bisections reach float64 precision."""
_UNDEFINED = 2
"""Stands for the sign of an undefined difference. All other signs are -1, 0 and 1."""


class Near(NamedTuple):
    """Starts placed beside boundaries or anywhere.

    Attributes
    ----------
    batch : Batch
        The starts (B,) and their data.
    face : NDArray[np.intp]
        (B,) number of the face beside which each start is placed. The boundary where comparison k changes has
        two faces: 2 k for starts below it, and 2 k + 1 for starts above it. `ELSEWHERE` if the region does
        not change there.
    distance : Array
        (B,) distance from the boundary along the coordinate that was moved. NaN for starts exactly on a
        boundary and for starts that `anywhere` placed.
    """

    batch: Batch
    face: NDArray[np.intp]
    distance: Array


def near(setting: Setting, given: Condition, region: Condition, runs: int, key: list[int]) -> Iterator[Near]:
    """Yield about `runs` starts that satisfy `given`, in batches: first beside boundaries, then anywhere."""
    atoms = [*region.atoms, *given.atoms]
    share = -(-runs // (len(atoms) + 1))
    most = batches.SAMPLED_BATCH_SIZE if setting.sampled else batches.BATCH_SIZE // 5
    if not setting.weights.plain:  # every point of a grid then holds all of w (d,)
        most = min(most, max(batches.BATCH_SIZE // (5 * setting.d), 50))
    for number, first in itertools.product(range(len(atoms) + 1), range(0, share, most)):
        rng = np.random.Generator(np.random.Philox(problem_seeds.derived_seed(key, number, first)))
        size = min(most, share - first)
        if number < len(atoms):
            found = _beside(setting, given, region, atoms[number], size, rng)
            if found is None:
                continue
            places, face, distance = found
            face = np.where(face < 0, face, 2 * number + face)
        else:
            places = anywhere(setting, size, rng)
            face, distance = np.full(size, ELSEWHERE), np.full(size, np.nan)
        batch = batch_at(setting, places, rng)
        index = np.flatnonzero(given(batches.values_of(setting, batch)))
        if index.size:
            yield Near(batches.part(batch, index), face[index], distance[index])


def _coordinates(setting: Setting) -> list[str]:
    """Return the names of the coordinates along which a start may be moved.

    They include the slopes only if each run draws noisy statistics instead of samples.
    """
    names = ["w1"] if setting.init == "balanced" else ["a0", "w1"]
    names += ["q", "rho", "theta"] if setting.d > 1 else []
    names += ["kept"] if 1 < setting.targets < setting.d else []
    return names + (["s_pos", "s_neg"] if setting.n and setting.noise and not setting.sampled else [])


def _unit(setting: Setting, name: str) -> float:
    """Return the unit of distances along a coordinate: 1 for angles (in radians) and slopes, else `reach`."""
    return 1.0 if name == "theta" or name in Line._fields else reach(setting)


def _grid(setting: Setting, name: str, rng: np.random.Generator) -> Array:
    """Return a grid (G, 1) of values of the coordinate `name`, denser near 0 and, for theta, near pi.

    Except for theta, the grid extends to ten times `_unit`, so that distant boundaries are found as well.
    """
    jitter = np.exp(rng.uniform(-0.05, 0.05))
    if name == "theta":
        half = np.append(np.geomspace(SPAN[0], 0.1, 16), np.linspace(0.15, 1.4, 20)) * jitter
        return np.append(half, np.pi - half[::-1])[:, None]
    half = np.unique(np.append(np.geomspace(SPAN[0], 10, 33), np.linspace(0.05, 1, 20)))
    half *= jitter * _unit(setting, name)
    return (half if name in ("q", "rho", "kept") else np.concatenate([-half[::-1], [0.0], half]))[:, None]


def _exists(places: Places, name: str, value: Array) -> NDArray[np.bool_]:
    """Return for which starts the coordinate `name` can have the given `value`, (B,)."""
    if name == "theta":
        return (value > 0) & (value < np.pi)
    if name in Line._fields:  # a side without samples has no slope
        return np.broadcast_to(places.data.c_pos if name == "s_pos" else places.data.c_neg, value.shape) > 0
    return (value > 0) | (name not in ("q", "rho", "kept"))


def _beside(
    setting: Setting, given: Condition, region: Condition, atom: Atom, size: int, rng: np.random.Generator
) -> tuple[Places, NDArray[np.intp], Array] | None:
    """Place up to `size` starts beside points where the comparison `atom` changes.

    Points where `region` changes as well are preferred. Returns the starts, the side on which each is placed,
    and its distance from the point. The side is 1 above the point and 0 below it, or `ELSEWHERE` if `region`
    does not change there. Returns None if the comparison never changes.
    """
    found: list[tuple[Places, NDArray[np.intp], Array]] = []
    names = _coordinates(setting)
    for _ in range(ROUNDS):
        for name in list(names):
            places, below, root, above = _crossings(setting, atom, name, -(-2 * size // len(names)), rng)
            if not below.size:  # the comparison does not change along this coordinate
                names.remove(name)
                continue
            sides = [places.moved(name, value).values(setting) for value in (below, above)]
            (low, high), scope = (region(side) for side in sides), [given(side) for side in sides]
            matters = (low != high) & scope[0] & scope[1]
            up = rng.random(below.size) < 0.5
            distance = _unit(setting, name) * np.exp(rng.uniform(*LOG_SPAN, below.size))
            value = np.where(up, above + distance, below - distance)
            if atom.point:  # for == and !=, a third of the starts is placed exactly at the point
                there = np.arange(below.size) % 3 == 0
                value, distance = np.where(there, root, value), np.where(there, np.nan, distance)
            places = places.moved(name, value)
            face = np.where(matters, up, ELSEWHERE)
            index = np.flatnonzero(_exists(places, name, value))
            found.append((places[index], face[index], distance[index]))
        if not names or sum(np.sum(face >= 0) for _, face, _ in found) >= size:
            break
    if not found:
        return None
    places = join_places([places for places, _, _ in found])
    face, distance = (np.concatenate([item[k] for item in found]) for k in (1, 2))
    order = rng.permutation(face.size)
    order = order[np.argsort(face[order] < 0, kind="stable")][:size]
    return places[order], face[order], distance[order]


def _crossings(
    setting: Setting, atom: Atom, name: str, size: int, rng: np.random.Generator
) -> tuple[Places, Array, Array, Array]:
    """Find starts for which the comparison `atom` changes along the coordinate `name`.

    Returns the starts, and the values of the coordinate just below, at and just above the change. Two kinds
    of place are searched for on a grid. The difference of the two sides may change its sign between
    neighbouring points, or it may dip: it approaches 0 and turns back, so that it may cross 0 in between. One
    such place is chosen at random for each start, and the change is located by bisection. Starts without a
    change are dropped.
    """
    places, grid = anywhere(setting, size, rng), _grid(setting, name, rng)

    def difference(value: Array) -> Array:
        found = atom(places.moved(name, value).values(setting))
        return np.broadcast_to(found, np.broadcast_shapes(value.shape, (size,)))

    heights = difference(grid)
    signs, heights = _sign(heights), np.abs(heights)
    changes = signs[1:] != signs[:-1]
    dips = np.zeros(changes.shape, dtype=bool)
    dips[:-1] = ~changes[1:] & ~changes[:-1] & (heights[1:-1] < heights[:-2]) & (heights[1:-1] < heights[2:])
    chosen = np.argmax((changes | dips) * (1 + rng.random(changes.shape)), axis=0)
    index = np.flatnonzero((changes | dips)[chosen, np.arange(size)])
    places, chosen, size = places[index], chosen[index], index.size
    dip = dips[chosen, index]
    low, high = grid[chosen, 0], grid[np.minimum(chosen + 1 + dip, len(grid) - 1), 0]
    start = _sign(difference(low))
    if dip.any():
        high = np.where(dip, _lowest(lambda value: start * difference(value), low, high), high)
    there = _sign(difference(high)) != start
    for _ in range(BISECTIONS):
        middle = low + (high - low) / 2
        still = _sign(difference(middle)) == start
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    low, high = np.sort([low, high], axis=0)
    zero = [_sign(difference(value)) == 0 for value in (low, high)]
    below = np.where(zero[0], np.nextafter(low, -np.inf), low)
    above = np.where(zero[1], np.nextafter(high, np.inf), high)
    index = np.flatnonzero(there)
    return places[index], below[index], np.where(zero[0], low, high)[index], above[index]


def _sign(difference: Array) -> NDArray[np.int8]:
    """Return the sign of a difference, or `_UNDEFINED` where it is NaN."""
    return np.where(np.isnan(difference), _UNDEFINED, np.sign(difference)).astype(np.int8)


def _lowest(difference: Callable[[Array], Array], left: Array, right: Array) -> Array:
    """Find by ternary search where in [left, right] `difference` has its only minimum."""
    for _ in range(BISECTIONS):
        third = (right - left) / 3
        falls = difference(left + third) > difference(right - third)
        left, right = np.where(falls, left + third, left), np.where(falls, right, right - third)
    return (left + right) / 2
