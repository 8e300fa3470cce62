"""Random runs of an experiment: starts by its own law, and near the boundaries of the regions it states."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.conditions import Condition
from singleneuron.model import (
    Array,
    Line,
    Population,
    Starts,
    State,
    balanced_starts,
    independent_starts,
    reduce,
    start_balance,
)
from singleneuron.statements import Setting

BAND = (1e-3, 1e-1)
"""Distances of starts drawn near a boundary, in units of that between the two starts that straddle it."""
NEAR = 0.25
"""Share of the starts that are drawn near the boundaries of the stated regions."""
CHUNK = 50_000
LEAST_GIVEN = 1e-3


class Batch(NamedTuple):
    """Starts, and the data of each one's last level, if there are samples."""

    starts: Starts
    data: Line | None


def batches(
    setting: Setting, given: Condition, regions: list[Condition], runs: int, key: list[int]
) -> Iterator[tuple[Batch, int]]:
    """Batches of `runs` starts in all, and how many of each, the first, are drawn from the law alone."""
    chunk = CHUNK if setting.targets == 1 else max(1, CHUNK // 5)
    done = seen = attempts = 0
    while done < runs:
        rng = np.random.Generator(np.random.Philox(derived_seed(key, attempts)))
        # More than are missing, where `given` leaves few of them.
        size = chunk if given.text != "True" else min(chunk, runs - done)
        batch = _select(_draw(setting, size, rng), given, setting)
        attempts, seen = attempts + 1, seen + size
        found = 0 if batch is None else batch.starts.size
        if attempts >= 20 and done + found < seen * LEAST_GIVEN:
            raise ValueError(
                f"'given' must hold for {LEAST_GIVEN:.1%} of the starts at least, "
                f"but held for {done + found} of {seen}: {setting.given!r}"
            )
        if batch is None:
            continue
        size = min(found, runs - done)
        near = int(NEAR * size) // max(len(regions), 1)
        extra = (_near_boundary(setting, batch, region, near, rng) for region in regions)
        kept = [b for b in (_select(b, given, setting) for b in extra if b is not None) if b is not None]
        drawn = size - sum(b.starts.size for b in kept)
        batch = _join([part(batch, slice(0, drawn)), *kept])
        done += size
        yield batch, drawn


def _draw(setting: Setting, size: int, rng: np.random.Generator) -> Batch:
    draw = balanced_starts if setting.init == "balanced" else independent_starts
    seed = int(rng.integers(2**62))
    starts = draw(setting.d, size, seed, scale=setting.scale, reduced=setting.targets == 1)
    return Batch(starts, None if setting.n is None else _statistics(setting.n, setting.noise, size, rng))


def _statistics(n: int, noise: float, size: int, rng: np.random.Generator) -> Line:
    """Statistics of one coordinate of `size` data sets, by their exact law: (B,) each.

    m ~ Binomial(n, 1/2) samples have x > 0; the sum of their x^2 is chi^2 with m degrees of freedom, and the
    slope of their noise is N(0, noise^2 / that sum).
    """
    positive = rng.binomial(n, 0.5, size)
    sides: list[Array] = []
    for count, slope in ((positive, 1.0), (n - positive, 0.0)):
        squares = np.where(count > 0, rng.chisquare(np.maximum(count, 1)), 0.0)
        error = noise * rng.standard_normal(size) / np.sqrt(np.where(count > 0, squares, 1.0))
        sides += [squares / n, np.where(count > 0, slope + error, 0.0)]
    return Line(*sides)


def _near_boundary(
    setting: Setting, batch: Batch, region: Condition, size: int, rng: np.random.Generator
) -> Batch | None:
    """`size` starts on both sides of the region's boundary, or None where the batch lies on one side.

    On the segment between a start inside and one outside (balanced: with one sign of a, along the cone), the
    boundary is found by bisection; a start is put at a distance from it that is log-uniform in BAND.
    """
    inside = region(values_of(setting, batch))
    sign = np.sign(batch.starts.a) if setting.init == "balanced" else np.ones(batch.starts.size)
    pairs = []
    for side in (-1.0, 1.0):
        ins, outs = np.flatnonzero(inside & (sign == side)), np.flatnonzero(~inside & (sign == side))
        if ins.size and outs.size:
            pairs.append((rng.choice(ins, size), rng.choice(outs, size)))
    if not pairs or not size:
        return None
    which = rng.integers(len(pairs), size=size)
    i, j = (np.choose(which, [pair[k] for pair in pairs]) for k in (0, 1))
    low, high = np.zeros(size), np.ones(size)
    for _ in range(40):
        middle = (low + high) / 2
        still = region(values_of(setting, _blend(setting, batch, i, j, middle)))
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    distance = np.exp(rng.uniform(np.log(BAND[0]), np.log(BAND[1]), size)) * rng.choice([-1.0, 1.0], size)
    return _blend(setting, batch, i, j, np.clip(low + distance, 0.0, 1.0))


def _blend(setting: Setting, batch: Batch, i: NDArray[np.intp], j: NDArray[np.intp], share: Array) -> Batch:
    """Starts at `share` of the way from start i to start j, with the data of i."""
    first, second = part(batch, i), part(batch, j)
    names = ("w",) if isinstance(batch.starts, State) else ("p", "q")
    mixed = []
    for name in names:
        x, y = getattr(first.starts, name), getattr(second.starts, name)
        weight = share[:, None] if name == "w" else share
        mixed.append((1 - weight) * x + weight * y)
    a = (1 - share) * first.starts.a + share * second.starts.a
    if setting.init == "balanced":
        a = np.sign(first.starts.a) * (
            np.linalg.norm(mixed[0], axis=1) if names == ("w",) else np.hypot(*mixed)
        )
    kind: Any = type(batch.starts)
    return Batch(kind(a, *mixed, first.starts.c), first.data)


def values_of(setting: Setting, batch: Batch) -> dict[str, Any]:
    """What a condition may mention, each (B,)."""
    starts, data = batch.starts, batch.data or Line()
    kept = None
    if isinstance(starts, State):
        kept = np.linalg.norm(starts.w[:, : setting.targets], axis=1)
        starts = reduce(Population(setting.d, setting.targets), starts)
    ones = np.ones(starts.size)
    return {
        "a0": starts.a,
        "w1": starts.p,
        "q": starts.q,
        "rho": np.hypot(starts.p, starts.q),
        "kept": np.abs(starts.p) if kept is None else kept,
        "theta": np.arctan2(starts.q, starts.p),
        "c": start_balance(starts),
        "d": setting.d * ones,
        "s_pos": data.s_pos * ones,
        "s_neg": data.s_neg * ones,
    }


def part(batch: Batch, index: Any) -> Batch:
    data = None if batch.data is None else Line(*(value[index] for value in batch.data))
    return Batch(batch.starts[index], data)


def _join(parts: Sequence[Batch]) -> Batch:
    """One batch out of many; all starts are of one kind."""
    first = parts[0].starts
    names: tuple[str, ...] = ("a", "w") if isinstance(first, State) else ("a", "p", "q")
    if first.c is not None:
        names += ("c",)
    arrays = [np.concatenate([getattr(part.starts, name) for part in parts]) for name in names]
    kind: Any = type(first)
    columns = zip(*(part.data for part in parts if part.data is not None), strict=True)
    data = None if parts[0].data is None else Line(*(np.concatenate(column) for column in columns))
    return Batch(kind(*arrays), data)


def _select(batch: Batch, given: Condition, setting: Setting) -> Batch | None:
    """The starts for which `given` holds; None where there are none."""
    if given.text == "True":
        return batch
    kept = np.flatnonzero(given(values_of(setting, batch)))
    return part(batch, kept) if kept.size else None


def derived_seed(key: Sequence[int], *more: int) -> int:
    return int(np.random.SeedSequence([*key, *more]).generate_state(1, np.uint64)[0] >> np.uint64(1))
