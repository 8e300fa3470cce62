"""The components of w along and across the target v, and reflections that make all entries of v >= 0."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.state import Reduced, State, norm_of

PARALLEL = 1e-15
"""If the target has unequal entries, a component of w across it below this multiple of |w| counts as 0."""


def unit_overlap(problem: Problem, mask: NDArray[np.bool_] | None = None) -> tuple[Array, NDArray[np.bool_]]:
    """Compute |mask * v|, and find the target coordinates that a mask keeps.

    Parameters
    ----------
    problem : Population or Sample
        The problem, which defines the target v.
    mask : ndarray of bool, shape (B, d), optional
        True for the weights that are kept; by default, all are kept.

    Returns
    -------
    overlap : ndarray, shape (B,) or ()
        |mask * v|; 1 where the mask keeps the whole target.
    kept : ndarray of bool, shape (B, d) or (d,)
        Coordinates of the target that the mask keeps.
    """
    v = problem.v
    kept = v != 0 if mask is None else (v != 0) & mask
    count = kept.sum(axis=-1)
    if _even(v):
        return np.sqrt(count / problem.targets), kept
    part = np.sqrt(np.where(kept, v**2, 0.0).sum(axis=-1))
    return np.where(count == problem.targets, 1.0, part), kept


def _even(v: Array) -> bool:
    """Return whether all entries of v that are not 0 have the same size."""
    sizes = np.abs(v[v != 0])
    return bool(np.all(sizes == sizes[0]))


def reduce(problem: Problem, state: State, mask: NDArray[np.bool_] | None = None) -> Reduced:
    """Reduce a state to (a, p, q) relative to the target v or, with a mask, relative to mask * v.

    Parameters
    ----------
    problem : Population or Sample
        The problem, which defines the target v.
    state : State
        Students with w (..., B, d).
    mask : ndarray of bool, shape (B, d), optional
        True for the weights that are kept; the others count as 0.

    Returns
    -------
    Reduced
        (a, p, q), each of shape (..., B), with the balance c of `state`.

    Raises
    ------
    ValueError
        If w does not have the d coordinates of the problem.

    Examples
    --------
    >>> import singleneuron as sn
    >>> reduced = sn.reduce(sn.Population(d=3), sn.State(a=[1.0], w=[[0.5, 3.0, 4.0]]))
    >>> reduced.p.tolist(), reduced.q.round(6).tolist()
    ([0.5], [5.0])
    """
    if state.d != problem.d:
        raise ValueError(f"w must have d = {problem.d} coordinates, but has {state.d}")
    w = state.w if mask is None else np.where(mask, state.w, 0.0)
    _, kept = unit_overlap(problem, mask)
    p, along = _projection(w, problem.v, kept)
    return Reduced(state.a, p, norm_of(w - along), state.c)


def _unit(v: Array, kept: NDArray[np.bool_]) -> Array:
    """Return the unit vectors along the part of v in the coordinates `kept`; 0 where there is none."""
    if _even(v):
        return np.sign(v) * kept / np.sqrt(np.maximum(kept.sum(axis=-1, keepdims=True), 1))
    part = np.where(kept, v, 0.0)
    size = np.linalg.norm(part, axis=-1, keepdims=True)
    return np.divide(part, size, out=np.zeros_like(part), where=size > 0)


def _projection(w: Array, v: Array, kept: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return p = w.u and p u, where u is the unit vector along the part of v in the coordinates `kept`.

    If w is parallel to u, the difference w - p u must be exactly 0. Where the entries of v have equal size,
    the mean of the kept w_i is therefore computed as the first of them plus the mean difference from it.
    """
    if not _even(v):
        u = _unit(v, kept)
        p = np.sum(w * u, axis=-1)
        along = p[..., None] * u
        parallel = norm_of(w - along) <= PARALLEL * norm_of(w)
        return p, np.where(parallel[..., None], w, along)
    count, signs = kept.sum(axis=-1), np.sign(v)
    turned = w * signs
    where = np.broadcast_to(np.argmax(kept, axis=-1), w.shape[:-1])[..., None]
    first = np.take_along_axis(turned, where, axis=-1)
    offsets = np.where(kept, turned - first, 0.0)
    mean = first[..., 0] + offsets.sum(axis=-1) / np.maximum(count, 1)
    mean = np.where(count > 0, mean, 0.0)
    return mean * np.sqrt(count), np.where(kept, mean[..., None] * signs, 0.0)


def expand(problem: Problem, reduced: Reduced, origin: State, mask: NDArray[np.bool_] | None = None) -> State:
    """Rebuild full states (a, w) from (a, p, q), with w in the plane of v and the starting w.

    Parameters
    ----------
    problem : Population or Sample
        The problem, which defines the target v.
    reduced : Reduced
        Reduced states (..., B) at any time.
    origin : State
        Starts with w (B, d). The population flow never leaves the plane that v and this w span.
    mask : ndarray of bool, shape (B, d), optional
        The mask that was passed to `reduce`.

    Returns
    -------
    State
        States (..., B), with the balance c of `reduced`.
    """
    w = origin.w if mask is None else np.where(mask, origin.w, 0.0)
    _, kept = unit_overlap(problem, mask)
    _, along = _projection(w, problem.v, kept)
    perpendicular = w - along
    q = norm_of(perpendicular)[..., None]
    direction = np.divide(perpendicular, q, out=np.zeros_like(w), where=q > 0)
    u = _unit(problem.v, kept)
    return State(reduced.a, reduced.p[..., None] * u + reduced.q[..., None] * direction, reduced.c)


def negative_axes(problem: Problem) -> Array | None:
    """Return signs (d,) that are -1 where v < 0 and 1 elsewhere; None if no entry of v is negative."""
    if isinstance(problem, Population) and problem.entries is None:
        return None  # without building v, which may be huge
    signs = np.where(problem.v < 0, -1.0, 1.0)
    return None if np.all(signs > 0) else signs


def turned(problem: Problem, starts: State, signs: Array) -> tuple[Problem, State]:
    """Reverse the axes with the sign -1 in a problem and its starts, which is an exact symmetry of the flow.

    Parameters
    ----------
    problem : Population or Sample
        The problem.
    starts : State
        The starts (B,).
    signs : ndarray, shape (d,)
        1 or -1 for each axis.

    Returns
    -------
    problem : Population or Sample
        The problem with the target signs * v and, for samples, the inputs signs * x.
    starts : State
        The starts with signs * w.
    """
    if isinstance(problem, Population):
        return Population(problem.d, v=problem.v * signs), replace(starts, w=starts.w * signs)
    return replace(problem, x=problem.x * signs, v=problem.v * signs), replace(starts, w=starts.w * signs)
