"""Decide how many weights each layer keeps, as exact integer counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepexp.pruning.masks import Mask


def apportion(total: int, shares: Sequence[float], capacities: Sequence[int]) -> list[int]:
    """Split `total` into integer parts in proportion to `shares`, with no part above its capacity.

    If a part would exceed its capacity, the surplus goes to the other parts in proportion to their shares.
    The parts with the largest fractional remainders are then rounded up, and all other parts are rounded
    down. Among equal remainders, the part with the lowest index is rounded up first.

    Parameters
    ----------
    total : int
        The sum of the parts.
    shares : Sequence[float]
        The share of each part, >= 0. A part with share 0 gets weights only if all other parts are full.
    capacities : Sequence[int]
        The maximum size of each part.

    Returns
    -------
    list of int
        The sizes of the parts.

    Raises
    ------
    ValueError
        `total` is negative or exceeds the sum of the capacities.
    """
    if not 0 <= total <= sum(capacities):
        raise ValueError(f"all layers together must keep 0 to {sum(capacities):,} weights, got {total:,}")
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
    """If all parts with a positive share are full, fill the other parts in order until `total` is reached."""
    for index in range(len(counts)):
        room = min(int(capacity[index] - counts[index]), total - int(counts.sum()))
        counts[index] += room
    return [int(count) for count in counts]


def budget(kind: str, keep: int, alive: Mask) -> dict[str, int]:
    """Decide how many weights each layer keeps, so that the network keeps exactly `keep` weights.

    If the share of a layer exceeds its living weights, the layer keeps all of them, and the other layers
    share the surplus.

    Parameters
    ----------
    kind : {'uniform', 'balanced', 'erk'}
        'uniform' gives every layer the same density. 'balanced' gives every layer the same number of weights
        [1]_. 'erk' makes a layer's density proportional to the sum of the dimensions of its weight tensor,
        divided by the product of the dimensions [2]_.
    keep : int
        The number of weights that the network keeps.
    alive : Mask
        The living weights.

    Returns
    -------
    dict of str to int
        The number of weights to keep in each layer.

    References
    ----------
    .. [1] Gadhikar, Mukherjee & Burkholz, ICML 2023.
    .. [2] Evci et al., ICML 2020.
    """
    shapes = [tensor.shape for _, tensor in alive]
    shares = {
        "uniform": [float(shape.numel()) for shape in shapes],
        "balanced": [1.0 for _ in shapes],
        "erk": [float(sum(shape)) for shape in shapes],
    }[kind]
    counts = alive.counts()
    return dict(zip(counts, apportion(keep, shares, list(counts.values())), strict=True))
