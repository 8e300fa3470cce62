"""The metric of Sign-In for kernels; `parameterization` has the same functions for arrays."""

import math

from singleneuron.kernels.compiling import routine


@routine
def metric_of(theta, beta):
    """Return the metric S = sqrt(beta^2 + 4 theta^2)."""
    return math.sqrt(beta * beta + 4.0 * theta * theta)


@routine
def distance_of(theta, beta):
    """Return the distance g = S - beta from 0, computed without cancellation."""
    return 4.0 * theta * theta / (metric_of(theta, beta) + beta)


@routine
def weight_of(g, beta):
    """Return the |theta| whose distance from 0 is g."""
    return 0.5 * math.sqrt(g * (g + 2.0 * beta))
