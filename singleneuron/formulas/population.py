"""The population flow in d > 1: its limit, and how long a start nearly antiparallel to v takes to turn."""

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array


def population_limit(c: ArrayLike) -> Array:
    """Compute lim a(t) for population flows that reach the target, from the balance c = a^2 - |w|^2.

    At the target, a > 0 and a |w| = 1. So a^2 = (c + sqrt(c^2 + 4))/2.

    Parameters
    ----------
    c : array_like
        Balance of the start, which the flow conserves.

    Returns
    -------
    ndarray
        The limit of a, of the same shape as `c`; the limit of |w| is 1/a.

    References
    ----------
    Theorem A.1 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the
    paper.

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.population_limit([0.0, 1.5]).round(4).tolist()
    [1.0, 1.4142]
    """
    half = np.abs(np.asarray(c, dtype=np.float64)) / 2
    larger = np.sqrt(half + np.hypot(half, 1))
    return np.where(np.asarray(c) < 0, 1 / larger, larger)


def escape_time(a: ArrayLike, rho: ArrayLike, delta: ArrayLike) -> Array:
    """Compute how long a population flow in d > 1 takes to turn from theta near pi to theta = pi/2.

    The formula is the leading order in delta. Let c = a^2 - rho^2. At first the term rho k of a' is
    negligible, where k ~ delta^3/(6 pi). Then a/rho is proportional to e^{ct/2}, and
    (1/delta)' = -(a/rho)/(2 pi). The turn takes the time 2 pi rho/(a delta) if c = 0, and
    (2/c) log(1 + pi c rho/(a delta)) if c != 0 and the logarithm exists.

    If c < 0 and the logarithm does not exist, delta stalls at delta_1, where
    1/delta_1 = 1/delta - a/(pi |c| rho). From there, delta grows slowly along the manifold on which
    a = 2 k/rho and rho^2 = |c|, with delta' = delta^5/(6 pi^2 |c|). The turn then takes the time
    (3 pi^2/2) |c|/delta_1^4.

    Parameters
    ----------
    a : array_like
        Outer weights at the start.
    rho : array_like
        |w| at the start, > 0.
    delta : array_like
        pi - theta at the start in radians, where theta is the angle between w and the target; must be small.

    Returns
    -------
    ndarray
        Times, of the common shape; inf where the flow never turns (a <= 0 <= c, or delta = 0).

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; the formula is beyond the paper.

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.escape_time(a=[1.2, 0.3, -1.2], rho=1.0, delta=[0.01, 0.1, 0.01]).round(1).tolist()
    [21.6, 129153.6, inf]
    """
    a, rho, delta = np.broadcast_arrays(*(np.asarray(z, dtype=np.float64) for z in (a, rho, delta)))
    c = (np.abs(a) - rho) * (np.abs(a) + rho)
    fast = a * delta > np.pi * np.maximum(-c, 0) * rho
    pull = np.pi * rho / np.where(fast, a * delta, 1.0)
    exponent = np.where(fast, c * pull, 0.0)
    log_rate = np.where(exponent != 0, np.log1p(exponent) / np.where(exponent != 0, c, 1.0), pull)
    deficit = np.where((c < 0) & ~fast, -c, 1.0)
    with np.errstate(divide="ignore"):  # at delta = 0 the flow never turns: inf
        stall = 1 / delta - a / (np.pi * deficit * rho)
    slow = np.where(c < 0, 1.5 * np.pi**2 * deficit * stall**4, np.inf)
    return np.where(fast, 2 * log_rate, slow)
