"""The balanced population flow in d > 1 (Lemma 2.2) in closed form: its angle and its state at any time.

Balanced means |a| = |w|. theta is the angle between w and the target v, and delta is pi - theta. Angles are
passed as x = log tan(theta/2), so that delta stays accurate when w is nearly antiparallel to v.
"""

import math

import numba
import numpy as np
from numpy.typing import ArrayLike

from singleneuron.formulas.angle_curve import (
    AngleCurve,
    angle_of_time,
    delta_of,
    growth_of_norm,
    tabulated_curve,
    time_of_angle,
)
from singleneuron.formulas.broadcasting import broadcast_at, check_balanced, check_nonnegative_time, flattened
from singleneuron.formulas.line import side_flow
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.problem.arguments import Array

M_LINE = 1e-304  # w counts as parallel to v or -v if the tangent of half its angle to v or -v is below this


@kernel()
def _time_kernel(x, curve, time):
    for i in range(x.size):
        time[i] = time_of_angle(x[i], delta_of(math.exp(-abs(x[i])), x[i]), curve)


@kernel()
def _angle_kernel(time, curve, x):
    for i in range(x.size):
        x[i] = angle_of_time(time[i], curve)


def angle_time_x(x: ArrayLike) -> Array:
    """Compute T as in `angle_time`, but from x = log tan(theta/2), which is accurate even near theta = pi.

    Parameters
    ----------
    x : array_like
        Values of log tan(theta/2); any real numbers.

    Returns
    -------
    ndarray
        T, of the same shape as `x`. Near theta = pi, T and delta = pi - theta have the same relative error.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; its solution is beyond the paper.
    """
    shape, (x,) = flattened(x)
    time = np.empty_like(x)
    _time_kernel(x, tabulated_curve(), time)
    return time.reshape(shape)


def universal_x(time: ArrayLike) -> Array:
    """Compute x = log tan(theta/2) at the time T on the universal angle curve; the inverse of `angle_time_x`.

    Parameters
    ----------
    time : array_like
        Times T on the curve; any real numbers.

    Returns
    -------
    ndarray
        x, of the same shape as `time`.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; its solution is beyond the paper.
    """
    shape, (time,) = flattened(time)
    x = np.empty_like(time)
    _angle_kernel(time, tabulated_curve(), x)
    return x.reshape(shape)


def angle_time(theta: ArrayLike) -> Array:
    """Compute T(theta) = 2 pi int_theta^{pi/2} dphi / ((pi - phi) sin(phi)), the time on the angle curve.

    Along a balanced population flow in d > 1, T(theta(t)) is T(theta(0)) + t if a > 0, and T(theta(0)) - t if
    a < 0, for any d and any norm.

    Parameters
    ----------
    theta : array_like
        Angles between w and the target, in radians, in [0, pi].

    Returns
    -------
    ndarray
        T, of the same shape: inf at 0, 0 at pi/2, -inf at pi.

    Raises
    ------
    ValueError
        If an angle is outside [0, pi].

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; its solution is beyond the paper.

    Examples
    --------
    Compute how long the angle takes to fall from 2.0 to 1.0, with a > 0:

    >>> import singleneuron as sn
    >>> early, late = sn.angle_time([2.0, 1.0])
    >>> print(f"{late - early:.4f}")
    4.1291
    """
    theta = np.asarray(theta, dtype=np.float64)
    outside = (theta < 0) | (theta > np.pi)
    if np.any(outside):
        raise ValueError(f"theta must lie in [0, pi], but has an entry {theta[outside].flat[0]!r}")
    late = theta > np.pi / 2
    with np.errstate(divide="ignore"):
        x = np.log(np.tan(np.where(late, np.pi - theta, theta) / 2))
    return angle_time_x(np.where(late, -x, x))


def universal_angle(time: ArrayLike) -> Array:
    """Compute the angle theta at the time T on the universal angle curve; the inverse of `angle_time`.

    Parameters
    ----------
    time : array_like
        Times T on the curve; they may be infinite.

    Returns
    -------
    ndarray
        Angles in radians, of the same shape: pi at -inf, pi/2 at 0, 0 at inf. Errors are below 1e-12.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; its solution is beyond the paper.

    Examples
    --------
    A balanced flow with a > 0 turns towards the target. From the angle 2.0, it reaches this angle at t = 10:

    >>> import singleneuron as sn
    >>> print(f"{sn.universal_angle(sn.angle_time(2.0) + 10.0):.4f}")
    0.0849
    """
    x = universal_x(time)
    half = np.arctan(np.exp(-np.abs(x)))
    return np.where(x > 0, np.pi - 2 * half, 2 * half)


@routine
def _balanced_point(a: float, p: float, q: float, t: float, curve: AngleCurve) -> tuple[float, float, float]:
    """Compute `balanced_flow` for one start.

    The angle moves along the universal curve, on which T changes by sign(a) t. Let E and H be as in
    `AngleCurve`, and rho = |w|. Since d(E/rho^2)/dt = E, the ratio E/rho^2 grows by t plus the absolute
    change of H. This growth is divided by the larger of E at the start and E at t, so that nothing overflows.
    In the code, m = e^{-|x|}.
    """
    norm = abs(a)
    if norm == 0.0 or t == 0.0:
        return a, p, q
    if q > 0.0 and t == math.inf:
        return (1.0, 1.0, 0.0) if a > 0.0 else (-0.0, -0.0, 0.0)
    m = q / (norm + abs(p))
    if m < M_LINE:
        a_t, p_t = side_flow(math.copysign(p, a), p, 0.5, 1.0 if p > 0.0 else 0.0, t)
        return a_t, p_t, q / norm * abs(a_t)
    x = math.copysign(math.log(m), -p)
    delta = delta_of(m, x)
    x_t = angle_of_time(time_of_angle(x, delta, curve) + math.copysign(t, a), curve)
    m_t = math.exp(-abs(x_t))
    delta_t = delta_of(m_t, x_t)
    h, h_t = growth_of_norm(x, delta, curve), growth_of_norm(x_t, delta_t, curve)
    # 1/sqrt(E) = sin(delta)/delta, and sin(delta) = sin(theta) = 1/cosh(x).
    sine_t = 2.0 * m_t / (1.0 + m_t * m_t)
    root, root_t = 2.0 * m / (1.0 + m * m) / delta, sine_t / delta_t
    if a > 0.0:
        ratio = root_t / root
        gained = math.sqrt(t * root_t * root_t + max(h_t - h * ratio * ratio, 0.0))
        norm_t = norm / math.hypot(ratio, norm * gained)
    else:
        ratio = root / root_t
        gained = math.sqrt(t * root * root + max(h - h_t * ratio * ratio, 0.0))
        norm_t = norm * ratio / math.hypot(1.0, norm * gained)
    cosine_t = (1.0 - m_t) * (1.0 + m_t) / (1.0 + m_t * m_t)
    return math.copysign(norm_t, a), math.copysign(norm_t * cosine_t, -x_t), norm_t * sine_t


@kernel(parallel=True)
def _balanced_kernel(a, p, q, t, curve, a_t, p_t, q_t):
    for i in numba.prange(a.size):
        a_t[i], p_t[i], q_t[i] = _balanced_point(a[i], p[i], q[i], broadcast_at(t, i), curve)


def balanced_flow(a: ArrayLike, p: ArrayLike, q: ArrayLike, t: ArrayLike) -> tuple[Array, Array, Array]:
    """Compute (a, p, q) of the balanced population flow in d > 1 at time t; all arguments broadcast.

    If q = 0, w stays on the line through v, and the result is the same as from `line_flow`. Relative errors
    are about 1e-13 times the condition number of the flow.

    Parameters
    ----------
    a : array_like
        Outer weights at the start. |a| must equal hypot(p, q) and is used as |w|.
    p, q : array_like
        Components of w at the start: p is w.v, and q >= 0 is |w - p v|.
    t : array_like
        Times >= 0; inf gives the limit.

    Returns
    -------
    a, p, q : ndarray
        The state at time t, in arrays of the common shape.

    Raises
    ------
    ValueError
        If a time or an entry of q is negative, or if a start is not balanced.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives the flow; its solution is beyond the paper.

    Examples
    --------
    The sign of w_1 flips on the way to the target (1, 1, 0):

    >>> import singleneuron as sn
    >>> a, p, q = sn.balanced_flow(a=1.0, p=-0.6, q=0.8, t=[0.0, 5.0, 30.0])
    >>> p.round(4).tolist()
    [-0.6, 0.2245, 1.0]
    """
    check_nonnegative_time(t)
    shape, (a, p, q, t) = flattened(a, p, q, t, whole=3)
    if np.any(q < 0):
        raise ValueError(f"q = |w_perp| must be >= 0, but its smallest entry is {np.min(q):g}")
    check_balanced(a, np.hypot(p, q))
    a_t, p_t, q_t = np.empty_like(a), np.empty_like(a), np.empty_like(a)
    _balanced_kernel(a, p, q, t, tabulated_curve(), a_t, p_t, q_t)
    return a_t.reshape(shape), p_t.reshape(shape), q_t.reshape(shape)


def flip_angle(t: ArrayLike) -> Array:
    """Compute the angle from which a balanced flow with a > 0 reaches pi/2 at time t.

    This is the angle theta* >= pi/2 with T(theta*) = -t. Flows that start at a smaller angle have w_1 > 0 at
    time t. So with one target coordinate and rewind time t, P(WR succeeds) = P(theta(0) < theta*)/2.

    Parameters
    ----------
    t : array_like
        Times >= 0.

    Returns
    -------
    ndarray
        theta* in radians, of the same shape as `t`.

    Raises
    ------
    ValueError
        If a time is negative.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024) compares IMP and LRR; WR is beyond the paper.

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.flip_angle([0.0, 0.3]).round(4).tolist()
    [1.5708, 1.644]
    """
    check_nonnegative_time(t)
    return universal_angle(-np.asarray(t, dtype=np.float64))
