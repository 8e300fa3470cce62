"""Quadrature points for success rates, which are averages over random starts and data."""

import functools

import numpy as np

from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line

DRAWN = 8
"""Number of coordinates of a Sobol point: 3 for the start, including the sign of a, and 5 for the samples."""


@functools.cache
def uniform_points(dims: int) -> Array:
    """Return 2^15 Sobol points in the unit cube of `dims` dimensions, shape (dims, 2^15)."""
    from scipy.stats import qmc

    return np.ascontiguousarray(qmc.Sobol(dims, rng=0).random_base2(15).T)


def normal_points(d: int, u: Array) -> tuple[Array, Array, Array]:
    """Map points `u` in the unit cube to two N(0, 1) numbers and the norm of d - 1 further N(0, 1) numbers.

    The second number and the norm come from the same coordinate of `u`, so use only one of them.
    """
    from scipy.special import gammaincinv, ndtri

    norm = np.sqrt(2 * gammaincinv((d - 1) / 2, u[1])) if d > 1 else np.zeros(u[1].shape)
    return ndtri(u[0]), ndtri(u[1]), norm


@functools.lru_cache(maxsize=4)
def _sums_of_squares(n: int) -> tuple[Array, Array]:
    """Return sum x^2 over the positive and over the negative numbers among n samples x ~ N(0, 1).

    There is one draw per Sobol point, from its coordinates 3 to 5. The number of samples on a side is
    binomial, so a side may be empty.
    """
    from scipy.special import gammaincinv
    from scipy.stats import binom

    split, *sides = uniform_points(DRAWN)[3:6]
    active = binom.ppf(split, n, 0.5)
    first, second = (
        np.where(count > 0, 2 * gammaincinv(np.maximum(count, 1) / 2, u), 0.0)
        for count, u in zip((active, n - active), sides, strict=True)
    )
    return first, second


def drawn_line(n: int, noise: float) -> Line:
    """Draw the statistics of n samples in one coordinate, with label noise of standard deviation `noise`.

    Given sum x^2 on a side, `s` on that side is normal. Its mean is `s` of the population, and its variance
    is noise^2 / sum x^2.
    """
    from scipy.special import ndtri

    sides = []
    errors = uniform_points(DRAWN)[6:]
    for mean, squares, u in zip((1.0, 0.0), _sums_of_squares(n), errors, strict=True):
        error = np.divide(noise * ndtri(u), np.sqrt(squares), out=np.zeros(u.shape), where=squares > 0)
        sides += [squares / n, np.where(squares > 0, mean + error, 0.0)]
    return Line(*sides)


@functools.cache
def largest_share(d: int) -> Array:
    """Draw the ratio of the largest |w_i| to |w_perp|, for random directions of w_perp in R^(d - 1).

    For d = 1 and d > 64, return a single 0 instead of 2^15 draws.
    """
    if not 1 < d <= 64:
        return np.zeros(1)
    w = np.random.default_rng(0).standard_normal((uniform_points(3).shape[1], d - 1))
    return np.abs(w).max(axis=1) / np.linalg.norm(w, axis=1)
