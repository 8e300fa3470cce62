"""The direction of w relative to the target, in the coordinates that training under Sign-In needs."""

import math

import numpy as np

from singleneuron.problem.arguments import Array


def across(w: Array, v: Array) -> tuple[Array, Array]:
    """Return the component of w along the target, and the norm of the rest of w.

    Parameters
    ----------
    w : Array
        (B, d) weights.
    v : Array
        (d,) the target, as in `population.population_flow`.

    Returns
    -------
    p, q : Array
        (B,) each. p is w.v/|v|, or 0 if v is 0. q is |w - p v/|v||, which is exactly 0 if w is parallel to v.
    """
    on = w[:, v != 0.0]
    if not on.size:
        return np.zeros(len(w)), np.hypot.reduce(w, axis=1)
    offsets = on - on[:, :1]
    mean = offsets.mean(axis=1, keepdims=True)
    p = (on[:, 0] + mean[:, 0]) * math.sqrt(on.shape[1])
    return p, np.hypot.reduce(np.column_stack([w[:, v == 0.0], offsets - mean]), axis=1)


def status_coordinates(w: Array, v: Array) -> tuple[Array, Array]:
    """Return log |w| and x = log tan(theta/2), which `problem.status.population_status` needs.

    Parameters
    ----------
    w : Array
        (B, d) weights.
    v : Array
        (d,) the target, as in `population.population_flow`.

    Returns
    -------
    log_rho, x : Array
        (B,) each. x is computed as -asinh(p/q), which loses no digits near theta = pi. If q = 0, x is
        infinite.
    """
    p, q = across(w, v)
    rho = np.hypot(p, q)
    with np.errstate(over="ignore"):  # p/q may overflow if q is subnormal: x is infinite, as for q = 0
        x = -np.arcsinh(np.divide(p, q, out=np.copysign(np.inf, p), where=q > 0.0))
    return np.log(rho, out=np.full(rho.shape, -np.inf), where=rho > 0.0), x
