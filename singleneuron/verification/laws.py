"""Laws against integration: what a formula states for random starts, and what the ODE gives there.

Each comparison takes a number of starts and a seed, and reports the largest error in units of the tolerance
asked of the integrator, or of what the law leaves out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from singleneuron.flows import line, population
from singleneuron.flows.integrate import integrate
from singleneuron.formulas import balanced
from singleneuron.formulas import line as formulas_line
from singleneuron.formulas import population as formulas_population
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, Population
from singleneuron.problem.starts import balanced_starts
from singleneuron.problem.state import Reduced, balance, start_balance
from singleneuron.problem.status import TOLERANCE
from singleneuron.verification import reference_solver

RTOL = 1e-8
LIMIT = 100.0
"""Local errors of one tolerance a step add up to tens of them on these flows; a wrong law is off by 1e5."""


@dataclass(frozen=True)
class Comparison:
    """A law held against integration from `starts` starts.

    error : the largest |stated - integrated| in `unit`s. beyond : starts where it exceeds `limit`. worst :
    the start with the largest. confirmed : whether the independent solver finds the law broken there too;
    None where nothing is beyond the limit.
    """

    law: str
    starts: int
    error: float
    unit: str
    limit: float
    beyond: int
    worst: dict[str, float]
    confirmed: bool | None


_ODE: dict[str, Any] = {
    "rtol": RTOL, "atol": RTOL, "limit": False, "t_certain": np.inf, "tolerance": TOLERANCE
}  # fmt: skip
Comparing = Callable[[int, int], Comparison]


def _compare(
    law: str,
    stated: Array,
    integrated: Array,
    starts: Mapping[str, Array],
    again: Callable[[int], Array],
    *,
    unit: Array | None = None,
    limit: float = LIMIT,
    unit_name: str = "tolerances",
) -> Comparison:
    """Compare arrays (..., B); `again(i)` is what the independent solver gives for start i, shape (...)."""

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
    return Comparison(law, each.size, float(each[i]), unit_name, limit, beyond, worst, confirmed)


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def line_flows(starts: int, seed: int) -> Comparison:
    """One coordinate, any balance: the closed form at six times, half of each statistic the population's."""
    size, rng = starts, _rng(seed)
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
        **_ODE,
    )[0]  # fmt: skip
    stated = np.stack(formulas_line.line_flow(a, w, times[:, None], *data))

    def again(i: int) -> Array:
        side = Line(*(float(value[i]) for value in data))
        return np.array([reference_solver.line(a[i], w[i], side, t) for t in times]).T

    named = {"a0": a, "w1": w} | dict(zip(Line._fields, data, strict=True))
    return _compare("flow in one coordinate", stated, path.transpose(2, 1, 0), named, again)


def balanced_flows(starts: int, seed: int) -> Comparison:
    """Balanced population flows in d = 2, 10 and 1000: (a, p, q) of the closed form at five times."""
    times = np.array([0.2, 0.5, 1.0, 2.5, 5.0])
    first = _mixed_balanced(starts, seed)
    path = integrate(Population(2), first, t_eval=times, rtol=RTOL, method="ode").state
    assert isinstance(path, Reduced)
    stated = np.stack(balanced.balanced_flow(first.a, first.p, first.q, times[:, None]))

    def again(i: int) -> Array:
        return np.array([reference_solver.plane(first.a[i], first.p[i], first.q[i], t) for t in times]).T

    integrated = np.stack([path.a, path.p, path.q])
    return _compare("balanced population flow", stated, integrated, _named(first), again)


def angle_curve(starts: int, seed: int) -> Comparison:
    """The universal angle curve: T(theta(t)) = T(theta(0)) +- t, for the sign of a, in d = 2, 10 and 1000."""
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
        ends = (reference_solver.plane(first.a[i], first.p[i], first.q[i], t) for t in times)
        return np.array([-np.arcsinh(p / q) for _, p, q in ends])

    return _compare("x = log tan(theta/2) on the curve", stated, integrated, _named(first), again)


def limit_states(starts: int, seed: int) -> Comparison:
    """The limit of unbalanced population flows: a^2 = (c + sqrt(c^2 + 4))/2, a rho = 1, theta = 0."""
    size, rng = starts, _rng(seed)
    a, rho, theta = rng.uniform(0.5, 2, size), rng.uniform(0.7, 1.5, size), rng.uniform(0.1, 2.0, size)
    first = Reduced(a, rho * np.cos(theta), rho * np.sin(theta))
    end = integrate(Population(2), first, t_end=200.0, rtol=RTOL, method="ode").state
    assert isinstance(end, Reduced)
    limit = formulas_population.population_limit(balance(first))

    def again(i: int) -> Array:
        return np.array(reference_solver.plane(first.a[i], first.p[i], first.q[i], 200.0))

    stated = np.stack([limit, 1 / limit, np.zeros(size)])
    return _compare(
        "limit of the population flow", stated, np.stack([end.a, end.p, end.q]), _named(first), again
    )


def flip_times(starts: int, seed: int) -> Comparison:
    """w_1 changes sign at 4 z + (4/pi) z^2 + (2/3 + 16/(3 pi^2)) z^3, up to 2 z^4, z = theta(0) - pi/2."""
    size, rng = starts, _rng(seed)
    z = np.exp(rng.uniform(np.log(0.02), np.log(0.4), size))
    norm = rng.uniform(0.5, 2.0, size)
    first = Reduced(norm, -norm * np.sin(z), norm * np.cos(z), np.zeros(size))
    found = _turning_times(first, np.linspace(0, 2.2, 221))
    series = 4 * z + 4 * z**2 / np.pi + (2 / 3 + 16 / (3 * np.pi**2)) * z**3

    def again(i: int) -> Array:
        return np.array(reference_solver.turning_time(first.a[i], first.p[i], first.q[i], 10.0))

    return _compare(
        "time to the sign flip",
        series,
        found,
        _named(first),
        again,
        unit=2 * z**4,
        limit=1.0,
        unit_name="2 z^4",
    )


def wedge_times(starts: int, seed: int) -> Comparison:
    """Label noise alone drives w from w_0 < 0 to 0: the crossing time, s_neg from 1e-3 to 1.

    The rate C of each start is its crossing time at C = 1, so that all are stated to cross at t = 1: w there.
    """
    rng = _rng(seed)
    w, slope = -rng.uniform(0.05, 1, starts), 10 ** rng.uniform(-3, 0, starts)
    a = -w * (1 + 10 ** rng.uniform(-2, 0.5, starts))
    rate = formulas_line.crossing_time(a, w, c_neg=1.0, s_neg=slope)
    data = Line(rate, np.ones(starts), rate, slope)
    c = (a - np.abs(w)) * (a + np.abs(w))
    end = line.line_flow(a, w, c, data, np.array([1.0]), **_ODE)[1]

    def again(i: int) -> Array:
        side = Line(float(rate[i]), 1.0, float(rate[i]), float(slope[i]))
        return np.array(reference_solver.line(float(a[i]), float(w[i]), side, 1.0)[1])

    unit = np.full(starts, RTOL)
    named = {"a0": a, "w1": w, "s_neg": slope, "c_neg": rate}
    return _compare("w at the crossing time", np.zeros(starts), end[:, 1], named, again, unit=unit)


def wedge_logarithm(starts: int, seed: int) -> Comparison:
    """For s_neg << c the crossing comes at log(c |w_0|/(a_0 s_neg))/(C c).

    Up to 3 (s_neg/c)(1 + a_0/|w_0|) in units of 1/(C c). The rate C makes the stated time 1; with s_pos =
    s_neg w runs on, so that w(1)/(a s_neg) is what is missing.
    """
    size, rng = starts, _rng(seed)
    w = -rng.uniform(0.2, 1, size)
    a = -w * rng.uniform(1.2, 3, size)
    c = (a - np.abs(w)) * (a + np.abs(w))
    slope = c * 10 ** rng.uniform(-3, -1.5, size)
    rate = np.log(c * np.abs(w) / (a * slope)) / c
    end = line.line_flow(a, w, c, Line(rate, slope, rate, slope), np.array([1.0]), **_ODE)[1]

    def missing(w: Array, i: int | slice = slice(None)) -> Array:
        return w * np.sqrt(c[i]) / slope[i]

    def again(i: int) -> Array:
        side = Line(*(float(value[i]) for value in (rate, slope, rate, slope)))
        return missing(np.array(reference_solver.line(float(a[i]), float(w[i]), side, 1.0)[1]), i)

    unit = 3 * slope / c * (1 + a / np.abs(w))
    named = {"a0": a, "w1": w, "s_neg": slope, "c_neg": rate}
    return _compare(
        "logarithm of the crossing time", np.zeros(size), missing(end[:, 1]), named, again,
        unit=unit, limit=1.0, unit_name="3 (s_neg/c)(1 + a_0/|w_0|)",
    )  # fmt: skip


def escape_times(starts: int, seed: int) -> Comparison:
    """The time from delta = pi - theta to pi/2, at any balance: relative error of the leading order <= delta.

    Starts with a_0 delta_0 within a factor 3 of pi |c| rho_0 < 0, where the two branches meet, are left out.
    """
    size, rng = starts, _rng(seed)
    delta = 10 ** rng.uniform(-3, -1, size)
    norm, branch = rng.uniform(0.5, 1.2, size), np.arange(size) % 4
    excess = np.select(
        [branch == 0, branch == 1, branch == 2],
        [rng.uniform(0.05, 1, size), 0.0, -delta / (2 * np.pi * norm**2) * rng.uniform(0.1, 1 / 3, size)],
        -1.0,
    )
    a = norm * (1 + excess)
    # The slow manifold: a_0 about 0, and delta not so small that it takes for ever.
    slow = branch == 3
    delta = np.where(slow, rng.uniform(0.1, 0.2, size), delta)
    a = np.where(slow, rng.uniform(-0.2, 0.2, size), a)
    c = np.where(branch == 1, 0.0, (a - norm) * (a + norm))
    first = Reduced(a, -norm * np.cos(delta), norm * np.sin(delta), c)
    stated = formulas_population.escape_time(a, norm, delta)
    window = np.append(0.0, np.linspace(0.7, 1.3, 301))
    found = np.concatenate([_turning_times(first[[i]], window * stated[i]) for i in range(size)])

    def again(i: int) -> Array:
        return np.array(reference_solver.turning_time(first.a[i], first.p[i], first.q[i], 2 * stated[i]))

    return _compare(
        "escape time", stated, found, _named(first), again,
        unit=delta * stated, limit=1.0, unit_name="delta * time",
    )  # fmt: skip


COST: dict[Comparing, int] = {
    line_flows: 50,
    balanced_flows: 50,
    wedge_logarithm: 50,
    limit_states: 200,
    flip_times: 500,
    escape_times: 10_000,
}
"""Starts of a sweep that take about as long as one of a comparison; of the others: one."""
LEAST = 100


def starts(comparison: Comparing, runs: int) -> int:
    """How many starts a comparison takes beside a sweep of `runs`."""
    return max(runs // COST.get(comparison, 1), min(runs, LEAST))


def _mixed_balanced(size: int, seed: int) -> Reduced:
    """Balanced starts of d = 2, 10 and 1000 in turn."""
    parts = [balanced_starts(d, size, seed + i, reduced=True) for i, d in enumerate((2, 10, 1000))]
    which = np.arange(size) % 3
    a, p, q = (np.choose(which, [getattr(part, name) for part in parts]) for name in ("a", "p", "q"))
    return Reduced(a, p, q, np.zeros(size))


def _named(starts: Reduced) -> dict[str, Array]:
    return {"a0": starts.a, "w1": starts.p, "q": starts.q}


def _turning_times(first: Reduced, times: Array) -> Array:
    """When x = log tan(theta/2) falls through 0: inverse cubic interpolation between `times`."""
    start = population.log_coordinates(first)
    path = population.population_flow(start, np.ones(first.size), start_balance(first), times, **_ODE)[0]
    y = path.transpose(1, 0, 2)
    x = y[..., 2]
    k, i = np.argmax(x <= 0, axis=0) - 1, np.arange(first.size)
    x0, x1 = x[k, i], x[k + 1, i]
    with np.errstate(all="ignore"):  # of starts that do not turn
        m0, m1 = (
            -np.pi * np.exp(y[j, i, 1]) / (y[j, i, 0] * np.arctan(np.exp(-x[j, i]))) for j in (k, k + 1)
        )  # dt/dx
    s = x0 / (x0 - x1)
    step = x1 - x0
    value = (
        (1 + 2 * s) * (1 - s) ** 2 * times[k]
        + s * (1 - s) ** 2 * step * m0
        + s**2 * (3 - 2 * s) * times[k + 1]
        + s**2 * (s - 1) * step * m1
    )
    return np.where((k >= 0) & (x1 <= 0), value, np.inf)
