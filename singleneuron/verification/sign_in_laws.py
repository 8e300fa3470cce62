"""Compare two laws of Sign-In with integration: the conserved balance, and the limit of successful flows."""

import numpy as np
from numpy.typing import NDArray

from signflow.verdicts import Law
from singleneuron.flows.integrate import integrate
from singleneuron.formulas import sign_in
from singleneuron.parameterization import Parameterization, distance
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Population
from singleneuron.problem.seeds import generator
from singleneuron.problem.state import State
from singleneuron.verification import sign_in_solver
from singleneuron.verification.laws import RTOL, compare

PRODUCTS = (
    Parameterization("sign-in"),
    Parameterization("sign-in", beta_a=0.5, beta_w=2.0),
    Parameterization("sign-in", beta_a=3.0, beta_w=0.5),
)
"""Sign-In with equal betas, with beta_a < beta_w, and with beta_a > beta_w."""
LATE = 400.0
"""Time by which flows from a > 0 have reached their limit, to within a small fraction of the tolerance."""


def balances(starts: int, seed: int) -> Law:
    """Compare the balance at the start with its value at four later times, in d = 3.

    The law states that the flow conserves the balance g(a, beta_a) - sum_i g(w_i, beta_w), where g is
    `distance`. All starts have a negative balance, since otherwise the integrator itself relies on this law.
    """
    times, rng = np.array([0.5, 1.0, 2.0, 5.0]), generator(seed)
    w, kind = rng.standard_normal((starts, 3)), np.arange(starts) % len(PRODUCTS)
    lead, sign = rng.uniform(0, 1, starts), rng.choice([-1.0, 1.0], starts)
    a, stated, integrated = np.empty(starts), *np.empty((2, times.size, starts))
    for i, product in enumerate(PRODUCTS):
        chosen = kind == i
        total = distance(w[chosen], product.beta_w).sum(axis=1)
        a[chosen] = sign[chosen] * sign_in.weight_at(lead[chosen] * total, product.beta_a)
        first = State(a[chosen], w[chosen])
        path = integrate(
            Population(3), first, t_eval=times, rtol=RTOL, method="ode", parameterization=product
        ).state
        stated[:, chosen], integrated[:, chosen] = product.balance(first), product.balance(path)

    def again(i: int) -> Array:
        ends = (
            sign_in_solver.solve_products(Population(3), float(a[i]), w[i], t, PRODUCTS[kind[i]])
            for t in times
        )
        return np.array([PRODUCTS[kind[i]].balance(State(np.array([a]), w[None]))[0] for a, w in ends])

    return compare("balance under Sign-In", stated, integrated, _values(a, w, kind), again)


def line_limits(starts: int, seed: int) -> Law:
    """Compare the limit of successful flows in one coordinate, where a w = 1, with flows at t = 400."""
    rng = generator(seed)
    return _limits(rng.uniform(0, 2, starts), rng.uniform(0.5, 1.5, (starts, 1)))


def plane_limits(starts: int, seed: int) -> Law:
    """Compare the limit of successful flows in d = 3, where w = v/a, with flows at t = 400.

    The starts have 0.7 < a < 2, 0.7 < |w| < 1.2, and an angle between 0.1 and 2 to the target v.
    """
    rng = generator(seed)
    theta, rho, turn = rng.uniform(0.1, 2.0, starts), rng.uniform(0.7, 1.2, starts), rng.uniform(0, 7, starts)
    direction = np.stack([np.cos(theta), np.sin(theta) * np.cos(turn), np.sin(theta) * np.sin(turn)])
    return _limits(rng.uniform(0.7, 2, starts), np.transpose(rho * direction))


def _limits(a: Array, w: Array) -> Law:
    """Compare the limits that follow from the balance with flows from (a, w), using `PRODUCTS` in turn."""
    size, d = w.shape
    kind = np.arange(size) % len(PRODUCTS)
    stated, integrated = np.zeros((2, 1 + d, size))
    for i, product in enumerate(PRODUCTS):
        chosen = kind == i
        first = State(a[chosen], w[chosen])
        end = integrate(
            Population(d), first, t_end=LATE, rtol=RTOL, method="ode", parameterization=product
        ).state
        limit = sign_in.sign_in_limit(product.balance(first), product)
        stated[0, chosen], stated[1, chosen] = limit, 1 / limit
        integrated[:, chosen] = np.concatenate([end.a[None], end.w.T])

    def again(i: int) -> Array:
        product = PRODUCTS[kind[i]]
        if d == 1:
            start = float(a[i]), float(w[i, 0])
            return np.array(sign_in_solver.solve_product_line(*start, Line(), LATE, product))
        return np.append(*sign_in_solver.solve_products(Population(d), float(a[i]), w[i], LATE, product))

    name = "limit under Sign-In" + (", one coordinate" if d == 1 else "")
    return compare(name, stated, integrated, _values(a, w, kind), again)


def _values(a: Array, w: Array, kind: NDArray[np.intp]) -> dict[str, Array]:
    """Return the coordinates and the betas of the starts by name, as a counterexample lists them."""
    betas = np.array([[product.beta_a, product.beta_w] for product in PRODUCTS])[kind]
    named = {f"w{i + 1}": w[:, i] for i in range(w.shape[1])}
    return {"a0": a} | named | {"beta_a": betas[:, 0], "beta_w": betas[:, 1]}
