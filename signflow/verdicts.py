"""The schema of verdicts and of their evidence, as files hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from signflow.files import atomic
from signflow.messages import invalid

Values = dict[str, int | float | str | list[float] | None]
"""Numbers by name: a start, or what a setting says."""
Interval = tuple[float, float]
DONE = ("VERIFIED", "NOT REFUTED")
"""The words that are no failure: a verdict of another ends the command with exit code 1."""


class Part(BaseModel):
    """Written with what was set alone, and read whatever else stands beside it."""

    model_config = ConfigDict(frozen=True)


class Derivation(Part):
    """What a derivation shows, and what is left of each of its claims once simplified: 0, or false."""

    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(Part):
    """A law held against integration from `starts` starts.

    error : the largest |stated - integrated|, in `unit`s. beyond : starts where it exceeds `limit`. worst :
    the start with the largest. confirmed : whether the independent solver finds the law broken there too;
    None where nothing is beyond the limit.
    """

    law: str
    starts: int
    error: float
    unit: str
    limit: float
    beyond: int
    worst: dict[str, float] = {}
    confirmed: bool | None = None


class Stated(Part):
    """What is stated of an algorithm: the region of starts from which it succeeds, its rate, or both."""

    algorithm: str
    imp: str = "keep"
    rewind_time: float | None = None
    success: str | None = None
    rate: float | None = None


class CountedRate(Part):
    """A stated rate, and what was counted; interval : undecided runs as failures below, successes above."""

    stated: float
    successes: int
    decided: int
    undecided: int = 0
    interval: Interval


class Count(Part):
    """Runs counted against a claim, or the starts of a law.

    starts : all; near_boundary : those among them that were put there, not drawn from the law. undefined :
    starts for which the stated region is neither true nor false. in_limit : counterexamples that no solver
    reaches in time. interval : of the probability of a counterexample, undecided runs counted as one above.
    shift : how far a boundary of the region may be off unseen. second_looks : runs integrated once more, with
    a smaller tolerance, since they contradicted.
    """

    starts: int
    decided: int
    undecided: int
    label: str = ""
    law: str = ""
    claim: Stated | None = None
    setting: Values = {}
    near_boundary: int = 0
    trapped: int = 0
    undecided_starts: list[Values] = []
    counterexamples: int | None = None
    in_limit: int = 0
    undefined: int = 0
    second_looks: int = 0
    shift: float | None = None
    interval: Interval = (0.0, 1.0)
    against: list[Values] = []
    rate: CountedRate | None = None


class BrokenLaw(Part):
    """A law that the independent solver, too, finds broken from `start`."""

    law: str
    start: dict[str, float]
    error: float
    unit: str


class WrongRate(Part):
    """A rate outside its interval; `agree` of `repeated` runs come out the same by the independent solver."""

    claim: Stated
    setting: Values
    rate: float
    successes: int
    decided: int
    interval: Interval
    repeated: int
    agree: int


class WrongOutcome(Part):
    """A start whose run ends otherwise than stated, by integration and by the independent solver."""

    claim: Stated
    setting: Values
    start: Values
    stated: str
    integrated: str
    independent: str


class Evidence(Part):
    """What speaks for a statement, of four kinds."""

    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None


class Verdict(Part):
    """An entry of the file that `singleneuron verify` writes."""

    id: str
    statement: str
    verdict: str = Field(pattern=r"^(VERIFIED|REFUTED|(NOT REFUTED|UNDECIDED|NOT RUN) \(.*\))$")
    evidence: Evidence
    counterexample: BrokenLaw | WrongRate | WrongOutcome | None
    provenance: dict[str, str | int] = {}

    @property
    def word(self) -> str:
        return self.verdict.partition(" (")[0]

    @property
    def why(self) -> str:
        return self.verdict.partition(" (")[2].removesuffix(")")


class PredictionVerdict(Part):
    """A verdict on a prediction of the theory, as `deepexp reduce` decides it from the runs of a recipe.

    In a result file each field is a column of the table `verdicts`.
    """

    prediction: str
    variant: str
    statement: str
    primary: str
    panel: str
    network: str
    text: str
    word: str = Field(pattern=r"^(SUPPORTED|NOT SUPPORTED|INCONCLUSIVE|NOT RUN)$")
    seeds: int
    needed: str
    estimate: float
    low: float
    high: float
    bound: float
    margin: float
    unit: str

    @property
    def why(self) -> str:
        return self.text.removeprefix(self.word).removeprefix(" (").removesuffix(")")


def write_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write verdicts as JSON, all or nothing."""
    rows = [verdict.model_dump(mode="json", exclude_unset=True) for verdict in verdicts]
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", "utf-8")


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts in a file; ValueError, in one line, where there are none or it holds something else."""
    if not path.is_file():
        raise ValueError(
            f"there must be verdicts at '{path}', but there is no such file; `singleneuron verify` makes it"
        )
    try:
        return TypeAdapter(list[Verdict]).validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise ValueError(
            f"the verdicts in '{path}' must be readable, but are not: {error.strerror}"
        ) from None
    except ValidationError as error:
        raise ValueError(
            f"'{path}' must hold what `singleneuron verify` writes, but {invalid(error)}; make it again"
        ) from None
