"""A run: level after level of (mask, level policy, training), resumable to the bit wherever it was stopped.

The folder of a run holds config.toml, about.json (which data, which software), levels.csv, layers.csv,
epochs.csv, log.txt, progress.json, and by level masks/, signs/ (bit-packed) and weights/ (a state dict);
states/ has the initial state and the rewind point, checkpoints/ what a stopped run goes on from. Every file is
written atomically, and what is written again after a stop is the same to the bit.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepexp import checkpoint, data, masks, models, signs, train
from deepexp.checkpoint import Checkpoint
from deepexp.config import Config, read, stream, to_toml
from deepexp.masks import Mask
from deepexp.policy import State, capture, compose, masked, parts, restore
from deepexp.scores import score
from figures.results import atomic, provenance


@dataclass(frozen=True)
class Progress:
    """Where a run stands: after `step` of `total` steps of `level`; `row` of levels.csv when that is complete."""

    level: int
    step: int
    total: int
    report: train.Report | None = None
    row: Mapping[str, Any] | None = None


@dataclass
class Run:
    """What a run works with; everything but the network's state is fixed once it starts."""

    config: Config
    folder: Path
    dataset: data.Dataset
    net: nn.Module
    forward: train.Forward
    sgd: torch.optim.SGD
    say: Callable[[str], None]

    @property
    def per_epoch(self) -> int:
        return data.steps_per_epoch(len(self.dataset.train), self.config.train)

    @property
    def total(self) -> int:
        """Steps of a level's schedule."""
        return self.config.train.epochs * self.per_epoch

    @property
    def rewind(self) -> int:
        """The step of level 0 that is the rewind point."""
        return self.config.policy.rewind_epoch * self.per_epoch + self.config.policy.rewind_step

    def file(self, kind: str, level: int | str) -> Path:
        return _file(self.folder, kind, level)

    def other(self, run_id: str) -> Path:
        """The folder of another run: it lies beside this one's."""
        return self.folder.absolute().parent / run_id


def run(config: Config, folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Progress]:
    """Run `config` in `folder` or go on with it there; yields after every epoch and every level.

    Everything that can be known to be impossible raises ValueError before anything is trained or written. A
    level whose loss is no longer finite raises train.Diverged; the levels before it stay.
    """
    _check_folder(config, folder)
    work = prepare(config, folder, say)
    with lock(folder):
        _check_folder(config, folder)
        if is_complete(folder, config):
            say(f"{config.run_id} is complete")
            return
        _clean(folder)
        _write_text(folder / "config.toml", to_toml(config))
        about = {"run_id": config.run_id, "data_variant": work.dataset.variant, **provenance({}, config.seed)}
        _write_text(folder / "about.json", json.dumps(about, indent=1))
        yield from _levels(work)


def prepare(config: Config, folder: Path, say: Callable[[str], None] = lambda _: None) -> Run:
    """Data, network and optimizer of `config`, with everything checked that does not need training."""
    if config.machine.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("machine.device = 'cuda' needs a CUDA device, but torch finds none; use --device cpu")
    torch.set_num_threads(config.machine.threads)
    dataset = data.load(config.data, config.seed, config.machine.device)
    net = models.build(
        config.model.name,
        classes=dataset.classes,
        stem=config.model.stem,
        width=config.model.width,
        channels=dataset.train.x.shape[-1],
        seed=config.seed,
    ).to(config.machine.device)
    if config.machine.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(net) if config.machine.compile else net
    work = Run(config, folder, dataset, net, forward, train.optimizer(net, config.train), say)
    _check_possible(work)
    return work


def _check_possible(work: Run) -> None:
    """Every fraction and every reference, before anything trains."""
    config, dense = work.config, masks.dense(work.net)
    if work.per_epoch == 0:
        raise ValueError(
            f"train.batch_size must be at most the {len(work.dataset.train):,} training images, got "
            f"{config.train.batch_size:,}"
        )
    if config.policy.rewinds() and not work.rewind < work.total:
        raise ValueError(f"the rewind point must lie before the {work.total:,} steps' end, got step {work.rewind:,}")
    if config.pruning.source in ("own", "random", "shuffled") and config.pruning.run is None:
        last = config.pruning.kept(config.pruning.levels, dense.total)
        if last < 1:
            raise ValueError(
                f"every level must keep a weight, but level {config.pruning.levels} of keep = {config.pruning.keep:g} "
                f"keeps none of {dense.total:,}; ask for fewer levels"
            )
    if config.perturbation.fraction:
        signs.perturbation(dense, config.perturbation, 0)
    if config.pruning.run is not None:
        previous = dense
        for level in range(config.pruning.levels + 1):
            mask = _borrowed(work, level)
            masks.check_fits(mask, work.net, config.pruning.run)
            if not mask.within(previous) or mask.kept == 0:
                raise ValueError(f"the masks of {config.pruning.run} must be nested and keep weights, not so at level {level}")
            previous = mask
    if config.donor is not None:
        for level in range(config.pruning.levels):
            have = checkpoint.load_state(_file(work.other(config.donor), "weights", level)).tensors
            for name, weight in models.prunable(work.net).items():
                if name not in have or have[name].shape != weight.shape:
                    raise ValueError(f"the donor {config.donor} must have this network's weights, not so at '{name}'")


def _levels(work: Run) -> Iterator[Progress]:
    config, folder = work.config, work.folder
    part = parts(work.net)
    initial = capture(work.net, work.sgd)
    checkpoint.save_state(initial, work.file("states", "initial"), config.run_id)
    masks.save(signs.of(models.prunable(work.net)), work.file("signs", "initial"))
    saved = checkpoint.load(folder / "checkpoints", config.run_id, work.say)
    clock = _Clock(work)
    if saved is None:
        saved = _begin(work, 0, initial, initial, masks.dense(work.net), part, [], [])
    else:
        work.say(f"going on from level {saved.level}, step {saved.step:,} of {work.total:,}")
        restore(work.net, work.sgd, saved.state)
    while True:
        yield from _train(work, saved, clock)
        saved = _finish(work, saved)
        yield Progress(saved.level, work.total, work.total, row=saved.levels[-1])
        if saved.level == config.pruning.levels:
            return
        saved = _begin(
            work, saved.level + 1, saved.state, initial, saved.mask, part, saved.levels, saved.epochs
        )


def _begin(
    work: Run,
    level: int,
    now: State,
    initial: State,
    previous: Mask,
    part: Mapping[str, str],
    levels: list[dict[str, Any]],
    epochs: list[dict[str, Any]],
) -> Checkpoint:
    """Choose the level's mask, compose the state that it starts from, and put that into the network."""
    config = work.config
    mask = choose(work, level, previous)
    if level == 0:
        state = masked(initial, mask)
    else:
        states = {"keep": now, "initial": initial}
        if config.policy.rewinds():
            states["rewind"] = checkpoint.load_state(work.file("states", "rewind"), config.run_id)
        if config.donor is not None:
            states["donor"] = checkpoint.load_state(_file(work.other(config.donor), "weights", level - 1))
        state = compose(config.policy, part, states, mask, stream(config.seed, "level", level))
    where = _perturbed(work, level, mask)
    if where is not None:
        flipped = signs.flip({name: state.tensors[name] for name in where}, where)
        state = State({**state.tensors, **flipped}, state.momentum)
    masks.save(mask.alive, work.file("masks", level))
    restore(work.net, work.sgd, state)
    first = work.rewind if level > 0 and config.policy.schedule == "rewind" else 0
    if level == 0 and config.policy.rewinds() and work.rewind == 0:
        checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
    return Checkpoint(level, first, state, mask, levels, epochs)


def choose(work: Run, level: int, previous: Mask) -> Mask:
    """The mask of `level`, within `previous`, from the network as it is now."""
    pruning, seed = work.config.pruning, work.config.seed
    if pruning.run is not None:
        mask = _borrowed(work, level)
        if not mask.within(previous):
            raise ValueError(f"the masks of {pruning.run} must be nested, but level {level} revives weights")
        return mask
    keep = pruning.kept(level, previous.total)
    if keep == previous.kept:
        return previous
    if pruning.source == "random":
        counts = masks.budget(pruning.budget, keep, previous)
        return masks.top_by_layer(score("random", work.net, seed), previous, counts)
    scores = score(pruning.score, work.net, seed)
    if pruning.scope == "layer":
        counts = masks.budget(pruning.budget, keep, previous)
        mask = masks.top_by_layer(scores, previous, counts)
    else:
        mask = masks.top(scores, previous, keep)
    if pruning.source == "shuffled":
        mask = masks.top_by_layer(score("random", work.net, seed), previous, mask.counts())
    return mask


def _borrowed(work: Run, level: int) -> Mask:
    pruning = work.config.pruning
    assert pruning.run is not None
    level = level if pruning.run_level is None else pruning.run_level
    mask = Mask(masks.load(_file(work.other(pruning.run), "masks", level)))
    return masks.shuffle(mask, work.config.seed) if pruning.source == "shuffled" else mask


def _perturbed(work: Run, level: int, mask: Mask) -> dict[str, torch.Tensor] | None:
    """Which signs to flip at the start of `level`: at the perturbed level, and wherever it is rewound past.

    A rewind point of level 0 was reached from the perturbed signs if level 0 was perturbed.
    """
    config = work.config.perturbation
    sign = work.config.policy.sign
    restored = sign == "initial" or (sign == "rewind" and config.level > 0)
    if not config.fraction or level < config.level or (level > config.level and not restored):
        return None
    at = mask if level == config.level else Mask(masks.load(work.file("masks", config.level)))
    where = signs.perturbation(at, config, work.config.seed)
    return {name: flips & mask.alive[name] for name, flips in where.items()}


def _train(work: Run, start: Checkpoint, clock: _Clock) -> Iterator[Progress]:
    config, level = work.config, start.level
    rewinding = level == 0 and config.policy.rewinds()
    stops = (work.rewind,) if rewinding else ()
    for report in train.steps(
        work.net, work.forward, work.sgd, start.mask, work.dataset, config, level, start.step, stops
    ):
        state = capture(work.net, work.sgd)
        if report.step in stops:
            checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
        if report.step % work.per_epoch:
            continue
        epoch = report.step // work.per_epoch - 1
        start.epochs.append(_epoch_row(work, level, epoch, report))
        if config.train.signs == "epoch":
            masks.save(signs.of(models.prunable(work.net)), work.file("signs", f"{level:02d}-{epoch:04d}"))
        saved = Checkpoint(level, report.step, state, start.mask, start.levels, start.epochs)
        checkpoint.save(saved, work.folder / "checkpoints", config.run_id)
        clock.tick(level, report.step)
        yield Progress(level, report.step, work.total, report)


def _epoch_row(work: Run, level: int, epoch: int, report: train.Report) -> dict[str, Any]:
    row = {
        "level": level,
        "epoch": epoch,
        "lr": report.lr,
        "train_loss": report.loss,
        "train_accuracy": report.accuracy,
    }
    if work.config.train.evaluate == "epoch":
        for part in ("validation", "test"):
            loss, accuracy = train.evaluate(work.net, getattr(work.dataset, part), work.dataset)
            row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    return row


def _finish(work: Run, done: Checkpoint) -> Checkpoint:
    """Evaluate and record a trained level; from the same state always the same files."""
    level, mask = done.level, done.mask
    state = capture(work.net, work.sgd)
    now = signs.of(models.prunable(work.net))
    before = masks.load(work.file("signs", level - 1 if level else "initial"))
    row = {
        "level": level,
        "density": mask.density,
        "kept": mask.kept,
        "total": mask.total,
        "flips": sum(int(where.count_nonzero()) for where in signs.flips(before, now, mask).values()),
    }
    row |= {key: done.epochs[-1][key] for key in ("train_loss", "train_accuracy")}
    for part in ("validation", "test"):
        loss, accuracy = train.evaluate(work.net, getattr(work.dataset, part), work.dataset)
        row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    if work.config.train.evaluate == "epoch":
        seen = [epoch["test_accuracy"] for epoch in done.epochs if epoch["level"] == level]
        row["test_accuracy_maximum_over_epochs"] = max(seen)
    checkpoint.save_state(State(state.tensors, {}), work.file("weights", level), work.config.run_id)
    masks.save(now, work.file("signs", level))
    levels = [*done.levels[:level], {**row, "layers": mask.counts()}]
    _write_tables(work.folder, levels, done.epochs, mask.sizes())
    work.say(f"level {level}: density {mask.density:.4f}, test accuracy {row['test_accuracy']:.4f}")
    return Checkpoint(level, work.total, state, mask, levels, done.epochs)


class _Clock:
    """Measures the speed since this process began to train and leaves the time to go in progress.json."""

    def __init__(self, work: Run) -> None:
        self.work, self.began, self.steps = work, time.monotonic(), 0

    def tick(self, level: int, step: int) -> None:
        work = self.work
        self.steps += work.per_epoch
        rate = self.steps / (time.monotonic() - self.began)
        levels = work.config.pruning.levels
        skipped = work.rewind if work.config.policy.schedule == "rewind" else 0
        left = work.total - step + (levels - level) * (work.total - skipped)
        state = {
            "level": level,
            "epoch": step // work.per_epoch,
            "images_per_second": rate * work.config.train.batch_size,
            "seconds_left": left / rate,
        }
        _write_text(work.folder / "progress.json", json.dumps(state))


def is_complete(folder: Path, config: Config) -> bool:
    """Whether every level's row stands in levels.csv."""
    return len(rows(folder / "levels.csv")) == config.pruning.levels + 1


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table of a run; none where it does not exist."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the kernel lets go of it however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"the run folder '{folder}' must belong to one process, but another one is at work there; wait for "
                "it, or choose another --out"
            ) from None
        yield


def logger(folder: Path, echo: Callable[[str], None]) -> Callable[[str], None]:
    """A function that adds a line to the run's log.txt and passes it to `echo`."""

    def say(line: str) -> None:
        if folder.is_dir():
            with (folder / "log.txt").open("a") as file:
                file.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        echo(line)

    return say


def _check_folder(config: Config, folder: Path) -> None:
    path = folder / "config.toml"
    if path.is_file():
        there = read(path.read_text())
        if there != config:
            raise ValueError(
                f"the folder '{folder}' must hold {config.run_id}, but it holds {there.run_id}; choose another --out"
            )
    elif folder.is_dir() and any(entry.name not in ("lock", "log.txt") for entry in folder.iterdir()):
        raise ValueError(f"the run folder '{folder}' must be new or a run's, but other files lie there; choose another")


def _file(folder: Path, kind: str, level: int | str) -> Path:
    name = level if isinstance(level, str) else f"{level:02d}"
    return folder / kind / f"{name}.safetensors"


def _clean(folder: Path) -> None:
    """Remove the temporary files of writes that a kill interrupted."""
    for path in folder.rglob(".*-*.*"):
        path.unlink()


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text)


def _write_tables(
    folder: Path, levels: list[dict[str, Any]], epochs: list[dict[str, Any]], sizes: Mapping[str, int]
) -> None:
    layers = [
        {"level": row["level"], "layer": name, "kept": kept, "total": sizes[name], "density": kept / sizes[name]}
        for row in levels
        for name, kept in row["layers"].items()
    ]
    plain = [{key: value for key, value in row.items() if key != "layers"} for row in levels]
    # levels.csv last: its last row says that the run is complete.
    for name, table in (("layers", layers), ("epochs", epochs), ("levels", plain)):
        with atomic(folder / f"{name}.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
