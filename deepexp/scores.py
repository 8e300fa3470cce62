"""Scores: how much each prunable weight matters. The weights of the lowest scores are pruned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepexp.config import stream
from deepexp.models import prunable


def score(kind: str, net: nn.Module, seed: int) -> dict[str, Tensor]:
    """A float32 score on the CPU for every prunable weight: 'magnitude' is |w|, 'random' uniform in [0, 1).

    Random scores depend on the layer and the seed alone, whatever the other layers are.
    """
    if kind == "magnitude":
        return {
            name: weight.detach().to("cpu", torch.float32).abs() for name, weight in prunable(net).items()
        }
    if kind == "random":
        return {
            name: _uniform(weight.shape, stream(seed, "score", name))
            for name, weight in prunable(net).items()
        }
    raise ValueError(f"the score must be magnitude or random, got '{kind}'")


def _uniform(shape: torch.Size, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
