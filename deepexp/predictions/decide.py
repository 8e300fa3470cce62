"""Find the verdict on a prediction from one estimate per seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deepexp.predictions.statistics import Floats, fieller, moments, quantile

FEWEST, MOST = 3, 1000  # the fewest seeds that allow a verdict, and the most that `needed` considers
TIE = 1e-11  # values closer to 0 than this differ from 0 only by rounding errors in sums, and count as 0


@dataclass(frozen=True)
class Decision:
    """The verdict on a prediction, and the estimate that it is based on.

    Attributes
    ----------
    word : str
        SUPPORTED, NOT SUPPORTED, INCONCLUSIVE or NOT RUN.
    why : str
        The reason for the verdict, or a reservation about it. Empty if there is neither.
    n : int
        The number of seeds on which the estimate is based.
    estimate : float
        The estimate over the seeds.
    low, high : float
        The ends of the interval of the estimate.
    needed : str
        If the verdict is INCONCLUSIVE, the number of seeds that would be enough for another verdict, '>
        1,000' or 'unknown'.
    """

    word: str
    why: str = ""
    n: int = 0
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    needed: str = ""

    def __str__(self) -> str:
        """Return the word, with the number of seeds needed or the reason in parentheses."""
        needed = f"n = {self.needed}" if self.needed.isdigit() else f"n {self.needed}"
        why = needed if self.needed else self.why
        return f"{self.word} ({why})" if why else self.word


def decide(values: Floats, bound: float, margin: float) -> Decision:
    """Return the verdict that follows from the t-interval of the mean of `values`, an array (seeds,).

    `deepexp.predictions.predictions` explains `bound` and `margin`.
    """
    found = moments(_tied(values))
    if found.n == 0:
        return Decision("NOT RUN", "no seed has all the runs that the estimate needs")
    low, high = found.interval()
    sizes = np.arange(FEWEST, MOST + 1)
    half = quantile(sizes) * found.deviation / np.sqrt(sizes)
    ends = found.mean - half, found.mean + half
    return _decision(int(found.n), float(_tied(found.mean)), (float(low), float(high)), ends, bound, margin)


def _tied(values: Floats) -> Floats:
    return np.where(np.abs(values) < TIE, 0.0, values)


def decide_ratio(over: Floats, under: Floats, bound: float, margin: float) -> Decision:
    """Return the verdict that follows from Fieller's interval for mean(over) / mean(under), paired by seed.

    The verdict is NOT RUN unless `decide` supports the prediction that mean(under) is above 0. The verdict
    is INCONCLUSIVE if the interval is unbounded.
    """
    paired = np.isfinite(over) & np.isfinite(under)
    over, under = (_tied(values[paired]) for values in (over, under))
    gap = decide(under, 0.0, 0.0)
    if gap.word == "NOT RUN":
        return gap
    if gap.word != "SUPPORTED":
        return Decision("NOT RUN", f"'denominator > 0' must be SUPPORTED, but it is {gap}", gap.n)
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
    """Return the verdict that follows from the `interval` that `n` seeds gave.

    `ends` holds the ends of the intervals that `FEWEST` to `MOST` seeds would give with the same moments.
    """
    low, high = interval
    if n >= FEWEST and low > bound:
        why = "below the margin" if high < bound + margin else ""
        return Decision("SUPPORTED", why, n, estimate, low, high)
    if n >= FEWEST and high < bound + margin:
        return Decision("NOT SUPPORTED", "", n, estimate, low, high)
    deciding = np.flatnonzero((ends[0] > bound) | (ends[1] < bound + margin))
    needed = "unknown" if n < 2 else str(FEWEST + deciding[0]) if len(deciding) else f"> {MOST:,}"
    return Decision("INCONCLUSIVE", "", n, estimate, low, high, needed)
