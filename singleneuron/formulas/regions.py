"""What theory predicts for a start: the limit of each algorithm, as inequalities in the start alone."""

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm
from singleneuron.formulas import balanced
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Line, Problem, Sample, population_line
from singleneuron.problem.state import Reduced, Starts, State, balance, reduce, start_balance, unit_overlap


def line_success(a: Array, w: Array, line: Line | None = None, c: Array | None = None) -> NDArray[np.bool_]:
    """One coordinate, any balance: success iff w > 0 and a > -w (Theorem 2.1 where balanced).

    With samples and s_neg > 0 also from w < 0, if a > -w: label noise carries the start across. All signs
    are relative to that of s_pos. c is the balance of the start where it is known by construction.
    """
    line = line or Line()
    sign = np.sign(line.s_pos)
    c = (np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)) if c is None else c
    beyond = np.where(sign * a > 0, (w > 0) | (c > 0), (w > 0) & (c < 0))  # sign * a + w > 0
    from_left = (w < 0) & (sign * np.asarray(line.s_neg) > 0) & (np.asarray(line.c_neg) > 0)
    return beyond & ((w > 0) | from_left) & (np.asarray(line.c_pos) > 0)


def dense_success(a: Array, p: Array, q: Array, c: Array | None = None) -> NDArray[np.bool_]:
    """Population flow from (a, p = w.v, q = |w_perp|): a > -|w|, or the one-coordinate region where q = 0.

    Lemma 2.2 where balanced (there a > 0); beyond the paper at any other balance.
    """
    if c is None:
        c = balance(Reduced(a, p, q))
    return np.where(q > 0, (a > 0) | (c < 0), line_success(a, p, c=c))


def predicted(
    problem: Problem,
    starts: Starts,
    algorithm: str | Algorithm,
    *,
    imp: str = "keep",
    rewind_time: float | None = None,
) -> Array:
    """Success (1 or 0) of `algorithm` from each start in the limit of long levels, (B,); NaN: no formula.

    Theorem 2.3 and beyond: LRR succeeds iff the dense level does. IMP succeeds iff its last level does, which
    starts at (a(0), mask * w(0)), or with imp = 'rebalance' at a = sign(a(0)) |mask * w(0)|. WR is known in
    closed form on balanced starts with one target: iff a > 0 and theta(t_k) < pi/2. Of samples only what
    happens at one coordinate is known, exactly from its statistics: d = 1, and IMP's last level *given* that
    the mask, which the dense level on these samples decides, keeps the target.
    """
    if not isinstance(algorithm, Algorithm):
        algorithm = Algorithm.fitting(algorithm, imp=imp, rewind_time=rewind_time)
    name, rewind_time, rebalances = algorithm.name, algorithm.rewind_time, algorithm.rebalances
    reduced = reduce(problem, starts) if isinstance(starts, State) else starts
    a, p, q, c = reduced.a, reduced.p, reduced.q, start_balance(starts)
    unknown = np.full(a.shape, np.nan)
    if isinstance(problem, Sample) and problem.d > 1:
        last_alone = name == "imp" and problem.targets == 1
        return _imp_success(problem, starts, reduced, rebalances) if last_alone else unknown
    if problem.d == problem.targets or name == "lrr":
        if isinstance(problem, Sample):
            return line_success(a, p, Line(*(s[0] for s in problem.statistics)), c).astype(float)
        return dense_success(a, p, q, c).astype(float)
    if name == "imp":
        return _imp_success(problem, starts, reduced, rebalances)
    if problem.targets > 1 or rewind_time is None:
        return unknown
    flipped = np.arctan2(q, p) < balanced.flip_angle(rewind_time)
    success = np.where(q > 0, (a > 0) & flipped, line_success(a, p, c=c))
    return np.where(c == 0, success, np.nan)


def _imp_success(problem: Problem, starts: Starts, reduced: Reduced, rebalances: bool) -> Array:
    """The last level of IMP, by the form of the problem that the mask leaves."""
    a, p, c = reduced.a, reduced.p, reduced.c
    if problem.targets == 1:
        line = population_line()
        if isinstance(problem, Sample):
            line = Line(*(s[0] for s in problem.statistics))
        if rebalances:
            return line_success(np.sign(a) * np.abs(p), p, line, np.zeros(a.shape)).astype(float)
        # From a and p where c is not known: c + q^2 would round the boundary a = -p away.
        return line_success(a, p, line, None if c is None else c + reduced.q**2).astype(float)
    if not isinstance(starts, State):
        return np.full(a.shape, np.nan)
    mask = unit_overlap(problem)[1]
    last = reduce(problem, starts, np.broadcast_to(mask, starts.w.shape))
    if rebalances:
        return dense_success(np.sign(a), last.p, last.q, np.zeros(a.shape)).astype(float)
    if c is None:  # as the flow takes it
        c = balance(State(a, np.where(mask, starts.w, 0.0)))
    else:
        c = c + reduced.p**2 + reduced.q**2 - last.p**2 - last.q**2
    return dense_success(a, last.p, last.q, c).astype(float)
