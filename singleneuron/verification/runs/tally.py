"""What the runs of a claim showed, counted."""

from dataclasses import dataclass, field

from singleneuron.problem.arguments import Array
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.statements import Claim, Setting

SEEN = 10
"""A shift of a boundary would have been seen if so many decided starts lie between it and the stated one."""


@dataclass
class Tally:
    """What the runs of a claim showed.

    Attributes
    ----------
    claim : Claim
        The claim.
    starts : int
        All starts: those drawn from the law, and those put near a boundary.
    decided, trapped, open : int
        Runs that succeeded or failed, those of them that are trapped, and undecided runs.
    undefined : int
        Starts for which the stated region is neither true nor false; they are no evidence about it.
    counterexamples, in_limit : int
        Decided runs against the region, and undecided runs whose limit, by theory, is against it.
    second_looks : int
        Runs against the region that were integrated again with a smaller tolerance.
    drawn_decided, drawn_open, drawn_successes, drawn_counterexamples : int
        Counts over the starts drawn from the law alone.
    against, undecided, sample : list[tuple[Batch, int]]
        The first few runs against the region, undecided runs, and decided runs from drawn starts: a batch of
        one, and its status.
    faces : dict[int, Array]
        For each side of each comparison, the smallest distances of decided starts from the boundary.
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
        """How far a boundary may be off without being noticed; None if too few starts lie beside one."""
        if not self.faces or any(distances.size < SEEN for distances in self.faces.values()):
            return None
        return float(max(distances[SEEN - 1] for distances in self.faces.values()))


@dataclass
class Sweep:
    """All claims about the runs of one setting, and what the runs showed.

    Attributes
    ----------
    setting : Setting
        The setting.
    runs : int
        Number of starts to draw.
    tallies : dict[Claim, Tally]
        What the runs showed for each claim.
    chains : list[tuple[Claim, ...]]
        Claims in an order in which each algorithm succeeds wherever the one before it does.
    unnested : dict[tuple[Claim, ...], int]
        Number of runs that break each chain.
    """

    setting: Setting
    runs: int = 0
    tallies: dict[Claim, Tally] = field(default_factory=dict)
    chains: list[tuple[Claim, ...]] = field(default_factory=list)
    unnested: dict[tuple[Claim, ...], int] = field(default_factory=dict)
