"""Masks: which prunable weights are alive. Exact counts, budgets per layer, shuffles, and their file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deepexp.config.seeds import stream
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


def dense_mask(net: nn.Module) -> Mask:
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
