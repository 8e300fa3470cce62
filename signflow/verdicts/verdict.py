"""Verdicts on statements and on predictions, and the files that hold those on statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from signflow.files import atomic
from signflow.messages import invalid
from signflow.verdicts.evidence import BrokenLaw, Evidence, Part, WrongOutcome, WrongRate

DONE = ("VERIFIED", "NOT REFUTED")
"""Words of a verdict that count as success; any other ends the command with exit code 1."""


class Verdict(Part):
    """An entry of the file that `singleneuron verify` writes.

    Attributes
    ----------
    verdict : str
        A word such as VERIFIED, and its reason in brackets if it needs one.
    provenance : dict
        How the verdict was made, as `provenance.provenance` records it.
    """

    id: str
    statement: str
    verdict: str = Field(pattern=r"^(VERIFIED|REFUTED|(NOT REFUTED|UNDECIDED|NOT RUN) \(.*\))$")
    evidence: Evidence
    counterexample: BrokenLaw | WrongRate | WrongOutcome | None
    provenance: dict[str, str | int] = Field(default_factory=dict)

    @property
    def word(self) -> str:
        """The verdict without its reason."""
        return self.verdict.partition(" (")[0]

    @property
    def why(self) -> str:
        """The reason of the verdict; empty if it has none."""
        return self.verdict.partition(" (")[2].removesuffix(")")


class PredictionVerdict(Part):
    """A verdict on a prediction for deep networks: a row of the table `verdicts` in a result file.

    `deepexp reduce` decides it from the runs of a recipe.

    Attributes
    ----------
    prediction, variant : str
        Names such as 'P1' and 'snip'; the variant is empty if there is only one.
    statement, primary : str
        The prediction and its primary estimate, in words.
    text, word : str
        The verdict with its reason in brackets, and without.
    seeds, needed : int, str
        Seeds that it rests on, and the number that would decide an inconclusive prediction.
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
    verdicts : sequence of Verdict
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
    list of Verdict
        The verdicts.

    Raises
    ------
    ValueError
        If there is no file, or if it cannot be read or holds anything else.
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
