"""What a run works with: data, network, optimizer, and its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from deepexp.config.settings import Config
from deepexp.data import dataset as data
from deepexp.data.batches import steps_per_epoch
from deepexp.distributed import ALONE, Group
from deepexp.pruning import masks
from deepexp.pruning.masks import Mask
from deepexp.storage import bit_files
from deepexp.storage import folder as layout
from deepexp.training import forward as training_forward
from deepexp.training import steps

# From level, step, mask and the steps to report after: the reports, or None to wait for the rest of a stack.
Stacked = Callable[[int, int, Mask, tuple[int, ...]], Iterator[steps.Report | None]]


@dataclass
class Run:
    """What a run works with; everything but the network's state is fixed once it starts."""

    config: Config
    folder: Path
    dataset: data.Dataset
    net: nn.Module
    forward: training_forward.Forward
    sgd: torch.optim.SGD
    say: Callable[[str], None]
    group: Group = ALONE
    stacked: Stacked | None = None  # what trains the network where it is part of a stack

    @property
    def sources(self) -> list[tuple[data.Dataset, int]]:
        """What `train.side_by_side` takes the batches from."""
        return [(self.dataset, self.config.seed)]

    @property
    def per_epoch(self) -> int:
        return steps_per_epoch(len(self.dataset.train), self.config.train)

    def total(self, level: int) -> int:
        """Steps of a level's schedule."""
        return self.config.epochs(level) * self.per_epoch

    @property
    def rewind(self) -> int:
        """The step of level 0 that is the rewind point."""
        return self.config.policy.rewind_epoch * self.per_epoch + self.config.policy.rewind_step

    def first(self, level: int) -> int:
        """The step of the schedule at which a level starts."""
        return self.rewind if level > 0 and self.config.policy.schedule == "rewind" else 0

    def file(self, kind: str, level: int | str) -> Path:
        return layout.file(self.folder, kind, level)

    def other(self, run_id: str) -> Path:
        """The folder of another run: it lies beside this one's."""
        return self.folder.absolute().parent / run_id


def borrowed(work: Run, level: int) -> Mask:
    """The mask of `level` that `pruning.run` has for this run."""
    pruning = work.config.pruning
    assert pruning.run is not None
    level = level if pruning.run_level is None else pruning.run_level
    mask = Mask(bit_files.load(layout.file(work.other(pruning.run), "masks", level)))
    return masks.shuffle(mask, work.config.seed) if pruning.source == "shuffled" else mask
