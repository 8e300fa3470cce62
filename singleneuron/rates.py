"""What theory predicts for a random start: the success rate of each algorithm in the limit of long levels."""

import numpy as np

from singleneuron import exact

INITS = ("balanced", "independent")


def dense_rate(d: int, init: str = "balanced") -> float:
    """P(the population flow in d > 1 coordinates reaches the target) = P(a > -|w|).

    Balanced: P(a > 0) = 1/2 (Lemma 2.2). Independent N(0, 1): 1/2 + P(|a| < |w|)/2, where a^2/(a^2 + |w|^2)
    has the distribution Beta(1/2, d/2); (2 + sqrt 2)/4 at d = 2.
    """
    from scipy.special import betainc

    return 0.5 if init == "balanced" else 0.5 + float(betainc(0.5, d / 2, 0.5)) / 2


def _line_rate(base: float, rescued: float, n: int | None, noise: float) -> float:
    """One coordinate last: `base` is P(w > 0, a > -w), `rescued` is P(w < 0, a > -w, not balanced).

    Label noise carries the latter across if s_neg > 0, half of all data sets with samples on both sides.
    Without samples on the side x > 0, probability 2^-n, nothing is learned.
    """
    if n is None:
        return base
    some = 1 - 0.5**n
    both = 1 - 0.5 ** (n - 1)
    return base * some + (rescued * both / 2 if noise > 0 else 0.0)


def predicted_rate(
    d: int,
    algorithm: str,
    *,
    init: str = "balanced",
    n: int | None = None,
    noise: float = 0.0,
    learning_rate: float | None = None,
    level_time: float = np.inf,
    rewind_time: float | None = None,
    targets: int = 1,
    imp: str = "keep",
) -> float:
    """Probability of success over starts (and data) by gradient flow with long levels; NaN: no formula.

    Theorem 2.3 and beyond. IMP and WR succeed iff their last level does, from (a, mask * w) of the start or
    of the rewind time; LRR iff the dense level does. Balanced WR with one target: P(theta(0) < theta*)/2 have
    w_1 > 0 at the rewind time. Of n samples the dense level is taken as the population's, which needs n >> d
    (NaN where n <= d); a last level with one coordinate is exact at every n. The rate does not depend on the
    scale of the start nor on the number of levels.
    """
    if learning_rate is not None or np.isfinite(level_time) or (n is not None and d > 1 and n <= d):
        return np.nan
    balanced = init == "balanced"
    if d == 1:
        return _line_rate(0.25 if balanced else 0.375, 0.0 if balanced else 0.125, n, noise)
    if algorithm == "lrr" or d == targets:
        return dense_rate(d, init)
    keep, start = imp == "keep", 0.0 if algorithm == "imp" else rewind_time or 0.0
    if targets > 1:
        # a > -|mask * w| at the rewind time: balanced starts, and all after a re-balance, iff a > 0 there.
        if balanced or (start == 0 and not keep):
            return 0.5
        return dense_rate(targets, init) if start == 0 else np.nan
    if balanced:
        positive = 0.5 if start == 0 else float(exact.balanced_angle_cdf(exact.flip_angle(start), d))
        return _line_rate(positive / 2, (1 - positive) / 2 if keep else 0.0, n, noise)
    if start == 0:
        return _line_rate(0.375 if keep else 0.25, 0.125 if keep else 0.0, n, noise)
    return np.nan
