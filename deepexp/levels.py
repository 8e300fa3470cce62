"""A run: level after level of (mask, level policy, training), resumable to the bit wherever it was stopped.

What is written again after a stop is the same to the bit; `deepexp.folder` says what lies where.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepexp import checkpoint, data, masks, models, processes, scores, signs, train
from deepexp import folder as layout
from deepexp.checkpoint import Checkpoint
from deepexp.config import Config, stream, to_toml
from deepexp.masks import Mask
from deepexp.policy import State, capture, compose, masked, parts, restore
from deepexp.prepare import Run, borrowed, prepare
from deepexp.scores import score
from deepexp.stack import Stack
from figures.messages import Failure
from figures.results import provenance


@dataclass(frozen=True)
class Progress:
    """After `step` of `total` steps of `level`; `row` of levels.csv when the level is complete."""

    level: int
    step: int
    total: int
    report: train.Report | None = None
    row: Mapping[str, Any] | None = None


class NoRoom(Failure):
    """The disk is full, or a quota is reached."""


def run(config: Config, folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Progress]:
    """Run `config` in `folder` or go on with it there; yields after every epoch and every level.

    Everything that can be known to be impossible raises ValueError before anything is trained or written. A
    level that is no longer finite raises train.Diverged; the levels before it stay. Of several processes
    (`processes.joined`) rank 0 runs all this, and in the others nothing is yielded.
    """
    with processes.joined(config.machine) as group:
        if group.rank:
            _follow(prepare(config, folder, group=group))
        else:
            yield from _lead(config, folder, say, group)
            group.tell(None)


def run_stack(
    configs: Sequence[Config], folders: Sequence[Path], say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[int, Progress]]:
    """`run` for the configurations of a stack, in any order; yields each one's number beside its progress.

    What there is to say goes into the log of its run, too, and to `say` with its seed. A run that diverges
    leaves the others going; the first that did is raised in the end.
    """
    check_stack(configs)
    for config, folder in zip(configs, folders, strict=True):
        layout.check(config, folder)
    works: list[Run] = []
    for config, folder in zip(configs, folders, strict=True):
        same = works[0].dataset if works and not config.data.depends_on_seed else None
        with _logged(folder):
            works.append(prepare(config, folder, layout.logger(folder, _by_seed(say, config.seed)), same))
    with contextlib.ExitStack() as leads:
        going = {
            number: leads.enter_context(contextlib.closing(_own(work))) for number, work in enumerate(works)
        }
        yield from _together(going, works, Stack(works), say)


def _together(
    going: dict[int, Generator[Progress | None, None, None]],
    works: Sequence[Run],
    stack: Stack,
    say: Callable[[str], None],
) -> Iterator[tuple[int, Progress]]:
    """Let the runs go on in turns, and the stack whenever all of them wait for it."""
    diverged = None
    while going:
        for number, lead in list(going.items()):
            try:
                while (event := next(lead)) is not None:
                    yield number, event
            except StopIteration:
                del going[number]
            except train.Diverged as error:
                error.args = (f"{works[number].config.run_id}: {error}",)
                say(str(error))
                diverged = diverged or error
                del going[number]
        if going:
            with contextlib.ExitStack() as logs:
                for number in going:
                    logs.enter_context(_logged(works[number].folder))
                stack.advance()
    if diverged is not None:
        raise diverged


def _by_seed(say: Callable[[str], None], seed: int) -> Callable[[str], None]:
    return lambda line: say(f"seed {seed}: {line}")


def check_stack(configs: Sequence[Config]) -> None:
    """Raise ValueError unless the seeds of the configurations are all that their stack has."""
    stack = configs[0].machine.stack
    seeds = [config.seed for config in configs]
    if sorted(seeds) != sorted(stack):
        raise ValueError(
            f"the runs of the seeds {' '.join(map(str, stack))} train together, got "
            f"{' '.join(map(str, seeds))} alone; give all of them to `deepexp train --seed`"
        )


def _follow(work: Run) -> None:
    """Take part in the trainings that rank 0 tells of."""
    while (order := work.group.listen()) is not None:
        level, step, state, mask = order
        restore(work.net, work.sgd, state)
        for _ in _steps(work, level, step, mask):
            pass


def _lead(
    config: Config, folder: Path, say: Callable[[str], None], group: processes.Group
) -> Iterator[Progress]:
    if config.machine.stack:
        check_stack([config])
    layout.check(config, folder)
    with _logged(folder):
        work = prepare(config, folder, say, group=group)
    for event in _own(work):
        assert event is not None  # alone it waits for nobody
        yield event


def _own(work: Run) -> Generator[Progress | None, None, None]:
    """Go on with a run in its folder, which is locked while it lasts."""
    config, folder, say = work.config, work.folder, work.say
    with layout.lock(folder, say), _logged(folder), _room(folder):
        layout.check(config, folder)
        say(f"{config.run_id} in {folder}")
        if layout.is_complete(folder, config):
            say(f"{config.run_id} is complete")
            return
        if layout.is_recorded(folder, config):
            for path in layout.lost(folder, config):
                say(f"'{path}' is lost: it is made again")
        about = {
            "run_id": config.run_id,
            "data_variant": work.dataset.variant,
            "data_digest": work.dataset.digest,
            "normalised_by": {
                "pixels_of": work.dataset.normalised_by,
                "mean": work.dataset.mean.tolist(),
                "deviation": work.dataset.deviation.tolist(),
            },
            **provenance({}, config.seed),
        }
        _check_same_origin(folder, about, say)
        layout.clean(folder)
        layout.write_text(folder / "config.toml", to_toml(config))
        layout.write_text(folder / "about.json", json.dumps(about, indent=1))
        yield from _levels(work)


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Leave in the run's log, if it has a folder yet, what ended it."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        say = layout.logger(folder, lambda _: None)
        say("interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}")
        raise


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say what a full disk has left of the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(
            f"there must be room for the files of '{folder}', but there is none ({error.strerror}); every "
            "complete epoch is kept: make room, and run the same command again to go on"
        ) from None


def _check_same_origin(folder: Path, about: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Refuse to go on with a run on other data; say so where another torch goes on with it."""
    if not (folder / "about.json").exists():
        return
    there = layout.about(folder)
    for key in ("data_variant", "data_digest"):
        if there.get(key, about[key]) != about[key]:
            raise ValueError(
                f"the run in '{folder}' must go on with the data that it began with, {key} {there[key]}, but "
                f"the data here have {about[key]}; restore them, or choose another --out"
            )
    before, now = there["versions"].get("torch"), json.loads(about["versions"])["torch"]
    if before != now:
        say(f"this run began with torch {before} and goes on with {now}: its bits may differ from here on")


def _levels(work: Run) -> Iterator[Progress | None]:
    config = work.config
    initial = capture(work.net, work.sgd)
    checkpoint.save_state(initial, work.file("states", "initial"), config.run_id)
    masks.save(signs.of(models.prunable(work.net)), work.file("signs", "initial"))
    clock = _Clock(work)
    saved = _resume(work, initial)
    while True:
        yield from _train(work, saved, clock)
        saved = _finish(work, saved)
        total = work.total(saved.level)
        yield Progress(saved.level, total, total, row=saved.levels[-1])
        if saved.level == config.pruning.levels:
            return
        saved = _begin(work, saved.level + 1, saved.state, initial, saved.mask, saved.levels, saved.epochs)


def _resume(work: Run, initial: State) -> Checkpoint:
    """Where to go on: at the latest checkpoint, or where files before it are lost, at a level's start."""
    config, previous, state = work.config, masks.dense(work.net), initial
    saved = checkpoint.load(work.folder / "checkpoints", config.run_id, work.say)
    if saved is None:
        return _begin(work, 0, initial, initial, previous, [], [])
    lost = _lost(work, saved)
    if lost is None:
        work.say(f"going on from level {saved.level}, step {saved.step:,} of {work.total(saved.level):,}")
        masks.save(saved.mask.alive, work.file("masks", saved.level))
        restore(work.net, work.sgd, saved.state)
        return saved
    if lost > 0:
        try:
            if config.policy.momentum == "keep":
                raise ValueError("it starts with a momentum that no file has")
            trained = checkpoint.load_state(work.file("weights", lost - 1), config.run_id)
            previous, state = _mask(work, lost - 1), State(trained.tensors, initial.momentum)
        except ValueError as error:
            work.say(f"level {lost} cannot be trained again from level {lost - 1}: {error}")
            lost = 0
    work.say(f"going back to the start of level {lost}")
    restore(work.net, work.sgd, state)
    epochs = [row for row in saved.epochs if row["level"] < lost]
    return _begin(work, lost, state, initial, previous, saved.levels[:lost], epochs)


def _lost(work: Run, saved: Checkpoint) -> int | None:
    """The first level with a file that the run needs, that is damaged, and that cannot be made again.

    The signs at the end of a level are made again from its weights.
    """
    config, level = work.config, 0
    try:
        if config.policy.rewinds() and (saved.level > 0 or saved.step >= work.rewind):
            checkpoint.load_state(work.file("states", "rewind"), config.run_id)
        for level in range(saved.level):
            _mask(work, level)
            try:
                masks.load(work.file("signs", level))
            except ValueError as error:
                weights = checkpoint.load_state(work.file("weights", level), config.run_id).tensors
                again = signs.of({name: weights[name] for name, _ in saved.mask})
                masks.save(again, work.file("signs", level))
                work.say(f"{error}: made again from the weights of level {level}")
    except ValueError as error:
        work.say(str(error))
        return level
    return None


def _mask(work: Run, level: int) -> Mask:
    return Mask(masks.load(work.file("masks", level)))


def _begin(
    work: Run,
    level: int,
    now: State,
    initial: State,
    previous: Mask,
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
            states["donor"] = checkpoint.load_state(
                layout.file(work.other(config.donor), "weights", level - 1)
            )
        state = compose(config.policy, parts(work.net), states, mask, stream(config.seed, "level", level))
    where = _perturbed(work, level, mask)
    if where is not None:
        flipped = signs.flip({name: state.tensors[name] for name in where}, where)
        state = State({**state.tensors, **flipped}, state.momentum)
    masks.save(mask.alive, work.file("masks", level))
    restore(work.net, work.sgd, state)
    if level == 0 and config.policy.rewinds() and work.rewind == 0:
        checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
    return Checkpoint(level, work.first(level), state, mask, levels, epochs)


def choose(work: Run, level: int, previous: Mask) -> Mask:
    """The mask of `level`, within `previous`, from the network as it is now."""
    pruning, seed = work.config.pruning, work.config.seed
    if pruning.run is not None:
        mask = borrowed(work, level)
        if not mask.within(previous):
            raise ValueError(f"the masks of {pruning.run} must be nested, but level {level} revives weights")
        return mask
    keep = pruning.kept(level, previous.total)
    if keep == previous.kept:
        return previous
    if pruning.source == "random":
        counts = masks.budget(pruning.budget, keep, previous)
        return masks.top_by_layer(score("random", work.net, seed), previous, counts)
    mask = previous
    for count in scores.densities(pruning.score, previous.kept, keep, pruning.synflow_steps):
        found = _scores(work, level, mask)
        if pruning.scope == "layer":
            mask = masks.top_by_layer(found, mask, masks.budget(pruning.budget, count, mask))
        else:
            mask = masks.top(found, mask, count)
    if pruning.source == "shuffled":
        mask = masks.top_by_layer(score("random", work.net, seed), previous, mask.counts())
    return mask


def _scores(work: Run, level: int, alive: Mask) -> dict[str, torch.Tensor]:
    """The scores of the network as it is; SNIP's batches are those with which `level` would begin."""
    config, dataset = work.config, work.dataset
    if config.pruning.score == "snip":
        first = data.batches(dataset, config.data, config.train, config.seed, level, 0)
        some = itertools.islice(first, config.pruning.snip_batches)
        return scores.snip(work.net, ((train.laid_out(x, config.machine), y) for x, y in some))
    if config.pruning.score == "synflow":
        return scores.synflow(work.net, alive, dataset.shape)
    return score(config.pruning.score, work.net, config.seed)


def _perturbed(work: Run, level: int, mask: Mask) -> dict[str, torch.Tensor] | None:
    """Which signs to flip at the start of `level`: at the perturbed level, and wherever it is rewound past.

    A rewind point of level 0 was reached from the perturbed signs if level 0 was perturbed.
    """
    config = work.config.perturbation
    sign = work.config.policy.sign
    restored = sign == "initial" or (sign == "rewind" and config.level > 0)
    if not config.fraction or level < config.level or (level > config.level and not restored):
        return None
    at = mask if level == config.level else _mask(work, config.level)
    where = signs.perturbation(at, config, work.config.seed)
    return {name: flips & mask.alive[name] for name, flips in where.items()}


def _train(work: Run, start: Checkpoint, clock: _Clock) -> Iterator[Progress | None]:
    """Train a level; None while the rest of a stack is waited for.

    Its end is kept, and before that an epoch once in `checkpoint.PAUSE` seconds. The last complete epoch is
    kept, too, where an error or an interrupt ends the training: only a kill costs epochs.
    """
    config, level = work.config, start.level
    unsaved: Checkpoint | None = None
    work.group.tell((level, start.step, start.state, start.mask))
    try:
        for report in _steps(work, level, start.step, start.mask):
            if report is None:
                yield None
                continue
            epoch = (report.step - 1) // work.per_epoch
            name = train.not_finite(work.net, work.sgd)
            if name is not None:
                raise train.Diverged(f"'{name}'", level, epoch, report.lr)
            state = capture(work.net, work.sgd)
            if report.step in _stops(work, level):
                checkpoint.save_state(state, work.file("states", "rewind"), config.run_id)
            if report.step % work.per_epoch:
                continue
            start.epochs.append(_epoch_row(work, level, epoch, report))
            if config.train.signs == "epoch":
                now = signs.of(models.prunable(work.net))
                masks.save(now, work.file("signs", f"{level:02d}-{epoch:04d}"))
            epochs = list(start.epochs)  # of this epoch, though the list grows
            unsaved = Checkpoint(level, report.step, state, start.mask, start.levels, epochs)
            if report.step == work.total(level) or time.monotonic() - clock.saved >= checkpoint.PAUSE:
                _keep(work, unsaved)
                unsaved, clock.saved = None, time.monotonic()
            clock.tick(level, report.step)
            yield Progress(level, report.step, work.total(level), report)
    finally:
        if unsaved is not None:
            _keep(work, unsaved)


def _keep(work: Run, reached: Checkpoint) -> None:
    end = reached.step == work.total(reached.level)
    checkpoint.save(reached, work.folder / "checkpoints", work.config.run_id, end=end)


def _steps(work: Run, level: int, first: int, mask: Mask) -> Iterator[train.Report | None]:
    if work.stacked is not None:
        return work.stacked(level, first, mask, _stops(work, level))
    return train.steps(
        *(work.net, work.forward, work.sgd, mask, work.dataset, work.config),
        *(level, first, _stops(work, level), work.group),
    )


def _stops(work: Run, level: int) -> tuple[int, ...]:
    """The steps within an epoch whose state is kept: the rewind point."""
    return (work.rewind,) if level == 0 and work.config.policy.rewinds() else ()


def _epoch_row(work: Run, level: int, epoch: int, report: train.Report) -> dict[str, Any]:
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
    """Loss and accuracy on the validation and the test images; raises Diverged."""
    row: dict[str, float | None] = {}
    for part in ("validation", "test"):
        images = getattr(work.dataset, part)
        loss, accuracy = train.evaluate(work.net, images, work.dataset, work.config.machine)
        if loss is not None and not math.isfinite(loss):
            raise train.Diverged(f"the {part} loss", level, epoch, lr)
        row |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
    return row


def _finish(work: Run, done: Checkpoint) -> Checkpoint:
    """Evaluate and record a trained level; from the same state always the same files."""
    level, mask = done.level, done.mask
    state = capture(work.net, work.sgd)
    now = signs.of(models.prunable(work.net))
    before = masks.load(work.file("signs", level - 1 if level else "initial"))
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
    checkpoint.save_state(State(state.tensors, {}), work.file("weights", level), work.config.run_id)
    masks.save(now, work.file("signs", level))
    levels = [*done.levels[:level], {**row, "layers": mask.counts()}]
    layout.write_tables(work.folder, levels, done.epochs, mask.sizes())
    work.say(f"level {level}: density {mask.density:.4f}, test accuracy {row['test_accuracy']:.4f}")
    return Checkpoint(level, work.total(level), state, mask, levels, done.epochs)


class _Clock:
    """Measures the speed since this process began to train, and leaves the time to go in progress.json."""

    def __init__(self, work: Run) -> None:
        self.work, self.began, self.steps = work, time.monotonic(), 0
        self.saved = self.began  # when the last checkpoint was written

    def tick(self, level: int, step: int) -> None:
        """Write how far the run is, and the time left by the rate so far."""
        work = self.work
        self.steps += work.per_epoch
        rate = self.steps / (time.monotonic() - self.began)
        levels = work.config.pruning.levels
        left = work.total(level) - step + (levels - level) * (work.total(1) - work.first(1))
        state = {
            "level": level,
            "epoch": step // work.per_epoch,
            "images_per_second": rate * work.config.train.batch_size * max(1, len(work.config.machine.stack)),
            "seconds_left": left / rate,
        }
        layout.write_text(work.folder / "progress.json", json.dumps(state))
