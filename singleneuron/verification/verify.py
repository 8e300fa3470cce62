"""Reach verdicts on statements from derivations, laws compared with integration, and counted runs."""

import functools
import zlib
from collections.abc import Iterator, Sequence

from signflow.verdicts import BrokenLaw, Count, Derivation, Evidence, Verdict, WrongOutcome, WrongRate
from signflow.workers import check_runs
from singleneuron.flows.result import Progress
from singleneuron.problem.arguments import integer_in_range
from singleneuron.problem.seeds import derived_seed
from singleneuron.verification import law_starts
from singleneuron.verification.evidence import counted, counted_law, judge
from singleneuron.verification.runs import sweeps
from singleneuron.verification.runs.plan import RUNS, plan
from singleneuron.verification.runs.tally import Sweep
from singleneuron.verification.statements import Setting, Statement

OPEN_SHARE = 1e-3
"""A statement is not VERIFIED if at least this share of a claim's randomly drawn runs is undecided."""


def verify(
    statements: Sequence[Statement],
    *,
    runs: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Reach a verdict on each statement.

    Parameters
    ----------
    statements, runs, seed, progress
        As for `verdicts`, which yields each verdict as soon as it is reached.

    Returns
    -------
    list[Verdict]
        One verdict per statement.

    Raises
    ------
    ValueError
        As `verdicts` does.
    """
    return list(verdicts(statements, runs=runs, seed=seed, progress=progress))


def verdicts(
    statements: Sequence[Statement],
    *,
    runs: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Verdict]:
    """Yield a verdict on each statement in turn.

    Besides the randomly drawn starts, further starts are placed beside the boundaries of each stated region:
    a quarter of the number drawn, but at most 20,000. Statements about the same setting share its runs. The
    more expensive a law is to compare with integration, the fewer starts are used for the comparison.

    Parameters
    ----------
    statements : Sequence[Statement]
        The statements.
    runs : int or None
        Number of starts to draw per statement, >= 100. If None, 1,000,000, except in two kinds of setting:
        4,000 if each run trains on its own samples, and 10,000 for other runs under Sign-In. In these
        settings a shipped statement never gets more starts, even if `runs` is larger.
    seed : int
        Seed of all random draws, >= 0.
    progress : Progress or None
        Called with the number of runs done and the total number of runs.

    Yields
    ------
    Verdict
        The verdict on the next statement, with its evidence and any counterexample:

        - REFUTED: the independent solver confirms that a run contradicts the statement or that a law is
          broken, or the stated rate is outside its 99.99 % Clopper-Pearson interval, however the undecided
          runs would end;
        - NOT RUN (why): no run was decided, or there is nothing to run;
        - UNDECIDED (why): the evidence is inconsistent or incomplete, or a contradiction is not confirmed;
        - NOT REFUTED (which errors would have been revealed): nothing contradicts the statement, but no
          derivation proves it, and Monte Carlo alone cannot verify it;
        - VERIFIED: the statement is proved by derivations, and nothing contradicts it.

    Raises
    ------
    ValueError
        If an argument is out of range, if the runs would take too long, or if a condition `given` holds for
        too few starts. The message is one line.
    """
    runs = None if runs is None else integer_in_range("runs", runs, 100)
    seed = integer_in_range("seed", seed, 0)
    planned = plan(statements, runs)
    total, before = sum(sweep.runs for sweep in planned.values()), 0
    check_runs(total)
    finished: set[Setting] = set()
    for statement in statements:
        for setting in dict.fromkeys(experiment.setting for experiment in statement.experiments):
            if setting in finished:
                continue

            def report(done: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, total)

            sweeps.run(planned[setting], seed, report)
            before += planned[setting].runs
            finished.add(setting)
        yield _verdict(statement, planned, runs or RUNS, seed)


def summary(verdict: Verdict) -> dict[str, str]:
    """Describe a verdict in words, as a row of a table.

    Parameters
    ----------
    verdict : Verdict
        The verdict.

    Returns
    -------
    dict[str, str]
        The text of each cell, by the name of its column.
    """
    evidence = verdict.evidence
    proved = sum(len(item.residuals) for item in evidence.symbolic if item.proved)
    laws = (
        f"{law.law}: <= {law.error:.2g} {law.unit} ({law.starts:,} starts)" for law in evidence.exact_vs_ode
    )
    return {
        "statement": f"{verdict.id}: {verdict.statement.replace('`', '')}",
        "verdict": verdict.verdict,
        "symbolic": f"{proved} claims in {len(evidence.symbolic)} derivations" if proved else "none",
        "law against ODE": "\n".join(laws),
        "Monte Carlo": "\n".join(map(_counted, evidence.monte_carlo)),
        "figure": evidence.figure or "none",
    }


def brief(verdict: Verdict, seconds: float) -> str:
    """State in one line the verdict, the amount of evidence, and the time taken.

    Parameters
    ----------
    verdict : Verdict
        The verdict.
    seconds : float
        The time taken to reach the verdict.

    Returns
    -------
    str
        A line such as 'theorem-2.3 VERIFIED 52 claims, 3.3 M starts, 12 s'.
    """
    evidence = verdict.evidence
    claims = sum(len(item.residuals) for item in evidence.symbolic if item.proved)
    counts = evidence.monte_carlo or evidence.exact_vs_ode
    parts = [f"{claims} claims"] if claims else []
    parts += [f"{_rounded(sum(count.starts for count in counts))} starts", f"{seconds:.0f} s"]
    return f"{verdict.id} {verdict.word} {', '.join(parts)}"


def _rounded(number: int) -> str:
    """Write a number in millions ('3.3 M') or thousands ('12 k'), or in full if it is below 1,000."""
    for unit, word in ((10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.{1 if number < 10 * unit else 0}f} {word}"
    return str(number)


def _counted(count: Count) -> str:
    """Describe a count of runs in words."""
    parts = []
    if count.counterexamples is not None:
        parts.append(
            f"{count.counterexamples:,} counterexamples in {count.starts:,} "
            f"(99.99 %: < {count.interval[1]:.1e}), {count.undecided:,} undecided"
        )
    if count.undefined:
        parts.append(f"undefined at {count.undefined:,} starts")
    if count.rate is not None:
        low, high = count.rate.interval
        parts.append(f"P = {count.rate.stated:.4f} in [{low:.4f}, {high:.4f}]")
    return (f"{count.label}: " if count.label else "") + "; ".join(parts)


def _verdict(statement: Statement, planned: dict[Setting, Sweep], runs: int, seed: int) -> Verdict:
    symbolic = [_derive(title) for title in statement.derivations]
    compared = [
        law(law_starts.starts(law, runs), derived_seed([seed, i], zlib.crc32(statement.id.encode())))
        for i, law in enumerate(statement.comparisons)
    ]
    found: list[Count] = []
    refuting: list[BrokenLaw | WrongOutcome | WrongRate] = []
    unsettled = [f"'{item.derivation}' is not proved" for item in symbolic if not item.proved]
    for law in compared:
        if law.confirmed:
            refuting.append(BrokenLaw(law=law.law, start=law.worst, error=law.error, unit=law.unit))
        elif law.beyond:
            unsettled.append(f"'{law.law}' exceeds its limit at {law.beyond} starts, which is not confirmed")
    for experiment in statement.experiments:
        sweep = planned[experiment.setting]
        if experiment.nested and sweep.unnested[experiment.claims]:
            unnested = sweep.unnested[experiment.claims]
            unsettled.append(f"{unnested} runs succeed under one algorithm but not under the next")
        for tally in (sweep.tallies[claim] for claim in experiment.claims):
            found.append(counted(experiment.setting, tally))
            against, doubts = judge(experiment.setting, tally)
            refuting += against
            unsettled += doubts
            if symbolic and tally.drawn_open >= OPEN_SHARE * (tally.drawn_open + tally.drawn_decided):
                unsettled.append(f"{tally.drawn_open} runs of {tally.claim.label} are undecided")
    if not statement.experiments:
        found = [counted_law(law) for law in compared]
    return Verdict(
        id=statement.id,
        statement=statement.text,
        verdict=_word(bool(symbolic), found, bool(refuting), unsettled),
        evidence=Evidence(
            symbolic=symbolic,
            exact_vs_ode=compared,
            monte_carlo=found,
            figure=statement.figure,
        ),
        counterexample=refuting[0] if refuting else None,
    )


def _word(proved: bool, found: list[Count], refuted: bool, unsettled: list[str]) -> str:
    """Return the verdict, with the reason in brackets if it is neither VERIFIED nor REFUTED."""
    if refuted:
        return "REFUTED"
    if unsettled:
        return f"UNDECIDED ({'; '.join(unsettled)})"
    if not any(count.decided for count in found):
        return "NOT RUN (no run was decided)" if found else "NOT RUN (there is nothing to run)"
    return "VERIFIED" if proved else f"NOT REFUTED ({'; '.join(map(_seen, found))})"


def _seen(count: Count) -> str:
    """Describe the errors in the statement that the runs would have revealed."""
    parts = [f"no derivation; {count.starts:,} starts"]
    if count.counterexamples is not None:
        parts[0] += f" would have revealed a region off by a probability of {count.interval[1]:.1e}"
        if count.shift is not None:
            parts[0] += f" and a boundary off by {count.shift:.1e}"
    if count.rate is not None:
        low, high = count.rate.interval
        parts.append(f"with the rate in [{low:.5f}, {high:.5f}]")
    return ", ".join(parts)


@functools.cache
def _derive(title: str) -> Derivation:
    from singleneuron.theory import derivations

    derivation = derivations()[title]
    claims = derivation()
    return Derivation(
        derivation=title,
        shows=" ".join((derivation.__doc__ or "").split("\n\n")[0].split()),
        proved=all(claim.proved for claim in claims),
        residuals=[str(claim.residual) for claim in claims],
    )
