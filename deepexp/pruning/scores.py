"""Score how much each prunable weight matters; the weights with the lowest scores are pruned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepexp.config import import_paths
from deepexp.config.seeds import stream
from deepexp.models import norms, prunable
from deepexp.pruning.masks import Mask


def score(kind: str, net: nn.Module, seed: int) -> dict[str, Tensor]:
    """Score every prunable weight by its magnitude or at random.

    The random scores of a layer depend only on its name, its shape and the seed, not on the other layers.

    Parameters
    ----------
    kind : {'magnitude', 'random'}
        'magnitude' scores a weight w by |w|, 'random' by a random number that is uniform in [0, 1).
    net : nn.Module
        The network.
    seed : int
        The run's seed.

    Returns
    -------
    dict of str to Tensor
        Float32 scores on the CPU, by layer, in the shapes of the weights.
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
    raise ValueError(f"the score must be 'magnitude' or 'random', got '{kind}'")


def snip(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Score every prunable weight by its connection sensitivity |w dL/dw|.

    L is the mean cross-entropy of a batch, summed over the batches. Everything is computed in float32 and in
    training mode. In this mode, batch normalisation uses the statistics of the batch. The running statistics
    would carry no information at initialisation. `net` is not changed.

    Parameters
    ----------
    net : nn.Module
        The network.
    batches : Iterable[tuple[Tensor, Tensor]]
        Images (B, C, H, W) and their classes (B,).

    Returns
    -------
    dict of str to Tensor
        Scores on the CPU, by layer, in the shapes of the weights.

    References
    ----------
    Lee, Ajanthan & Torr, ICLR 2019. They also divide the scores by their sum. This step is left out, since it
    does not change the order of the weights.
    """
    copy = deepcopy(net).float().train()
    copy.zero_grad(set_to_none=True)
    with torch.enable_grad(), _exact():
        for x, y in batches:
            F.cross_entropy(copy(x), y).backward()
    return _products(copy)


def synflow(net: nn.Module, alive: Mask, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Score every prunable weight by its synaptic flow |w| dR/d|w|.

    R is the sum of the network's outputs for an image of ones, after each living weight w has been replaced
    by |w|, and each pruned weight and each bias by 0. Batch normalisation is in evaluation mode and is
    reduced to the scale |gamma| / sqrt(running variance + eps).

    At initialisation, these are the published scores. Even in a trained network, R is linear in the weights
    of every layer, so the scores of a layer add up to the share of R that flows through the layer. In a
    network without shortcuts, all of R flows through every layer. The published proof that no layer loses all
    its weights relies on this. If a shortcut bypasses a layer, less than R flows through the layer, and the
    layer can lose all its weights.

    Parameters
    ----------
    net : nn.Module
        The network, which is not changed.
    alive : Mask
        The living weights.
    shape : tuple of int
        The shape (H, W, C) of an image.

    Returns
    -------
    dict of str to Tensor
        Float32 scores on the CPU, by layer. The scores are computed in float64 and multiplied by a power of
        2, because R grows with every layer and could otherwise exceed the range of float32.

    References
    ----------
    Tanaka, Kunin, Yamins & Ganguli, NeurIPS 2020.
    """
    copy = deepcopy(net).double().eval()
    with torch.no_grad():
        for parameter in copy.parameters():
            if parameter.dim() == 1:
                parameter.zero_()
        for name, norm in norms(copy).items():
            norm.weight.copy_(norms(net)[name].weight.abs())
            norm.running_mean.zero_()  # type: ignore[union-attr]
        for name, weight in prunable(copy).items():
            weight.abs_().mul_(alive.alive[name].to(weight.device))
    height, width, channels = shape
    device = next(copy.parameters()).device
    copy.zero_grad(set_to_none=True)
    with torch.enable_grad():
        copy(torch.ones(1, channels, height, width, dtype=torch.float64, device=device)).sum().backward()
    flow = _products(copy)
    largest = max(float(tensor.max()) for tensor in flow.values())
    scale = 2.0 ** (100 - math.frexp(largest)[1])  # the largest becomes 2^99 to 2^100; float32 ends at 2^128
    return {name: (tensor * scale).float() for name, tensor in flow.items()}


def own(
    name: str, code: str | None, net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], seed: int
) -> dict[str, Tensor]:
    """Score every prunable weight by a user's own function, which an import path names.

    The function is called with a copy of the network, in training mode, and with the batches. For each name
    in `deepexp.models.prunable(net)`, it must return a tensor of scores in the shape of that weight tensor.
    The weights with the highest scores are kept. If the function draws random numbers, they must come from
    torch's global generator.

    Parameters
    ----------
    name : str
        The import path.
    code : str
        The digest of the function's source.
    net : nn.Module
        The network, which is not changed.
    batches : Iterable[tuple[Tensor, Tensor]]
        Images (B, C, H, W) and their classes (B,).
    seed : int
        The seed for torch's global generator.

    Returns
    -------
    dict of str to Tensor
        Float32 scores on the CPU, by layer, in the shapes of the weights.

    Raises
    ------
    ValueError
        The function fails, or does not return a mapping with the right names and shapes, or a score is
        complex or NaN.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), _exact():
        torch.manual_seed(seed)
        found = import_paths.call("pruning.score", name, code, deepcopy(net).train(), batches)
    weights = prunable(net)
    must = f"pruning.score = '{name}' must return a mapping with a tensor of scores for each weight tensor"
    if not isinstance(found, Mapping):
        raise ValueError(f"{must}, got {type(found).__name__}")
    if odd := [*(weights.keys() - found.keys()), *(found.keys() - weights.keys())]:
        raise ValueError(f"{must}, but '{odd[0]}' is {'missing' if odd[0] in weights else 'no such tensor'}")
    for layer, weight in weights.items():
        score = found[layer]
        if not isinstance(score, Tensor) or score.shape != weight.shape:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"{must}, but '{layer}' needs the shape {tuple(weight.shape)}, got {got}")
        if score.is_complex() or bool(score.isnan().any()):
            raise ValueError(f"{must}, but the scores for '{layer}' are complex or contain NaN")
    return {layer: found[layer].detach().to("cpu", torch.float32) for layer in weights}


def densities(kind: str, living: int, keep: int, steps: int) -> list[int]:
    """Return how many weights are left after each pruning step.

    New scores are computed for every step.

    Parameters
    ----------
    kind : str
        The score. With 'synflow', every step multiplies the density by the same factor. With any other score,
        there is a single step.
    living, keep : int
        The numbers of living weights before the first step and after the last step.
    steps : int
        The number of steps that 'synflow' takes.

    Returns
    -------
    list of int
        The number of weights after each step. The last number is `keep`.
    """
    if kind != "synflow":
        return [keep]
    ratio = keep / living
    return [round(living * ratio ** (step / steps)) for step in range(1, steps)] + [keep]


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Compute in float32 without tensor cores, which would round the mantissas of factors to 10 bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _products(net: nn.Module) -> dict[str, Tensor]:
    """Return |weight * gradient| on the CPU by layer, with a gradient of 0 for weights that have none."""
    found = {}
    for name, weight in prunable(net).items():
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        found[name] = (weight.detach() * grad).abs().cpu()
    return found


def _uniform(shape: torch.Size, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
