"""Check that a GPU trains as a CPU does, and measure its speed.

Run this first on a new GPU. It takes six minutes. Every check takes the device as an argument, so that tests
can run it on a CPU. If a check fails, the failure is reported and the next check starts. No check starts
after `LAST_START` seconds.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deepexp.benchmark import loops
from deepexp.benchmark import report as bench
from deepexp.config.build import build
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level_start
from deepexp.runs import run as levels
from deepexp.runs.setup import prepare
from deepexp.schedule import costs
from deepexp.storage import folder as layout
from deepexp.training import steps as train
from signflow.provenance import provenance

# Seconds after which no further check starts. The longest check compiles two graphs, and takes 90 s.
LAST_START = 270.0
PRECISIONS = {"float32": 1e-3, "tf32": 2e-2, "bf16": 5e-2}  # the allowed relative error of the loss
FAST = {"machine.precision": "bf16", "machine.compile": True}  # the settings that recipes use on a GPU
SMALL_RUN = {
    "data.crop_padding": 1,
    "data.flip": "random",
    "data.limit": 640,
    "train.batch_size": 64,
    "train.epochs": 4,
    "policy.rewind_epoch": 1,
    "pruning.levels": 2,
    "pruning.keep": 0.5,
}
LOOPS = ("plain, channels_last", "deepexp", "deepexp, compiled")


@dataclass(frozen=True)
class Found:
    """The result of a check.

    Attributes
    ----------
    check : str
        The name of the check.
    ok : bool, optional
        Whether the check passed; None if it did not run.
    why : str
        Why the check failed or did not run; empty if it passed.
    seconds : float
        How long the check took.
    numbers : Mapping[str, float]
        The measurements of the check, by name.
    """

    check: str
    ok: bool | None
    why: str = ""
    seconds: float = 0.0
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the result as one line."""
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.numbers.items())
        word = {True: "ok", False: "FAILED", None: "not run"}[self.ok]
        return f"{self.check}: {word}" + "".join(f"; {text}" for text in (self.why, numbers) if text)


def run(device: str, out: Path, last_start: float = LAST_START) -> Iterator[Found]:
    """Run every check, and write all results so far to `out` after each one.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
        The device to check.
    out : Path
        The JSON file to write.
    last_start : float
        The time in seconds after which no further check starts.

    Yields
    ------
    Found
        The result of each check.
    """
    began, found = time.perf_counter(), list[Found]()
    made = {"hardware": bench.training_hardware(build({"machine.device": device}).machine), **provenance({})}
    for name, check in checks(device).items():
        if time.perf_counter() - began > last_start:
            found.append(Found(name, None, "no time was left"))
        else:
            found.append(_made(name, check))
        layout.write_text(out, json.dumps({**made, "checks": [asdict(one) for one in found]}, indent=1))
        yield found[-1]


def checks(device: str) -> dict[str, Callable[[], Mapping[str, float]]]:
    """Return the checks by name, with the most important ones first.

    Each check returns its measurements, and raises an error if it fails.
    """
    eager = {f"{kind} against the CPU": partial(agreement, device, kind) for kind in PRECISIONS}
    runs = {f"two prunings by {name}": partial(two_levels, device, name, FAST) for name in ("imp", "lrr")}
    speeds = {
        f"images/s of {model}": partial(throughput, device, model, batch, FAST)
        for model, batch in (("resnet20", 128), ("resnet18", 256))
    }
    graphs = {
        f"{kind} as a CUDA graph against the CPU": partial(agreement, device, kind, compiled=True)
        for kind in PRECISIONS
    }
    stopped = {
        "a resumed run against an uninterrupted one": partial(resumed, device, {}),
        "a resumed run against an uninterrupted one, as CUDA graphs": partial(resumed, device, FAST),
    }
    return {**eager, **runs, **speeds, **stopped, **graphs}


def _made(name: str, check: Callable[[], Mapping[str, float]]) -> Found:
    began = time.perf_counter()
    try:
        numbers, why = check(), ""
    except Exception as error:  # whatever the error, the later checks must still run
        numbers, why = {}, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Found(name, not why, why, time.perf_counter() - began, numbers)


def agreement(device: str, precision: str, *, compiled: bool = False) -> dict[str, float]:
    """Compare five training steps of a pruned network on `device` with the same steps on a CPU in float32.

    Raise RuntimeError if the losses differ too much, or if a pruned weight is not 0.
    """
    loss, state, _ = _five_steps({})
    machine = {"machine.device": device, "machine.precision": precision, "machine.compile": compiled}
    found, there, mask = _five_steps(machine)
    for name, alive in mask:
        if there.tensors[name][~alive].any() or there.momentum[name][~alive].any():
            raise RuntimeError(f"pruned weights must stay 0, but some of '{name}' do not")
    weights = max(
        float((there.tensors[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-12))
        for name, tensor in state.tensors.items()
        if tensor.is_floating_point()
    )
    off = abs(found / loss - 1)
    if not off <= PRECISIONS[precision]:
        raise RuntimeError(
            f"the loss must be {loss:g} with a relative error of at most {PRECISIONS[precision]:g}, got "
            f"{found:g}"
        )
    return {"loss off by": off, "weights off by": weights}


def _five_steps(machine: Mapping[str, Any]) -> tuple[float, level_start.TrainingState, masks.Mask]:
    work = prepare(build({**SMALL_RUN, **machine}), Path())
    dense = masks.dense_mask(work.net)
    mask = masks.top(score("magnitude", work.net, 0), dense, dense.total // 4)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    steps = train.steps(work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0, (5,))
    report = next(steps)
    return report.loss, level_start.capture(work.net, work.sgd), mask


def two_levels(device: str, algorithm: str, machine: Mapping[str, Any]) -> dict[str, float]:
    """Train a network on digits, prune and retrain it twice, and measure its final accuracy.

    Raise RuntimeError if a level keeps the wrong number of weights, or if the final accuracy is too low.
    """
    config = build(
        {**SMALL_RUN, **machine, "machine.device": device, "algorithm": algorithm, "data.limit": None}
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        rows = [event.row for event in levels.run(config, Path(name) / "run") if event.row is not None]
    for row in rows:
        if row["kept"] != config.pruning.kept(row["level"], row["total"]):
            raise RuntimeError(
                f"level {row['level']} must keep exactly the configured number of weights, got {row['kept']}"
            )
    if not rows[-1]["test_accuracy"] > 0.5:
        raise RuntimeError(
            f"the last level must reach a test accuracy above 0.5 on digits, got {rows[-1]['test_accuracy']}"
        )
    return {"accuracy": rows[-1]["test_accuracy"], "seconds": time.perf_counter() - began}


def resumed(device: str, machine: Mapping[str, Any]) -> dict[str, float]:
    """Check that stopping a run in level 1 and resuming it does not change the weights of any level."""
    config = build({**SMALL_RUN, **machine, "machine.device": device, "algorithm": "wr"})
    with tempfile.TemporaryDirectory() as name:
        whole, stopped = Path(name) / "whole", Path(name) / "stopped"
        for _ in levels.run(config, whole):
            pass
        for event in levels.run(config, stopped):
            if event.level == 1:
                break
        for _ in levels.run(config, stopped):
            pass
        for level in range(config.pruning.levels + 1):
            files = [layout.file(folder, "weights", level) for folder in (whole, stopped)]
            if files[0].read_bytes() != files[1].read_bytes():
                raise RuntimeError(
                    "a resumed run must have the same bits as an uninterrupted one, but level "
                    f"{level} differs"
                )
    return {"levels alike": config.pruning.levels + 1}


def throughput(
    device: str,
    model: str,
    batch: int,
    machine: Mapping[str, Any],
    images: int = 50_000,
    seconds: float = 12.0,
) -> dict[str, float]:
    """Measure the images per second of each training loop in `LOOPS`, on random 32x32 images."""
    chosen = {**loops.settings("cifar10", model, batch, device=device), **machine, "machine.compile": False}
    dataset = costs.random_images(build(chosen), images)
    rates, _ = loops.loops(chosen, images=10**9, seconds=seconds, only=LOOPS, dataset=dataset)
    return rates
