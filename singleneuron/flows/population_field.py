"""The field, the events and the final phases of the population flow in the coordinates (u, x).

`population` defines the coordinates. The final phases, death and convergence, have closed forms (`decay` and
`approach`), so that no integrator has to creep towards a limit.
"""

import math

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.gradients import small_angle_kernel
from singleneuron.kernels.lanes import LANES, arctan, exp_row
from singleneuron.kernels.philox import TWO_PI
from singleneuron.problem.status import TINY_NORM

# Indices into the parameters of a trajectory:
# NU: |mask * v|.
# SIGMA: the sign of a if c >= 0, else 0.
# C: the balance c.
# SCALE: sqrt(-c) if c < 0, else 0.
# TOL: the tolerance.
# UNIT: the stored coordinate divided by u.
NU, SIGMA, C, SCALE, TOL, UNIT = range(6)


LOG_TINY = math.log(TINY_NORM)


@routine
def angles(x, nu):
    """Return (k(theta), pi - theta) for the angle theta with cos(theta) = -nu tanh(x)."""
    e = math.exp(-min(abs(x), 700.0))
    if nu == 1.0:
        small = 2.0 * math.atan(e)
        delta = small if x >= 0.0 else math.pi - small
        if delta < 0.2:
            return small_angle_kernel(delta) / TWO_PI, delta
        sine, cosine = 2.0 * e / (1.0 + e * e), (1.0 - e * e) / (1.0 + e * e)
        return (sine - delta * (cosine if x >= 0.0 else -cosine)) / TWO_PI, delta
    tanh = math.copysign((1.0 - e * e) / (1.0 + e * e), x)
    delta = math.acos(nu * tanh)
    return (math.sin(delta) - delta * nu * tanh) / TWO_PI, delta


@routine
def sides(u, p):
    """Return (a, rho) of the state with the stored coordinate `u` and the parameters `p`."""
    if p[SIGMA] == 0.0:
        e = math.exp(u / p[UNIT])
        return 0.5 * p[SCALE] * (e - 1.0 / e), 0.5 * p[SCALE] * (e + 1.0 / e)
    rho = math.exp(max(u, -690.0))
    # If c = 0, do not square rho, since the square of a small rho underflows.
    return p[SIGMA] * (rho if p[C] == 0.0 else math.sqrt(p[C] + rho * rho)), rho


@routine
def field(y, p, out):
    """Fill `out` with the time derivative of y = (u, x)."""
    k, delta = angles(y[1], p[NU])
    a, rho = sides(y[0], p)
    ratio = a / rho
    pull = k - 0.5 * a * rho
    out[0] = p[UNIT] * pull if p[SIGMA] == 0.0 else ratio * pull
    out[1] = -p[NU] * ratio * delta / TWO_PI


@routine
def gauge(y, p, g):
    """Fill `g` as `dop853.parts` describes, with death as the event."""
    a, rho = sides(y[0], p)
    g[0] = y[0] - LOG_TINY if a < 0.0 and p[SIGMA] != 0.0 else 1.0  # no neuron with c < 0 dies
    g[1] = 1.0
    if p[NU] == 1.0 and y[1] < 0.0:
        theta = 2.0 * math.atan(math.exp(max(y[1], -700.0)))
        g[1] = max(theta, abs(a * rho - 1.0)) - p[TOL]
    g[2] = 1.0 if a > 0.0 or (a < 0.0 and p[C] >= 0.0) else -1.0


# Rows of the buffer of `field_lanes`:
# ROW_U, ROW_X: the coordinates u and x.
# ROW_DU, ROW_DX: their derivatives.
# ROW_SIGMA, ROW_C, ROW_UNIT, ROW_PER_UNIT: the parameters SIGMA, C, UNIT and 1/UNIT.
# ROW_SQUARE, ROW_E, ROW_SPARE: scratch.
ROW_U, ROW_X, ROW_DU, ROW_DX, ROW_SIGMA, ROW_C, ROW_UNIT, ROW_PER_UNIT = range(8)


ROW_SQUARE, ROW_E, ROW_SPARE, ROWS = range(8, 12)


@routine
def field_lanes(b, bits, w):
    """Evaluate `field` for nu = 1, one trajectory per lane.

    There are no branches, so that all lanes run as one vector. For every condition, both results are
    computed, and one of them is selected.
    """
    for i in range(w):
        u = b[ROW_U * LANES + i] * b[ROW_PER_UNIT * LANES + i]
        b[ROW_DU * LANES + i] = min(max(2.0 * u, -690.0), 690.0)
        b[ROW_DX * LANES + i] = -min(abs(b[ROW_X * LANES + i]), 690.0)
    exp_row(b, bits, ROW_DU, ROW_SQUARE, ROW_SPARE, w)
    exp_row(b, bits, ROW_DX, ROW_E, ROW_SPARE, w)
    for i in range(w):
        x, e, square = b[ROW_X * LANES + i], b[ROW_E * LANES + i], b[ROW_SQUARE * LANES + i]
        sigma, c = b[ROW_SIGMA * LANES + i], b[ROW_C * LANES + i]
        # A single division, the costliest operation here, yields both 1/(1 + e) and 1/(1 + e^2).
        both = 1.0 / ((1.0 + e) * (1.0 + e * e))
        scale = both * (1.0 + e)
        small = 2.0 * arctan(e, both * (1.0 + e * e))
        delta = small if x >= 0.0 else math.pi - small
        d2 = delta * delta
        series = delta * d2 * (1.0 / 3.0 - d2 * (1.0 / 30.0 - d2 * (1.0 / 840.0 - d2 * (1.0 / 45360.0))))
        cosine = (1.0 - e * e) * scale
        direct = 2.0 * e * scale - delta * (cosine if x >= 0.0 else -cosine)
        k = (series if delta < 0.2 else direct) / TWO_PI
        # `ratio` is a/rho, and `product` is a rho. `square` is rho^2 if c >= 0, and e^(2u) if c < 0.
        inverse = 1.0 / square
        outward = sigma * math.sqrt(1.0 + max(c, 0.0) * inverse)
        ratio = 1.0 - 2.0 / (square + 1.0) if c < 0.0 else outward
        product = -0.25 * c * (square - inverse) if c < 0.0 else square * outward
        pull = k - 0.5 * product
        b[ROW_DU * LANES + i] = b[ROW_UNIT * LANES + i] * pull if c < 0.0 else ratio * pull
        b[ROW_DX * LANES + i] = -ratio * delta / TWO_PI


@routine
def x_of(theta):
    """Return x = log tan(theta/2), with theta capped at pi/2."""
    return math.log(math.tan(min(0.5 * theta, 0.25 * math.pi))) if theta > 0.0 else -math.inf


@routine
def watch(b, bits, w, tolerance, near):
    """Find the lanes whose state is near the target or dying, as `gauge` does for nu = 1.

    Set ROW_DU to 1 in lanes within `tolerance` of the target, and to 0 in the others. Set ROW_DX to 1 in
    lanes that are dying or within `near` of the target, and to 0 in the others.
    """
    x_inside, x_near = x_of(tolerance), x_of(near)
    for i in range(w):
        u = b[ROW_U * LANES + i] * b[ROW_PER_UNIT * LANES + i]
        b[ROW_DU * LANES + i] = min(max(2.0 * u, -690.0), 690.0)
    exp_row(b, bits, ROW_DU, ROW_SQUARE, ROW_SPARE, w)
    for i in range(w):
        c, square = b[ROW_C * LANES + i], b[ROW_SQUARE * LANES + i]
        inverse = 1.0 / square
        outward = b[ROW_SIGMA * LANES + i] * math.sqrt(1.0 + max(c, 0.0) * inverse)
        product = -0.25 * c * (square - inverse) if c < 0.0 else square * outward
        x, off = b[ROW_X * LANES + i], abs(product - 1.0)
        b[ROW_DU * LANES + i] = 1.0 if x <= x_inside and off <= tolerance else 0.0
        dying = c >= 0.0 and product < 0.0 and square <= TINY_NORM * TINY_NORM
        b[ROW_DX * LANES + i] = 1.0 if dying or (x <= x_near and off <= near) else 0.0


@routine
def decay(y, nu, lapse, out):
    """Fill `out` with (a, log rho, x) at the time `lapse` after a dead state `y`, where rho <= TINY_NORM.

    Up to O(rho^2), a < 0 is constant and delta/rho tends to pi |a|.
    """
    a = y[0]
    rate = 0.5 * a * a * lapse
    out[0] = a
    out[1] = y[1] - rate
    out[2] = y[2]
    if nu == 1.0:
        # Since delta = 2 e^{-x}, the ratio r = pi |a| rho/delta relaxes to 1, with r - 1 proportional to
        # e^{-a^2 t/2}. `before` and `after` are the values of r.
        before = math.exp(min(700.0, y[2] + y[1] + math.log(-0.5 * math.pi * a)))
        after = before * math.exp(-rate) - math.expm1(-rate)
        out[2] += rate + math.log(after) - math.log(before)


@routine
def is_near(y, p, near):
    """Return whether theta and |a rho - 1| are at most `near` at the state `y`."""
    a, rho = sides(y[0], p)
    return y[1] <= x_of(near) and abs(a * rho - 1.0) <= near


@routine
def approach(y, p, lapse, out):
    """Fill `out` with (u, x) at the time `lapse` after a state `y` near its target, for nu = 1.

    The error is of second order in theta and |a rho - 1|. Let rate = (a^2 + rho^2)/2 and r = a/rho at the
    target, where a rho = 1, and let z be u minus its value at the target. The equations solved are
    z' = -rate z - (du'/dpull) theta^2/4 and x' = -(r + (dr/du) z) (1 - theta/pi)/2. In them, theta is
    proportional to e^(-r t/2).
    """
    c = p[C]
    large = 0.5 * (abs(c) + math.hypot(c, 2.0))  # the larger of a^2 and rho^2, whose product is 1
    if p[SIGMA] == 0.0:
        goal, ratio = p[UNIT] * math.asinh(1.0 / (math.sqrt(large) * p[SCALE])), 1.0 / large
        gain, bend = p[UNIT], -c / (large * p[UNIT])
    else:
        goal, ratio = -0.5 * math.log(large), large
        gain, bend = ratio, -c
    rate, gap = 0.5 * (large + 1.0 / large), 0.5 * abs(c)  # gap = |rate - ratio|
    z, theta = y[0] - goal, 2.0 * math.atan(math.exp(max(y[1], -700.0)))
    shared = lapse if gap * lapse < 1e-16 else -math.expm1(-gap * lapse) / gap
    shared *= math.exp(-min(rate, ratio) * lapse)
    out[0] = goal + z * math.exp(-rate * lapse) - 0.25 * gain * theta * theta * shared
    out[1] = y[1] - 0.5 * ratio * lapse - theta / math.pi * math.expm1(-0.5 * ratio * lapse)
    out[1] += 0.5 * bend * z * math.expm1(-rate * lapse) / rate


@routine
def outer(y, p, out):
    """Fill `out` with (a, log rho, x) of the state `y`."""
    a, rho = sides(y[0], p)
    out[0], out[1], out[2] = a, math.log(rho) if p[SIGMA] == 0.0 else y[0], y[1]
