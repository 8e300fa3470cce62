"""Intervals and tests over seeds: Student's t, Fieller's ratio, Holm's correction. All at 95 %.

A missing value is NaN and takes no part; what its sample is too small for is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of samples along an axis that is gone: their number, mean and (n - 1) standard deviation."""

    n: NDArray[np.int64]
    mean: Floats
    deviation: Floats

    def interval(self) -> tuple[Floats, Floats]:
        """The ends of the t-interval of the mean."""
        half = quantile(self.n) * self.deviation / np.sqrt(np.maximum(self.n, 1))
        return self.mean - half, self.mean + half


def moments(values: ArrayLike, axis: int = -1) -> Moments:
    """The moments of `values` along `axis`."""
    values = np.asarray(values, dtype=float)
    there = np.isfinite(values)
    n = np.asarray(there.sum(axis=axis))
    mean = np.where(there, values, 0).sum(axis=axis) / np.where(n > 0, n, 1)
    squares = np.where(there, values - np.expand_dims(mean, axis), 0) ** 2
    deviation = np.sqrt(squares.sum(axis=axis) / np.where(n > 1, n - 1, 1))
    return Moments(n, np.where(n > 0, mean, np.nan), np.where(n > 1, deviation, np.nan))


def quantile(n: ArrayLike) -> Floats:
    """Student's t with n - 1 degrees of freedom that leaves 2.5 % above it; NaN where n < 2."""
    from scipy.stats import t

    n = np.asarray(n)
    return np.where(n > 1, t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1)), np.nan)


def fieller(over: Floats, under: Floats, n: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """The ends of Fieller's interval for mean(over) / mean(under) of pairs, with t.

    It holds every ratio r for which the t-interval of over - r under has 0: the solutions of
    A r^2 - 2 B r + C <= 0. Where A <= 0, that is where 0 lies in the interval of mean(under), it is unbounded
    and -inf, inf are returned. `over`, `under` (pairs,); n: sample sizes to assume with the moments that the
    pairs have (default: theirs).
    """
    size = np.asarray(len(over) if n is None else n)
    shrunk = quantile(size) ** 2 / size
    (yy, xy), (_, xx) = np.cov(over, under)
    y, x = over.mean(), under.mean()
    a, b, c = x * x - shrunk * xx, x * y - shrunk * xy, y * y - shrunk * yy
    root = np.sqrt(np.maximum(b * b - a * c, 0))  # below 0 by rounding alone: y / x solves it
    bounded = a > 0
    safe = np.where(bounded, a, 1)
    return np.where(bounded, (b - root) / safe, -np.inf), np.where(bounded, (b + root) / safe, np.inf)


def paired_p(differences: Moments) -> Floats:
    """Two-sided p of the paired t-test; NaN where all differences are 0: the same run twice is no test."""
    from scipy.stats import t

    n, mean, deviation = differences.n, differences.mean, differences.deviation
    error = deviation / np.sqrt(np.maximum(n, 1))
    varied = (n > 1) & (deviation > 0)
    p = 2 * t.sf(np.abs(mean) / np.where(varied, error, 1), np.maximum(n - 1, 1))
    return np.where(varied, p, np.where((n > 1) & (mean != 0), 0.0, np.nan))


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values of a family (tests,); NaN is not of the family."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted
