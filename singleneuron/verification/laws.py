"""Compare the values that formulas give for random starts with integration of the flow.

Each comparison takes a number of starts and a seed, and reports the largest error. The unit of the error is
the integrator's tolerance or, for a law that holds only to leading order, the size of the neglected terms.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from signflow.verdicts import Law
from singleneuron.flows import line
from singleneuron.flows.integrate import integrate
from singleneuron.formulas import balanced
from singleneuron.formulas import line as formulas_line
from singleneuron.formulas import population as formulas_population
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Population
from singleneuron.problem.seeds import generator
from singleneuron.problem.starts import balanced_starts
from singleneuron.problem.state import Reduced, balance
from singleneuron.problem.status import TOLERANCE
from singleneuron.verification import reference_solver

RTOL = 1e-8
LIMIT = 100.0
"""Largest error allowed for a law, in tolerances.

On these flows, local errors of one tolerance per step add up to tens of tolerances. The error of a wrong law
is about 1e5 tolerances.
"""
ODE: dict[str, Any] = {
    "rtol": RTOL, "atol": RTOL, "limit": False, "t_certain": np.inf, "tolerance": TOLERANCE
}  # fmt: skip
"""Options with which a flow runs to the given times instead of stopping as soon as its limit is certain."""
Comparing = Callable[[int, int], Law]
"""A function that takes a number of starts and a seed, and compares a law with integration."""


def compare(
    law: str,
    stated: Array,
    integrated: Array,
    starts: Mapping[str, Array],
    again: Callable[[int], Array],
    *,
    unit: Array | None = None,
    limit: float = LIMIT,
    unit_name: str = "tolerances",
) -> Law:
    """Compare the values that a law states for B starts with values found by integration.

    Parameters
    ----------
    law : str
        Name of the law.
    stated : ndarray, shape (..., B)
        Values that the law states.
    integrated : ndarray, shape (..., B)
        Values found by integration.
    starts : Mapping[str, Array]
        Coordinates (B,) of the starts by name, as a counterexample lists them.
    again : Callable[[int], Array]
        Function that maps the index of a start to the values, of shape (...), that the independent solver
        finds.
    unit : ndarray, shape (..., B), or None
        The difference that counts as an error of 1. If None, RTOL (1 + |stated|).
    limit : float
        The largest error that does not contradict the law.
    unit_name : str
        The unit in words.

    Returns
    -------
    Law
        The largest error, and the start at which it occurs. If the error exceeds `limit`, `confirmed` tells
        whether the error found with the independent solver also exceeds `limit`.
    """

    def error(stated: Array, found: Array, unit: Array | None) -> Array:
        scale = RTOL * (1 + np.abs(stated)) if unit is None else unit
        return np.nan_to_num(np.abs(found - stated) / scale, nan=np.inf)

    each = error(stated, integrated, unit)
    each = each.reshape(-1, each.shape[-1]).max(axis=0)
    i = int(np.argmax(each))
    beyond = int(np.sum(each > limit))
    confirmed = None
    if beyond:
        own = None if unit is None else unit[..., i]
        confirmed = bool(np.max(error(stated[..., i], again(i), own)) > limit)
    worst = {name: float(values[i]) for name, values in starts.items()}
    return Law(
        law=law, starts=each.size, error=float(each[i]), unit=unit_name, limit=limit, beyond=beyond,
        worst=worst, confirmed=confirmed,
    )  # fmt: skip


def line_flows(starts: int, seed: int) -> Law:
    """Compare the closed form of the flow in one coordinate with integration, at any balance.

    Each statistic of the data has the population's value with probability 1/2, and a random value otherwise.
    """
    size, rng = starts, generator(seed)
    a, w = rng.standard_normal((2, size))
    data = [np.where(rng.random(size) < 0.5, value, drawn) for value, drawn in zip(
        Line(),
        (rng.uniform(0.2, 0.8, size), rng.normal(1, 0.2, size), rng.uniform(0.2, 0.8, size),
         rng.choice([-1, 1], size) * rng.uniform(0.05, 0.4, size)),
        strict=True,
    )]  # fmt: skip
    times = np.array([0.2, 0.5, 1.0, 2.0, 3.5, 5.0])
    c = (np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w))
    path = line.line_flow(
        a, w, c, Line(*data), times,
        **ODE,
    )[0]  # fmt: skip
    stated = np.stack(formulas_line.line_flow(a, w, times[:, None], *data))

    def again(i: int) -> Array:
        side = Line(*(float(value[i]) for value in data))
        return np.array([reference_solver.solve_line(a[i], w[i], side, t) for t in times]).T

    named = {"a0": a, "w1": w} | dict(zip(Line._fields, data, strict=True))
    return compare("flow in one coordinate", stated, path.transpose(2, 1, 0), named, again)


def balanced_flows(starts: int, seed: int) -> Law:
    """Compare the closed form of balanced population flows with integration, for d = 2, 10 and 1000."""
    times = np.array([0.2, 0.5, 1.0, 2.5, 5.0])
    first = _mixed_balanced(starts, seed)
    path = integrate(Population(2), first, t_eval=times, rtol=RTOL, method="ode").state
    assert isinstance(path, Reduced)
    stated = np.stack(balanced.balanced_flow(first.a, first.p, first.q, times[:, None]))

    def again(i: int) -> Array:
        return np.array(
            [reference_solver.solve_plane(first.a[i], first.p[i], first.q[i], t) for t in times]
        ).T

    integrated = np.stack([path.a, path.p, path.q])
    return compare("balanced population flow", stated, integrated, start_values(first), again)


def angle_curve(starts: int, seed: int) -> Law:
    """Compare the universal angle curve T(theta(t)) = T(theta(0)) + sign(a) t with integration."""
    times = np.array([1.0, 5.0])
    first = _mixed_balanced(starts, seed)
    stated, integrated = np.empty((2, 2, starts))
    for i in range(0, starts, 100_000):
        part = first[i : i + 100_000]
        path = integrate(Population(2), part, t_eval=times, rtol=RTOL, method="ode").state
        assert isinstance(path, Reduced)
        integrated[:, i : i + part.size] = -np.arcsinh(path.p / path.q)
        clock = balanced.angle_time_x(-np.arcsinh(part.p / part.q)) + np.sign(part.a) * times[:, None]
        stated[:, i : i + part.size] = balanced.universal_x(clock)

    def again(i: int) -> Array:
        ends = (reference_solver.solve_plane(first.a[i], first.p[i], first.q[i], t) for t in times)
        return np.array([-np.arcsinh(p / q) for _, p, q in ends])

    return compare("x = log tan(theta/2) on the curve", stated, integrated, start_values(first), again)


def limit_states(starts: int, seed: int) -> Law:
    """Compare the limit of population flows from a > 0 with integration, at any balance c.

    At the limit, theta = 0, a rho = 1 and a^2 = (c + sqrt(c^2 + 4))/2.
    """
    size, rng = starts, generator(seed)
    a, rho, theta = rng.uniform(0.5, 2, size), rng.uniform(0.7, 1.5, size), rng.uniform(0.1, 2.0, size)
    first = Reduced(a, rho * np.cos(theta), rho * np.sin(theta))
    end = integrate(Population(2), first, t_end=200.0, rtol=RTOL, method="ode").state
    assert isinstance(end, Reduced)
    limit = formulas_population.population_limit(balance(first))

    def again(i: int) -> Array:
        return np.array(reference_solver.solve_plane(first.a[i], first.p[i], first.q[i], 200.0))

    stated = np.stack([limit, 1 / limit, np.zeros(size)])
    return compare(
        "limit of the population flow", stated, np.stack([end.a, end.p, end.q]), start_values(first), again
    )


def _mixed_balanced(size: int, seed: int) -> Reduced:
    """Draw balanced starts, with d = 2, 10 and 1000 in turn."""
    parts = [balanced_starts(d, size, seed + i, reduced=True) for i, d in enumerate((2, 10, 1000))]
    which = np.arange(size) % 3
    a, p, q = (np.choose(which, [getattr(part, name) for part in parts]) for name in ("a", "p", "q"))
    return Reduced(a, p, q, np.zeros(size))


def start_values(starts: Reduced) -> dict[str, Array]:
    """Return the coordinates of the starts by name, as a counterexample lists them."""
    return {"a0": starts.a, "w1": starts.p, "q": starts.q}
