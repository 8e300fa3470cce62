"""Integrate the runs of experiments and count their outcomes."""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from signflow.machine import cores
from signflow.workers import processes
from singleneuron.experiments import engine
from singleneuron.flows import line
from singleneuron.flows.task import CERTAIN_TIME, HORIZON
from singleneuron.formulas.regions import predicted
from singleneuron.kernels.dop853 import FAILED
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Population
from singleneuron.problem.state import Reduced, start_balance
from singleneuron.problem.status import FAILURE, SUCCESS, TOLERANCE, Status, line_status, success
from singleneuron.verification import conditions
from singleneuron.verification.runs import boundaries, sampled
from singleneuron.verification.runs.batches import Batch, batches, part, values_of
from singleneuron.verification.runs.tally import SEEN, Sweep, Tally
from singleneuron.verification.statements import Claim, Setting

NEAR, NEAR_MOST = 0.25, 20_000
"""Starts placed beside a region's boundaries: their number per drawn start, and their maximum number."""
RTOL, NEAR_RTOL, TIGHT = 1e-6, 1e-9, 1e-13
"""Tolerances for the integration.

`RTOL`: from drawn starts.
`NEAR_RTOL`: from starts near boundaries, and for training on samples.
`TIGHT`: for the second look at runs that contradict a claim.
"""
SECOND_LOOKS = 100
"""Maximum number of second looks per batch. If more runs contradict a claim, tolerance is not the cause."""
LISTED, REPEATED = 20, 20
"""Upper limits for numbers of runs.

`LISTED`: runs listed as examples.
`REPEATED`: runs that the independent solver repeats before a rate is refuted.
"""


def run(sweep: Sweep, seed: int, report: Callable[[int], None]) -> None:
    """Integrate the starts of a sweep under every claim's algorithm, and count the outcomes.

    Parameters
    ----------
    sweep : Sweep
        The planned sweep, whose tallies are filled.
    seed : int
        Seed of all starts.
    report : Callable[[int], None]
        Called with the number of drawn starts completed so far.
    """
    setting = sweep.setting
    sweep.unnested = dict.fromkeys(sweep.chains, 0)
    done = 0
    with processes(cores() if setting.sampled and sweep.runs > 4 * sampled.RUNS_A_TASK else 1) as executor:
        for batch, region, near in _starts(sweep, seed):
            outcomes = {}
            for claim, status, found in _first_look(setting, tuple(sweep.tallies), batch, near, executor):
                stated = _stated(setting, claim, batch, found)
                looks = _second_look(setting, claim, batch, status, found, stated, executor)
                tally = sweep.tallies[claim]
                tally.second_looks += looks
                _add(setting, tally, batch, status, stated, near if claim.success == region else None)
                if near is None:
                    _add_drawn(tally, batch, status, stated)
                outcomes[claim] = success(status)
            for chain in sweep.chains:
                pairs = pairwise(outcomes[claim] for claim in chain)
                sweep.unnested[chain] += sum(int(np.sum(low > high)) for low, high in pairs)
            done += batch.starts.size if near is None else 0
            report(done)


def _starts(sweep: Sweep, seed: int) -> Iterator[tuple[Batch, str | None, boundaries.Near | None]]:
    """Yield batches drawn at random, then batches beside the boundaries of each stated region.

    Each batch comes with the text of its region and its `Near`. Both are None for a batch drawn at random.
    """
    setting, given = sweep.setting, conditions.parse(sweep.setting.given)
    key = [seed, zlib.crc32(setting.model_dump_json().encode())]
    for batch in batches(setting, given, sweep.runs, key):
        yield batch, None, None
    texts = dict.fromkeys(claim.success for claim in sweep.tallies if claim.success is not None)
    for text in texts:
        size = min(NEAR_MOST, int(NEAR * sweep.runs))
        region = conditions.parse(text)
        for near in boundaries.near(setting, given, region, size, [*key, zlib.crc32(text.encode())]):
            yield near.batch, text, near


_Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Two arrays (B,): for which starts a region's condition is true, and for which it is undefined."""


def _stated(setting: Setting, claim: Claim, batch: Batch, found: NDArray[np.bool_]) -> _Truth | None:
    """Return for which runs the claim's region holds and for which it is undefined; None without a region."""
    if claim.success is None:
        return None
    region, values = conditions.parse(claim.success), values_of(setting, batch, found)
    return region(values), region.undefined(values)


def _wrong(status: NDArray[np.int8], stated: _Truth | None) -> NDArray[np.bool_]:
    """Return for which runs the status contradicts the stated region, (B,)."""
    if stated is None:
        return np.zeros(status.size, dtype=bool)
    inside, undefined = stated
    return np.where(inside, np.isin(status, FAILURE), np.isin(status, SUCCESS)) & ~undefined


def _first_look(
    setting: Setting,
    claims: tuple[Claim, ...],
    batch: Batch,
    near: boundaries.Near | None,
    executor: Executor,
) -> Iterator[tuple[Claim, NDArray[np.int8], NDArray[np.bool_]]]:
    """Yield, for each claim, the status of each run and whether its mask keeps the target."""
    rtol = RTOL if near is None else NEAR_RTOL
    if setting.sampled:
        statuses, found = sampled.train(setting, claims, batch, NEAR_RTOL, executor)
        yield from ((claim, status, found) for claim, status in zip(claims, statuses, strict=True))
        return
    for claim, status in zip(claims, _run(setting, claims, batch, rtol), strict=True):
        yield claim, status, np.ones(batch.starts.size, dtype=bool)


def _second_look(
    setting: Setting,
    claim: Claim,
    batch: Batch,
    status: NDArray[np.int8],
    found: NDArray[np.bool_],
    stated: _Truth | None,
    executor: Executor,
) -> int:
    """Repeat the runs that contradict the region with the tolerance TIGHT, and return their number.

    The first outcomes may be wrong: a flow that passes a saddle at a distance below the integration error may
    leave it on the wrong side. The new results replace the old ones in `status` and `stated`.
    """
    again = np.flatnonzero(_wrong(status, stated))
    if stated is None or not 0 < again.size <= SECOND_LOOKS:
        return 0
    few = part(batch, again)
    if setting.sampled:
        (status[again],), found = sampled.train(setting, (claim,), few, TIGHT, executor)
        again_stated = _stated(setting, claim, few, found)
        assert again_stated is not None
        for whole, new in zip(stated, again_stated, strict=True):
            whole[again] = new
    else:
        (status[again],) = _run(setting, (claim,), few, TIGHT)
    return int(again.size)


def _run(setting: Setting, claims: tuple[Claim, ...], batch: Batch, rtol: float) -> list[NDArray[np.int8]]:
    """Integrate the runs under each claim's algorithm, and return a list of their statuses, one per claim."""
    if batch.data is None:
        problem, rules = Population(setting.d, setting.targets), [claim.rule for claim in claims]
        ends = engine.train_and_prune(
            problem, batch.starts, rules, method="ode", rtol=rtol, parameterization=setting.weights
        )
        return [end.status.copy() for end in ends]
    # In one coordinate nothing is pruned, so one flow per run, on the run's own data, serves all claims.
    starts = batch.starts
    assert isinstance(starts, Reduced)
    c = start_balance(starts)
    _, end, reason, _ = line.line_flow(
        starts.a, starts.p, c, batch.data, np.array([HORIZON]),
        rtol=rtol, atol=rtol, limit=True, t_certain=CERTAIN_TIME, tolerance=TOLERANCE,
    )  # fmt: skip
    status = line_status(end[:, 0], end[:, 1], c, batch.data)
    status[reason == FAILED] = Status.FAILED
    return [status.copy() for _ in claims]


def _limit(setting: Setting, claim: Claim, batch: Batch) -> Array:
    """Return the outcome that theory predicts for undecided runs in the limit: 1, 0, or NaN if unknown."""
    if batch.data is not None:
        return np.full(batch.starts.size, np.nan)
    return predicted(
        Population(setting.d, setting.targets), batch.starts, claim.algorithm, imp=claim.imp,
        rewind_time=claim.rewind_time, parameterization=setting.weights,
    )  # fmt: skip


def _add(
    setting: Setting,
    tally: Tally,
    batch: Batch,
    status: NDArray[np.int8],
    stated: _Truth | None,
    near: boundaries.Near | None,
) -> None:
    """Add a batch to the counts. `near` is None unless its starts were placed for the claim's own region."""
    outcome = success(status)
    _, trapped, number, *_ = engine.tally(outcome, status).tolist()
    decided = ~np.isnan(outcome)
    wrong, late = _wrong(status, stated), np.zeros(status.size, dtype=bool)
    open_runs = np.flatnonzero(~decided)
    tally.starts += status.size
    tally.decided += number
    tally.trapped += trapped
    tally.open += open_runs.size
    tally.counterexamples += int(wrong.sum())
    if stated is not None:
        tally.undefined += int(stated[1].sum())
        if open_runs.size:
            limit = _limit(setting, tally.claim, part(batch, open_runs))
            late[open_runs] = (limit != stated[0][open_runs]) & ~np.isnan(limit) & ~stated[1][open_runs]
            tally.in_limit += int(late.sum())
    if near is not None:
        for face in np.unique(near.face[near.face >= 0]):
            # A face without decided starts also gets an entry, which shows that a shift there goes unnoticed.
            seen = near.distance[(near.face == face) & decided & ~np.isnan(near.distance)]
            known = tally.faces.get(int(face), np.empty(0))
            tally.faces[int(face)] = np.sort(np.append(known, seen))[:SEEN]
    _list(batch, status, wrong, tally.against)
    _list(batch, status, late, tally.against)
    _list(batch, status, ~decided, tally.undecided)


def _add_drawn(tally: Tally, batch: Batch, status: NDArray[np.int8], stated: _Truth | None) -> None:
    """Add a batch drawn at random to the counts from which probabilities are estimated."""
    outcome = success(status)
    successes, _, decided, undecided, *_ = engine.tally(outcome, status).tolist()
    tally.drawn_decided += decided
    tally.drawn_open += undecided
    tally.drawn_successes += successes
    tally.drawn_counterexamples += int(_wrong(status, stated).sum())
    _list(batch, status, ~np.isnan(outcome), tally.sample)


def _list(
    batch: Batch, status: NDArray[np.int8], chosen: NDArray[np.bool_], into: list[tuple[Batch, int]]
) -> None:
    """Append the first few chosen runs to `into`. Trapped runs come last, since only theory decides them."""
    order = np.argsort(status == Status.TRAPPED, kind="stable")
    for i in order[chosen[order]][: LISTED - len(into)]:
        into.append((part(batch, slice(i, i + 1)), int(status[i])))


def contradicts(setting: Setting, claim: Claim, batch: Batch, found: bool, wins: float) -> bool:
    """Return whether the outcome of one run contradicts the stated region.

    Parameters
    ----------
    setting : Setting
        The setting of the run.
    claim : Claim
        The claim.
    batch : Batch
        A batch of one start.
    found : bool
        Whether the mask keeps the target.
    wins : float
        1 if the run succeeds, 0 if it fails, NaN if that is unknown.

    Returns
    -------
    bool
        True if the outcome contradicts the region. False if it does not, if the outcome is unknown, if the
        claim states no region, or if the region is undefined at the start.
    """
    stated = _stated(setting, claim, batch, np.array([found]))
    return stated is not None and not np.isnan(wins) and not stated[1][0] and bool(stated[0][0]) != bool(wins)
