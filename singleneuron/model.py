"""The problem: one hidden ReLU neuron a phi(w.x) that learns phi(v.x), and the states of its flow."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from figures.machine import check_memory

Array = NDArray[np.float64]
LEAST_BALANCE = 1e-280
"""Below this |c| the squares that c is made of underflow."""


def integer(name: str, value: Any, least: int, most: float = np.inf) -> int:
    """`value` as an int from `least` to `most`; a ValueError that says what was given otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        bound = f">= {least}" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {bound}, but is {value!r}")
    return int(value)


def number(
    name: str, value: Any, *, least: float = -np.inf, finite: bool = True, open_end: bool = False
) -> float:
    """`value` as a float >= `least` (> with `open_end`); a ValueError otherwise."""
    kinds = int | float | np.integer | np.floating
    ok = isinstance(value, kinds) and not isinstance(value, bool) and not np.isnan(value)
    ok = ok and (value > least if open_end else value >= least) and (not finite or bool(np.isfinite(value)))
    if not ok:
        bound = f" {'>' if open_end else '>='} {least:g}" if least > -np.inf else ""
        raise ValueError(f"{name} must be a {'finite ' if finite else ''}number{bound}, but is {value!r}")
    return float(value)


def finite_array(name: str, value: ArrayLike) -> Array:
    """A copy of `value` as a float64 array without NaN or infinity; a ValueError otherwise."""
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, but {error}") from None
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, but its entries are {given.dtype.name}")
    array = np.array(given, dtype=np.float64, order="C")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} must be finite, but {name}{list(where)} is {array[where]}; remove that entry"
        )
    return array


def _freeze(instance: object, **arrays: Array | None) -> None:
    """Set read-only arrays as attributes of a frozen dataclass."""
    for name, array in arrays.items():
        if array is not None:
            array.flags.writeable = False
        object.__setattr__(instance, name, array)


def _known_balance(c: ArrayLike | None, a: Array) -> Array | None:
    """c as (B,): one number for all, or one each."""
    if c is None:
        return None
    known = finite_array("c", c)
    if known.ndim > 1 or known.size not in (1, a.shape[-1]):
        raise ValueError(f"c must be a number or have shape ({a.shape[-1]},), but has {known.shape}")
    return np.array(np.broadcast_to(known, a.shape[-1:]))


def _norm(w: Array) -> Array:
    """|w| over the last axis, without underflow or overflow of the squares."""
    largest = np.max(np.abs(w), axis=-1)
    scale = np.where(largest > 0, largest, 1.0)
    return scale * np.linalg.norm(w / scale[..., None], axis=-1)


@dataclass(frozen=True, eq=False)
class State:
    """Parameters of a batch of students.

    a : (..., B), outer weights; w : (..., B, d), inner weights. A path has a leading time axis.
    c : (B,), the balance a^2 - |w|^2 where it is known by construction (0: balanced). The flow conserves
        it, floats do not: one ulp of imbalance decides between death and escape.
    """

    a: Array
    w: Array
    c: Array | None = None

    def __post_init__(self) -> None:
        a, w = finite_array("a", self.a), finite_array("w", self.w)
        if a.ndim < 1 or w.ndim != a.ndim + 1 or w.shape[:-1] != a.shape or w.shape[-1] < 1:
            raise ValueError(
                f"a must have shape (B,) and w (B, d), B alike and d >= 1, but a is {a.shape} and w {w.shape}"
            )
        _freeze(self, a=a, w=w, c=_known_balance(self.c, a))

    @property
    def d(self) -> int:
        return int(self.w.shape[-1])

    @property
    def size(self) -> int:
        """Number of students, times not counted."""
        return int(self.a.shape[-1])

    def __getitem__(self, index: Any) -> "State":
        """The students (of a path: the times) that `index` selects along the first axis."""
        c = None if self.c is None else self.c if self.a.ndim > 1 else self.c[index]
        return replace(self, a=self.a[index], w=self.w[index], c=c)


@dataclass(frozen=True, eq=False)
class Reduced:
    """States up to rotations about the target v: all that the population flow sees, for any d.

    a, p = w.v, q = |w - p v| >= 0, each of shape (..., B); c as in `State`.
    """

    a: Array
    p: Array
    q: Array
    c: Array | None = None

    def __post_init__(self) -> None:
        a, p, q = (finite_array(name, getattr(self, name)) for name in ("a", "p", "q"))
        if a.ndim < 1 or not a.shape == p.shape == q.shape:
            raise ValueError(f"a, p and q must have one shape (B,), but have {a.shape}, {p.shape}, {q.shape}")
        if np.any(q < 0):
            raise ValueError(f"q = |w_perp| must be >= 0, but its least entry is {q.min():g}")
        _freeze(self, a=a, p=p, q=q, c=_known_balance(self.c, a))

    @property
    def size(self) -> int:
        """Number of students, times not counted."""
        return int(self.a.shape[-1])

    def __getitem__(self, index: Any) -> "Reduced":
        """The students (of a path: the times) that `index` selects along the first axis."""
        c = None if self.c is None else self.c if self.a.ndim > 1 else self.c[index]
        return replace(self, a=self.a[index], p=self.p[index], q=self.q[index], c=c)


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
        _freeze(self, x=x, y=y)
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
Starts = State | Reduced


def unit_overlap(problem: Problem, mask: NDArray[np.bool_] | None = None) -> tuple[Array, NDArray[np.bool_]]:
    """|mask * v|, shape (B,) or (), and the target coordinates kept, (B, d) or (d,)."""
    kept = np.arange(problem.d) < problem.targets
    if mask is not None:
        kept = kept & mask
    return np.sqrt(kept.sum(axis=-1) / problem.targets), kept


def reduce(problem: Problem, state: State, mask: NDArray[np.bool_] | None = None) -> Reduced:
    """(a, p, q) of a state about v, or about mask * v, the part of the target that a mask (B, d) keeps."""
    if state.d != problem.d:
        raise ValueError(f"w must have d = {problem.d} coordinates, but has {state.d}")
    w = state.w if mask is None else np.where(mask, state.w, 0.0)
    _, kept = unit_overlap(problem, mask)
    p, along = _projection(w, kept)
    return Reduced(state.a, p, _norm(w - along), state.c)


def _projection(w: Array, kept: NDArray[np.bool_]) -> tuple[Array, Array]:
    """p = w.v and p v, for v the unit vector over the coordinates `kept`.

    As differences from one target coordinate: equal entries, a w parallel to v, leave exactly nothing over.
    """
    count = kept.sum(axis=-1)
    first = np.take_along_axis(w, np.broadcast_to(np.argmax(kept, axis=-1), w.shape[:-1])[..., None], axis=-1)
    offsets = np.where(kept, w - first, 0.0)
    mean = first[..., 0] + offsets.sum(axis=-1) / np.maximum(count, 1)
    mean = np.where(count > 0, mean, 0.0)
    return mean * np.sqrt(count), np.where(kept, mean[..., None], 0.0)


def expand(problem: Problem, reduced: Reduced, origin: State, mask: NDArray[np.bool_] | None = None) -> State:
    """The full states with coordinates `reduced`, in the plane of v and the w of `origin` (B, d)."""
    w = origin.w if mask is None else np.where(mask, origin.w, 0.0)
    _, kept = unit_overlap(problem, mask)
    _, along = _projection(w, kept)
    perpendicular = w - along
    q = _norm(perpendicular)[..., None]
    direction = np.divide(perpendicular, q, out=np.zeros_like(w), where=q > 0)
    v = kept / np.sqrt(np.maximum(kept.sum(axis=-1, keepdims=True), 1))
    return State(reduced.a, reduced.p[..., None] * v + reduced.q[..., None] * direction, reduced.c)


def balance(state: Starts) -> Array:
    """c = a^2 - |w|^2, shape (..., B), from a and w themselves; conserved by every gradient flow of L.

    Where |a| is the largest |w_i| to the last bit, c is minus the squares of the others, which the norm would
    round away however clearly their sign, that of c, decides the limit.
    """
    w = state.w if isinstance(state, State) else np.stack([state.p, state.q], axis=-1)
    rho = np.linalg.norm(w, axis=-1) if isinstance(state, State) else np.hypot(state.p, state.q)
    a, size = np.abs(state.a), np.abs(w)
    with np.errstate(over="ignore"):  # infinite: the flow says that it failed
        c = np.asarray((a - rho) * (a + rho))
    level = a == size.max(axis=-1)
    if level.any():
        others = np.sort(size[level], axis=-1)[..., :-1]
        # At least so much that their squares do not underflow: the sign counts.
        least = np.minimum(LEAST_BALANCE, 1e-20 * a[level] ** 2) * others.any(axis=-1)
        c[level] = 0.0 - np.maximum(np.sum(others**2, axis=-1), least)
    return c


def start_balance(state: Starts) -> Array:
    """c of a batch of starts (B,): the one known by construction, else computed."""
    return balance(state) if state.c is None else state.c


def loss(problem: Problem, state: Starts) -> Array:
    """L(a, w), shape (..., B); of the population without its constant sigma^2/2."""
    if isinstance(problem, Sample):
        if not isinstance(state, State):
            raise ValueError(
                "samples need full states w (B, d), but reduced ones (a, p, q) were given; use State"
            )
        outputs = state.a[..., None] * np.maximum(
            state.w @ problem.x.T, 0
        )  # (..., B, d) x (d, n) -> (..., B, n)
        return np.asarray(0.5 * np.mean((outputs - problem.y) ** 2, axis=-1))
    if isinstance(state, State):
        state = reduce(problem, state)
    rho, theta = np.hypot(state.p, state.q), np.arctan2(state.q, state.p)
    # (a rho - 1)^2/4 + a rho (1/2 - k): no cancellation near the target.
    return (state.a * rho - 1) ** 2 / 4 + state.a * rho * (0.5 - angle_kernel(theta))


def gradient(problem: Problem, state: State) -> tuple[Array, Array]:
    """(dL/da (..., B), dL/dw (..., B, d)), with phi'(0) = 0; the flow is minus this."""
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
    # d(rho k)/dw = ((pi - theta) v + sin(theta) w/rho) / (2 pi); at w = 0 the subgradient 0.
    pull = (np.pi - theta)[..., None] * problem.v + np.sin(theta)[..., None] * direction
    pull = np.where(rho[..., None] > 0, pull, 0.0) / (2 * np.pi)
    da = state.a * rho**2 / 2 - rho * angle_kernel(theta)
    return da, (state.a**2 / 2)[..., None] * state.w - state.a[..., None] * pull


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(integer("seed", seed, 0))))


def _draw(rng: np.random.Generator, d: int, size: int, reduced: bool) -> tuple[Array, Array]:
    """(p, q) or (w, |w|) of `size` standard Gaussian vectors in R^d; reduced ones cost the same for any d."""
    if not reduced:
        w = rng.standard_normal((size, d))
        return w, np.abs(w[:, 0]) if d == 1 else np.linalg.norm(w, axis=1)
    p = rng.standard_normal(size)
    return p, np.sqrt(rng.chisquare(d - 1, size)) if d > 1 else np.zeros(size)


@overload
def balanced_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: Literal[False] = False
) -> State: ...
@overload
def balanced_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: Literal[True]
) -> Reduced: ...
@overload
def balanced_starts(d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool) -> Starts: ...
def balanced_starts(d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool = False) -> Starts:
    """`size` random balanced starts: w_i ~ N(0, 1/d), a = +-|w| with a fair sign, all times `scale`."""
    d, size, scale = (
        integer("d", d, 1),
        integer("size", size, 1),
        number("scale", scale, least=0.0, open_end=True),
    )
    rng = _rng(seed)
    first, second = _draw(rng, d, size, reduced)
    sign = np.where(rng.random(size) < 0.5, -1.0, 1.0)
    factor = scale / np.sqrt(d)
    if reduced:
        p, q = factor * first, factor * second
        return Reduced(sign * np.hypot(p, q), p, q, c=np.zeros(size))
    w = factor * first
    return State(sign * (np.abs(w[:, 0]) if d == 1 else np.linalg.norm(w, axis=1)), w, c=np.zeros(size))


@overload
def independent_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: Literal[False] = False
) -> State: ...
@overload
def independent_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: Literal[True]
) -> Reduced: ...
@overload
def independent_starts(d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool) -> Starts: ...
def independent_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool = False
) -> Starts:
    """`size` random starts with a, w_i ~ N(0, 1) independent, all times `scale`."""
    d, size, scale = (
        integer("d", d, 1),
        integer("size", size, 1),
        number("scale", scale, least=0.0, open_end=True),
    )
    rng = _rng(seed)
    first, second = _draw(rng, d, size, reduced)
    a = scale * rng.standard_normal(size)
    return Reduced(a, scale * first, scale * second) if reduced else State(a, scale * first)
