"""Find the point at which a stopped run resumes, and load the state there."""

from __future__ import annotations

from deepexp.pruning import masks, signs
from deepexp.runs import checkpoint
from deepexp.runs.checkpoint import Checkpoint
from deepexp.runs.level import begin_level, level_mask
from deepexp.runs.level_start import TrainingState, restore
from deepexp.runs.workspace import Run
from deepexp.storage import bit_files


def resume_from(work: Run, initial: TrainingState) -> Checkpoint:
    """Load the state to resume from: the latest checkpoint or, if files are lost, the start of a level."""
    config, previous, state = work.config, masks.dense_mask(work.net), initial
    saved = checkpoint.load(work.folder / "checkpoints", config.run_id, work.say)
    if saved is None:
        return begin_level(work, 0, initial, initial, previous, [], [])
    lost = _lost(work, saved)
    if lost is None:
        work.say(f"resuming from level {saved.level}, step {saved.step:,} of {work.total(saved.level):,}")
        bit_files.save(saved.mask.alive, work.file("masks", saved.level))
        restore(work.net, work.sgd, saved.state)
        return saved
    if lost > 0:
        try:
            if config.policy.momentum == "keep":
                raise ValueError(
                    "a level starts with the last momentum of the one before, which is not stored"
                )
            trained = checkpoint.load_state(work.file("weights", lost - 1), config.run_id)
            previous, state = level_mask(work, lost - 1), TrainingState(trained.tensors, initial.momentum)
        except ValueError as error:
            work.say(f"level {lost} cannot be trained again from level {lost - 1}: {error}")
            lost = 0
    work.say(f"going back to the start of level {lost}")
    restore(work.net, work.sgd, state)
    epochs = [row for row in saved.epochs if row["level"] < lost]
    return begin_level(work, lost, state, initial, previous, saved.levels[:lost], epochs)


def _lost(work: Run, saved: Checkpoint) -> int | None:
    """Return the first level with a needed file that can be neither read nor recreated, or None.

    If the signs at the end of a level are lost, they are recreated from the level's weights.
    """
    config, level = work.config, 0
    try:
        if config.policy.rewinds() and (saved.level > 0 or saved.step >= work.rewind):
            checkpoint.load_state(work.file("states", "rewind"), config.run_id)
        for level in range(saved.level):
            level_mask(work, level)
            try:
                bit_files.load(work.file("signs", level))
            except ValueError as error:
                weights = checkpoint.load_state(work.file("weights", level), config.run_id).tensors
                again = signs.of({name: weights[name] for name, _ in saved.mask})
                bit_files.save(again, work.file("signs", level))
                work.say(f"{error}: the signs were recreated from the weights of level {level}")
    except ValueError as error:
        work.say(str(error))
        return level
    return None
