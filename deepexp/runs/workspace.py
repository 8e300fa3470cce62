"""A run and everything that it works with: its data, network, optimizer and folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from deepexp.config.settings import Config
from deepexp.data import dataset as data
from deepexp.data.batches import steps_per_epoch
from deepexp.distributed import ALONE, ProcessGroup
from deepexp.pruning import masks
from deepexp.pruning.masks import Mask
from deepexp.storage import bit_files
from deepexp.storage import folder as layout
from deepexp.training import forward as training_forward
from deepexp.training import steps

# A function of a level, the step to start from, a mask, and the steps after which to report. It yields
# reports, or None while it waits for the stack.
Stacked = Callable[[int, int, Mask, tuple[int, ...]], Iterator[steps.Report | None]]


@dataclass
class Run:
    """A run and everything that it works with.

    Once the run has started, only the states of the network and the optimizer change.

    Attributes
    ----------
    config : Config
        The run's configuration.
    folder : Path
        The run's folder.
    dataset : Dataset
        The run's images, on its device.
    net : nn.Module
        The network, trained in place.
    forward : Callable[[Tensor], Tensor]
        The network's forward pass in the run's precision, compiled if `config.machine.compile` is set.
    sgd : torch.optim.SGD
        The optimizer of `net`.
    say : Callable[[str], None]
        Called with each line that the user should see.
    group : ProcessGroup
        The processes that train the run.
    stacked : Stacked, optional
        The function that trains the network, if the run is a member of a stack.
    """

    config: Config
    folder: Path
    dataset: data.Dataset
    net: nn.Module
    forward: training_forward.Forward
    sgd: torch.optim.SGD
    say: Callable[[str], None]
    group: ProcessGroup = ALONE
    stacked: Stacked | None = None

    @property
    def sources(self) -> list[tuple[data.Dataset, int]]:
        """The data set and the seed from which `training.steps.side_by_side` draws the batches of the run."""
        return [(self.dataset, self.config.seed)]

    @property
    def per_epoch(self) -> int:
        """The number of optimizer steps in an epoch."""
        return steps_per_epoch(len(self.dataset.train), self.config.train)

    def total(self, level: int) -> int:
        """Return the number of steps in a level's schedule."""
        return self.config.epochs(level) * self.per_epoch

    @property
    def rewind(self) -> int:
        """The rewind point, as a number of steps of level 0."""
        return self.config.policy.rewind_epoch * self.per_epoch + self.config.policy.rewind_step

    def first(self, level: int) -> int:
        """Return the step of the learning-rate schedule at which a level starts."""
        return self.rewind if level > 0 and self.config.policy.schedule == "rewind" else 0

    def file(self, kind: str, level: int | str) -> Path:
        """Return the path of a file of tensors in this run's folder."""
        return layout.file(self.folder, kind, level)

    def other(self, run_id: str) -> Path:
        """Return the folder of the run `run_id`, which is next to the folder of this run."""
        return self.folder.absolute().parent / run_id


def borrowed(work: Run, level: int) -> Mask:
    """Read the mask for a level from the run `pruning.run`; shuffle it if the source is 'shuffled'."""
    pruning = work.config.pruning
    assert pruning.run is not None
    level = level if pruning.run_level is None else pruning.run_level
    mask = Mask(bit_files.load(layout.file(work.other(pruning.run), "masks", level)))
    return masks.shuffle(mask, work.config.seed) if pruning.source == "shuffled" else mask
