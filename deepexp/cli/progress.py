"""Train with a progress bar, and write scalars for TensorBoard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signflow import waiting

if TYPE_CHECKING:
    from deepexp.config.settings import Config
    from deepexp.runs.level import LevelProgress


def train_together(configs: Sequence[Config], folders: Sequence[Path], quiet: bool, scalars: bool) -> None:
    """Train a single run or all runs of a stack, and show the progress."""
    from deepexp.schedule.execute import trained

    with _progress(configs, folders, quiet) as (tell, show):
        events = trained(configs, folders, tell)
        for number, event in _scalars(events, folders[0], configs[0]) if scalars else events:
            show(number, event)


@contextlib.contextmanager
def _progress(
    configs: Sequence[Config], folders: Sequence[Path], quiet: bool
) -> Iterator[tuple[Callable[[str], None], Callable[[int, LevelProgress], None]]]:
    """Show a progress bar for each run.

    Yield two functions: the first prints a line above the bars, the second updates the bar of a run.
    """
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
    )
    terminal = sys.stderr.isatty()
    with (
        waiting.watch(configs[0].run_id, quiet or terminal) as watch,
        progress.Progress(*columns, transient=True, disable=quiet or not terminal) as bar,
    ):
        watch.report("loading data and network")

        def tell(line: str) -> None:
            if not quiet:
                watch.restart()
                bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

        tasks = [bar.add_task(config.run_id, total=config.pruning.levels + 1) for config in configs]

        def show(number: int, event: LevelProgress) -> None:
            name = f"seed {configs[number].seed}, " if len(configs) > 1 else ""
            done = event.level + event.step / event.total
            watch.report(f"{name}level {event.level}, step {event.step:,} of {event.total:,}")
            bar.update(tasks[number], completed=done, description=f"{name}level {event.level}")

        try:
            yield tell, show
        except KeyboardInterrupt:
            kept = f"'{folders[0] if len(folders) == 1 else folders[0].parent}' keeps every complete epoch"
            raise KeyboardInterrupt(f"; {kept}; run the same command again to resume") from None


def _scalars(events: Iterator[tuple[int, Any]], folder: Path, config: Config) -> Iterator[tuple[int, Any]]:
    """Write the scalars in a run's `events` for TensorBoard, and yield the events unchanged."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard needs the package tensorboard; run pip install 'signflow[tensorboard]'"
        ) from None
    writer = None  # created at the first event, when the run has certainly locked its folder
    for number, event in events:
        writer = writer or SummaryWriter(str(folder / "tensorboard"))
        if event.report is not None:
            per_epoch = event.total // config.epochs(event.level)
            step = event.step + per_epoch * sum(map(config.epochs, range(event.level)))
            writer.add_scalar("train/loss", event.report.loss, step)
            writer.add_scalar("train/accuracy", event.report.accuracy, step)
            writer.add_scalar("train/lr", event.report.lr, step)
        if event.row is not None:
            writer.add_scalar("level/test_accuracy", event.row["test_accuracy"], event.level)
            writer.add_scalar("level/density", event.row["density"], event.level)
        yield number, event
    if writer is not None:
        writer.close()
