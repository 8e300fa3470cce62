"""Options and messages that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signflow import command_line

if TYPE_CHECKING:
    from singleneuron.flows.result import Progress

RESULTS = Path("build/results")


def data_options(parser: argparse.ArgumentParser) -> None:
    """Which data to train on, and how: options that `map` and `trajectory` share."""
    parser.add_argument(
        "--n", type=command_line.integer, help="train on this many samples (default: the population)"
    )
    parser.add_argument("--noise", type=float, default=0.0, help="its standard deviation (%(default)g)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="LR",
        help="gradient descent with this step (default: the flow)",
    )
    parser.add_argument(
        "--seed", type=command_line.integer, default=0, help="of everything drawn (%(default)s)"
    )


def fail(message: str) -> int:
    """Say on one line what went wrong in the work; exit code 1."""
    return command_line.fail("singleneuron", 1, message)


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options that determine the result."""
    others = ("run", "quiet", "out", "overwrite", "workers", "scheduler", "fresh")
    return {key: value for key, value in vars(options).items() if key not in others}


@contextlib.contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    with Bar(*Bar.get_default_columns(), Rate(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        started = False

        def report(done: int, total: int) -> None:
            nonlocal started
            if started:
                bar.update(task, completed=done, total=total)
            else:  # what was found finished is no work of now
                bar.reset(task, completed=done, total=total)
                started = True

        yield report
