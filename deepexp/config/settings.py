"""What a run is: one frozen, validated record. The only home of defaults.

A run trains levels 0, 1, ..., `pruning.levels`; level 0 is the first training (dense, unless
`pruning.initial_density` says otherwise), and before every later level the network is pruned and a
`LevelPolicy` decides what of its state survives. Densities are fractions in (0, 1] everywhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import LevelPolicy, Section
from deepexp.config.protocols import PROTOCOLS
from deepexp.config.sections import Data, Machine, Model, Perturbation, Pruning, Train
from signflow.messages import unknown

# Fields younger than the first runs, each with the value that stands for what those runs did. A run_id leaves
# them out at that value, so that finished runs keep their names.
LATER: dict[str, Any] = {
    "pruning.snip_batches": 10,
    "pruning.synflow_steps": 100,
    "data.classes": None,
    "data.size": None,
    "data.resized_crop": False,
    "data.test_size": None,
    "model.norm_scale": "one",
    "train.lr_min": 0.0,
    "train.rise_from": None,
    "train.milestones_after_warmup": False,
    "machine.processes": 1,
    "machine.precision": "float32",
    "machine.stack": (),
}


class Config(Section):
    """One run."""

    protocol: str
    algorithm: str
    seed: int = Field(0, ge=0, lt=2**128)
    data: Data
    model: Model
    train: Train
    pruning: Pruning
    policy: LevelPolicy
    donor: str | None = None  # the run_id that a policy's `donor` takes its weights from
    perturbation: Perturbation = Perturbation()
    machine: Machine = Machine()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.protocol not in PROTOCOLS:
            unknown("the protocol must be", self.protocol, PROTOCOLS)
        if ("donor" in (self.policy.amplitude, self.policy.sign)) != (self.donor is not None):
            raise ValueError(
                "donor, a run_id, belongs to policy.amplitude or policy.sign = 'donor', which need it"
            )
        if self.machine.stack and self.seed not in self.machine.stack:
            raise ValueError(
                f"seed must be one of machine.stack = {list(self.machine.stack)}, got {self.seed}"
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
        if self.perturbation.fraction and self.perturbation.level > self.pruning.levels:
            raise ValueError(
                f"perturbation.level must be at most pruning.levels = {self.pruning.levels}, "
                f"got {self.perturbation.level}"
            )
        return self

    def warms_up(self, level: int) -> bool:
        """Whether the level's schedule has the warm-up: a rewound one is that of level 0, to its end."""
        if self.train.warmup in ("none", "every"):
            return self.train.warmup == "every"
        return level == 0 or self.policy.schedule == "rewind"

    def epochs(self, level: int) -> int:
        """The epochs of the level's schedule, from its start."""
        before = self.train.warmup == "before" and self.warms_up(level)
        return self.train.epochs + (int(self.train.warmup_epochs) if before else 0)

    @property
    def run_id(self) -> str:
        """A readable name and a digest of every field, defaults included (but see `LATER`)."""
        tree = self.model_dump()
        if self.train.warmup == "first" and self.policy.schedule == "rewind":
            # Finished runs without this mark left level 0's schedule at the rewind point.
            tree["policy"]["schedule"] = "rewind to level 0"
        for key, value in LATER.items():
            section, _, name = key.rpartition(".")
            fields = tree[section] if section else tree
            if fields[name] == value:
                del fields[name]
        digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        return f"{self.data.dataset}-{self.model.name}-{self.algorithm}-s{self.seed}-{digest[:10]}"
