"""A verdict on every statement by four kinds of evidence: symbolic, laws against ODE, Monte Carlo, figure."""

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figures.results import atomic
from singleneuron import conditions, independent, line
from singleneuron.comparisons import Comparison
from singleneuron.conditions import Condition
from singleneuron.flow import CERTAIN_TIME, HORIZON, FlowResult, Progress, integrate
from singleneuron.intervals import clopper_pearson
from singleneuron.model import (
    Array,
    Line,
    Population,
    Reduced,
    Starts,
    State,
    balanced_starts,
    independent_starts,
    integer,
    reduce,
    start_balance,
    unit_overlap,
)
from singleneuron.outcome import FAILURE, SUCCESS, TOLERANCE, Status, line_status, success
from singleneuron.pruning import prune
from singleneuron.solver import FAILED
from singleneuron.statements import Claim, Experiment, Setting, Statement

RTOL, TIGHT = 1e-6, 1e-13
"""Of the Monte Carlo integrations, and of the second look at runs that contradict the statement."""
BAND = (1e-3, 1e-1)
"""Distances of starts drawn near a boundary, in units of that between the two starts that straddle it."""
NEAR = 0.25
"""Share of the starts that are drawn near the boundaries of the stated regions."""
CHUNK = 50_000
LEAST_GIVEN = 1e-3
LEVEL = 0.9999
"""Confidence of the intervals that a stated rate must lie in."""
OPEN_SHARE = 1e-3
"""A statement with this share of undecided or failed runs is not verified."""
LISTED, REPEATED, CONFIRMING = 20, 20, 5
SECOND_LOOKS = 100
"""Of a batch; where more runs contradict the statement, it is not the tolerance that is at fault."""


class Batch(NamedTuple):
    """Starts, and the data of each one's last level, if there are samples."""

    starts: Starts
    data: Line | None


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
    repeated: int = 0
    drawn_decided: int = 0
    drawn_successes: int = 0
    against: list[tuple[Batch, int]] = field(default_factory=list)
    undecided: list[tuple[Batch, int]] = field(default_factory=list)
    sample: list[tuple[Batch, int]] = field(default_factory=list)


def verify(
    statements: Sequence[Statement],
    *,
    runs: int = 1_000_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A verdict on each statement, with its evidence and, if it is refuted, the counterexample.

    runs : starts of each statement, integrated by the ODE; a quarter of them near the boundaries of the
        stated regions, the rest from the statement's own law. seed : of everything drawn.

    REFUTED: by a start (or a law) that the independent solver confirms, or by a rate outside its 99.99 %
    Clopper-Pearson interval. NOT RUN (why): where the evidence is incomplete or contradicts itself.
    VERIFIED: else. Raises ValueError, in one line, for anything that does not fit.
    """
    runs, seed = integer("runs", runs, 100), integer("seed", seed, 0)
    total, verdicts = runs * len(statements), []
    for index, statement in enumerate(statements):

        def report(done: int, index: int = index) -> None:
            if progress is not None:
                progress(index * runs + min(done, runs), total)

        verdicts.append(_verdict(statement, runs, seed, report))
        report(runs)
    return verdicts


def write(verdicts: list[dict[str, Any]], path: Path) -> None:
    """Write verdicts as JSON, all or nothing."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(verdicts, indent=1, allow_nan=False) + "\n", "utf-8")


def summary(verdict: dict[str, Any]) -> dict[str, str]:
    """A verdict in words, by column."""
    evidence = verdict["evidence"]
    proved = sum(len(item["residuals"]) for item in evidence["symbolic"] if item["proved"])
    laws = (
        f"{law['law']}: <= {law['error']:.2g} {law['unit']} ({law['starts']:,} starts)"
        for law in evidence["exact_vs_ode"]
    )
    return {
        "statement": f"{verdict['id']}: {verdict['statement']}",
        "verdict": verdict["verdict"],
        "symbolic": f"{proved} claims in {len(evidence['symbolic'])} derivations" if proved else "none",
        "law against ODE": "\n".join(laws),
        "Monte Carlo": "\n".join(map(_counted, evidence["monte_carlo"])),
        "figure": verdict["evidence"]["figure"] or "none",
    }


def _counted(item: dict[str, Any]) -> str:
    """A count of runs in words."""
    where = f"{item['label']}: " if "label" in item else ""
    parts = []
    if "counterexamples" in item:
        parts.append(
            f"{item['counterexamples']:,} counterexamples in {item['starts']:,} "
            f"(99.99 %: < {item['interval'][1]:.1e}), {item['undecided']:,} undecided"
        )
    if "rate" in item:
        rate = item["rate"]
        low, high = rate["interval"]
        parts.append(f"P = {rate['stated']:.4f} in [{low:.4f}, {high:.4f}]")
    return where + "; ".join(parts)


def _verdict(statement: Statement, runs: int, seed: int, report: Callable[[int], None]) -> dict[str, Any]:
    key = [seed, zlib.crc32(statement.id.encode())]
    symbolic = _symbolic(statement)
    laws = [law(runs, _seed(key, 1, i)) for i, law in enumerate(statement.comparisons)]
    found: list[dict[str, Any]] = []
    refuting: list[dict[str, Any]] = []
    unsettled = [f"'{item['derivation']}' is not proved" for item in symbolic if not item["proved"]]
    for law in laws:
        if law.confirmed:
            refuting.append({"law": law.law, "start": law.worst, "error": law.error, "unit": law.unit})
        elif law.beyond:
            unsettled.append(f"{law.beyond} starts beyond the limit of '{law.law}' are not confirmed")
    share = -(-runs // max(len(statement.experiments), 1))
    for i, experiment in enumerate(statement.experiments):

        def advance(done: int, before: int = i * share) -> None:
            report(before + done)

        tallies, unnested = _sweep(experiment, share, [*key, 2, i], advance)
        if unnested:
            unsettled.append(f"{unnested} runs succeed under one algorithm and not under the next")
        for tally in tallies:
            found.append(_report(experiment.setting, tally))
            against, doubts = _judge(experiment.setting, tally)
            refuting += against
            unsettled += doubts
    if not statement.experiments:
        found = [_count(law) for law in laws]
    verdict = "REFUTED" if refuting else f"NOT RUN ({'; '.join(unsettled)})" if unsettled else "VERIFIED"
    return {
        "id": statement.id,
        "statement": statement.text,
        "verdict": verdict,
        "evidence": {
            "symbolic": symbolic,
            "exact_vs_ode": [asdict(law) for law in laws],
            "monte_carlo": found,
            "figure": statement.figure,
        },
        "counterexample": refuting[0] if refuting else None,
    }


def _symbolic(statement: Statement) -> list[dict[str, Any]]:
    if not statement.derivations:
        return []
    from singleneuron.theory import derivations

    known, evidence = derivations(), []
    for title in statement.derivations:
        claims = known[title]()
        evidence.append(
            {
                "derivation": title,
                "shows": " ".join((known[title].__doc__ or "").split("\n\n")[0].split()),
                "proved": all(claim.proved for claim in claims),
                "residuals": [str(claim.residual) for claim in claims],
            }
        )
    return evidence


# --- Monte Carlo --------------------------------------------------------------------------------------------


def _seed(key: Sequence[int], *more: int) -> int:
    return int(np.random.SeedSequence([*key, *more]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _sweep(
    experiment: Experiment, runs: int, key: list[int], report: Callable[[int], None]
) -> tuple[list[Tally], int]:
    """Integrate `runs` starts under every claim's algorithm; also count the runs that break the nesting."""
    setting = experiment.setting
    given = conditions.parse(setting.given)
    tallies = [Tally(claim) for claim in experiment.claims]
    regions = [conditions.parse(c.success) for c in experiment.claims if c.success is not None]
    unnested = done = 0
    for batch, drawn in _batches(setting, given, regions, runs, key):
        size = batch.starts.size
        dense = None
        if batch.data is None:
            dense = integrate(
                Population(setting.d, setting.targets), batch.starts, np.inf, method="ode", rtol=RTOL
            )
        outcomes = []
        for tally in tallies:
            status, wrong, repeated = _outcomes(setting, tally.claim, batch, dense)
            outcomes.append(success(status))
            tally.repeated += repeated
            _add(tally, batch, drawn, status, wrong)
        if experiment.nested:
            unnested += sum(int(np.sum(low > high)) for low, high in pairwise(outcomes))
        done += size
        report(done)
    return tallies, unnested


def _batches(
    setting: Setting, given: Condition, regions: list[Condition], runs: int, key: list[int]
) -> Iterator[tuple[Batch, int]]:
    """Batches of `runs` starts in all, and how many of each, the first, are drawn from the law alone."""
    chunk = CHUNK if setting.targets == 1 else max(1, CHUNK // 5)
    done = seen = attempts = 0
    while done < runs:
        rng = np.random.Generator(np.random.Philox(_seed(key, attempts)))
        # More than are missing, where `given` leaves few of them.
        size = chunk if given.text != "True" else min(chunk, runs - done)
        batch = _select(_draw(setting, size, rng), given, setting)
        attempts, seen = attempts + 1, seen + size
        found = 0 if batch is None else batch.starts.size
        if attempts >= 20 and done + found < seen * LEAST_GIVEN:
            raise ValueError(
                f"'given' must hold for {LEAST_GIVEN:.1%} of the starts at least, "
                f"but held for {done + found} of {seen}: {setting.given!r}"
            )
        if batch is None:
            continue
        size = min(found, runs - done)
        near = int(NEAR * size) // max(len(regions), 1)
        extra = (_near_boundary(setting, batch, region, near, rng) for region in regions)
        kept = [b for b in (_select(b, given, setting) for b in extra if b is not None) if b is not None]
        drawn = size - sum(b.starts.size for b in kept)
        batch = _join([_part(batch, slice(0, drawn)), *kept])
        done += size
        yield batch, drawn


def _draw(setting: Setting, size: int, rng: np.random.Generator) -> Batch:
    draw = balanced_starts if setting.init == "balanced" else independent_starts
    seed = int(rng.integers(2**62))
    starts = draw(setting.d, size, seed, scale=setting.scale, reduced=setting.targets == 1)
    return Batch(starts, None if setting.n is None else _statistics(setting.n, setting.noise, size, rng))


def _statistics(n: int, noise: float, size: int, rng: np.random.Generator) -> Line:
    """Statistics of one coordinate of `size` data sets, by their exact law: (B,) each.

    m ~ Binomial(n, 1/2) samples have x > 0; the sum of their x^2 is chi^2 with m degrees of freedom, and the
    slope of their noise is N(0, noise^2 / that sum).
    """
    positive = rng.binomial(n, 0.5, size)
    sides: list[Array] = []
    for count, slope in ((positive, 1.0), (n - positive, 0.0)):
        squares = np.where(count > 0, rng.chisquare(np.maximum(count, 1)), 0.0)
        error = noise * rng.standard_normal(size) / np.sqrt(np.where(count > 0, squares, 1.0))
        sides += [squares / n, np.where(count > 0, slope + error, 0.0)]
    return Line(*sides)


def _part(batch: Batch, index: Any) -> Batch:
    data = None if batch.data is None else Line(*(value[index] for value in batch.data))
    return Batch(batch.starts[index], data)


def _join(parts: Sequence[Batch]) -> Batch:
    """One batch out of many; all starts are of one kind."""
    first = parts[0].starts
    names: tuple[str, ...] = ("a", "w") if isinstance(first, State) else ("a", "p", "q")
    if first.c is not None:
        names += ("c",)
    arrays = [np.concatenate([getattr(part.starts, name) for part in parts]) for name in names]
    kind: Any = type(first)
    columns = zip(*(part.data for part in parts if part.data is not None), strict=True)
    data = None if parts[0].data is None else Line(*(np.concatenate(column) for column in columns))
    return Batch(kind(*arrays), data)


def _select(batch: Batch, given: Condition, setting: Setting) -> Batch | None:
    """The starts for which `given` holds; None where there are none."""
    if given.text == "True":
        return batch
    kept = np.flatnonzero(given(_values(setting, batch)))
    return _part(batch, kept) if kept.size else None


def _values(setting: Setting, batch: Batch) -> dict[str, Any]:
    """What a condition may mention, each (B,)."""
    starts, data = batch.starts, batch.data or Line()
    kept = None
    if isinstance(starts, State):
        kept = np.linalg.norm(starts.w[:, : setting.targets], axis=1)
        starts = reduce(Population(setting.d, setting.targets), starts)
    ones = np.ones(starts.size)
    return {
        "a0": starts.a,
        "w1": starts.p,
        "q": starts.q,
        "rho": np.hypot(starts.p, starts.q),
        "kept": np.abs(starts.p) if kept is None else kept,
        "theta": np.arctan2(starts.q, starts.p),
        "c": start_balance(starts),
        "d": setting.d * ones,
        "s_pos": data.s_pos * ones,
        "s_neg": data.s_neg * ones,
    }


def _near_boundary(
    setting: Setting, batch: Batch, region: Condition, size: int, rng: np.random.Generator
) -> Batch | None:
    """`size` starts on both sides of the region's boundary, or None where the batch lies on one side.

    On the segment between a start inside and one outside (balanced: with one sign of a, along the cone), the
    boundary is found by bisection; a start is put at a distance from it that is log-uniform in BAND.
    """
    inside = region(_values(setting, batch))
    sign = np.sign(batch.starts.a) if setting.init == "balanced" else np.ones(batch.starts.size)
    pairs = []
    for side in (-1.0, 1.0):
        ins, outs = np.flatnonzero(inside & (sign == side)), np.flatnonzero(~inside & (sign == side))
        if ins.size and outs.size:
            pairs.append((rng.choice(ins, size), rng.choice(outs, size)))
    if not pairs or not size:
        return None
    which = rng.integers(len(pairs), size=size)
    i, j = (np.choose(which, [pair[k] for pair in pairs]) for k in (0, 1))
    low, high = np.zeros(size), np.ones(size)
    for _ in range(40):
        middle = (low + high) / 2
        still = region(_values(setting, _blend(setting, batch, i, j, middle)))
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    distance = np.exp(rng.uniform(np.log(BAND[0]), np.log(BAND[1]), size)) * rng.choice([-1.0, 1.0], size)
    return _blend(setting, batch, i, j, np.clip(low + distance, 0.0, 1.0))


def _blend(setting: Setting, batch: Batch, i: NDArray[np.intp], j: NDArray[np.intp], share: Array) -> Batch:
    """Starts at `share` of the way from start i to start j, with the data of i."""
    first, second = _part(batch, i), _part(batch, j)
    names = ("w",) if isinstance(batch.starts, State) else ("p", "q")
    mixed = []
    for name in names:
        x, y = getattr(first.starts, name), getattr(second.starts, name)
        weight = share[:, None] if name == "w" else share
        mixed.append((1 - weight) * x + weight * y)
    a = (1 - share) * first.starts.a + share * second.starts.a
    if setting.init == "balanced":
        a = np.sign(first.starts.a) * (
            np.linalg.norm(mixed[0], axis=1) if names == ("w",) else np.hypot(*mixed)
        )
    kind: Any = type(batch.starts)
    return Batch(kind(a, *mixed, first.starts.c), first.data)


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
    stated = conditions.parse(claim.success)(_values(setting, batch))

    def wrong() -> NDArray[np.bool_]:
        return np.where(stated, np.isin(status, FAILURE), np.isin(status, SUCCESS))

    again = np.flatnonzero(wrong())
    if 0 < again.size <= SECOND_LOOKS:
        status[again] = _run(setting, claim, _part(batch, again), None, TIGHT)
    return status, wrong(), min(again.size, SECOND_LOOKS)


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
            into.append((_part(batch, slice(i, i + 1)), int(status[i])))


# --- judgement ----------------------------------------------------------------------------------------------


def _judge(setting: Setting, tally: Tally) -> tuple[list[dict[str, Any]], list[str]]:
    """Counterexamples that the independent solver confirms, and what is left in doubt."""
    refuting: list[dict[str, Any]] = []
    doubts: list[str] = []
    label = tally.claim.label
    if tally.counterexamples:
        for batch, status in tally.against[:CONFIRMING]:
            wins = status in SUCCESS
            if _repeat(setting, tally.claim, batch) == float(wins):
                refuting.append(
                    {
                        "claim": tally.claim.model_dump(),
                        "setting": setting.model_dump(),
                        "start": _start(setting, batch),
                        "stated": "fails" if wins else "succeeds",
                        "integrated": Status(status).label,
                        "independent": "succeeds" if wins else "fails",
                    }
                )
                break
        else:
            doubts.append(f"{tally.counterexamples} counterexamples of {label} are not confirmed")
    low, high = _interval(tally.drawn_successes, tally.drawn_decided)
    rate = tally.claim.rate
    if rate is not None and not low <= rate <= high:
        again = [
            (_repeat(setting, tally.claim, batch), float(status in SUCCESS)) for batch, status in tally.sample
        ]
        agree = sum(found == wins for found, wins in again)
        opposed = sum(not np.isnan(found) and found != wins for found, wins in again)
        if opposed:
            doubts.append(f"{opposed} of {len(again)} runs of {label} come out otherwise when repeated")
        else:
            refuting.append(
                {
                    "claim": tally.claim.model_dump(),
                    "setting": setting.model_dump(),
                    "rate": rate,
                    "successes": tally.drawn_successes,
                    "decided": tally.drawn_decided,
                    "interval": [low, high],
                    "repeated": len(again),
                    "agree": agree,
                }
            )
    if tally.open >= OPEN_SHARE * tally.starts:
        doubts.append(f"{tally.open} of {tally.starts} runs of {label} are undecided")
    return refuting, doubts


def _repeat(setting: Setting, claim: Claim, batch: Batch) -> float:
    """The outcome of one run by the independent solver: 1, 0 or NaN."""
    problem, starts = Population(setting.d, setting.targets), batch.starts
    data = Line() if batch.data is None else Line(*(float(value[0]) for value in batch.data))
    part = 1.0  # of w_perp that the mask keeps
    reduced = starts
    if isinstance(starts, State):
        reduced = reduce(problem, starts)
        mask = np.broadcast_to(unit_overlap(problem)[1], starts.w.shape)
        part = float(reduce(problem, starts, mask).q[0] / reduced.q[0]) if reduced.q[0] else 0.0
    assert isinstance(reduced, Reduced)
    a, p, q = float(reduced.a[0]), float(reduced.p[0]), float(reduced.q[0])
    balanced = setting.init == "balanced"
    if claim.algorithm != "lrr" and setting.d > setting.targets:
        if claim.algorithm == "wr":
            a, p, q = independent.plane(a, p, q, claim.rewind_time or 0.0)
        balanced = claim.imp == "rebalance"
        q *= part if setting.targets > 1 else 0.0
        a = float(np.sign(a) * np.hypot(p, q)) if balanced else a
    if q == 0:
        return independent.line_outcome(a, p, data, balanced=balanced)
    return independent.plane_outcome(a, p, q)


def _interval(successes: int, trials: int) -> tuple[float, float]:
    low, high = clopper_pearson(successes, trials, LEVEL)
    return float(low), float(high)


def _start(setting: Setting, batch: Batch) -> dict[str, Any]:
    """A start as numbers: all that a condition may mention, and w where the mask keeps several."""
    values = {name: float(value[0]) for name, value in _values(setting, batch).items()}
    return values | ({"w": batch.starts.w[0].tolist()} if isinstance(batch.starts, State) else {})


def _report(setting: Setting, tally: Tally) -> dict[str, Any]:
    """A tally as evidence; `interval` is that of the probability of a counterexample, or of the rate."""
    claim = tally.claim
    evidence: dict[str, Any] = {
        "label": f"{claim.label}, {setting.label}",
        "claim": claim.model_dump(exclude_none=True),
        "setting": setting.model_dump(exclude_none=True),
        "starts": tally.starts,
        "near_boundary": tally.near_boundary,
        "decided": tally.decided,
        "trapped": tally.trapped,
        "undecided": tally.open,
        "undecided_starts": [
            _start(setting, batch) | {"status": Status(status).label} for batch, status in tally.undecided
        ],
    }
    if claim.success is not None:
        evidence["counterexamples"] = tally.counterexamples
        evidence["repeated"] = tally.repeated
        evidence["interval"] = _interval(tally.counterexamples, tally.decided)
        evidence["against"] = [
            _start(setting, batch) | {"status": Status(status).label} for batch, status in tally.against
        ]
    if claim.rate is not None:
        evidence["rate"] = {
            "stated": claim.rate,
            "successes": tally.drawn_successes,
            "decided": tally.drawn_decided,
            "interval": _interval(tally.drawn_successes, tally.drawn_decided),
        }
    return evidence


def _count(law: Comparison) -> dict[str, Any]:
    """A law's starts as a count of counterexamples."""
    return {
        "law": law.law,
        "starts": law.starts,
        "decided": law.starts,
        "undecided": 0,
        "counterexamples": law.beyond,
        "interval": _interval(law.beyond, law.starts),
    }
