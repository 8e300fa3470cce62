"""The schema of verdicts and of their evidence, as files hold them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from signflow.messages import invalid

if TYPE_CHECKING:
    pass


class Derivation(BaseModel):
    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(BaseModel):
    law: str
    starts: int
    error: float
    unit: str
    limit: float
    beyond: int


class Rate(BaseModel):
    stated: float
    successes: int
    decided: int
    interval: tuple[float, float]


class Claim(BaseModel):
    algorithm: str
    success: str | None = None


class Count(BaseModel):
    """Runs counted against a claim, or the starts of a law."""

    starts: int
    decided: int
    undecided: int
    label: str = ""
    law: str = ""
    claim: Claim | None = None
    near_boundary: int = 0
    trapped: int = 0
    counterexamples: int | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    rate: Rate | None = None
    undecided_starts: list[dict[str, Any]] = []


class Evidence(BaseModel):
    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None


class Verdict(BaseModel):
    """An entry of the file that `singleneuron verify` writes."""

    id: str
    statement: str
    verdict: str = Field(pattern=r"^(VERIFIED|REFUTED|(NOT REFUTED|UNDECIDED|NOT RUN) \(.*\))$")
    evidence: Evidence
    counterexample: dict[str, Any] | None
    provenance: dict[str, Any] = {}

    @property
    def word(self) -> str:
        return self.verdict.partition(" (")[0]

    @property
    def why(self) -> str:
        return self.verdict.partition(" (")[2].removesuffix(")")


class Prediction(BaseModel):
    """A verdict on a prediction of the theory, as `deepexp reduce` decides it from the runs of a recipe."""

    prediction: str
    variant: str
    statement: str
    primary: str
    panel: str
    network: str
    text: str
    word: str = Field(pattern=r"^(SUPPORTED|NOT SUPPORTED|INCONCLUSIVE|NOT RUN)$")
    seeds: int
    estimate: float
    low: float
    high: float
    unit: str

    @property
    def why(self) -> str:
        return self.text.removeprefix(self.word).removeprefix(" (").removesuffix(")")


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
