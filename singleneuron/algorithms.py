"""IMP, WR and LRR: which weights a level starts from, and how many coordinates each level keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar, cast, get_args

from singleneuron.problem.arguments import integer_in_range, number

Name = Literal["imp", "wr", "lrr"]
Variant = Literal["keep", "rebalance"]
ALGORITHMS: tuple[str, ...] = get_args(Name)
IMP_VARIANTS: tuple[str, ...] = get_args(Variant)
MOST_LEVELS = 10_000
"""Largest number of pruning steps in a run; after each step, every start is trained again."""
STEPS_MISS = 0.05
"""Largest relative error allowed when gradient descent rounds a time to whole steps."""

Weights = TypeVar("Weights")


@dataclass(frozen=True)
class Algorithm:
    """The rule that sets a and w at the start of each level after the first; w is then masked.

    Attributes
    ----------
    name : {'imp', 'wr', 'lrr'}
        IMP takes a and w from the start of training, WR from the dense level at `rewind_time`, and LRR from
        the end of the previous level.
    rewind_time : float or None
        The time, >= 0, to which WR rewinds; with 0, WR is the same as IMP. None for the other algorithms.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with a after pruning: keep it, or set it to sign(a) |mask * w|.

    Raises
    ------
    ValueError
        If the name is unknown, or if an option does not fit the algorithm; the message is one line.

    References
    ----------
    Gadhikar & Burkholz (ICLR 2024), Theorem 2.3.

    Examples
    --------
    >>> import singleneuron as sn
    >>> algorithms = sn.Algorithm("imp"), sn.Algorithm("wr", rewind_time=2.0), sn.Algorithm("lrr")
    >>> [algorithm.rewinds_to for algorithm in algorithms]
    [0.0, 2.0, None]
    >>> [algorithm.source("rewound", "trained") for algorithm in algorithms]
    ['rewound', 'rewound', 'trained']
    """

    name: Name
    rewind_time: float | None = None
    imp: Variant = "keep"

    def __post_init__(self) -> None:
        """Check the name, and that the options fit it."""
        if self.name not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, but is {self.name!r}")
        if self.imp not in IMP_VARIANTS:
            raise ValueError(f"imp must be one of {', '.join(IMP_VARIANTS)}, but is {self.imp!r}")
        if self.name == "lrr" and self.imp != "keep":
            raise ValueError(
                f"imp only applies to 'imp' and 'wr', got {self.imp!r} for 'lrr', which keeps a; leave it out"
            )
        if self.name == "wr":
            if self.rewind_time is None:
                raise ValueError("algorithm 'wr' needs a rewind_time >= 0 (0 gives IMP)")
            number("rewind_time", self.rewind_time, least=0.0)
        elif self.rewind_time is not None:
            raise ValueError(
                f"rewind_time only applies to 'wr', got {self.rewind_time!r} for {self.name!r}; leave it out"
            )

    @classmethod
    def fitting(
        cls, name: str | Algorithm, *, imp: str = "keep", rewind_time: float | None = None
    ) -> Algorithm:
        """Return the algorithm of any name, after checking it, with the options that apply to it.

        The other options are ignored; an `Algorithm` is returned as it is.
        """
        if isinstance(name, Algorithm):
            return name
        if name == "lrr" and imp in IMP_VARIANTS:
            imp = "keep"
        return cls(cast("Name", name), rewind_time if name == "wr" else None, cast("Variant", imp))

    @property
    def label(self) -> str:
        """The name and the options, as results show them: 'imp', 'imp rebalance', 'wr 2', 'lrr'."""
        time = [] if self.rewind_time is None else [f"{self.rewind_time:g}"]
        return " ".join([self.name, *time, *(["rebalance"] if self.rebalances else [])])

    @property
    def rewinds_to(self) -> float | None:
        """The time in the dense level to which a and w are reset; None for LRR, which resets nothing."""
        return {"imp": 0.0, "wr": self.rewind_time, "lrr": None}[self.name]

    @property
    def rebalances(self) -> bool:
        """Whether a becomes sign(a) |mask * w| after pruning."""
        return self.imp == "rebalance"

    def source(self, rewound: Weights, trained: Weights) -> Weights:
        """Return the start of a level: the state at `rewinds_to`, or the end of the previous level."""
        return trained if self.rewinds_to is None else rewound

    def check_times(self, level_time: float, learning_rate: float | None = None) -> None:
        """Raise ValueError if `rewind_time` > `level_time` or a time is not near a whole number of steps."""
        if self.rewind_time is not None:
            if self.rewind_time > level_time:
                raise ValueError(
                    f"rewind_time must be <= level_time = {level_time:g}, a time within level 0, "
                    f"but is {self.rewind_time:g}"
                )
            _check_steps("rewind_time", self.rewind_time, learning_rate)
        _check_steps("level_time", level_time, learning_rate)


def _check_steps(name: str, time: float, learning_rate: float | None) -> None:
    """Raise ValueError if a time is not close to a whole number of descent steps."""
    if learning_rate is None or not math.isfinite(time):
        return
    reached = learning_rate * round(time / learning_rate)
    if abs(reached - time) > STEPS_MISS * time:
        raise ValueError(
            f"{name} must be near a multiple of the learning rate {learning_rate:g}, but {time:g} is not: "
            f"{reached:g} is the nearest"
        )


def level_counts(d: int, targets: int, levels: int) -> tuple[int, ...]:
    """Return how many coordinates each level keeps: a geometric sequence from d down to `targets`.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    targets : int
        Number of coordinates of the target.
    levels : int
        Number of pruning steps. Each removes at least one coordinate, so at most d - targets are possible.

    Returns
    -------
    tuple of int
        The `levels` + 1 counts, from d to `targets`; if d = targets, nothing is pruned and this is (d,).

    Raises
    ------
    ValueError
        If `levels` is < 1 or > d - targets.
    """
    if d == targets:
        return (d,)
    levels = integer_in_range("levels", levels, 1)
    if levels > MOST_LEVELS:
        raise ValueError(f"levels must be <= {MOST_LEVELS:,}, got {levels}")
    if levels > d - targets:
        raise ValueError(
            f"levels must be <= d - targets = {d - targets}, got {levels}; each level prunes at least one "
            "coordinate"
        )
    counts = [d]
    for level in range(1, levels + 1):
        geometric = round(d * (targets / d) ** (level / levels))
        counts.append(min(max(geometric, targets + levels - level), counts[-1] - 1))
    return tuple(counts)
