"""What theory predicts for random starts: the success rate of each algorithm."""

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.algorithms import Algorithm
from singleneuron.formulas import balanced as exact
from singleneuron.formulas import line as formulas_line
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, angle_kernel
from singleneuron.problem.status import TOLERANCE

if TYPE_CHECKING:
    import xarray as xr


STABLE_RATE = 2.0
"""Below this learning rate descent may settle: along (a, w_1) the curvature of the population loss at its
minima a w_1 = 1 is (a^2 + w_1^2)/2 >= 1, and a step of more than 2 over the curvature leaves a minimum."""
DRAWN = 8
"""Coordinates of the points at which starts and samples are drawn: start and sign 3, samples 5."""


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


@functools.cache
def _uniform_points(dims: int) -> Array:
    """Sobol points of the unit cube, (dims, 2^15)."""
    from scipy.stats import qmc

    return np.ascontiguousarray(qmc.Sobol(dims, rng=0).random_base2(15).T)


def _normal_points(d: int, u: Array) -> tuple[Array, Array, Array]:
    """N(0, 1) twice, and the norm of d - 1 others, tied to the second, at points u of the cube."""
    from scipy.special import gammaincinv, ndtri

    norm = np.sqrt(2 * gammaincinv((d - 1) / 2, u[1])) if d > 1 else np.zeros(u[1].shape)
    return ndtri(u[0]), ndtri(u[1]), norm


@functools.lru_cache(maxsize=4)
def _sums_of_squares(n: int) -> tuple[Array, Array]:
    """Of n samples with x ~ N(0, 1): sum x^2 over those with x > 0, and over the others.

    Drawn at the points u[3:6]; the numbers of samples are binomial, a side may be empty.
    """
    from scipy.special import gammaincinv
    from scipy.stats import binom

    split, *sides = _uniform_points(DRAWN)[3:6]
    active = binom.ppf(split, n, 0.5)
    first, second = (
        np.where(count > 0, 2 * gammaincinv(np.maximum(count, 1) / 2, u), 0.0)
        for count, u in zip((active, n - active), sides, strict=True)
    )
    return first, second


def _drawn_line(n: int, noise: float) -> Line:
    """The statistics of n samples in one coordinate: given sum x^2 on a side, s is normal about its mean."""
    from scipy.special import ndtri

    sides = []
    errors = _uniform_points(DRAWN)[6:]
    for mean, squares, u in zip((1.0, 0.0), _sums_of_squares(n), errors, strict=True):
        error = np.divide(noise * ndtri(u), np.sqrt(squares), out=np.zeros(u.shape), where=squares > 0)
        sides += [squares / n, np.where(squares > 0, mean + error, 0.0)]
    return Line(*sides)


@functools.cache
def _largest_share(d: int) -> Array:
    """max |u_i| of uniform directions u in R^(d - 1), the share of |w_perp| that its largest coordinate has.

    Beyond d = 64 it is next to nothing.
    """
    if not 1 < d <= 64:
        return np.zeros(1)
    w = np.random.default_rng(0).standard_normal((_uniform_points(3).shape[1], d - 1))
    return np.abs(w).max(axis=1) / np.linalg.norm(w, axis=1)


def _timed_rate(
    d: int,
    moment: float,
    level_time: float,
    *,
    init: str,
    n: int | None,
    noise: float,
    scale: float,
    keep: bool,
    tolerance: float,
) -> float:
    """Probability that one coordinate, started from (a, w_1) at `moment` of the dense level, is done in time.

    By closed forms: the balanced flow up to the moment, and to the mask; then the line, with the statistics
    of n samples, or of the population. Integrated over starts and data at 2^15 Sobol points: errors are
    about 1e-3.
    """
    u = _uniform_points(3 if n is None else DRAWN)
    p, second, r = _normal_points(d, u)
    balanced, share, kept = init == "balanced", 1.0, np.array(True)
    line = Line() if n is None else _drawn_line(n, noise)
    if balanced:
        p, q = scale * p / np.sqrt(d), scale * r / np.sqrt(d)
        a = np.hypot(p, q)
        if n is None:  # a < 0, the other half, never succeeds
            share = 0.5
        else:
            a = np.where(u[2] < 0.5, -a, a)
        if d > 1:
            _, along, across = exact.balanced_flow(a, p, q, level_time)
            kept = np.abs(along) > across * _largest_share(d)
            a, p, _ = exact.balanced_flow(a, p, q, moment)
    else:
        a, p = scale * second, scale * p
    a = a if keep else np.sign(a) * np.abs(p)
    a, w = formulas_line.line_flow(a, p, level_time, *line, balanced=not keep or (d == 1 and balanced))
    near = (w > 0) & (np.abs(a * w - line.s_pos) <= tolerance) & (a * line.s_pos >= 0)
    return share * float(np.mean(near & kept & (np.asarray(line.c_pos) > 0)))


def _finds_mask(d: int, n: int, noise: float) -> bool:
    """Whether the dense level on n samples leaves IMP the target's mask, nearly as surely as the population.

    Measured, not derived: at the least such n, 0.002 or less of all runs lose it (d = 2 to 10, noise 0 to 3).
    """
    return n >= 8 * (d + 2) * (1 + 2 * noise**2)


def predicted_rate(
    d: int,
    algorithm: str,
    *,
    init: str = "balanced",
    n: int | None = None,
    noise: float = 0.0,
    scale: float = 1.0,
    learning_rate: float | None = None,
    level_time: float = np.inf,
    rewind_time: float | None = None,
    targets: int = 1,
    levels: int = 1,
    imp: str = "keep",
    tolerance: float = TOLERANCE,
) -> float:
    """Probability of success by gradient flow, over starts and data; NaN: no formula.

    Theorem 2.3 and beyond. IMP and WR succeed iff their last level does, from (a, mask * w) of the start or
    of the rewind time; LRR iff the dense level does. Balanced WR with one target: P(theta(0) < theta*)/2 have
    w_1 > 0 at the rewind time. In the limit of long levels the rate depends neither on the scale of the
    starts nor on the number of levels. For levels of finite length there is one where theory follows a run
    to its end: one target, and one coordinate or a balanced dense level.

    Of n > 1 samples theory follows one coordinate alone, at every n: d = 1, and IMP's last level, from
    balanced starts and with one target, where n is large enough for the dense level to leave it the target's
    mask. How often the dense level itself succeeds on samples, no formula tells.
    """
    rule = Algorithm.fitting(algorithm, imp=imp, rewind_time=rewind_time)
    balanced, keep = init == "balanced", imp == "keep"
    if learning_rate is not None or n == 1:
        return np.nan
    moment = level_time if rule.rewinds_to is None else rule.rewinds_to
    if n is not None and d > 1:
        alone = balanced and moment == 0 and targets == 1
        if not (alone and _finds_mask(d, n, noise)):
            return np.nan
    if np.isfinite(level_time):
        if targets > 1 or (d > 1 and (not balanced or (rule.rewinds_to is None and levels > 1))):
            return np.nan
        keep = keep or d == 1 or rule.rewinds_to is None
        return _timed_rate(
            d, moment, level_time, init=init, n=n, noise=noise, scale=scale, keep=keep, tolerance=tolerance
        )
    if d == 1:
        return _line_rate(0.25 if balanced else 0.375, 0.0 if balanced else 0.125, n, noise)
    if rule.rewinds_to is None or d == targets:
        return dense_rate(d, init)
    if targets > 1:
        # a > -|mask * w| at that moment: balanced starts, and all after a re-balance, iff a > 0 there.
        if balanced or (moment == 0 and not keep):
            return 0.5
        return dense_rate(targets, init) if moment == 0 else np.nan
    if balanced:
        positive = 0.5 if moment == 0 else float(balanced_angle_cdf(exact.flip_angle(moment), d))
        return _line_rate(positive / 2, (1 - positive) / 2 if keep else 0.0, n, noise)
    if moment == 0:
        return _line_rate(0.375 if keep else 0.25, 0.125 if keep else 0.0, n, noise)
    return np.nan


def hop_rate(d: int, algorithm: str, *, learning_rate: float, scale: float = 1.0) -> float:
    """Share of balanced starts, d > 1, on the side of success after one step of gradient descent.

    The side: w_1 > 0 and a > -w_1 for IMP's last level, a > 0 for LRR's dense one. The flow never enters it,
    a long step may: IMP's w_1 < 0 becomes w_1 (1 - rate a^2/2), and LRR's a = -rho becomes
    rho (rate (rho^2/2 + k(theta)) - 1). At 2^15 Sobol points.
    """
    from scipy.special import ndtri

    u = _uniform_points(3)
    (p, _, q), side = _normal_points(d, u), ndtri(u[2])
    p, q = scale * p / np.sqrt(d), scale * q / np.sqrt(d)
    rho = np.hypot(p, q)
    a = np.where(side > 0, rho, -rho)
    if Algorithm(algorithm).rewinds_to is None:
        slope = a * rho**2 / 2 - rho * angle_kernel(np.arctan2(q, p))
        return float(np.mean(a - learning_rate * slope > 0))
    residual = learning_rate * (a * p - (p > 0)) / 2
    a, p = a - residual * p, p - residual * a
    return float(np.mean((p > 0) & (a > -p)))


def crossing_law(d: int, n: int, noise: float) -> float:
    """When label noise carries IMP's last weight from w_1(0) < 0 across 0, in the median, for large d and n.

    t* = ln(c |w_1|/(a s_neg))/(C_neg c), s_neg << c, with C_neg = 1/2, a^2 = 1, c = 1 - 1/d and the medians
    of |w_1| and s_neg, which stand in the ratio sqrt(n/(2 d))/noise.
    """
    c = 1 - 1 / d
    return float(2 / c * np.log(c * np.sqrt(n / (2 * d)) / noise))


def predicted_rates(**factors: Any) -> "xr.DataArray":
    """`predicted_rate` over the grid of all arguments given as sequences, a dim each."""
    import xarray as xr

    grid = {name: list(values) for name, values in factors.items() if np.ndim(values)}
    points = (dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values()))
    rates = np.array([predicted_rate(**factors | point) for point in points])
    return xr.DataArray(rates.reshape([len(values) for values in grid.values()]), grid, list(grid))


def balanced_angle_cdf(theta: ArrayLike, d: ArrayLike) -> Array:
    """P(angle(w, v) < theta) for w uniform in direction in R^d, theta in [0, pi].

    cos^2 of the angle has the distribution Beta(1/2, (d - 1)/2). At d = 1 the angles are 0 and pi.
    """
    from scipy.special import betainc, betaincc

    theta, d = np.asarray(theta, dtype=np.float64), np.asarray(d, dtype=np.float64)
    freedom = np.maximum(d - 1, 1) / 2
    sine2, cosine2 = np.sin(theta) ** 2, np.cos(theta) ** 2
    # The tail beyond theta or pi - theta, from the argument that has lost no digits.
    tail = np.where(sine2 < 0.5, betainc(freedom, 0.5, sine2), betaincc(0.5, freedom, cosine2)) / 2
    tail = np.where(d > 1, tail, np.where(theta > 0, 0.5, 0.0))
    return np.where((theta > np.pi / 2) & (d > 1), 1 - tail, tail)
