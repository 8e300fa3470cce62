"""The population flow in d > 1 (Lemma 2.2): its loss, from Gaussian integrals, and its polar form."""

import sympy as sp

from singleneuron.theory.claims import Claims, Equation, Inequality
from singleneuron.theory.definitions import Flow, Rate, error, gaussian, gradient_flow, rate, relu, student

# w = p v + q e, where e is a unit vector orthogonal to v. rho is |w|, and theta is the angle between w and v.
a, p = sp.symbols("a p", real=True)
q, rho = sp.symbols("q rho", positive=True)
theta = sp.Symbol("theta", nonnegative=True)
POLAR = {rho: sp.sqrt(p**2 + q**2), theta: sp.atan2(q, p)}

r, angle, deviation = sp.symbols("r alpha sigma", positive=True)
noise = sp.Symbol("epsilon", real=True)


def angle_kernel(theta: sp.Expr) -> sp.Expr:
    """Return k(theta) = (sin theta + (pi - theta) cos theta) / (2 pi)."""
    return (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)) / (2 * sp.pi)


def kernel_slope(theta: sp.Expr) -> sp.Expr:
    """Return k'(theta) = -(pi - theta) sin theta / (2 pi)."""
    return -(sp.pi - theta) * sp.sin(theta) / (2 * sp.pi)


def loss() -> sp.Expr:
    """Return the population loss L(a, rho, theta) without label noise."""
    return a**2 * rho**2 / 4 + sp.Rational(1, 4) - a * rho * angle_kernel(theta)


def polar_flow(k: sp.Expr, slope: sp.Expr) -> Flow:
    """Return the flow of (a, rho, theta), where `k` is k(theta) and `slope` is k'(theta)."""
    return {
        a: -a * rho**2 / 2 + rho * k,
        rho: a * k - a**2 * rho / 2,
        theta: a / rho * slope,
    }


def plane_flow() -> Flow:
    """Derive the flow of (a, p, q) from the population loss."""
    return gradient_flow(loss().subs(POLAR), (a, p, q))


def sector_mean(integrand: sp.Expr, start: sp.Expr, end: sp.Expr) -> sp.Expr:
    """Compute the contribution to E[integrand] of the inputs at angles alpha between `start` and `end`.

    The projection of an input onto the plane of v and w has the distribution N(0, I_2). Its polar coordinates
    are r and alpha; v is at the angle 0, and w is at the angle theta.
    """
    density = r * sp.exp(-(r**2) / 2) / (2 * sp.pi)
    radial = sp.integrate(sp.expand(integrand * density), (r, 0, sp.oo))
    return sp.integrate(radial, (angle, start, end))


Z_TARGET, Z_STUDENT = r * sp.cos(angle), rho * r * sp.cos(angle - theta)


def active_sectors() -> list[tuple[bool, bool, sp.Expr, sp.Expr]]:
    """List the four sectors of the plane as (v.x > 0, w.x > 0, start, end), for 0 < theta < pi.

    A neuron whose weights point in the direction beta is active iff alpha is within pi/2 of beta. So the
    sectors end at beta - pi/2 and beta + pi/2, where beta is 0 for the target and theta for the student.
    """
    half = sp.pi / 2
    return [
        (True, False, -half, theta - half),
        (True, True, theta - half, half),
        (False, True, half, theta + half),
        (False, False, theta + half, 3 * half),
    ]


def active_half_planes() -> Claims:
    """phi(w.x) is active iff x makes an angle below pi/2 with w; this gives the sectors of the integrals.

    The directions within pi/2 of w are at the angles theta + arctan(s), for real s. The opposite directions
    are at theta + pi + arctan(s).
    """
    s = sp.Symbol("s", real=True)
    return tuple(
        Inequality(
            sp.Symbol("w.x"),
            relation,
            sign * rho * r / sp.sqrt(1 + s**2),
            Z_STUDENT.subs(angle, theta + turn + sp.atan(s)),
            given=sp.Eq(angle, theta + turn + sp.atan(s)),
        )
        for turn, sign, relation in ((0, 1, sp.Gt), (sp.pi, -1, sp.Lt))
    )


def correlation() -> Claims:
    """E[phi(w.x) phi(v.x)] = rho k(theta), E[phi(w.x)^2] = rho^2/2 and E[phi(v.x)^2] = 1/2 (Lemma 2.2)."""
    cross = square = unit = sp.Integer(0)
    for on_target, on_student, start, end in active_sectors():
        f, y = relu(Z_STUDENT, on_student), relu(Z_TARGET, on_target)
        cross += sector_mean(f * y, start, end)
        square += sector_mean(f**2, start, end)
        unit += sector_mean(y**2, start, end)
    return (
        Equation(sp.Symbol("E[phi(w.x)phi(v.x)]"), rho * angle_kernel(theta), cross),
        Equation(sp.Symbol("E[phi(w.x)^2]"), rho**2 / 2, square),
        Equation(sp.Symbol("E[phi(v.x)^2]"), sp.Rational(1, 2), unit),
    )


def loss_from_definition() -> Claims:
    """Half the mean squared error is L = a^2 rho^2/4 + 1/4 - a rho k(theta) + sigma^2/2 (Lemma 2.2)."""
    density = gaussian(noise / deviation) / deviation
    total = sp.Integer(0)
    for on_target, on_student, start, end in active_sectors():
        squared = error(student(a, Z_STUDENT, on_student), relu(Z_TARGET, on_target) + noise)
        averaged = sp.integrate(sp.expand(squared * density), (noise, -sp.oo, sp.oo))
        total += sector_mean(averaged, start, end)
    return (Equation(sp.Symbol("L"), loss() + deviation**2 / 2, total),)


def one_kept_coordinate() -> Claims:
    """One coordinate z at the angle theta to the target has s_pos = 2 k(theta) and s_neg = -2 k(pi - theta).

    This applies if a mask keeps only one of several target coordinates. On each side of z = 0, C = 1/2 and
    s = E[z y]/E[z^2], where both means are over that side. This is beyond the paper.
    """
    z = Z_STUDENT / rho
    claims: list[Equation] = []
    for side, stated in ((True, 2 * angle_kernel(theta)), (False, -2 * angle_kernel(sp.pi - theta))):
        square = product = sp.Integer(0)
        for on_target, positive, start, end in active_sectors():
            if positive is side:
                square += sector_mean(z**2, start, end)
                product += sector_mean(z * relu(Z_TARGET, on_target), start, end)
        name = "pos" if side else "neg"
        claims += [
            Equation(sp.Symbol(f"C_{name}"), sp.Rational(1, 2), square),
            Equation(sp.Symbol(f"s_{name}"), stated, product / square),
        ]
    return tuple(claims)


def kernel_shape() -> Claims:
    """On [0, pi], k falls from 1/2 to 0, because k' = -(pi - theta) sin theta/(2 pi) < 0 in between.

    Near pi, k = (delta^3/3 - delta^5/30 + delta^7/840 - ...)/(2 pi), where delta = pi - theta. This is the
    kernel of Lemma 2.2.
    """
    delta, u = sp.symbols("delta u", positive=True)
    k = angle_kernel(theta)
    series = delta**3 / 3 - delta**5 / 30 + delta**7 / 840 - delta**9 / 45360
    expansion = sp.series(2 * sp.pi * sp.expand_trig(angle_kernel(sp.pi - delta)), delta, 0, 10).removeO()
    # theta = pi - 2 arctan(1/u) with u > 0 ranges over (0, pi).
    between = kernel_slope(theta).subs(theta, sp.pi - 2 * sp.atan(1 / u))
    return (
        Equation(sp.Function("k")(0), sp.Rational(1, 2), k.subs(theta, 0)),
        Equation(sp.Function("k")(sp.pi), sp.Integer(0), k.subs(theta, sp.pi)),
        Equation(sp.Derivative(sp.Function("k")(theta), theta), kernel_slope(theta), sp.diff(k, theta)),
        Inequality(
            sp.Derivative(sp.Function("k")(theta), theta),
            sp.Lt,
            -2 * sp.atan(1 / u) * u / (sp.pi * (1 + u**2)),
            between,
        ),
        Equation(2 * sp.pi * sp.Function("k")(sp.pi - delta), series, expansion),
    )


def correlation_gradient() -> Claims:
    """In any d, the gradient of rho k(theta) is ((pi - theta) v + sin(theta) w/rho) / (2 pi) (Lemma 2.2).

    rho k depends on w through p = w.v and rho = |w|, whose gradients are v and w/rho. So the coefficients of
    v and w/rho are the partial derivatives of rho k with respect to p and rho.
    """
    pull = rho * angle_kernel(sp.acos(p / rho))
    where = {theta: sp.acos(p / rho)}
    return (
        Equation(sp.Symbol("along v"), (sp.pi - theta) / (2 * sp.pi), sp.diff(pull, p), where),
        Equation(sp.Symbol("along w/rho"), sp.sin(theta) / (2 * sp.pi), sp.diff(pull, rho), where),
    )


def conservation_and_energy() -> Claims:
    """Along the population flow, c = a^2 - |w|^2 is constant, and dL/dt = -(a'^2 + |w'|^2) (Lemma 2.2)."""
    flow = plane_flow()
    L = loss().subs(POLAR)
    return (
        Equation(Rate(sp.Symbol("c")), sp.Integer(0), rate(a**2 - p**2 - q**2, flow)),
        Equation(
            Rate(sp.Symbol("L")) + sum(Rate(name) ** 2 for name in flow),
            sp.Integer(0),
            rate(L, flow) + sum(speed**2 for speed in flow.values()),
        ),
    )


def polar_form() -> Claims:
    """In polar form a' = -a rho^2/2 + rho k, (log rho)' = a k/rho - a^2/2, theta' = a k'/rho (Lemma 2.2)."""
    flow = plane_flow()
    polar = polar_flow(angle_kernel(theta), kernel_slope(theta))
    return (
        Equation(Rate(a), polar[a], flow[a], POLAR),
        Equation(Rate(sp.log(rho)), sp.expand(polar[rho] / rho), rate(sp.log(POLAR[rho]), flow), POLAR),
        Equation(Rate(theta), polar[theta], rate(POLAR[theta], flow), POLAR),
    )


def log_tan_coordinate() -> Claims:
    """In the coordinate x = log tan(theta/2), the angle obeys x' = -(a/rho)(pi - theta)/(2 pi).

    Moreover, w_1 = -rho tanh x and q = |w_perp| = rho/cosh x. This is beyond the paper.
    """
    x = sp.log(sp.tan(theta / 2))
    polar = polar_flow(angle_kernel(theta), kernel_slope(theta))
    u = sp.Symbol("u", positive=True)  # tan(theta/2)
    half = {theta: 2 * sp.atan(u)}
    cosine, sine = ((1 - u**2) / (1 + u**2), 2 * u / (1 + u**2))
    return (
        Equation(
            Rate(sp.Symbol("x")), -a / rho * (sp.pi - theta) / (2 * sp.pi), rate(x, polar).rewrite(sp.sin)
        ),
        Equation(sp.Symbol("w_1"), rho * cosine, (-rho * sp.tanh(sp.log(u))).rewrite(sp.exp)),
        Equation(q, rho * sine, (rho / sp.cosh(sp.log(u))).rewrite(sp.exp)),
        Equation(sp.cos(theta), cosine, sp.expand_trig(sp.cos(theta).subs(half))),
        Equation(sp.sin(theta), sine, sp.expand_trig(sp.sin(theta).subs(half))),
    )


def masked_target() -> Claims:
    """If a mask keeps only nu = |mask * v| < 1 of the target, then x' = -nu (a/rho)(pi - theta)/(2 pi).

    Here x = log tan(psi/2), where psi is the angle between w and mask * v. The angle theta between w and v
    follows from cos theta = nu cos psi = -nu tanh x. This is beyond the paper.
    """
    nu = sp.Symbol("nu", positive=True)
    # p = w.u, where u is the unit vector along mask * v. For masked weights, the gradients of p and rho are
    # u and w/rho.
    kept = sp.acos(nu * p / rho)
    along_w, along_u = (-sp.diff(loss().subs(theta, kept), variable) for variable in (rho, p))
    flow = {rho: along_w + along_u * p / rho, p: along_u + along_w * p / rho}
    # tan(psi/2)^2 = (rho - p)/(rho + p)
    x = sp.log((rho - p) / (rho + p)) / 2
    stated = -nu * a / rho * (sp.pi - theta) / (2 * sp.pi)
    return (Equation(Rate(sp.Symbol("x")), stated, rate(x, flow), {theta: kept}),)


def critical_points() -> Claims:
    """Except at w = 0, L is stationary only at its minimum and where a = 0 and theta = pi (Lemma 2.2).

    At the minimum, theta = 0 and a rho = 1. No point with 0 < theta < pi is stationary: theta' has the sign
    of -a there, and if a = 0, then a' = rho k > 0. At theta = 0, a' and rho' vanish iff a rho = 1. At
    theta = pi, they vanish iff a = 0.
    """
    k, u = sp.symbols("k u", positive=True)
    polar = polar_flow(angle_kernel(theta), kernel_slope(theta))
    between = sp.Eq(theta, sp.pi - 2 * sp.atan(1 / u))
    turn = (polar[theta] / -a).subs(theta, between.rhs)
    on, against = sp.Eq(theta, 0), sp.Eq(theta, sp.pi)
    at_target, opposite = (
        {name: speed.subs(theta, case.rhs) for name, speed in polar.items()} for case in (on, against)
    )
    return (
        Inequality(
            -Rate(theta) / a, sp.Gt, 2 * u * sp.atan(1 / u) / (sp.pi * rho * (1 + u**2)), turn, given=between
        ),
        Inequality(
            Rate(a), sp.Gt, rho * k, polar_flow(k, kernel_slope(theta))[a].subs(a, 0), given=sp.Eq(a, 0)
        ),
        Equation(Rate(a), rho * (1 - a * rho) / 2, at_target[a], given=on),
        Equation(Rate(rho), a * (1 - a * rho) / 2, at_target[rho], given=on),
        Equation(Rate(a), -a * rho**2 / 2, opposite[a], given=against),
        Equation(Rate(rho), -(a**2) * rho / 2, opposite[rho], given=against),
    )


def limit_state() -> Claims:
    """If the flow succeeds, it is bounded and tends to a rho = 1, a^2 = (c + sqrt(c^2 + 4))/2 (Theorem A.1).

    L = (a rho - 2k)^2/4 + (1 - 4k^2)/4 never grows, so the product of a and rho is bounded. Since a^2 - rho^2
    is the constant c, a and rho are bounded as well.
    """
    k, c = sp.Symbol("k", positive=True), sp.Symbol("c", real=True)
    square = (c + sp.sqrt(c**2 + 4)) / 2
    abstract = (a * rho - 2 * k) ** 2 / 4 + (1 - 4 * k**2) / 4
    return (
        Equation(sp.Symbol("L"), abstract, loss(), {k: angle_kernel(theta)}),
        Equation(a**2 - 1 / a**2, c, square - 1 / square, given=sp.Eq(a**2, square)),
    )
