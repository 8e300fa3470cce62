"""Signs of weights: flips from one level to the next, perturbations and transplants.

A sign is a boolean, True if the weight is negative (so 0 counts as positive). The sign of a weight at level l
is its sign after the training of level l. Level -1 is the initialisation. A weight flips at level l if it is
alive at levels l - 1 and l, and its signs at these levels differ.
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
    """Return the signs of weights.

    Parameters
    ----------
    weights : Mapping[str, Tensor]
        The weights by layer.

    Returns
    -------
    dict of str to Tensor
        Boolean CPU tensors in the shapes of the weights, True where a weight is negative.
    """
    return {name: (weight.detach() < 0).cpu() for name, weight in weights.items()}


def flips(before: Signs, after: Signs, alive: Mask) -> dict[str, Tensor]:
    """Find the living weights whose signs differ between `before` and `after`.

    Parameters
    ----------
    before, after : Mapping[str, Tensor]
        The signs to compare, by layer.
    alive : Mask
        The living weights.

    Returns
    -------
    dict of str to Tensor
        Boolean tensors by layer, True where a weight flipped.
    """
    return {name: (before[name] ^ after[name]) & tensor for name, tensor in alive}


def last_flip(signs: Sequence[Signs], masks: Sequence[Mask]) -> dict[str, Tensor]:
    """Find the last level at which each weight flipped.

    Parameters
    ----------
    signs : Sequence[Mapping[str, Tensor]]
        The signs at initialisation, then at each level.
    masks : Sequence[Mask]
        The nested masks of the levels.

    Returns
    -------
    dict of str to Tensor
        The levels, as int64 tensors by layer. Level 0 means that a weight last flipped at level 0, or never.
    """
    last = {name: torch.zeros(tensor.shape, dtype=torch.int64) for name, tensor in masks[0]}
    for level, flipped in enumerate(_by_level(signs, masks)):
        for name, where in flipped.items():
            last[name][where] = level
    return last


def switches(signs: Sequence[Signs], masks: Sequence[Mask]) -> dict[str, Tensor]:
    """Count how many times each weight flipped.

    Parameters
    ----------
    signs : Sequence[Mapping[str, Tensor]]
        The signs at initialisation, then at each level.
    masks : Sequence[Mask]
        The nested masks of the levels.

    Returns
    -------
    dict of str to Tensor
        The counts, as int64 tensors by layer.
    """
    count = {name: torch.zeros(tensor.shape, dtype=torch.int64) for name, tensor in masks[0]}
    for flipped in _by_level(signs, masks):
        for name, where in flipped.items():
            count[name] += where
    return count


def _by_level(signs: Sequence[Signs], masks: Sequence[Mask]) -> Iterator[dict[str, Tensor]]:
    if len(signs) != len(masks) + 1:
        raise ValueError(
            f"there must be one more set of signs than masks (for the initialisation), got {len(signs)} and "
            f"{len(masks)}"
        )
    for level, mask in enumerate(masks):
        # The masks are nested, so a weight that is alive at this level was also alive at the one before.
        yield flips(signs[level], signs[level + 1], mask)


def perturbation(mask: Mask, config: Perturbation, seed: int) -> dict[str, Tensor]:
    """Choose floor(fraction * n + 1/2) of n living weights, overall or in each layer, whose signs flip.

    The choice depends only on the arguments, so a later level that restores earlier signs can flip the same
    signs again.

    Parameters
    ----------
    mask : Mask
        The living weights.
    config : Perturbation
        The settings, of which `fraction`, `scope` and `layers` are used.
    seed : int
        The run's seed.

    Returns
    -------
    dict of str to Tensor
        Boolean tensors by layer, True where a sign flips.

    Raises
    ------
    ValueError
        `config.layers` names a layer that the mask does not have.
    """
    unknown = set(config.layers) - set(mask.alive)
    if unknown:
        raise ValueError(
            f"perturbation.layers must name layers of the network, such as {next(iter(mask.alive))}, got "
            f"{', '.join(sorted(unknown))}"
        )
    chosen = Mask(
        {
            name: tensor if not config.layers or name in config.layers else torch.zeros_like(tensor)
            for name, tensor in mask
        }
    )

    def count(living: int) -> int:  # computed in exact decimal arithmetic
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
    """Flip the signs of some weights.

    Parameters
    ----------
    weights : Mapping[str, Tensor]
        The weights by layer.
    where : Mapping[str, Tensor]
        Boolean tensors by layer, True where a sign flips.

    Returns
    -------
    dict of str to Tensor
        New weights by layer.
    """
    return {name: torch.where(where[name], -weight, weight) for name, weight in weights.items()}


def transplant(amplitudes: Mapping[str, Tensor], signs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Combine the amplitudes of one set of weights with the signs of another.

    Parameters
    ----------
    amplitudes, signs : Mapping[str, Tensor]
        Two sets of weights, each by layer.

    Returns
    -------
    dict of str to Tensor
        copysign(|amplitude|, sign) by layer, for the layers of `amplitudes`.
    """
    return {name: torch.copysign(weight, signs[name]) for name, weight in amplitudes.items()}


def shuffle_amplitudes(weights: Mapping[str, Tensor], mask: Mask, seed: int) -> dict[str, Tensor]:
    """Permute the amplitudes of the living weights within each layer; every weight keeps its sign.

    Parameters
    ----------
    weights : Mapping[str, Tensor]
        The weights by layer.
    mask : Mask
        The living weights.
    seed : int
        The seed of the permutation.

    Returns
    -------
    dict of str to Tensor
        New weights for the layers of the mask.
    """
    shuffled = {}
    for name, tensor in mask:
        generator = torch.Generator().manual_seed(stream(seed, "amplitudes", name))
        living = weights[name][tensor]
        order = torch.randperm(len(living), generator=generator)
        shuffled[name] = weights[name].clone()
        shuffled[name][tensor] = torch.copysign(living[order], living)
    return shuffled
