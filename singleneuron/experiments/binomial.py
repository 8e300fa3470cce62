"""Binomial confidence intervals, for a number of runs that is fixed in advance or decided by the counts."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array

Limits = Callable[[ArrayLike, ArrayLike], tuple[Array, Array]]
"""A function of successes and trials that returns confidence limits (low, high)."""


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Compute exact confidence limits of a probability, for a number of trials fixed in advance.

    They cover the probability, whatever it is, with probability >= `level`.

    Parameters
    ----------
    successes, trials : array_like
        Counts, of any shapes that broadcast.
    level : float
        Probability of coverage, in (0, 1).

    Returns
    -------
    low, high : ndarray
        The limits, in the shape of the counts; [0, 1] without trials.

    References
    ----------
    Clopper & Pearson, Biometrika 26, 1934.
    """
    from scipy.special import betaincinv

    s, n = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(trials, dtype=float))
    tail = (1 - level) / 2
    low = np.where(s > 0, betaincinv(np.maximum(s, 1), n - s + 1, tail), 0.0)
    high = np.where(s < n, betaincinv(s + 1, np.maximum(n - s, 1), 1 - tail), 1.0)
    return low, high


def confidence_sequence(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Compute confidence limits that hold for all numbers of trials at once, and so at any stopping time.

    Under the probability p, with s successes and f failures, B(s + 1, f + 1)/(p^s (1 - p)^f) is a martingale
    with mean 1: the likelihood ratio of a uniform mixture of probabilities to p. By Ville's inequality, the
    probability that it ever reaches 1/(1 - level) is <= 1 - level; the interval holds the p for which it has
    not. It is about twice as wide as the exact interval for one fixed number of trials.

    Parameters
    ----------
    successes, trials : array_like
        Counts, of any shapes that broadcast.
    level : float
        Probability of coverage for all numbers of trials, in (0, 1).

    Returns
    -------
    low, high : ndarray
        The limits, in the shape of the counts; [0, 1] without trials.

    References
    ----------
    Robbins, Ann. Math. Statist. 41, 1970.
    """
    from scipy.special import betaln, xlog1py, xlogy

    s, n = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(trials, dtype=float))
    threshold = betaln(s + 1, n - s + 1) + np.log1p(-level)
    rate = np.divide(s, n, out=np.full(s.shape, 0.5), where=n > 0)
    limits = []
    for outside in (np.zeros(s.shape), np.ones(s.shape)):
        inside = rate.copy()
        # The log likelihood is concave with its maximum at `rate`; 60 halvings leave 1e-18.
        for _ in range(60):
            middle = (inside + outside) / 2
            kept = xlogy(s, middle) + xlog1py(n - s, -middle) > threshold
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        limits.append(outside)
    return limits[0], limits[1]


def with_undecided(
    limits: Limits, successes: ArrayLike, undecided: ArrayLike, trials: ArrayLike
) -> tuple[Array, Array]:
    """Compute confidence limits of a probability when some trials have no outcome yet.

    Undecided trials count as failures for the lower limit, and as successes for the upper one. Both limits
    grow with the successes, so this interval contains the one that the true outcomes would give: it covers
    the probability at least as often, and for all numbers of trials at once if `limits` does. An interval
    over only the decided trials does not, because trials that are slow to decide are not a random sample.

    Parameters
    ----------
    limits : callable
        `clopper_pearson` or `confidence_sequence`.
    successes, undecided, trials : array_like
        Counts; `trials` includes those without an outcome.

    Returns
    -------
    low, high : ndarray
        The limits.
    """
    successes, undecided = np.asarray(successes), np.asarray(undecided)
    return limits(successes, trials)[0], limits(successes + undecided, trials)[1]
