"""Pruning by IMP, WR or LRR: train, prune the smallest |w_i|, and train again (Theorem 2.3)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm, Name, Variant, level_counts
from singleneuron.flows.integrate import integrate
from singleneuron.flows.result import BoolArray, FlowResult, Progress, masked_start
from singleneuron.flows.task import Training, check_keywords
from singleneuron.flows.trapped import at_limit
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.parameterization import Name as ParameterizationName
from singleneuron.problem.arguments import Array, number
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.state import Reduced, Starts, State, start_balance
from singleneuron.problem.status import Status
from singleneuron.problem.status import success as success_of

NO_OUTCOME = (Status.UNDECIDED, Status.FAILED, Status.AMBIGUOUS)
"""With `level_time` = inf, a run has no outcome if one of its levels ends with one of these statuses."""


@dataclass(frozen=True)
class PruneResult:
    """The outcome of B runs, each with L pruning steps and L + 1 levels.

    Attributes
    ----------
    success : ndarray, shape (B,)
        1 if the run succeeded, 0 if it did not, and NaN if it has no outcome. A run has no outcome if a level
        failed or is ambiguous, or if `level_time` is inf and a level is undecided.
    status : ndarray of int8, shape (B,)
        `Status` code of each run.
    levels : ndarray of int8, shape (B, L + 1)
        `Status` code at the end of each level.
    mask : ndarray of bool, shape (B, d), or None
        True for the coordinates that survive. None for reduced starts.
    loss : ndarray, shape (B, L + 1)
        Loss at the end of each level.
    a : ndarray, shape (B, L + 1)
        Outer weight at the end of each level.
    w : ndarray, shape (B, L + 1, d)
        Inner weights at the end of each level. For reduced starts, (p, q) with shape (B, L + 1, 2).
    counts : tuple of int
        Number of coordinates kept at each level.
    imp : {'keep', 'rebalance'}
        What IMP and WR did with the weight `a` after pruning.

    Examples
    --------
    >>> import singleneuron as sn
    >>> starts = sn.balanced_starts(d=10, size=5, seed=1)
    >>> run = sn.prune(sn.Population(d=10), starts, algorithm="lrr", levels=3)
    >>> run.counts, run.loss.shape, run.w.shape
    ((10, 5, 2, 1), (5, 4), (5, 4, 10))
    >>> run.mask.sum(axis=1).tolist()
    [1, 1, 1, 1, 1]
    """

    success: Array
    status: NDArray[np.int8]
    levels: NDArray[np.int8]
    mask: BoolArray | None
    loss: Array
    a: Array
    w: Array
    counts: tuple[int, ...]
    imp: str


def smallest_pruned(w: Array, mask: BoolArray, count: int) -> BoolArray:
    """Return `mask` (B, d) reduced to the `count` largest |w_i| of each row; of equal |w_i|, the first."""
    magnitude = np.where(mask, np.abs(w), -1.0)
    order = np.argsort(-magnitude, axis=1, kind="stable")
    kept = np.zeros(mask.shape, dtype=bool)
    np.put_along_axis(kept, order[:, :count], True, axis=1)
    return kept


def rebalanced(starts: State, mask: BoolArray) -> State:
    """Return balanced starts, in which mask * w replaces w, and sign(a) |mask * w| replaces `a`."""
    w = np.where(mask, starts.w, 0.0)
    norm = np.abs(w).max(axis=1) if np.all(mask.sum(axis=1) == 1) else np.linalg.norm(w, axis=1)
    return State(np.sign(starts.a) * norm, w, np.zeros(starts.size))


def prune(
    problem: Problem,
    starts: Starts,
    *,
    algorithm: Name | Algorithm = "lrr",
    levels: int = 1,
    imp: Variant = "keep",
    rewind_time: float | None = None,
    level_time: float = np.inf,
    parameterization: ParameterizationName | Parameterization = PLAIN,
    dense: FlowResult[Any] | None = None,
    progress: Progress | None = None,
    **training: Unpack[Training],
) -> PruneResult:
    """Train and prune by IMP, WR or LRR until w keeps as many coordinates as the target depends on.

    `integrate` trains every level, by any of its methods. If `level_time` is finite, a run succeeds if its
    last level ends within tolerance of the target. If it is inf, a run succeeds if its limit is the target.

    Parameters
    ----------
    problem : Population or Sample
        The problem on which every level is trained.
    starts : State or Reduced
        B starts. Reduced starts work only for the population with one target coordinate, one pruning step and
        `level_time` = inf. A run from a reduced start is undecided if it may prune the target coordinate.
    algorithm : {'imp', 'wr', 'lrr'} or Algorithm
        The weights from which each later level starts, after w is masked: the initial weights ('imp'), the
        weights of the dense level at `rewind_time` ('wr'), or the final weights of the previous level
        ('lrr'). If you pass an `Algorithm`, set `imp` and `rewind_time` there, not here.
    levels : int
        Number of pruning steps. The numbers of coordinates kept form a geometric sequence. If d = targets,
        nothing is pruned.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the weight `a` after pruning: keep it, or set it to sign(a) |mask * w|.
    rewind_time : float, optional
        Time to which WR rewinds, at most `level_time`. It is required for WR, and not allowed otherwise.
    level_time : float
        Training time of every level, or inf to train each level to its limit. Gradient descent rounds this
        time and `rewind_time` to whole steps, and rejects a time that rounding changes by more than 5 %.
    parameterization : {'plain', 'sign-in'} or Parameterization
        Plain weights, or the products of Sign-In. Under Sign-In, every level starts with the given betas.
    dense : FlowResult, optional
        The result of the dense level, if you have it already. It does not depend on the algorithm.
    progress : callable, optional
        Called as progress(done, total) with numbers of starts. Every start counts once for each level, and
        once more for the training up to `rewind_time`.
    **training
        Options passed to `integrate`: rtol, atol, method, learning_rate, label_noise, seed, tolerance.

    Returns
    -------
    PruneResult
        The outcome of every run.

    Raises
    ------
    ValueError
        If an argument is invalid or contradicts another argument. The message is one line.
    TypeError
        If `training` contains an unknown argument.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    From the start with w_1 < 0, LRR succeeds and IMP fails. From the start with a < 0, both fail.

    >>> import singleneuron as sn
    >>> problem = sn.Population(d=2)
    >>> starts = sn.State(a=[1.0, 1.0, -1.0], w=[[0.6, 0.8], [-0.6, 0.8], [0.6, 0.8]], c=0.0)
    >>> sn.prune(problem, starts, algorithm="imp").success.tolist()
    [1.0, 0.0, 0.0]
    >>> sn.prune(problem, starts, algorithm="lrr").success.tolist()
    [1.0, 1.0, 0.0]
    """
    # This function is long because half of it is the signature and two calls that pass on all arguments.
    check_keywords(prune, training, Training)
    product = Parameterization.of(parameterization)
    level_time = number("level_time", level_time, least=0.0, finite=False, open_end=True)
    if not isinstance(algorithm, Algorithm):
        algorithm = Algorithm(algorithm, rewind_time, imp)
    elif imp != "keep" or rewind_time is not None:
        raise ValueError("imp and rewind_time must be set in the Algorithm, not separately; leave them out")
    algorithm.check_times(level_time, training.get("learning_rate"))
    counts = level_counts(problem.d, problem.targets, levels)
    rewinds = algorithm.rewind_time is not None and len(counts) > 1
    steps = len(counts) + rewinds - (dense is not None)
    total, position = steps * starts.size, 0

    def train(state: Starts, t_end: float, mask: BoolArray | None) -> FlowResult[Any]:
        nonlocal position
        base, position = position, position + starts.size
        report = None if progress is None else lambda done, _: progress(base + done, total)
        return integrate(
            problem, state, t_end, mask=mask, parameterization=product, progress=report, **training
        )

    rewound = train(starts, float(algorithm.rewind_time or 0.0), None).state if rewinds else starts
    trained = dense or train(starts, level_time, None)
    if isinstance(starts, Reduced):
        return _prune_reduced(problem, starts, trained, rewound, counts, algorithm, level_time, train)

    mask, begun = np.ones(starts.w.shape, dtype=bool), starts
    history = [(trained, loss(problem, trained.state))]
    for count in counts[1:]:
        end = trained.state
        if np.isinf(level_time):
            end = at_limit(problem, begun, trained, product)
        assert isinstance(end, State)
        assert isinstance(rewound, State)
        mask = smallest_pruned(end.w, mask, count)
        source = algorithm.source(rewound, end)
        if algorithm.rebalances:
            source = rebalanced(source, mask)
        begun = masked_start(source, mask)
        trained = train(begun, level_time, mask)
        history.append((trained, loss(problem, trained.state)))
    states = [result.state for result, _ in history]
    return _result(
        history,
        mask,
        np.stack([state.w for state in states if isinstance(state, State)], axis=1),
        counts,
        algorithm.imp,
        np.isinf(level_time),
    )


def _result(
    history: list[tuple[FlowResult[Any], Array]],
    mask: BoolArray | None,
    w: Array,
    counts: tuple[int, ...],
    imp: str,
    to_limit: bool,
) -> PruneResult:
    """Return the outcome of runs from the `history` of their levels; `to_limit` means `level_time` = inf."""
    levels = np.stack([trained.status for trained, _ in history], axis=1)
    status = levels[:, -1].copy()
    if to_limit:
        # A run with a trapped level is at best trapped. If a level has no outcome, the run has none either,
        # and it gets the status of the first level without an outcome.
        trapped = np.any(levels == Status.TRAPPED, axis=1)
        status[trapped & (status == Status.CONVERGED)] = Status.TRAPPED
        for level in levels.T[::-1]:
            status = np.where(np.isin(level, NO_OUTCOME), level, status)
        success = success_of(status)
    else:
        lost = np.isin(levels, (Status.FAILED, Status.AMBIGUOUS))
        status = np.where(lost.any(axis=1), levels[np.arange(len(levels)), lost.argmax(axis=1)], status)
        success = np.where(lost.any(axis=1), np.nan, (status == Status.CONVERGED).astype(float))
    return PruneResult(
        success=success,
        status=status.astype(np.int8),
        levels=levels,
        mask=mask,
        loss=np.stack([value for _, value in history], axis=1),
        a=np.stack([trained.state.a for trained, _ in history], axis=1),
        w=w,
        counts=counts,
        imp=imp,
    )


def _prune_reduced(
    problem: Problem,
    starts: Reduced,
    dense: FlowResult[Any],
    rewound: Starts,
    counts: tuple[int, ...],
    algorithm: Algorithm,
    level_time: float,
    train: Callable[[Starts, float, BoolArray | None], FlowResult[Any]],
) -> PruneResult:
    """Prune runs from reduced starts to the target coordinate.

    If a dense level ends with |p| <= q, another |w_i| may be larger than |p|, so the run is undecided.
    """
    if (
        not isinstance(problem, Population)
        or problem.targets > 1
        or len(counts) > 2
        or np.isfinite(level_time)
    ):
        raise ValueError(
            "reduced starts (a, p, q) need the population, one target coordinate, one pruning step and "
            "level_time inf; in all other cases, pass full states with w (B, d)"
        )
    history = [(dense, loss(problem, dense.state))]
    if len(counts) > 1:
        end = at_limit(problem, starts, dense, PLAIN)
        source = algorithm.source(rewound, end)
        assert isinstance(end, Reduced)
        assert isinstance(source, Reduced)
        c = start_balance(source) + source.q**2
        a = source.a
        if algorithm.rebalances:
            a, c = np.sign(source.a) * np.abs(source.p), np.zeros(starts.size)
        last = train(Reduced(a, source.p, np.zeros(starts.size), c), level_time, None)
        unclear = np.where(np.abs(end.p) > end.q, dense.status, Status.UNDECIDED).astype(np.int8)
        history = [(replace(dense, status=unclear), history[0][1])]
        history.append((last, loss(problem, last.state)))
    states = [result.state for result, _ in history]
    w = np.stack([np.stack([s.p, s.q], axis=-1) for s in states if isinstance(s, Reduced)], axis=1)
    return _result(history, None, w, counts, algorithm.imp, True)
