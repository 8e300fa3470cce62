"""The loss and its gradient."""

import numpy as np

from singleneuron.problem.arguments import Array
from singleneuron.problem.line import angle_kernel
from singleneuron.problem.problem import Problem, Sample
from singleneuron.problem.reduction import reduce
from singleneuron.problem.state import Starts, State


def loss(problem: Problem, state: Starts) -> Array:
    """Compute the loss L(a, w), half the mean squared error.

    For the population, the constant sigma^2/2 that label noise adds is left out.

    Parameters
    ----------
    problem : Population or Sample
        The problem that defines the loss.
    state : State or Reduced
        Students (..., B); must be a `State` if `problem` is a `Sample`.

    Returns
    -------
    ndarray, shape (..., B)
        Loss of each student.

    Raises
    ------
    ValueError
        If `problem` is a `Sample` and `state` is reduced.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) gives L = a^2 |w|^2/4 + 1/4 - a |w| k(theta).

    Examples
    --------
    The first student equals the target; the second outputs 0:

    >>> import singleneuron as sn
    >>> state = sn.State(a=[1.0, 0.0], w=[[1.0, 0.0], [1.0, 0.0]])
    >>> sn.loss(sn.Population(d=2), state).round(6).tolist()
    [0.0, 0.25]
    """
    if isinstance(problem, Sample):
        if not isinstance(state, State):
            raise ValueError("samples need full states with w (B, d), but got reduced (a, p, q); use State")
        outputs = state.a[..., None] * np.maximum(
            state.w @ problem.x.T, 0
        )  # (..., B, d) x (d, n) -> (..., B, n)
        return np.asarray(0.5 * np.mean((outputs - problem.y) ** 2, axis=-1))
    if isinstance(state, State):
        state = reduce(problem, state)
    rho, theta = np.hypot(state.p, state.q), np.arctan2(state.q, state.p)
    # In the form (a rho - 1)^2/4 + a rho (1/2 - k), nothing cancels near the target.
    return (state.a * rho - 1) ** 2 / 4 + state.a * rho * (0.5 - angle_kernel(theta))


def gradient(problem: Problem, state: State) -> tuple[Array, Array]:
    """Compute the gradient (dL/da, dL/dw), with phi'(0) = 0; the flow follows the negative gradient.

    Parameters
    ----------
    problem : Population or Sample
        The problem that defines the loss, in d coordinates.
    state : State
        Students a (..., B), w (..., B, d).

    Returns
    -------
    da : ndarray, shape (..., B)
        Derivative with respect to the outer weight.
    dw : ndarray, shape (..., B, d)
        Derivative with respect to the inner weights; 0 at w = 0.

    Raises
    ------
    ValueError
        If w does not have the d coordinates of the problem.

    Examples
    --------
    >>> import singleneuron as sn
    >>> da, dw = sn.gradient(sn.Population(d=2), sn.State(a=[1.0], w=[[2.0, 0.0]]))
    >>> float(da[0].round(6)), dw[0].round(6).tolist()
    (1.0, [0.5, 0.0])
    """
    if state.d != problem.d:
        raise ValueError(f"w must have d = {problem.d} coordinates, but has {state.d}")
    if isinstance(problem, Sample):
        z = state.w @ problem.x.T
        active = np.maximum(z, 0)
        residual = state.a[..., None] * active - problem.y
        da = np.mean(residual * active, axis=-1)
        dw = state.a[..., None] * ((residual * (z > 0)) @ problem.x) / problem.n
        return da, dw
    rho = np.linalg.norm(state.w, axis=-1)
    reduced = reduce(problem, state)
    theta = np.arctan2(reduced.q, reduced.p)
    direction = np.divide(state.w, rho[..., None], out=np.zeros_like(state.w), where=rho[..., None] > 0)
    # d(rho k)/dw = ((pi - theta) v + sin(theta) w/rho) / (2 pi), which is set to 0 at w = 0.
    pull = (np.pi - theta)[..., None] * problem.v + np.sin(theta)[..., None] * direction
    pull = np.where(rho[..., None] > 0, pull, 0.0) / (2 * np.pi)
    da = state.a * rho**2 / 2 - rho * angle_kernel(theta)
    return da, (state.a**2 / 2)[..., None] * state.w - state.a[..., None] * pull
