"""Weights w nearly antiparallel to the target: how long they take to turn, and how a neuron dies.

To leading order in delta = pi - theta, the exact flow becomes a reduced system, which is solved exactly.
All results of this module are beyond the paper.
"""

import sympy as sp

from singleneuron.theory.claims import Claims, Equation, Inequality
from singleneuron.theory.definitions import Flow, Rate, rate, t
from singleneuron.theory.population import a, angle_kernel, kernel_slope, polar_flow, rho, theta

delta = sp.Symbol("delta", positive=True)
c = sp.Symbol("c", real=True)
a0 = sp.Symbol("a_0", real=True)
rho0, delta0, delta1, deficit = sp.symbols("rho_0 delta_0 delta_1 |c|", positive=True)


def near_flow() -> Flow:
    """Derive the exact flow of (a, rho, delta), where delta = pi - theta."""
    polar = polar_flow(angle_kernel(theta), kernel_slope(theta))
    flow = {name: speed.subs(theta, sp.pi - delta) for name, speed in polar.items()}
    flow[delta] = -flow.pop(theta)
    return flow


def leading_order() -> Claims:
    """As delta -> 0, delta' ~ a delta^2/(2 pi rho), k ~ delta^3/(6 pi) and (log(a/rho))' = c/2 + O(k)."""
    flow = near_flow()
    drift = rate(sp.log(a / rho), flow)
    k = angle_kernel(sp.pi - delta)
    return (
        Equation(Rate(delta) / delta**2, a / (2 * sp.pi * rho), sp.limit(flow[delta] / delta**2, delta, 0)),
        Equation(
            sp.Function("k")(sp.pi - delta) / delta**3, 1 / (6 * sp.pi), sp.limit(k / delta**3, delta, 0)
        ),
        Equation(Rate(sp.log(a / rho)), (a**2 - rho**2) / 2 + (rho / a - a / rho) * k, drift),
    )


def _fast_phase() -> tuple[sp.Expr, sp.Expr]:
    """Return a/rho and 1/delta at time t, in the reduced system that neglects k, for c != 0."""
    ratio = a0 / rho0 * sp.exp(c * t / 2)
    return ratio, 1 / delta0 - a0 / (sp.pi * c * rho0) * (sp.exp(c * t / 2) - 1)


def fast_escape() -> Claims:
    """If a/rho = (a_0/rho_0) e^(ct/2), then 1/delta reaches 0 at t = (2/c) log(1 + pi c rho_0/(a_0 delta_0)).

    The logarithm exists if a_0 > 0 and either c > 0 or a_0 delta_0 > pi |c| rho_0. As c -> 0, the time tends
    to 2 pi rho_0/(a_0 delta_0). For balanced starts, a_0 = rho_0 and this is 2 pi/delta_0, the leading order
    of the universal angle curve.
    """
    ratio, inverse = _fast_phase()
    up = sp.Symbol("a_0", positive=True)
    time = 2 / c * sp.log(1 + sp.pi * c * rho0 / (up * delta0))
    return (
        Equation(Rate(sp.log(a / rho)), c / 2, sp.diff(sp.log(ratio), t)),
        Equation(
            Rate(1 / delta) + a / rho / (2 * sp.pi), sp.Integer(0), sp.diff(inverse, t) + ratio / (2 * sp.pi)
        ),
        Equation(sp.Function("a")(0) / sp.Function("rho")(0), a0 / rho0, ratio.subs(t, 0)),
        Equation(1 / sp.Function("delta")(0), 1 / delta0, inverse.subs(t, 0)),
        Equation(1 / sp.Function("delta")(time), sp.Integer(0), inverse.subs(a0, up).subs(t, time)),
        Equation(sp.Limit(time, c, 0), 2 * sp.pi * rho0 / (up * delta0), sp.limit(time, c, 0)),
    )


def slow_escape() -> Claims:
    """If c < 0 and a_0 delta_0 < pi |c| rho_0, then delta first stalls at delta_1 and later grows slowly.

    Here 1/delta_1 = 1/delta_0 - a_0/(pi |c| rho_0). After the stall, the flow follows a slow manifold, on
    which rho^2 = |c| and a = 2k/rho, so that a' = 0. There delta' = delta^5/(6 pi^2 |c|), so the escape takes
    the time (3 pi^2/2) |c|/delta_1^4.
    """
    _, inverse = _fast_phase()
    stalled = sp.limit(inverse.subs(c, -deficit), t, sp.oo)
    flow = near_flow()
    balance_point = sp.solve(flow[a], a)[0]
    creep = flow[delta].subs(a, balance_point).subs(rho, sp.sqrt(deficit))
    quartic = 1 / delta1**4 - 2 * t / (3 * sp.pi**2 * deficit)  # 1/delta^4
    time = 3 * sp.pi**2 / 2 * deficit / delta1**4
    path, law = quartic ** sp.Rational(-1, 4), delta**5 / (6 * sp.pi**2 * deficit)
    return (
        Equation(1 / delta1, 1 / delta0 - a0 / (sp.pi * deficit * rho0), stalled),
        Equation(a, 2 * angle_kernel(sp.pi - delta) / rho, balance_point),
        Equation(Rate(delta) / delta**5, law / delta**5, sp.limit(creep / delta**5, delta, 0)),
        Equation(Rate(delta) - law, sp.Integer(0), sp.diff(path, t) - law.subs(delta, path)),
        Equation(sp.Function("delta")(0), delta1, path.subs(t, 0)),
        Equation(1 / sp.Function("delta")(time) ** 4, sp.Integer(0), quartic.subs(t, time)),
    )


def sign_change_of_a() -> Claims:
    """If a < 0 and c < 0, then a crosses 0 in finite time.

    Let m = -a. Since m' < -|c| m/2 and x' < m/(2 sqrt|c|), m decays exponentially, and x = log tan(theta/2)
    rises by a bounded amount. Hence k has a positive lower bound. Since m' < -sqrt|c| k, m reaches 0. If
    rho^2 were |c| and k were constant, m would reach 0 after the time (2/|c|) log(1 + sqrt|c| m_0/(2 k)).
    """
    m, k, m0 = sp.symbols("m k m_0", positive=True)
    polar = polar_flow(k, kernel_slope(theta))
    norm = sp.sqrt(m**2 + deficit)
    fall = -polar[a].subs(a, -m)
    # delta = pi/(1 + e) with e > 0 ranges over (0, pi).
    e = sp.Symbol("e", positive=True)
    turn = (polar[theta] / sp.sin(theta)).subs({a: -m, theta: sp.pi - sp.pi / (1 + e)})
    ahead, excess = m / (2 * sp.sqrt(deficit)), m**2 / (norm * (norm + sp.sqrt(deficit)))
    frozen = fall.subs(rho**2, deficit).subs(rho, sp.sqrt(deficit))
    path = (m0 + 2 * k / sp.sqrt(deficit)) * sp.exp(-deficit * t / 2) - 2 * k / sp.sqrt(deficit)
    time = 2 / deficit * sp.log(1 + sp.sqrt(deficit) * m0 / (2 * k))
    return (
        Inequality(
            Rate(m) + deficit * m / 2,
            sp.Lt,
            -(m**3) / 2 - norm * k,
            (fall + deficit * m / 2).subs(rho, norm),
        ),
        Inequality(
            ahead - Rate(sp.Symbol("x")),
            sp.Gt,
            ahead * (e + excess) / (1 + e),
            (ahead - turn).subs(rho, norm),
        ),
        Equation(Rate(m) - frozen, sp.Integer(0), sp.diff(path, t) - frozen.subs(m, path)),
        Equation(sp.Function("m")(0), m0, path.subs(t, 0)),
        Equation(sp.Function("m")(time), sp.Integer(0), path.subs(t, time)),
    )


def death() -> Claims:
    """If a < 0 < c, then a tends to -sqrt(c), rho decays like e^(-ct/2), and delta/rho tends to pi sqrt(c).

    To leading order in rho and delta, A = |a| is constant, (log rho)' = -A^2/2, and r = delta/rho obeys the
    logistic equation r' = (A^2/2) r (1 - r/(pi A)).
    """
    A, ratio = sp.symbols("A r", positive=True)
    flow = near_flow()
    small = sp.Symbol("epsilon", positive=True)
    shrink = {a: -A, rho: small, delta: ratio * small}
    speeds = {name: speed.subs(shrink, simultaneous=True) for name, speed in flow.items()}
    growth = (speeds[delta] / small - ratio * speeds[rho] / small).expand()
    return (
        Equation(Rate(sp.log(rho)), -(A**2) / 2, sp.limit(speeds[rho] / small, small, 0)),
        Equation(Rate(a), sp.Integer(0), sp.limit(speeds[a], small, 0)),
        Equation(Rate(ratio), A**2 / 2 * ratio * (1 - ratio / (sp.pi * A)), sp.limit(growth, small, 0)),
    )
