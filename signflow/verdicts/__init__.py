"""The schema of verdicts and of their evidence, as files hold them.

The docstrings of its classes leave out attributes that their names explain.
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
