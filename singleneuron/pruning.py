"""Pruning by levels: train, prune the smallest |w_i|, go on as IMP, WR or LRR prescribes (Theorem 2.3)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm, level_counts
from singleneuron.flows.integrate import integrate
from singleneuron.flows.result import BoolArray, FlowResult, Progress
from singleneuron.formulas.population import population_limit
from singleneuron.problem.arguments import Array, number
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.state import Reduced, Starts, State, start_balance
from singleneuron.problem.status import Status
from singleneuron.problem.status import success as success_of

OPEN = (Status.UNDECIDED, Status.FAILED, Status.AMBIGUOUS)


@dataclass(frozen=True)
class PruneResult:
    """Outcome of B runs with L prunings (L + 1 levels).

    success : (B,), 1, 0, or NaN where the run is undecided, ambiguous or failed.
    status : (B,), that of the run; levels : (B, L + 1), that of each level.
    mask : (B, d), the coordinates that survive; None for reduced starts.
    loss, a : (B, L + 1), at the end of each level.
    w : (B, L + 1, d), at the end of each level; for reduced starts (p, q), (B, L + 1, 2).
    counts : coordinates kept at each level. imp : what IMP and WR did with a, 'keep' or 'rebalance'.
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
    """The mask (B, d) of each row's `count` largest |w_i| among those kept; the lower index wins a tie."""
    magnitude = np.where(mask, np.abs(w), -1.0)
    order = np.argsort(-magnitude, axis=1, kind="stable")
    kept = np.zeros(mask.shape, dtype=bool)
    np.put_along_axis(kept, order[:, :count], True, axis=1)
    return kept


def rebalanced(starts: State, mask: BoolArray) -> State:
    """a := sign(a) |mask * w|, balanced by construction."""
    w = np.where(mask, starts.w, 0.0)
    norm = np.abs(w).max(axis=1) if np.all(mask.sum(axis=1) == 1) else np.linalg.norm(w, axis=1)
    return State(np.sign(starts.a) * norm, w, np.zeros(starts.size))


def prune(
    problem: Problem,
    starts: Starts,
    *,
    algorithm: str | Algorithm = "lrr",
    levels: int = 1,
    imp: str = "keep",
    rewind_time: float | None = None,
    level_time: float = np.inf,
    dense: FlowResult[Any] | None = None,
    progress: Progress | None = None,
    **training: Any,
) -> PruneResult:
    """Run IMP, WR or LRR from d coordinates to the target's, over any training that `integrate` offers.

    algorithm : at each level after the first the weights are mask * those of the start ('imp'), of the dense
        level at `rewind_time` ('wr'), or of the level before ('lrr'); or an `Algorithm`, which says all of
        this by itself.
    levels : number of prunings, in geometric counts; none where d is the number of targets already.
    imp : what IMP and WR do with a after a pruning: 'keep', or 'rebalance' to sign(a) |mask * w|.
    rewind_time : of WR alone, no longer than a level.
    level_time : length of a level; inf trains each to its limit. Gradient descent takes the nearest whole
        number of steps, for it and for rewind_time; a time that these miss by over 5 % is refused.
        A run of finite levels succeeds if its last level ends within tolerance; one of infinite levels if its
        limit is the target.
    dense : the dense level, where it was trained before (it is the same for every algorithm).
    training : passed to `integrate` (rtol, atol, method, learning_rate, label_noise, seed, tolerance).

    Reduced starts serve for one target, one pruning and infinite levels: there a trained w has its largest
    coordinate on the target, whatever the others are. Raises ValueError, in one line, for what does not fit.
    """
    level_time = number("level_time", level_time, least=0.0, finite=False, open_end=True)
    if not isinstance(algorithm, Algorithm):
        algorithm = Algorithm(algorithm, rewind_time, imp)
    algorithm.check_times(level_time, training.get("learning_rate"))
    counts = level_counts(problem.d, problem.targets, levels)
    rewinds = algorithm.rewind_time is not None and len(counts) > 1
    steps = len(counts) + rewinds
    total, position = steps * starts.size, 0

    def train(state: Starts, t_end: float, mask: BoolArray | None) -> FlowResult[Any]:
        nonlocal position
        base, position = position, position + starts.size
        report = None if progress is None else lambda done, _: progress(base + done, total)
        return integrate(problem, state, t_end, mask=mask, progress=report, **training)

    rewound = train(starts, float(algorithm.rewind_time or 0.0), None).state if rewinds else starts
    trained = dense or train(starts, level_time, None)
    if isinstance(starts, Reduced):
        return _prune_reduced(problem, starts, trained, rewound, counts, algorithm, level_time, train)

    mask = np.ones(starts.w.shape, dtype=bool)
    history = [(trained, loss(problem, trained.state))]
    for count in counts[1:]:
        end = _limit(problem, starts, trained) if np.isinf(level_time) else trained.state
        assert isinstance(end, State)
        assert isinstance(rewound, State)
        mask = smallest_pruned(end.w, mask, count)
        source = algorithm.source(rewound, end)
        if algorithm.rebalances:
            source = rebalanced(source, mask)
        trained = train(source, level_time, mask)
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


def _limit(problem: Problem, starts: Starts, trained: FlowResult[Any]) -> Starts:
    """The end of a level; of a trapped start, which ran out of time, its limit: a = 1/rho on its c level."""
    trapped = trained.status == Status.TRAPPED
    if not isinstance(problem, Population) or not trapped.any():
        return trained.state
    a = np.where(trapped, population_limit(start_balance(starts)), trained.state.a)
    rho = 1 / np.where(trapped, a, 1.0)
    if isinstance(trained.state, Reduced):
        p, q = (
            np.where(trapped, limit, now) for limit, now in ((rho, trained.state.p), (0.0, trained.state.q))
        )
        return Reduced(a, p, q, trained.state.c)
    w = np.where(trapped[:, None], rho[:, None] * problem.v, trained.state.w)
    return State(a, w, trained.state.c)


def _result(
    history: list[tuple[FlowResult[Any], Array]],
    mask: BoolArray | None,
    w: Array,
    counts: tuple[int, ...],
    imp: str,
    to_limit: bool,
) -> PruneResult:
    levels = np.stack([trained.status for trained, _ in history], axis=1)
    status = levels[:, -1].copy()
    if to_limit:
        # What one level left open, the run leaves open; what one owes to its limit, the run owes to it.
        trapped = np.any(levels == Status.TRAPPED, axis=1)
        status[trapped & (status == Status.CONVERGED)] = Status.TRAPPED
        for level in levels.T[::-1]:
            status = np.where(np.isin(level, OPEN), level, status)
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
    """One target and one pruning: where |p| > q, the largest |w_i| is the target's, in any d."""
    if (
        not isinstance(problem, Population)
        or problem.targets > 1
        or len(counts) > 2
        or np.isfinite(level_time)
    ):
        raise ValueError(
            "reduced starts (a, p, q) serve the population with one target, one pruning and level_time inf; "
            "give full states w (B, d) for anything else"
        )
    history = [(dense, loss(problem, dense.state))]
    if len(counts) > 1:
        end = _limit(problem, starts, dense)
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
