"""How training fails, in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from signflow.messages import Failure


class _Told(Failure):
    """An error whose arguments are not its message, which goes from one process to another all the same."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Failure.__new__, (type(self), *self.args)


class Diverged(_Told):
    """A loss, a weight or a statistic is no longer a number."""

    def __init__(self, what: str, level: int, epoch: int, lr: float) -> None:
        super().__init__(
            f"{what} must stay finite, but it does not in epoch {epoch} of level {level} at a learning rate "
            f"of {lr:g}; the levels before are complete, but going on ends here again: start a run with a "
            "lower train.lr"
        )


class OutOfMemory(_Told):
    """The device cannot hold what a step of training needs."""

    def __init__(self, batch: int, fits: int) -> None:
        found = f"a batch of {fits:,} fits" if fits else "not even two images for each process fit"
        super().__init__(
            f"the device must have the memory to train on a batch of {batch:,} images, but it ran out; "
            f"{found}: start a run with another train.batch_size, or go on with this one on a larger "
            "device, since all complete epochs are kept"
        )


def not_finite(net: nn.Module, sgd: torch.optim.SGD) -> str | None:
    """The name of the first tensor of the state that is not finite, if any; waits for the device once."""
    named = [*net.state_dict().items()]
    named += [(name, sgd.state[p]["momentum_buffer"]) for name, p in net.named_parameters()]
    finite = torch.stack([tensor.isfinite().all() for _, tensor in named]).tolist()
    return None if all(finite) else named[finite.index(False)][0]
