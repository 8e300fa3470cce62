"""The ways in which training can fail, each with a message for the user."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from deepexp.training.optimizer import variables
from signflow.messages import Failure


class _Told(Failure):
    """An error that can be pickled, although its constructor does not take the message as its argument."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild the error from its message, without calling its constructor."""
        return Failure.__new__, (type(self), *self.args)


class Diverged(_Told):
    """A loss, a weight or a statistic is no longer finite."""

    def __init__(self, what: str, level: int, epoch: int, lr: float) -> None:
        """Compose a message that says what is not finite, in which epoch, and that a new run is needed."""
        super().__init__(
            f"{what} must stay finite, but it is not finite in epoch {epoch} of level {level} at a learning "
            f"rate of {lr:g}; the earlier levels are complete, but resuming would diverge again: start a new "
            "run with a lower train.lr"
        )


class OutOfMemory(_Told):
    """The device has too little memory for a training step."""

    def __init__(self, batch: int, fits: int) -> None:
        """Compose a message that says how many images did not fit in memory, and how many would.

        `fits` is 0 if not even two images for each process would fit.
        """
        found = f"a batch of {fits:,} fits" if fits else "not even two images for each process fit"
        super().__init__(
            f"the device must have enough memory to train on a batch of {batch:,} images, but it does not; "
            f"{found}: start a new run with a smaller train.batch_size, or resume this one on a larger "
            "device (all complete epochs are kept)"
        )


def not_finite(net: nn.Module, sgd: torch.optim.SGD) -> str | None:
    """Return the name of the first tensor in the training state that is not finite, or None.

    The check waits for the device only once.

    Parameters
    ----------
    net : nn.Module
        The network, whose parameters and statistics are checked.
    sgd : torch.optim.SGD
        The optimizer, whose momentum is checked.

    Returns
    -------
    str or None
        The tensor's name, or None if all tensors are finite.
    """
    named = [*net.state_dict().items()]
    for name, parameter in net.named_parameters():
        named += [(name, sgd.state[v]["momentum_buffer"]) for v in variables(sgd, parameter)]
    finite = torch.stack([tensor.isfinite().all() for _, tensor in named]).tolist()
    return None if all(finite) else named[finite.index(False)][0]
