"""The status of a trajectory, which says how it ended; each trajectory gets a status, and none is dropped."""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line
from singleneuron.problem.problem import Sample
from singleneuron.problem.state import State

TOLERANCE = 1e-3
"""A state has converged if |a rho - 1| and theta, or |a w - s_pos| in one coordinate, are at most this."""

TINY_NORM = 1e-12
"""A neuron with a < 0 and |w| below this counts as dead, because it no longer affects the output."""

DEAD_RATIO = 1e6
"""In gradient descent, which does not conserve c, a neuron with a small |w| counts as dead only if |a|/|w| is
at least this ratio; otherwise, every small start would count as dead."""

EQUAL = 1e-6
"""If the balance is not known, |a| and |w| count as equal up to this relative difference."""

EDGE = 1e-9
"""If |w.v| is below this multiple of |w|, it counts as 0: limits are known only to about this accuracy, and
some lie exactly on w.v = 0, the boundary of the target's side."""

ON_PLANE = 1e-12
"""If |w.x_i| is below this multiple of |w| |x_i|, it counts as 0: rounding moves w off the hyperplanes."""


class Status(IntEnum):
    """Outcome of a trajectory; CONVERGED and TRAPPED count as success, DEAD and STUCK as failure.

    Examples
    --------
    >>> import singleneuron as sn
    >>> [status.label for status in sn.Status]
    ['converged', 'trapped', 'dead', 'stuck', 'undecided', 'failed', 'ambiguous']
    >>> sn.Status(1) is sn.Status.TRAPPED
    True
    """

    CONVERGED = 0
    """Within tolerance of the target."""
    TRAPPED = 1
    """Not yet within tolerance of the target, but its limit is the target: a > 0 and 0 < theta < pi."""
    DEAD = 2
    """The neuron dies: a < 0, and either c >= 0 or |w| is below `TINY_NORM`. The neuron is also dead if no
    sample activates it, if only samples with label 0 will ever activate it, or if it is held at w = 0."""
    STUCK = 3
    """The state rests away from the target for good, or the mask lost a target coordinate. With one
    coordinate, it is also stuck if w is 0, if w cannot reach the target from its side, or if s_pos = 0."""
    UNDECIDED = 4
    """None of the above by the end of the run."""
    FAILED = 5
    """The integrator gave up: a stiff flow needs too many steps, or numbers overflow or underflow."""
    AMBIGUOUS = 6
    """The flow on samples has no unique continuation, because the weight `a` passed 0 while w was sliding."""

    @property
    def label(self) -> str:
        """The name in lower case, as used in files and tables."""
        return self.name.lower()


SUCCESS = (Status.CONVERGED, Status.TRAPPED)
FAILURE = (Status.DEAD, Status.STUCK)


def success(status: Any) -> Array:
    """Return 1 where a status counts as success, 0 where it counts as failure, NaN elsewhere.

    Parameters
    ----------
    status : array_like of int
        Codes of `Status`, of any shape.

    Returns
    -------
    ndarray
        1.0, 0.0 or NaN, of the same shape.
    """
    status = np.asarray(status)
    return np.where(np.isin(status, SUCCESS), 1.0, np.where(np.isin(status, FAILURE), 0.0, np.nan))


def counts(status: Any) -> dict[str, int]:
    """Count trajectories by status.

    Parameters
    ----------
    status : array_like of int
        Codes of `Status`, of any shape.

    Returns
    -------
    dict of str to int
        The count for each label, including labels that do not occur.
    """
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
    """Determine the status of states of the population flow with 0 < theta < pi.

    Parameters
    ----------
    a, log_rho, x : ndarray, shape (B,)
        Outer weight a, log |w|, and x = log tan(theta/2).
    c : ndarray, shape (B,)
        Balance of the *start*, exactly 0 if balanced by construction.
    overlap : ndarray, shape (B,)
        |mask * v|, below 1 where the mask lost a target coordinate, which training cannot restore.
    tolerance : float
        Largest |a rho - 1| and largest theta that count as converged.

    Returns
    -------
    ndarray of int8, shape (B,)
        Codes of `Status`.

    References
    ----------
    Lemma 2.2 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the paper.
    """
    theta = 2 * np.arctan(np.exp(np.clip(x, -700, 700)))
    near = (np.abs(a * np.exp(log_rho) - 1) <= tolerance) & (theta <= tolerance)
    # If c < 0, a small w does not mean death: `a` changes sign, and w grows again. The sign bit is tested
    # because `a` tends to -0.0 from a balanced start with a < 0.
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
    """Determine the status of states with one coordinate; the target is w > 0 with a w = s_pos.

    With plain weights and with Sign-In, w reaches and crosses 0 under the same conditions, if c is the
    quantity that the respective flow conserves; `flows.sign_in.line` derives these conditions.

    Parameters
    ----------
    a, w : ndarray, shape (B,)
        Outer weight and inner weight.
    c : ndarray, shape (B,)
        Balance of the start, from `Parameterization.balance`.
    line : Line
        Statistics of the data.
    overlap : array_like
        |mask * v|, below 1 where the mask lost a target coordinate.
    tolerance : float
        Largest |a w - s_pos| that counts as converged.

    Returns
    -------
    ndarray of int8, shape (B,)
        Codes of `Status`.

    References
    ----------
    Theorem 2.1 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances are beyond the
    paper.
    """
    s_pos, s_neg = np.asarray(line.s_pos), np.asarray(line.s_neg)
    near = (w > 0) & (np.abs(a * w - s_pos) <= tolerance) & (a * s_pos > 0) & (np.asarray(line.c_pos) > 0)
    # If `towards` > 0, the product `a w` moves towards s_pos wherever w > 0. From a balanced start, `a` may
    # end at -0.0.
    towards = a * np.sign(s_pos)
    # From w < 0, w reaches 0 iff c > 0 and a s_neg > 0, and it then crosses iff a s_pos > 0.
    crosses_up = (w < 0) & (c > 0) & (a * s_neg > 0) & (towards > 0)
    crosses_up &= (np.asarray(line.c_neg) > 0) & (np.asarray(line.c_pos) > 0)
    never = (w == 0) | (s_pos == 0) | ((w < 0) & ~crosses_up) | ((w > 0) & (np.asarray(line.c_pos) == 0))
    return np.select(
        [np.asarray(overlap) < 1, near, never, (w > 0) & np.signbit(towards) & (c >= 0), (towards > 0)],
        [Status.STUCK, Status.CONVERGED, Status.STUCK, Status.DEAD, Status.TRAPPED],
        Status.UNDECIDED,
    ).astype(np.int8)


def _on(problem: Sample, a: float, z: Array, near: NDArray[np.bool_], step: float) -> NDArray[np.intp]:
    """Return the indices of the hyperplanes on which a state slides: all that `near` marks, and maybe more.

    If `step` > 0, descent hops back and forth across the marked hyperplanes. A hop changes w.x_i by at most
    step |a/n| sum_j |y_j x_j.x_i|, summed over the marked j. All attracting hyperplanes within this reach are
    added.
    """
    on = np.flatnonzero(near)
    if step:
        reach = np.abs(problem.x @ problem.x[on].T) @ np.abs(a * problem.y[on]) * step / problem.n
        on = np.flatnonzero(near | ((a * problem.y < 0) & (np.abs(z) <= reach)))
    return on


def _pull(problem: Sample, state: State, z: Array, rounding: Array, step: float) -> Array:
    """Compute A u - b, shape (B, d), in the cell of each state, where u = a w.

    If w slides on hyperplanes, the samples of these hyperplanes count with shares in [0, 1], which minimise
    the norm of the result.
    """
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
    ratio: float = 1.0,
) -> NDArray[np.int8]:
    """Determine the status of states for n samples in d > 1, from the least-squares problem of their cell.

    In the cell with the active samples S = {i: w.x_i > 0}, the loss is quadratic in u = a w, and
    dL/dw = a (A_S u - b_S). Here A_S is about s I/2, where s is the mean square of x. The flow slides on
    hyperplanes w.x_i = 0 that attract it (a y_i < 0); sample i then counts with a share in [0, 1].

    A state has converged if |A_S u - b_S| <= tolerance s/2 and it is on the target's side: a > 0 and w.v > 0.
    A state at rest elsewhere is stuck. A state is dead if no sample is active (a sample with w.x_i = 0 up to
    `ON_PLANE` is inactive); if a < 0 <= c, since `a` never changes sign; if a < 0 and |w| is below
    `TINY_NORM`; or if it is a limit at which all active samples have label 0, since its output is then 0.

    Parameters
    ----------
    problem : Sample
        The n samples.
    state : State
        States a (B,), w (B, d).
    c : ndarray, shape (B,)
        Balance of the start.
    overlap : array_like
        |mask * v|, below 1 where the mask lost a target coordinate.
    tolerance : float
        Tolerance for convergence, as above.
    settled : ndarray of bool, shape (B,), optional
        True where the state is certainly a limit. If given, only such states count as stuck: if |a| is small,
        a state that still creeps looks as if it were at rest.
    step : float
        Learning rate if the states come from descent, which hops across hyperplanes; 0 for a flow.
    ratio : float
        beta_a / beta_w under Sign-In, else 1. Near w = 0, Sign-In conserves a^2/beta_a - |w|^2/beta_w.

    Returns
    -------
    ndarray of int8, shape (B,)
        Codes of `Status`.
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
    tiny = (rho <= TINY_NORM) & (-state.a >= (1 - EQUAL) * rho * np.sqrt(ratio))
    dies = inactive | ((state.a < 0) & ((c >= 0) | tiny))
    if settled is not None:
        dies |= silent & settled
    return np.select(
        [dies, np.asarray(overlap) < 1, (rests | stays) & right, stays],
        [Status.DEAD, Status.STUCK, Status.CONVERGED, Status.STUCK],
        Status.UNDECIDED,
    ).astype(np.int8)
