"""Starts where a condition changes: on both sides of every comparison in it, at distances down to 1e-7.

The law of the starts hardly goes to most of the places that a statement speaks of, and never close to a
boundary. Here a start moves along one of its coordinates (a0, w1, rho, theta, ...) to where the two sides of
a comparison are equal, and is put next to that place; other starts are put anywhere.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.problem import seeds as problem_seeds
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, target_vector
from singleneuron.problem.state import Reduced, State
from singleneuron.verification.conditions import Atom, Condition
from singleneuron.verification.runs import batches
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.statements import Setting

SPAN = (1e-7, 1e-1)
"""Distances from a boundary, log-uniform: lengths in units of `reach`, angles and slopes as they are."""
LOG_SPAN = (float(np.log(SPAN[0])), float(np.log(SPAN[1])))
ROUNDS = 8
"""Attempts to find starts at the boundaries that matter."""
ELSEWHERE = -1
"""The face of a start that is near no boundary that matters."""
BISECTIONS = 60
_UNDEFINED = 2  # beside -1, 0, 1, the signs of a difference


class Near(NamedTuple):
    """Starts beside boundaries, or anywhere.

    face : (B,), twice the comparison's number, + 1 above it, where the condition changes there, or
    `ELSEWHERE`. distance : (B,), along the coordinate that was moved; nan where there is none.
    """

    batch: Batch
    face: NDArray[np.intp]
    distance: Array


@dataclass(frozen=True)
class _Places:
    """Starts by coordinates, each (B,) or what broadcasts with it.

    inner, outer : norms of w across the target's direction, within its coordinates and beyond them. Of a
    balanced start only the sign of `a` counts.
    """

    a: Any
    w1: Any
    inner: Any
    outer: Any
    data: Line
    seeds: NDArray[np.int64] | None

    def __getitem__(self, index: NDArray[np.intp]) -> "_Places":
        data = Line(*(np.broadcast_to(value, self.a.shape)[index] for value in self.data))
        seeds = None if self.seeds is None else self.seeds[index]
        return _Places(self.a[index], self.w1[index], self.inner[index], self.outer[index], data, seeds)

    @property
    def q(self) -> Array:
        return np.hypot(self.inner, self.outer)

    @property
    def rho(self) -> Array:
        return np.hypot(self.w1, self.q)

    def values(self, setting: Setting) -> dict[str, Any]:
        """What a condition may mention."""
        rho, a, c = self.rho, self.a, 0.0
        if setting.init == "balanced":
            a = np.copysign(rho, a)
        else:
            c = (np.abs(a) - rho) * (np.abs(a) + rho)
        kept, theta = np.hypot(self.w1, self.inner), np.arctan2(self.q, self.w1)
        named = {"a0": a, "w1": self.w1, "q": self.q, "rho": rho, "kept": kept, "theta": theta, "c": c}
        return named | {"d": setting.d, "s_pos": self.data.s_pos, "s_neg": self.data.s_neg, "found": 1.0}

    def moved(self, name: str, value: Any) -> "_Places":
        """The places with one coordinate set, those beside it in its chart kept."""
        if name == "a0":
            return replace(self, a=value)
        if name == "w1":
            return replace(self, w1=value)
        if name in Line._fields:
            return replace(self, data=self.data._replace(**{name: value}))
        if name == "theta":
            w1, across = self.rho * np.cos(value), self.rho * np.sin(value) / self.q
            return replace(self, w1=w1, inner=self.inner * across, outer=self.outer * across)
        if name == "kept":
            factor = value / np.hypot(self.w1, self.inner)
            return replace(self, w1=self.w1 * factor, inner=self.inner * factor)
        factor = value / (self.rho if name == "rho" else self.q)
        w1 = self.w1 * factor if name == "rho" else self.w1
        return replace(self, w1=w1, inner=self.inner * factor, outer=self.outer * factor)


def near(setting: Setting, given: Condition, region: Condition, runs: int, key: list[int]) -> Iterator[Near]:
    """Batches of about `runs` starts where `given` holds: a share for each comparison, and one anywhere."""
    atoms = [*region.atoms, *given.atoms]
    share = -(-runs // (len(atoms) + 1))
    most = batches.SAMPLED_CHUNK if setting.sampled else batches.CHUNK // 5
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
            places = _anywhere(setting, size, rng)
            face, distance = np.full(size, ELSEWHERE), np.full(size, np.nan)
        batch = _batch(setting, places, rng)
        index = np.flatnonzero(given(batches.values_of(setting, batch)))
        if index.size:
            yield Near(batches.part(batch, index), face[index], distance[index])


def reach(setting: Setting) -> float:
    """How far starts are put, about the largest |w| of the law; boundaries are sought ten times as far."""
    norm = setting.scale * (1.0 if setting.init == "balanced" else np.sqrt(setting.d))
    return float(norm * (1 + 2 / np.sqrt(setting.d)))


def _anywhere(setting: Setting, size: int, rng: np.random.Generator) -> _Places:
    """Starts from the law, uniform in (a0, w1, q) and uniform in (a0, rho, theta), in turn, with data."""
    far, origin = reach(setting), batches.draw(setting, size, rng)
    law = batches.values_of(setting, origin)
    kind = rng.integers(3, size=size)
    theta, rho, angle = (rng.uniform(0, end, size) for end in (np.pi, far, np.pi / 2))
    a = np.where(kind == 0, law["a0"], rng.uniform(-far, far, size))
    w1 = np.choose(kind, [law["w1"], rng.uniform(-far, far, size), rho * np.cos(theta)])
    q = np.choose(kind, [law["q"], rng.uniform(0, far, size), rho * np.sin(theta)])
    if setting.d == 1:
        q = np.zeros(size)
    if setting.targets in (1, setting.d):  # w has no part within the target's coordinates, or none beyond
        angle = np.full(size, 0.0 if setting.targets == 1 else np.pi / 2)
    inner = q * np.sin(angle) if setting.targets > 1 else np.zeros(size)
    outer = q * np.cos(angle) if setting.targets < setting.d else np.zeros(size)
    return _Places(a, w1, inner, outer, origin.data or Line(), origin.seeds)


def _coordinates(setting: Setting) -> list[str]:
    """Along which a start may move; in d > 1 the slopes follow from the samples."""
    names = ["w1"] if setting.init == "balanced" else ["a0", "w1"]
    names += ["q", "rho", "theta"] if setting.d > 1 else []
    names += ["kept"] if 1 < setting.targets < setting.d else []
    return names + (["s_pos", "s_neg"] if setting.n and setting.noise and setting.d == 1 else [])


def _unit(setting: Setting, name: str) -> float:
    return 1.0 if name == "theta" or name in Line._fields else reach(setting)


def _grid(setting: Setting, name: str, rng: np.random.Generator) -> Array:
    """Values of a coordinate from end to end, (G, 1), close where it is 0, or theta pi."""
    jitter = np.exp(rng.uniform(-0.05, 0.05))
    if name == "theta":
        half = np.append(np.geomspace(SPAN[0], 0.1, 16), np.linspace(0.15, 1.4, 20)) * jitter
        return np.append(half, np.pi - half[::-1])[:, None]
    half = np.unique(np.append(np.geomspace(SPAN[0], 10, 33), np.linspace(0.05, 1, 20)))
    half *= jitter * _unit(setting, name)
    return (half if name in ("q", "rho", "kept") else np.concatenate([-half[::-1], [0.0], half]))[:, None]


def _exists(places: _Places, name: str, value: Array) -> NDArray[np.bool_]:
    if name == "theta":
        return (value > 0) & (value < np.pi)
    if name in Line._fields:  # an empty side has no slope
        return np.broadcast_to(places.data.c_pos if name == "s_pos" else places.data.c_neg, value.shape) > 0
    return (value > 0) | (name not in ("q", "rho", "kept"))


def _beside(
    setting: Setting, given: Condition, region: Condition, atom: Atom, size: int, rng: np.random.Generator
) -> tuple[_Places, NDArray[np.intp], Array] | None:
    """Up to `size` places beside those where a comparison changes; first where the region changes with it."""
    found: list[tuple[_Places, NDArray[np.intp], Array]] = []
    names = _coordinates(setting)
    for _ in range(ROUNDS):
        for name in list(names):
            places, below, root, above = _crossings(setting, atom, name, -(-2 * size // len(names)), rng)
            if not below.size:  # along this coordinate it never changes
                names.remove(name)
                continue
            sides = [places.moved(name, value).values(setting) for value in (below, above)]
            (low, high), scope = (region(side) for side in sides), [given(side) for side in sides]
            matters = (low != high) & scope[0] & scope[1]
            up = rng.random(below.size) < 0.5
            distance = _unit(setting, name) * np.exp(rng.uniform(*LOG_SPAN, below.size))
            value = np.where(up, above + distance, below - distance)
            if atom.point:  # it speaks of the very place: a third of the starts are put there
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
    places = _join([places for places, _, _ in found])
    face, distance = (np.concatenate([item[k] for item in found]) for k in (1, 2))
    order = rng.permutation(face.size)
    order = order[np.argsort(face[order] < 0, kind="stable")][:size]
    return places[order], face[order], distance[order]


def _crossings(
    setting: Setting, atom: Atom, name: str, size: int, rng: np.random.Generator
) -> tuple[_Places, Array, Array, Array]:
    """Places where the comparison changes along the coordinate `name`, and its values below, there and above.

    On a grid it changes between two values, or it dips: its difference comes close to 0 and turns back, which
    it may do beyond 0. One of these of each place is bisected; a place without any is left out.
    """
    places, grid = _anywhere(setting, size, rng), _grid(setting, name, rng)

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
    return np.where(np.isnan(difference), _UNDEFINED, np.sign(difference)).astype(np.int8)


def _lowest(difference: Callable[[Array], Array], left: Array, right: Array) -> Array:
    """Where the difference is least between left and right, as if it had one minimum there."""
    for _ in range(BISECTIONS):
        third = (right - left) / 3
        falls = difference(left + third) > difference(right - third)
        left, right = np.where(falls, left + third, left), np.where(falls, right, right - third)
    return (left + right) / 2


def _join(parts: Sequence[_Places]) -> _Places:
    a, w1, inner, outer = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("a", "w1", "inner", "outer")
    )
    data = Line(*(np.concatenate([part.data[k] for part in parts]) for k in range(4)))
    seeds = [part.seeds for part in parts if part.seeds is not None]
    return _Places(a, w1, inner, outer, data, np.concatenate(seeds) if seeds else None)


def _batch(setting: Setting, places: _Places, rng: np.random.Generator) -> Batch:
    """The starts at these places; in full states w turns about the target at random."""
    balanced = setting.init == "balanced"
    a = np.copysign(places.rho, places.a) if balanced else places.a
    c = np.zeros(a.size) if balanced else None
    data = None if setting.n is None else places.data
    if setting.reduced:
        return Batch(Reduced(a, places.w1, places.outer, c), data, places.seeds)
    v = target_vector(setting.d, setting.targets)
    w = places.w1[:, None] * v
    for norm, kept in ((places.inner, v > 0), (places.outer, v == 0)):
        across = rng.standard_normal((a.size, setting.d)) * kept
        across -= (across @ v)[:, None] * v
        length = np.linalg.norm(across, axis=1)[:, None]
        w += norm[:, None] * np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    return Batch(State(a, w, c), data, places.seeds)
