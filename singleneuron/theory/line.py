"""The flow in one coordinate (Theorem 2.1): its equations, its solution, and the time when w reaches 0."""

import sympy as sp

from singleneuron.theory.claims import Claims, Equation, Inequality
from singleneuron.theory.definitions import Flow, Rate, error, gaussian, gradient_flow, rate, relu, student, t

a, w, s = sp.symbols("a w s", real=True)
C = sp.Symbol("C", positive=True)
FLOW: Flow = {a: C * w * (s - a * w), w: C * a * (s - a * w)}
"""The flow on either side of w = 0, where C and s are the statistics of that side."""

tau = sp.Symbol("tau", real=True)  # tanh(C R t)
R = sp.Symbol("R", positive=True)


def gradient_flow_of_samples() -> Claims:
    """By Theorem 2.1, a' = C w (s - a w) and w' = C a (s - a w) on either side of w = 0.

    Here C = (1/n) sum x^2 and s = sum x y / sum x^2, where the sums are over the samples i = 1, ..., k that
    are active on this side. On the other samples the output is 0, so they only add a constant to L.
    """
    n, k = sp.symbols("n k", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    x, y = sp.IndexedBase("x", real=True), sp.IndexedBase("y", real=True)
    squares, products = sp.Sum(x[i] ** 2, (i, 1, k)), sp.Sum(x[i] * y[i], (i, 1, k))
    active = sp.Sum(error(student(a, w * x[i]), y[i]), (i, 1, k))
    inactive = sp.Sum(error(student(a, w * x[i], False), y[i]), (i, k + 1, n))
    flow = gradient_flow((active + inactive) / n, (a, w))
    where = {C: squares / n, s: products / squares}
    return tuple(Equation(Rate(z), FLOW[z], flow[z], where) for z in (a, w))


def population_statistics() -> Claims:
    """For the population, C = 1/2 on both sides of w = 0, s_pos = 1 and s_neg = 0 (Theorem 2.1)."""
    x = sp.Symbol("x", real=True)
    claims: list[Equation] = []
    for side, span, slope in (("pos", (0, sp.oo), 1), ("neg", (-sp.oo, 0), 0)):
        target = relu(x, active=side == "pos")
        square = sp.integrate(x**2 * gaussian(x), (x, *span))
        product = sp.integrate(x * target * gaussian(x), (x, *span))
        claims += [
            Equation(sp.Symbol(f"C_{side}"), sp.Rational(1, 2), square),
            Equation(sp.Symbol(f"s_{side}"), sp.Integer(slope), product / square),
        ]
    return tuple(claims)


def label_noise() -> Claims:
    """Given the inputs, s_neg has mean 0, variance sigma^2 / sum_{x<0} x^2 and a symmetric distribution.

    Here s_neg is s on the side w < 0, where the samples with x < 0 are active. Their target is 0, and their
    labels y ~ N(0, sigma^2) are independent noise, so s_neg is Gaussian. This is beyond the paper.
    """
    k = sp.Symbol("k", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    x, noise = sp.IndexedBase("x", real=True), sp.IndexedBase("epsilon", real=True)
    deviation = sp.Symbol("sigma", positive=True)
    squares = sp.Sum(x[i] ** 2, (i, 1, k))
    label = relu(x[i], active=False) + noise[i]
    mean = sp.Sum(x[i] * label.subs(noise[i], 0), (i, 1, k)).doit() / squares
    variance = sp.Sum((x[i] * label.diff(noise[i]) * deviation) ** 2, (i, 1, k)) / squares**2
    return (
        Equation(sp.Symbol("E[s_neg]"), sp.Integer(0), mean),
        Equation(sp.Symbol("Var[s_neg]"), deviation**2 / squares, variance),
    )


def invariants() -> Claims:
    """On either side of w = 0, the flow keeps the signs of a + w, a - w and the residual s - a w.

    The derivative of each of these quantities is a multiple of the quantity itself. The residual decays, and
    it decays exponentially if c != 0, because a^2 + w^2 >= |c|. Theorem 2.1 covers balanced starts; other
    balances are beyond the paper.
    """
    return (
        Equation(Rate(a + w), C * (s - a * w) * (a + w), rate(a + w, FLOW)),
        Equation(Rate(a - w), -C * (s - a * w) * (a - w), rate(a - w, FLOW)),
        Equation(Rate(s - a * w), -C * (a**2 + w**2) * (s - a * w), rate(s - a * w, FLOW)),
    )


def switching_line() -> Claims:
    """Each side has w' = C s a at w = 0, so the signs of s_pos a and s_neg a decide whether w crosses 0.

    For the population (s_pos = 1, s_neg = 0), w sticks at 0 if a < 0. From w < 0, w never reaches 0, because
    (log |w|)' = -C a^2. Theorem 2.1 covers balanced starts; other balances are beyond the paper.
    """
    down, arrived = sp.Symbol("|a|", positive=True), sp.Eq(w, 0)
    return (
        Equation(Rate(w), C * a * s, sp.limit(FLOW[w], w, 0), given=arrived),
        Equation(Rate(a), sp.Integer(0), sp.limit(FLOW[a], w, 0), given=arrived),
        Inequality(
            Rate(w),
            sp.Lt,
            -C * down,
            FLOW[w].subs({w: 0, a: -down, s: 1}),
            given=sp.And(arrived, sp.Eq(s, 1), a < 0),
        ),
        Equation(Rate(sp.log(sp.Abs(w))), -C * a**2, FLOW[w].subs(s, 0) / w, given=sp.Eq(s, 0)),
    )


def riccati_equation() -> Claims:
    """U = (a + w)^2 obeys U' = 2C (s U - U^2/4 + c^2/4); V = (a - w)^2 obeys it with -s in place of s.

    The equations hold at any balance c. This is beyond the paper.
    """
    c = a**2 - w**2
    U, V = (a + w) ** 2, (a - w) ** 2
    return (
        Equation(Rate(sp.Symbol("U")), 2 * C * (s * U - U**2 / 4 + c**2 / 4), rate(U, FLOW)),
        Equation(Rate(sp.Symbol("V")), 2 * C * (-s * V - V**2 / 4 + c**2 / 4), rate(V, FLOW)),
    )


def riccati_solution() -> Claims:
    """Both Riccati equations are solved by X(t) = (X_0 (R + S tau) + c^2 tau/2)/(R - S tau + X_0 tau/2).

    Here tau = tanh(C R t) and R^2 = S^2 + c^2/4. X is the U of `riccati_equation` if S = s, and its V if
    S = -s. The solution holds at any balance c. This is beyond the paper.
    """
    X0, S, X = sp.Symbol("X_0", positive=True), sp.Symbol("S", real=True), sp.Symbol("X", positive=True)
    c2 = 4 * (R**2 - S**2)
    law = 2 * C * (S * X - X**2 / 4 + c2 / 4)
    solution = (X0 * (R + S * tau) + c2 / 2 * tau) / (R - S * tau + X0 / 2 * tau)
    clock = sp.tanh(C * R * t)
    speed = C * R * (1 - tau**2)
    return (
        Equation(Rate(tau), C * R * (1 - clock**2), sp.diff(clock, t)),
        Equation(Rate(X) - law, sp.Integer(0), sp.diff(solution, tau) * speed - law.subs(X, solution)),
        Equation(sp.Function("X")(0), X0, solution.subs(tau, clock.subs(t, 0))),
    )


def half_sums() -> Claims:
    """Up to time t, the flow multiplies a + w by sqrt(e1/e2) and divides a - w by the same factor.

    Let a and w be the initial values, tau = tanh(C R t), kappa = c/(2R) and sigma = s/R. Then

        e1 = 1 + sigma tau + (a - w)^2 tau/(2R),  e2 = 1 - sigma tau + (a + w)^2 tau/(2R).

    Half the sum and half the difference of the new a + w and a - w are

        a(t) = (a (1 + kappa tau) + sigma tau w)/sqrt(e1 e2),
        w(t) = (w (1 - kappa tau) + sigma tau a)/sqrt(e1 e2).

    This is beyond the paper.
    """
    c, U, V = a**2 - w**2, (a + w) ** 2, (a - w) ** 2
    kappa, sigma = c / (2 * R), s / R
    e1, e2 = 1 + sigma * tau + V * tau / (2 * R), 1 - sigma * tau + U * tau / (2 * R)
    riccati = (U * (R + s * tau) + c**2 / 2 * tau) / (R - s * tau + U / 2 * tau)
    plus, minus = (a + w) * e1, (a - w) * e2  # times 1/sqrt(e1 e2)
    root = sp.Symbol("sqrt(e1*e2)", positive=True)
    return (
        Equation(sp.Function("U")(t) / U, e1 / e2, riccati / U),
        Equation(
            sp.Function("a")(t), (a * (1 + kappa * tau) + sigma * tau * w) / root, (plus + minus) / (2 * root)
        ),
        Equation(
            sp.Function("w")(t), (w * (1 - kappa * tau) + sigma * tau * a) / root, (plus - minus) / (2 * root)
        ),
    )


def crossing_time() -> Claims:
    """If c > 0 and a w s < 0, then w reaches 0 at t = log(1 + (1 - z)(Z + 1/Z)/((z + 1/Z)(Z - 1)))/(2 C R).

    At this time U = V = c. If a w < 0 < s, then z = U_0/c = |a + w|/|a - w| < 1 and Z = 2(s + R)/c; if s < 0,
    reverse the signs of w and s first. With sigma = |s|/R and kappa = c/(2R), the time also
    equals log(1 + 2|w|/(sigma gap))/(2 C R), where
    gap = |a| - |w| + |w| kappa (1 + sigma + kappa)/((1 + sigma)(1 + kappa)). This is beyond the paper.
    """
    z, Z, c, m = sp.symbols("z Z c m", positive=True)
    S, R_ = c * (Z - 1 / Z) / 4, c * (Z + 1 / Z) / 4
    U = (c * z * (R_ + S * tau) + c**2 / 2 * tau) / (R_ - S * tau + c * z / 2 * tau)
    arrival = sp.solve(sp.numer(sp.together(U - c)), tau)[0]
    # The second form solves w (1 - kappa tau) = -sigma tau a. The half-angle formulas for kappa and sigma
    # ensure that kappa^2 + sigma^2 = 1.
    kappa, sigma = (1 - m**2) / (1 + m**2), 2 * m / (1 + m**2)
    up, down, U_0 = sp.symbols("|a| |w| U_0", positive=True)
    turn = sp.solve(-down * (1 - kappa * tau) + sigma * tau * up, tau)[0]
    gap = up - down + down * kappa * (1 + sigma + kappa) / ((1 + sigma) * (1 + kappa))
    E = sp.exp(2 * C * R * t) - 1  # 2 tau/(1 - tau), since tau = tanh(C R t)
    return (
        Equation(U_0 / c, (up - down) / (up + down), (up - down) ** 2 / (up**2 - down**2)),
        Equation(R**2, S**2 + c**2 / 4, R_**2),
        Equation(Z, 2 * (S + R_) / c, Z),
        Equation(Z - 1, (2 * S + 4 * S**2 / (2 * R_ + c)) / c, Z - 1),
        Equation(E, (1 - z) * (Z + 1 / Z) / ((z + 1 / Z) * (Z - 1)), 2 * arrival / (1 - arrival)),
        Equation(E, 2 * down / (sigma * gap), 2 * turn / (1 - turn)),
    )


def noise_wedge() -> Claims:
    """From w_0 < 0 < a_0, label noise (0 < s << c) carries w to 0 in the time log(c |w_0|/(a_0 s))/(C c).

    This is the crossing time to leading order. As s -> 0, s e^(2 C R t) tends to c |w_0|/a_0, and 2R tends to
    c so fast that (2R - c) log s tends to 0. This is beyond the paper.
    """
    up, w0 = sp.Symbol("a_0", positive=True), sp.Symbol("w_0", negative=True)
    small, c = sp.symbols("s c", positive=True)
    R_ = sp.sqrt(small**2 + c**2 / 4)
    Z, z = 2 * (small + R_) / c, (up + w0) / (up - w0)
    growth = 1 + (1 - z) * (Z + 1 / Z) / ((z + 1 / Z) * (Z - 1))
    return (
        Equation(
            sp.Limit(small * sp.exp(2 * C * R * t), small, 0),
            -c * w0 / up,
            sp.limit(small * growth, small, 0),
        ),
        Equation(
            sp.Limit((2 * R - c) * sp.log(small), small, 0),
            sp.Integer(0),
            sp.limit((2 * R_ - c) * sp.log(small), small, 0),
        ),
    )


def balanced_solution() -> Claims:
    """From a balanced start with a = w, u = a^2 is the logistic function s/(1 + (s/u_0 - 1) e^(-2Cst)).

    If a = -w and s > 0, then u = s/((1 + s/u_0) e^(2Cst) - 1). If a = -w and s = 0, then
    a = a_0/sqrt(1 + 2 C a_0^2 t). Theorem 2.1 covers all these starts.
    """
    u0, slope, a0, u = sp.symbols("u_0 s a_0 u", positive=True)
    growth = sp.exp(2 * C * slope * t)
    claims = []
    for sign, solution in (
        (1, slope / (1 + (slope / u0 - 1) / growth)),
        (-1, slope / ((1 + slope / u0) * growth - 1)),
    ):
        law = sign * 2 * C * u * (slope - sign * u)
        claims += [
            Equation(Rate(u), law, rate(a**2, FLOW).subs({w: sign * a, s: slope}).subs(a, sp.sqrt(u))),
            Equation(Rate(u) - law, sp.Integer(0), sp.diff(solution, t) - law.subs(u, solution)),
            Equation(sp.Function("u")(0), u0, solution.subs(t, 0)),
        ]
    still, law = a0 / sp.sqrt(1 + 2 * C * a0**2 * t), -C * a**3
    return (
        *claims,
        Equation(Rate(a), law, FLOW[a].subs({w: -a, s: 0})),
        Equation(Rate(a) - law, sp.Integer(0), sp.diff(still, t) - law.subs(a, still)),
        Equation(sp.Function("a")(0), a0, still.subs(t, 0)),
    )
