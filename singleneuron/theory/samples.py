"""Training on samples: conservation of the balance, the energy law, and sliding along a hyperplane."""

import sympy as sp

from singleneuron.theory.claims import Claims, Equation, Inequality
from singleneuron.theory.definitions import Flow, Rate, error, gradient_flow, rate, student

a, z, y = sp.symbols("a z y", real=True)
n = sp.Symbol("n", integer=True, positive=True)
alpha = sp.Symbol("alpha", nonnegative=True)


def sample_pull(active: bool) -> tuple[sp.Expr, sp.Expr]:
    """Derive the term that a sample with w.x = z adds to a', and the factor g of its term g x in w'."""
    loss = error(student(a, z, active), y) / n
    return -sp.diff(loss, a), -sp.diff(loss, z)


def cell_flow() -> Claims:
    """In a cell, where the activation pattern is fixed, a' = w.b - a w.Aw and w' = a b - a^2 A w.

    Here A = (1/n) sum x x^T and b = (1/n) sum y x, summed over the active samples, for any d. The claims
    prove this for one sample, where w.Aw = z^2/n, w.b = z y/n, A w = (z/n) x and b = (y/n) x. This is beyond
    the paper.
    """
    pull_a, pull_w = sample_pull(active=True)
    return (
        Equation(Rate(a), z * y / n - a * z**2 / n, pull_a),
        Equation(sp.Symbol("w'/x"), a * y / n - a**2 * z / n, pull_w),
        Equation(sp.Symbol("a'_off"), sp.Integer(0), sample_pull(active=False)[0]),
        Equation(sp.Symbol("w'_off"), sp.Integer(0), sample_pull(active=False)[1]),
    )


def conservation() -> Claims:
    """For any data, any d, any activation pattern and any shares, the flow conserves c = a^2 - |w|^2.

    Each sample counts with a share alpha. The share is 1 if w is on the active side of the sample's
    hyperplane, 0 if w is on the other side, and between 0 and 1 while w slides along the hyperplane
    (Filippov). A sample that adds g x to w' adds g w.x to both w.w' and a a', so a a' - w.w' = 0. The
    balanced initialisation of the paper has c = 0; other values of c are beyond the paper.
    """
    active, inactive = sample_pull(True), sample_pull(False)
    pull_a, pull_w = (alpha * on + (1 - alpha) * off for on, off in zip(active, inactive, strict=True))
    return (Equation(Rate(sp.Symbol("c")), sp.Integer(0), 2 * a * pull_a - 2 * pull_w * z),)


# The slide is studied for three samples in d = 3: sample 1 is active, sample 2 is not, and w slides on the
# hyperplane of sample 3. The axes are rotated so that x_3 = r e_1, so w_1 = 0 on the slide.
w = sp.symbols("w_1:4", real=True)
x1 = sp.symbols("x_11:14", real=True)
y1, y2, y3 = sp.symbols("y_1:4", real=True)
r = sp.Symbol("r", positive=True)
share = sp.Symbol("alpha_3", real=True)
ON_SLIDE = {w[0]: sp.Integer(0)}


def _slide() -> tuple[sp.Expr, Flow, Flow, sp.Expr]:
    """Derive the loss, the flow without sample 3, the sliding flow and alpha_3, all on the slide."""
    z1 = sum((wi * xi for wi, xi in zip(w, x1, strict=True)), sp.Integer(0))
    cell_loss = (error(student(a, z1), y1) + error(student(a, z, False), y2)) / n
    sliding_loss = error(student(a, r * w[0]), y3) / n
    cell, on = (gradient_flow(loss, (a, *w)) for loss in (cell_loss, sliding_loss))
    speed = {name: (cell[name] + share * on[name]).subs(ON_SLIDE) for name in cell}
    alpha_3 = sp.solve(speed[w[0]], share)[0]
    flow = {name: value.subs(share, alpha_3) for name, value in speed.items()}
    cell = {name: value.subs(ON_SLIDE) for name, value in cell.items()}
    return (cell_loss + sliding_loss).subs(ON_SLIDE), cell, flow, alpha_3


def sliding() -> Claims:
    """While w slides on the hyperplane of sample j, w' is g minus the projection of g onto x_j.

    Here g is w' without the contribution of sample j. This sample counts with the share
    alpha_j = -x_j.g / (|x_j|^2 a y_j/n), which keeps w.x_j at 0. Across the hyperplane, w' jumps by
    a y_j x_j/n. This is beyond the paper.
    """
    _, cell, flow, alpha_3 = _slide()
    jump = (sample_pull(True)[1] - sample_pull(False)[1]).subs(z, 0)
    return (
        Equation(share, -r * cell[w[0]] / (r**2 * a * y3 / n), alpha_3),
        Equation(Rate(w[0]), sp.Integer(0), flow[w[0]]),
        *(Equation(Rate(name), cell[name], flow[name]) for name in (a, *w[1:])),
        Equation(sp.Symbol("jump/x"), a * y / n, jump),
    )


def attraction() -> Claims:
    """Both sides of a hyperplane can push w towards it only if a y < 0; if a y > 0, w crosses or is repelled.

    On the active side, the speed v = (w.x)' exceeds its value on the inactive side by a y r^2/n, where
    r = |x|. So if a y < 0, v is larger on the inactive side. This is beyond the paper.
    """
    against = sp.Symbol("m", positive=True)
    jump = (sample_pull(True)[1] - sample_pull(False)[1]).subs(z, 0) * r**2
    return (
        Inequality(
            sp.Symbol("v_on") - sp.Symbol("v_off"),
            sp.Lt,
            -against * r**2 / n,
            jump.subs(y, -against / a),
            given=sp.Lt(a * y, 0),
        ),
    )


def energy_law() -> Claims:
    """In a cell and on a slide, dL/dt = -(a'^2 + |w'|^2).

    In a cell, this follows from the chain rule. On a slide, the sample whose hyperplane contains w adds a
    constant to L, and w' is orthogonal to the force that holds w on the hyperplane. The law on a slide is
    beyond the paper.
    """
    loss = sp.Function("L")(a, *w)
    slide_loss, _, slide, _ = _slide()
    return tuple(
        Equation(
            Rate(sp.Symbol("L")) + sum(Rate(name) ** 2 for name in flow),
            sp.Integer(0),
            rate(energy, flow) + sum(speed**2 for speed in flow.values()),
        )
        for energy, flow in ((loss, gradient_flow(loss, loss.args)), (slide_loss, slide))
    )
