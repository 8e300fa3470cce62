"""The population flow of Sign-In: every weight y obeys y' = -S(y) dL/dy, where S(y) = sqrt(beta^2 + 4 y^2).

Let theta be the angle between w and the target v, let rho = |w|, and let k be the `angle_kernel`. A mask may
remove part of v, so |v| <= 1. With s = a^2/2 - a sin(theta)/(2 pi rho), the gradient is

    dL/da = a rho^2/2 - rho k(theta)
    dL/dw_i = s w_i - a (pi - theta)/(2 pi) v_i

The metric S is not invariant under rotations, so (a, rho, theta) do not suffice, but a few unknowns do:

- The off-target weights are the w_i with v_i = 0. Since s is the same for all of them,
  z_i = asinh(beta/(2 |w_i|)) grows by the same amount for all. Each is therefore a function of the largest
  off-target weight W: |w_i| = W/(C_i + D_i S(W)), where C_i = cosh(z_i - z_W) and D_i = sinh(z_i - z_W)/beta
  are constant.
- The target weights w_1, ..., w_k have equal v_i. Their differences w_j - w_1 grow and fade at a finite
  relative rate, so the differences keep their signs.

The unknowns are a, w_1, log W and log |w_j - w_1|. If k = 1, there are only three. W and the differences
determine the component of w orthogonal to v. However small this component becomes, the logarithms preserve
its relative precision, and thus the relative precision of pi - theta.

Near the saddle a = 0, theta = pi, the flow is slow. There `a` decays at the rate S(a) rho^2/2 to
2 k(theta)/rho, which is of order (pi - theta)^3. The time to leave the saddle is inversely proportional to
this small value, and an absolute tolerance would allow errors of the same size. Therefore a and w_1 are
stored in a unit so small that only the relative tolerance counts.

c = S(a) - beta_a - sum_i (S(w_i) - beta_w) is conserved. If c >= 0, `a` keeps its sign and is computed from c
and w, so a dead neuron stays dead, however small w becomes.
"""

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from singleneuron.flows.sign_in.directions import across
from singleneuron.flows.sign_in.population_field import (
    BETA_A,
    BETA_W,
    COSH,
    ENTRY,
    FADE,
    FIRST,
    LOG_LARGEST,
    LOST,
    NEAR,
    NUMBERS,
    PER_UNIT,
    SIGMA,
    SINH,
    TOL,
    UNIT,
    A,
    C,
    approach,
    field,
    gauge,
    weights,
)
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import EVENT, FAILED, build
from singleneuron.kernels.dop853_step import workspace
from singleneuron.kernels.metric import metric_of
from singleneuron.kernels.vectors import put
from singleneuron.parameterization import distance
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import LEAST_BALANCE
from singleneuron.problem.status import TINY_NORM

ROUNDING = 1e-12  # a smaller 1 - |v|^2 is a rounding error, which would distort the angle near theta = pi

solve = build(field, gauge)


@routine
def enter(a, w, v, c, betas, lost, tolerance, near, y, p):
    """Set the unknowns `y` and the parameters `p` of the trajectory that starts at (a, w)."""
    numbers, ratios, signs, _ = p
    numbers[BETA_A], numbers[BETA_W], numbers[C], numbers[LOST] = betas[0], betas[1], c, lost
    numbers[SIGMA] = np.sign(a) if c >= 0.0 else 0.0
    numbers[TOL], numbers[NEAR] = tolerance, near
    largest, first, j = 0.0, 0.0, 0
    for i in range(w.size):
        if v[i] == 0.0:
            largest = max(largest, abs(w[i]))
            continue
        if j == 0:
            first, numbers[ENTRY] = w[i], v[i]
        else:
            difference = w[i] - first
            signs[j] = np.sign(difference)
            y[LOG_LARGEST + j] = math.log(abs(difference)) if difference != 0.0 else 0.0
        j += 1
    y[LOG_LARGEST] = math.log(largest) if largest > 0.0 else 0.0
    numbers[UNIT] = numbers[PER_UNIT] = 1.0
    y[A], y[FIRST] = a, first
    set_ratios(w, v, largest, betas[1], ratios)
    numbers[UNIT] = 1.0 / (TINY_NORM * min(1.0, weights(y, p)[4] or 1.0))
    numbers[PER_UNIT] = 1.0 / numbers[UNIT]
    y[A], y[FIRST] = a * numbers[UNIT], first * numbers[UNIT]


@routine
def set_ratios(w, v, largest, beta, ratios):
    """Set the constants C_i, D_i and e^(z_W - z_i) of every off-target weight w_i that is not 0."""
    n, metric = 0, metric_of(largest, beta)
    for i in range(w.size):
        if v[i] == 0.0 and w[i] != 0.0:
            size = abs(w[i])
            ratios[SINH, n] = (
                (largest - size) / size * (1.0 + size / largest) / (metric_of(size, beta) + metric)
            )
            ratios[COSH, n] = math.hypot(1.0, beta * ratios[SINH, n])
            ratios[FADE, n] = 1.0 / (ratios[COSH, n] + beta * ratios[SINH, n])
            n += 1


@routine
def outer(y, p, w, v, out):
    """Fill `out` with (a, w) of the state `y`; the start `w` gives the signs of the off-target weights."""
    _, ratios, _, targets = p
    out[0], largest, metric, _, _ = weights(y, p)
    n, j = 0, 0
    for i in range(w.size):
        out[1 + i] = 0.0
        if v[i] != 0.0:
            out[1 + i] = targets[j]
            j += 1
        elif w[i] != 0.0:
            out[1 + i] = np.sign(w[i]) * largest / (ratios[COSH, n] + ratios[SINH, n] * metric)
            n += 1


@routine
def leave(y, p, w, v, reason, t, filled, times, limit, record, path, end):
    """Fill `path` and `end` for a trajectory that ended in the state `y` at the time `t`.

    `record` contains the first `filled` states of the path, in the coordinates of `y`.
    """
    for i in range(filled):
        outer(record[i], p, w, v, path[i])
    outer(y, p, w, v, end)
    later = np.empty(y.size)
    for i in range(filled, times.size):
        put(path[i], end)
        if reason == EVENT and end[0] > 0.0:
            approach(y, p, times[i] - t, later)
            outer(later, p, w, v, path[i])
        elif reason == EVENT:
            # w is so small that its metric is beta_w, so w fades at the rate beta_w a^2/2.
            fade = math.exp(-0.5 * p[0][BETA_W] * end[0] * end[0] * (times[i] - t))
            for j in range(w.size):
                path[i, 1 + j] *= fade
    if not limit:
        put(end, path[-1])


@kernel(parallel=True)
def _follow(a, w, v, c, betas, lost, times, rtol, atol, limit, t_certain, tolerance, path, end, reason, time):
    """Follow the starts one by one, with one workspace per block of starts."""
    k, blocks = 0, min(a.size, 64)
    for i in range(v.size):
        k += 1 if v[i] != 0.0 else 0
    unknowns = 2 + max(k, 1)
    # Within this distance of the target, `approach` finishes a trajectory with an error below rtol/10.
    near = 0.0 if limit else min(0.1 * math.sqrt(rtol), tolerance)
    for block in prange(blocks):
        record, work, y = np.empty((times.size, unknowns)), workspace(unknowns), np.empty(unknowns)
        for b in range(block, a.size, blocks):
            if math.isnan(c[b]):
                continue
            n = 0
            for i in range(v.size):
                n += 1 if v[i] == 0.0 and w[b, i] != 0.0 else 0
            p = (np.zeros(NUMBERS), np.empty((3, n)), np.zeros(k), np.empty(k))
            enter(a[b], w[b], v, c[b], betas, lost, tolerance, near, y, p)
            reason[b], t, filled, since = solve(
                y, p, 0.0, times, 0, record, rtol, atol, limit, t_certain, math.nan, work
            )
            leave(y, p, w[b], v, reason[b], t, filled, times, limit, record, path[b], end[b])
            time[b] = t if math.isnan(since) else since


def population_flow(
    a: Array,
    w: Array,
    v: Array,
    beta_a: float,
    beta_w: float,
    times: Array,
    *,
    c: Array,
    rtol: float,
    atol: float,
    limit: bool,
    t_certain: float,
    tolerance: float,
) -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Integrate the population flow of Sign-In.

    Parameters
    ----------
    a, w : Array
        Outer weights (B,) and inner weights (B, d) of the starts. Pruned weights are 0, but w must not be 0.
        If the only nonzero weight is the only target weight, the start stays on a line: use `sign_in.line`.
    v : Array
        (d,) target, with |v| <= 1. Its nonzero entries are equal, and pruned entries are 0.
    beta_a, beta_w : float
        The values of m^2 - u^2 for `a` and for every coordinate of w.
    times : Array
        (T,) increasing times at which to report the state.
    c : Array
        (B,) balance of the starts, as `Parameterization.balance` returns it.
    rtol, atol : float
        Tolerances of the integrator.
    limit : bool
        End a trajectory as soon as it has converged or died.
    t_certain : float
        With `limit`, a trajectory also ends once its limit is certain, but not before this time.
    tolerance : float
        Largest theta and |a rho - 1| with which a state counts as converged.

    Returns
    -------
    path : Array
        (B, T, 1 + d) states (a, w) at `times`.
    end : Array
        (B, 1 + d) end states (a, w).
    reason : NDArray[np.int64]
        (B,) why each trajectory ended, as a code of `kernels.dop853`.
    time : Array
        (B,) the time at which the outcome of each trajectory was decided.

    Raises
    ------
    ValueError
        If a start has w = 0 or stays on a line, or if the nonzero entries of `v` differ.
    """
    target = v[v != 0.0]
    if np.any(target != target[:1]):
        raise ValueError(
            f"the entries of v must be equal or 0, but are {target.tolist()}; reverse the axes where v < 0"
        )
    p, q = across(w, v)
    if np.any((q == 0.0) & ((p == 0.0) | (target.size < 2))):
        raise ValueError(
            "a start must not have w = 0, or a single target weight as its only weight; use the flow of one "
            "coordinate"
        )
    path, end = np.empty((a.size, times.size, 1 + v.size)), np.column_stack([a, w])
    reason, time = np.full(a.size, FAILED), np.zeros(a.size)
    # Give up on starts so large that their squares overflow, or so small that c has no correct digit.
    with np.errstate(over="ignore"):
        total = 2 * distance(a, beta_a) - c
        lost = ~np.isfinite(total**2) | (total < LEAST_BALANCE)
    known = np.where(lost, np.nan, c)
    path[lost] = end[lost, None]
    missing = 1.0 - float(target @ target)
    # Copy the arrays, so that all are writable and contiguous and the kernel is compiled only once.
    start = np.array(a), np.array(w), np.array(v), known, (float(beta_a), float(beta_w))
    task = np.array(times), float(rtol), float(atol), limit, float(t_certain), float(tolerance)
    _follow(*start, missing if missing > ROUNDING else 0.0, *task, path, end, reason, time)
    return path, end, reason, time
