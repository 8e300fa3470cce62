"""Theoretical predictions for random starts: the success rate of each algorithm."""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.formulas import balanced as exact
from singleneuron.formulas import line as formulas_line
from singleneuron.formulas.quadrature import DRAWN, drawn_line, largest_share, normal_points, uniform_points
from singleneuron.formulas.sign_in import sign_in_rate
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.parameterization import Name as ParameterizationName
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.starts import Init
from singleneuron.problem.status import TOLERANCE

if TYPE_CHECKING:
    import xarray as xr


def dense_rate(d: int, init: str = "balanced") -> float:
    """Compute the probability P(a > -|w|) that the population flow in d > 1 reaches the target.

    From balanced starts this is P(a > 0) = 1/2 (Lemma 2.2). From independent N(0, 1) starts it is
    1/2 + P(|a| < |w|)/2, where a^2/(a^2 + |w|^2) has the distribution Beta(1/2, d/2). At d = 2 this is
    (2 + sqrt 2)/4.
    """
    from scipy.special import betainc

    return 0.5 if init == "balanced" else 0.5 + float(betainc(0.5, d / 2, 0.5)) / 2


def _line_rate(base: float, rescued: float, n: int | None, noise: float) -> float:
    """Return the success rate in one coordinate on `n` samples, or on the population if `n` is None.

    `base` is P(w > 0, a > -w). `rescued` is P(w < 0, a > -w, not balanced). Label noise carries these
    starts across w = 0 if s_neg > 0, which holds for half of all data sets with samples on both sides. With
    probability 2^-n, no sample has x > 0, and nothing is learned.
    """
    if n is None:
        return base
    some = 1 - 0.5**n
    both = 1 - 0.5 ** (n - 1)
    return base * some + (rescued * both / 2 if noise > 0 else 0.0)


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
    """Compute the probability that a last level with one coordinate succeeds within `level_time`.

    The last level starts from (a, w_1) of the dense level at the time `moment`; unless `keep`, |a| is set to
    |w_1|. Both levels have closed forms. The dense level is the balanced flow, evaluated at `moment` and, to
    choose the mask, at `level_time`. The last level is the flow in one coordinate, with the statistics of n
    samples or of the population. The probability is an average over 2^15 Sobol points for the starts and the
    data, with an error of about 1e-3.
    """
    u = uniform_points(3 if n is None else DRAWN)
    p, second, r = normal_points(d, u)
    balanced, share, kept = init == "balanced", 1.0, np.array(True)
    line = Line() if n is None else drawn_line(n, noise)
    if balanced:
        p, q = scale * p / np.sqrt(d), scale * r / np.sqrt(d)
        a = np.hypot(p, q)
        if n is None:  # the other half, a < 0, never succeeds
            share = 0.5
        else:
            a = np.where(u[2] < 0.5, -a, a)
        if d > 1:
            _, along, across = exact.balanced_flow(a, p, q, level_time)
            kept = np.abs(along) > across * largest_share(d)
            a, p, _ = exact.balanced_flow(a, p, q, moment)
    else:
        a, p = scale * second, scale * p
    a = a if keep else np.sign(a) * np.abs(p)
    a, w = formulas_line.line_flow(a, p, level_time, *line, balanced=not keep or (d == 1 and balanced))
    near = (w > 0) & (np.abs(a * w - line.s_pos) <= tolerance) & (a * line.s_pos >= 0)
    return share * float(np.mean(near & kept & (np.asarray(line.c_pos) > 0)))


def _finds_mask(d: int, n: int, noise: float) -> bool:
    """Return whether the dense level on n samples almost always finds the same mask as on the population.

    The bound was measured, not derived: at the smallest n that it allows, at most 0.2 % of all runs miss this
    mask (d = 2 to 10, noise 0 to 3).
    """
    return n >= 8 * (d + 2) * (1 + 2 * noise**2)


def predicted_rate(
    d: int,
    algorithm: Name | Algorithm,
    *,
    init: Init = "balanced",
    n: int | None = None,
    noise: float = 0.0,
    scale: float = 1.0,
    learning_rate: float | None = None,
    level_time: float = np.inf,
    rewind_time: float | None = None,
    targets: int = 1,
    levels: int = 1,
    imp: Variant = "keep",
    tolerance: float = TOLERANCE,
    parameterization: ParameterizationName | Parameterization = PLAIN,
    beta_a: float = 1.0,
    beta_w: float = 1.0,
) -> float:
    """Predict the probability of success over random starts and data; NaN if there is no formula.

    IMP and WR succeed iff their last level succeeds. This level starts from (a, mask * w) at time 0 or at the
    rewind time. LRR succeeds iff the dense level succeeds. From balanced starts with one target coordinate,
    WR succeeds with probability P(theta(0) < theta*)/2, the share of starts with a > 0 and w_1 > 0 at the
    rewind time (see `flip_angle`). In the limit of long levels, the rate depends neither on the number of
    levels nor, for plain weights, on the scale of the starts. For levels of finite length, a formula needs
    one target coordinate and, if d > 1, balanced starts and, for LRR, a single pruning step.

    With n > 1 samples, theory only covers the flow in one coordinate. So a formula exists if d = 1. If d > 1,
    a formula exists for IMP's last level, from balanced starts with one target coordinate, if n is so large
    that the dense level finds the target's mask. No formula exists for the success rate of the dense level
    itself.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    algorithm : str or Algorithm
        'imp', 'wr' or 'lrr', or an `Algorithm` with its options.
    init : str
        'balanced' or 'independent' starts.
    n : int, optional
        Number of samples; None for the population.
    noise : float
        Standard deviation of the label noise.
    scale : float
        Factor for all weights of the starts.
    learning_rate : float, optional
        Learning rate of gradient descent, for which the result is NaN; None for the flow.
    level_time : float
        Length of every level.
    rewind_time : float, optional
        Time to which WR rewinds; the other algorithms ignore it.
    targets : int
        Number of coordinates of the target.
    levels : int
        Number of pruning steps.
    imp : str
        What IMP and WR do with a after pruning: 'keep' or 'rebalance' it.
    tolerance : float
        Largest |a w - s_pos| that counts as success after levels of finite length.
    parameterization : str or Parameterization
        'plain' or 'sign-in'. Sign-In has a formula only in the limit of long levels; see `sign_in_rate`.
    beta_a, beta_w : float
        The betas of Sign-In, if `parameterization` is a name.

    Returns
    -------
    float
        The probability, or NaN.

    References
    ----------
    Theorems 2.1 and 2.3 of Gadhikar & Burkholz (ICLR 2024) cover balanced starts on the population in the
    limit of long levels; everything else is beyond the paper.
    """
    rule = Algorithm.fitting(algorithm, imp=imp, rewind_time=rewind_time)
    balanced, keep = init == "balanced", not rule.rebalances
    if learning_rate is not None or n == 1:
        return np.nan
    if isinstance(parameterization, str):
        parameterization = Parameterization.fitting(parameterization, beta_a=beta_a, beta_w=beta_w)
    if not parameterization.plain:
        if np.isfinite(level_time) or (n is not None and d > 1):
            return np.nan
        base = sign_in_rate(d, rule, parameterization, init=init, scale=scale, targets=targets).rate
        even = balanced and parameterization.beta_a == parameterization.beta_w
        # Label noise rescues starts with w < 0 < a, c > 0. Starts with w > 0 > a, c > 0 are equally likely.
        return _line_rate(base, 0.0 if even else 0.5 - base, n, noise)
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
        # A run succeeds iff a > -|mask * w| at `moment`. For balanced or re-balanced starts, this is a > 0.
        if balanced or (moment == 0 and not keep):
            return 0.5
        return dense_rate(targets, init) if moment == 0 else np.nan
    if balanced:
        positive = 0.5 if moment == 0 else float(balanced_angle_cdf(exact.flip_angle(moment), d))
        return _line_rate(positive / 2, (1 - positive) / 2 if keep else 0.0, n, noise)
    if moment == 0:
        return _line_rate(0.375 if keep else 0.25, 0.125 if keep else 0.0, n, noise)
    return np.nan


def crossing_law(d: int, n: int, noise: float) -> float:
    """Compute the median time in which label noise carries w_1(0) < 0 to w_1 = 0 in IMP's last level.

    For large d and n, and to leading order for s_neg << c, this time is t* = ln(c |w_1|/(a s_neg))/(C_neg c),
    where C_neg = 1/2, a^2 = 1 and c = 1 - 1/d. |w_1| and s_neg are medians, whose ratio is
    sqrt(n/(2 d))/noise.

    Parameters
    ----------
    d, n : int
        Number of coordinates, > 1, and number of samples.
    noise : float
        Standard deviation of the label noise, > 0.

    Returns
    -------
    float
        The time.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024) gives the flow; the formula is beyond the paper.
    """
    c = 1 - 1 / d
    return float(2 / c * np.log(c * np.sqrt(n / (2 * d)) / noise))


def predicted_rates(**factors: Any) -> "xr.DataArray":
    """Compute `predicted_rate` on the grid spanned by all arguments that are sequences.

    Parameters
    ----------
    **factors : object
        Arguments of `predicted_rate`, each a single value or a sequence of values.

    Returns
    -------
    xarray.DataArray
        Rates, with one dimension for each sequence, in the order given.
    """
    import xarray as xr

    grid = {name: list(values) for name, values in factors.items() if np.ndim(values)}
    points = (dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values()))
    rates = np.array([predicted_rate(**factors | point) for point in points])
    return xr.DataArray(rates.reshape([len(values) for values in grid.values()]), grid, list(grid))


def balanced_angle_cdf(theta: ArrayLike, d: ArrayLike) -> Array:
    """Compute P(angle(w, v) < theta) for a uniformly random direction of w in R^d.

    The squared cosine of the angle has the distribution Beta(1/2, (d - 1)/2). At d = 1 the angle is 0 or pi.

    Parameters
    ----------
    theta : array_like
        Angles in radians, in [0, pi].
    d : array_like of int
        Numbers of coordinates, >= 1.

    Returns
    -------
    ndarray
        Probabilities of the common shape.

    Examples
    --------
    >>> import numpy as np, singleneuron as sn
    >>> sn.balanced_angle_cdf([np.pi / 3, np.pi / 2], 3).round(4).tolist()
    [0.25, 0.5]
    """
    from scipy.special import betainc, betaincc

    theta, d = np.asarray(theta, dtype=np.float64), np.asarray(d, dtype=np.float64)
    freedom = np.maximum(d - 1, 1) / 2
    sine2, cosine2 = np.sin(theta) ** 2, np.cos(theta) ** 2
    # P(angle < min(theta, pi - theta)), computed from sin^2 or cos^2, whichever is more accurate.
    tail = np.where(sine2 < 0.5, betainc(freedom, 0.5, sine2), betaincc(0.5, freedom, cosine2)) / 2
    tail = np.where(d > 1, tail, np.where(theta > 0, 0.5, 0.0))
    return np.where((theta > np.pi / 2) & (d > 1), 1 - tail, tail)
