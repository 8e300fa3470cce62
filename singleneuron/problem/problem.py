"""The problem: one hidden ReLU neuron a phi(w.x) learns phi(v.x), from samples or the population."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signflow.machine import check_memory
from singleneuron.problem.arguments import Array, finite_array, freeze, integer_in_range, number
from singleneuron.problem.line import Line
from singleneuron.problem.target import check_targets, labels_of, target_vector, unit_target

LEAST_BALANCE = 1e-280
"""If 0 < |c| < LEAST_BALANCE, no digit of c is right, because c is a difference of squares that underflow."""


@dataclass(frozen=True, init=False)
class Population:
    """The problem with infinitely many samples x ~ N(0, I_d) and labels phi(v.x).

    The loss is L(a, w) = a^2 |w|^2/4 + 1/4 - a |w| k(theta), where theta is the angle between w and v, and k
    is `angle_kernel`.

    Attributes
    ----------
    d : int
        Number of input coordinates, below 2^63.
    targets : int
        Number k of coordinates that the target v uses. By default v = (1, ..., 1, 0, ...)/sqrt(k).
    v : array_like, shape (d,), optional
        Another target, a unit vector; `targets` is then the number of its entries that are not 0.

    Raises
    ------
    ValueError
        If d or `targets` is out of range, or v is not a unit vector with d entries.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    >>> import singleneuron as sn
    >>> problem = sn.Population(d=4, targets=2)
    >>> problem.v.round(4).tolist()
    [0.7071, 0.7071, 0.0, 0.0]
    >>> sn.Population(d=3, v=[0.6, 0.0, -0.8]).targets
    2
    """

    d: int
    targets: int
    entries: tuple[float, ...] | None = field(repr=False)

    def __init__(self, d: int, targets: int = 1, v: ArrayLike | None = None) -> None:
        """Check d, `targets` and v; keep the entries of v only if v is not the default target."""
        if integer_in_range("d", d, 1) >= 2**63:
            raise ValueError(f"d must be < 2^63, about 9.2e18, but is {d}")
        check_targets(targets, d)
        entries = None
        if v is not None:
            target = unit_target(v, d, targets)
            targets = int(np.count_nonzero(target))
            entries = None if np.array_equal(target, target_vector(d, targets)) else tuple(target.tolist())
        for name, value in {"d": d, "targets": targets, "entries": entries}.items():
            object.__setattr__(self, name, value)

    @property
    def v(self) -> Array:
        """The target, a unit vector of shape (d,)."""
        return target_vector(self.d, self.targets) if self.entries is None else np.array(self.entries)


@dataclass(frozen=True, eq=False, init=False)
class Sample:
    """The problem with n samples, whose loss is L(a, w) = (1/2n) sum_i (a phi(w.x_i) - y_i)^2.

    Attributes
    ----------
    x : ndarray, shape (n, d)
        Inputs; copied and made read-only.
    y : ndarray, shape (n,)
        Labels; copied and made read-only. You may also pass a function that maps x (n, d) to labels (n,).
    targets : int
        Number of coordinates that the target v uses, by default the first ones. A run succeeds if it comes
        to rest on the side w.v > 0 and its mask keeps all these coordinates.
    provenance : dict
        Where the samples come from, as `draw` and `read_sample` record it; empty for your own arrays.
    v : ndarray, shape (d,)
        The target. You may pass any unit vector; `targets` is then the number of its entries that are not 0.

    Raises
    ------
    ValueError
        If the shapes do not match, an entry is not finite, `targets` is out of range, or v is not a unit
        vector.

    Examples
    --------
    >>> import singleneuron as sn
    >>> data = sn.Sample(x=[[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]], y=[1.0, 0.5, 0.0])
    >>> data.n, data.d
    (3, 2)
    >>> sn.Sample(x=data.x, y=lambda x: np.maximum(x[:, 1], 0), v=[0.0, 1.0]).y.tolist()
    [0.0, 2.0, 1.0]
    >>> sn.Sample.draw(d=3, n=5, noise=0.1, seed=0).x.shape
    (5, 3)
    """

    x: Array
    y: Array
    targets: int
    provenance: dict[str, Any]
    v: Array

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike | Callable[[Array], ArrayLike],
        targets: int = 1,
        provenance: Mapping[str, Any] | None = None,
        v: ArrayLike | None = None,
    ) -> None:
        """Check and freeze the arrays."""
        x = finite_array("x", x)
        y = labels_of(y, x) if callable(y) else finite_array("y", y)
        if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.shape[0] or 0 in x.shape:
            raise ValueError(
                "x must have shape (n, d) and y (n,), with the same n and with n, d >= 1, "
                f"but x has shape {x.shape} and y {y.shape}"
            )
        check_targets(targets, x.shape[1])
        v = target_vector(x.shape[1], targets) if v is None else unit_target(v, x.shape[1], targets)
        freeze(self, x=x, y=y, v=v)
        object.__setattr__(self, "targets", int(np.count_nonzero(v)))
        object.__setattr__(self, "provenance", dict(provenance or {}))

    @classmethod
    def draw(
        cls,
        d: int,
        n: int,
        noise: float = 0.0,
        seed: int = 0,
        targets: int = 1,
        v: ArrayLike | None = None,
        target: Callable[[Array], ArrayLike] | None = None,
    ) -> "Sample":
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
        v : array_like, shape (d,), optional
            The target, a unit vector; by default (1, ..., 1, 0, ...)/sqrt(targets).
        target : callable, optional
            A function that maps x (n, d) to labels (n,), to which the noise is added instead of to phi(v.x).

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
        check_targets(targets, d)
        direction = target_vector(d, targets) if v is None else unit_target(v, d, targets)
        check_memory(f"a sample with n = {n} and d = {d}", 8 * n * d)
        # The noise has its own random stream, so that studies at different noise levels share their inputs.
        inputs, errors = (
            np.random.Generator(np.random.Philox(key)) for key in np.random.SeedSequence(seed).spawn(2)
        )
        x = inputs.standard_normal((n, d))
        clean = np.maximum(x @ direction, 0) if target is None else labels_of(target, x)
        y = clean + noise * errors.standard_normal(n)
        return cls(x, y, targets, {"n": n, "noise": noise, "seed": seed}, v)

    def restricted(self, columns: NDArray[np.intp]) -> "Sample":
        """Return the samples restricted to the coordinates `columns`.

        The new target is the part of v in these coordinates, divided by its norm. If this part is 0, no run
        can succeed, and the first of these coordinates serves as the target.
        """
        part = self.v[columns]
        norm = np.linalg.norm(part)
        return Sample(self.x[:, columns], self.y, v=part / norm if norm > 0 else None)

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.x.shape[0])

    @property
    def d(self) -> int:
        """Number of input coordinates."""
        return int(self.x.shape[1])

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
