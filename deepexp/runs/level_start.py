"""The state from which a level starts, composed of earlier states by the rules of a level policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepexp.config.algorithms import LevelPolicy
from deepexp.models import norms, prunable
from deepexp.pruning import signs
from deepexp.pruning.masks import Mask
from deepexp.training.optimizer import momentum, start_from, variables


@dataclass(frozen=True)
class TrainingState:
    """The state that training changes, copied to the CPU.

    Attributes
    ----------
    tensors : Mapping[str, Tensor]
        The network's state dict.
    momentum : Mapping[str, Tensor]
        The momentum of each parameter, by name; empty if only the network's tensors are kept. If a weight is
        trained by Sign-In, this is the velocity of the weight itself.
    factors : Mapping[str, Tensor]
        With Sign-In, the factors of every weight and the momentum of these factors. If `factors` is empty,
        training starts with freshly reset factors, as at the start of every level.
    """

    tensors: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor]
    factors: Mapping[str, Tensor] = field(default_factory=dict)


def capture(net: nn.Module, sgd: torch.optim.Optimizer) -> TrainingState:
    """Copy the state of a network and its optimizer.

    Parameters
    ----------
    net : nn.Module
        The network.
    sgd : torch.optim.Optimizer
        The optimizer that `training.optimizer` created for `net`, with momentum buffers.

    Returns
    -------
    TrainingState
    """
    tensors = {name: _copy(tensor) for name, tensor in net.state_dict().items()}
    momenta = {name: _copy(momentum(sgd, p)) for name, p in net.named_parameters()}
    return TrainingState(tensors, momenta, {name: _copy(t) for name, t in _factors(net, sgd).items()})


def restore(net: nn.Module, sgd: torch.optim.Optimizer, state: TrainingState) -> None:
    """Copy a state into a network and its optimizer.

    The tensors keep their memory and layout, so that compiled code stays valid.

    Parameters
    ----------
    net : nn.Module
        The network.
    sgd : torch.optim.Optimizer
        The optimizer of `net`, with momentum buffers.
    state : TrainingState
        The state to load.
    """
    net.load_state_dict(dict(state.tensors))
    for name, parameter in net.named_parameters():
        start_from(sgd, parameter, state.momentum[name])
    for name, factor in _factors(net, sgd).items() if state.factors else ():
        factor.copy_(state.factors[name])


def _factors(net: nn.Module, sgd: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the factors of a network's weights and their momentum, by name; without Sign-In, return {}."""
    found = {}
    for name, parameter in net.named_parameters():
        pair = variables(sgd, parameter)
        for factor, tensor in zip("mu", pair if len(pair) > 1 else (), strict=False):
            found[f"{factor}/{name}"] = tensor
            found[f"{factor}-momentum/{name}"] = sgd.state[tensor]["momentum_buffer"]
    return found


def policy_parts(net: nn.Module) -> dict[str, str]:
    """Return, for each tensor of the state dict, the part of a level policy that applies to it.

    The parts are 'weight' (prunable), 'norm_affine', 'norm_statistics', and 'bias' (every other tensor).
    """
    part = dict.fromkeys(net.state_dict(), "bias")
    part |= dict.fromkeys(prunable(net), "weight")
    for name, norm in norms(net).items():
        part |= {f"{name}.{key}": "norm_affine" for key, _ in norm.named_parameters()}
        part |= {f"{name}.{key}": "norm_statistics" for key, _ in norm.named_buffers()}
    return part


def compose(
    policy: LevelPolicy, part: Mapping[str, str], states: Mapping[str, TrainingState], mask: Mask, seed: int
) -> TrainingState:
    """Compose the state from which a level starts, taking each part from its origin in `policy`.

    `part` is the result of `policy_parts`. `states` maps each origin to a state: 'keep' to the end of the
    previous level, 'initial' to the initial state (with momentum 0), 'rewind' to the rewind point, and
    'donor' to the donor's weights. The last two are present only if the run uses them. Pruned weights and
    their momentum are set to 0.
    """
    tensors = {}
    for name, kind in part.items():
        origin = policy.amplitude if kind == "weight" else getattr(policy, kind)
        tensors[name] = states[origin].tensors[name].clone()
    weights = {name: tensors[name] for name, _ in mask}
    if policy.sign != policy.amplitude:
        weights = signs.transplant(weights, states[policy.sign].tensors)
    if policy.shuffle_amplitude:
        weights = signs.shuffle_amplitudes(weights, mask, seed)
    momenta = {name: tensor.clone() for name, tensor in states[policy.momentum].momentum.items()}
    return masked(TrainingState(tensors | weights, momenta), mask)


def masked(state: TrainingState, mask: Mask) -> TrainingState:
    """Return a state without factors, in which every pruned weight and its momentum are exactly 0.

    Parameters
    ----------
    state : TrainingState
        The state to mask; it is not changed.
    mask : Mask
        The living weights.

    Returns
    -------
    TrainingState
    """
    tensors = {name: state.tensors[name].masked_fill(~alive, 0) for name, alive in mask}
    momenta = {name: state.momentum[name].masked_fill(~alive, 0) for name, alive in mask}
    return TrainingState({**state.tensors, **tensors}, {**state.momentum, **momenta})


def _copy(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU, whatever the tensor's device and memory format."""
    return tensor.detach().to("cpu", copy=True).contiguous()
