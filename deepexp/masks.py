"""Masks: which prunable weights are alive. Exact counts, budgets per layer, shuffles, and their file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepexp import tensors
from deepexp.config import stream
from deepexp.models import prunable


@dataclass(frozen=True)
class Mask:
    """Which weights are alive: a boolean CPU tensor for every prunable weight, by name."""

    alive: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if not self.alive:
            raise ValueError("a mask must cover at least one layer, got none")
        for name, tensor in self.alive.items():
            if tensor.dtype != torch.bool or tensor.device.type != "cpu":
                raise ValueError(
                    f"a mask must hold boolean CPU tensors, got {tensor.dtype} on {tensor.device} for "
                    f"'{name}'"
                )

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.alive.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask) or self.sizes() != other.sizes():
            return False
        return all(torch.equal(tensor, other.alive[name]) for name, tensor in self)

    __hash__ = None  # type: ignore[assignment]

    def sizes(self) -> dict[str, int]:
        """The number of weights by layer."""
        return {name: tensor.numel() for name, tensor in self}

    def counts(self) -> dict[str, int]:
        """The number of living weights by layer."""
        return {name: int(tensor.count_nonzero()) for name, tensor in self}

    @property
    def total(self) -> int:
        return sum(self.sizes().values())

    @property
    def kept(self) -> int:
        return sum(self.counts().values())

    @property
    def density(self) -> float:
        """Living weights over all weights of convolutions and linear layers, in [0, 1]."""
        return self.kept / self.total

    def within(self, other: Mask) -> bool:
        """Whether every weight alive here is alive in `other`."""
        return not any(bool((tensor & ~other.alive[name]).any()) for name, tensor in self)


def dense(net: nn.Module) -> Mask:
    """The mask that keeps every prunable weight of `net`."""
    return Mask({name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in prunable(net).items()})


def check_fits(mask: Mask, net: nn.Module, origin: str) -> None:
    """Raise ValueError unless `mask`, which came from `origin`, has this network's layers and shapes."""
    want = {name: tuple(weight.shape) for name, weight in prunable(net).items()}
    have = {name: tuple(tensor.shape) for name, tensor in mask}
    if want == have:
        return
    wrong = next(name for name in [*want, *have] if want.get(name) != have.get(name))
    raise ValueError(
        f"the mask of {origin} must fit this network, but at '{wrong}' the network has "
        f"{want.get(wrong, 'nothing')} and the mask {have.get(wrong, 'nothing')}; take a mask of the same "
        f"model"
    )


def top(scores: Mapping[str, Tensor], alive: Mask, keep: int) -> Mask:
    """The mask of the `keep` living weights of highest score, over all layers together.

    Among equal scores those of lower index (in the order of the layers, then of the flattened weight) stay,
    so that the count is exact. Raises ValueError when fewer than `keep` are alive or a score is NaN.
    """
    layers = [(_values(scores[name]), tensor.numpy().ravel()) for name, tensor in alive]
    chosen = _select(layers, keep)
    parts = zip(alive, chosen, strict=True)
    return Mask({name: torch.from_numpy(kept).view(tensor.shape) for (name, tensor), kept in parts})


def top_by_layer(scores: Mapping[str, Tensor], alive: Mask, counts: Mapping[str, int]) -> Mask:
    """As `top`, with the number of weights to keep given for each layer."""
    return Mask({name: top(scores, Mask({name: tensor}), counts[name]).alive[name] for name, tensor in alive})


def _values(score: Tensor) -> np.ndarray:
    return score.detach().to("cpu", torch.float32).numpy().ravel()


def _select(layers: Sequence[tuple[np.ndarray, np.ndarray]], keep: int) -> list[np.ndarray]:
    """The `keep` highest of the living values over all layers; each layer is (values, living).

    A histogram of the values' 16 high bits finds the bin of the keep-th largest, a partition of that bin the
    value itself: no array is larger than a layer, which is several times faster than one partition of all.
    """
    living = sum(int(np.count_nonzero(alive)) for _, alive in layers)
    if not 0 <= keep <= living:
        raise ValueError(f"a mask must keep between 0 and the {living:,} living weights, got {keep:,}")
    if any(values.size and math.isnan(values.max()) for values, _ in layers):  # max passes a NaN on
        raise ValueError("every score must be a number, got NaN; the network has diverged")
    if keep in (0, living):
        return [alive & (keep > 0) for _, alive in layers]
    counts = np.zeros(1 << 16, np.int64)
    for values, alive in layers:
        bins = _bins(values)
        counts += np.bincount(bins if alive.all() else bins[alive], minlength=len(counts))
    at_least = np.append(np.cumsum(counts[::-1])[::-1], 0)  # living values in this bin or a higher one
    edge = int(np.flatnonzero(at_least >= keep)[-1])
    inside = np.concatenate([values[(_bins(values) == edge) & alive] for values, alive in layers])
    rank = len(inside) - (keep - int(at_least[edge + 1]))
    threshold = np.partition(inside, rank)[rank]  # the keep-th largest of all
    ties_left = keep - int(at_least[edge + 1]) - int(np.count_nonzero(inside > threshold))
    chosen = []
    for values, alive in layers:
        kept = values > threshold
        kept &= alive
        ties = np.flatnonzero(values == threshold)
        ties = ties[alive[ties]][:ties_left]
        kept[ties] = True
        ties_left -= len(ties)
        chosen.append(kept)
    return chosen


def _bins(values: np.ndarray) -> np.ndarray:
    """The 16 high bits of float32 values as integers from 0 to 65535 in the values' order (-0 as 0)."""
    bits = (values + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF  # negative floats count downwards
    bits >>= 16
    bits += 1 << 15
    return bits


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


def shuffle(mask: Mask, seed: int) -> Mask:
    """Every layer's mask in a random order: counts kept, positions not.

    The permutation depends on the layer and the seed alone, so a nested sequence stays nested.
    """
    shuffled = {}
    for name, tensor in mask:
        generator = torch.Generator().manual_seed(stream(seed, "shuffle", name))
        order = torch.randperm(tensor.numel(), generator=generator)
        shuffled[name] = tensor.flatten()[order].view_as(tensor)
    return Mask(shuffled)


def pack(bits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Boolean tensors as bytes, eight to a byte (the first is the highest bit)."""
    return {name: torch.from_numpy(np.packbits(tensor.numpy().ravel())) for name, tensor in bits.items()}


def shapes(bits: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """What `unpack` needs beside the bytes."""
    return {name: list(tensor.shape) for name, tensor in bits.items()}


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The inverse of `pack`, given the shapes, in their order: that of the layers, which ties follow."""
    bits = {}
    for name, shape in shapes.items():
        flat = np.unpackbits(packed[name].numpy(), count=math.prod(shape)).view(bool)
        bits[name] = torch.from_numpy(flat).view(tuple(shape))
    return bits


def save(bits: Mapping[str, Tensor], path: str | Path) -> None:
    """Write boolean tensors by name, bit-packed, with their shapes: masks, or signs (True is negative)."""
    tensors.write(pack(bits), path, {"shapes": shapes(bits)})


def load(path: str | Path) -> dict[str, Tensor]:
    """What `save` wrote; ValueError where that is missing or damaged."""
    packed, meta = tensors.read(path)
    if "shapes" not in meta:
        raise ValueError(f"'{path}' must hold masks or signs, but it holds other tensors; give another")
    return unpack(packed, meta["shapes"])
