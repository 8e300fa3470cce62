"""The gradient of the loss for kernels; `problem.loss.gradient` is the clearer version for arrays."""

import math

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.philox import TWO_PI
from singleneuron.kernels.vectors import fill


@routine
def small_angle_kernel(delta):
    """Compute sin(delta) - delta cos(delta), whose two terms nearly cancel, from its power series.

    Parameters
    ----------
    delta : float
        An angle in radians, below 0.2.

    Returns
    -------
    float
        2 pi k(pi - delta).
    """
    d2 = delta * delta
    return delta * d2 * (1.0 / 3.0 - d2 * (1.0 / 30.0 - d2 * (1.0 / 840.0 - d2 / 45360.0)))


@routine
def population_gradient(a, p, q, nu):
    """Compute the gradient of the population loss L = a^2 rho^2/4 - a rho k(theta) + constant.

    Parameters
    ----------
    a, p, q : float
        a is the outer weight, p is the component of w along mask * v, and q is the norm of the rest of w.
    nu : float
        |mask * v|, so that cos(theta) = nu p/rho.

    Returns
    -------
    tuple of float
        (dL/da, dL/dp, dL/dq, theta); at rho = 0 the derivatives are 0, since phi'(0) = 0.
    """
    rho = math.hypot(p, q)
    if rho == 0.0:
        return 0.0, 0.0, 0.0, 0.5 * math.pi
    sine = math.hypot(q, math.sqrt((1.0 - nu) * (1.0 + nu)) * p) / rho
    cosine = nu * p / rho
    # delta is pi - theta, computed without this subtraction, which would lose digits near theta = pi.
    delta = math.atan2(sine, -cosine)
    k = small_angle_kernel(delta) if delta < 0.2 else sine + delta * cosine
    da = rho * (0.5 * a * rho - k / TWO_PI)
    dp = a * (0.5 * a * p - (delta * nu + sine * p / rho) / TWO_PI)
    dq = a * q * (0.5 * a - sine / (TWO_PI * rho))
    return da, dp, dq, math.atan2(sine, cosine)


@routine
def sample_gradient(x, xt, y, noise, a, w, z, dw):
    """Compute the gradient of the loss on samples, with phi'(0) = 0.

    Parameters
    ----------
    x, xt : ndarray, shape (n, d) and (d, n)
        Inputs and their transpose. The loops that compute w.x_i use rows of xt, which are contiguous.
    y, noise : ndarray, shape (n,)
        The labels are y + noise.
    a : float
        Outer weight.
    w : ndarray, shape (d,)
        Inner weights.
    z : ndarray, shape (n,)
        Filled with w.x_i.
    dw : ndarray, shape (d,)
        Filled with dL/dw.

    Returns
    -------
    float
        dL/da.
    """
    n, d = x.shape
    fill(z, 0.0)
    for k in range(d):
        for i in range(n):
            z[i] += w[k] * xt[k, i]
    fill(dw, 0.0)
    da = 0.0
    for i in range(n):
        if z[i] > 0.0:
            residual = a * z[i] - y[i] - noise[i]
            da += residual * z[i]
            for k in range(d):
                dw[k] += residual * x[i, k]
    for k in range(d):
        dw[k] *= a / n
    return da / n
