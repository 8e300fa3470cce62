"""Signs of weights: their flips from level to level, and how they are perturbed and transplanted.

A sign is a boolean, True where the weight is negative (so 0 counts as positive). The sign of level l is that
at the end of its training; the initialisation is level -1. A flip at level l is a difference between the ends
of levels l - 1 and l, among the weights alive in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from deepexp.config.pruning import Perturbation
from deepexp.config.seeds import stream
from deepexp.pruning.masks import Mask, top, top_by_layer

Signs = Mapping[str, Tensor]


def of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The signs of `weights`, on the CPU."""
    return {name: (weight.detach() < 0).cpu() for name, weight in weights.items()}


def flips(before: Signs, after: Signs, alive: Mask) -> dict[str, Tensor]:
    """Where the sign differs, among the weights of `alive`."""
    return {name: (before[name] ^ after[name]) & tensor for name, tensor in alive}


def last_flip(signs: Sequence[Signs], masks: Sequence[Mask]) -> dict[str, Tensor]:
    """The last level at which each weight flipped, int64 by layer; 0 for a weight that never did.

    `signs` has the initialisation first, then one entry a level; `masks` one entry a level, nested.
    """
    last = {name: torch.zeros(tensor.shape, dtype=torch.int64) for name, tensor in masks[0]}
    for level, flipped in enumerate(_by_level(signs, masks)):
        for name, where in flipped.items():
            last[name][where] = level
    return last


def switches(signs: Sequence[Signs], masks: Sequence[Mask]) -> dict[str, Tensor]:
    """How many times each weight flipped, int64 by layer; arguments as for `last_flip`."""
    count = {name: torch.zeros(tensor.shape, dtype=torch.int64) for name, tensor in masks[0]}
    for flipped in _by_level(signs, masks):
        for name, where in flipped.items():
            count[name] += where
    return count


def _by_level(signs: Sequence[Signs], masks: Sequence[Mask]) -> Iterator[dict[str, Tensor]]:
    if len(signs) != len(masks) + 1:
        raise ValueError(
            f"there must be one more set of signs (the initialisation's) than masks, got {len(signs)} and "
            f"{len(masks)}"
        )
    for level, mask in enumerate(masks):
        yield flips(signs[level], signs[level + 1], mask)  # nested: alive now is alive before


def perturbation(mask: Mask, config: Perturbation, seed: int) -> dict[str, Tensor]:
    """Which signs to flip: floor(fraction n + 1/2) of the n living weights, of all together or of each layer.

    A function of (mask, config, seed), so that a state restored later can be perturbed in the same places.
    """
    unknown = set(config.layers) - set(mask.alive)
    if unknown:
        raise ValueError(
            f"perturbation.layers must name layers of the network, got {', '.join(sorted(unknown))}"
        )
    chosen = Mask(
        {
            name: tensor if not config.layers or name in config.layers else torch.zeros_like(tensor)
            for name, tensor in mask
        }
    )

    def count(living: int) -> int:  # in exact arithmetic on the decimals given
        return int(Fraction(repr(config.fraction)) * living + Fraction(1, 2))

    scores = {}
    for name, tensor in chosen:
        generator = torch.Generator().manual_seed(stream(seed, "perturbation", name))
        scores[name] = torch.rand(tensor.shape, generator=generator)
    if config.scope == "global":
        return dict(top(scores, chosen, count(chosen.kept)))
    counts = {name: count(living) for name, living in chosen.counts().items()}
    return dict(top_by_layer(scores, chosen, counts))


def flip(weights: Mapping[str, Tensor], where: Signs) -> dict[str, Tensor]:
    """`weights` with the opposite sign at `where`."""
    return {name: torch.where(where[name], -weight, weight) for name, weight in weights.items()}


def transplant(amplitudes: Mapping[str, Tensor], signs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The amplitudes of one set of weights with the signs of another."""
    return {name: torch.copysign(weight, signs[name]) for name, weight in amplitudes.items()}


def shuffle_amplitudes(weights: Mapping[str, Tensor], mask: Mask, seed: int) -> dict[str, Tensor]:
    """The amplitudes of each layer's living weights in a random order; every weight keeps its sign."""
    shuffled = {}
    for name, tensor in mask:
        generator = torch.Generator().manual_seed(stream(seed, "amplitudes", name))
        living = weights[name][tensor]
        order = torch.randperm(len(living), generator=generator)
        shuffled[name] = weights[name].clone()
        shuffled[name][tensor] = torch.copysign(living[order], living)
    return shuffled
