"""The schema of verdicts and of their evidence, as files hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from signflow.files import atomic
from signflow.messages import invalid

Values = dict[str, int | float | str | list[float] | None]
"""Numbers by name: a start, or the values of a setting."""
Interval = tuple[float, float]
DONE = ("VERIFIED", "NOT REFUTED")
"""Words of a verdict that are no failure; any other ends the command with exit code 1."""


class Part(BaseModel):
    """A part of a file of verdicts: fields not set are not written, and unknown ones are not read."""

    model_config = ConfigDict(frozen=True)


class Derivation(Part):
    """A symbolic derivation, and what it shows in words.

    Attributes
    ----------
    proved : bool
        Whether all its claims hold.
    residuals : list[str]
        What remains of each claim once simplified: 0, or false for the negation of a claim.
    """

    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(Part):
    """A law held against integration from `starts` starts.

    Attributes
    ----------
    error, limit : float
        The largest |stated - integrated|, and the largest allowed, in multiples of `unit`.
    beyond, worst : dict[str, float] or int
        Number of starts whose error exceeds the limit, and the start with the largest error.
    confirmed : bool | None
        Whether the independent solver also finds the law broken there; None if beyond is 0.
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
    """A claim about an algorithm: the region of starts from which it succeeds, its rate, or both.

    Attributes
    ----------
    imp : str
        What IMP and WR do with a after a pruning: 'keep' or 'rebalance'.
    rewind_time : float | None
        Time that WR rewinds to.
    success : str | None
        Condition on the start, in the language of statement files.
    """

    algorithm: str
    imp: str = "keep"
    rewind_time: float | None = None
    success: str | None = None
    rate: float | None = None


class CountedRate(Part):
    """A stated rate, and the runs that were counted.

    Attributes
    ----------
    interval : Interval
        Of the rate; undecided runs are failures for its lower end, successes for its upper end.
    """

    stated: float
    successes: int
    decided: int
    undecided: int = 0
    interval: Interval


class Count(Part):
    """Runs counted against a claim, or the starts of a law.

    Attributes
    ----------
    starts, near_boundary : int
        All starts, and those put near a boundary of the region instead of drawn.
    decided, undecided, trapped : int
        Runs; trapped ones succeed in the limit, but have not converged.
    label, law : str
        The claim and its setting, or the law, in words.
    claim, setting, rate : CountedRate | None or Stated | None or Values
        The claim, the values of its experiment, and the rate counted.
    counterexamples, in_limit : int or int | None
        Runs against the region, and those of them that no solver reaches in time.
    undefined : int
        Starts for which the region is neither true nor false.
    second_looks : int
        Runs that contradicted the claim and were repeated with a smaller tolerance.
    shift : float | None
        How far a boundary of the region may be off without being noticed.
    interval : Interval
        Of the probability of a counterexample; undecided runs count as one for its upper end.
    undecided_starts, against : list[Values]
        The first starts whose runs are undecided, or contradict the region.
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
    """A law that the independent solver also finds broken from `start`.

    Attributes
    ----------
    error : float
        |stated - integrated| from there, in multiples of `unit`.
    """

    law: str
    start: dict[str, float]
    error: float
    unit: str


class WrongRate(Part):
    """A stated `rate` outside the `interval` that was counted.

    Attributes
    ----------
    repeated, agree : int
        Runs repeated with the independent solver, and those of them that came out the same.
    """

    claim: Stated
    setting: Values
    rate: float
    successes: int
    decided: int
    interval: Interval
    repeated: int
    agree: int


class WrongOutcome(Part):
    """A start whose run ends differently from what is stated, also by the independent solver.

    Attributes
    ----------
    stated, integrated, independent : str
        Outcomes by the claim, by integration and by the independent solver.
    """

    claim: Stated
    setting: Values
    start: Values
    stated: str
    integrated: str
    independent: str


class Evidence(Part):
    """Four kinds of evidence on a statement.

    Attributes
    ----------
    symbolic, exact_vs_ode, monte_carlo : list[Count] or list[Derivation] or list[Law]
        Derivations, laws held against integration, and counts of runs.
    """

    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None


class Verdict(Part):
    """An entry of the file that `singleneuron verify` writes.

    Attributes
    ----------
    verdict : str
        A word such as VERIFIED, and its reason in brackets if it needs one.
    provenance : dict[str, str | int]
        What made the verdict, as `provenance.provenance` records it.
    """

    id: str
    statement: str
    verdict: str = Field(pattern=r"^(VERIFIED|REFUTED|(NOT REFUTED|UNDECIDED|NOT RUN) \(.*\))$")
    evidence: Evidence
    counterexample: BrokenLaw | WrongRate | WrongOutcome | None
    provenance: dict[str, str | int] = {}

    @property
    def word(self) -> str:
        """The verdict without its reason."""
        return self.verdict.partition(" (")[0]

    @property
    def why(self) -> str:
        """The reason of the verdict; empty if it has none."""
        return self.verdict.partition(" (")[2].removesuffix(")")


class PredictionVerdict(Part):
    """A verdict on a prediction of the theory, as `deepexp reduce` decides it from the runs of a recipe.

    In a result file each field is a column of the table `verdicts`.

    Attributes
    ----------
    prediction, variant : str
        Names such as 'P1' and 'snip'; the variant is empty if there is but one.
    statement, primary : str
        The prediction and its primary estimate, in words.
    text, word : str
        The verdict with its reason in brackets, and without.
    seeds, needed : int or str
        Seeds that it rests on, and those that would decide an inconclusive prediction.
    estimate, low, high : float
        Mean over the seeds, and the ends of its 95 % interval, in multiples of `unit`.
    bound, margin : float
        Supported if low > bound, else not supported if high < bound + margin.
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
        """The reason of the verdict; empty if it has none."""
        return self.text.removeprefix(self.word).removeprefix(" (").removesuffix(")")


def write_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write verdicts as JSON, completely or not at all.

    Parameters
    ----------
    verdicts : Sequence[Verdict]
        The verdicts.
    path : Path
        File to write.
    """
    rows = [verdict.model_dump(mode="json", exclude_unset=True) for verdict in verdicts]
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", "utf-8")


def read_verdicts(path: Path) -> list[Verdict]:
    """Read verdicts.

    Parameters
    ----------
    path : Path
        A file that `write_verdicts` wrote.

    Returns
    -------
    list[Verdict]
        The verdicts.

    Raises
    ------
    ValueError
        If there is no file, or it cannot be read, or holds something else.
    """
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
