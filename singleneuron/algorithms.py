"""IMP, WR and LRR: their names, and the counts of coordinates by level."""

from typing import Any

import numpy as np

from singleneuron.problem.arguments import integer, number

STEPS_MISS = 0.05
"""Share of a time by which whole steps of gradient descent may miss it."""


def level_counts(d: int, targets: int, levels: int) -> tuple[int, ...]:
    """Coordinates kept at each level: `levels` prunings from d to `targets` in geometric counts."""
    if d == targets:
        return (d,)
    levels = integer("levels", levels, 1)
    if levels > d - targets:
        raise ValueError(
            f"levels must be <= d - targets = {d - targets}: each prunes a coordinate; but is {levels}"
        )
    counts = [d]
    for level in range(1, levels + 1):
        geometric = round(d * (targets / d) ** (level / levels))
        counts.append(int(np.clip(geometric, targets + levels - level, counts[-1] - 1)))
    return tuple(counts)


def own_options(algorithm: str, *, imp: str, rewind_time: float | None) -> dict[str, Any]:
    """Of options that serve several algorithms those that this one takes, for `prune` and `predicted`."""
    return {
        "imp": imp if algorithm != "lrr" else "keep",
        "rewind_time": rewind_time if algorithm == "wr" else None,
    }


def check_algorithm(
    algorithm: str,
    imp: str,
    rewind_time: float | None,
    level_time: float = np.inf,
    learning_rate: float | None = None,
) -> None:
    """ValueError, in one line, for an algorithm that does not exist, or options that do not fit it."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, but is {algorithm!r}")
    if imp not in IMP_VARIANTS:
        raise ValueError(f"imp must be one of {', '.join(IMP_VARIANTS)}, but is {imp!r}")
    if algorithm == "lrr" and imp != "keep":
        raise ValueError(f"imp is for 'imp' and 'wr', but is {imp!r} for 'lrr', which keeps a: leave it out")
    if algorithm == "wr":
        if rewind_time is None:
            raise ValueError("algorithm 'wr' needs a rewind_time >= 0 (0 is IMP)")
        if number("rewind_time", rewind_time, least=0.0) > level_time:
            raise ValueError(
                f"rewind_time must be <= level_time = {level_time:g}, a time within level 0, "
                f"but is {rewind_time:g}"
            )
        _check_steps("rewind_time", rewind_time, learning_rate)
    elif rewind_time is not None:
        raise ValueError(f"rewind_time is for 'wr', but is {rewind_time!r} for {algorithm!r}: leave it out")
    _check_steps("level_time", level_time, learning_rate)


def _check_steps(name: str, time: float, learning_rate: float | None) -> None:
    """ValueError for a time that no whole number of steps comes near."""
    if learning_rate is None or not np.isfinite(time):
        return
    reached = learning_rate * np.rint(time / learning_rate)
    if abs(reached - time) > STEPS_MISS * time:
        raise ValueError(
            f"{name} must be near a multiple of the learning rate {learning_rate:g}, but {time:g} is not: "
            f"{reached:g} is the nearest"
        )


ALGORITHMS = ("imp", "wr", "lrr")


IMP_VARIANTS = ("keep", "rebalance")
