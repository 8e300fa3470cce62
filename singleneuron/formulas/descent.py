"""Gradient descent in closed form: the effect of one step on random starts, and the stable learning rates."""

import numpy as np

from singleneuron.algorithms import Algorithm
from singleneuron.formulas.quadrature import normal_points, uniform_points
from singleneuron.problem.line import angle_kernel

STABLE_RATE = 2.0
"""Descent cannot settle at a minimum above this learning rate. The minima of the population loss form the
curve a w_1 = 1. Across this curve, the curvature of the loss is (a^2 + w_1^2)/2 >= 1, and a learning rate
above 2/curvature drives descent away from the curve."""


def hop_rate(d: int, algorithm: str, *, learning_rate: float, scale: float = 1.0) -> float:
    """Compute the share of balanced starts in d > 1 that lie in the success region after one descent step.

    The success region is {w_1 > 0, a > -w_1} for IMP's last level, and {a > 0} for LRR's dense level. The
    flow never enters it from outside, but a large step may enter it. With rate = `learning_rate`, a
    step takes w_1 < 0 to w_1 (1 - rate a^2/2) for IMP, and a = -rho to rho (rate (rho^2/2 + k(theta)) - 1)
    for LRR. The share is an average over 2^15 Sobol points.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    algorithm : str
        'imp' or 'lrr'.
    learning_rate : float
        Learning rate of the step.
    scale : float
        Factor for all weights of the starts.

    Returns
    -------
    float
        The share, in [0, 1].
    """
    from scipy.special import ndtri

    u = uniform_points(3)
    (p, _, q), side = normal_points(d, u), ndtri(u[2])
    p, q = scale * p / np.sqrt(d), scale * q / np.sqrt(d)
    rho = np.hypot(p, q)
    a = np.where(side > 0, rho, -rho)
    if Algorithm.fitting(algorithm).rewinds_to is None:
        slope = a * rho**2 / 2 - rho * angle_kernel(np.arctan2(q, p))
        return float(np.mean(a - learning_rate * slope > 0))
    residual = learning_rate * (a * p - (p > 0)) / 2
    a, p = a - residual * p, p - residual * a
    return float(np.mean((p > 0) & (a > -p)))
