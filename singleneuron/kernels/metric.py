"""The metric of Sign-In in kernels; `parameterization` has the same functions for arrays."""

import math

from singleneuron.kernels.compiling import routine


@routine
def metric_of(theta, beta):
    """Return S = sqrt(beta^2 + 4 theta^2)."""
    return math.sqrt(beta * beta + 4.0 * theta * theta)


@routine
def distance_of(theta, beta):
    """Return g = S - beta, without cancellation."""
    return 4.0 * theta * theta / (metric_of(theta, beta) + beta)


@routine
def weight_of(g, beta):
    """Return the |theta| whose distance from 0 is g."""
    return 0.5 * math.sqrt(g * (g + 2.0 * beta))
