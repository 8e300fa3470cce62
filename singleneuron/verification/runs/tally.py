"""Counts of the outcomes of a claim's runs."""

from dataclasses import dataclass, field

from singleneuron.problem.arguments import Array
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.statements import Claim, Setting

SEEN = 10
"""Number of decided starts between the stated and the true boundary that suffices to tell them apart."""


@dataclass
class Tally:
    """Counts of the outcomes of a claim's runs.

    Attributes
    ----------
    claim : Claim
        The claim.
    starts : int
        All starts, whether drawn at random or placed by `boundaries.near`.
    decided : int
        Runs that succeeded or failed.
    trapped : int
        Decided runs whose status is trapped.
    open : int
        Undecided runs.
    undefined : int
        Starts at which the stated condition is neither true nor false. They count neither for nor against it.
    counterexamples : int
        Decided runs that contradict the region.
    in_limit : int
        Undecided runs that contradict the region in the limit, according to theory.
    second_looks : int
        Runs that contradicted the region and were integrated again with a smaller tolerance.
    drawn_decided, drawn_open, drawn_successes, drawn_counterexamples : int
        Counts that include only runs whose starts were drawn at random from the setting's distribution.
    against : list[tuple[Batch, int]]
        The first few runs that contradict the region, each as a batch of one start and a status.
    undecided : list[tuple[Batch, int]]
        The first few undecided runs, in the same form.
    sample : list[tuple[Batch, int]]
        The first few decided runs from drawn starts, in the same form.
    faces : dict[int, Array]
        For each face (see `boundaries.Near`), the SEEN smallest distances of decided starts from it.
    """

    claim: Claim
    starts: int = 0
    decided: int = 0
    trapped: int = 0
    open: int = 0
    undefined: int = 0
    counterexamples: int = 0
    in_limit: int = 0
    second_looks: int = 0
    drawn_decided: int = 0
    drawn_open: int = 0
    drawn_successes: int = 0
    drawn_counterexamples: int = 0
    against: list[tuple[Batch, int]] = field(default_factory=list)
    undecided: list[tuple[Batch, int]] = field(default_factory=list)
    sample: list[tuple[Batch, int]] = field(default_factory=list)
    faces: dict[int, Array] = field(default_factory=dict)

    @property
    def shift(self) -> float | None:
        """The largest error in a boundary that could go unnoticed, or None if a face has too few starts."""
        if not self.faces or any(distances.size < SEEN for distances in self.faces.values()):
            return None
        return float(max(distances[SEEN - 1] for distances in self.faces.values()))


@dataclass
class Sweep:
    """All claims about the runs of one setting, and the counts of their outcomes.

    Attributes
    ----------
    setting : Setting
        The setting.
    runs : int
        Number of starts to draw.
    tallies : dict[Claim, Tally]
        The counts for each claim.
    chains : list[tuple[Claim, ...]]
        Claims ordered so that each claim's algorithm should succeed wherever the previous one succeeds.
    unnested : dict[tuple[Claim, ...], int]
        For each chain, the number of runs that succeed under one algorithm but not under the next.
    """

    setting: Setting
    runs: int = 0
    tallies: dict[Claim, Tally] = field(default_factory=dict)
    chains: list[tuple[Claim, ...]] = field(default_factory=list)
    unnested: dict[tuple[Claim, ...], int] = field(default_factory=dict)
