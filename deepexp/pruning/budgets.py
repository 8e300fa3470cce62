"""How many weights each layer keeps: exact integer counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepexp.pruning.masks import Mask


def apportion(total: int, shares: Sequence[float], capacities: Sequence[int]) -> list[int]:
    """`total` divided in proportion to `shares`, exactly, with no part above its capacity.

    What a full part cannot take goes to the others in proportion; the remainders of the division are rounded
    up from the largest down (ties: lower index). Raises ValueError when the capacities cannot hold `total`.
    """
    if not 0 <= total <= sum(capacities):
        raise ValueError(f"the layers together hold {sum(capacities):,} weights, cannot keep {total:,}")
    share, capacity = np.asarray(shares, float), np.asarray(capacities, np.int64)
    full = share <= 0
    while True:
        rest = total - int(capacity[full & (share > 0)].sum())
        free = ~full
        ideal = np.where(full, np.where(share > 0, capacity, 0), 0).astype(float)
        if free.any():
            ideal[free] = rest * share[free] / share[free].sum()
        over = free & (ideal >= capacity)
        if not over.any():
            break
        full |= over
    counts = np.floor(ideal).astype(np.int64)
    for index in np.lexsort((np.arange(len(share)), counts - ideal)):
        if counts.sum() == total:
            break
        if counts[index] < capacity[index] and not full[index]:
            counts[index] += 1
    return _fill(counts, capacity, total)


def _fill(counts: np.ndarray, capacity: np.ndarray, total: int) -> list[int]:
    """Place what is left where all parts with a share are full: into the first parts with room."""
    for index in range(len(counts)):
        room = min(int(capacity[index] - counts[index]), total - int(counts.sum()))
        counts[index] += room
    return [int(count) for count in counts]


def budget(kind: str, keep: int, alive: Mask) -> dict[str, int]:
    """How many of `keep` weights each layer gets, within what is alive there; exact in total.

    'uniform': one density; 'balanced': one count (Gadhikar, Mukherjee & Burkholz, ICML 2023); 'erk': density
    proportional to (sum of the weight's dimensions) / (their product) (Evci et al., ICML 2020). A layer that
    its share would overfill stays full and the rest is redistributed.
    """
    shapes = [tensor.shape for _, tensor in alive]
    shares = {
        "uniform": [float(shape.numel()) for shape in shapes],
        "balanced": [1.0 for _ in shapes],
        "erk": [float(sum(shape)) for shape in shapes],
    }[kind]
    counts = alive.counts()
    return dict(zip(counts, apportion(keep, shares, list(counts.values())), strict=True))
