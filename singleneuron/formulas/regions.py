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
    """Return whether the flow in one coordinate succeeds; on the population, this means w > 0 and a > -w.

    Theorem 2.1 covers c = 0. On samples with s_neg > 0, the flow also succeeds from w < 0 if a > -w, because
    label noise carries w across 0. If s_pos < 0, the conditions apply to -a and -s_neg. `c` is the balance of
    the start, if it is known by construction, or the balance that another parameterization conserves. If `c`
    is given, its sign replaces the comparison of a with -w: from w > 0, the flow succeeds iff a >= 0 or
    c < 0.
    """
    line = line or Line()
    sign = np.sign(line.s_pos)
    c = (np.abs(a) - np.abs(w)) * (np.abs(a) + np.abs(w)) if c is None else c
    beyond = np.where(sign * a > 0, (w > 0) | (c > 0), (w > 0) & (c < 0))  # iff sign * a + w > 0
    from_left = (w < 0) & (sign * np.asarray(line.s_neg) > 0) & (np.asarray(line.c_neg) > 0)
    return beyond & ((w > 0) | from_left) & (np.asarray(line.c_pos) > 0)


def dense_success(a: Array, p: Array, q: Array, c: Array | None = None) -> NDArray[np.bool_]:
    """Return whether the population flow succeeds from the outer weight a, p = w.v and q = |w_perp|.

    If q > 0, the condition is a > -|w|. For balanced starts this is a > 0 (Lemma 2.2); other balances are
    beyond the paper. If q = 0, `line_success` gives the condition. `c` is as in `line_success`; if it is
    given, the condition is a > 0 or c < 0.
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

    LRR succeeds iff the dense level succeeds. IMP succeeds iff its last level succeeds. This level starts
    from w = mask * w(0) and a = a(0); with `imp` = 'rebalance', it starts from a = sign(a(0)) |mask * w(0)|.
    WR has a formula for balanced starts with one target coordinate: it succeeds iff a > 0 and theta < pi/2 at
    the rewind time.

    On samples, theory only covers the flow in one coordinate. All levels follow this flow if d = 1; IMP's
    last level follows it if the target has one coordinate. The prediction for IMP's last level *assumes* that
    the mask which the dense level finds on these samples keeps the target.

    Sign-In has the same regions, but c is the balance that the flow of Sign-In conserves. WR then has a
    formula only at rewind time 0.

    Parameters
    ----------
    problem : Population or Sample
        The problem on which the neuron is trained.
    starts : State or Reduced
        The starts (B,).
    algorithm : str or Algorithm
        'imp', 'wr' or 'lrr', or an `Algorithm` with its options.
    imp : str
        What IMP and WR do with a after pruning: 'keep' or 'rebalance' it.
    rewind_time : float, optional
        Time to which WR rewinds.
    parameterization : str or Parameterization
        How the weights are parameterized: 'plain' or 'sign-in'. Sign-In needs full states.

    Returns
    -------
    ndarray, shape (B,)
        1.0 where the start succeeds, 0.0 where it fails, NaN where there is no formula.

    Raises
    ------
    ValueError
        If the name or an option of the algorithm is invalid, or if the starts are reduced under Sign-In.

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
    """Predict whether IMP's last level succeeds, if the mask keeps exactly the coordinates of the target."""
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
    """Predict success under Sign-In from the start of the level that decides it.

    This is LRR's first level, or the last level of IMP and of WR with rewind time 0.
    """
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
