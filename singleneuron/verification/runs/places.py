"""Describe starts by coordinates, so that one coordinate can be changed while others stay the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.state import Reduced, State
from singleneuron.problem.target import target_vector
from singleneuron.verification.runs import batches
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.statements import Setting


@dataclass(frozen=True)
class Places:
    """Starts described by coordinates, whose shapes broadcast to (B,).

    Attributes
    ----------
    a : array_like
        Outer weight. In a balanced start only its sign matters.
    w1 : array_like
        Component of w along the target.
    inner : array_like
        Norm of the component of w that lies in the target's coordinates and is orthogonal to the target.
    outer : array_like
        Norm of w in the other coordinates.
    data : Line
        Statistics of the data along the target's coordinate.
    seeds : NDArray[np.int64] | None
        Seeds of the samples; None unless each run trains on its own samples.
    ways : tuple[Array, Array] | None
        Directions (B, d) in which `inner` and `outer` are measured. None for plain weights, for which the
        directions do not matter.
    """

    a: Any
    w1: Any
    inner: Any
    outer: Any
    data: Line
    seeds: NDArray[np.int64] | None
    ways: tuple[Array, Array] | None = None

    def __getitem__(self, index: NDArray[np.intp]) -> "Places":
        """Select some of the starts."""
        data = Line(*(np.broadcast_to(value, self.a.shape)[index] for value in self.data))
        seeds = None if self.seeds is None else self.seeds[index]
        ways = None if self.ways is None else (self.ways[0][index], self.ways[1][index])
        return Places(self.a[index], self.w1[index], self.inner[index], self.outer[index], data, seeds, ways)

    @property
    def q(self) -> Array:
        """Norm of the component of w orthogonal to the target."""
        return np.hypot(self.inner, self.outer)

    @property
    def rho(self) -> Array:
        """Norm of w."""
        return np.hypot(self.w1, self.q)

    def values(self, setting: Setting) -> dict[str, Any]:
        """Compute the value of every name that a condition may use."""
        rho, a, c = self.rho, self.a, 0.0
        if setting.init == "balanced":
            a = np.copysign(rho, a)
        else:
            c = (np.abs(a) - rho) * (np.abs(a) + rho)
        kept, theta = np.hypot(self.w1, self.inner), np.arctan2(self.q, self.w1)
        named = {"a0": a, "w1": self.w1, "q": self.q, "rho": rho, "kept": kept, "theta": theta}
        w = None if self.ways is None else self.w(setting, self.ways)
        named |= batches.distances(setting, a, rho, kept, w, c)
        return named | {"d": setting.d, "s_pos": self.data.s_pos, "s_neg": self.data.s_neg, "found": 1.0}

    def w(self, setting: Setting, ways: tuple[Array, Array]) -> Array:
        """Return w (..., B, d), given the directions in which `inner` and `outer` are measured."""
        parts = zip((self.inner, self.outer), ways, strict=True)
        along = np.asarray(self.w1)[..., None] * target_vector(setting.d, setting.targets)
        return along + sum(np.asarray(norm)[..., None] * way for norm, way in parts)

    def moved(self, name: str, value: Any) -> "Places":
        """Return the starts with the coordinate `name` set to `value`.

        If `name` is one of (a0, w1, q) or of (a0, rho, theta), the other two of these stay the same. Setting
        `kept` rescales w in the target's coordinates. Setting a slope changes only `data`.
        """
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


def reach(setting: Setting) -> float:
    """Return the largest distance from 0 at which `anywhere` places starts, about the largest |w| drawn."""
    norm = setting.scale * (1.0 if setting.init == "balanced" else np.sqrt(setting.d))
    return float(norm * (1 + 2 / np.sqrt(setting.d)))


def anywhere(setting: Setting, size: int, rng: np.random.Generator) -> Places:
    """Draw starts with data, each in one of three ways chosen at random.

    A start is drawn from the setting's distribution, uniformly in (a0, w1, q), or uniformly in
    (a0, rho, theta).
    """
    far, origin = reach(setting), batches.draw(setting, size, rng)
    law = batches.values_of(setting, origin)
    kind = rng.integers(3, size=size)
    theta, rho, angle = (rng.uniform(0, end, size) for end in (np.pi, far, np.pi / 2))
    a = np.where(kind == 0, law["a0"], rng.uniform(-far, far, size))
    w1 = np.choose(kind, [law["w1"], rng.uniform(-far, far, size), rho * np.cos(theta)])
    q = np.choose(kind, [law["q"], rng.uniform(0, far, size), rho * np.sin(theta)])
    if setting.d == 1:
        q = np.zeros(size)
    if setting.targets in (1, setting.d):  # `inner` or `outer` must then be 0
        angle = np.full(size, 0.0 if setting.targets == 1 else np.pi / 2)
    inner = q * np.sin(angle) if setting.targets > 1 else np.zeros(size)
    outer = q * np.cos(angle) if setting.targets < setting.d else np.zeros(size)
    ways = None if setting.weights.plain else _ways(setting, size, rng)
    return Places(a, w1, inner, outer, origin.data or Line(), origin.seeds, ways)


def _ways(setting: Setting, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw two directions (B, d) orthogonal to the target: one in its coordinates, one in all others."""
    v = target_vector(setting.d, setting.targets)
    ways = []
    for kept in (v > 0, v == 0):
        across = rng.standard_normal((size, setting.d)) * kept
        across -= (across @ v)[:, None] * v
        length = np.linalg.norm(across, axis=1)[:, None]
        ways.append(np.divide(across, length, out=np.zeros_like(across), where=length > 0))
    return ways[0], ways[1]


def join_places(parts: Sequence[Places]) -> Places:
    """Concatenate several groups of starts."""
    a, w1, inner, outer = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("a", "w1", "inner", "outer")
    )
    data = Line(*(np.concatenate([part.data[k] for part in parts]) for k in range(4)))
    seeds = [part.seeds for part in parts if part.seeds is not None]
    ways = [part.ways for part in parts if part.ways is not None]
    inner_ways, outer_ways = ([way[i] for way in ways] for i in range(2))
    return Places(
        a, w1, inner, outer, data,
        np.concatenate(seeds) if seeds else None,
        (np.concatenate(inner_ways), np.concatenate(outer_ways)) if ways else None,
    )  # fmt: skip


def batch_at(setting: Setting, places: Places, rng: np.random.Generator) -> Batch:
    """Build a batch from starts given as `places`.

    If the starts are full states and `places.ways` is None, random directions are drawn.
    """
    balanced = setting.init == "balanced"
    a = np.copysign(places.rho, places.a) if balanced else places.a
    c = np.zeros(a.size) if balanced else None
    data = None if setting.n is None else places.data
    if setting.reduced:
        return Batch(Reduced(a, places.w1, places.outer, c), data, places.seeds)
    w = places.w(setting, places.ways or _ways(setting, a.size, rng))
    return Batch(State(a, w, c), data, places.seeds)
