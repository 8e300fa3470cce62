"""Train runs on this machine, on a Dask cluster or under SLURM, each after the runs that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepexp.config.build import read, to_toml
from deepexp.config.settings import Config
from deepexp.recipes.plan import PlannedRun
from deepexp.schedule.gpus import device
from deepexp.schedule.units import unfinished
from deepexp.storage import folder as layout


@dataclass(frozen=True)
class Job:
    """A callable that trains a run or a stack on any machine that has access to the same files.

    Attributes
    ----------
    configs : tuple of str
        The configuration of each run, as TOML.
    folders : tuple of str
        The absolute path of each run's folder.
    """

    configs: tuple[str, ...]
    folders: tuple[str, ...]

    def __call__(self) -> list[str]:
        """Train the run or the stack, and return the run_ids."""
        configs, folders = [read(text) for text in self.configs], [Path(name) for name in self.folders]
        with device(configs[0]):
            for _ in trained(configs, folders, lambda _: None):
                pass
        return [config.run_id for config in configs]

    def checkpoint(self) -> Any:
        """Let submitit requeue this job if SLURM stops it early; the requeued job resumes the run."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def trained(
    configs: Sequence[Config], folders: Sequence[Path], say: Callable[[str], None]
) -> Iterator[tuple[int, Any]]:
    """Train one run, or all runs of a stack, in their folders.

    Parameters
    ----------
    configs : sequence of Config
        The configuration of the run, or of every run of the stack.
    folders : sequence of Path
        The folder of each run.
    say : callable
        Called with each line that the user should see.

    Yields
    ------
    number : int
        The position in `configs` of the run that has progressed.
    event : LevelProgress
        The progress of that run.
    """
    from deepexp.runs import run as levels
    from deepexp.runs import stacked_run

    if len(configs) > 1:
        yield from stacked_run.run_stack(configs, folders, say)
        return
    for event in levels.run(configs[0], folders[0], layout.logger(folders[0], say)):
        yield 0, event


def job(unit: Sequence[PlannedRun], folder: Path) -> Job:
    """Pack a run or a stack into a job.

    Parameters
    ----------
    unit : sequence of PlannedRun
        The run, or all runs of the stack.
    folder : Path
        The folder of the runs.

    Returns
    -------
    Job
    """
    names = tuple(str((folder / run.config.run_id).absolute()) for run in unit)
    return Job(tuple(to_toml(run.config) for run in unit), names)


def execute(
    todo: Sequence[Sequence[PlannedRun]],
    start: Callable[[Sequence[PlannedRun]], Future[Any]],
    done: Callable[[PlannedRun], None],
    folder: Path,
    most: int | None = None,
) -> dict[str, BaseException]:
    """Train units, and start each unit once the runs that it needs are complete.

    Parameters
    ----------
    todo : sequence of sequences of PlannedRun
        The units; the runs of a unit train together.
    start : callable
        Called with a unit to start its training. It returns a future that is done when the training ends,
        successfully or not.
    done : callable
        Called with each run as soon as it is known to be complete, even if another run of its unit failed.
    folder : Path
        The folder of the runs.
    most : int, optional
        The largest number of units that train at the same time. By default, there is no limit.

    Returns
    -------
    dict of exceptions
        The error of each failed run, by run_id.
    """
    waiting, going = list(todo), dict[Future[Any], Sequence[PlannedRun]]()
    failed: dict[str, BaseException] = {}
    while waiting or going:
        busy = {run.config.run_id for unit in (*waiting, *going.values()) for run in unit}
        for unit in list(waiting):
            needs = [need for run in unit for need in run.needs]
            if lost := [need for need in needs if need in failed]:
                why = RuntimeError(f"it needs {lost[0]}, which failed")
                failed |= {run.config.run_id: why for run in unit}
            elif busy.intersection(needs) or len(going) == most:
                continue
            else:
                going[start(unit)] = unit
            waiting.remove(unit)
        for future in wait(going, return_when=FIRST_COMPLETED).done:
            unit, error = going.pop(future), future.exception()
            left = unfinished(unit, folder) if error else []
            for run in unit:
                if error and run in left:
                    failed[run.config.run_id] = error
                else:
                    done(run)
    return failed
