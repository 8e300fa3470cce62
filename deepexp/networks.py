"""The network of a run: one from `deepexp.models`, or a user's own network, which an import path names.

If `model.name` is "mypkg.mymodule:function", the network is what `function(classes=..., channels=...)`
returns. It must be a `torch.nn.Module` that maps images (B, channels, H, W) to logits (B, classes). Its
initial values must come from torch's global generator, which is seeded from the run's seed. Pruning masks the
weights of its `Conv2d` and `Linear` layers. Level policies treat its `BatchNorm2d` layers as batch
normalisation, and all other parameters and buffers as biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from deepexp import models
from deepexp.config import import_paths
from deepexp.config.sections import Model
from deepexp.config.seeds import stream


def network(model: Model, *, classes: int, shape: tuple[int, int, int], seed: int) -> nn.Module:
    """Build the network of a run, with initial values that depend only on `seed`.

    Parameters
    ----------
    model : Model
        The settings of the network.
    classes : int
        The number of classes.
    shape : tuple of int
        Height, width and channels of an image.
    seed : int
        The run's seed.

    Returns
    -------
    nn.Module
        The network, on the CPU.

    Raises
    ------
    ValueError
        The settings do not fit together, or the user's own network cannot be trained and pruned.
    """
    if not import_paths.is_own(model.name):
        return models.build(
            model.name,
            classes=classes,
            stem=model.stem,
            width=model.width,
            channels=shape[2],
            norm_scale=model.norm_scale,
            seed=seed,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "initialisation"))
        net = import_paths.call("model.name", model.name, model.code, classes=classes, channels=shape[2])
    if not isinstance(net, nn.Module):
        raise ValueError(f"{_named(model)} must return a torch.nn.Module, got {type(net).__name__}")
    _check_parameters(net, model)
    _check_output(net, model, classes, shape)
    if model.norm_scale == "uniform":
        models.draw_norm_scales(net, seed)
    return net


def _named(model: Model) -> str:
    return f"model.name = '{model.name}'"


def _check_parameters(net: nn.Module, model: Model) -> None:
    """Raise ValueError unless every parameter can be trained and every prunable weight can be masked."""
    every = dict(net.named_parameters(remove_duplicate=False))
    weights = models.prunable(net)
    if not weights:
        raise ValueError(
            f"{_named(model)} must return a network with Conv2d or Linear layers, but it has none, so there "
            "are no weights to prune"
        )
    shared = sorted(every.keys() - dict(net.named_parameters()).keys())
    if shared:
        raise ValueError(
            f"{_named(model)} must return a network whose layers share no parameters, but '{shared[0]}' is "
            "shared; give each layer its own parameters"
        )
    derived = sorted(weights.keys() - every.keys())
    if derived:
        raise ValueError(
            f"{_named(model)} must return a network whose weights are plain parameters, but '{derived[0]}' "
            "is computed from other tensors; remove the parametrization"
        )
    for name, tensor in every.items():
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or not tensor.requires_grad:
            frozen = "" if tensor.requires_grad else " with requires_grad = False"
            raise ValueError(
                f"{_named(model)} must return a network of trainable float32 parameters on the CPU, but "
                f"'{name}' is {tensor.dtype} on {tensor.device}{frozen}"
            )


def _check_output(net: nn.Module, model: Model, classes: int, shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless the network maps images to logits that depend on its parameters alone."""
    height, width, channels = shape
    copy, images = deepcopy(net).train(), torch.zeros(2, channels, height, width)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        before = torch.get_rng_state()
        try:
            made = copy(images)
        except Exception as error:  # whatever the user's code raises
            raise ValueError(
                f"{_named(model)} must accept images of shape {tuple(images.shape)}, but it raised "
                f"{type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        drawn = not torch.equal(before, torch.get_rng_state())
    got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
    if got != (2, classes):
        raise ValueError(
            f"{_named(model)} must map images of shape {tuple(images.shape)} to logits of shape "
            f"{(2, classes)}, got {got}"
        )
    if drawn:
        raise ValueError(
            f"{_named(model)} must not draw random numbers in training, but it does; remove layers such as "
            "Dropout, since a resumed run could not draw the same numbers"
        )
    names, parameters = zip(*copy.named_parameters(), strict=True)
    found: Sequence[Tensor | None] = (None,) * len(names)
    if made.requires_grad:
        found = torch.autograd.grad(made.sum(), parameters, allow_unused=True)
    if idle := [name for name, gradient in zip(names, found, strict=True) if gradient is None]:
        raise ValueError(
            f"{_named(model)} must use every parameter, but its logits do not depend on '{idle[0]}'; remove "
            "it"
        )
