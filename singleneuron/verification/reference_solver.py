"""Solve single runs independently of the kernels, by applying scipy's LSODA to the gradient in (a, w).

On samples in d > 1, where the gradient jumps, gradient descent with small steps is used instead.

This solver shares no stepping, coordinates or events with the kernels, and is a thousand times slower. It
therefore repeats only the few runs that would refute a statement.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from singleneuron.parameterization import PLAIN, Parameterization, metric
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.loss import gradient
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.state import State
from singleneuron.problem.status import line_status, success

RTOL, ATOL = 1e-10, 1e-12
T_END = 1e4
"""Final time of the integration. Theory determines the limit from the state at this time."""
SHARE, LEAD, DENSE_TIMES = 0.05, 0.02, (100.0, 1000.0)
"""Settings of gradient descent on samples.

`SHARE`: step size times curvature.
`LEAD`: fraction of the largest |w_i| by which it must exceed all others in `train_dense`.
`DENSE_TIMES`: training times that `train_dense` tries.
"""
TIP = 1e-9
"""Value of |w| below which the direction of w is unreliable if a < 0."""
VANISHED = 1e-4
"""Value of |w| at which a balanced flow towards w = 0 is stopped."""

_Event = Callable[[float, Array], float]


def solve_ode(field: Callable[[float, Array], Any], y: Any, t_end: float, *events: _Event) -> Any:
    """Integrate `field` from the state `y` until `t_end` or the first event.

    Returns the result of `solve_ivp`. Its final state is NaN if the solver gives up.
    """
    from scipy.integrate import solve_ivp

    for event in events:
        event.terminal = True  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # if LSODA gives up, `path.success` shows it as well
        path = solve_ivp(field, (0.0, t_end), y, "LSODA", events=events or None, rtol=RTOL, atol=ATOL)
    if not path.success:
        path.y[:, -1] = math.nan
    return path


def _plane_field(t: float, y: Array) -> Array:
    """Return minus the gradient of the population loss in y = (a, p, q), which is the same for all d > 1.

    Here p = w.v and q = |w_perp|.
    """
    da, dw = gradient(Population(2), State(y[:1], y[None, 1:]))
    return -np.concatenate([da, dw[0]])


def _alive(t: float, y: Array) -> float:
    """Return |w| - TIP if a < 0, else 1. The integration ends when this event function falls to 0."""
    return math.hypot(y[1], y[2]) - TIP if y[0] < 0 else 1.0


def solve_plane(a: float, p: float, q: float, t_end: float) -> tuple[float, float, float]:
    """Integrate the population flow in d > 1 coordinates.

    Parameters
    ----------
    a, p, q : float
        The start, with p = w.v and q = |w_perp|.
    t_end : float
        The final time.

    Returns
    -------
    tuple[float, float, float]
        (a, p, q) at t_end or, if that is earlier, when a neuron with a < 0 has almost vanished. NaN if the
        solver gives up.
    """
    if t_end == 0:
        return a, p, q
    a, p, q = solve_ode(_plane_field, (a, p, q), t_end, _alive).y[:, -1].tolist()
    return a, p, abs(q)


def plane_outcome(a: float, p: float, q: float, c: float) -> float:
    """Decide whether the population flow in d > 1 reaches the target in the limit.

    By theory, the state at T_END and the balance c determine the limit. If a > 0 at T_END, the limit is the
    target. Otherwise the flow crosses a = 0 later if c < 0, and never if c >= 0.

    Parameters
    ----------
    a, p, q : float
        The start, with p = w.v and q = |w_perp|.
    c : float
        Balance of the start.

    Returns
    -------
    float
        1 if the flow reaches the target, 0 if not. NaN if the solver gives up or is not accurate enough.

    References
    ----------
    The derivation "Success of dense training" in `singleneuron.theory`.
    """
    start = a
    a, p, q = solve_plane(a, p, q, T_END)
    if math.isnan(a) or (a > 0 > start and c >= 0):
        return math.nan
    if a > 0:
        return 1.0 if q > 0 or p > 0 else math.nan
    return 0.0 if c >= 0 else 1.0


def turning_time(a: float, p: float, q: float, t_end: float) -> float:
    """Return the time at which w.v reaches 0 along the population flow, or inf if it does not by `t_end`."""
    times = solve_ode(_plane_field, (a, p, q), t_end, lambda t, y: float(y[1])).t_events[0]
    return float(times[0]) if times.size else math.inf


def solve_line(
    a: float, w: float, data: Line, t_end: float, *, balanced: bool = False
) -> tuple[float, float]:
    """Integrate the flow in one coordinate.

    Each side of w = 0 is integrated separately. When the flow reaches w = 0, it either crosses or stops.

    Parameters
    ----------
    a, w : float
        Outer and inner weight of the start.
    data : Line
        Statistics of the data, each a number.
    t_end : float
        The final time.
    balanced : bool
        Whether to stop the flow at |w| = VANISHED. A balanced flow that tends to w = 0 never reaches it, but
        near w = 0, rounding errors would drive it away again.

    Returns
    -------
    tuple[float, float]
        (a, w) at t_end or, if that is earlier, when the flow stops. NaN if the solver gives up.
    """
    t = 0.0
    while w != 0 and t < t_end:
        side = math.copysign(1.0, w)
        rate, slope = (data.c_pos, data.s_pos) if side > 0 else (data.c_neg, data.s_neg)
        floor = VANISHED if balanced else 0.0

        def field(t: float, y: Array, rate: float = rate, slope: float = slope) -> list[float]:
            pull = rate * (slope - y[0] * y[1])
            return [pull * y[1], pull * y[0]]

        def reached(t: float, y: Array, side: float = side, floor: float = floor) -> float:
            return float(side * y[1] - floor)

        reached.direction = -1  # type: ignore[attr-defined]
        path = solve_ode(field, (a, w), t_end - t, reached)
        t, (a, w) = t + path.t[-1], path.y[:, -1].tolist()
        if balanced or not path.t_events[0].size:
            break
        w = across_zero(a, side, data)
    return a, w


def across_zero(a: float, side: float, data: Line) -> float:
    """Return w just after the flow in one coordinate has reached w = 0 from the given `side`.

    `side` is 1 if the flow came from w > 0, and -1 if it came from w < 0. If the fields on both sides push w
    in the same direction, the flow crosses, and w is the smallest normal float with the new sign. Otherwise w
    stays 0.
    """
    pushes = a * data.c_pos * data.s_pos, a * data.c_neg * data.s_neg
    return -side * float(np.finfo(float).tiny) if pushes[0] * pushes[1] > 0 else 0.0


def line_outcome(a: float, w: float, data: Line, *, balanced: bool = False) -> float:
    """Decide whether the flow in one coordinate converges to a w = s_pos with w > 0.

    By theory, the state at T_END and the balance of the start determine the outcome, which follows from
    `line_status`.

    Parameters
    ----------
    a, w : float
        Outer and inner weight of the start.
    data : Line
        Statistics of the data, each a number.
    balanced : bool
        Whether |a| = |w|, up to rounding.

    Returns
    -------
    float
        1 if the flow converges to a w = s_pos with w > 0, and 0 if not. NaN if the solver gives up or the
        limit is undecided.
    """
    c = 0.0 if balanced else (abs(a) - abs(w)) * (abs(a) + abs(w))
    a, w = solve_line(a, w, data, T_END, balanced=balanced)
    if balanced and w <= VANISHED:
        return 0.0
    if math.isnan(a):
        return math.nan
    end = line_status(np.array([a]), np.array([w]), np.array([c]), data)
    return float(success(end)[0])


def descend(
    problem: Sample,
    a: float,
    w: Array,
    t_end: float,
    share: float = SHARE,
    weights: Parameterization = PLAIN,
) -> tuple[float, Array]:
    """Train on samples by gradient descent with small steps.

    Parameters
    ----------
    problem : Sample
        The samples.
    a : float
        Outer weight of the start.
    w : ndarray, shape (d,)
        Inner weights of the start.
    t_end : float
        The final time, which is the sum of all step sizes.
    share : float
        Step size times curvature.
    weights : Parameterization
        Plain weights or Sign-In. Under Sign-In, each step follows the gradient in Sign-In's metric.

    Returns
    -------
    tuple[float, Array]
        a and w (d,) at t_end.
    """
    mean_square = float(np.mean(problem.x**2))
    t, w = 0.0, np.array(w)
    while t < t_end:
        own, each = np.array(1.0), np.ones(1)
        if not weights.plain:
            own, each = metric(a, weights.beta_a), metric(w, weights.beta_w)
        steepest = max(own.max(), each.max())
        step = share / (mean_square * max(1.0, a * a, float(w @ w)) * problem.d**0.5 * steepest)
        step = min(step, t_end - t)
        output = np.maximum(problem.x @ w, 0)
        error = (a * output - problem.y) / problem.n
        a, w = (
            a - step * float(own * (error @ output)),
            w - step * a * each * ((error * (output > 0)) @ problem.x),
        )
        t += step
    return a, w


def train_dense(
    problem: Sample, a: float, w: Array, weights: Parameterization = PLAIN
) -> tuple[float, Array]:
    """Train on samples in d > 1 until it is certain which |w_i| is the largest.

    This counts as certain if the same |w_i| is ahead of all others by the fraction `LEAD` at the end of
    training, halfway through training, and at the end of a run with half the step size.

    Parameters
    ----------
    problem : Sample
        The samples.
    a : float
        Outer weight of the start.
    w : ndarray, shape (d,)
        Inner weights of the start.
    weights : Parameterization
        Plain weights, or Sign-In.

    Returns
    -------
    tuple[float, Array]
        a and w (d,) after training, or NaN and the initial w if the largest |w_i| never becomes certain.
    """
    for t_end in DENSE_TIMES:
        ends = [descend(problem, a, w, time, share, weights) for time, share in
                ((t_end / 2, SHARE), (t_end, SHARE), (t_end, SHARE / 2))]  # fmt: skip
        sizes = [np.abs(end) for _, end in ends]
        largest = {int(np.argmax(size)) for size in sizes}
        if len(largest) == 1 and all(np.sort(size)[-2] <= (1 - LEAD) * size.max() for size in sizes):
            return ends[-1]
    return math.nan, w
