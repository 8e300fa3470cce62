"""A run: one level after another, each with its mask, its initial state and its training.

A run can be stopped at any point and resumed later. A resumed run gives the same results as an uninterrupted
one, bit for bit. `deepexp.storage.folder` lists the files of a run.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepexp import distributed, models
from deepexp.config.build import to_toml
from deepexp.config.settings import Config
from deepexp.pruning import signs
from deepexp.runs import checkpoint
from deepexp.runs.extend import copy_levels, shorter_run
from deepexp.runs.level import Clock, LevelProgress, begin_level, finish_level, level_steps, train_level
from deepexp.runs.level_start import capture, restore
from deepexp.runs.resume import resume_from
from deepexp.runs.setup import prepare
from deepexp.runs.stack import check_stack
from deepexp.runs.workspace import Run
from deepexp.storage import bit_files, completeness, records
from deepexp.storage import folder as layout
from signflow.messages import Failure
from signflow.provenance import provenance


class NoRoom(Failure):
    """The disk is full, or a quota has been reached."""


def run(config: Config, folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[LevelProgress]:
    """Run a configuration in a folder, or resume its run there.

    If several processes train the run (see `distributed.joined`), rank 0 leads it. In every other process,
    this function only takes part in the training, and yields nothing.

    Parameters
    ----------
    config : Config
        The configuration to run.
    folder : Path
        The run's folder.
    say : Callable[[str], None]
        Called with each line that the user should see.

    Yields
    ------
    LevelProgress
        The progress of the run, after every epoch and every level.

    Raises
    ------
    ValueError
        The run is impossible. If that can be known before training, nothing has been trained or written.
    Diverged
        The training of a level diverged; the levels before it are kept.
    """
    with distributed.joined(config.machine) as group:
        if group.rank:
            _follow(prepare(config, folder, group=group))
        else:
            yield from _lead(config, folder, say, group)
            group.tell(None)


def _follow(work: Run) -> None:
    """Take part in the training of each level that rank 0 announces."""
    while (order := work.group.listen()) is not None:
        level, step, state, mask = order
        restore(work.net, work.sgd, state)
        for _ in level_steps(work, level, step, mask):
            pass


def _lead(
    config: Config, folder: Path, say: Callable[[str], None], group: distributed.ProcessGroup
) -> Iterator[LevelProgress]:
    if config.machine.stack:
        check_stack([config])
    layout.check(config, folder)
    with logged(folder):
        work = prepare(config, folder, say, group=group)
    for event in own_levels(work):
        assert event is not None  # None occurs only in a stack
        yield event


def own_levels(work: Run) -> Generator[LevelProgress | None, None, None]:
    """Lock a run's folder and run its remaining levels; yield progress, or None to wait for the stack."""
    config, folder, say = work.config, work.folder, work.say
    with layout.lock(folder, say), logged(folder), _room(folder):
        layout.check(config, folder)
        say(f"{config.run_id} in {folder}")
        useless = []
        if completeness.is_recorded(folder, config):
            records.about(folder)
            useless = completeness.damaged(folder, config)
            lost = completeness.lost(folder, config)
            if not useless and not lost:
                say(f"{config.run_id} is complete")
                return
            for path in useless:
                say(f"'{path}' is damaged: recreating it")
            for path in lost:
                say(f"'{path}' is missing: recreating it")
        about = {
            "run_id": config.run_id,
            "data_variant": work.dataset.variant,
            "data_digest": work.dataset.digest,
            "classes": work.dataset.classes,
            "image_shape": work.dataset.shape,
            "normalised_by": {
                "pixels_of": work.dataset.normalised_by,
                "mean": work.dataset.mean.tolist(),
                "deviation": work.dataset.deviation.tolist(),
            },
            **provenance({}, config.seed),
        }
        _check_same_origin(folder, about, say)
        layout.clean(folder)
        for path in useless:
            path.unlink()
        shorter = shorter_run(work, about)
        layout.write_text(folder / "config.toml", to_toml(config))
        records.write_about(folder, about if shorter is None else {**about, "extends": shorter})
        if shorter is not None:
            say(f"extending {shorter['run_id']}, whose levels 0 to {shorter['levels']} are copied")
            copy_levels(work, shorter["run_id"])
        yield from _levels(work)


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Log the error or interrupt that stops a run, if the run's folder exists."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        say = layout.logger(folder, lambda _: None)
        say("interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}")
        raise


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Raise NoRoom if the disk is full, with a message that says how to resume."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(
            f"the disk must have room for the files of '{folder}', but it has none ({error.strerror}); free "
            "some space, and run the same command again to resume from the last checkpoint"
        ) from None


def _check_same_origin(folder: Path, about: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Raise ValueError if the run began with different data; warn if it began with another torch version."""
    if not (folder / "about.json").exists():
        return
    there = records.about(folder)
    for key in ("data_variant", "data_digest"):
        if there.get(key, about[key]) != about[key]:
            raise ValueError(
                f"the run in '{folder}' must resume with the data that it began with ({key} {there[key]}), "
                f"but {key} is now {about[key]}; restore the data, or choose another --out"
            )
    before, now = there["versions"].get("torch"), json.loads(about["versions"])["torch"]
    if before != now:
        say(f"this run began with torch {before} and resumes with {now}: its results may round differently")


def _levels(work: Run) -> Iterator[LevelProgress | None]:
    config = work.config
    initial = capture(work.net, work.sgd)
    checkpoint.save_state(initial, work.file("states", "initial"), config.run_id)
    bit_files.save(signs.of(models.prunable(work.net)), work.file("signs", "initial"))
    clock = Clock(work)
    saved = resume_from(work, initial)
    while True:
        yield from train_level(work, saved, clock)
        saved = finish_level(work, saved)
        total = work.total(saved.level)
        yield LevelProgress(saved.level, total, total, row=saved.levels[-1])
        if saved.level == config.pruning.levels:
            return
        saved = begin_level(
            work, saved.level + 1, saved.state, initial, saved.mask, saved.levels, saved.epochs
        )
