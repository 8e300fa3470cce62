"""Random initial states."""

from typing import Literal, get_args, overload

import numpy as np

from singleneuron.problem.arguments import Array, integer_in_range, number
from singleneuron.problem.seeds import generator
from singleneuron.problem.state import Reduced, Starts, State


def _draw(rng: np.random.Generator, d: int, size: int, reduced: bool) -> tuple[Array, Array]:
    """Draw `size` vectors w ~ N(0, I_d), and return (w, |w|) or, if `reduced`, (p, q).

    The cost of drawing (p, q) does not depend on d.
    """
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


def balanced_starts(d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool = False) -> Starts:
    """Draw balanced starts: w_i ~ N(0, 1/d), and a is |w| or -|w| with equal probability.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    size : int
        Number of starts B.
    seed : int
        Seed, >= 0; the same seed gives the same starts.
    scale : float
        Factor by which all weights are multiplied, > 0.
    reduced : bool
        Whether to draw (a, p, q), relative to a target with one coordinate, instead of (a, w). The cost then
        does not depend on d.

    Returns
    -------
    State or Reduced
        The starts (B,), with c = 0, because they are balanced by construction.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import numpy as np, singleneuron as sn
    >>> starts = sn.balanced_starts(d=10, size=1000, seed=1)
    >>> starts.w.shape, bool(np.allclose(abs(starts.a), np.linalg.norm(starts.w, axis=1)))
    ((1000, 10), True)
    >>> sn.balanced_starts(d=10**6, size=1000, seed=1, reduced=True).p.shape
    (1000,)
    """
    d, size, scale = (
        integer_in_range("d", d, 1),
        integer_in_range("size", size, 1),
        number("scale", scale, least=0.0, open_end=True),
    )
    rng = generator(seed)
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


def independent_starts(
    d: int, size: int, seed: int = 0, *, scale: float = 1.0, reduced: bool = False
) -> Starts:
    """Draw starts whose weights are independent: a, w_i ~ N(0, 1), before they are multiplied by `scale`.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    size : int
        Number of starts B.
    seed : int
        Seed, >= 0; the same seed gives the same starts.
    scale : float
        Factor by which all weights are multiplied, > 0.
    reduced : bool
        Whether to draw (a, p, q), relative to a target with one coordinate, instead of (a, w). The cost then
        does not depend on d.

    Returns
    -------
    State or Reduced
        The starts (B,), with c = None, because their balance is not known by construction.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import singleneuron as sn
    >>> starts = sn.independent_starts(d=10, size=1000, seed=1)
    >>> starts.a.shape, starts.w.shape
    ((1000,), (1000, 10))
    """
    d, size, scale = (
        integer_in_range("d", d, 1),
        integer_in_range("size", size, 1),
        number("scale", scale, least=0.0, open_end=True),
    )
    rng = generator(seed)
    first, second = _draw(rng, d, size, reduced)
    a = scale * rng.standard_normal(size)
    return Reduced(a, scale * first, scale * second) if reduced else State(a, scale * first)


Init = Literal["balanced", "independent"]
INITS: tuple[str, ...] = get_args(Init)
