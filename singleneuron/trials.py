"""The runs of an experiment, integrated and counted, and single ones repeated by the independent solver."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from singleneuron import conditions, independent, line
from singleneuron.draws import Batch, batches, part, values_of
from singleneuron.flow import CERTAIN_TIME, HORIZON, FlowResult, integrate
from singleneuron.model import Array, Line, Population, Reduced, State, reduce, start_balance, unit_overlap
from singleneuron.outcome import FAILURE, SUCCESS, TOLERANCE, Status, line_status, success
from singleneuron.pruning import prune
from singleneuron.solver import FAILED
from singleneuron.statements import Claim, Setting, Statement

RTOL, TIGHT = 1e-6, 1e-13
"""Of the Monte Carlo integrations, and of the second look at runs that contradict the statement."""
SECOND_LOOKS = 100
"""Of a batch; where more runs contradict the statement, it is not the tolerance that is at fault."""
LISTED, REPEATED = 20, 20


@dataclass
class Tally:
    """What the runs of a claim showed; starts are listed, the first few, as (batch of one, status)."""

    claim: Claim
    starts: int = 0
    near_boundary: int = 0
    decided: int = 0
    trapped: int = 0
    open: int = 0
    counterexamples: int = 0
    second_looks: int = 0
    drawn_decided: int = 0
    drawn_successes: int = 0
    against: list[tuple[Batch, int]] = field(default_factory=list)
    undecided: list[tuple[Batch, int]] = field(default_factory=list)
    sample: list[tuple[Batch, int]] = field(default_factory=list)


@dataclass
class Sweep:
    """All that is claimed of the runs of one setting, and what they showed.

    chains : claims each of whose algorithms succeeds wherever the one before it does; unnested : by chain,
    the runs that break it.
    """

    setting: Setting
    runs: int = 0
    tallies: dict[Claim, Tally] = field(default_factory=dict)
    chains: list[tuple[Claim, ...]] = field(default_factory=list)
    unnested: dict[tuple[Claim, ...], int] = field(default_factory=dict)


def plan(statements: Sequence[Statement], runs: int) -> dict[Setting, Sweep]:
    """The sweeps that give each statement `runs` starts; what is claimed of one setting shares its runs."""
    sweeps: dict[Setting, Sweep] = {}
    for statement in statements:
        weights = sum(experiment.weight for experiment in statement.experiments)
        for experiment in statement.experiments:
            sweep = sweeps.setdefault(experiment.setting, Sweep(experiment.setting))
            sweep.runs = max(sweep.runs, -(-runs * experiment.weight // weights))
            for claim in experiment.claims:
                sweep.tallies.setdefault(claim, Tally(claim))
            if experiment.nested:
                sweep.chains.append(experiment.claims)
    return sweeps


def run(sweep: Sweep, seed: int, report: Callable[[int], None]) -> None:
    """Integrate the starts of a sweep under every claim's algorithm, and count what they show."""
    setting, claims = sweep.setting, list(sweep.tallies)
    given = conditions.parse(setting.given)
    texts = dict.fromkeys(claim.success for claim in claims if claim.success is not None)
    regions = [conditions.parse(text) for text in texts]
    key = [seed, zlib.crc32(setting.model_dump_json().encode())]
    sweep.unnested = dict.fromkeys(sweep.chains, 0)
    done = 0
    for batch, drawn in batches(setting, given, regions, sweep.runs, key):
        size = batch.starts.size
        dense = None
        if batch.data is None:
            dense = integrate(
                Population(setting.d, setting.targets), batch.starts, np.inf, method="ode", rtol=RTOL
            )
        outcomes = {}
        for claim, tally in sweep.tallies.items():
            status, wrong, second_looks = _outcomes(setting, claim, batch, dense)
            outcomes[claim] = success(status)
            tally.second_looks += second_looks
            _add(tally, batch, drawn, status, wrong)
        for chain in sweep.chains:
            pairs = pairwise(outcomes[claim] for claim in chain)
            sweep.unnested[chain] += sum(int(np.sum(low > high)) for low, high in pairs)
        done += size
        report(done)


def _outcomes(
    setting: Setting, claim: Claim, batch: Batch, dense: FlowResult | None
) -> tuple[NDArray[np.int8], NDArray[np.bool_], int]:
    """Status of each run, whether it contradicts the stated region, and how many needed a second look.

    A run that contradicts it is integrated once more at the tolerance TIGHT, and that counts: a flow that
    passes a saddle within the error of the first pass may leave it on either side.
    """
    status = _run(setting, claim, batch, dense, RTOL)
    if claim.success is None:
        return status, np.zeros(status.size, dtype=bool), 0
    stated = conditions.parse(claim.success)(values_of(setting, batch))

    def wrong() -> NDArray[np.bool_]:
        return np.where(stated, np.isin(status, FAILURE), np.isin(status, SUCCESS))

    again = np.flatnonzero(wrong())
    if not 0 < again.size <= SECOND_LOOKS:
        return status, wrong(), 0
    status[again] = _run(setting, claim, part(batch, again), None, TIGHT)
    return status, wrong(), again.size


def _run(
    setting: Setting, claim: Claim, batch: Batch, dense: FlowResult | None, rtol: float
) -> NDArray[np.int8]:
    """Status of each run of the claim's algorithm, by integration."""
    if batch.data is None:
        return prune(
            Population(setting.d, setting.targets), batch.starts, algorithm=claim.algorithm, imp=claim.imp,
            rewind_time=claim.rewind_time, dense=dense, method="ode", rtol=rtol,
        ).status  # fmt: skip
    starts = batch.starts
    assert isinstance(starts, Reduced)
    a, w, c = _last_level(setting, claim, starts)
    _, end, reason, _ = line.line_flow(
        a, w, c, batch.data, np.array([HORIZON]),
        rtol=rtol, atol=rtol, limit=True, t_certain=CERTAIN_TIME, tolerance=TOLERANCE,
    )  # fmt: skip
    status = line_status(end[:, 0], end[:, 1], c, batch.data)
    status[reason == FAILED] = Status.FAILED
    return status


def _last_level(setting: Setting, claim: Claim, starts: Reduced) -> tuple[Array, Array, Array]:
    """(a, w, c) at the start of IMP's last level, of one coordinate."""
    if setting.d > 1 and claim.imp == "rebalance":
        return np.sign(starts.a) * np.abs(starts.p), starts.p, np.zeros(starts.size)
    return starts.a, starts.p, start_balance(starts) + starts.q**2


def _add(tally: Tally, batch: Batch, drawn: int, status: NDArray[np.int8], wrong: NDArray[np.bool_]) -> None:
    """Count one batch, whose first `drawn` starts are drawn from the law."""
    wins, loses = np.isin(status, SUCCESS), np.isin(status, FAILURE)
    decided = wins | loses
    tally.starts += status.size
    tally.near_boundary += status.size - drawn
    tally.decided += int(decided.sum())
    tally.trapped += int(np.sum(status == Status.TRAPPED))
    tally.open += int(np.sum(~decided))
    tally.drawn_decided += int(decided[:drawn].sum())
    tally.drawn_successes += int(wins[:drawn].sum())
    tally.counterexamples += int(wrong.sum())
    # What is there to see comes before what theory says of the limit.
    order = np.argsort(status == Status.TRAPPED, kind="stable")
    for chosen, into, most in (
        (wrong, tally.against, LISTED),
        (~decided, tally.undecided, LISTED),
        (decided & (np.arange(status.size) < drawn), tally.sample, REPEATED),
    ):
        for i in order[chosen[order]][: most - len(into)]:
            into.append((part(batch, slice(i, i + 1)), int(status[i])))


def repeat(setting: Setting, claim: Claim, batch: Batch) -> float:
    """The outcome of one run by the independent solver: 1, 0 or NaN."""
    problem, starts = Population(setting.d, setting.targets), batch.starts
    data = Line() if batch.data is None else Line(*(float(value[0]) for value in batch.data))
    share = 1.0  # of w_perp that the mask keeps
    reduced = starts
    if isinstance(starts, State):
        reduced = reduce(problem, starts)
        mask = np.broadcast_to(unit_overlap(problem)[1], starts.w.shape)
        share = float(reduce(problem, starts, mask).q[0] / reduced.q[0]) if reduced.q[0] else 0.0
    assert isinstance(reduced, Reduced)
    a, p, q = float(reduced.a[0]), float(reduced.p[0]), float(reduced.q[0])
    balanced = setting.init == "balanced"
    if claim.algorithm != "lrr" and setting.d > setting.targets:
        if claim.algorithm == "wr":
            a, p, q = independent.plane(a, p, q, claim.rewind_time or 0.0)
        balanced = claim.imp == "rebalance"
        q *= share if setting.targets > 1 else 0.0
        a = float(np.sign(a) * np.hypot(p, q)) if balanced else a
    if q == 0:
        return independent.line_outcome(a, p, data, balanced=balanced)
    return independent.plane_outcome(a, p, q)
