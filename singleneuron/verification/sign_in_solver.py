"""Solve single runs under Sign-In independently, by applying LSODA to the factors m and u of every weight.

The integration follows the gradient of the loss in (m, u). It uses neither the metric nor the conservation
law nor the coordinates of the kernels. As in `reference_solver`, theory determines the limit from the state
at the end of the integration.
"""

import math
from collections.abc import Callable

import numpy as np

from singleneuron.parameterization import Parameterization
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.loss import gradient
from singleneuron.problem.problem import Population
from singleneuron.problem.reduction import reduce
from singleneuron.problem.state import State
from singleneuron.problem.status import line_status, success
from singleneuron.verification.reference_solver import T_END, TIP, VANISHED, across_zero, solve_ode


def factors(weights: Array, product: Parameterization) -> Array:
    """Return the factors m > 0 and u of the weights (a, w), concatenated, (2 + 2 d,).

    Each weight equals m u. The difference m^2 - u^2 is beta_a for a, and beta_w for each w_i.
    """
    beta = np.where(np.arange(weights.size) == 0, product.beta_a, product.beta_w)
    m = np.sqrt((beta + np.sqrt(beta**2 + 4 * weights**2)) / 2)
    return np.concatenate([m, weights / m])


def _follow(
    slope: Callable[[Array], Array],
    weights: Array,
    t_end: float,
    product: Parameterization,
    left: Callable[[Array], float],
) -> tuple[Array, float, bool]:
    """Integrate the factors of `weights` until `t_end`, or until the function `left` falls to 0.

    `slope` and `left` are functions of the weights (a, w), and `slope` is the gradient of the loss. Returns
    the weights at the end, the time of the end, and whether `left` reached 0.
    """

    def weights_of(y: Array) -> Array:
        m, u = np.split(y, 2)
        return np.asarray(m * u)

    def field(t: float, y: Array) -> Array:
        m, u = np.split(y, 2)
        g = slope(m * u)
        return -np.concatenate([u * g, m * g])

    def event(t: float, y: Array) -> float:
        return left(weights_of(y))

    event.direction = -1  # type: ignore[attr-defined]
    path = solve_ode(field, factors(weights, product), t_end, event)
    return weights_of(path.y[:, -1]), float(path.t[-1]), bool(path.t_events[0].size)


def solve_products(
    problem: Population, a: float, w: Array, t_end: float, product: Parameterization
) -> tuple[float, Array]:
    """Integrate the population flow under Sign-In in d > 1 coordinates.

    Parameters
    ----------
    problem : Population
        The problem.
    a : float
        Outer weight of the start.
    w : ndarray, shape (d,)
        Inner weights of the start.
    t_end : float
        The final time.
    product : Parameterization
        Sign-In and its betas.

    Returns
    -------
    tuple[float, Array]
        a and w (d,) at t_end or, if that is earlier, when a neuron with a < 0 has almost vanished. NaN if the
        solver gives up.
    """
    if t_end == 0:
        return a, w

    def slope(weights: Array) -> Array:
        da, dw = gradient(problem, State(weights[:1], weights[None, 1:]))
        return np.concatenate([da, dw[0]])

    def left(weights: Array) -> float:
        return float(np.linalg.norm(weights[1:])) - TIP if weights[0] < 0 else 1.0

    end, _, _ = _follow(slope, np.append(a, w), t_end, product, left)
    return float(end[0]), end[1:]


def products_outcome(problem: Population, a: float, w: Array, product: Parameterization) -> float:
    """Decide whether the population flow under Sign-In in d > 1 reaches the target in the limit.

    By theory, the state at T_END and the balance of the start determine the limit. If a > 0 at T_END, the
    limit is the target. Otherwise the flow crosses a = 0 later if the balance is negative, and never if not.

    Parameters
    ----------
    problem : Population
        The problem.
    a : float
        Outer weight of the start.
    w : ndarray, shape (d,)
        Inner weights of the start.
    product : Parameterization
        Sign-In and its betas.

    Returns
    -------
    float
        1 if the flow reaches the target, 0 if not. NaN if the solver gives up or is not accurate enough.

    References
    ----------
    The derivations "Sign-In: from a < 0 in d > 1" and "Sign-In: from a > 0 in d > 1" in
    `singleneuron.theory`.
    """
    c = float(product.balance(State(np.array([a]), w[None]))[0])
    end, w_end = solve_products(problem, a, w, T_END, product)
    if math.isnan(end) or (end > 0 > a and c >= 0):
        return math.nan
    if end > 0:
        last = reduce(problem, State(np.array([end]), w_end[None]))
        return 1.0 if last.q[0] > 0 or last.p[0] > 0 else math.nan
    return 0.0 if c >= 0 else 1.0


def solve_product_line(
    a: float, w: float, data: Line, t_end: float, product: Parameterization, *, floor: float = 0.0
) -> tuple[float, float]:
    """Integrate the flow under Sign-In in one coordinate.

    Each side of w = 0 is integrated separately. When the flow reaches w = 0, it either crosses or stops.

    Parameters
    ----------
    a, w : float
        Outer and inner weight of the start.
    data : Line
        Statistics of the data, each a number.
    t_end : float
        The final time.
    product : Parameterization
        Sign-In and its betas.
    floor : float
        Value of |w| at which to stop a flow that tends to w = 0 without ever reaching it.

    Returns
    -------
    tuple[float, float]
        (a, w) at t_end or, if that is earlier, when the flow stops. NaN if the solver gives up.
    """
    t = 0.0
    while w != 0 and t < t_end:
        side = math.copysign(1.0, w)
        rate, slope = (data.c_pos, data.s_pos) if side > 0 else (data.c_neg, data.s_neg)

        def gradient_here(weights: Array, rate: float = rate, slope: float = slope) -> Array:
            return np.asarray(rate * (weights[0] * weights[1] - slope) * weights[::-1])

        def left(weights: Array, side: float = side) -> float:
            return float(side * weights[1]) - floor

        end, passed, arrived = _follow(gradient_here, np.array([a, w]), t_end - t, product, left)
        t, (a, w) = t + passed, end.tolist()
        if floor or not arrived:
            break
        w = across_zero(a, side, data)
    return a, w


def product_line_outcome(a: float, w: float, data: Line, product: Parameterization) -> float:
    """Decide whether the flow under Sign-In in one coordinate converges to a w = s_pos with w > 0.

    By theory, the state at T_END and the balance of the start determine the outcome, which follows from
    `line_status`.

    Parameters
    ----------
    a, w : float
        Outer and inner weight of the start.
    data : Line
        Statistics of the data, each a number.
    product : Parameterization
        Sign-In and its betas.

    Returns
    -------
    float
        1 if the flow converges to a w = s_pos with w > 0, and 0 if not. NaN if the solver gives up or the
        limit is undecided.
    """
    c = product.balance(State(np.array([a]), np.array([[w]])))
    even = c[0] == 0  # if a and w tend to 0 together, rounding errors would drive the flow away from 0 again
    a, w = solve_product_line(a, w, data, T_END, product, floor=VANISHED if even else 0.0)
    if even and w <= VANISHED:
        return 0.0
    if math.isnan(a):
        return math.nan
    return float(success(line_status(np.array([a]), np.array([w]), c, data))[0])
