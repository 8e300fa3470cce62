"""Sign-In, where each weight is a product theta = m u: its metric, its conservation law, and one coordinate.

Gadhikar, Jacobs, Zhou & Burkholz (NeurIPS 2025) introduced these products. All results here are beyond the
paper. In this module, S = sqrt(beta^2 + 4 theta^2) and g = S - beta; beta is beta_a for the weight a, and
beta_w for every coordinate of w.
"""

from collections.abc import Iterable

import sympy as sp

from singleneuron.theory import line
from singleneuron.theory.claims import Claims, Equation, Inequality
from singleneuron.theory.definitions import Flow, Rate, gradient_flow, rate
from singleneuron.theory.samples import a, alpha, sample_pull, z

theta = sp.Symbol("theta", real=True)
beta, beta_a, beta_w = sp.symbols("beta beta_a beta_w", positive=True)
down, ahead, drive = sp.symbols("|a| |w| |s|", positive=True)


def metric(weight: sp.Expr, beta: sp.Expr) -> sp.Expr:
    """Return the metric S = sqrt(beta^2 + 4 theta^2), where theta is `weight`."""
    return sp.sqrt(beta**2 + 4 * weight**2)


def distance(weight: sp.Expr, beta: sp.Expr) -> sp.Expr:
    """Return the distance g = sqrt(beta^2 + 4 theta^2) - beta from 0, where theta is `weight`."""
    return metric(weight, beta) - beta


def products() -> Claims:
    """With theta = m u, the flow conserves beta = m^2 - u^2, and theta' = -S dL/dtheta.

    Here S = m^2 + u^2 = sqrt(beta^2 + 4 theta^2). A reset sets m = sqrt((beta + S)/2) and u = theta/m, which
    restores beta and leaves theta unchanged. In the coordinate p = asinh(2 theta/beta)/2, the flow is
    p' = -dL/dtheta.
    """
    m, u = sp.Symbol("m", positive=True), sp.Symbol("u", real=True)
    loss = sp.Function("L")
    flow = gradient_flow(loss(m * u), (m, u))
    slope = sp.diff(loss(theta), theta).subs(theta, m * u)
    reset = sp.sqrt((beta + metric(theta, beta)) / 2)
    mirror = sp.asinh(2 * theta / beta) / 2
    where = {beta: m**2 - u**2, theta: m * u}
    return (
        Equation(Rate(m**2 - u**2), sp.Integer(0), rate(m**2 - u**2, flow)),
        Equation(Rate(m * u), -(m**2 + u**2) * slope, rate(m * u, flow)),
        Equation((m**2 + u**2) ** 2, metric(theta, beta) ** 2, (m**2 + u**2) ** 2, where),
        Equation(m**2 - u**2, beta, reset**2 - (theta / reset) ** 2, given=sp.Eq(m, reset)),
        Equation(m**2 + u**2, metric(theta, beta), reset**2 + (theta / reset) ** 2, given=sp.Eq(m, reset)),
        Equation(sp.Derivative(mirror, theta), 1 / metric(theta, beta), sp.diff(mirror, theta)),
    )


def conservation() -> Claims:
    """For any data, any d, any activation pattern and any shares, c_S = S(a) - sum_i S(w_i) is conserved.

    Since S' = 4 theta theta'/S = -4 theta dL/dtheta, this follows from a dL/da = w.dL/dw, which holds because
    the output is linear in a and homogeneous in w. This equation holds for every sample, whatever its label
    and its share alpha. So c_S is also conserved on a slide and under label noise.
    """
    i = sp.Symbol("i", integer=True)
    d = sp.Symbol("d", integer=True, positive=True)
    w, x = sp.IndexedBase("w", real=True), sp.IndexedBase("x", real=True)
    active, inactive = sample_pull(True), sample_pull(False)
    pull_a, pull_w = (alpha * on + (1 - alpha) * off for on, off in zip(active, inactive, strict=True))
    growth = {
        weight: sp.diff(metric(theta, b), theta).subs(theta, weight) * metric(weight, b)
        for weight, b in ((a, beta_a), (w[i], beta_w))
    }
    moved = growth[a] * pull_a - sp.Sum(growth[w[i]] * pull_w * x[i], (i, 1, d))
    loss = sp.Function("L")(theta)
    speed = -metric(theta, beta) * sp.diff(loss, theta)
    return (
        Equation(
            Rate(metric(theta, beta)),
            -4 * theta * sp.diff(loss, theta),
            rate(metric(theta, beta), {theta: speed}),
        ),
        Equation(a * sp.Symbol("dL/da"), -z * pull_w, -a * pull_a),
        Equation(Rate(sp.Symbol("c_S")), sp.Integer(0), moved, {z: sp.Sum(w[i] * x[i], (i, 1, d))}),
    )


def sliding() -> Claims:
    """On a slide, w' = D (g + lambda x_j) with lambda = -x_j.D g/(x_j.D x_j).

    D is the diagonal matrix of the S of all coordinates, and g is -dL/dw without sample j. The added term is
    orthogonal to the hyperplane in the metric D^-1. The share of sample j is lambda/(a y_j/n). Since
    w'.D^-1 w' = w'.g, the motion of w lowers the loss as if sample j were absent.
    """
    scales = sp.symbols("S_1:4", positive=True)
    g, x = (sp.symbols(f"{name}_1:4", real=True) for name in "gx")
    share, jump = sp.Symbol("alpha_j", real=True), sample_pull(True)[1].subs(z, 0)  # a y_j/n

    def dot(*vectors: Iterable[sp.Expr]) -> sp.Expr:
        return sum((sp.prod(parts) for parts in zip(*vectors, strict=True)), sp.Integer(0))

    pushed = [S * (pull + share * jump * part) for S, pull, part in zip(scales, g, x, strict=True)]
    found = sp.solve(dot(pushed, x), share)[0]
    slide = [speed.subs(share, found) for speed in pushed]
    return (
        Equation(sp.Symbol("lambda"), -dot(scales, x, g) / dot(scales, x, x), found * jump),
        Equation(Rate(sp.Symbol("w.x_j")), sp.Integer(0), dot(slide, x)),
        Equation(sp.Symbol("w'.D^-1 w'"), dot(slide, g), dot(slide, slide, [1 / S for S in scales])),
    )


def limits() -> Claims:
    """As beta -> 0, S tends to 2 |theta|; as beta -> infinity, beta g/2 tends to theta^2.

    So for small betas, c_S tends to 2 (|a| - |w|_1). For large equal betas, beta (g(a) - sum_i g(w_i))/2
    tends to a^2 - |w|^2, the balance of plain weights. S/beta tends to 1, so the flow tends to the flow of
    plain weights, run beta times as fast.
    """
    return (
        Equation(
            sp.Limit(sp.Function("S")(theta), beta, 0),
            2 * sp.Abs(theta),
            sp.limit(metric(theta, beta), beta, 0),
        ),
        Equation(
            sp.Limit(beta * sp.Function("g")(theta) / 2, beta, sp.oo),
            theta**2,
            sp.limit(beta * distance(theta, beta) / 2, beta, sp.oo),
        ),
        Equation(
            sp.Limit(sp.Function("S")(theta) / beta, beta, sp.oo),
            sp.Integer(1),
            sp.limit(metric(theta, beta) / beta, beta, sp.oo),
        ),
    )


def distances() -> Claims:
    """Distances g grow from 0 with |theta|, fall as beta grows, and satisfy sum_i g(w_i) >= g(|w|).

    The last inequality holds because g(sqrt x) is concave in x. Merge the coordinates one by one: merging
    x = w_i^2 > 0 and y > 0 into x + y lowers the sum by g(sqrt x) + g(sqrt y) - g(sqrt(x + y)), which is
    positive. So the inequality is strict if two coordinates differ from 0. Balanced starts therefore have
    g(a) < sum_i g(w_i) in d > 1 if the betas are equal, and in any d if beta_a > beta_w.
    """
    size, x, y = sp.symbols("|theta| x y", positive=True)
    g = sp.Function("g")
    S = metric(size, beta)
    A, B, D = (metric(sp.sqrt(square), beta) for square in (x, y, x + y))
    lost = A + B - D - beta
    return (
        Equation(g(0), sp.Integer(0), distance(sp.Integer(0), beta)),
        Inequality(g(theta), sp.Gt, 4 * size**2 / (S + beta), distance(size, beta), given=sp.Ne(theta, 0)),
        Inequality(sp.Derivative(g(size), size), sp.Gt, 4 * size / S, sp.diff(distance(size, beta), size)),
        Inequality(
            sp.Derivative(g(size), beta),
            sp.Lt,
            -4 * size**2 / (S * (S + beta)),
            sp.diff(distance(size, beta), beta),
        ),
        Inequality(
            sp.Derivative(g(sp.sqrt(x)), (x, 2)),
            sp.Lt,
            -4 / A**3,
            sp.diff(distance(sp.sqrt(x), beta), x, 2),
        ),
        Inequality(
            g(sp.sqrt(x)) + g(sp.sqrt(y)) - g(sp.sqrt(x + y)),
            sp.Gt,
            32 * x * y / ((A * B + beta * D) * (A + B + D + beta)),
            lost,
        ),
    )


def line_flow() -> Flow:
    """Return the flow in one coordinate on either side of w = 0, with the C and s of that side."""
    return {
        line.a: metric(line.a, beta_a) * line.FLOW[line.a],
        line.w: metric(line.w, beta_w) * line.FLOW[line.w],
    }


def line_invariants() -> Claims:
    """On either side of w = 0, the flow conserves c_S, and s - a w decays without changing sign.

    If s = 0, then (log |w|)' = -C S(w) a^2, so w never reaches 0, and a w tends to 0. If C and s are equal on
    both sides, the map (a, w) -> (-a, -w) takes the flow on one side to the flow on the other side.
    """
    flow, w, s, C = line_flow(), line.w, line.s, line.C
    c = metric(line.a, beta_a) - metric(w, beta_w)
    residual = s - line.a * w
    decay = C * (metric(line.a, beta_a) * w**2 + metric(w, beta_w) * line.a**2)
    mirror = {line.a: -line.a, w: -w}
    return (
        Equation(Rate(sp.Symbol("c_S")), sp.Integer(0), rate(c, flow)),
        Equation(Rate(residual), -decay * residual, rate(residual, flow)),
        Equation(
            Rate(sp.log(sp.Abs(w))),
            -C * metric(w, beta_w) * line.a**2,
            flow[w].subs(s, 0) / w,
            given=sp.Eq(s, 0),
        ),
        *(Equation(Rate(-x), -flow[x], flow[x].subs(mirror, simultaneous=True)) for x in flow),
    )


def line_axes() -> Claims:
    """From a < 0 < w with s > 0, a reaches 0 first if g(a) < g(w), and w reaches 0 first if g(a) > g(w).

    Both |a| and w fall, and c = g(a) - g(w) is conserved. Where w = 0, c = g(a) >= 0; where a = 0,
    c = -g(w) <= 0. Where a = 0 < w, a' is positive, so the flow goes on to a w = s. Where w = 0,
    w' = C beta_w a s has the sign of a s, as for plain weights. So if a < 0, w sticks or goes on to w < 0. If
    c = 0, a and w tend to 0 together; at equal betas, a = -w and w' = -C S w (s + w^2).
    """
    flow, w, s, C = line_flow(), line.w, line.s, line.C
    below = {line.a: -down, w: ahead, s: drive}
    between = sp.And(line.a < 0, w > 0, s > 0)
    even = {line.a: -w, beta_a: beta, beta_w: beta}
    pull = C * (drive + down * ahead)
    on_a, on_w = sp.And(sp.Eq(line.a, 0), w > 0, s > 0), sp.Eq(w, 0)
    return (
        Inequality(
            Rate(line.a), sp.Gt, metric(down, beta_a) * ahead * pull, flow[line.a].subs(below), given=between
        ),
        Inequality(Rate(w), sp.Lt, -metric(ahead, beta_w) * down * pull, flow[w].subs(below), given=between),
        Inequality(
            Rate(line.a),
            sp.Gt,
            beta_a * C * ahead * drive,
            flow[line.a].subs({line.a: 0, w: ahead, s: drive}),
            given=on_a,
        ),
        Equation(Rate(w), C * beta_w * line.a * s, flow[w].subs(w, 0), given=on_w),
        Equation(Rate(line.a), sp.Integer(0), flow[line.a].subs(w, 0), given=on_w),
        Equation(Rate(w), -C * metric(w, beta) * w * (s + w**2), flow[w].subs(even), given=sp.Eq(line.a, -w)),
        Equation(Rate(line.a + w), sp.Integer(0), rate(line.a + w, flow).subs(even), given=sp.Eq(line.a, -w)),
    )
