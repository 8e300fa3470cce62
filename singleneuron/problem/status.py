"""What an end state is. Every trajectory gets a status; none is dropped."""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, Sample
from singleneuron.problem.state import State

TOLERANCE = 1e-3
"""Largest |a rho - 1| and theta (one coordinate: |a w - s_pos|) of a run that converged."""

TINY_NORM = 1e-12
"""A neuron with a < 0 and |w| below this is dead: it left every sample's active side for good."""

DEAD_RATIO = 1e6
"""Of gradient descent, which conserves no c, only if |a| is so many times |w|: no small start is dead."""
EQUAL = 1e-6
"""|a| = |w| up to this share, where the balance is not known."""

EDGE = 1e-9
"""w.v = 0 up to this multiple of |w| |v|: on the edge of the target's side, to the accuracy of a limit."""

ON_PLANE = 1e-12
"""w.x_i = 0 up to this multiple of |w| |x_i|: rounding, since a slide keeps to its hyperplanes exactly."""


class Status(IntEnum):
    """Outcome of a trajectory; the first two count as success, the next two as failure."""

    CONVERGED = 0
    """Within tolerance of the target."""
    TRAPPED = 1
    """Not there yet, but its limit is the target: a > 0 and 0 < theta < pi."""
    DEAD = 2
    """The neuron dies: a < 0 with c >= 0 or |w| below `TINY_NORM`; no sample activates it, or those that do
    all have label 0 for ever; or w = 0 holds it."""
    STUCK = 3
    """At rest elsewhere than at the target, for ever; with one coordinate at w = 0, on the wrong side, or
    with no label to learn (s_pos = 0); or a mask that lost the target."""
    UNDECIDED = 4
    """None of these when the time was over."""
    FAILED = 5
    """The integrator gave up: the flow is too stiff for its budget of steps, or its numbers overflow or
    underflow."""
    AMBIGUOUS = 6
    """The sample flow has no unique continuation: a passed 0 while sliding."""

    @property
    def label(self) -> str:
        return self.name.lower()


SUCCESS = (Status.CONVERGED, Status.TRAPPED)
FAILURE = (Status.DEAD, Status.STUCK)


def success(status: Any) -> Array:
    """1 where a status counts as success, 0 as failure, NaN where it is neither; any shape."""
    status = np.asarray(status)
    return np.where(np.isin(status, SUCCESS), 1.0, np.where(np.isin(status, FAILURE), 0.0, np.nan))


def counts(status: Any) -> dict[str, int]:
    """Number of trajectories by status label, every status listed."""
    totals = np.bincount(np.asarray(status, dtype=np.int64).ravel(), minlength=len(Status))
    return {Status(code).label: int(totals[code]) for code in range(len(Status))}


def population_status(
    a: Array,
    log_rho: Array,
    x: Array,
    c: Array,
    overlap: Array,
    tolerance: float = TOLERANCE,
) -> NDArray[np.int8]:
    """Status of population states (a, log rho, x = log tan(theta/2)) with 0 < theta < pi, all (B,).

    c : balance of the *start* (exactly 0 if balanced by construction); overlap : |mask * v|, below 1
    where the mask lost a target coordinate, which no training can mend.
    """
    theta = 2 * np.arctan(np.exp(np.clip(x, -700, 700)))
    near = (np.abs(a * np.exp(log_rho) - 1) <= tolerance) & (theta <= tolerance)
    # Where c < 0 a small w is no death: a turns and w grows again. -0.0 is the limit of a balanced a < 0.
    dies = np.signbit(a) & (c >= 0)
    return np.select(
        [overlap < 1, near, dies, a > 0],
        [np.where(dies, Status.DEAD, Status.STUCK), Status.CONVERGED, Status.DEAD, Status.TRAPPED],
        Status.UNDECIDED,
    ).astype(np.int8)


def line_status(
    a: Array,
    w: Array,
    c: Array,
    line: Line,
    overlap: Any = 1.0,
    tolerance: float = TOLERANCE,
) -> NDArray[np.int8]:
    """Status of states with one coordinate, all (B,); the target is w > 0 with a w = s_pos (Theorem 2.1)."""
    s_pos, s_neg = np.asarray(line.s_pos), np.asarray(line.s_neg)
    near = (w > 0) & (np.abs(a * w - s_pos) <= tolerance) & (a * s_pos > 0) & (np.asarray(line.c_pos) > 0)
    towards = a * np.sign(s_pos)  # > 0: a w moves to s_pos on w > 0
    # From w < 0 the line w = 0 is reached iff c > 0 and a s_neg > 0, and then passed iff a s_pos > 0.
    crosses_up = (w < 0) & (c > 0) & (a * s_neg > 0) & (towards > 0)
    crosses_up &= (np.asarray(line.c_neg) > 0) & (np.asarray(line.c_pos) > 0)
    never = (w == 0) | (s_pos == 0) | ((w < 0) & ~crosses_up) | ((w > 0) & (np.asarray(line.c_pos) == 0))
    return np.select(
        [np.asarray(overlap) < 1, near, never, (w > 0) & (towards < 0) & (c >= 0), (towards > 0)],
        [Status.STUCK, Status.CONVERGED, Status.STUCK, Status.DEAD, Status.TRAPPED],
        Status.UNDECIDED,
    ).astype(np.int8)


def _on(problem: Sample, a: float, z: Array, near: NDArray[np.bool_], step: float) -> NDArray[np.intp]:
    """The hyperplanes (k,) that a state is on, of those that are `near` by their own samples (n,) bool.

    Descent hops about them: a step across changes a w.x_i by no more than the labels of all of them do,
    step |a/n| sum_j |y_j x_j.x_i|.
    """
    on = np.flatnonzero(near)
    if step:
        reach = np.abs(problem.x @ problem.x[on].T) @ np.abs(a * problem.y[on]) * step / problem.n
        on = np.flatnonzero(near | ((a * problem.y < 0) & (np.abs(z) <= reach)))
    return on


def _pull(problem: Sample, state: State, z: Array, rounding: Array, step: float) -> Array:
    """A u - b (B, d) of the cells; on a slide the least that shares in [0, 1] of its samples can leave."""
    residual = state.a[:, None] * z - problem.y
    active = z > rounding
    hop = step / problem.n * np.abs(state.a[:, None] * problem.y) * np.sum(problem.x**2, axis=1)
    near = (np.abs(z) <= np.maximum(rounding, hop)) & (state.a[:, None] * problem.y < 0)
    slides = {b: _on(problem, state.a[b], z[b], near[b], step) for b in np.flatnonzero(near.any(axis=1))}
    for b, on in slides.items():
        active[b, on] = False
    pull = np.asarray((residual * active) @ problem.x / problem.n)
    for b, on in slides.items():
        push = (problem.x[on] * problem.y[on, None]).T / problem.n
        pull[b] -= push @ lsq_linear(push, pull[b], bounds=(0.0, 1.0), method="bvls").x
    return pull


def sample_status(
    problem: Sample,
    state: State,
    c: Array,
    overlap: Any = 1.0,
    tolerance: float = TOLERANCE,
    settled: NDArray[np.bool_] | None = None,
    step: float = 0.0,
) -> NDArray[np.int8]:
    """Status of states (B,) of n samples in d > 1, judged by the least-squares problem of their cell.

    In the cell S = {w.x_i > 0} the loss is quadratic in u = a w, dL/dw = a (A_S u - b_S), and A_S is about
    s I/2, s the mean square of x: converged where |A_S u - b_S| <= tolerance s/2 on the target's side,
    a > 0 and w.v > 0. A state at rest elsewhere is stuck, or dead where no sample is active; one on its
    hyperplane, to `ON_PLANE`, is not. a < 0 <= c never changes sign: dead too, as is a limit all whose active
    labels are 0, where the output is 0. On hyperplanes w.x_i = 0 that
    attract (a y_i < 0) the flow slides, each sample active to a share in [0, 1].

    settled (B,) : where the state is a limit for certain; given, only such a state is stuck, since where a is
    small one that creeps on looks as if at rest.
    step : learning rate of the descent that led there, which hops about the hyperplanes instead.
    """
    z = state.w @ problem.x.T
    rho = np.linalg.norm(state.w, axis=-1)
    rounding = ON_PLANE * rho[:, None] * np.linalg.norm(problem.x, axis=1)
    pull = _pull(problem, state, z, rounding, step)
    inactive = ~np.any(z > rounding, axis=-1)
    silent = ~np.any((z > rounding) & (problem.y != 0), axis=-1)
    rests = np.linalg.norm(pull, axis=-1) <= tolerance / 2 * np.mean(problem.x**2)
    stays = rests if settled is None else settled
    right = (state.a > 0) & (state.w @ problem.v > EDGE * rho) & ~silent
    tiny = (rho <= TINY_NORM) & (-state.a >= (1 - EQUAL) * rho)
    dies = inactive | ((state.a < 0) & ((c >= 0) | tiny))
    if settled is not None:
        dies |= silent & settled
    return np.select(
        [dies, np.asarray(overlap) < 1, (rests | stays) & right, stays],
        [Status.DEAD, Status.STUCK, Status.CONVERGED, Status.STUCK],
        Status.UNDECIDED,
    ).astype(np.int8)
