"""Options and messages that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from signflow import command_line, waiting
from singleneuron.experiments.options import options_of

if TYPE_CHECKING:
    from singleneuron.flows.result import Progress

RESULTS = Path("build/results")
"""Default folder of results."""


def add_options(parser: argparse.ArgumentParser, record: type, only: Sequence[str] = ()) -> None:
    """Add an option for every field of a settings record, or only for the fields named in `only`.

    Factors get no default here. A factor that is not given keeps the default of the record, and adds no
    dimension to the result.
    """
    groups: dict[str, argparse._MutuallyExclusiveGroup] = {}
    for item in options_of(record):
        if only and item.name not in only:
            continue
        how = item.metadata
        target: argparse._ActionsContainer = parser
        if word := how.get("exclusive"):
            if word not in groups:
                groups[word] = parser.add_mutually_exclusive_group()
            target = groups[word]
        name = f"--{how.get('name', item.name).replace('_', '-')}"
        if how["kind"] is bool:
            target.add_argument(name, action="store_true", help=how["text"])
            continue
        several, factor, default = how.get("several"), how.get("factor"), item.default
        required = default is MISSING
        if default is MISSING or factor:
            default = None
        elif several:
            default = list(default)
        options = {key: how[key] for key in ("metavar", "choices") if key in how}
        if several or factor:
            options["nargs"] = "+"
        target.add_argument(
            name, type=_reader(how), required=required, default=default, help=how["text"], **options
        )


def _reader(how: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return the function that converts a string from the command line to the type of its option."""
    if how.get("infinite"):
        return lambda text: math.inf if text == "inf" else command_line.integer(text)
    return cast("Callable[[str], Any]", command_line.integer if how["kind"] is int else how["kind"])


def arguments_of(record: type, options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a settings record from the command line, without options that are not set."""
    found = {item.name: getattr(options, item.metadata.get("name", item.name)) for item in options_of(record)}
    return {name: value for name, value in found.items() if value is not None}


def data_option(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, a file of samples to train on."""
    parser.add_argument(
        "--data",
        type=command_line.path,
        metavar="FILE",
        help="train on the samples in a .npz file (arrays x, y) or a .csv file (columns x1,...,xd,y)",
    )


def problem_given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the samples of `--data` as the argument `problem`, or no argument without `--data`.

    Raise ValueError if neither `--data` nor `--d` is given.
    """
    if options.data is None:
        if options.d is None:
            raise ValueError("give --d, the number of input coordinates, or --data, a file of samples")
        return {}
    from singleneuron.problem.data import read_sample

    return {"problem": read_sample(options.data)}


def out_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option `--out`, whose default is the file `name` in the folder `RESULTS`."""
    parser.add_argument(
        "--out",
        type=command_line.path,
        default=RESULTS / name,
        metavar="FILE",
        help="result file, .nc or .csv (%(default)s)",
    )


def report_failure(message: str) -> int:
    """Print in one line why the work failed, and return the exit code 1."""
    return command_line.fail("singleneuron", 1, message)


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that determine the result."""
    others = ("run", "quiet", "verbose", "out", "overwrite", "workers", "scheduler", "fresh", "data")
    return {key: value for key, value in vars(options).items() if key not in others}


@contextlib.contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Progress]:
    """Show progress on stderr, and yield the function that updates it.

    Progress is shown as a bar, or as lines if stderr is not a terminal. With `quiet`, nothing is shown.
    """
    if quiet or not sys.stderr.isatty():
        with waiting.watch(label, quiet) as watch:
            began = time.monotonic()

            def note(done: int, total: int) -> None:
                left = (time.monotonic() - began) * (total - done) / done if done else math.inf
                rest = f", about {left:.0f} s left" if left < math.inf else ""
                watch.report(f"{done / max(total, 1):.0%} done{rest}")

            yield note
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Doing(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(waiting.reason() or task.description)

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (Doing(), *Bar.get_default_columns()[1:], Rate())
    # A line printed to stdout appears above the bar, unless stdout is redirected.
    above = sys.stdout.isatty()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, redirect_stdout=above) as bar:
        task = bar.add_task(label, total=None)
        started = False

        def report(done: int, total: int) -> None:
            nonlocal started
            if started:
                bar.update(task, completed=done, total=total)
            else:  # chunks loaded from disk must not count towards the speed
                bar.reset(task, completed=done, total=total)
                started = True

        yield report
