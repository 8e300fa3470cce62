"""States of the neuron, full (a, w) or reduced (a, p, q), and their balance."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from singleneuron.problem.arguments import Array, finite_array, freeze
from singleneuron.problem.problem import LEAST_BALANCE


def _known_balance(c: ArrayLike | None, a: Array) -> Array | None:
    """Return the balance `c` with shape (B,), where `c` is one number or has one entry per student."""
    if c is None:
        return None
    known = finite_array("c", c)
    if known.ndim > 1 or known.size not in (1, a.shape[-1]):
        raise ValueError(f"c must be a number or have shape ({a.shape[-1]},), but has {known.shape}")
    return np.array(np.broadcast_to(known, a.shape[-1:]))


def norm_of(w: Array) -> Array:
    """Compute |w| over the last axis, without underflow or overflow of the squares."""
    largest = np.max(np.abs(w), axis=-1)
    scale = np.where(largest > 0, largest, 1.0)
    return scale * np.linalg.norm(w / scale[..., None], axis=-1)


@dataclass(frozen=True, eq=False, init=False)
class State:
    """The parameters (a, w) of B students, or their paths over time, with time as the first axis.

    Attributes
    ----------
    a : ndarray, shape (..., B)
        Outer weights.
    w : ndarray, shape (..., B, d)
        Inner weights.
    c : ndarray, shape (B,), optional
        The balance a^2 - |w|^2 if it is known by construction (0 if balanced). One number applies to all
        students. The flow conserves c, but rounding of a and w changes a^2 - |w|^2, and an ulp of c can
        decide whether the neuron dies or escapes.

    Raises
    ------
    ValueError
        If the shapes do not match or an entry is not finite.

    Examples
    --------
    >>> import singleneuron as sn
    >>> starts = sn.State(a=[1.0, -0.5], w=[[0.6, 0.8], [0.3, 0.4]])
    >>> starts.size, starts.d
    (2, 2)
    >>> starts[1:].a.tolist()
    [-0.5]
    """

    a: Array
    w: Array
    c: Array | None

    def __init__(self, a: ArrayLike, w: ArrayLike, c: ArrayLike | None = None) -> None:
        """Check and freeze the arrays."""
        a, w = finite_array("a", a), finite_array("w", w)
        if a.ndim < 1 or w.ndim != a.ndim + 1 or w.shape[:-1] != a.shape or w.shape[-1] < 1:
            raise ValueError(
                "a must have shape (B,) and w (B, d), with the same B and with d >= 1, "
                f"but a has shape {a.shape} and w {w.shape}"
            )
        freeze(self, a=a, w=w, c=_known_balance(c, a))

    @property
    def d(self) -> int:
        """Number of input coordinates."""
        return int(self.w.shape[-1])

    @property
    def size(self) -> int:
        """Number of students B, which is the same at all times of a path."""
        return int(self.a.shape[-1])

    def __getitem__(self, index: Any) -> "State":
        """Select students, or times of a path, along the first axis."""
        c = None if self.c is None else self.c if self.a.ndim > 1 else self.c[index]
        return replace(self, a=self.a[index], w=self.w[index], c=c)


@dataclass(frozen=True, eq=False, init=False)
class Reduced:
    """States (a, p, q): full states up to rotations about v, which do not affect the population flow.

    Attributes
    ----------
    a : ndarray, shape (..., B)
        Outer weights.
    p : ndarray, shape (..., B)
        w.v, the component of w along the target.
    q : ndarray, shape (..., B)
        |w - p v| >= 0, the norm of the rest of w.
    c : ndarray, shape (B,), optional
        The balance a^2 - p^2 - q^2 if it is known by construction, as in `State`.

    Raises
    ------
    ValueError
        If the shapes differ, an entry is not finite, or q < 0.

    Examples
    --------
    >>> import singleneuron as sn
    >>> starts = sn.Reduced(a=[1.0, -1.0], p=[0.6, 0.6], q=[0.8, 0.8], c=0.0)
    >>> starts.c.tolist()
    [0.0, 0.0]
    """

    a: Array
    p: Array
    q: Array
    c: Array | None

    def __init__(self, a: ArrayLike, p: ArrayLike, q: ArrayLike, c: ArrayLike | None = None) -> None:
        """Check and freeze the arrays."""
        a, p, q = finite_array("a", a), finite_array("p", p), finite_array("q", q)
        if a.ndim < 1 or not a.shape == p.shape == q.shape:
            raise ValueError(f"a, p and q must have the same shape, but have {a.shape}, {p.shape}, {q.shape}")
        if np.any(q < 0):
            raise ValueError(f"q = |w_perp| must be >= 0, but its smallest entry is {q.min():g}")
        freeze(self, a=a, p=p, q=q, c=_known_balance(c, a))

    @property
    def size(self) -> int:
        """Number of students B, which is the same at all times of a path."""
        return int(self.a.shape[-1])

    def __getitem__(self, index: Any) -> "Reduced":
        """Select students, or times of a path, along the first axis."""
        c = None if self.c is None else self.c if self.a.ndim > 1 else self.c[index]
        return replace(self, a=self.a[index], p=self.p[index], q=self.q[index], c=c)


Starts = State | Reduced


def balance(state: Starts) -> Array:
    """Compute the balance c = a^2 - |w|^2, which every gradient flow of L conserves.

    If |a| equals the largest |w_i| to the last bit, c is computed as minus the sum of the other w_i^2. If c
    were computed from |w|, rounding could lose these squares, and with them the sign of c, which decides the
    limit.

    Parameters
    ----------
    state : State or Reduced
        Students (..., B); the field c is ignored.

    Returns
    -------
    ndarray, shape (..., B)
        c; infinite where the squares overflow.

    Examples
    --------
    >>> import singleneuron as sn
    >>> sn.balance(sn.State(a=[2.0, 0.5], w=[[1.0, 0.0], [0.6, 0.8]])).round(6).tolist()
    [3.0, -0.75]
    """
    w = state.w if isinstance(state, State) else np.stack([state.p, state.q], axis=-1)
    rho = np.linalg.norm(w, axis=-1) if isinstance(state, State) else np.hypot(state.p, state.q)
    a, size = np.abs(state.a), np.abs(w)
    with np.errstate(over="ignore"):  # if c is infinite, the flow reports the run as failed
        c = np.asarray((a - rho) * (a + rho))
    level = a == size.max(axis=-1)
    if level.any():
        others = np.sort(size[level], axis=-1)[..., :-1]
        # If the other squares underflow, keep the sign of c, because it decides the limit.
        least = np.minimum(LEAST_BALANCE, 1e-20 * a[level] ** 2) * others.any(axis=-1)
        c[level] = 0.0 - np.maximum(np.sum(others**2, axis=-1), least)
    return c


def start_balance(state: Starts) -> Array:
    """Return the balance of starts, computing it if it is not known by construction.

    Parameters
    ----------
    state : State or Reduced
        Starts (B,).

    Returns
    -------
    ndarray, shape (B,)
        c = a^2 - |w|^2.
    """
    return balance(state) if state.c is None else state.c
