"""Compare three laws for times with integration.

The laws give the time at which w_1 changes sign, the time at which w reaches 0 in one coordinate, and the
time in which a flow that starts near theta = pi turns to theta = pi/2.
"""

import numpy as np

from signflow.verdicts import Law
from singleneuron.flows import line, population
from singleneuron.formulas import line as formulas_line
from singleneuron.formulas import population as formulas_population
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.seeds import generator
from singleneuron.problem.state import Reduced, start_balance
from singleneuron.verification import reference_solver
from singleneuron.verification.laws import ODE, RTOL, compare, start_values


def flip_times(starts: int, seed: int) -> Law:
    """Compare integration with a series for the time at which w_1 changes sign.

    The starts are balanced and have a > 0. With z = theta(0) - pi/2 the series is
    4 z + (4/pi) z^2 + (2/3 + 16/(3 pi^2)) z^3, and its error is at most 2 z^4.
    """
    size, rng = starts, generator(seed)
    z = np.exp(rng.uniform(np.log(0.02), np.log(0.4), size))
    norm = rng.uniform(0.5, 2.0, size)
    first = Reduced(norm, -norm * np.sin(z), norm * np.cos(z), np.zeros(size))
    found = _turning_times(first, np.linspace(0, 2.2, 221))
    series = 4 * z + 4 * z**2 / np.pi + (2 / 3 + 16 / (3 * np.pi**2)) * z**3

    def again(i: int) -> Array:
        return np.array(reference_solver.turning_time(first.a[i], first.p[i], first.q[i], 10.0))

    return compare(
        "time to the sign flip",
        series,
        found,
        start_values(first),
        again,
        unit=2 * z**4,
        limit=1.0,
        unit_name="2 z^4",
    )


def wedge_times(starts: int, seed: int) -> Law:
    """Compare integration with the closed form of the time at which w, starting from w_0 < 0, reaches 0.

    The slope s_neg > 0, which only label noise can cause, drives w upwards. It is drawn between 1e-3 and 1.
    The crossing time is proportional to 1/C, where C is `c_neg`. For each start, C is set to the time that
    the closed form gives for C = 1. The law then states that every start crosses at t = 1, and the error is
    the value of w at that time.
    """
    rng = generator(seed)
    w, slope = -rng.uniform(0.05, 1, starts), 10 ** rng.uniform(-3, 0, starts)
    a = -w * (1 + 10 ** rng.uniform(-2, 0.5, starts))
    rate = formulas_line.crossing_time(a, w, c_neg=1.0, s_neg=slope)
    data = Line(rate, np.ones(starts), rate, slope)
    c = (a - np.abs(w)) * (a + np.abs(w))
    end = line.line_flow(a, w, c, data, np.array([1.0]), **ODE)[1]

    def again(i: int) -> Array:
        side = Line(float(rate[i]), 1.0, float(rate[i]), float(slope[i]))
        return np.array(reference_solver.solve_line(float(a[i]), float(w[i]), side, 1.0)[1])

    unit = np.full(starts, RTOL)
    named = {"a0": a, "w1": w, "s_neg": slope, "c_neg": rate}
    return compare("w at the crossing time", np.zeros(starts), end[:, 1], named, again, unit=unit)


def wedge_logarithm(starts: int, seed: int) -> Law:
    """Compare integration with the leading order of the time at which w crosses 0, for s_neg << c.

    The leading order is log(c |w_0|/(a_0 s_neg))/(C c), where c = a_0^2 - w_0^2 and C is `c_neg`. Its error
    is at most 3 (s_neg/c)(1 + a_0/|w_0|), in units of 1/(C c). The rate C of each start is chosen so that the
    stated time is 1. Since s_pos = s_neg, w keeps its speed C a s_neg as it crosses 0, where a = sqrt(c).
    Therefore w(1) sqrt(c)/s_neg is the error in the same units.
    """
    size, rng = starts, generator(seed)
    w = -rng.uniform(0.2, 1, size)
    a = -w * rng.uniform(1.2, 3, size)
    c = (a - np.abs(w)) * (a + np.abs(w))
    slope = c * 10 ** rng.uniform(-3, -1.5, size)
    rate = np.log(c * np.abs(w) / (a * slope)) / c
    end = line.line_flow(a, w, c, Line(rate, slope, rate, slope), np.array([1.0]), **ODE)[1]

    def missing(w: Array, i: int | slice = slice(None)) -> Array:
        return w * np.sqrt(c[i]) / slope[i]

    def again(i: int) -> Array:
        side = Line(*(float(value[i]) for value in (rate, slope, rate, slope)))
        return missing(np.array(reference_solver.solve_line(float(a[i]), float(w[i]), side, 1.0)[1]), i)

    unit = 3 * slope / c * (1 + a / np.abs(w))
    named = {"a0": a, "w1": w, "s_neg": slope, "c_neg": rate}
    return compare(
        "logarithm of the crossing time", np.zeros(size), missing(end[:, 1]), named, again,
        unit=unit, limit=1.0, unit_name="3 (s_neg/c)(1 + a_0/|w_0|)",
    )  # fmt: skip


def escape_times(starts: int, seed: int) -> Law:
    """Compare integration with the leading order of the escape time, at any balance c.

    The escape time is the time in which delta = pi - theta grows from delta_0 to pi/2. The relative error of
    its leading order is at most delta_0. For c < 0, the formula has one branch for
    a_0 delta_0 > pi |c| rho_0 and another branch for smaller a_0 delta_0. Starts at which a_0 delta_0 and
    pi |c| rho_0 differ by less than a factor of 3 are excluded.
    """
    size, rng = starts, generator(seed)
    delta = 10 ** rng.uniform(-3, -1, size)
    norm, branch = rng.uniform(0.5, 1.2, size), np.arange(size) % 4
    excess = np.select(
        [branch == 0, branch == 1, branch == 2],
        [rng.uniform(0.05, 1, size), 0.0, -delta / (2 * np.pi * norm**2) * rng.uniform(0.1, 1 / 3, size)],
        -1.0,
    )
    a = norm * (1 + excess)
    # On the slow manifold a_0 is about 0. The escape time grows like 1/delta^4, so delta must not be small.
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

    return compare(
        "escape time", stated, found, start_values(first), again,
        unit=delta * stated, limit=1.0, unit_name="delta * time",
    )  # fmt: skip


def _turning_times(first: Reduced, times: Array) -> Array:
    """Return the time at which x = log tan(theta/2) falls to 0 for each start.

    The flow is evaluated at `times`, and t(x) is interpolated by cubic polynomials in between. The result is
    inf for a start whose x is still positive at the last of `times`.
    """
    start = population.log_coordinates(first)
    path = population.population_flow(start, np.ones(first.size), start_balance(first), times, **ODE)[0]
    y = path.transpose(1, 0, 2)
    x = y[..., 2]
    k, i = np.argmax(x <= 0, axis=0) - 1, np.arange(first.size)
    x0, x1 = x[k, i], x[k + 1, i]
    with np.errstate(all="ignore"):  # may divide by 0 for a start whose x stays positive
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
