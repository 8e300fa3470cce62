"""The configuration of a run: one frozen, validated record.

A run trains levels 0, 1, ..., `pruning.levels`. Level 0 trains the dense network, or a masked one if the
`pruning` settings say so. Before every later level the network is pruned, and a `LevelPolicy` decides which
parts of the training state are kept and which are reset. Densities are fractions in (0, 1] everywhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import LevelPolicy, Section
from deepexp.config.import_paths import is_own
from deepexp.config.machine import Machine
from deepexp.config.protocols import PROTOCOLS
from deepexp.config.pruning import Perturbation, Pruning
from deepexp.config.sections import Data, Model
from deepexp.config.training import Train
from signflow.messages import unknown

# Fields that were added later, each with the value that earlier runs implicitly used. A field with this value
# is left out of the run_id, so that earlier runs keep their run_ids.
LATER: dict[str, Any] = {
    "pruning.code": None,
    "data.code": None,
    "data.folder": None,
    "model.code": None,
    "pruning.snip_batches": 10,
    "pruning.synflow_steps": 100,
    "data.classes": None,
    "data.side": None,
    "data.size": None,
    "data.resized_crop": False,
    "data.test_size": None,
    "model.norm_scale": "one",
    "train.lr_min": 0.0,
    "train.rise_from": None,
    "train.milestones_after_warmup": False,
    "train.cycles": "one",
    "train.parameterization": "plain",
    "train.beta": 1.0,
    "train.reset_epochs": 0,
    "machine.processes": 1,
    "machine.precision": "float32",
    "machine.stack": (),
}


class Config(Section):
    """The configuration of one run.

    Attributes
    ----------
    protocol : str
        The protocol on which the settings are based, a key of `PROTOCOLS`.
    algorithm : str
        The name of the algorithm. Its level policy is in `policy`.
    seed : int
        The seed for all randomness.
    data : Data
        The images and their augmentation.
    model : Model
        The network.
    train : Train
        The training of a level.
    pruning : Pruning
        How the mask of each level is chosen.
    policy : LevelPolicy
        What each level keeps from the training before it, and what it resets.
    donor : str, optional
        The run_id of the run whose amplitudes or signs are used where `policy` says 'donor'.
    perturbation : Perturbation
        How many signs to flip, in which layers, and at which level.
    machine : Machine
        The device, and how the run uses it.
    """

    protocol: str
    algorithm: str
    seed: int = Field(0, ge=0, lt=2**128)
    data: Data
    model: Model
    train: Train
    pruning: Pruning
    policy: LevelPolicy
    donor: str | None = None
    perturbation: Perturbation = Perturbation()
    machine: Machine = Machine()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.protocol not in PROTOCOLS:
            unknown("the protocol must be", self.protocol, PROTOCOLS)
        if ("donor" in (self.policy.amplitude, self.policy.sign)) != (self.donor is not None):
            raise ValueError(
                "donor, a run_id, must be given if and only if policy.amplitude or policy.sign is 'donor', "
                f"got {self.donor!r}; set both or neither"
            )
        if self.machine.stack and self.seed not in self.machine.stack:
            raise ValueError(
                f"seed must be one of machine.stack = {list(self.machine.stack)}, got {self.seed}"
            )
        if self.machine.stack and is_own(self.model.name):
            raise ValueError(
                "machine.stack must be left out with a network of your own, got model.name = "
                f"'{self.model.name}'; such networks cannot be stacked, so train the seeds one by one"
            )
        if self.train.batch_size % self.machine.processes:
            raise ValueError(
                f"machine.processes must divide train.batch_size = {self.train.batch_size}, got "
                f"{self.machine.processes}"
            )
        if self.policy.rewinds() and self.policy.rewind_epoch > self.epochs(0):
            before = " + train.warmup_epochs" if self.train.warmup == "before" else ""
            raise ValueError(
                f"policy.rewind_epoch must be at most train.epochs{before} = {self.epochs(0)}, "
                f"got {self.policy.rewind_epoch}"
            )
        if self.train.cycles == "cumulative" and self.policy.schedule == "rewind":
            raise ValueError(
                "train.cycles = 'cumulative' needs policy.schedule = 'start', got 'rewind'; choose an "
                "algorithm whose levels start at the beginning of the schedule"
            )
        if self.perturbation.fraction and self.perturbation.level > self.pruning.levels:
            raise ValueError(
                f"perturbation.level must be at most pruning.levels = {self.pruning.levels}, "
                f"got {self.perturbation.level}"
            )
        return self

    @model_validator(mode="after")
    def _resets_come(self) -> Self:
        # The longest level is the first or the last: a warm-up may lengthen level 0 only, while cumulative
        # cycles lengthen the last level most.
        longest = max(self.epochs(0), self.epochs(self.pruning.levels))
        if self.train.reset_epochs > longest:
            raise ValueError(
                f"train.reset_epochs must be at most {longest}, the length of the longest level in epochs, "
                f"got {self.train.reset_epochs}; set fewer, or 0 to reset only at the start of each level"
            )
        return self

    def warms_up(self, level: int) -> bool:
        """Return whether a level's schedule includes the warm-up; rewound levels use level 0's schedule."""
        if self.train.warmup in ("none", "every"):
            return self.train.warmup == "every"
        return level == 0 or self.policy.schedule == "rewind"

    def cycle(self, level: int) -> int:
        """Return the length of one cycle of a level's schedule in epochs."""
        before = self.train.warmup == "before" and self.warms_up(level)
        return self.train.epochs + (int(self.train.warmup_epochs) if before else 0)

    def epochs(self, level: int) -> int:
        """Return the length of a level's whole schedule in epochs, even if the level starts within it."""
        return self.cycle(level) * (level + 1 if self.train.cycles == "cumulative" else 1)

    @property
    def run_id(self) -> str:
        """A readable name that ends with a digest of the fields, including defaults.

        A field in `LATER` is left out of the digest if it has the value stated there.
        """
        tree = self.model_dump()
        if self.train.warmup == "first" and self.policy.schedule == "rewind":
            # With these settings, rewound levels now follow the schedule of level 0. Earlier versions did
            # otherwise, so this mark gives new runs a different run_id.
            tree["policy"]["schedule"] = "rewind to level 0"
        for key, value in LATER.items():
            section, _, name = key.rpartition(".")
            fields = tree[section] if section else tree
            if fields[name] == value:
                del fields[name]
        digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        # The run_id names a folder, and not every file system allows a colon in a name.
        data, model = (name.replace(":", ".") for name in (self.data.dataset, self.model.name))
        return f"{data}-{model}-{self.algorithm}-s{self.seed}-{digest[:10]}"
