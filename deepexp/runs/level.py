"""One level of a run: its mask, its initial state, its training and its records."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from deepexp import models
from deepexp.config.import_paths import is_own
from deepexp.config.seeds import stream
from deepexp.data.batches import training_batches
from deepexp.pruning import budgets, masks, scores, signs
from deepexp.pruning.masks import Mask
from deepexp.pruning.scores import score
from deepexp.runs import checkpoint
from deepexp.runs.checkpoint import Checkpoint
from deepexp.runs.level_start import TrainingState, capture, compose, masked, policy_parts, restore
from deepexp.runs.workspace import Run, borrowed
from deepexp.storage import bit_files, records
from deepexp.storage import folder as layout
from deepexp.training import evaluate, failures, forward, steps


@dataclass(frozen=True)
class LevelProgress:
    """The progress of a run.

    Attributes
    ----------
    level : int
        The level that is being trained.
    step : int
        The position in the level's schedule, in optimizer steps.
    total : int
        The number of steps in the level's schedule.
    report : Report, optional
        The report of the epoch that has just ended.
    row : Mapping[str, Any], optional
        The level's row in levels.csv, once the level is complete.
    """

    level: int
    step: int
    total: int
    report: steps.Report | None = None
    row: Mapping[str, Any] | None = None


def level_mask(work: Run, level: int) -> Mask:
    """Read the mask of a level from the run's folder."""
    return Mask(bit_files.load(work.file("masks", level)))


def begin_level(
    work: Run,
    level: int,
    now: TrainingState,
    initial: TrainingState,
    previous: Mask,
    levels: list[dict[str, Any]],
    epochs: list[dict[str, Any]],
) -> Checkpoint:
    """Choose a level's mask, compose the level's initial state, and load this state into the network."""
    config = work.config
    mask = choose(work, level, previous)
    if level == 0:
        state = masked(initial, mask)
    else:
        states = {"keep": now, "initial": initial}
        if config.policy.rewinds():
            states["rewind"] = checkpoint.load_state(work.file("states", "rewind"), config.run_id)
        if config.donor is not None:
            states["donor"] = checkpoint.load_state(
                layout.file(work.other(config.donor), "weights", level - 1)
            )
        state = compose(
            config.policy, policy_parts(work.net), states, mask, stream(config.seed, "level", level)
        )
    where = _perturbed(work, level, mask)
    if where is not None:
        flipped = signs.flip({name: state.tensors[name] for name in where}, where)
        state = TrainingState({**state.tensors, **flipped}, state.momentum)
    bit_files.save(mask.alive, work.file("masks", level))
    restore(work.net, work.sgd, state)
    if level == 0 and config.policy.rewinds() and work.rewind == 0:
        checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
    return Checkpoint(level, work.first(level), state, mask, levels, epochs)


def choose(work: Run, level: int, previous: Mask) -> Mask:
    """Choose a level's mask within `previous`, from the pruning settings and the network's current state."""
    pruning, seed = work.config.pruning, work.config.seed
    if pruning.run is not None:
        mask = borrowed(work, level)
        if not mask.within(previous):
            raise ValueError(
                f"the masks of {pruning.run} must be nested, but the mask of level {level} revives weights; "
                "use the masks of another run"
            )
        return mask
    keep = pruning.kept(level, previous.total)
    if keep == previous.kept:
        return previous
    if pruning.source == "random":
        counts = budgets.budget(pruning.budget, keep, previous)
        return masks.top_by_layer(score("random", work.net, seed), previous, counts)
    mask = previous
    for count in scores.densities(pruning.score, previous.kept, keep, pruning.synflow_steps):
        found = _scores(work, level, mask)
        if pruning.scope == "layer":
            mask = masks.top_by_layer(found, mask, budgets.budget(pruning.budget, count, mask))
        else:
            mask = masks.top(found, mask, count)
    if pruning.source == "shuffled":
        mask = masks.top_by_layer(score("random", work.net, seed), previous, mask.counts())
    return mask


def _scores(work: Run, level: int, alive: Mask) -> dict[str, torch.Tensor]:
    """Score the network in its current state; scores that need images use the first batches of `level`."""
    config, dataset = work.config, work.dataset
    first = training_batches(dataset, config.data, config.train, config.seed, level, 0)
    batches = ((forward.laid_out(x, config.machine), y) for x, y in first)  # made only if they are used
    if config.pruning.score == "snip":
        return scores.snip(work.net, itertools.islice(batches, config.pruning.snip_batches))
    if config.pruning.score == "synflow":
        return scores.synflow(work.net, alive, dataset.shape)
    if is_own(config.pruning.score):
        seed = stream(config.seed, "score", level)
        return scores.own(config.pruning.score, config.pruning.code, work.net, batches, seed)
    return score(config.pruning.score, work.net, config.seed)


def _perturbed(work: Run, level: int, mask: Mask) -> dict[str, torch.Tensor] | None:
    """Return where signs flip at the start of a level, or None if none flips.

    Signs flip at the start of the perturbed level. The same signs flip again at the start of every later
    level that restores signs from before the perturbation. If level 0 is perturbed, the rewind point comes
    after the perturbation, so signs restored from there are not flipped again.
    """
    config = work.config.perturbation
    sign = work.config.policy.sign
    restored = sign == "initial" or (sign == "rewind" and config.level > 0)
    if not config.fraction or level < config.level or (level > config.level and not restored):
        return None
    at = mask if level == config.level else level_mask(work, config.level)
    where = signs.perturbation(at, config, work.config.seed)
    return {name: flips & mask.alive[name] for name, flips in where.items()}


def train_level(work: Run, start: Checkpoint, clock: Clock) -> Iterator[LevelProgress | None]:
    """Train a level and yield its progress, or None while it waits for the rest of a stack.

    A checkpoint is written at the end of the level, and after an earlier epoch if the last checkpoint is at
    least `checkpoint.PAUSE` seconds old. If an error or an interrupt stops the training, the state after the
    last complete epoch is saved as well. Complete epochs are therefore lost only if the process is killed or
    cannot write a file.
    """
    config, level = work.config, start.level
    unsaved: Checkpoint | None = None
    work.group.tell((level, start.step, start.state, start.mask))
    try:
        for report in level_steps(work, level, start.step, start.mask):
            if report is None:
                yield None
                continue
            epoch = (report.step - 1) // work.per_epoch
            name = failures.not_finite(work.net, work.sgd)
            if name is not None:
                raise failures.Diverged(f"'{name}'", level, epoch, report.lr)
            state = capture(work.net, work.sgd)
            if report.step in _stops(work, level):
                checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
            if report.step % work.per_epoch:
                continue
            start.epochs.append(_epoch_row(work, level, epoch, report))
            if config.train.signs == "epoch" or (config.train.signs == "first" and level == 0):
                now = signs.of(models.prunable(work.net))
                bit_files.save(now, work.file("signs", f"{level:02d}-{epoch:04d}"))
            epochs = list(start.epochs)  # a copy, since the list may grow before it is written
            unsaved = Checkpoint(level, report.step, state, start.mask, start.levels, epochs)
            if report.step == work.total(level) or time.monotonic() - clock.saved >= checkpoint.PAUSE:
                _keep(work, unsaved)
                unsaved, clock.saved = None, time.monotonic()
            clock.tick(level, report.step)
            yield LevelProgress(level, report.step, work.total(level), report)
    finally:
        if unsaved is not None:
            _keep(work, unsaved)


def _keep(work: Run, reached: Checkpoint) -> None:
    end = reached.step == work.total(reached.level)
    checkpoint.save(reached, work.folder / "checkpoints", work.config.run_id, end=end)


def level_steps(work: Run, level: int, first: int, mask: Mask) -> Iterator[steps.Report | None]:
    """Train a level from step `first`; yield reports, or None while it waits for the rest of a stack."""
    if work.stacked is not None:
        return work.stacked(level, first, mask, _stops(work, level))
    return steps.steps(
        *(work.net, work.forward, work.sgd, mask, work.dataset, work.config),
        *(level, first, _stops(work, level), work.group),
    )


def _stops(work: Run, level: int) -> tuple[int, ...]:
    """Return the steps after which the state is saved even within an epoch: the rewind point, or none."""
    return (work.rewind,) if level == 0 and work.config.policy.rewinds() else ()


def _epoch_row(work: Run, level: int, epoch: int, report: steps.Report) -> dict[str, Any]:
    row: dict[str, Any] = {
        "level": level,
        "epoch": epoch,
        "lr": report.lr,
        "train_loss": report.loss,
        "train_accuracy": report.accuracy,
    }
    if work.config.train.evaluate == "epoch":
        row |= _evaluation(work, level, epoch, report.lr)
    return row


def _evaluation(work: Run, level: int, epoch: int, lr: float) -> dict[str, float | None]:
    """Return the loss and accuracy on validation and test images; raise Diverged if a loss is not finite."""
    row: dict[str, float | None] = {}
    for part in ("validation", "test"):
        images = getattr(work.dataset, part)
        loss, accuracy = evaluate.evaluate(work.net, images, work.dataset, work.config.machine)
        if loss is not None and not math.isfinite(loss):
            raise failures.Diverged(f"the {part} loss", level, epoch, lr)
        row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    return row


def finish_level(work: Run, done: Checkpoint) -> Checkpoint:
    """Evaluate a trained level, write its records, and return the checkpoint at its end.

    If this is repeated from the same state, it writes the same files.
    """
    level, mask = done.level, done.mask
    state = capture(work.net, work.sgd)
    now = signs.of(models.prunable(work.net))
    before = bit_files.load(work.file("signs", level - 1 if level else "initial"))
    row: dict[str, Any] = {
        "level": level,
        "density": mask.density,
        "kept": mask.kept,
        "total": mask.total,
        "flips": sum(int(where.count_nonzero()) for where in signs.flips(before, now, mask).values()),
    }
    row |= {key: done.epochs[-1][key] for key in ("train_loss", "train_accuracy")}
    row |= _evaluation(work, level, done.epochs[-1]["epoch"], done.epochs[-1]["lr"])
    if work.config.train.evaluate == "epoch":
        seen = [epoch["test_accuracy"] for epoch in done.epochs if epoch["level"] == level]
        row["test_accuracy_maximum_over_epochs"] = max(seen)
    checkpoint.save_state(TrainingState(state.tensors, {}), work.file("weights", level), work.config.run_id)
    bit_files.save(now, work.file("signs", level))
    levels = [*done.levels[:level], {**row, "layers": mask.counts()}]
    records.write_tables(work.folder, levels, done.epochs, mask.sizes())
    work.say(f"level {level}: density {mask.density:.4f}, test accuracy {row['test_accuracy']:.4f}")
    return Checkpoint(level, work.total(level), state, mask, levels, done.epochs)


class Clock:
    """Measures the training speed of this process, and writes the time left to progress.json."""

    def __init__(self, work: Run) -> None:
        """Start measuring."""
        self.work, self.began, self.steps = work, time.monotonic(), 0
        self.saved = self.began  # the time of the last checkpoint

    def tick(self, level: int, step: int) -> None:
        """Write the run's progress, its average speed so far, and the time left at this speed."""
        work = self.work
        self.steps += work.per_epoch
        rate = self.steps / (time.monotonic() - self.began)
        levels = work.config.pruning.levels
        later = range(level + 1, levels + 1)
        left = work.total(level) - step + sum(work.total(n) - work.first(n) for n in later)
        state = {
            "level": level,
            "epoch": step // work.per_epoch,
            "images_per_second": rate * work.config.train.batch_size * max(1, len(work.config.machine.stack)),
            "seconds_left": left / rate,
        }
        layout.write_text(work.folder / "progress.json", json.dumps(state))
