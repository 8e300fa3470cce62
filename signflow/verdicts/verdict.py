"""Verdicts on statements and predictions; functions that read and write verdicts on statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from signflow.files import atomic
from signflow.messages import invalid
from signflow.verdicts.evidence import BrokenLaw, Evidence, Part, WrongOutcome, WrongRate

DONE = ("VERIFIED", "NOT REFUTED")
"""The verdicts that count as success; after any other verdict the command exits with code 1."""


class Verdict(Part):
    """An entry of the file that `singleneuron verify` writes.

    Attributes
    ----------
    verdict : str
        A word such as VERIFIED, followed by the reason in brackets if there is one.
    provenance : dict
        A record of how the verdict was reached, from `provenance.provenance`.
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
        """The reason for the verdict; empty if none is given."""
        return self.verdict.partition(" (")[2].removesuffix(")")


class PredictionVerdict(Part):
    """A verdict on a prediction for deep networks: a row of the table `verdicts` in a result file.

    `deepexp reduce` derives it from the runs of a recipe.

    Attributes
    ----------
    prediction : str
        The name of the prediction, such as 'P1'.
    variant : str
        The name of the variant, such as 'snip'; empty if the prediction has only one variant.
    statement : str
        The prediction, in words.
    primary : str
        The primary estimate of the prediction, in words.
    text : str
        The verdict, with the reason in brackets.
    word : str
        The verdict without the reason.
    seeds : int
        The number of seeds used.
    needed : str
        The number of seeds that would decide an inconclusive prediction.
    estimate : float
        The mean over the seeds, in `unit`.
    low, high : float
        The ends of the 95 % interval of the estimate, in `unit`.
    bound, margin : float
        Limits in `unit`. The prediction is supported if low > bound. Otherwise, it is not supported if high <
        bound + margin.
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
        """The reason for the verdict; empty if none is given."""
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
        A file written by `write_verdicts`.

    Returns
    -------
    list of Verdict
        The verdicts.

    Raises
    ------
    ValueError
        If the file is missing, cannot be read, or does not hold verdicts.
    """
    if not path.is_file():
        raise ValueError(f"the verdict file '{path}' does not exist; run `singleneuron verify` to create it")
    try:
        return TypeAdapter(list[Verdict]).validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise ValueError(
            f"the verdict file '{path}' must be readable, but it is not ({error.strerror})"
        ) from None
    except ValidationError as error:
        raise ValueError(
            f"'{path}' is not valid output of `singleneuron verify`: {invalid(error)}; run the command "
            "again to recreate the file"
        ) from None
