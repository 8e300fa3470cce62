"""Masks: which prunable weights are alive, and exactly how many."""

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
    """The set of prunable weights that are alive.

    Iterating over a mask yields (name, tensor) for each layer.

    Attributes
    ----------
    alive : Mapping[str, Tensor]
        A boolean CPU tensor for each layer, by the name of its weight tensor and with the same shape. True
        means alive.
    """

    alive: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        """Raise ValueError unless there is at least one layer, and every tensor is boolean and on the CPU."""
        if not self.alive:
            raise ValueError("a mask must cover at least one layer, got none")
        for name, tensor in self.alive.items():
            if tensor.dtype != torch.bool or tensor.device.type != "cpu":
                raise ValueError(
                    f"a mask must hold boolean CPU tensors, got {tensor.dtype} on {tensor.device} for "
                    f"'{name}'"
                )

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the names and tensors of the layers."""
        return iter(self.alive.items())

    def __eq__(self, other: object) -> bool:
        """Return whether both masks have the same layers and the same living weights."""
        if not isinstance(other, Mask) or self.sizes() != other.sizes():
            return False
        return all(torch.equal(tensor, other.alive[name]) for name, tensor in self)

    __hash__ = None  # type: ignore[assignment]

    def sizes(self) -> dict[str, int]:
        """Count the weights of each layer."""
        return {name: tensor.numel() for name, tensor in self}

    def counts(self) -> dict[str, int]:
        """Count the living weights of each layer."""
        return {name: int(tensor.count_nonzero()) for name, tensor in self}

    @property
    def total(self) -> int:
        """The number of all prunable weights."""
        return sum(self.sizes().values())

    @property
    def kept(self) -> int:
        """The number of living weights."""
        return sum(self.counts().values())

    @property
    def density(self) -> float:
        """The fraction of all prunable weights that are alive, in [0, 1]."""
        return self.kept / self.total

    def within(self, other: Mask) -> bool:
        """Return whether every weight that is alive in this mask is also alive in `other`."""
        return not any(bool((tensor & ~other.alive[name]).any()) for name, tensor in self)


def dense_mask(net: nn.Module) -> Mask:
    """Return the mask that keeps every prunable weight.

    Parameters
    ----------
    net : nn.Module
        The network.

    Returns
    -------
    Mask
    """
    return Mask({name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in prunable(net).items()})


def check_fits(mask: Mask, net: nn.Module, origin: str) -> None:
    """Raise ValueError unless a mask has the same layers and shapes as a network.

    Parameters
    ----------
    mask : Mask
        The mask to check.
    net : nn.Module
        The network.
    origin : str
        Where the mask comes from, for the error message.
    """
    want = {name: tuple(weight.shape) for name, weight in prunable(net).items()}
    have = {name: tuple(tensor.shape) for name, tensor in mask}
    if want == have:
        return
    wrong = next(name for name in [*want, *have] if want.get(name) != have.get(name))
    raise ValueError(
        f"the mask of {origin} must fit this network, but at '{wrong}' the network has "
        f"{want.get(wrong, 'nothing')} and the mask has {have.get(wrong, 'nothing')}; use a mask of the same "
        f"model"
    )


def top(scores: Mapping[str, Tensor], alive: Mask, keep: int) -> Mask:
    """Keep the living weights with the highest scores, compared across all layers.

    Exactly `keep` weights stay alive. Among weights with equal scores, weights in earlier layers are kept
    first. Within a layer, weights at the start of the flattened tensor are kept first.

    Parameters
    ----------
    scores : Mapping[str, Tensor]
        The scores by layer, in the shapes of the weights.
    alive : Mask
        The weights to choose from.
    keep : int
        The number of weights to keep.

    Returns
    -------
    Mask

    Raises
    ------
    ValueError
        Fewer than `keep` weights are alive, or a score is NaN.
    """
    layers = [(_values(scores[name]), tensor.numpy().ravel()) for name, tensor in alive]
    chosen = _select(layers, keep)
    parts = zip(alive, chosen, strict=True)
    return Mask({name: torch.from_numpy(kept).view(tensor.shape) for (name, tensor), kept in parts})


def top_by_layer(scores: Mapping[str, Tensor], alive: Mask, counts: Mapping[str, int]) -> Mask:
    """Keep the living weights with the highest scores within each layer.

    Parameters
    ----------
    scores : Mapping[str, Tensor]
        The scores by layer, in the shapes of the weights.
    alive : Mask
        The weights to choose from.
    counts : Mapping[str, int]
        The number of weights to keep in each layer.

    Returns
    -------
    Mask

    Raises
    ------
    ValueError
        In the same cases as for `top`.
    """
    return Mask({name: top(scores, Mask({name: tensor}), counts[name]).alive[name] for name, tensor in alive})


def _values(score: Tensor) -> np.ndarray:
    return score.detach().to("cpu", torch.float32).numpy().ravel()


def _select(layers: Sequence[tuple[np.ndarray, np.ndarray]], keep: int) -> list[np.ndarray]:
    """Select the `keep` highest living values across all `layers`, which are pairs (values, alive).

    A histogram over the 16 high bits of the values shows which bin contains the keep-th largest value, and a
    partition of that bin finds the value itself. This is several times faster than a partition of all values,
    because no array is larger than a layer.
    """
    living = sum(int(np.count_nonzero(alive)) for _, alive in layers)
    if not 0 <= keep <= living:
        raise ValueError(f"a mask must keep 0 to {living:,} of {living:,} living weights, got {keep:,}")
    if any(values.size and math.isnan(values.max()) for values, _ in layers):  # max is NaN if any value is
        raise ValueError("every score must be a number, got NaN; the network has diverged")
    if keep in (0, living):
        return [alive & (keep > 0) for _, alive in layers]
    counts = np.zeros(1 << 16, np.int64)
    for values, alive in layers:
        bins = _bins(values)
        counts += np.bincount(bins if alive.all() else bins[alive], minlength=len(counts))
    at_least = np.append(np.cumsum(counts[::-1])[::-1], 0)  # living values in or above each bin
    edge = int(np.flatnonzero(at_least >= keep)[-1])
    inside = np.concatenate([values[(_bins(values) == edge) & alive] for values, alive in layers])
    rank = len(inside) - (keep - int(at_least[edge + 1]))
    threshold = np.partition(inside, rank)[rank]  # the keep-th largest living value
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
    """Return the 16 high bits of float32 values as integers from 0 to 65535, in the order of the values."""
    bits = (values + np.float32(0)).view(np.int32)  # adding 0 turns -0 into 0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # as integers, negative floats are in reverse order
    bits >>= 16
    bits += 1 << 15
    return bits


def shuffle(mask: Mask, seed: int) -> Mask:
    """Shuffle a mask within each layer, so that every layer keeps its number of living weights.

    The permutation depends only on the layer and the seed, so a nested sequence of masks stays nested.

    Parameters
    ----------
    mask : Mask
        The mask to shuffle.
    seed : int
        The run's seed.

    Returns
    -------
    Mask
    """
    shuffled = {}
    for name, tensor in mask:
        generator = torch.Generator().manual_seed(stream(seed, "shuffle", name))
        order = torch.randperm(tensor.numel(), generator=generator)
        shuffled[name] = tensor.flatten()[order].view_as(tensor)
    return Mask(shuffled)
