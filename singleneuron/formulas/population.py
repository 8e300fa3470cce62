"""The population flow: its limit, and the time to escape the antiparallel ray."""

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array


def population_limit(c: ArrayLike) -> Array:
    """a > 0 of the target on the level a^2 - |w|^2 = c: a rho = 1, a^2 = (c + sqrt(c^2 + 4))/2."""
    half = np.abs(np.asarray(c, dtype=np.float64)) / 2
    larger = np.sqrt(half + np.hypot(half, 1))
    return np.where(np.asarray(c) < 0, 1 / larger, larger)


def escape_time(a: ArrayLike, rho: ArrayLike, delta: ArrayLike) -> Array:
    """Time at which a population flow (d > 1) from near theta = pi, antiparallel to v, has turned to pi/2.

    Leading order in delta = pi - theta; rho = |w|; inf where a <= 0 and c = a^2 - rho^2 >= 0 (never).
    While the pull on a, rho k with k ~ delta^3/(6 pi), is negligible, a/rho grows like e^{ct/2}, and
    (1/delta)' = -(a/rho)/(2 pi): 2 pi rho/(a delta) at c = 0, else (2/c) log(1 + pi c rho/(a delta)) if that
    log exists. If not (c < 0), delta stops at delta_1, 1/delta_1 = 1/delta - a/(pi |c| rho), until on the
    slow manifold a = 2 k/rho, rho^2 = |c|, delta' = delta^5/(6 pi^2 |c|) drives it: (3 pi^2/2) |c|/delta_1^4.
    """
    a, rho, delta = np.broadcast_arrays(*(np.asarray(z, dtype=np.float64) for z in (a, rho, delta)))
    c = (np.abs(a) - rho) * (np.abs(a) + rho)
    fast = a * delta > np.pi * np.maximum(-c, 0) * rho
    pull = np.pi * rho / np.where(fast, a * delta, 1.0)
    exponent = np.where(fast, c * pull, 0.0)
    log_rate = np.where(exponent != 0, np.log1p(exponent) / np.where(exponent != 0, c, 1.0), pull)
    deficit = np.where((c < 0) & ~fast, -c, 1.0)
    with np.errstate(divide="ignore"):  # delta = 0: never
        stall = 1 / delta - a / (np.pi * deficit * rho)
    slow = np.where(c < 0, 1.5 * np.pi**2 * deficit * stall**4, np.inf)
    return np.where(fast, 2 * log_rate, slow)
