"""Draw random runs in a setting: the starts, and the data that each run trains on."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.experiments.engine import START_LAWS
from singleneuron.parameterization import distance
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.reduction import reduce
from singleneuron.problem.seeds import derived_seed
from singleneuron.problem.state import Starts, State, start_balance
from singleneuron.verification.conditions import Condition
from singleneuron.verification.statements import Setting

BATCH_SIZE, SAMPLED_BATCH_SIZE = 50_000, 256
"""Maximum numbers of starts in a batch. The second is for runs that each train on their own samples."""
LEAST_GIVEN = 1e-3
"""`given` must hold for at least this share of the starts, or else drawing them would take too long."""


class Batch(NamedTuple):
    """Starts, and the data that the run from each start trains on.

    Attributes
    ----------
    starts : Starts
        The starts (B,).
    data : Line | None
        Statistics (B,) of the data along the target's coordinate; None for the population.
    seeds : NDArray[np.int64] | None
        Seeds (B,) of the samples, for `Sample.draw`; None unless each run trains on its own samples.
    """

    starts: Starts
    data: Line | None
    seeds: NDArray[np.int64] | None = None


def batches(setting: Setting, given: Condition, runs: int, key: list[int]) -> Iterator[Batch]:
    """Yield batches of randomly drawn starts that satisfy `given`, with `runs` starts in total."""
    # With several targets, a start holds all of w (d,) instead of (a, p, q), so fewer are drawn at a time.
    chunk = SAMPLED_BATCH_SIZE if setting.sampled else BATCH_SIZE if setting.targets == 1 else BATCH_SIZE // 5
    done = seen = attempts = 0
    while done < runs:
        rng = np.random.Generator(np.random.Philox(derived_seed(key, attempts)))
        # Draw a full batch: `given` may reject most of it.
        size = chunk if given.text != "True" else min(chunk, runs - done)
        batch = draw(setting, size, rng)
        batch = part(batch, np.flatnonzero(given(values_of(setting, batch))))
        attempts, seen = attempts + 1, seen + size
        found = batch.starts.size
        if attempts >= 20 and done + found < seen * LEAST_GIVEN:
            raise ValueError(
                f"'given' must hold for at least {LEAST_GIVEN:.1%} of the starts, "
                f"but holds for {done + found:,} of {seen:,}; relax {setting.given!r}"
            )
        if not found:
            continue
        batch = part(batch, slice(0, runs - done))
        done += batch.starts.size
        yield batch


def draw(setting: Setting, size: int, rng: np.random.Generator) -> Batch:
    """Draw starts and their data from the setting's distribution, regardless of `given`."""
    seed = int(rng.integers(2**62))
    starts = START_LAWS[setting.init](setting.d, size, seed, scale=setting.scale, reduced=setting.reduced)
    if setting.n is None:
        return Batch(starts, None)
    if not setting.sampled:
        return Batch(starts, _statistics(setting.n, setting.noise, size, rng))
    seeds = rng.integers(2**62, size=size)
    rows = [[column[0] for column in sample_of(setting, seed).statistics] for seed in seeds]
    return Batch(starts, Line(*np.array(rows).T), seeds)


def sample_of(setting: Setting, seed: int) -> Sample:
    """Draw the samples of the run with the given seed."""
    assert setting.n is not None
    return Sample.draw(setting.d, setting.n, setting.noise, int(seed), setting.targets)


def _statistics(n: int, noise: float, size: int, rng: np.random.Generator) -> Line:
    """Draw the statistics of `size` data sets in one coordinate from their exact distribution.

    The number m of samples with x > 0 is Binomial(n, 1/2). The sum Q of x^2 over these samples is chi^2 with
    m degrees of freedom, and the error of their slope is N(0, noise^2 / Q). The same holds for x < 0.
    """
    positive = rng.binomial(n, 0.5, size)
    sides: list[Array] = []
    for count, slope in ((positive, 1.0), (n - positive, 0.0)):
        squares = np.where(count > 0, rng.chisquare(np.maximum(count, 1)), 0.0)
        error = noise * rng.standard_normal(size) / np.sqrt(np.where(count > 0, squares, 1.0))
        sides += [squares / n, np.where(count > 0, slope + error, 0.0)]
    return Line(*sides)


def values_of(setting: Setting, batch: Batch, found: Any = 1.0) -> dict[str, Any]:
    """Compute the value of every name that a condition may use.

    Parameters
    ----------
    setting : Setting
        The setting of the starts.
    batch : Batch
        The starts (B,) and their data.
    found : array_like
        1 for runs in which the mask of the dense level keeps the target, else 0.

    Returns
    -------
    dict[str, Any]
        An array (B,) for each name in `conditions.NAMES`.
    """
    starts, data = batch.starts, batch.data or Line()
    w, kept = None, None
    if isinstance(starts, State):
        w = starts.w
        kept = np.linalg.norm(w[:, : setting.targets], axis=1)
        starts = reduce(Population(setting.d, setting.targets), starts)
    kept = np.abs(starts.p) if kept is None else kept
    ones, rho = np.ones(starts.size), np.hypot(starts.p, starts.q)
    return {
        "a0": starts.a,
        "w1": starts.p,
        "q": starts.q,
        "rho": rho,
        "kept": kept,
        "theta": np.arctan2(starts.q, starts.p),
        **distances(setting, starts.a, rho, kept, w, start_balance(starts)),
        "d": setting.d * ones,
        "s_pos": data.s_pos * ones,
        "s_neg": data.s_neg * ones,
        "found": found * ones,
    }


def distances(setting: Setting, a: Any, rho: Any, kept: Any, w: Any, c: Any) -> dict[str, Any]:
    """Compute the values of `g_a`, `g_w`, `g_kept` and `c`, which depend on the parameterization.

    Parameters
    ----------
    setting : Setting
        The setting of the starts.
    a : array_like, shape (..., B)
        Outer weights.
    rho : array_like, shape (..., B)
        Norms |w|.
    kept : array_like, shape (..., B)
        Norms |mask * w|.
    w : ndarray, shape (..., B, d), or None
        Inner weights; used only under Sign-In.
    c : array_like
        Balance a^2 - |w|^2 of plain weights; not used under Sign-In.

    Returns
    -------
    dict[str, Any]
        The distances `g_a`, `g_w` and `g_kept` from 0, and the balance `c` that the flow conserves.
    """
    weights = setting.weights
    if weights.plain:
        return {"g_a": a**2, "g_w": rho**2, "g_kept": kept**2, "c": c}
    own, each = distance(a, weights.beta_a), distance(w, weights.beta_w)
    total = each.sum(axis=-1)
    kept_total = each[..., : setting.targets].sum(axis=-1)
    return {"g_a": own, "g_w": total, "g_kept": kept_total, "c": own - total}


def part(batch: Batch, index: Any) -> Batch:
    """Select runs from a batch by any index that an array (B,) accepts."""
    data = None if batch.data is None else Line(*(value[index] for value in batch.data))
    return Batch(batch.starts[index], data, None if batch.seeds is None else batch.seeds[index])
