"""Compute binomial confidence intervals, even if the number of trials depends on the counts."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array

Limits = Callable[[ArrayLike, ArrayLike], tuple[Array, Array]]
"""A function of successes and trials that returns confidence limits (low, high)."""


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Compute exact confidence limits for a probability, for a number of trials fixed in advance.

    Whatever the true probability is, the interval covers it with probability >= `level`.

    Parameters
    ----------
    successes, trials : array_like
        Counts, of any shapes that broadcast.
    level : float
        Probability of coverage, in (0, 1).

    Returns
    -------
    low, high : ndarray
        The limits, in the shape of the counts; 0 and 1 if there are no trials.

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

    If the true probability is p, the ratio B(s + 1, f + 1)/(p^s (1 - p)^f) after s successes and f failures
    is a martingale with mean 1, where B is the beta function. The numerator is the likelihood of a uniform
    mixture of probabilities, and the denominator is the likelihood of p. By Ville's inequality, the
    probability that the ratio ever reaches 1/(1 - level) is at most 1 - level. The interval contains every p
    whose ratio is below this bound. It is about twice as wide as the exact interval for a fixed number of
    trials.

    Parameters
    ----------
    successes, trials : array_like
        Counts, of any shapes that broadcast.
    level : float
        Probability of coverage for all numbers of trials, in (0, 1).

    Returns
    -------
    low, high : ndarray
        The limits, in the shape of the counts; 0 and 1 if there are no trials.

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
        # The log-likelihood is concave with its maximum at `rate`. 60 halvings leave an error of 1e-18.
        for _ in range(60):
            middle = (inside + outside) / 2
            kept = xlogy(s, middle) + xlog1py(n - s, -middle) > threshold
            inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
        limits.append(outside)
    return limits[0], limits[1]


def with_undecided(
    limits: Limits, successes: ArrayLike, undecided: ArrayLike, trials: ArrayLike
) -> tuple[Array, Array]:
    """Compute confidence limits for a probability when some trials have no outcome yet.

    Undecided trials count as failures for the lower limit, and as successes for the upper limit. Both limits
    grow with the number of successes, so this interval contains the interval that the true outcomes would
    give, and covers the probability at least as often. If `limits` holds for all numbers of trials at once,
    so does this interval. An interval computed from only the decided trials has no such guarantee, because
    trials that are slow to decide are not a random sample.

    Parameters
    ----------
    limits : callable
        `clopper_pearson` or `confidence_sequence`.
    successes, undecided, trials : array_like
        Counts. `trials` includes the trials without an outcome.

    Returns
    -------
    low, high : ndarray
        The limits.
    """
    successes, undecided = np.asarray(successes), np.asarray(undecided)
    return limits(successes, trials)[0], limits(successes + undecided, trials)[1]
