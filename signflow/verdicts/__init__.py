"""The schema of verdicts and their evidence, as stored in files.

The docstrings of the classes omit attributes with self-explanatory names.
"""

from signflow.verdicts.evidence import (
    BrokenLaw,
    Count,
    CountedRate,
    Derivation,
    Evidence,
    Interval,
    Law,
    Stated,
    Values,
    WrongOutcome,
    WrongRate,
)
from signflow.verdicts.verdict import DONE, PredictionVerdict, Verdict, read_verdicts, write_verdicts

__all__ = [
    "DONE",
    "BrokenLaw",
    "Count",
    "CountedRate",
    "Derivation",
    "Evidence",
    "Interval",
    "Law",
    "PredictionVerdict",
    "Stated",
    "Values",
    "Verdict",
    "WrongOutcome",
    "WrongRate",
    "read_verdicts",
    "write_verdicts",
]
