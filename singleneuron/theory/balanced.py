"""Balanced population flows in d > 1 (Lemma 2.2): one universal angle curve, and the norm along it.

In this module a = sign * rho, where sign is +1 or -1. All results are beyond the paper.
"""

import sympy as sp

from singleneuron.theory.claims import Claims, Equation
from singleneuron.theory.definitions import Flow, Rate, rate, t
from singleneuron.theory.population import a, angle_kernel, kernel_slope, polar_flow, rho, theta

u, delta, x = sp.symbols("u delta x", positive=True)
phi = sp.Symbol("phi", positive=True)
SIGNS_OF_A = (1, -1)


def angle_time(theta: sp.Expr) -> sp.Expr:
    """Return T(theta) = 2 pi int_theta^(pi/2) dphi / ((pi - phi) sin phi)."""
    return 2 * sp.pi * sp.Integral(1 / ((sp.pi - phi) * sp.sin(phi)), (phi, theta, sp.pi / 2))


def integrating_factor(theta: sp.Expr) -> sp.Expr:
    """Return E(theta) = ((pi - theta) / sin theta)^2."""
    return ((sp.pi - theta) / sp.sin(theta)) ** 2


def balanced_flow(sign: int) -> Flow:
    """Derive the flow of theta and u = rho^2 for a = `sign` * rho."""
    polar = polar_flow(angle_kernel(theta), kernel_slope(theta))
    return {
        theta: polar[theta].subs(a, sign * rho),
        u: (2 * rho * polar[rho]).subs(a, sign * rho).subs(rho, sp.sqrt(u)),
    }


def angle_equation() -> Claims:
    """If a = +-rho, then theta' = +-k'(theta) and T(theta)' = +-1, for any norm and any d.

    So all flows lie on one curve: theta(t) = Theta(T(theta_0) +- t), where Theta is the inverse of T. Here +-
    stands for the sign of a.
    """
    claims = [
        Equation(
            sp.Derivative(sp.Function("T")(theta), theta),
            -2 * sp.pi / ((sp.pi - theta) * sp.sin(theta)),
            sp.diff(angle_time(theta), theta),
        ),
        Equation(sp.Function("T")(sp.pi / 2), sp.Integer(0), angle_time(sp.pi / 2).doit()),
    ]
    for sign in SIGNS_OF_A:
        flow = balanced_flow(sign)
        claims += [
            Equation(Rate(theta), sign * kernel_slope(theta), flow[theta]),
            Equation(Rate(sp.Function("T")(theta)), sp.Integer(sign), rate(angle_time(theta), flow)),
        ]
    return tuple(claims)


def bernoulli_equation() -> Claims:
    """If a = +-rho, then u = rho^2 obeys the Bernoulli equation u' = +-2 u k(theta) - u^2.

    Its integrating factor is E(theta) = ((pi - theta)/sin theta)^2. Since E' = +-2 k E along the flow, E/u
    obeys (E/u)' = E.
    """
    claims = []
    E = integrating_factor(theta)
    for sign in SIGNS_OF_A:
        flow = balanced_flow(sign)
        claims += [
            Equation(Rate(u), sign * 2 * u * angle_kernel(theta) - u**2, flow[u]),
            Equation(
                Rate(sp.log(sp.Function("E")(theta))), sign * 2 * angle_kernel(theta), rate(sp.log(E), flow)
            ),
            Equation(Rate(sp.Function("E")(theta) / u), E, rate(E / u, flow)),
        ]
    return tuple(claims)


def bernoulli_solution() -> Claims:
    """For either sign of a, 1/u(t) = (E(theta_0)/u_0 + int_0^t E(theta) dt') / E(theta(t)).

    If K is defined by e^K = E(theta(t))/E(theta_0), the right-hand side is e^(-K) (1/u_0 + int_0^t e^K dt').
    For a > 0, K increases with t; for a < 0, it decreases.
    """
    u0, E0 = sp.symbols("u_0 E_0", positive=True)
    time, path = sp.Symbol("t'", nonnegative=True), sp.Function("theta", positive=True)
    gained = sp.Integral(integrating_factor(path(time)), (time, 0, t))
    solution = integrating_factor(path(t)) / (E0 / u0 + gained)
    claims = []
    for sign in SIGNS_OF_A:
        law = sign * 2 * u * angle_kernel(path(t)) - u**2
        speed = sp.diff(solution, t).subs(sp.diff(path(t), t), sign * kernel_slope(path(t)))
        claims.append(Equation(Rate(u) - law, sp.Integer(0), speed - law.subs(u, solution)))
    start = solution.subs(t, 0).doit().subs(integrating_factor(path(0)), E0)
    return (*claims, Equation(sp.Function("u")(0), u0, start))


def flip_time() -> Claims:
    """From theta_0 = pi/2 + z, w_1 turns positive at t = 4z + 4z^2/pi + (2/3 + 16/(3 pi^2)) z^3 + ...

    This holds for balanced flows with a > 0. The time is -T(theta_0), and theta' = -1/4 at pi/2. For random
    directions, z is approximately N(0, 1/d), so the sign flips earlier if d is larger.
    """
    z = sp.Symbol("z", positive=True)
    speed = -sp.diff(angle_time(theta), theta).subs(theta, sp.pi / 2 + z)
    time = sp.integrate(sp.series(speed, z, 0, 3).removeO(), z)
    stated = 4 * z + 4 * z**2 / sp.pi + (sp.Rational(2, 3) + 16 / (3 * sp.pi**2)) * z**3
    return (
        Equation(-sp.Function("T")(sp.pi / 2 + z), stated, time),
        Equation(Rate(theta), -sp.Rational(1, 4), balanced_flow(1)[theta].subs(theta, sp.pi / 2)),
    )


def _time_near_pi(order: int) -> sp.Expr:
    """Expand T in delta = pi - theta, without the constant, from dT/d delta up to delta^(`order` - 1)."""
    speed = -sp.diff(angle_time(theta), theta).subs(theta, sp.pi - delta)  # dT/d delta
    return sp.integrate(sp.expand(sp.series(speed, delta, 0, order).removeO()), delta)


def _growth_near_pi(order: int) -> sp.Expr:
    """Expand int_0^delta (E - 1) dT in delta, from the series of E up to delta^(`order` - 1)."""
    E = sp.series((delta / sp.sin(delta)) ** 2, delta, 0, order).removeO()
    speed = sp.diff(_time_near_pi(order), delta)
    return sp.integrate(sp.expand((E - 1) * speed), delta)


def series_near_antiparallel() -> Claims:
    """As delta = pi - theta -> 0, T = const - 2 pi/delta + 2 pi (delta/6 + 7 delta^3/1080 + ...).

    With p = 2 pi/(const - T), the inverse of this series is
    x = log tan(theta/2) = log(2/p) + p^2/12 - 53 p^4/4320 + ..., and the growth of the norm is
    h = (1/E) int_0^delta (E - 1) dT = 2 pi delta (1/3 - 19 delta^2/270 + ...), with E from
    `bernoulli_equation`.
    """
    p = sp.Symbol("p", positive=True)
    odd = delta / 6 + 7 * delta**3 / 1080 + 31 * delta**5 / 75600 + 127 * delta**7 / 4233600
    time = _time_near_pi(8)
    pole = sp.series(-2 * sp.pi / time, delta, 0, 9).removeO()
    inverse = p**2 / 12 - 53 * p**4 / 4320 + 1291 * p**6 / 453600
    # x = -log tan(delta/2)
    smooth = sp.series(sp.log(sp.tan(delta / 2) / (delta / 2)), delta, 0, 8).removeO()
    there = sp.series(inverse.subs(p, pole), delta, 0, 8).removeO()
    log_pole = sp.series(sp.log(sp.expand(pole / delta)), delta, 0, 8).removeO()
    h = sp.series(_growth_near_pi(10) * (sp.sin(delta) / delta) ** 2, delta, 0, 9).removeO()
    falling = sp.Rational(1, 3) - 19 * delta**2 / 270 + 779 * delta**4 / 113400 - 1807 * delta**6 / 4762800
    return (
        Equation(sp.Symbol("T - const"), 2 * sp.pi * (odd - 1 / delta), time),
        Equation(sp.Symbol("x - log(2/p)"), there, log_pole - smooth),
        Equation(sp.Symbol("h"), 2 * sp.pi * delta * falling, h),
    )


def series_near_target() -> Claims:
    """As x = log tan(theta/2) -> -infinity, T = const - 2x - (4/pi) e^x + ...

    So T grows like 2 log(1/theta).
    """
    e = sp.Symbol("e", positive=True)  # e^x = tan(theta/2)
    speed = sp.diff(angle_time(theta), theta).subs(theta, 2 * sp.atan(e)) * sp.diff(2 * sp.atan(e), e)
    time = sp.integrate(sp.expand(sp.series(sp.expand_trig(speed), e, 0, 1).removeO()), e)
    return (Equation(sp.Symbol("T - const"), -2 * sp.log(e) - 4 / sp.pi * e, time),)
