"""Theoretical predictions for a given start: inequalities that decide whether each algorithm succeeds."""

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.formulas import balanced
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.parameterization import Name as ParameterizationName
from singleneuron.problem.arguments import Array
from singleneuron.problem.line import Line, population_line
from singleneuron.problem.problem import Problem, Sample
from singleneuron.problem.reduction import negative_axes, reduce, turned, unit_overlap
from singleneuron.problem.state import Reduced, Starts, State, balance, start_balance


def line_success(a: Array, w: Array, line: Line | None = None, c: Array | None = None) -> NDArray[np.bool_]:
    """Return whether the flow in one coordinate succeeds: iff w > 0 and a > -w (Theorem 2.1, for c = 0).

    On samples with s_neg > 0 it also succeeds from w < 0 if a > -w: label noise carries w across 0. If
    s_pos < 0, -a and -s_neg replace a and s_neg. c is the balance of the start if known by construction, or
    the one that another parameterization conserves; given c, the flow succeeds iff w > 0 and (a >= 0 or
    c < 0).
    """
    line = line or Line()
    sign = np.sign(line.s_pos)
    c = (np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)) if c is None else c
    beyond = np.where(sign * a > 0, (w > 0) | (c > 0), (w > 0) & (c < 0))  # sign * a + w > 0
    from_left = (w < 0) & (sign * np.asarray(line.s_neg) > 0) & (np.asarray(line.c_neg) > 0)
    return beyond & ((w > 0) | from_left) & (np.asarray(line.c_pos) > 0)


def dense_success(a: Array, p: Array, q: Array, c: Array | None = None) -> NDArray[np.bool_]:
    """Return whether the population flow succeeds from (a, p = w.v, q = |w_perp|): iff a > -|w|.

    From balanced starts with q > 0 the condition is a > 0 (Lemma 2.2); at any other balance it is beyond the
    paper. If q = 0, `line_success` gives the condition. c is as in `line_success`; given c, the flow succeeds
    iff a >= 0 or c < 0.
    """
    if c is None:
        c = balance(Reduced(a, p, q))
    return np.where(q > 0, (a > 0) | (c < 0), line_success(a, p, c=c))


def predicted(
    problem: Problem,
    starts: Starts,
    algorithm: Name | Algorithm,
    *,
    imp: Variant = "keep",
    rewind_time: float | None = None,
    parameterization: ParameterizationName | Parameterization = PLAIN,
) -> Array:
    """Predict whether an algorithm succeeds from each start, in the limit of long levels.

    LRR succeeds iff the dense level does. IMP succeeds iff its last level does, which starts from
    w = mask * w(0) and from a = a(0) or, with imp = 'rebalance', a = sign(a(0)) |mask * w(0)|. WR has a
    formula for balanced starts with one target coordinate: it succeeds iff a > 0 and theta < pi/2 at the
    rewind time.

    On samples, theory covers only the flow in one coordinate: all levels if d = 1, and IMP's last level if
    the target has one coordinate. The prediction for that level *assumes* that the mask which the dense
    level finds on these samples keeps the target.

    Sign-In has the same regions, with the balance c that its own flow conserves in place of a^2 - |w|^2, and
    no formula for WR, except at rewind time 0.

    Parameters
    ----------
    problem : Population or Sample
        The problem that is trained on.
    starts : State or Reduced
        Starts (B,).
    algorithm : str or Algorithm
        'imp', 'wr' or 'lrr', or an `Algorithm` with its options.
    imp : str
        What IMP and WR do with a after pruning: 'keep' or 'rebalance' it.
    rewind_time : float, optional
        Time to which WR rewinds.
    parameterization : str or Parameterization
        Plain weights, or the products of Sign-In; Sign-In needs full states.

    Returns
    -------
    ndarray, shape (B,)
        1.0 where the start succeeds, 0.0 where it fails, NaN where there is no formula.

    Raises
    ------
    ValueError
        If the name or an option of the algorithm is invalid, or if starts under Sign-In are reduced.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024) covers balanced starts; other balances and Sign-In are
    beyond the paper.

    Examples
    --------
    LRR corrects a negative w_1, IMP does not, and both fail from a < 0:

    >>> import singleneuron as sn
    >>> starts = sn.State(a=[1.0, 1.0, -1.0], w=[[0.6, 0.8], [-0.6, 0.8], [0.6, 0.8]], c=0.0)
    >>> {name: sn.predicted(sn.Population(d=2), starts, name).tolist() for name in ("imp", "lrr")}
    {'imp': [1.0, 0.0, 0.0], 'lrr': [1.0, 1.0, 0.0]}
    """
    algorithm = Algorithm.fitting(algorithm, imp=imp, rewind_time=rewind_time)
    product = Parameterization.of(parameterization)
    if isinstance(starts, State) and (signs := negative_axes(problem)) is not None:
        problem, starts = turned(problem, starts, signs)
    if not product.plain:
        return _sign_in_success(problem, starts, algorithm, product)
    name, rewind_time, rebalances = algorithm.name, algorithm.rewind_time, algorithm.rebalances
    reduced = reduce(problem, starts) if isinstance(starts, State) else starts
    a, p, q, c = reduced.a, reduced.p, reduced.q, start_balance(starts)
    unknown = np.full(a.shape, np.nan)
    if isinstance(problem, Sample) and problem.d > 1:
        last_alone = name == "imp" and problem.targets == 1
        return _imp_success(problem, starts, reduced, rebalances) if last_alone else unknown
    if problem.d == problem.targets or name == "lrr":
        if isinstance(problem, Sample):
            return line_success(a, p, _target_line(problem), c).astype(float)
        return dense_success(a, p, q, c).astype(float)
    if name == "imp":
        return _imp_success(problem, starts, reduced, rebalances)
    if problem.targets > 1 or rewind_time is None:
        return unknown
    flipped = np.arctan2(q, p) < balanced.flip_angle(rewind_time)
    success = np.where(q > 0, (a > 0) & flipped, line_success(a, p, c=c))
    return np.where(c == 0, success, np.nan)


def _target_line(problem: Sample) -> Line:
    """Return the statistics of the target's coordinate."""
    own = int(np.argmax(problem.v != 0))
    return Line(*(values[own] for values in problem.statistics))


def _imp_success(problem: Problem, starts: Starts, reduced: Reduced, rebalances: bool) -> Array:
    """Predict whether IMP's last level succeeds, given that the mask keeps just the target's coordinates."""
    a, p, c = reduced.a, reduced.p, reduced.c
    if problem.targets == 1:
        line = population_line()
        if isinstance(problem, Sample):
            line = _target_line(problem)
        if rebalances:
            return line_success(np.sign(a) * np.abs(p), p, line, np.zeros(a.shape)).astype(float)
        # If c is not given, let line_success compute it from a and p: rounding in c + q^2 would blur the
        # boundary a = -p.
        return line_success(a, p, line, None if c is None else c + reduced.q**2).astype(float)
    if not isinstance(starts, State):
        return np.full(a.shape, np.nan)
    mask = unit_overlap(problem)[1]
    last = reduce(problem, starts, np.broadcast_to(mask, starts.w.shape))
    if rebalances:
        return dense_success(np.sign(a), last.p, last.q, np.zeros(a.shape)).astype(float)
    if c is None:  # compute c as the flow does
        c = balance(State(a, np.where(mask, starts.w, 0.0)))
    else:
        c = c + reduced.p**2 + reduced.q**2 - last.p**2 - last.q**2
    return dense_success(a, last.p, last.q, c).astype(float)


def _sign_in_success(
    problem: Problem, starts: Starts, algorithm: Algorithm, parameterization: Parameterization
) -> Array:
    """Predict success under Sign-In from the start of the level that decides: IMP's last, LRR's first."""
    last, unknown = starts, np.full(starts.size, np.nan)
    c = parameterization.balance(last)
    assert isinstance(last, State)
    if algorithm.rewinds_to is not None and problem.d > problem.targets:
        if algorithm.rewinds_to > 0:
            return unknown
        w = np.where(unit_overlap(problem)[1], last.w, 0.0)
        # In one coordinate use |w_1|, not the rounded root of its square: at equal betas c must be exactly 0.
        norm = np.abs(w).max(axis=1) if problem.targets == 1 else np.linalg.norm(w, axis=1)
        last = State(np.sign(last.a) * norm if algorithm.rebalances else last.a, w)
        c = parameterization.balance(last)
    reduced = reduce(problem, last)
    if not isinstance(problem, Sample):
        return dense_success(reduced.a, reduced.p, reduced.q, c).astype(float)
    if problem.targets > 1 or (problem.d > 1 and last is starts):
        return unknown
    return line_success(reduced.a, reduced.p, _target_line(problem), c).astype(float)
