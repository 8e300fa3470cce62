"""Turn counted runs and compared laws into evidence, and confirm counterexamples with a second solver."""

import numpy as np

from signflow.verdicts import Count, CountedRate, Interval, Law, Stated, Values, WrongOutcome, WrongRate
from singleneuron.experiments.binomial import clopper_pearson
from singleneuron.problem.state import State
from singleneuron.problem.status import FAILURE, SUCCESS, Status
from singleneuron.verification.runs.batches import Batch, values_of
from singleneuron.verification.runs.repeat import repeat
from singleneuron.verification.runs.sweeps import REPEATED, contradicts
from singleneuron.verification.runs.tally import Tally
from singleneuron.verification.statements import Setting

LEVEL = 0.9999
"""Confidence level of the intervals for rates and for probabilities of a counterexample."""
CONFIRMING = 5
"""Maximum number of a claim's counterexamples that are repeated with the independent solver."""


def counted(setting: Setting, tally: Tally) -> Count:
    """Turn the tally of a claim into evidence."""
    claim = tally.claim
    drawn = tally.drawn_decided + tally.drawn_open
    found = Count(
        label=f"{claim.label}, {setting.label}",
        claim=Stated(**claim.model_dump(exclude_none=True)),
        setting=setting.model_dump(exclude_none=True),
        starts=tally.starts,
        near_boundary=tally.starts - drawn,
        decided=tally.decided,
        trapped=tally.trapped,
        undecided=tally.open,
        undecided_starts=[_ended(setting, batch, status) for batch, status in tally.undecided],
    )
    more: dict[str, object] = {}
    if claim.success is not None:
        more |= {
            "counterexamples": tally.counterexamples + tally.in_limit,
            "in_limit": tally.in_limit,
            "undefined": tally.undefined,
            "second_looks": tally.second_looks,
            "shift": tally.shift,
            "interval": _bounds(tally.drawn_counterexamples, tally.drawn_open, drawn),
            "against": [_ended(setting, batch, status) for batch, status in tally.against],
        }
    if claim.rate is not None:
        more["rate"] = CountedRate(
            stated=claim.rate,
            successes=tally.drawn_successes,
            decided=tally.drawn_decided,
            undecided=tally.drawn_open,
            interval=_rate_interval(tally),
        )
    return found.model_copy(update=more)


def counted_law(law: Law) -> Count:
    """Turn the comparison of a law with integration into a count of starts that contradict the law."""
    return Count(
        law=law.law,
        starts=law.starts,
        decided=law.starts,
        undecided=0,
        counterexamples=law.beyond,
        interval=_bounds(law.beyond, 0, law.starts),
    )


def judge(setting: Setting, tally: Tally) -> tuple[list[WrongOutcome | WrongRate], list[str]]:
    """Return what refutes a claim according to the independent solver, and the remaining doubts in words."""
    refuting: list[WrongOutcome | WrongRate] = []
    doubts: list[str] = []
    number = tally.counterexamples + tally.in_limit
    if found := _wrong_outcome(setting, tally):
        refuting.append(found)
    elif number:
        doubts.append(f"{number} counterexamples to {tally.claim.label} are not confirmed")
    low, high = _rate_interval(tally)
    if tally.claim.rate is not None and not low <= tally.claim.rate <= high:
        wrong = _wrong_rate(setting, tally)
        if isinstance(wrong, str):
            doubts.append(wrong)
        else:
            refuting.append(wrong)
    return refuting, doubts


def _wrong_outcome(setting: Setting, tally: Tally) -> WrongOutcome | None:
    """Return the first counterexample that the independent solver confirms; None if there is none."""
    for batch, status in tally.against[:CONFIRMING]:
        wins, has_target = repeat(setting, tally.claim, batch)
        ended = status in SUCCESS or status in FAILURE
        same = wins == float(status in SUCCESS) or not ended
        if same and contradicts(setting, tally.claim, batch, has_target, wins):
            return WrongOutcome(
                claim=Stated(**tally.claim.model_dump()),
                setting=setting.model_dump(),
                start=_start(setting, batch, has_target),
                stated="fails" if wins else "succeeds",
                integrated=Status(status).label,
                independent=("succeeds" if wins else "fails") + ("" if ended else " in the limit"),
            )
    return None


def _wrong_rate(setting: Setting, tally: Tally) -> WrongRate | str:
    """Return evidence that the stated rate is wrong, or a doubt in words if repeated runs end differently."""
    again = [
        (repeat(setting, tally.claim, batch)[0], float(status in SUCCESS))
        for batch, status in tally.sample[:REPEATED]
    ]
    opposed = sum(not np.isnan(found) and found != wins for found, wins in again)
    if opposed:
        return f"{opposed} of {len(again)} runs of {tally.claim.label} end differently when repeated"
    assert tally.claim.rate is not None
    return WrongRate(
        claim=Stated(**tally.claim.model_dump()),
        setting=setting.model_dump(),
        rate=tally.claim.rate,
        successes=tally.drawn_successes,
        decided=tally.drawn_decided,
        interval=_rate_interval(tally),
        repeated=len(again),
        agree=sum(found == wins for found, wins in again),
    )


def _rate_interval(tally: Tally) -> Interval:
    return _bounds(tally.drawn_successes, tally.drawn_open, tally.drawn_decided + tally.drawn_open)


def _bounds(counted: int, undecided: int, trials: int) -> Interval:
    """Compute a confidence interval for the probability of an outcome seen `counted` times in `trials` runs.

    The lower end assumes that no undecided run would have this outcome, and the upper end assumes that all
    would have it.
    """
    low, _ = clopper_pearson(counted, trials, LEVEL)
    _, high = clopper_pearson(counted + undecided, trials, LEVEL)
    return float(low), float(high)


def _start(setting: Setting, batch: Batch, found: bool = True) -> Values:
    """Return the values by name that describe a start in a list of counterexamples.

    They are the values that a condition may use, `w` if the start is a full state, and `data_seed` if the run
    trains on its own samples.
    """
    values: Values = {name: float(v[0]) for name, v in values_of(setting, batch, float(found)).items()}
    if isinstance(batch.starts, State):
        values["w"] = batch.starts.w[0].tolist()
    return values if batch.seeds is None else values | {"data_seed": int(batch.seeds[0])}


def _ended(setting: Setting, batch: Batch, status: int) -> Values:
    return _start(setting, batch) | {"status": Status(status).label}
