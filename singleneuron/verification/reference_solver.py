"""A second opinion: single runs by scipy's LSODA on the gradient itself, in (a, w), in plain Python.

On samples in d > 1, where the field jumps, by gradient descent with small steps.

It shares no step, no coordinate and no event with the kernels, and is a thousand times slower: it repeats
the few runs that refute a statement.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from singleneuron.problem.arguments import Array
from singleneuron.problem.loss import gradient
from singleneuron.problem.problem import Line, Population, Sample
from singleneuron.problem.state import State
from singleneuron.problem.status import line_status, success

RTOL, ATOL = 1e-10, 1e-12
T_END = 1e4
SHARE, LEAD, DENSE_TIMES = 0.05, 0.02, (100.0, 1000.0)
"""Of gradient descent on samples: its step times the curvature, and when the mask it leads to is certain."""
TIP = 1e-9
VANISHED = 1e-4

_Event = Callable[[float, Array], float]


def _solve(field: Callable[[float, Array], Any], y: Any, t_end: float, *events: _Event) -> Any:
    """scipy's solution up to t_end or the first event; NaN at its end where the solver gave up."""
    from scipy.integrate import solve_ivp

    for event in events:
        event.terminal = True  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LSODA warns where it gives up, and says so in `success`
        path = solve_ivp(field, (0.0, t_end), y, "LSODA", events=events or None, rtol=RTOL, atol=ATOL)
    if not path.success:
        path.y[:, -1] = math.nan
    return path


def _plane_field(t: float, y: Array) -> Array:
    """Minus the gradient of the population loss in (a, p, q): by rotations, that of any d."""
    da, dw = gradient(Population(2), State(y[:1], y[None, 1:]))
    return -np.concatenate([da, dw[0]])


def _alive(t: float, y: Array) -> float:
    """Falls to 0 where a neuron with a < 0 has all but vanished; beyond, w has no direction."""
    return math.hypot(y[1], y[2]) - TIP if y[0] < 0 else 1.0


def plane(a: float, p: float, q: float, t_end: float) -> tuple[float, float, float]:
    """(a, p = w.v, q = |w_perp|) at t_end of the population flow in d > 1 coordinates."""
    if t_end == 0:
        return a, p, q
    a, p, q = _solve(_plane_field, (a, p, q), t_end, _alive).y[:, -1].tolist()
    return a, p, abs(q)


def plane_outcome(a: float, p: float, q: float, c: float) -> float:
    """1 where the population flow in d > 1 reaches the target in the limit, 0 where not; NaN: it is lost.

    c : the balance of the start. At T_END the limit is theory's: that of a > 0 is the target; a < 0 with
    c < 0 crosses 0 yet, and with c >= 0 it never does ("Success of dense training").
    """
    start = a
    a, p, q = plane(a, p, q, T_END)
    if math.isnan(a) or (a > 0 > start and c >= 0):
        return math.nan
    if a > 0:
        return 1.0 if q > 0 or p > 0 else math.nan
    return 0.0 if c >= 0 else 1.0


def turning_time(a: float, p: float, q: float, t_end: float) -> float:
    """When w.v of the population flow turns positive; inf if not by t_end."""
    times = _solve(_plane_field, (a, p, q), t_end, lambda t, y: float(y[1])).t_events[0]
    return float(times[0]) if times.size else math.inf


def line(a: float, w: float, data: Line, t_end: float, *, balanced: bool = False) -> tuple[float, float]:
    """(a, w) at t_end in one coordinate, side by side: a flow that reaches w = 0 crosses it or sticks.

    balanced : a balanced flow towards w = 0, which it never reaches, ends before rounding lets it escape.
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
        path = _solve(field, (a, w), t_end - t, reached)
        t, (a, w) = t + path.t[-1], path.y[:, -1].tolist()
        if balanced or not path.t_events[0].size:
            break
        here, beyond = (
            rate * a * slope,
            a * (data.c_neg * data.s_neg if side > 0 else data.c_pos * data.s_pos),
        )
        w = -side * np.finfo(float).tiny if here * beyond > 0 else 0.0
    return a, w


def line_outcome(a: float, w: float, data: Line, *, balanced: bool = False) -> float:
    """1 where the flow in one coordinate ends on w > 0 with a w = s_pos, 0 where it does not, NaN: open.

    At T_END the limit is theory's: `line_status` of the balance that the start has.
    """
    c = 0.0 if balanced else (abs(a) - abs(w)) * (abs(a) + abs(w))
    a, w = line(a, w, data, T_END, balanced=balanced)
    if balanced and w <= VANISHED:
        return 0.0
    if math.isnan(a):
        return math.nan
    end = line_status(np.array([a]), np.array([w]), np.array([c]), data)
    return float(success(end)[0])


def descend(problem: Sample, a: float, w: Array, t_end: float, share: float = SHARE) -> tuple[float, Array]:
    """(a, w) at t_end by gradient descent on the samples, in steps of `share` over the curvature."""
    mean_square = float(np.mean(problem.x**2))
    t, w = 0.0, np.array(w)
    while t < t_end:
        step = min(share / (mean_square * max(1.0, a * a, float(w @ w)) * problem.d**0.5), t_end - t)
        output = np.maximum(problem.x @ w, 0)
        error = (a * output - problem.y) / problem.n
        a, w = (
            a - step * float(error @ output),
            w - step * a * ((error * (output > 0)) @ problem.x),
        )
        t += step
    return a, w


def dense(problem: Sample, a: float, w: Array) -> tuple[float, Array]:
    """(a, w) after training on samples in d > 1 until the largest |w_i| is certain; a NaN where it never is.

    It is certain where the same one leads by LEAD at two times, and with half the step.
    """
    for t_end in DENSE_TIMES:
        ends = [descend(problem, a, w, time, share) for time, share in
                ((t_end / 2, SHARE), (t_end, SHARE), (t_end, SHARE / 2))]  # fmt: skip
        sizes = [np.abs(weights) for _, weights in ends]
        largest = {int(np.argmax(size)) for size in sizes}
        if len(largest) == 1 and all(np.sort(size)[-2] <= (1 - LEAD) * size.max() for size in sizes):
            return ends[-1]
    return math.nan, w
