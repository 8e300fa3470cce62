"""Train runs on samples. Each run trains all its levels, including the dense level, on its own samples."""

from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from singleneuron.experiments.engine import train_and_prune
from singleneuron.problem.state import State
from singleneuron.verification.runs.batches import Batch, part, sample_of
from singleneuron.verification.statements import Claim, Setting

RUNS_A_TASK = 32
"""Number of runs passed to a process at a time. They take about one second."""

Outcomes = tuple[NDArray[np.int8], NDArray[np.bool_]]
"""Status of each run under each claim, (claims, B), and whether the run's mask keeps the target, (B,)."""


def train(
    setting: Setting, claims: tuple[Claim, ...], batch: Batch, rtol: float, executor: Executor
) -> Outcomes:
    """Train and prune every run of a batch with each claim's algorithm."""
    tasks = [part(batch, slice(i, i + RUNS_A_TASK)) for i in range(0, batch.starts.size, RUNS_A_TASK)]
    done = [executor.submit(_train, setting, claims, task, rtol) for task in tasks]
    ends = [future.result() for future in done]
    return np.concatenate([status for status, _ in ends], axis=1), np.concatenate([mask for _, mask in ends])


def _train(setting: Setting, claims: tuple[Claim, ...], batch: Batch, rtol: float) -> Outcomes:
    assert isinstance(batch.starts, State)
    assert batch.seeds is not None
    status = np.empty((len(claims), batch.starts.size), dtype=np.int8)
    found = np.empty(batch.starts.size, dtype=bool)
    for i, seed in enumerate(batch.seeds):
        ends = train_and_prune(
            sample_of(setting, seed),
            batch.starts[i : i + 1],
            [claim.rule for claim in claims],
            rtol=rtol,
            parameterization=setting.weights,
        )
        for k, end in enumerate(ends):
            assert end.mask is not None
            status[k, i], found[i] = end.status[0], end.mask[0, : setting.targets].all()
    return status, found
