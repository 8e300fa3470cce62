"""The code computes what the derivations state."""

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp

from singleneuron.formulas import balanced as exact
from singleneuron.formulas import line as formulas_line
from singleneuron.formulas import population as formulas_population
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import angle_kernel
from singleneuron.problem.loss import gradient, loss
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.state import Reduced, State
from singleneuron.theory import Claims, Equation, balanced, escape, line, population

RNG = np.random.default_rng(3)
A, P = RNG.normal(size=(2, 200))
Q = np.abs(RNG.normal(size=200))


def stated(claims: Claims, index: int) -> sp.Expr:
    claim = claims[index]
    assert isinstance(claim, Equation)
    return claim.stated


def numeric(expression: sp.Expr, *symbols: sp.Symbol) -> Callable[..., Array]:
    function: Callable[..., Array] = sp.lambdify(symbols, expression, "numpy")
    return function


def test_angle_kernel() -> None:
    theta = np.linspace(0, np.pi, 101)
    stated = numeric(population.angle_kernel(population.theta), population.theta)
    np.testing.assert_allclose(angle_kernel(theta), stated(theta), rtol=0, atol=1e-15)


def test_population_loss_and_gradient() -> None:
    problem, states = Population(d=2), State(A, np.stack([P, Q], axis=-1))
    variables = population.a, population.p, population.q
    energy = numeric(population.loss().subs(population.POLAR), *variables)
    np.testing.assert_allclose(loss(problem, Reduced(A, P, Q)), energy(A, P, Q), rtol=1e-13, atol=1e-15)
    da, dw = gradient(problem, states)
    flow = population.plane_flow()
    for ours, variable in ((da, variables[0]), (dw[:, 0], variables[1]), (dw[:, 1], variables[2])):
        np.testing.assert_allclose(-ours, numeric(flow[variable], *variables)(A, P, Q), rtol=0, atol=1e-13)


def test_line_gradient() -> None:
    problem = Sample.draw(d=1, n=30, noise=0.5, seed=2)
    statistics = problem.statistics
    C, s = (
        np.where(P > 0, *pair)
        for pair in ((statistics.c_pos, statistics.c_neg), (statistics.s_pos, statistics.s_neg))
    )
    da, dw = gradient(problem, State(A, P[:, None]))
    for ours, variable in ((da, line.a), (dw[:, 0], line.w)):
        stated = numeric(line.FLOW[variable], line.a, line.w, line.C, line.s)
        np.testing.assert_allclose(-ours, stated(A, P, C, s), rtol=0, atol=1e-13)


@pytest.mark.parametrize("index", [-2, -1])
def test_crossing_time(index: int) -> None:
    """Both forms, from a > |w| > 0 > w with s > 0."""
    a, w, C, s = 0.5 + Q, -0.4 * Q, 0.7, 0.3
    c = a**2 - w**2
    R = np.sqrt(s**2 + c**2 / 4)
    kappa = c / (2 * R)
    given = {
        "z": (a + w) / (a - w),
        "Z": 2 * (s + R) / c,
        "m": np.sqrt((1 - kappa) / (1 + kappa)),
        "|a|": a,
        "|w|": -w,
        "c": c,
    }
    growth = stated(line.crossing_time(), index)
    symbols = sorted(growth.free_symbols, key=str)
    time = np.log1p(numeric(growth, *symbols)(*(given[str(x)] for x in symbols))) / (2 * C * R)
    ours = formulas_line.crossing_time(a, w, C, 1.0, C, s)
    np.testing.assert_allclose(ours, time, rtol=1e-12)


def test_angle_time_near_antiparallel() -> None:
    """The series that the tables join at small delta, up to its constant and the next order."""
    series = numeric(stated(balanced.series_near_antiparallel(), 0), balanced.delta)
    delta = np.array([0.02, 0.03, 0.04])
    ours = np.diff(exact.angle_time(np.pi - delta))
    np.testing.assert_allclose(ours, np.diff(series(delta)), rtol=1e-12)


def test_flip_time() -> None:
    z = np.array([1e-3, 1e-2])
    time = numeric(stated(balanced.flip_time(), 0), sp.Symbol("z", positive=True))(z)
    assert np.all(np.abs(-exact.angle_time(np.pi / 2 + z) - time) <= z**4)


@pytest.mark.parametrize(("a", "rho", "delta"), [(1.2, 1.0, 0.01), (0.8, 1.0, 0.01), (0.3, 1.0, 0.1)])
def test_escape_time(a: float, rho: float, delta: float) -> None:
    c = a**2 - rho**2
    if c > 0:
        up = sp.Symbol("a_0", positive=True)
        given = {up: a, escape.c: c, escape.rho0: rho, escape.delta0: delta}
        quantity = escape.fast_escape()[4].quantity  # 1/delta(time)
        time = float(quantity.args[0].args[0].subs(given))
    else:
        given = {escape.a0: a, escape.deficit: -c, escape.rho0: rho, escape.delta0: delta}
        stalled = float(1 / stated(escape.slow_escape(), 0).subs(given))
        quantity = escape.slow_escape()[5].quantity  # 1/delta(time)^4
        time = float(quantity.args[0].args[0].subs({escape.deficit: -c, escape.delta1: stalled}))
    np.testing.assert_allclose(formulas_population.escape_time(a, rho, delta), time, rtol=1e-12)
