"""Report how fast this machine trains compared with a plain PyTorch loop, and what masks and signs cost.

All loops take short turns within one process, so that other load on the machine slows all of them alike. The
rates are medians over the turns. Start-up time and memory can be measured only for a whole process, so each
loop also runs in its own process.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from deepexp.benchmark.alone import Alone, alone
from deepexp.benchmark.loops import loops
from deepexp.benchmark.parts import ceiling, costs, keep, masking, pruning_seconds, recording, save
from deepexp.benchmark.timing import seconds_of
from deepexp.config.build import build
from deepexp.config.machine import Machine
from deepexp.runs import checkpoint
from deepexp.runs.setup import prepare
from deepexp.runs.speed import operations
from deepexp.runs.workspace import Run
from deepexp.training import evaluate
from signflow.provenance import provenance
from signflow.sections import three_digits

STUDY = (26, 150)  # the number of levels and the epochs per level in the study whose duration is estimated


def report(
    chosen: Mapping[str, Any], *, images: int = 5000, seconds: float = 45.0, compiled: bool = False
) -> Iterator[str]:
    """Measure how fast this machine trains, and report it in parts.

    Parameters
    ----------
    chosen : mapping
        Settings, as `loops.settings` returns them.
    images, seconds, compiled
        As for `loops.loops`.

    Yields
    ------
    str
        A part of the report in Markdown, yielded as soon as it is measured.
    """
    config = build(chosen)
    rates, trained = loops(chosen, images=images, seconds=seconds, compiled=compiled)
    work = prepare(config, Path())
    yield (
        f"**{config.model.name} on {config.data.dataset}, batches of {config.train.batch_size} images, "
        f"{config.machine.precision}, at least {trained:,} images by each loop**"
    )
    yield _rates(rates, {name: alone(name, chosen) for name in rates}, config.train.batch_size)
    yield _shares(work, rates)
    yield _costs(costs())
    yield _study(work, max(rate for name, rate in rates.items() if "masked" in name))
    yield training_hardware(config.machine) + "."


def _rates(rates: Mapping[str, float], measured: Mapping[str, Alone], batch: int) -> str:
    base = rates["plain, channels_last"]
    lines = [
        "| loop | images/s | relative | ms a batch | start, s | memory, MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, rate in rates.items():
        cells = (rate, rate / base, 1e3 * batch / rate, measured[name].start, measured[name].memory)
        lines.append(f"| {name} | {' | '.join(map(_number, cells))} |")
    return "\n".join(lines)


def _shares(work: Run, rates: Mapping[str, float]) -> str:
    """Describe what masks, signs and Sign-In cost, and how close training comes to the peak rate."""
    batch, count = work.config.train.batch_size, len(work.dataset.train)
    machine = work.config.machine
    rate = max(rate for name, rate in rates.items() if name in ("deepexp", "deepexp, compiled"))
    done, most = operations(work), ceiling(machine)
    sign_in = rates["deepexp"] / rates["deepexp, Sign-In"]
    masked, signed = masking(work) * rates["deepexp"] / batch, recording(work.net) * rates["deepexp"] / count
    return "\n".join(
        [
            f"- masking: {masked:.3%} of a step; recording the signs: {signed:.3%} of a level of one epoch",
            f"- Sign-In: a step takes {sign_in:.3g} times as long as a plain one",
            f"- training takes {done / 1e9:.3g} GFLOP per image and runs at "
            f"{_number(done * rate / 1e9)} GFLOP/s, {done * rate / most:.1%} of the "
            f"{_number(most / 1e9)} GFLOP/s of a {machine.precision} matrix product on this machine",
        ]
    )


def _costs(found: Mapping[str, tuple[float, float]]) -> str:
    lines = ["| seconds | deepexp | PyTorch |", "|---|--:|--:|"]
    for name, pair in found.items():
        lines.append(f"| {name} | {' | '.join(map(_number, pair))} |")
    return "\n".join(lines)


def _study(work: Run, rate: float) -> str:
    """Say how long `STUDY` would take at `rate` images/s, including the work between epochs and levels."""
    levels, epochs = STUDY
    epoch = work.per_epoch * work.config.train.batch_size / rate
    with tempfile.TemporaryDirectory() as name:
        kept = seconds_of(lambda: keep(work, Path(name)))
        level = pruning_seconds(work.net) + seconds_of(lambda: save(work.net, Path(name)))
    some = work.dataset.test[torch.arange(min(1000, len(work.dataset.test)))]
    looked = seconds_of(lambda: evaluate.evaluate(work.net, some, work.dataset, work.config.machine), 1)
    level += looked * len(work.dataset.test) / len(some)
    often = min(1.0, epoch / checkpoint.PAUSE)  # checkpoints per epoch
    hours = levels * (epochs * (epoch + kept * often) + level) / 3600
    return (
        f"- {_number(epoch)} s an epoch, {_number(kept)} s a checkpoint, {_number(level)} s to evaluate, "
        f"prune and save a level; estimate for {levels} levels of {epochs} epochs: {_number(hours)} h"
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else three_digits(value)


def training_hardware(machine: Machine) -> str:
    """Describe the machine: its processor, its GPU or the number of threads, and the software versions.

    Parameters
    ----------
    machine : Machine
        The settings, of which `device` and `threads` are used.

    Returns
    -------
    str
    """
    made, about = provenance({}), f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    found = {name: json.loads(str(made["versions"]))[name] for name in ("python", "numpy")}
    found["torch"] = torch.__version__
    if machine.device == "cuda":
        about = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        with contextlib.suppress(RuntimeError):
            found["cudnn"] = str(torch.backends.cudnn.version())
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"{made['cpu']}, {about}; {versions}"
