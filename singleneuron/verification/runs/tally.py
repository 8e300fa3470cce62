"""What the runs of a claim showed, counted."""

from dataclasses import dataclass, field

from singleneuron.problem.arguments import Array
from singleneuron.verification.runs.batches import Batch
from singleneuron.verification.statements import Claim, Setting

SEEN = 10
"""A shifted boundary would have been seen where so many decided starts lie between it and the stated one."""


@dataclass
class Tally:
    """What the runs of a claim showed; starts are listed, the first few, as (batch of one, status).

    starts : all; near_boundary : those among them that were put there, not drawn from the law. undefined :
    starts for which the stated region is neither true nor false; they count as no evidence about it.
    in_limit : counterexamples among undecided runs whose limit theory states. faces : by side of each
    comparison, the smallest distances of decided starts.
    """

    claim: Claim
    starts: int = 0
    near_boundary: int = 0
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
        """By how much a boundary may be off and still not show; None where too few starts lie beside it."""
        if not self.faces or any(distances.size < SEEN for distances in self.faces.values()):
            return None
        return float(max(distances[SEEN - 1] for distances in self.faces.values()))


@dataclass
class Sweep:
    """All that is claimed of the runs of one setting, and what they showed.

    chains : claims each of whose algorithms succeeds wherever the one before it does; unnested : by chain,
    the runs that break it.
    """

    setting: Setting
    runs: int = 0
    tallies: dict[Claim, Tally] = field(default_factory=dict)
    chains: list[tuple[Claim, ...]] = field(default_factory=list)
    unnested: dict[tuple[Claim, ...], int] = field(default_factory=dict)
