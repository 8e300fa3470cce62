"""Intervals and tests over seeds: Student's t, Fieller's interval for a ratio and Holm's correction.

All intervals have a confidence of 95 %. Missing values are NaN and are ignored. A result is NaN if there are
too few values to compute it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """The moments of samples along an axis, as arrays without this axis.

    Attributes
    ----------
    n : ndarray of int64
        The sample sizes.
    mean : ndarray
        The means, which are NaN where n = 0.
    deviation : ndarray
        The standard deviations with n - 1 in the denominator, which are NaN where n < 2.
    """

    n: NDArray[np.int64]
    mean: Floats
    deviation: Floats

    def interval(self) -> tuple[Floats, Floats]:
        """Return the lower and the upper end of the t-interval of the mean."""
        half = quantile(self.n) * self.deviation / np.sqrt(np.maximum(self.n, 1))
        return self.mean - half, self.mean + half


def moments(values: ArrayLike, axis: int = -1) -> Moments:
    """Compute the moments of samples, ignoring values that are not finite.

    Parameters
    ----------
    values : array_like
        The samples.
    axis : int
        The axis along which the moments are computed.

    Returns
    -------
    Moments
    """
    values = np.asarray(values, dtype=float)
    there = np.isfinite(values)
    n = np.asarray(there.sum(axis=axis))
    mean = np.where(there, values, 0).sum(axis=axis) / np.where(n > 0, n, 1)
    squares = np.where(there, values - np.expand_dims(mean, axis), 0) ** 2
    deviation = np.sqrt(squares.sum(axis=axis) / np.where(n > 1, n - 1, 1))
    return Moments(n, np.where(n > 0, mean, np.nan), np.where(n > 1, deviation, np.nan))


def pair_moments(values: ArrayLike) -> Moments:
    """Compute the moments of a mean over pairs of samples by the jackknife.

    Pairs that share a sample are dependent, so they must not be counted as independent samples. The jackknife
    leaves out one sample at a time, with all its pairs, and computes a pseudo-value for it. The mean of the
    pseudo-values is the mean over all pairs, and their t-interval holds approximately.

    Parameters
    ----------
    values : array_like (..., samples, samples)
        A symmetric matrix with a value for each pair of samples. The diagonal is ignored. A sample is missing
        if all its values are NaN.

    Returns
    -------
    Moments
        The number of samples, the mean over all pairs, and the standard deviation of the pseudo-values. The
        standard deviation is NaN for fewer than 3 samples.

    References
    ----------
    Arvesen, "Jackknifing U-statistics", Annals of Mathematical Statistics 40 (1969).
    """
    values = np.array(values, dtype=float)
    values[..., range(values.shape[-1]), range(values.shape[-1])] = np.nan
    there = np.isfinite(values)
    present = there.any(-1)
    n = present.sum(-1)
    rows = np.where(there, values, 0).sum(-1)
    whole = rows.sum(-1) / 2
    mean = np.where(n > 1, whole / np.maximum(n * (n - 1) / 2, 1), np.nan)
    without = (whole[..., None] - rows) / np.maximum((n - 1) * (n - 2) / 2, 1)[..., None]
    pseudo = n[..., None] * mean[..., None] - (n - 1)[..., None] * without
    deviation = moments(np.where(present, pseudo, np.nan)).deviation
    return Moments(n, mean, np.where(n > 2, deviation, np.nan))


def quantile(n: ArrayLike) -> Floats:
    """Return the half-width of the t-interval from `n` samples in standard errors; NaN where n < 2."""
    from scipy.stats import t

    n = np.asarray(n)
    return np.where(n > 1, t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1)), np.nan)


def fieller(over: Floats, under: Floats, n: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Return the ends of Fieller's interval for mean(over) / mean(under), from pairs of values.

    The interval contains every ratio r for which the t-interval of `over - r * under` contains 0. These r are
    the solutions of `a * r**2 - 2 * b * r + c <= 0`, with `a`, `b` and `c` as in the code. If the t-interval
    of mean(under) contains 0 (`a <= 0`), the interval of the ratio is unbounded, with the ends -inf and inf.

    Parameters
    ----------
    over, under : ndarray (pairs,)
        The two values of each pair, without NaNs.
    n : array_like, optional
        The numbers of pairs to assume, with the moments of the given pairs. The default is the number of
        given pairs.

    Returns
    -------
    low, high : ndarray
        The lower and the upper ends, in the shape of `n`.
    """
    size = np.asarray(len(over) if n is None else n)
    shrunk = quantile(size) ** 2 / size
    (yy, xy), (_, xx) = np.cov(over, under)
    y, x = over.mean(), under.mean()
    a, b, c = x * x - shrunk * xx, x * y - shrunk * xy, y * y - shrunk * yy
    # The ratio y / x is always a solution, so `b * b - a * c` can be negative only because of rounding.
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    bounded = a > 0
    safe = np.where(bounded, a, 1)
    return np.where(bounded, (b - root) / safe, -np.inf), np.where(bounded, (b + root) / safe, np.inf)


def paired_p(differences: Moments) -> Floats:
    """Compute the p-value of the two-sided paired t-test.

    Parameters
    ----------
    differences : Moments
        The moments of the differences within the pairs.

    Returns
    -------
    ndarray
        The p-values. They are NaN where n < 2, and where all differences are 0, since comparing a run with
        itself tests nothing. They are 0 where all differences are equal but not 0.
    """
    from scipy.stats import t

    n, mean, deviation = differences.n, differences.mean, differences.deviation
    error = deviation / np.sqrt(np.maximum(n, 1))
    varied = (n > 1) & (deviation > 0)
    p = 2 * t.sf(np.abs(mean) / np.where(varied, error, 1), np.maximum(n - 1, 1))
    return np.where(varied, p, np.where((n > 1) & (mean != 0), 0.0, np.nan))


def holm(p: ArrayLike) -> Floats:
    """Adjust the p-values of a family of tests by Holm's step-down method.

    Parameters
    ----------
    p : array_like (tests,)
        The p-values. NaNs are not counted as tests.

    Returns
    -------
    ndarray (tests,)
        The adjusted p-values, which are NaN where `p` is NaN.
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # argsort puts NaNs last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted
