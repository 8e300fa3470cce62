"""The rule that decides a prediction by its estimates over the seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepexp.predictions.statistics import Floats, fieller, moments, quantile

if TYPE_CHECKING:
    pass


FEWEST, MOST = 3, 1000  # seeds that a verdict takes, and up to which more are asked for


TIE = 1e-11  # estimates below it are 0: what the rounding of sums leaves of a tie


@dataclass(frozen=True)
class Decision:
    """How a prediction came out; n seeds decided it, `needed` would, `why` says what else there is to say."""

    word: str
    why: str = ""
    n: int = 0
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    needed: str = ""

    def __str__(self) -> str:
        needed = f"n = {self.needed}" if self.needed.isdigit() else f"n {self.needed}"
        why = needed if self.needed else self.why
        return f"{self.word} ({why})" if why else self.word


def decide(values: Floats, bound: float, margin: float) -> Decision:
    """The verdict on the mean of `values` (seeds,), by its t-interval."""
    found = moments(_tied(values))
    if found.n == 0:
        return Decision("NOT RUN", "no seed has all the runs that it takes")
    low, high = found.interval()
    sizes = np.arange(FEWEST, MOST + 1)
    half = quantile(sizes) * found.deviation / np.sqrt(sizes)
    ends = found.mean - half, found.mean + half
    return _decision(int(found.n), float(_tied(found.mean)), (float(low), float(high)), ends, bound, margin)


def _tied(values: Floats) -> Floats:
    return np.where(np.abs(values) < TIE, 0.0, values)


def decide_ratio(over: Floats, under: Floats, bound: float, margin: float) -> Decision:
    """The verdict on mean(over) / mean(under) of pairs (seeds,), by Fieller's interval.

    NOT RUN unless mean(under) is SUPPORTED to be above 0; INCONCLUSIVE where the interval is unbounded.
    """
    paired = np.isfinite(over) & np.isfinite(under)
    over, under = (_tied(values[paired]) for values in (over, under))
    gap = decide(under, 0.0, 0.0)
    if gap.word == "NOT RUN":
        return gap
    if gap.word != "SUPPORTED":
        return Decision("NOT RUN", f"the denominator must be SUPPORTED > 0, but it is {gap}", gap.n)
    low, high = fieller(over, under)
    ends = fieller(over, under, np.arange(FEWEST, MOST + 1))
    ratio = float(over.mean() / under.mean())
    return _decision(len(over), ratio, (float(low), float(high)), ends, bound, margin)


def _decision(
    n: int,
    estimate: float,
    interval: tuple[float, float],
    ends: tuple[Floats, Floats],
    bound: float,
    margin: float,
) -> Decision:
    """By the `interval` of the n seeds; `ends` are those of FEWEST to MOST seeds of the same moments."""
    low, high = interval
    if n >= FEWEST and low > bound:
        why = "below the margin" if high < bound + margin else ""
        return Decision("SUPPORTED", why, n, estimate, low, high)
    if n >= FEWEST and high < bound + margin:
        return Decision("NOT SUPPORTED", "", n, estimate, low, high)
    deciding = np.flatnonzero((ends[0] > bound) | (ends[1] < bound + margin))
    needed = "unknown" if n < 2 else str(FEWEST + deciding[0]) if len(deciding) else f"> {MOST:,}"
    return Decision("INCONCLUSIVE", "", n, estimate, low, high, needed)
