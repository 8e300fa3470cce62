"""The problem: one hidden ReLU neuron a phi(w.x) learns phi(v.x), from samples or the population."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from signflow.machine import check_memory
from singleneuron.problem.arguments import Array, finite_array, freeze, integer_in_range, number

LEAST_BALANCE = 1e-280
"""If 0 < |c| < LEAST_BALANCE, no digit of c is right, because c is a difference of squares that underflow."""


class Line(NamedTuple):
    """Sufficient statistics of a problem with one coordinate; the defaults are for the population.

    For w > 0, only samples with x > 0 are active; for w < 0, only samples with x < 0. With c and s of the
    active side, the flow is a' = c w (s - a w), w' = c a (s - a w).

    Attributes
    ----------
    c_pos, c_neg : float or ndarray, shape (B,)
        (1/n) sum x^2 over the samples with x > 0 (c_pos) or x < 0 (c_neg); 0 if there are none.
    s_pos, s_neg : float or ndarray, shape (B,)
        sum x y / sum x^2 over the same samples: the product `a w` that fits these samples best.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.Line()
    Line(c_pos=0.5, s_pos=1.0, c_neg=0.5, s_neg=0.0)
    >>> data = sn.Sample(x=[[1.0], [-2.0]], y=[1.0, 0.5])
    >>> {name: value.tolist() for name, value in data.statistics._asdict().items()}
    {'c_pos': [0.5], 's_pos': [1.0], 'c_neg': [2.0], 's_neg': [-0.25]}
    """

    c_pos: Any = 0.5
    s_pos: Any = 1.0
    c_neg: Any = 0.5
    s_neg: Any = 0.0


def angle_kernel(theta: ArrayLike) -> Array:
    """Compute k(theta) = (sin theta + (pi - theta) cos theta) / (2 pi).

    E[phi(w.x) phi(v.x)] = |w| k(theta) for x ~ N(0, I_d) and a unit vector v at angle theta to w.

    Parameters
    ----------
    theta : array_like
        Angles in radians, in [0, pi].

    Returns
    -------
    ndarray
        k, of the same shape as `theta`. It falls from 1/2 at theta = 0 to 0 at theta = pi.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024).
    """
    theta = np.asarray(theta, dtype=np.float64)
    delta = np.pi - theta
    # Near pi the two terms cancel, so use the series delta^3/3 - delta^5/30 + ...
    series = delta**3 * (1 / 3 - delta**2 * (1 / 30 - delta**2 * (1 / 840 - delta**2 / 45360)))
    return np.where(np.abs(delta) < 0.2, series, np.sin(delta) - delta * np.cos(delta)) / (2 * np.pi)


def target_vector(d: int, targets: int) -> Array:
    """Build v = (1, ..., 1, 0, ...)/sqrt(k) with k = `targets` ones.

    Parameters
    ----------
    d : int
        Number of coordinates.
    targets : int
        Number of coordinates that the target uses, at most d.

    Returns
    -------
    ndarray, shape (d,)
        The unit vector v.
    """
    v = np.zeros(d)
    v[:targets] = 1 / np.sqrt(targets)
    return v


@dataclass(frozen=True)
class Population:
    """The problem with infinitely many samples x ~ N(0, I_d) and labels phi(v.x).

    The loss is L(a, w) = a^2 |w|^2/4 + 1/4 - a |w| k(theta), where theta is the angle between w and v, and k
    is `angle_kernel`.

    Attributes
    ----------
    d : int
        Number of input coordinates, below 2^63.
    targets : int
        Number k of coordinates that the target v = (1, ..., 1, 0, ...)/sqrt(k) uses.

    Raises
    ------
    ValueError
        If d or `targets` is out of range.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    >>> import singleneuron as sn
    >>> problem = sn.Population(d=4, targets=2)
    >>> problem.v.round(4).tolist()
    [0.7071, 0.7071, 0.0, 0.0]
    """

    d: int
    targets: int = 1

    def __post_init__(self) -> None:
        """Check d and `targets`."""
        if integer_in_range("d", self.d, 1) >= 2**63:
            raise ValueError(f"d must be < 2^63, about 9.2e18, but is {self.d}")
        if integer_in_range("targets", self.targets, 1) > self.d:
            raise ValueError(f"targets must be <= d = {self.d}, but is {self.targets}")

    @property
    def v(self) -> Array:
        """The target, a unit vector of shape (d,)."""
        return target_vector(self.d, self.targets)


@dataclass(frozen=True, eq=False)
class Sample:
    """The problem with n samples, whose loss is L(a, w) = (1/2n) sum_i (a phi(w.x_i) - y_i)^2.

    Attributes
    ----------
    x : ndarray, shape (n, d)
        Inputs; copied and made read-only.
    y : ndarray, shape (n,)
        Labels; copied and made read-only.
    targets : int
        Number of coordinates, counted from the first, that the target v uses. Success means reaching v.
    provenance : dict
        A record of how the samples were drawn (see `draw`); empty for your own data.

    Raises
    ------
    ValueError
        If the shapes do not match, an entry is not finite, or `targets` is out of range.

    Examples
    --------
    >>> import singleneuron as sn
    >>> data = sn.Sample(x=[[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]], y=[1.0, 0.5, 0.0])
    >>> data.n, data.d
    (3, 2)
    >>> sn.Sample.draw(d=3, n=5, noise=0.1, seed=0).x.shape
    (5, 3)
    """

    x: Array
    y: Array
    targets: int = 1
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        x, y = finite_array("x", self.x), finite_array("y", self.y)
        if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.shape[0] or 0 in x.shape:
            raise ValueError(
                "x must have shape (n, d) and y (n,), with the same n and with n, d >= 1, "
                f"but x has shape {x.shape} and y {y.shape}"
            )
        freeze(self, x=x, y=y)
        if integer_in_range("targets", self.targets, 1) > self.d:
            raise ValueError(f"targets must be <= d = {self.d}, but is {self.targets}")

    @classmethod
    def draw(cls, d: int, n: int, noise: float = 0.0, seed: int = 0, targets: int = 1) -> "Sample":
        """Draw x_i ~ N(0, I_d) and y_i = phi(v.x_i) + noise * N(0, 1).

        With the same seed, a smaller n yields the first samples of a larger n, and the inputs do not depend
        on the noise.

        Parameters
        ----------
        d, n : int
            `d` is the number of coordinates, and `n` is the number of samples.
        noise : float
            Standard deviation of the label noise, >= 0.
        seed : int
            Seed, >= 0.
        targets : int
            Number of coordinates of the target.

        Returns
        -------
        Sample
            The samples, with n, noise and seed as their `provenance`.

        Raises
        ------
        ValueError
            If an argument is out of range.
        """
        d, n, seed = (
            integer_in_range("d", d, 1),
            integer_in_range("n", n, 1),
            integer_in_range("seed", seed, 0),
        )
        noise = number("noise", noise, least=0.0)
        if integer_in_range("targets", targets, 1) > d:
            raise ValueError(f"targets must be <= d = {d}, but is {targets}")
        check_memory(f"a sample with n = {n} and d = {d}", 8 * n * d)
        # The noise has its own random stream, so that studies at different noise levels share their inputs.
        inputs, errors = (
            np.random.Generator(np.random.Philox(key)) for key in np.random.SeedSequence(seed).spawn(2)
        )
        x = inputs.standard_normal((n, d))
        y = np.maximum(x @ target_vector(d, targets), 0) + noise * errors.standard_normal(n)
        return cls(x, y, targets, {"n": n, "noise": noise, "seed": seed})

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.x.shape[0])

    @property
    def d(self) -> int:
        """Number of input coordinates."""
        return int(self.x.shape[1])

    @property
    def v(self) -> Array:
        """The target, a unit vector of shape (d,)."""
        return target_vector(self.d, self.targets)

    @cached_property
    def statistics(self) -> Line:
        """Sufficient statistics of each coordinate on its own; every field has shape (d,)."""
        sides = []
        for active in (self.x > 0, self.x < 0):
            squares = np.sum(np.where(active, self.x, 0) ** 2, axis=0)
            products = np.where(active, self.x, 0).T @ self.y
            # On a side without samples nothing moves, because c = 0 there; s is undefined and is set to 0.
            slope = np.divide(products, squares, out=np.zeros(self.d), where=squares > 0)
            sides += [squares / self.n, slope]
        return Line(*sides)


Problem = Population | Sample


def population_line(overlap: Any = 1.0) -> Line:
    """Return the statistics of the population in one coordinate.

    Parameters
    ----------
    overlap : float or ndarray, shape (B,)
        Component of the unit target v along the coordinate, in [-1, 1]; 1 if v has no other component.

    Returns
    -------
    Line
        c_pos = c_neg = 1/2, s_pos = 2 k(theta) and s_neg = -2 k(pi - theta), where cos theta = `overlap`.
    """
    angle = np.arccos(overlap)
    return Line(0.5, 2 * angle_kernel(angle), 0.5, -2 * angle_kernel(np.pi - angle))
