"""The regions in which each algorithm succeeds (Theorems 2.1 and 2.3, Lemma 2.2), and why they are nested."""

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
"""Symbols of a start and of the data.

`a0` is the outer weight, `w1` is w.v and `norm` is |w|, all at the start. `s_pos` is the least-squares slope
s of the data on the side w_1 > 0, and `s_neg` is s on the side w_1 < 0. For the population, s_pos = 1 and
s_neg = 0.
"""


def line_success(
    a: sp.Expr = a0, w: sp.Expr = w1, s_pos: sp.Expr = sp.S.One, s_neg: sp.Expr = sp.S.Zero
) -> Boolean:
    """Return the condition for success in one coordinate, where both sides have data and `s_pos` is not 0.

    If s_pos < 0, the condition applies to -a and -s_neg, because the map (a, s) -> (-a, -s) is a symmetry of
    the flow. Theorem 2.1 covers balanced starts; other balances are beyond the paper.
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
        'imp', 'wr' or 'lrr'. For 'wr', a_0 and w_1 are the values at the rewind time.
    imp : str
        What IMP and WR do after pruning: 'keep' a_0, or 'rebalance' it to sign(a_0) |w_1|.
    s_neg : sympy.Expr
        The slope s of the data on the side w_1 < 0. On the side w_1 > 0, s = 1.

    Returns
    -------
    sympy.Boolean
        The condition.

    Raises
    ------
    ValueError
        If `algorithm` or `imp` is not one of the names above.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the
    paper.
    """
    if algorithm not in ALGORITHMS or imp not in IMP_VARIANTS:
        raise ValueError(
            f"algorithm must be one of {ALGORITHMS}, and imp must be one of {IMP_VARIANTS}, "
            f"but they are {algorithm!r} and {imp!r}"
        )
    if algorithm == "lrr":
        return dense_success()
    if imp == "rebalance":
        return sp.And(a0 > 0, w1 > 0)
    return line_success(s_neg=s_neg)


def line_region() -> Claims:
    """In one coordinate, training succeeds iff a + w > 0 and w > 0; if s_neg > 0, w may also be negative.

    Theorem 2.1 covers balanced starts; other balances are beyond the paper. Let s_pos > 0. The flow keeps the
    signs of a + w and s - a w (`line.invariants`). First let a + w > 0. From w > 0, the flow could leave this
    side only at w = 0 with a > 0, but there w' = C a s_pos > 0. From w < 0, a is positive. If s_neg > 0, then
    w' > 0, and w crosses 0; if s_neg <= 0, w stays negative. Now let a + w < 0. From w > 0, a is negative, so
    the product of a and w never reaches s_pos on this side, and w' < 0 at w = 0.
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
    """In d > 1, the population flow succeeds iff a > -|w|, which means a > 0 or c < 0.

    Lemma 2.2 covers balanced starts; other balances are beyond the paper. At a = 0, a' = rho k > 0, so once a
    is positive, it stays positive. Then theta falls, k and therefore rho stay away from 0, and the minimum is
    the only critical point left (`population.critical_points`). If c < 0, a crosses 0 in finite time
    (`escape.sign_change_of_a`). If a < 0 <= c, training fails: a = -sqrt(c + rho^2) <= -sqrt(c) at all times,
    and rho decays, since (log rho)' < -a^2/2.
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
    """In d > 1, the flow never leaves {w_1 > 0, a > -w_1}, the region from which one coordinate succeeds.

    On the boundary a = -w_1 <= 0, the sum a + w_1 increases. If a > 0, w_1 e^(int a^2/2) increases, because
    its derivative is a positive multiple of pi - theta + sin theta cos theta, which falls to 0 at theta = pi.
    This is beyond the paper.
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
    """For every rewind time, WR's region contains IMP's region and is contained in LRR's region.

    Theorem 2.3 covers balanced starts; other balances are beyond the paper. The dense flow never leaves
    {w_1 > 0, a > -w_1}. So WR's region grows with the rewind time; at time 0, it is IMP's region. The dense
    flow never enters LRR's region from outside, so WR's region lies within LRR's region, just as IMP's region
    does. Here rho >= |w_1|, with equality only on the line through v. Re-balancing can only shrink a region.
    Label noise can only enlarge IMP's region, and only within LRR's region.
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
    """From balanced starts, LRR succeeds iff a > 0, and IMP succeeds iff a > 0 and w_1 > 0 (Theorem 2.3).

    Starts with w parallel to v or -v are excluded. With label noise and s_neg > 0, IMP only needs a > 0 and
    w_1 != 0, which is beyond the paper.
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
    """Compute the probability that a balanced start is in `region`, where a = +-|w| with equal probability.

    All starts are assumed to satisfy `given`. If the signs of a and w_1 do not decide whether such a start is
    in the region, the result is NaN.
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
    """From independent N(0, 1) starts P(IMP) = 3/8; from balanced starts P(LRR) = 1/2 and P(IMP) = 1/4.

    With label noise, s_neg > 0 for half of all data sets. On these, P(IMP) = 1/2 from balanced starts; on the
    others, it is 1/4. The average is 3/8. For independent starts at d = 2, |w| has the density r e^(-r^2/2),
    and P(LRR) = (2 + sqrt 2)/4. Theorem 2.3 covers balanced starts without noise; the rest is beyond the
    paper.
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
