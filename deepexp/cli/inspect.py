"""`deepexp status`, `export` and `doctor`: list runs, export weights and describe the machine."""

from __future__ import annotations

import argparse
import sys

from deepexp.cli.common import RUNS
from signflow.command_line import say_next


def run_status(options: argparse.Namespace) -> None:
    """List the runs in a folder and the progress of each."""
    from rich.console import Console
    from rich.table import Table

    from deepexp.schedule.costs import duration
    from deepexp.storage.status import status

    if not options.runs.is_dir() and (options.runs.exists() or options.runs != RUNS):
        raise ValueError(f"'{options.runs}' must be a folder of runs, but there is no such folder")
    found = status(options.runs)
    if not found:
        print(f"no runs in '{options.runs}'")
        say_next("plan one", "deepexp", "train", "--dataset", "digits", "--profile", "smoke", "--dry-run")
        return
    table = Table("run", "level", "epoch", "density", "test accuracy", "state", "time left")
    for run in found:
        left = "" if run.seconds_left is None else duration(run.seconds_left)
        accuracy = "" if run.accuracy is None else f"{run.accuracy:.2%}"
        density = "" if run.density is None else f"{run.density:.2%}"
        table.add_row(run.run_id, run.level, run.epoch, density, accuracy, run.state, left)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    level = ["--level", 0, "--out", "exported"]
    say_next("export a level", "deepexp", "export", options.runs / found[0].run_id, *level)


def run_export(options: argparse.Namespace) -> None:
    """Write a level's weights and mask to files that other programs can read."""
    from deepexp.stored_run import export

    for path in export(options.folder, options.level, options.out):
        print(path)
    say_next("see all runs", "deepexp", "status")


def run_doctor(_: argparse.Namespace) -> None:
    """Report what this machine can run."""
    from deepexp import doctor

    for line in doctor.lines():
        print(line)
    say_next("train something small", "deepexp", "train", "--dataset", "digits", "--profile", "smoke")
