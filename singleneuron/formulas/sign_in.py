"""Sign-In: the limit of flows that reach the target, and the success rates of random starts.

`regions.predicted` says which starts succeed. Gadhikar, Jacobs, Zhou & Burkholz introduced Sign-In in
*Sign-In to the Lottery* (NeurIPS 2025). All results here go beyond that paper.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.parameterization import Parameterization, distance, metric
from singleneuron.problem.arguments import Array
from singleneuron.problem.starts import INITS, Init

NEWTON_STEPS = 200
"""Largest number of Newton steps; about 10 suffice unless the betas or c are extreme."""
MOST_STARTS, LEAST_STARTS, NUMBERS = 2**17, 2**8, 2**23
"""A sampled rate uses about NUMBERS random numbers, but between LEAST_STARTS and MOST_STARTS starts."""


class PredictedRate(NamedTuple):
    """A rate and its standard error.

    Attributes
    ----------
    rate : float
        The rate; NaN if there is no formula.
    error : float
        Standard error of the rate; 0 if the rate is exact or computed by quadrature.
    """

    rate: float
    error: float


def weight_at(g: ArrayLike, beta: float) -> Array:
    """Return the weight theta >= 0 whose distance from 0 is g; the inverse of `parameterization.distance`.

    Parameters
    ----------
    g : array_like
        Distances sqrt(beta^2 + 4 theta^2) - beta, >= 0.
    beta : float
        m^2 - u^2 of these weights, > 0.

    Returns
    -------
    ndarray
        theta = sqrt(g (g + 2 beta))/2, of the same shape as `g`.
    """
    g = np.asarray(g, dtype=np.float64)
    return np.sqrt(g) * np.sqrt(g + 2 * beta) / 2


def sign_in_limit(c: ArrayLike, parameterization: Parameterization, targets: int = 1) -> Array:
    """Compute lim a(t) for flows under Sign-In that reach the target, from the conserved balance c.

    At the target, w = rho v and a rho = 1. So c = g(a, beta_a) - k g(rho/sqrt k, beta_w) for k target
    coordinates. The right-hand side grows with a, so c determines a.

    Parameters
    ----------
    c : array_like
        Balance of the start, as `Parameterization.balance` returns it.
    parameterization : Parameterization
        Sign-In and its betas.
    targets : int
        Number of target coordinates k.

    Returns
    -------
    ndarray
        The limit of a, of the same shape as `c`; the limit of |w| is 1/a.

    Raises
    ------
    ValueError
        If the parameterization is plain; `population_limit` computes the limit for plain weights.

    References
    ----------
    This goes beyond Gadhikar, Jacobs, Zhou & Burkholz (NeurIPS 2025).

    Examples
    --------
    >>> import singleneuron as sn
    >>> product = sn.Parameterization("sign-in")
    >>> sn.sign_in_limit([0.0, 1.0, -1.0], product).round(4).tolist()
    [1.0, 1.3173, 0.7591]
    """
    if parameterization.plain:
        raise ValueError("sign_in_limit needs the parameterization 'sign-in'; use population_limit for plain")
    c = np.asarray(c, dtype=np.float64)
    own, other = (1, parameterization.beta_a), (targets, parameterization.beta_w)
    even = _total(1.0, *own) - _total(1.0, *other)
    # Solve for the larger of a and rho. The other, its inverse, then has little influence on the equation.
    above = c >= even
    a = _root(np.where(above, c, even), own, other)
    rho = _root(np.where(above, -even, -c), other, own)
    return np.where(above, a, 1 / rho)


def _total(size: ArrayLike, count: int, beta: float) -> Array:
    """Return the sum of the distances from 0 of `count` equal weights whose norm is `size`."""
    return count * distance(np.asarray(size) / np.sqrt(count), beta)


def _root(c: Array, own: tuple[int, float], other: tuple[int, float]) -> Array:
    """Solve total(r, own) - total(1/r, other) = c for r >= 1, by Newton's method in x = total(r, own).

    The left-hand side is x - h(x), where h falls and is convex (see "Sign-In: limit of the flow" in
    `theory`). So it is increasing and concave, and Newton steps from a point below the root never pass the
    root.
    """
    (count, beta), (others, beta_other) = own, other
    x = np.maximum(c, _total(1.0, *own))
    for _ in range(NEWTON_STEPS):
        r = np.sqrt(count) * weight_at(x / count, beta)
        # slope is dx/dlog r = 4 r^2/S(r/sqrt count), and fall is the corresponding -dh/dlog r.
        slope = 4 * r**2 / metric(r / np.sqrt(count), beta)
        fall = 4 / (r**2 * metric(1 / (r * np.sqrt(others)), beta_other))
        step = (c - x + _total(1 / r, *other)) / (1 + fall / slope)
        x = x + np.maximum(step, 0.0)
        if np.all(step <= 4 * np.finfo(float).eps * x):
            break
    return np.sqrt(count) * weight_at(x / count, beta)


def sign_in_rate(
    d: int,
    algorithm: Name | Algorithm,
    parameterization: Parameterization,
    *,
    init: Init = "balanced",
    scale: float = 1.0,
    targets: int = 1,
    imp: Variant = "keep",
    rewind_time: float | None = None,
) -> PredictedRate:
    """Compute the probability that the population flow under Sign-In succeeds, in the limit of long levels.

    An algorithm succeeds iff its deciding level succeeds: IMP's last level or LRR's first level. From
    a(0) >= 0, this level succeeds unless it has one coordinate and w_1(0) < 0. From a(0) < 0, it also needs
    g(a) < sum_i g(w_i) at its start. The probability of this inequality is exact or computed by quadrature
    for one coordinate, and exact for balanced levels with beta_a >= beta_w. Otherwise it is estimated from
    starts that are drawn with a fixed seed.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    algorithm : str or Algorithm
        'imp', 'wr' or 'lrr', or an `Algorithm` with its options. WR has a formula only at rewind time 0.
    parameterization : Parameterization
        Sign-In and its betas.
    init : str
        'balanced' or 'independent' starts.
    scale : float
        Factor for all weights of the starts.
    targets : int
        Number of coordinates of the target.
    imp : str
        What IMP does with a after pruning: 'keep' or 'rebalance' it.
    rewind_time : float, optional
        Time to which WR rewinds; above 0, the rate is NaN.

    Returns
    -------
    PredictedRate
        The rate and its standard error.

    Raises
    ------
    ValueError
        If the parameterization is plain, or if `init` does not exist.

    References
    ----------
    This goes beyond Gadhikar, Jacobs, Zhou & Burkholz (NeurIPS 2025).

    Examples
    --------
    With equal betas, LRR corrects every wrong sign if d = 2, but none if d = 1:

    >>> import singleneuron as sn
    >>> product = sn.Parameterization("sign-in")
    >>> [sn.sign_in_rate(d, "lrr", product).rate for d in (1, 2)]
    [0.25, 1.0]
    """
    if parameterization.plain:
        raise ValueError(
            "sign_in_rate is for 'sign-in', but the parameterization is 'plain'; use predicted_rate"
        )
    if init not in INITS:
        raise ValueError(f"init must be one of {', '.join(INITS)}, but is {init!r}")
    algorithm = Algorithm.fitting(algorithm, imp=imp, rewind_time=rewind_time)
    pruned = d > targets and algorithm.rewinds_to is not None
    if pruned and algorithm.rewinds_to:
        return PredictedRate(np.nan, 0.0)
    count = targets if pruned else d
    betas = parameterization.beta_a, parameterization.beta_w
    deviation = scale / np.sqrt(d) if init == "balanced" else scale
    if (init == "balanced" and count == d) or (pruned and algorithm.rebalances):
        lead = _even_lead(count, deviation, *betas)
    else:
        lead = _kept_lead(d, count, deviation, *betas, init == "balanced")
    share = 0.5 if count == 1 else 1.0
    return PredictedRate(share * (1 + lead.rate) / 2, share * lead.error / 2)


def _even_lead(count: int, deviation: float, beta_a: float, beta_w: float) -> PredictedRate:
    """Compute P(g(|w|, beta_a) < sum_i g(w_i, beta_w)) for `count` coordinates w_i ~ N(0, deviation^2)."""
    if beta_a >= beta_w:
        return PredictedRate(float(count > 1 or beta_a > beta_w), 0.0)
    if count == 1:
        return PredictedRate(0.0, 0.0)
    return _sampled_lead(count, count, deviation, beta_a, beta_w, True)


def _kept_lead(
    d: int, count: int, deviation: float, beta_a: float, beta_w: float, balanced: bool
) -> PredictedRate:
    """Compute P(g(a, beta_a) < sum_i g(w_i, beta_w)), where i runs over `count` of the d coordinates.

    The w_i are N(0, deviation^2). If `balanced`, |a| is |w|; otherwise, a is distributed as the w_i are.
    """
    if count > 1:
        return _sampled_lead(d, count, deviation, beta_a, beta_w, balanced)
    if balanced and beta_a <= beta_w:
        return PredictedRate(0.0, 0.0)
    from scipy.integrate import quad
    from scipy.special import erf, gammainc

    def lead(z: float) -> float:
        g = distance(deviation * z, beta_w)
        if balanced:  # P(|w_perp|^2 < (beta_a - beta_w) g/2), where |w_perp|^2/deviation^2 ~ chi^2
            chance = gammainc((d - 1) / 2, (beta_a - beta_w) * g / (2 * deviation) ** 2)
        else:
            chance = erf(weight_at(g, beta_a) / (np.sqrt(2) * deviation))
        return float(np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) * chance)

    return PredictedRate(quad(lead, 0, 9, epsabs=1e-10, limit=200)[0], 0.0)


@functools.lru_cache(maxsize=256)
def _sampled_lead(
    d: int, count: int, deviation: float, beta_a: float, beta_w: float, balanced: bool
) -> PredictedRate:
    """Estimate the probability that `_kept_lead` computes, from starts drawn with a fixed seed."""
    from scipy.special import erf

    size = int(np.clip(NUMBERS // count, LEAST_STARTS, MOST_STARTS))
    rng = np.random.Generator(np.random.Philox(0))
    leads = []
    for part in np.array_split(np.arange(size), -(-size * count // 2**21)):
        w = deviation * rng.standard_normal((part.size, count))
        total = distance(w, beta_w).sum(axis=1)
        if balanced:
            square = np.sum(w**2, axis=1)
            if d > count:
                square += deviation**2 * rng.chisquare(d - count, part.size)
            leads.append((distance(np.sqrt(square), beta_a) < total).astype(float))
        else:  # a is averaged exactly, given w
            leads.append(erf(weight_at(total, beta_a) / (np.sqrt(2) * deviation)))
    lead = np.concatenate(leads)
    # Add 1/size to the variance, since a sampled rate of 0 or 1 is not exact either.
    return PredictedRate(float(lead.mean()), float(np.sqrt((lead.var() + 1 / size) / size)))
