"""A verdict on every statement by four kinds of evidence: symbolic, laws against ODE, Monte Carlo, figure."""

import functools
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from signflow.files import atomic
from signflow.workers import check_runs
from singleneuron.experiments.binomial import clopper_pearson
from singleneuron.flows.integrate import Progress
from singleneuron.problem.arguments import integer
from singleneuron.problem.seeds import derived_seed
from singleneuron.problem.state import State
from singleneuron.problem.status import FAILURE, SUCCESS, Status
from singleneuron.verification import laws as comparisons
from singleneuron.verification import sweeps as trials
from singleneuron.verification.batches import Batch, values_of
from singleneuron.verification.laws import Comparison
from singleneuron.verification.statements import Setting, Statement
from singleneuron.verification.sweeps import REPEATED, Tally, contradicts, repeat

LEVEL = 0.9999
"""Confidence of the intervals that a stated rate must lie in."""
OPEN_SHARE = 1e-3
"""A statement with this share of undecided or failed runs, among those drawn, is not verified."""
DONE = ("VERIFIED", "NOT REFUTED")
"""The verdicts that are no failure: the others end the command with exit code 1."""
CONFIRMING = 5
"""Counterexamples handed to the independent solver until it confirms one."""


def verify(
    statements: Sequence[Statement],
    *,
    runs: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A verdict on each statement, with its evidence and, if it is refuted, the counterexample.

    runs : starts of each statement, drawn from its own law and integrated by the ODE (None: 1,000,000, and
        4,000 where samples are trained in d > 1, the most of a shipped one there). A quarter as many, 20,000
        at most, are put beside the boundaries of each stated region. Statements about one setting share its
        runs. A law is held against a share of as many starts, by what one of them takes.
    seed : of everything drawn.

    REFUTED: by a start (or a law) that the independent solver confirms, or by a rate outside its 99.99 %
    Clopper-Pearson interval, undecided runs counted both ways. NOT RUN (why): where there is no evidence.
    UNDECIDED (why): where the evidence contradicts itself or the statement without being confirmed. NOT
    REFUTED (what would have been seen): where nothing contradicts a statement that no derivation proves;
    Monte Carlo alone verifies nothing. VERIFIED: else. Raises ValueError, in one line, for what does not fit.
    """
    runs = None if runs is None else integer("runs", runs, 100)
    seed = integer("seed", seed, 0)
    sweeps = trials.plan(statements, runs)
    total, before = sum(sweep.runs for sweep in sweeps.values()), 0
    check_runs(total)
    for sweep in sweeps.values():

        def report(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        trials.run(sweep, seed, report)
        before += sweep.runs
    return [_verdict(statement, sweeps, runs or trials.RUNS, seed) for statement in statements]


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
        "statement": f"{verdict['id']}: {verdict['statement'].replace('`', '')}",
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
    if item.get("undefined"):
        parts.append(f"undefined at {item['undefined']:,}")
    if "rate" in item:
        rate = item["rate"]
        low, high = rate["interval"]
        parts.append(f"P = {rate['stated']:.4f} in [{low:.4f}, {high:.4f}]")
    return where + "; ".join(parts)


def _verdict(
    statement: Statement, sweeps: dict[Setting, trials.Sweep], runs: int, seed: int
) -> dict[str, Any]:
    symbolic = [_derive(title) for title in statement.derivations]
    laws = [
        law(comparisons.starts(law, runs), derived_seed([seed, i], zlib.crc32(statement.id.encode())))
        for i, law in enumerate(statement.comparisons)
    ]
    found: list[dict[str, Any]] = []
    refuting: list[dict[str, Any]] = []
    unsettled = [f"'{item['derivation']}' is not proved" for item in symbolic if not item["proved"]]
    for law in laws:
        if law.confirmed:
            refuting.append({"law": law.law, "start": law.worst, "error": law.error, "unit": law.unit})
        elif law.beyond:
            unsettled.append(f"{law.beyond} starts beyond the limit of '{law.law}' are not confirmed")
    for experiment in statement.experiments:
        sweep = sweeps[experiment.setting]
        if experiment.nested and sweep.unnested[experiment.claims]:
            unnested = sweep.unnested[experiment.claims]
            unsettled.append(f"{unnested} runs succeed under one algorithm and not under the next")
        for tally in (sweep.tallies[claim] for claim in experiment.claims):
            found.append(_report(experiment.setting, tally))
            against, doubts = _judge(experiment.setting, tally)
            refuting += against
            unsettled += doubts
            if symbolic and tally.drawn_open >= OPEN_SHARE * (tally.drawn_open + tally.drawn_decided):
                unsettled.append(f"{tally.drawn_open} runs of {tally.claim.label} are undecided")
    if not statement.experiments:
        found = [_count(law) for law in laws]
    return {
        "id": statement.id,
        "statement": statement.text,
        "verdict": _word(symbolic, found, refuting, unsettled),
        "evidence": {
            "symbolic": symbolic,
            "exact_vs_ode": [asdict(law) for law in laws],
            "monte_carlo": found,
            "figure": statement.figure,
        },
        "counterexample": refuting[0] if refuting else None,
    }


def _word(
    symbolic: list[dict[str, Any]],
    found: list[dict[str, Any]],
    refuting: list[dict[str, Any]],
    unsettled: list[str],
) -> str:
    """The verdict, and in parentheses why it is neither for nor against."""
    if refuting:
        return "REFUTED"
    if unsettled:
        return f"UNDECIDED ({'; '.join(unsettled)})"
    if not any(item["decided"] for item in found):
        return "NOT RUN (no run was decided)" if found else "NOT RUN (there is nothing to run)"
    return "VERIFIED" if symbolic else f"NOT REFUTED ({'; '.join(map(_seen, found))})"


def _seen(item: dict[str, Any]) -> str:
    """What the runs would have shown, had it been there."""
    parts = [f"no derivation; {item['starts']:,} starts"]
    if "counterexamples" in item:
        parts.append(f"a region off by a probability of {item['interval'][1]:.1e} would have been seen")
        if item.get("shift") is not None:
            parts.append(f"a boundary off by {item['shift']:.1e}, too")
    if "rate" in item:
        low, high = item["rate"]["interval"]
        parts.append(f"the rate is in [{low:.5f}, {high:.5f}]")
    return ", ".join(parts)


@functools.cache
def _derive(title: str) -> dict[str, Any]:
    """What a derivation shows, and what is left of each of its claims once simplified: 0, or false."""
    from singleneuron.theory import derivations

    derivation = derivations()[title]
    claims = derivation()
    return {
        "derivation": title,
        "shows": " ".join((derivation.__doc__ or "").split("\n\n")[0].split()),
        "proved": all(claim.proved for claim in claims),
        "residuals": [str(claim.residual) for claim in claims],
    }


def _judge(setting: Setting, tally: Tally) -> tuple[list[dict[str, Any]], list[str]]:
    """Counterexamples that the independent solver confirms, and what is left in doubt."""
    refuting: list[dict[str, Any]] = []
    doubts: list[str] = []
    label = tally.claim.label
    for batch, status in tally.against[:CONFIRMING]:
        wins, has_target = repeat(setting, tally.claim, batch)
        ended = status in SUCCESS or status in FAILURE
        same = wins == float(status in SUCCESS) or not ended
        if same and contradicts(setting, tally.claim, batch, has_target, wins):
            refuting.append(
                {
                    "claim": tally.claim.model_dump(),
                    "setting": setting.model_dump(),
                    "start": _start(setting, batch, has_target),
                    "stated": "fails" if wins else "succeeds",
                    "integrated": Status(status).label,
                    "independent": ("succeeds" if wins else "fails") + ("" if ended else " in the limit"),
                }
            )
            break
    else:
        if tally.counterexamples + tally.in_limit:
            doubts.append(
                f"{tally.counterexamples + tally.in_limit} counterexamples of {label} are not confirmed"
            )
    low, high = _rate_interval(tally)
    rate = tally.claim.rate
    if rate is not None and not low <= rate <= high:
        again = [
            (repeat(setting, tally.claim, batch)[0], float(status in SUCCESS))
            for batch, status in tally.sample[:REPEATED]
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
    return refuting, doubts


def _rate_interval(tally: Tally) -> tuple[float, float]:
    """That of the rate, the undecided runs counted as failures below and as successes above."""
    drawn = tally.drawn_decided + tally.drawn_open
    low, high = (
        _interval(tally.drawn_successes, drawn)[0],
        _interval(tally.drawn_successes + tally.drawn_open, drawn)[1],
    )
    return low, high


def _interval(successes: int, trials: int) -> tuple[float, float]:
    low, high = clopper_pearson(successes, trials, LEVEL)
    return float(low), float(high)


def _start(setting: Setting, batch: Batch, found: bool = True) -> dict[str, Any]:
    """A run as numbers: all that a condition may mention, w where the mask keeps several, and its data."""
    values = {name: float(value[0]) for name, value in values_of(setting, batch, float(found)).items()}
    if isinstance(batch.starts, State):
        values |= {"w": batch.starts.w[0].tolist()}
    return values if batch.seeds is None else values | {"data_seed": int(batch.seeds[0])}


def _report(setting: Setting, tally: Tally) -> dict[str, Any]:
    """A tally as evidence.

    interval : of the probability of a counterexample, undecided runs counted as one above; shift : how far
    a boundary of the region may be off unseen; in_limit : counterexamples that no solver reaches in time.
    """
    claim = tally.claim
    drawn = tally.drawn_decided + tally.drawn_open
    evidence: dict[str, Any] = {
        "label": f"{claim.label}, {setting.label}",
        "claim": claim.model_dump(exclude_none=True),
        "setting": setting.model_dump(exclude_none=True),
        "starts": tally.starts,
        "near_boundary": tally.starts - drawn,
        "decided": tally.decided,
        "trapped": tally.trapped,
        "undecided": tally.open,
        "undecided_starts": [
            _start(setting, batch) | {"status": Status(status).label} for batch, status in tally.undecided
        ],
    }
    if claim.success is not None:
        evidence["counterexamples"] = tally.counterexamples + tally.in_limit
        evidence["in_limit"] = tally.in_limit
        evidence["undefined"] = tally.undefined
        evidence["second_looks"] = tally.second_looks
        evidence["shift"] = tally.shift
        evidence["interval"] = (
            _interval(tally.drawn_counterexamples, drawn)[0],
            _interval(tally.drawn_counterexamples + tally.drawn_open, drawn)[1],
        )
        evidence["against"] = [
            _start(setting, batch) | {"status": Status(status).label} for batch, status in tally.against
        ]
    if claim.rate is not None:
        evidence["rate"] = {
            "stated": claim.rate,
            "successes": tally.drawn_successes,
            "decided": tally.drawn_decided,
            "undecided": tally.drawn_open,
            "interval": _rate_interval(tally),
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
