"""Plain weights, or the products of Sign-In: what a trained parameter is, and what its flow conserves."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from singleneuron.problem.arguments import Array, integer_in_range, number
from singleneuron.problem.state import Reduced, Starts, start_balance

Name = Literal["plain", "sign-in"]
PARAMETERIZATIONS: tuple[str, ...] = get_args(Name)


@dataclass(frozen=True)
class Parameterization:
    """How each weight theta of the neuron is parameterized: as itself, or as a product m u (Sign-In).

    The gradient flow in (m, u) conserves beta = m^2 - u^2. It moves theta by
    theta' = -sqrt(beta^2 + 4 theta^2) dL/dtheta, the gradient flow of the loss in a metric.

    Attributes
    ----------
    name : {'plain', 'sign-in'}
        The parameterization.
    beta_a, beta_w : float
        m^2 - u^2 of `a`, and of every coordinate of w; > 0, and 1 for plain weights, which have none.
    reset_every : int, optional
        Gradient descent on (m, u) does not conserve beta. After every so many steps, m and u are set back
        to the given betas, without changing theta. None: only at the start of a level.

    Raises
    ------
    ValueError
        If there is no such parameterization, if a beta is not positive and finite, or if plain weights are
        given an option; the message is one line.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.Parameterization("sign-in", beta_a=2.0)
    Parameterization(name='sign-in', beta_a=2.0, beta_w=1.0, reset_every=None)
    """

    name: str = "plain"
    beta_a: float = 1.0
    beta_w: float = 1.0
    reset_every: int | None = None

    def __post_init__(self) -> None:
        """Check the name, and that the options fit it."""
        if self.name not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, but is {self.name!r}"
            )
        for beta in ("beta_a", "beta_w"):
            object.__setattr__(self, beta, number(beta, getattr(self, beta), least=0.0, open_end=True))
        if self.reset_every is not None:
            integer_in_range("reset_every", self.reset_every, 1)
        if self.plain and (self.beta_a, self.beta_w, self.reset_every) != (1.0, 1.0, None):
            raise ValueError(
                "beta_a, beta_w and reset_every only apply to the parameterization 'sign-in', but it is "
                "'plain'; leave them out"
            )

    @classmethod
    def fitting(
        cls, name: str, *, beta_a: float = 1.0, beta_w: float = 1.0, reset_every: int | None = None
    ) -> "Parameterization":
        """Return the parameterization with the options that apply to it; plain weights ignore them all."""
        return cls(name) if name == "plain" else cls(name, beta_a, beta_w, reset_every)

    @property
    def plain(self) -> bool:
        """Whether each weight is its own parameter."""
        return self.name == "plain"

    def check_method(self, method: str, learning_rate: float | None) -> None:
        """Raise ValueError if the method has no Sign-In, or if resets are asked for without descent."""
        if not self.plain and method == "exact":
            raise ValueError(
                "Sign-In has no closed form, but method is 'exact'; use 'ode', or leave it at 'auto'"
            )
        if self.reset_every is not None and learning_rate is None:
            raise ValueError("reset_every counts steps of gradient descent; give a learning_rate too")

    def balance(self, starts: Starts) -> Array:
        """Return what the flow conserves: the lead of `a` over w in distance from 0.

        From starts that are not antiparallel to the target, in d > 1, the flow succeeds iff a >= 0 (plain:
        a > 0) or this balance is < 0.

        Parameters
        ----------
        starts : State or Reduced
            States (B,), or paths (T, B). Sign-In needs a `State`: its metric is not the same in all
            directions.

        Returns
        -------
        ndarray, shape (B,)
            a^2 - |w|^2 for plain weights, or the c that the starts have by construction; for Sign-In,
            distance(a, beta_a) - sum_i distance(w_i, beta_w).

        Raises
        ------
        ValueError
            For Sign-In, if the states are reduced.
        """
        if self.plain:
            return start_balance(starts)
        if isinstance(starts, Reduced):
            raise ValueError(
                "the parameterization 'sign-in' needs full states with w (B, d), but got reduced ones "
                "(a, p, q); use State"
            )
        # Subtract the largest first: if it cancels, the others keep their digits, and c its sign.
        inner = np.sort(distance(starts.w, self.beta_w), axis=-1)
        return distance(starts.a, self.beta_a) - inner[..., -1] - inner[..., :-1].sum(axis=-1)


def metric(theta: Any, beta: float) -> Array:
    """Return S = sqrt(beta^2 + 4 theta^2), the factor by which Sign-In multiplies the gradient.

    Parameters
    ----------
    theta : array_like
        Weights, of any shape.
    beta : float
        m^2 - u^2 of these weights, > 0.

    Returns
    -------
    ndarray
        S = m^2 + u^2, of the same shape.
    """
    return np.hypot(beta, 2 * np.asarray(theta, dtype=float))


def distance(theta: Any, beta: float) -> Array:
    """Return g = sqrt(beta^2 + 4 theta^2) - beta, the distance from 0 that the conserved law measures.

    Parameters
    ----------
    theta : array_like
        Weights, of any shape.
    beta : float
        m^2 - u^2 of these weights, > 0.

    Returns
    -------
    ndarray
        g >= 0, of the same shape, without the cancellation of the difference.
    """
    theta = np.asarray(theta, dtype=float)
    return 2 * np.abs(theta) * (2 * np.abs(theta) / (metric(theta, beta) + beta))


PLAIN = Parameterization()
