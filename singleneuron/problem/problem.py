"""The problem: one hidden ReLU neuron a phi(w.x) that learns phi(v.x), and the states of its flow."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from signflow.machine import check_memory
from singleneuron.problem.arguments import Array, finite_array, freeze, integer, number

LEAST_BALANCE = 1e-280
"""Below this |c| the squares that c is made of underflow."""


class Line(NamedTuple):
    """Sufficient statistics of a problem with one coordinate, scalars or (B,): Theorem 2.1.

    On w > 0 only samples with x > 0 are active: c_pos = (1/n) sum x^2 and s_pos = sum x y / sum x^2
    over them; c_neg and s_neg likewise over x < 0. Then a' = c w (s - a w), w' = c a (s - a w).
    """

    c_pos: Any = 0.5
    s_pos: Any = 1.0
    c_neg: Any = 0.5
    s_neg: Any = 0.0


def angle_kernel(theta: ArrayLike) -> Array:
    """k(theta) = (sin theta + (pi - theta) cos theta) / (2 pi): E[phi(w.x) phi(v.x)] = |w| k for unit v."""
    theta = np.asarray(theta, dtype=np.float64)
    delta = np.pi - theta
    # Near pi the two terms cancel: delta^3/3 - delta^5/30 + ...
    series = delta**3 * (1 / 3 - delta**2 * (1 / 30 - delta**2 * (1 / 840 - delta**2 / 45360)))
    return np.where(np.abs(delta) < 0.2, series, np.sin(delta) - delta * np.cos(delta)) / (2 * np.pi)


def target_vector(d: int, targets: int) -> Array:
    """v = (1, ..., 1, 0, ...)/sqrt(k) with k = `targets` ones, shape (d,)."""
    v = np.zeros(d)
    v[:targets] = 1 / np.sqrt(targets)
    return v


@dataclass(frozen=True)
class Population:
    """Infinitely many samples x ~ N(0, I_d): L(a, w) = a^2 |w|^2/4 + 1/4 - a |w| k(theta) (Lemma 2.2)."""

    d: int
    targets: int = 1

    def __post_init__(self) -> None:
        if integer("d", self.d, 1) >= 2**63:
            raise ValueError(f"d must be < 2^63, about 9.2e18, but is {self.d}")
        if integer("targets", self.targets, 1) > self.d:
            raise ValueError(f"targets must be <= d = {self.d}, but is {self.targets}")

    @property
    def v(self) -> Array:
        return target_vector(self.d, self.targets)


@dataclass(frozen=True, eq=False)
class Sample:
    """n samples: L(a, w) = (1/2n) sum_i (a phi(w.x_i) - y_i)^2.

    x : (n, d), y : (n,). The target, which success is judged by, has the first `targets` coordinates.
    """

    x: Array
    y: Array
    targets: int = 1
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        x, y = finite_array("x", self.x), finite_array("y", self.y)
        if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.shape[0] or 0 in x.shape:
            raise ValueError(
                f"x must have shape (n, d) and y (n,), n alike, n, d >= 1, but x is {x.shape} and y {y.shape}"
            )
        freeze(self, x=x, y=y)
        if integer("targets", self.targets, 1) > self.d:
            raise ValueError(f"targets must be <= d = {self.d}, but is {self.targets}")

    @classmethod
    def draw(cls, d: int, n: int, noise: float = 0.0, seed: int = 0, targets: int = 1) -> "Sample":
        """x_i ~ N(0, I_d), y_i = phi(v.x_i) + noise N(0, 1); the same seed gives the same data.

        The samples of a smaller n are the first of a larger one, and the x of any noise are the same.
        """
        d, n, seed = integer("d", d, 1), integer("n", n, 1), integer("seed", seed, 0)
        noise = number("noise", noise, least=0.0)
        if integer("targets", targets, 1) > d:
            raise ValueError(f"targets must be <= d = {d}, but is {targets}")
        check_memory(f"a sample with n = {n} and d = {d}", 8 * n * d)
        # The inputs do not depend on the noise level: studies over it share their data.
        inputs, errors = (
            np.random.Generator(np.random.Philox(key)) for key in np.random.SeedSequence(seed).spawn(2)
        )
        x = inputs.standard_normal((n, d))
        y = np.maximum(x @ target_vector(d, targets), 0) + noise * errors.standard_normal(n)
        return cls(x, y, targets, {"n": n, "noise": noise, "seed": seed})

    @property
    def n(self) -> int:
        return int(self.x.shape[0])

    @property
    def d(self) -> int:
        return int(self.x.shape[1])

    @property
    def v(self) -> Array:
        return target_vector(self.d, self.targets)

    @cached_property
    def statistics(self) -> Line:
        """Sufficient statistics of each coordinate taken alone, every entry of shape (d,)."""
        sides = []
        for active in (self.x > 0, self.x < 0):
            squares = np.sum(np.where(active, self.x, 0) ** 2, axis=0)
            products = np.where(active, self.x, 0).T @ self.y
            # An empty side: nothing moves there.
            slope = np.divide(products, squares, out=np.zeros(self.d), where=squares > 0)
            sides += [squares / self.n, slope]
        return Line(*sides)


Problem = Population | Sample


def population_line(overlap: Any = 1.0) -> Line:
    """The population problem with one coordinate, of which the target has the component `overlap`."""
    angle = np.arccos(overlap)
    return Line(0.5, 2 * angle_kernel(angle), 0.5, -2 * angle_kernel(np.pi - angle))
