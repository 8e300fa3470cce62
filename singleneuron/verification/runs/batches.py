"""Random runs of a setting: starts by its own law, and the data that each run trains on."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.experiments.engine import LAWS
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, Population, Sample
from singleneuron.problem.seeds import derived_seed
from singleneuron.problem.state import Starts, State, reduce, start_balance
from singleneuron.verification.conditions import Condition
from singleneuron.verification.statements import Setting

CHUNK, SAMPLED_CHUNK = 50_000, 256
LEAST_GIVEN = 1e-3


class Batch(NamedTuple):
    """Starts, and the data of each one's run, if there are samples.

    data : the statistics of the target's coordinate, each (B,). seeds : (B,), in d > 1, those of the samples
    themselves, as `Sample.draw` takes them.
    """

    starts: Starts
    data: Line | None
    seeds: NDArray[np.int64] | None = None


def batches(setting: Setting, given: Condition, runs: int, key: list[int]) -> Iterator[Batch]:
    """Batches of `runs` starts in all, drawn from the law where `given` holds."""
    chunk = SAMPLED_CHUNK if setting.sampled else CHUNK if setting.targets == 1 else CHUNK // 5
    done = seen = attempts = 0
    while done < runs:
        rng = np.random.Generator(np.random.Philox(derived_seed(key, attempts)))
        # Draw a full chunk: `given` may reject most of it.
        size = chunk if given.text != "True" else min(chunk, runs - done)
        batch = draw(setting, size, rng)
        batch = part(batch, np.flatnonzero(given(values_of(setting, batch))))
        attempts, seen = attempts + 1, seen + size
        found = batch.starts.size
        if attempts >= 20 and done + found < seen * LEAST_GIVEN:
            raise ValueError(
                f"'given' must hold for {LEAST_GIVEN:.1%} of the starts at least, "
                f"but held for {done + found} of {seen}: {setting.given!r}"
            )
        if not found:
            continue
        batch = part(batch, slice(0, runs - done))
        done += batch.starts.size
        yield batch


def draw(setting: Setting, size: int, rng: np.random.Generator) -> Batch:
    """`size` starts, with their data, from the law of the setting, whether `given` holds or not."""
    seed = int(rng.integers(2**62))
    starts = LAWS[setting.init](setting.d, size, seed, scale=setting.scale, reduced=setting.reduced)
    if setting.n is None:
        return Batch(starts, None)
    if not setting.sampled:
        return Batch(starts, _statistics(setting.n, setting.noise, size, rng))
    seeds = rng.integers(2**62, size=size)
    rows = [[column[0] for column in sample_of(setting, seed).statistics] for seed in seeds]
    return Batch(starts, Line(*np.array(rows).T), seeds)


def sample_of(setting: Setting, seed: int) -> Sample:
    """The data of a run in d > 1 coordinates."""
    assert setting.n is not None
    return Sample.draw(setting.d, setting.n, setting.noise, int(seed), setting.targets)


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


def values_of(setting: Setting, batch: Batch, found: Any = 1.0) -> dict[str, Any]:
    """What a condition may mention, each (B,); found : whether each run's dense level found the mask."""
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
        "found": found * ones,
    }


def part(batch: Batch, index: Any) -> Batch:
    """The runs that `index` selects."""
    data = None if batch.data is None else Line(*(value[index] for value in batch.data))
    return Batch(batch.starts[index], data, None if batch.seeds is None else batch.seeds[index])
