"""The regions where each algorithm succeeds (Theorems 2.1 and 2.3, Lemma 2.2), and why they are nested."""

import sympy as sp
from sympy.logic.boolalg import Boolean

from singleneuron.algorithms import ALGORITHMS, IMP_VARIANTS
from singleneuron.theory.claims import Claims, Equation, Implication, Inequality
from singleneuron.theory.definitions import Rate, gaussian, rate
from singleneuron.theory.line import FLOW, C
from singleneuron.theory.line import a as a_line
from singleneuron.theory.line import s as slope
from singleneuron.theory.line import w as w_line
from singleneuron.theory.population import POLAR, a, kernel_slope, p, plane_flow, polar_flow, q, rho, theta

a0, w1, norm, s_pos, s_neg = sp.symbols("a_0 w_1 rho s_pos s_neg", real=True)
"""A start (outer weight, w.v and |w|), and s on either side of w_1 = 0: 1 and 0 for the population."""


def line_success(
    a: sp.Expr = a0, w: sp.Expr = w1, s_pos: sp.Expr = sp.S.One, s_neg: sp.Expr = sp.S.Zero
) -> Boolean:
    """Return the condition for success in one coordinate, given data on both sides and s_pos != 0.

    If s_pos < 0 the sign of a is reversed, since (a, s) -> (-a, -s) is a symmetry of the flow. Theorem 2.1
    covers balanced starts; other balances are beyond the paper.
    """
    towards, across = sp.sign(s_pos), sp.sign(s_pos) * s_neg
    return sp.And(towards * a + w > 0, sp.Or(w > 0, sp.And(w < 0, across > 0)))


def dense_success(a: sp.Expr = a0, p: sp.Expr = w1, norm: sp.Expr = norm) -> Boolean:
    """Return the condition for success of the population flow in d > 1: a > -|w| and w.v > -|w|.

    Lemma 2.2 covers balanced starts; other balances are beyond the paper.
    """
    return sp.And(a > -norm, p > -norm)


def success_region(algorithm: str, *, imp: str = "keep", s_neg: sp.Expr = sp.S.Zero) -> Boolean:
    """Return the condition under which an algorithm succeeds from the start (a_0, w_1, rho).

    Parameters
    ----------
    algorithm : str
        'imp', 'lrr' or 'wr'; for 'wr', a_0 and w_1 are the values at the rewind time.
    imp : str
        'keep' a(0) after pruning, or 'rebalance' it to sign(a(0)) |w_1(0)|; for WR, a and w_1 are again the
        values at the rewind time.
    s_neg : sympy.Expr
        s of the side w_1 < 0; s_pos is set to 1.

    Returns
    -------
    sympy.Boolean
        The condition.

    Raises
    ------
    ValueError
        If `algorithm` or `imp` does not exist.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the
    paper.
    """
    if algorithm not in ALGORITHMS or imp not in IMP_VARIANTS:
        raise ValueError(
            f"algorithm must be one of {ALGORITHMS} and imp one of {IMP_VARIANTS}, "
            f"got {algorithm!r} and {imp!r}"
        )
    if algorithm == "lrr":
        return dense_success()
    if imp == "rebalance":
        return sp.And(a0 > 0, w1 > 0)
    return line_success(s_neg=s_neg)


def line_region() -> Claims:
    """In one coordinate, training succeeds iff w > 0 and a > -w or, if s_neg > 0, w < 0 < a + w. Theorem 2.1.

    a + w and s - a w keep their signs (`line.invariants`). Let a + w > 0. A flow with w > 0 could leave this
    side only at w = 0 with a > 0, but there w' = C a s_pos > 0. A flow with w < 0 has a > 0: if s_neg > 0,
    then w' > 0 and w crosses 0; if s_neg <= 0, w stays < 0. Now let a + w < 0. If w > 0, then a < 0, so the
    product of a and w never reaches s_pos > 0; at w = 0, w' < 0.
    """
    a, w, s = a_line, w_line, slope
    size, depth, drive = sp.symbols("|a| |w| |s|", positive=True)
    signs = (
        ({a: size, w: 0, s: drive}, Rate(w), FLOW[w], C * size * drive, sp.And(a > 0, s > 0, sp.Eq(w, 0))),
        (
            {a: size, w: -depth, s: drive},
            Rate(w),
            FLOW[w],
            C * size * (drive + size * depth),
            (a > 0) & (s > 0) & (w < 0),
        ),
        (
            {a: -size, w: depth, s: drive},
            -Rate(w),
            -FLOW[w],
            C * size * (drive + size * depth),
            (a < 0) & (s > 0) & (w > 0),
        ),
        (
            {a: -size, w: depth, s: drive},
            s - a * w,
            s - a * w,
            drive + size * depth,
            (a < 0) & (s > 0) & (w > 0),
        ),
    )
    mirror = {a: -a, s: -s}
    return (
        *(
            Inequality(name, sp.Gt, form, value.subs(case), given=given)
            for case, name, value, form, given in signs
        ),
        *(
            Equation(
                Rate(z.subs(mirror)),
                FLOW[z].subs(mirror, simultaneous=True),
                z.subs(mirror).diff(z) * FLOW[z],
            )
            for z in (a, w)
        ),
    )


def dense_region() -> Claims:
    """In d > 1 the population flow succeeds iff a > -|w|, that is, a > 0 or c < 0. Lemma 2.2 if balanced.

    Beyond the paper at any other balance. At a = 0, a' = rho k > 0, so once a is positive, it stays positive.
    Then theta falls, k and therefore rho stay away from 0, and the only critical point left is the minimum
    (`population.critical_points`). If c < 0, a crosses 0 in finite time (`escape.sign_change_of_a`). If
    a < 0 <= c, training fails: a = -sqrt(c + rho^2) <= -sqrt(c) at all times, and (log rho)' < -a^2/2.
    """
    k, down = sp.symbols("k |a|", positive=True)
    c = sp.Symbol("c", nonnegative=True)
    polar = polar_flow(k, kernel_slope(theta))
    a_below = -sp.sqrt(c + rho**2)
    shrink = (polar[rho] / rho + a**2 / 2).subs(a, -down)
    return (
        Inequality(Rate(a), sp.Gt, rho * k, polar[a].subs(a, 0), given=sp.Eq(a, 0)),
        Inequality(
            -sp.sqrt(c) - a, sp.Gt, rho**2 / (sp.sqrt(c) - a_below), -sp.sqrt(c) - a_below, given=a < 0
        ),
        Inequality(Rate(sp.log(rho)) + a**2 / 2, sp.Lt, -down * k / rho, shrink, given=a < 0),
    )


def line_region_in_the_plane() -> Claims:
    """Once in {w_1 > 0, a > -w_1}, the region from which one coordinate succeeds, the dense flow stays there.

    On the boundary a = -w_1 <= 0, (a + w_1)' > 0. If a > 0, (w_1 e^(int a^2/2))' > 0: this derivative is a
    positive multiple of pi - theta + sin theta cos theta, which falls to 0 at theta = pi. Beyond the paper.
    """
    flow = plane_flow()
    ahead, side = sp.symbols("p q", positive=True)
    edge = rate(a + p, flow).subs(a, -p)
    bracket = sp.pi - theta + sp.sin(theta) * sp.cos(theta)
    return (
        Inequality(
            Rate(a + p),
            sp.Gt,
            ahead * side**2 / 2 + side**3 / (2 * sp.pi * (ahead**2 + side**2)),
            edge.subs({p: ahead, q: side}, simultaneous=True),
            given=sp.And(sp.Eq(a, -p), p > 0),
        ),
        Inequality(
            Rate(a + p), sp.Gt, q / (2 * sp.pi), edge.subs(p, 0), given=sp.And(sp.Eq(a, 0), sp.Eq(p, 0))
        ),
        Equation(
            Rate(p) + a**2 * p / 2,
            a / (2 * sp.pi) * bracket,
            flow[p] + a**2 * p / 2,
            POLAR,
        ),
        Inequality(sp.Derivative(bracket, theta), sp.Le, -2 * sp.sin(theta) ** 2, sp.diff(bracket, theta)),
        Equation(sp.Subs(bracket, theta, sp.pi), sp.Integer(0), bracket.subs(theta, sp.pi)),
    )


def nesting() -> Claims:
    """For every rewind time, IMP's region is part of WR's, and WR's of LRR's. Theorem 2.3 if balanced.

    Beyond the paper at any other balance. The dense flow never leaves {w_1 > 0, a > -w_1}, so WR's region
    grows with the rewind time, starting from IMP's. Nor does the flow ever enter LRR's region from outside,
    so WR's region is part of LRR's, as IMP's is. Here rho >= |w_1|, with equality only on the line through v.
    Re-balancing can only shrink a region. Label noise can only enlarge IMP's, within LRR's region.
    """
    ahead, side = sp.Symbol("w_1", real=True, nonzero=True), sp.Symbol("q", nonnegative=True)
    length = sp.sqrt(ahead**2 + side**2)
    plane = sp.And(norm >= w1, norm >= -w1)
    noise = sp.Integer(1)
    return (
        Inequality(rho**2 - ahead**2, sp.Ge, side**2, length**2 - ahead**2),
        Implication(sp.And(plane, success_region("imp")), success_region("lrr")),
        Implication(success_region("wr", imp="rebalance"), success_region("wr")),
        Implication(success_region("imp"), success_region("imp", s_neg=noise)),
        Implication(sp.And(plane, norm > -w1, success_region("imp", s_neg=noise)), success_region("lrr")),
    )


def balanced_regions() -> Claims:
    """From balanced starts not along +-v, LRR succeeds iff a > 0, and IMP iff a > 0 and w_1 > 0. Theorem 2.3.

    With label noise and s_neg > 0, IMP only needs a > 0 and w_1 != 0, which is beyond the paper.
    """
    starts = sp.And(norm > w1, norm > -w1, sp.Or(sp.Eq(a0, norm), sp.Eq(a0, -norm)))
    regions = (
        (success_region("lrr"), a0 > 0),
        (success_region("imp"), sp.And(a0 > 0, w1 > 0)),
        (success_region("imp", s_neg=sp.Integer(1)), sp.And(a0 > 0, sp.Ne(w1, 0))),
    )
    return tuple(
        Implication(sp.And(starts, premise), conclusion)
        for region, stated in regions
        for premise, conclusion in ((stated, region), (region, stated))
    )


def balanced_probability(region: Boolean, given: Boolean = sp.true) -> sp.Expr:
    """Compute P(region) for balanced starts, a = +-|w| with equal probability.

    Among the starts that satisfy `given`, the signs of a and w_1 must decide whether a start is in the
    region; otherwise return NaN.
    """
    w = sp.Symbol("w", real=True)
    total = sp.Integer(0)
    for sign in (1, -1):
        for ahead, span in ((w1 > 0, (0, sp.oo)), (w1 < 0, (-sp.oo, 0))):
            quarter = sp.And(given, norm > w1, norm > -w1, sp.Eq(a0, sign * norm), ahead)
            if Implication(quarter, region).proved:
                total += sp.integrate(gaussian(w), (w, *span)) / 2
            elif not Implication(quarter, sp.Not(region)).proved:
                return sp.nan
    return total


def probabilities() -> Claims:
    """From independent N(0, 1) starts, P(IMP) = 3/8; from balanced ones, P(LRR) = 1/2 and P(IMP) = 1/4.

    From balanced starts, label noise makes P(IMP) = 1/2 for the half of all data sets with s_neg > 0, which
    gives 3/8 on average. From independent starts at d = 2, where |w| has the density r e^(-r^2/2),
    P(LRR) = (2 + sqrt 2)/4. Theorem 2.3 covers balanced starts; the rest is beyond the paper.
    """
    x, w = sp.symbols("x w", real=True)
    above = sp.integrate(gaussian(x), (x, -w, sp.oo))  # P(a > -w)
    rayleigh = w * sp.exp(-(w**2) / 2)
    imp, lrr = (
        sp.integrate(sp.expand(above * density), (w, 0, sp.oo)) for density in (gaussian(w), rayleigh)
    )
    quiet, noisy = (balanced_probability(success_region("imp", s_neg=sp.Integer(s))) for s in (0, 1))
    return (
        Equation(sp.Symbol("P(IMP)"), sp.Rational(3, 8), imp),
        Equation(sp.Symbol("P(IMP; balanced)"), sp.Rational(1, 4), quiet),
        Equation(
            sp.Symbol("P(LRR; balanced)"), sp.Rational(1, 2), balanced_probability(success_region("lrr"))
        ),
        Equation(sp.Symbol("P(IMP; balanced, noise)"), sp.Rational(3, 8), (quiet + noisy) / 2),
        Equation(sp.Symbol("P(LRR; d = 2)"), (2 + sp.sqrt(2)) / 4, lrr),
    )
