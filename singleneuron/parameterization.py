"""The parameterization of the weights, plain or as products (Sign-In), and what its flow conserves."""

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from singleneuron.problem.arguments import Array, integer_in_range, number
from singleneuron.problem.state import Reduced, Starts, start_balance

Name = Literal["plain", "sign-in"]
PARAMETERIZATIONS: tuple[str, ...] = get_args(Name)
LEAST_BETA, MOST_BETA = 1e-9, 1e9
"""The smallest and the largest beta. Beyond them, squares and ratios of betas may lose all precision."""


@dataclass(frozen=True)
class Parameterization:
    """The parameterization of each weight theta of the neuron: by itself, or by a product m u (Sign-In).

    The gradient flow of the loss L in (m, u) conserves beta = m^2 - u^2. Under this flow, theta obeys
    theta' = -sqrt(beta^2 + 4 theta^2) dL/dtheta. This is the gradient flow of L in a metric that depends on
    theta.

    Attributes
    ----------
    name : {'plain', 'sign-in'}
        'plain' for weights that are their own parameters, 'sign-in' for products m u.
    beta_a, beta_w : float
        The values of m^2 - u^2 for `a` and for every coordinate of w, both > 0. Leave both at 1 for plain
        weights, which have no betas.
    reset_every : int, optional
        Gradient descent on (m, u) does not conserve beta. Every `reset_every` steps, m and u are therefore
        reset: they get the given betas again, and theta does not change. If None, m and u are set only at
        the start of a level.

    Raises
    ------
    ValueError
        If the name is unknown, if a beta is outside [`LEAST_BETA`, `MOST_BETA`], if `reset_every` is not a
        positive integer, or if an option is given for plain weights. The message is one line.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, *Sign-In to the Lottery* (NeurIPS 2025).

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.Parameterization("sign-in", beta_a=2.0)
    Parameterization(name='sign-in', beta_a=2.0, beta_w=1.0, reset_every=None)
    """

    name: Name = "plain"
    beta_a: float = 1.0
    beta_w: float = 1.0
    reset_every: int | None = None

    def __post_init__(self) -> None:
        """Check that the name is known and that the options are valid for it."""
        if self.name not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, but is {self.name!r}"
            )
        for beta in ("beta_a", "beta_w"):
            object.__setattr__(self, beta, _checked(beta, getattr(self, beta)))
        if self.reset_every is not None:
            integer_in_range("reset_every", self.reset_every, 1)
        if self.plain and (self.beta_a, self.beta_w, self.reset_every) != (1.0, 1.0, None):
            raise ValueError(
                "beta_a, beta_w and reset_every only apply to the parameterization 'sign-in', not to "
                "'plain'; leave them out"
            )

    @classmethod
    def of(cls, given: "Name | Parameterization") -> "Parameterization":
        """Return `given` if it is a Parameterization, else the parameterization that it names."""
        return given if isinstance(given, Parameterization) else cls(given)

    @classmethod
    def fitting(
        cls, name: str, *, beta_a: float = 1.0, beta_w: float = 1.0, reset_every: int | None = None
    ) -> "Parameterization":
        """Return the parameterization `name`, after checking it; 'plain' ignores all other options."""
        return cls() if name == "plain" else cls(cast("Name", name), beta_a, beta_w, reset_every)

    @property
    def plain(self) -> bool:
        """Whether each weight is its own parameter."""
        return self.name == "plain"

    def check_method(self, method: str, learning_rate: float | None) -> None:
        """Raise ValueError if Sign-In lacks `method`, or if `reset_every` is set without a learning rate."""
        if not self.plain and method == "exact":
            raise ValueError("Sign-In has no closed form, but method is 'exact'; use 'ode'")
        if self.reset_every is not None and learning_rate is None:
            raise ValueError("reset_every counts steps of gradient descent; give a learning_rate too")

    def balance(self, starts: Starts) -> Array:
        """Return the balance c, which the flow conserves: how much farther `a` is from 0 than w is.

        On the population in d > 1, the flow from a start whose w is neither 0 nor antiparallel to the target
        succeeds iff a > 0 or c < 0.

        Parameters
        ----------
        starts : State or Reduced
            States (B,), or paths (T, B). Sign-In needs a `State`, because its metric is not invariant under
            rotations.

        Returns
        -------
        ndarray, shape (B,)
            For plain weights, a^2 - |w|^2, or the c of `starts` if it is given. For Sign-In,
            distance(a, beta_a) - sum_i distance(w_i, beta_w). Computed for paths, it has the shape (T, B).

        Raises
        ------
        ValueError
            If the parameterization is Sign-In and `starts` is a `Reduced`.
        """
        if self.plain:
            return start_balance(starts)
        if isinstance(starts, Reduced):
            raise ValueError(
                "the parameterization 'sign-in' needs full states with w (B, d), but got reduced states "
                "(a, p, q); use State"
            )
        # Subtract the largest distance first. If it cancels against the distance of `a`, the other
        # distances keep their digits, and c keeps its sign.
        inner = np.sort(distance(starts.w, self.beta_w), axis=-1)
        return distance(starts.a, self.beta_a) - inner[..., -1] - inner[..., :-1].sum(axis=-1)


def _checked(name: str, beta: float) -> float:
    """Return `beta` as a float, or raise ValueError if it is outside [LEAST_BETA, MOST_BETA]."""
    if not LEAST_BETA <= number(name, beta, least=0.0, open_end=True) <= MOST_BETA:
        raise ValueError(f"{name} must be from {LEAST_BETA:g} to {MOST_BETA:g}, but is {beta:g}")
    return float(beta)


def metric(theta: Any, beta: float) -> Array:
    """Return S = sqrt(beta^2 + 4 theta^2), the factor by which Sign-In multiplies the gradient.

    Parameters
    ----------
    theta : array_like
        Weights, of any shape.
    beta : float
        The value of m^2 - u^2 for these weights, > 0.

    Returns
    -------
    ndarray
        S = m^2 + u^2, with the shape of `theta`.
    """
    return np.hypot(beta, 2 * np.asarray(theta, dtype=float))


def distance(theta: Any, beta: float) -> Array:
    """Return g = sqrt(beta^2 + 4 theta^2) - beta, the distance from 0 used in the conservation law.

    Parameters
    ----------
    theta : array_like
        Weights, of any shape.
    beta : float
        The value of m^2 - u^2 for these weights, > 0.

    Returns
    -------
    ndarray
        g >= 0, with the shape of `theta`. It is computed without cancellation.
    """
    theta = np.asarray(theta, dtype=float)
    return 2 * np.abs(theta) * (2 * np.abs(theta) / (metric(theta, beta) + beta))


PLAIN = Parameterization()
