"""IMP, WR and LRR: the weights from which a level starts, and the number of coordinates that it keeps."""

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
"""The largest number of pruning steps in a run. After each step, every start is trained again."""
STEPS_MISS = 0.05
"""The largest relative error allowed when a time is rounded to whole steps of gradient descent."""

Weights = TypeVar("Weights")


@dataclass(frozen=True)
class Algorithm:
    """The rule that chooses the weights `a` and w from which each level after the first starts.

    After this choice, w is masked.

    Attributes
    ----------
    name : {'imp', 'wr', 'lrr'}
        IMP takes the weights from the start of training, WR from the dense level at `rewind_time`, and LRR
        from the end of the previous level.
    rewind_time : float or None
        The time >= 0 to which WR rewinds. If it is 0, WR is the same as IMP. None for the other algorithms.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the weight `a` after pruning: keep it, or set it to sign(a) |mask * w|.

    Raises
    ------
    ValueError
        If the name is unknown, or if an option does not apply to the algorithm. The message is one line.

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
        """Check that the name is known and that the options apply to the algorithm."""
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
        """Return the algorithm `name` with the options that apply to it, and ignore the other options.

        If `name` is an `Algorithm`, return it unchanged and ignore all options.
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
        """The time in the dense level to which `a` and w are reset, or None for LRR, which resets nothing."""
        return {"imp": 0.0, "wr": self.rewind_time, "lrr": None}[self.name]

    @property
    def rebalances(self) -> bool:
        """Whether the weight `a` is set to sign(a) |mask * w| after pruning."""
        return self.imp == "rebalance"

    def source(self, rewound: Weights, trained: Weights) -> Weights:
        """Return the weights from which a level starts: `trained` for LRR, `rewound` for IMP and WR.

        `rewound` is the state at the time `rewinds_to`, and `trained` is the end of the previous level.
        """
        return trained if self.rewinds_to is None else rewound

    def check_times(self, level_time: float, learning_rate: float | None = None) -> None:
        """Raise ValueError if `rewind_time` or `level_time` cannot be used.

        `rewind_time` must be at most `level_time`. With a learning rate, both must be close to a whole number
        of steps.
        """
        if self.rewind_time is not None:
            if self.rewind_time > level_time:
                raise ValueError(
                    f"rewind_time must be <= level_time = {level_time:g}, the end of level 0, "
                    f"but is {self.rewind_time:g}"
                )
            _check_steps("rewind_time", self.rewind_time, learning_rate)
        _check_steps("level_time", level_time, learning_rate)


def _check_steps(name: str, time: float, learning_rate: float | None) -> None:
    """Raise ValueError if `time` is not close to a whole number of steps of gradient descent."""
    if learning_rate is None or not math.isfinite(time):
        return
    reached = learning_rate * round(time / learning_rate)
    if abs(reached - time) > STEPS_MISS * time:
        raise ValueError(
            f"{name} must be near a multiple of the learning rate {learning_rate:g}, but is {time:g}; "
            f"{reached:g} is the nearest multiple"
        )


def level_counts(d: int, targets: int, levels: int) -> tuple[int, ...]:
    """Return the number of coordinates that each level keeps: a geometric sequence from `d` to `targets`.

    Parameters
    ----------
    d : int
        Number of input coordinates.
    targets : int
        Number of coordinates on which the target depends.
    levels : int
        Number of pruning steps, at most d - targets, because each step removes at least one coordinate.

    Returns
    -------
    tuple of int
        The `levels` + 1 counts, from d to `targets`. If d = targets, nothing is pruned, and the tuple is
        (d,).

    Raises
    ------
    ValueError
        If d > `targets` and `levels` is not an integer from 1 to d - targets, or exceeds `MOST_LEVELS`.
    """
    if d == targets:
        return (d,)
    levels = integer_in_range("levels", levels, 1)
    if levels > MOST_LEVELS:
        raise ValueError(f"levels must be <= {MOST_LEVELS:,}, got {levels}")
    if levels > d - targets:
        raise ValueError(
            f"levels must be <= d - targets = {d - targets}, but is {levels}; each pruning step removes at "
            "least one coordinate"
        )
    counts = [d]
    for level in range(1, levels + 1):
        geometric = round(d * (targets / d) ** (level / levels))
        counts.append(min(max(geometric, targets + levels - level), counts[-1] - 1))
    return tuple(counts)
