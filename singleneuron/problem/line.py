"""The statistics of the data that determine the flow in one coordinate, on samples and on the population."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array


class Line(NamedTuple):
    """Sufficient statistics of a problem with one coordinate; the defaults are for the population.

    For w > 0, only samples with x > 0 are active; for w < 0, only samples with x < 0. With c and s of the
    active side, the flow is a' = c w (s - a w) and w' = c a (s - a w).

    Attributes
    ----------
    c_pos, c_neg : float or ndarray, shape (B,)
        (1/n) sum x^2 over the samples with x > 0 (c_pos) or x < 0 (c_neg); 0 if there are none.
    s_pos, s_neg : float or ndarray, shape (B,)
        sum x y / sum x^2 over the same samples: the product `a w` that fits these samples best.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.Line()
    Line(c_pos=0.5, s_pos=1.0, c_neg=0.5, s_neg=0.0)
    >>> data = sn.Sample(x=[[1.0], [-2.0]], y=[1.0, 0.5])
    >>> {name: value.tolist() for name, value in data.statistics._asdict().items()}
    {'c_pos': [0.5], 's_pos': [1.0], 'c_neg': [2.0], 's_neg': [-0.25]}
    """

    c_pos: Any = 0.5
    s_pos: Any = 1.0
    c_neg: Any = 0.5
    s_neg: Any = 0.0


def angle_kernel(theta: ArrayLike) -> Array:
    """Compute k(theta) = (sin theta + (pi - theta) cos theta) / (2 pi).

    E[phi(w.x) phi(v.x)] = |w| k(theta) for x ~ N(0, I_d) and a unit vector v at angle theta to w.

    Parameters
    ----------
    theta : array_like
        Angles in radians, in [0, pi].

    Returns
    -------
    ndarray
        k, of the same shape as `theta`. It falls from 1/2 at theta = 0 to 0 at theta = pi.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024).
    """
    theta = np.asarray(theta, dtype=np.float64)
    delta = np.pi - theta
    # Near pi the two terms cancel: use the series delta^3/3 - delta^5/30 + ...
    series = delta**3 * (1 / 3 - delta**2 * (1 / 30 - delta**2 * (1 / 840 - delta**2 / 45360)))
    return np.where(np.abs(delta) < 0.2, series, np.sin(delta) - delta * np.cos(delta)) / (2 * np.pi)


def population_line(overlap: Any = 1.0) -> Line:
    """Return the statistics of the population in one coordinate.

    Parameters
    ----------
    overlap : float or ndarray, shape (B,)
        Component of the unit target v along the coordinate, in [-1, 1]; 1 if v has no other component.

    Returns
    -------
    Line
        c_pos = c_neg = 1/2, s_pos = 2 k(theta) and s_neg = -2 k(pi - theta), where cos theta = `overlap`.
    """
    angle = np.arccos(overlap)
    return Line(0.5, 2 * angle_kernel(angle), 0.5, -2 * angle_kernel(np.pi - angle))
