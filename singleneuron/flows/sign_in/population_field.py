"""The field and the events of the population flow of Sign-In, in the coordinates of `sign_in.population`."""

import math

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.gradients import small_angle_kernel
from singleneuron.kernels.metric import metric_of
from singleneuron.kernels.philox import TWO_PI
from singleneuron.problem.status import TINY_NORM

# Indices into the unknowns y:
# A: UNIT a.
# FIRST: UNIT w_1, where w_1 is the first target weight.
# LOG_LARGEST: the logarithm of the largest off-target weight W.
# The logarithms of the differences |w_j - w_1| of target weights follow.
A, FIRST, LOG_LARGEST = range(3)

# Rows of `ratios`: C_i, D_i and e^(z_W - z_i) of each off-target weight w_i.
COSH, SINH, FADE = range(3)

# Indices into `numbers`:
# BETA_A, BETA_W: the betas.
# SIGMA: the sign of a if c >= 0, else 0.
# C: the balance c.
# UNIT, PER_UNIT: the factor of a and w_1 in y, and its inverse.
# ENTRY: a nonzero entry of the target v.
# LOST: 1 - |v|^2.
# TOL: the tolerance.
# NEAR: the distance from the target at which `approach` takes over.
BETA_A, BETA_W, SIGMA, C, UNIT, PER_UNIT, ENTRY, LOST, TOL, NEAR, NUMBERS = range(11)

LOG_TINY = math.log(TINY_NORM)


@routine
def weights(y, p):
    """Fill `targets` in `p`; return (a, |W|, S(W), w.v/|v|, |w_perp|), for the largest off-target weight W.

    Parameters
    ----------
    y
        (2 + max(k, 1),) state.
    p
        Parameters (numbers, ratios, signs, targets). The entries of `numbers` and of `ratios` (3, n) are
        listed above. `signs` (k,) holds the signs of the differences w_j - w_1. `targets` (k,) is filled with
        the target weights.
    """
    numbers, ratios, signs, targets = p
    beta, k = numbers[BETA_W], targets.size
    largest, metric, norm, along, held = 0.0, beta, 0.0, 0.0, numbers[C]
    if ratios.shape[1] > 0:
        largest = math.exp(y[LOG_LARGEST])
        metric = metric_of(largest, beta)
        squares, distances = 0.0, 0.0
        for i in range(ratios.shape[1]):
            ratio = 1.0 / (ratios[COSH, i] + ratios[SINH, i] * metric)
            squares += ratio * ratio
            distances += ratio * ratios[FADE, i]
        norm = largest * math.sqrt(squares)
        held += 4.0 * largest * largest / (metric + beta) * distances
    if k == 1:
        along = targets[0] = y[FIRST] * numbers[PER_UNIT]
    elif k > 1:
        along, norm = spread(y, numbers, signs, targets, norm)
    if numbers[SIGMA] == 0.0:
        return y[A] * numbers[PER_UNIT], largest, metric, along, norm
    for j in range(k):
        held += 4.0 * targets[j] * targets[j] / (metric_of(targets[j], beta) + beta)
    a = 0.5 * numbers[SIGMA] * math.sqrt(held * (held + 2.0 * numbers[BETA_A]))
    return a, largest, metric, along, norm


@routine
def spread(y, numbers, signs, targets, norm):
    """Fill the k > 1 target weights; return (w.v/|v|, |w_perp|), given the `norm` of all other weights."""
    k = targets.size
    first, mean = y[FIRST] * numbers[PER_UNIT], 0.0
    targets[0] = 0.0
    for j in range(1, k):
        targets[j] = signs[j] * math.exp(y[LOG_LARGEST + j])
        mean += targets[j] / k
    for j in range(k):
        norm = math.hypot(norm, targets[j] - mean)
        targets[j] += first
    return math.sqrt(k) * (first + mean), norm


@routine
def angle(along, norm, lost):
    """Return |w| and functions of its angle theta to the target, accurate even near theta = pi.

    Parameters
    ----------
    along, norm : float
        w.v/|v|, and the norm of the rest of w.
    lost : float
        1 - |v|^2.

    Returns
    -------
    rho, inverse : float
        |w| and 1/|w|.
    delta, sine, k : float
        pi - theta, sin(theta) and k(theta).
    """
    size = max(abs(along), norm)
    scale = 1.0 / size
    cosine, sine = -along * scale, norm * scale
    root = math.sqrt(cosine * cosine + sine * sine)
    shrunk = 1.0 / root
    if lost > 0.0:
        sine = math.sqrt(sine * sine + lost * cosine * cosine)
        cosine *= math.sqrt(1.0 - lost)
    delta = math.atan2(sine, cosine)
    sine, cosine = sine * shrunk, cosine * shrunk
    k = small_angle_kernel(delta) if delta < 0.2 else sine - delta * cosine
    return size * root, scale * shrunk, delta, sine, k * (1.0 / TWO_PI)


@routine
def field(y, p, out):
    """Fill `out` with the time derivative of `y`; the parameters `p` are as in `weights`."""
    numbers, ratios, signs, targets = p
    a, _, metric, along, norm = weights(y, p)
    rho, inverse, delta, sine, k = angle(along, norm, numbers[LOST])
    out[A] = 0.0
    if numbers[SIGMA] == 0.0:
        out[A] = numbers[UNIT] * metric_of(a, numbers[BETA_A]) * rho * (k - 0.5 * a * rho)
    # dL/dw_i = shrink w_i - pull v_i
    shrink = a * (0.5 * a - sine * inverse * (1.0 / TWO_PI))
    out[LOG_LARGEST] = -metric * shrink if ratios.shape[1] > 0 else 0.0
    out[FIRST] = 0.0
    if targets.size == 0:
        return
    first, beta = targets[0], numbers[BETA_W]
    slope, own = shrink * first - a * delta * numbers[ENTRY] * (1.0 / TWO_PI), metric_of(first, beta)
    out[FIRST] = -numbers[UNIT] * own * slope
    for j in range(1, targets.size):
        other = metric_of(targets[j], beta)
        rate = -other * shrink - 4.0 * slope * (targets[j] + first) / (other + own)
        out[LOG_LARGEST + j] = rate if signs[j] != 0.0 else 0.0


@routine
def gauge(y, p, g):
    """Fill `g` as `dop853.parts` describes; death and the start of the last approach are events."""
    numbers = p[0]
    a, _, _, along, norm = weights(y, p)
    rho = math.hypot(along, norm)
    g[0], g[1] = 1.0, 1.0
    if a < 0.0 and numbers[SIGMA] != 0.0:
        g[0] = math.log(rho) - LOG_TINY
    if numbers[LOST] == 0.0 and along > 0.0:
        away = max(math.atan2(norm, along), abs(a * rho - 1.0))
        g[1] = away - numbers[TOL]
        if numbers[NEAR] > 0.0:
            g[0] = away - numbers[NEAR]
    g[2] = 1.0 if a > 0.0 or numbers[SIGMA] != 0.0 else -1.0


@routine
def approach(y, p, lapse, out):
    """Fill `out` with the state at the time `lapse` after a state `y` near its target, for |v| = 1.

    The error is of second order in theta and in `miss` = a rho - 1. `miss` decays at the rate `rate`.
    """
    numbers, _, _, targets = p
    a, _, metric, along, norm = weights(y, p)
    miss, root = a * math.hypot(along, norm) - 1.0, math.sqrt(targets.size)
    outer, inner = metric_of(a, numbers[BETA_A]), metric_of(along / root, numbers[BETA_W])
    rate = 0.5 * (outer * along * along + inner * a * a)
    shift = -0.5 * miss * math.expm1(-rate * lapse) / rate
    mean = along / root - targets[0]  # the mean of the differences w_j - w_1, which decay
    out[A] = y[A] - numbers[UNIT] * outer * along * shift
    out[FIRST] = y[FIRST] - numbers[UNIT] * (
        inner * a * shift / root + mean * math.expm1(-0.5 * inner * a * a * lapse)
    )
    out[LOG_LARGEST] = y[LOG_LARGEST] - 0.5 * metric * a * a * lapse
    for j in range(1, targets.size):
        out[LOG_LARGEST + j] = y[LOG_LARGEST + j] - 0.5 * inner * a * a * lapse
