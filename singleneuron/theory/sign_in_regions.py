"""Where Sign-In succeeds: in one coordinate, on the population in d > 1, and from balanced starts.

All results are beyond the paper. The module `sign_in` defines the metric S and the distance g. The flow
conserves c = g(a) - sum_i g(w_i), which differs from c_S by a constant.
"""

import sympy as sp
from sympy.logic.boolalg import Boolean

from singleneuron.algorithms import ALGORITHMS, IMP_VARIANTS
from singleneuron.theory.claims import Claims, Equation, Implication, Inequality
from singleneuron.theory.definitions import Rate
from singleneuron.theory.population import a, angle_kernel, loss, p, rho, theta
from singleneuron.theory.regions import a0, balanced_probability, norm, w1
from singleneuron.theory.sign_in import beta, beta_a, beta_w, distance, metric

g_a, g_w, g_1, g_even = sp.symbols("g_a g_w g_1 g_even", real=True)
"""Distances of a start from 0.

`g_a` is g(a) and `g_even` is g(|w_1|), both with beta_a. `g_w` is sum_i g(w_i) and `g_1` is g(w_1), both with
beta_w.
"""
S_a, S_1, S_i, m = sp.symbols("S_a S_1 S_i |a|", positive=True)
BRACKET = sp.pi - theta + sp.sin(theta) * sp.cos(theta)
EDGE = sp.sin(theta) / (sp.pi * rho)
"""The value of a at which s = 0, where s is the factor in dL/dw_i = w_i s (see `common_slope`)."""


def line_success(own: sp.Expr = g_a, other: sp.Expr = g_1, s_neg: sp.Expr = sp.S.Zero) -> Boolean:
    """Return the condition for success in one coordinate, given the distances `own` of a and `other` of w_1.

    The slope s of the data is 1 on the side w_1 > 0, and `s_neg` on the side w_1 < 0.
    """
    right = sp.And(w1 > 0, sp.Or(a0 >= 0, own < other))
    return sp.Or(right, sp.And(w1 < 0, s_neg > 0, a0 > 0, own > other))


def dense_success() -> Boolean:
    """Return the condition for success of the population flow in d > 1, for starts with w != 0."""
    return sp.And(w1 > -norm, sp.Or(a0 >= 0, g_a < g_w))


def success_region(algorithm: str, *, imp: str = "keep", s_neg: sp.Expr = sp.S.Zero) -> Boolean:
    """Return the condition under which an algorithm succeeds under Sign-In, for one target coordinate.

    Parameters
    ----------
    algorithm : str
        'imp', 'wr' or 'lrr'. For 'wr', a_0, w_1 and the distances are the values at the rewind time.
    imp : str
        What IMP and WR do after pruning: 'keep' a_0, or 'rebalance' it to sign(a_0) |w_1|.
    s_neg : sympy.Expr
        The slope s of the data on the side w_1 < 0. On the side w_1 > 0, s = 1.

    Returns
    -------
    sympy.Boolean
        The condition on a_0, w_1, rho and the distances of the start.

    Raises
    ------
    ValueError
        If `algorithm` or `imp` is not one of the names above.

    References
    ----------
    This goes beyond Gadhikar, Jacobs, Zhou & Burkholz (NeurIPS 2025).
    """
    if algorithm not in ALGORITHMS or imp not in IMP_VARIANTS:
        raise ValueError(
            f"algorithm must be one of {ALGORITHMS}, and imp must be one of {IMP_VARIANTS}, "
            f"but they are {algorithm!r} and {imp!r}"
        )
    if algorithm == "lrr":
        return dense_success()
    return line_success(g_even if imp == "rebalance" else g_a, s_neg=s_neg)


def line_region() -> Claims:
    """In one coordinate, Sign-In succeeds iff w > 0 and either a >= 0 or g(a) < g(w).

    The proof is in `sign_in.line_invariants` and `sign_in.line_axes`. On the population, s = 0 where w < 0,
    so w stays negative for all betas. If s_neg > 0, the mirror image of the flow from a < 0 < w shows that,
    from w < 0 < a, w reaches and crosses 0 iff g(a) > g(w). From balanced starts with a < 0 < w, success
    needs beta_a > beta_w, because g falls as beta grows.
    """
    noise = sp.Integer(1)
    even = sp.And(sp.Eq(a0, -w1), w1 > 0)
    return (
        Implication(line_success(), w1 > 0),
        Implication(line_success(), line_success(s_neg=noise)),
        Implication(sp.And(line_success(s_neg=noise), sp.Not(line_success())), sp.And(w1 < 0, a0 > 0)),
        Implication(sp.And(even, g_a < g_1), line_success()),
        Implication(sp.And(even, g_a >= g_1), sp.Not(line_success())),
    )


def common_slope() -> Claims:
    """On the population in any d, all coordinates outside the target have dL/dw_i = w_i s with the same s.

    Here s = a^2/2 - a sin(theta)/(2 pi rho), and w_1' = S_1 (a (pi - theta)/(2 pi) - w_1 s). Coordinates
    outside the target never change sign, because
    asinh(beta/(2 |w_i|)) = asinh(beta/(2 |w_i(0)|)) + beta int s.
    """
    kept, x = {theta: sp.acos(p / rho)}, sp.Symbol("w_i", positive=True)
    energy, slope = loss().subs(kept), sp.Symbol("s", real=True)
    s = a**2 / 2 - a * sp.sin(theta) / (2 * sp.pi * rho)
    # w_i enters L only through rho, whose gradient is w/rho; w_1 enters through p as well.
    common, along = sp.diff(energy, rho) / rho, sp.diff(energy, p)
    clock = sp.asinh(beta / (2 * x))
    return (
        Equation(slope, s, common, kept),
        Equation(Rate(sp.Symbol("w_1")), S_1 * (a * (sp.pi - theta) / (2 * sp.pi) - p * s),
                 -S_1 * (along + p * common), kept),
        Equation(Rate(clock), beta * slope, sp.diff(clock, x) * (-metric(x, beta) * x * slope)),
    )  # fmt: skip


def _turn(angle: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Return s (see `common_slope`) and a'/S_a, where `angle` is the angle between w and the target."""
    s = a**2 / 2 - a * sp.sin(angle) / (2 * sp.pi * rho)
    return s, -a * rho**2 / 2 + rho * angle_kernel(angle)


def dense_region_below() -> Claims:
    """In d > 1 with one target, the population flow from a < 0 reaches a = 0 iff g(a) < sum_i g(w_i).

    Let c = g(a) - sum_i g(w_i). Since c <= 0 where a = 0, a stays negative if c > 0. If c = 0, a and w can
    only vanish together. Now let c < 0 and m = -a > 0. Then rho has a positive lower bound, and m decays
    exponentially, because m' <= -S_a rho^2 m/2. So log |w_i| falls by a bounded amount, theta stays away from
    pi, and k has a positive lower bound. Since m' <= -S_a rho k, m reaches 0 in finite time.
    """
    k, u = sp.symbols("k u", positive=True)
    half = 2 * sp.atan(u)
    s, _ = _turn(half)
    fall = S_a * (a * rho**2 / 2 - rho * k)  # m' = -a'
    shrink = -S_i * s.subs(a, -m)
    loss_rate = m / 2 + 1 / (2 * sp.pi * rho)
    return (
        Inequality(Rate(m) + S_a * rho**2 * m / 2, sp.Lt, -S_a * rho * k,
                   fall.subs(a, -m) + S_a * rho**2 * m / 2, given=a < 0),
        Inequality(Rate(m) + S_a * rho * k, sp.Lt, -S_a * rho**2 * m / 2,
                   fall.subs(a, -m) + S_a * rho * k, given=a < 0),
        Inequality(Rate(sp.log(sp.Symbol("|w_i|"))) + S_i * m * loss_rate, sp.Ge,
                   S_i * m * (1 - u) ** 2 / (2 * sp.pi * rho * (1 + u**2)),
                   sp.expand_trig(shrink + S_i * m * loss_rate), given=a < 0),
        Inequality(Rate(a), sp.Gt, beta_a * rho * k, -beta_a * fall.subs(a, 0) / S_a, given=sp.Eq(a, 0)),
    )  # fmt: skip


def dense_region_above() -> Claims:
    """In d > 1, the flow from a > 0 reaches the target v = e_1 unless w is antiparallel to v.

    Since a' > 0 at a = 0, a stays positive. While w_1 < 0, |w_1| falls, and the curve
    a = sin(theta)/(pi rho), where s = 0, can only be crossed downwards. Below the curve, all other |w_i|
    grow, so theta falls below pi/2. Above the curve, they fall. If the flow stayed there, its limit would
    have either a = 0 and theta = pi, or w = 0. But near a = 0 and theta = pi, a falls exponentially faster
    than any w_i, so the flow ends up below the curve. Near w = 0, theta would tend to pi, although |w_1|
    falls faster than the other |w_i|. Once w_1 >= 0, w_1 grows near w = 0, a grows near a = 0, and the target
    is the only critical point of L there. Conservation of c keeps a and w bounded.
    """
    u, delta = sp.symbols("u delta", positive=True)
    back = sp.pi - sp.atan(u)  # theta in (pi/2, pi)
    s, lift = _turn(theta)
    ahead = S_1 * (a * (sp.pi - theta) / (2 * sp.pi) - p * s)
    where = {p: rho * sp.cos(theta)}
    behind = sp.And(p < 0, a > 0)
    edge = _turn(back)[1].subs(a, EDGE.subs(theta, back))
    # Above the curve, rho k/a < pi rho^2 k/sin(theta).
    bound = sp.pi * rho**2 * (angle_kernel(theta) / sp.sin(theta)).subs(theta, sp.pi - delta)
    return (
        Equation(Rate(sp.Symbol("w_1")) / S_1 + a**2 * p / 2, a / (2 * sp.pi) * BRACKET,
                 (ahead / S_1 + a**2 * p / 2).subs(where), where),
        Inequality(sp.Derivative(BRACKET, theta), sp.Le, -2 * sp.sin(theta) ** 2, sp.diff(BRACKET, theta)),
        Equation(sp.Subs(BRACKET, theta, sp.pi), sp.Integer(0), BRACKET.subs(theta, sp.pi)),
        Equation(sp.Symbol("s"), sp.Integer(0), s.subs(a, EDGE), given=sp.Eq(a, EDGE)),
        Equation(Rate(a) / S_a, rho * (sp.pi - theta) * sp.cos(theta) / (2 * sp.pi), lift.subs(a, EDGE),
                 given=sp.Eq(a, EDGE)),
        Inequality(Rate(a) / S_a, sp.Lt, -rho * sp.atan(u) / (2 * sp.pi * sp.sqrt(1 + u**2)), edge,
                   given=sp.And(behind, sp.Eq(a, EDGE))),
        Equation(Rate(sp.log(a)) / S_a, -(rho**2) / 2 + rho * angle_kernel(theta) / a, lift / a),
        Equation(sp.Limit(bound, delta, 0), sp.Integer(0), sp.limit(bound, delta, 0)),
        Equation(Rate(sp.log(sp.Symbol("|w_i|"))) / S_i + a**2 / 2, a * sp.sin(theta) / (2 * sp.pi * rho),
                 a**2 / 2 - s),
    )  # fmt: skip


def several_targets() -> Claims:
    """In d > 1, Sign-In has the same success region for k target coordinates, where v_i = 1/sqrt k.

    The component of w orthogonal to v consists of the w_i with v_i = 0 and of the differences D = w_j - w_1
    between target weights. Since (log |D|)' has no pole, D never changes sign. From a < 0, log |D| falls by a
    bounded amount, as log |w_i| does, because (log |D|)' is at most of order |s| + |a|. Near a = 0 and
    theta = pi, all |D| and |w_i| grow: to first order in a and delta = pi - theta, the rates (log |D|)'
    and (log |w_i|)' are S a delta/(2 pi rho), each with its own S. Near w = 0, every S is about beta_w, so
    the argument for plain weights applies.
    """
    first, other, s, v = sp.symbols("w_1 w_j s v", real=True)
    size, delta, k = sp.symbols("a delta k", positive=True)
    S_first, S_other = (metric(weight, beta_w) for weight in (first, other))
    total, turn = S_first + S_other, size * (sp.pi - theta) / (2 * sp.pi)
    apart = -s * (S_other * other - S_first * first) + turn * v * (S_other - S_first)
    rate_apart = -s * (total / 2 + 2 * (other + first) ** 2 / total) + 4 * turn * v * (other + first) / total
    tip = -rho / sp.sqrt(k)
    near = rate_apart.subs({first: tip, other: tip, v: 1 / sp.sqrt(k), theta: sp.pi - delta})
    near = near.subs(s, -size * delta / (2 * sp.pi * rho))  # sin(theta) = delta, and a^2 is of second order
    return (
        Equation(Rate(other - first), (other - first) * rate_apart, apart),
        Inequality(total, sp.Gt, total, S_first + S_other),
        Equation(
            Rate(sp.log(other - first)), metric(tip, beta_w) * size * delta / (2 * sp.pi * rho), near,
            given=sp.And(sp.Eq(first, tip), sp.Eq(other, tip)),
        ),
    )  # fmt: skip


def limit_state() -> Claims:
    """For k targets, the limit has a rho = 1 and w = rho v, and g(a) - k g(rho/sqrt k) = c determines a.

    The left side of the last equation grows with a, so there is only one root. As a function of x = g(a), the
    term h(x) = k g(rho/sqrt k) falls and is convex. So x - h(x) - c is concave, and Newton's method converges
    monotonically from any point below the root.
    """
    up, k, x = sp.symbols("a k x", positive=True)
    gap = distance(up, beta_a) - k * distance(1 / (up * sp.sqrt(k)), beta_w)
    ends = up**2 / metric(up, beta_a) + 1 / (up**2 * metric(1 / (up * sp.sqrt(k)), beta_w))
    inverse = sp.sqrt(x * (x + 2 * beta_a)) / 2
    # phi(x) is rho^2/4 = 1/(4 a^2) as a function of x, so w_i^2 = 4 phi/k.
    phi, stated = sp.Function("phi", positive=True)(x), 1 / (x * (x + 2 * beta_a))
    h = k * distance(2 * sp.sqrt(phi / k), beta_w)
    S = metric(2 * sp.sqrt(phi / k), beta_w)
    slope, bend = phi.diff(x), phi.diff(x, 2)
    own_slope, own_bend = stated.diff(x), stated.diff(x, 2)
    convex = 2 * stated * own_bend - own_slope**2
    return (
        Inequality(sp.Derivative(sp.Function("c")(up), up), sp.Gt, 4 / up * ends, sp.diff(gap, up)),
        Equation(metric(up, beta_a) ** 2, (x + beta_a) ** 2, metric(inverse, beta_a) ** 2,
                 given=sp.Eq(up, inverse)),
        Equation(phi, stated, 1 / (4 * inverse**2), given=sp.Eq(up, inverse)),
        Equation(sp.Derivative(sp.Function("h")(x), x), 8 * slope / S, h.diff(x)),
        Equation(sp.Derivative(sp.Function("h")(x), (x, 2)),
                 8 / S**3 * (beta_w**2 * bend + 8 / k * (2 * phi * bend - slope**2)), h.diff(x, 2)),
        Inequality(slope, sp.Lt, sp.factor(own_slope), own_slope),
        Inequality(bend, sp.Gt, sp.factor(own_bend), own_bend),
        Inequality(2 * phi * bend - slope**2, sp.Gt, sp.factor(convex), convex),
    )  # fmt: skip


def nesting() -> Claims:
    """Under Sign-In, IMP succeeds only where LRR succeeds, because g(w_1) <= sum_i g(w_i).

    From balanced starts, re-balancing can only enlarge IMP's region, because g(|w_1|) <= g(a) in the metric
    of a. Label noise with s_neg > 0 can also enlarge IMP's region, but only within LRR's region.
    """
    noise = sp.Integer(1)
    start = sp.And(norm >= w1, norm > -w1, g_1 <= g_w)
    keep, even = (success_region("imp", imp=imp) for imp in ("keep", "rebalance"))
    return (
        Implication(sp.And(start, keep), success_region("lrr")),
        Implication(sp.And(start, success_region("imp", s_neg=noise)), success_region("lrr")),
        Implication(sp.And(g_even <= g_a, keep), even),
    )


def balanced_rates() -> Claims:
    """From balanced starts in d > 1, P(LRR) = 1 if beta_a >= beta_w, and P(IMP) = 1/4 if beta_a = beta_w.

    With re-balancing, P(IMP) = 1/2 if beta_a > beta_w, else 1/4. From a < 0 < w_1, IMP that keeps a(0)
    succeeds iff |w_perp|^2 < (beta_a - beta_w) g(w_1)/2, which is false for equal betas. `sign_in.distances`
    proves the premises: g(|w_1|) < g(|w|) < sum_i g(w_i), and g falls as beta grows.
    """
    q, ahead = sp.symbols("q w_1", positive=True)
    G = distance(ahead, beta_w)
    gap = (G + beta_a) ** 2 - metric(sp.sqrt(ahead**2 + q**2), beta_a) ** 2
    lrr, keep = success_region("lrr"), success_region("imp")
    even = success_region("imp", imp="rebalance")
    cases = (
        ("LRR; beta_a >= beta_w", lrr, g_a < g_w, sp.Integer(1)),
        ("LRR; never from a < 0", lrr, g_a >= g_w, sp.Rational(1, 2)),
        ("IMP; beta_a = beta_w", keep, g_1 < g_a, sp.Rational(1, 4)),
        ("IMP re-balanced; beta_a > beta_w", even, g_even < g_1, sp.Rational(1, 2)),
        ("IMP re-balanced; beta_a <= beta_w", even, g_even >= g_1, sp.Rational(1, 4)),
    )
    return (
        *(Equation(sp.Symbol(f"P({name})"), rate, balanced_probability(region, given))
          for name, region, given, rate in cases),
        Equation((sp.Symbol("g_1") + beta_a) ** 2 - sp.Symbol("S_a") ** 2,
                 4 * ((beta_a - beta_w) * G / 2 - q**2), gap),
    )  # fmt: skip
