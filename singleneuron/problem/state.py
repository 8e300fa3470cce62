"""States of the neuron, whole (a, w) or reduced (a, p, q), and their balance."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from singleneuron.problem.arguments import Array, finite_array, freeze
from singleneuron.problem.problem import LEAST_BALANCE, Problem


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
        freeze(self, a=a, w=w, c=_known_balance(self.c, a))

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
        freeze(self, a=a, p=p, q=q, c=_known_balance(self.c, a))

    @property
    def size(self) -> int:
        """Number of students, times not counted."""
        return int(self.a.shape[-1])

    def __getitem__(self, index: Any) -> "Reduced":
        """The students (of a path: the times) that `index` selects along the first axis."""
        c = None if self.c is None else self.c if self.a.ndim > 1 else self.c[index]
        return replace(self, a=self.a[index], p=self.p[index], q=self.q[index], c=c)


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
