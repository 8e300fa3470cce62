"""`deepexp`: train, monitor, export and reduce runs of the deep experiments."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from deepexp.cli.bench import bench_options, run_bench, run_gpu_check
from deepexp.cli.common import RUNS
from deepexp.cli.data import run_data
from deepexp.cli.inspect import run_doctor, run_export, run_status
from deepexp.cli.recipes import recipe_options, run_plan, run_recipe, run_recipes
from deepexp.cli.reduce import run_reduce
from deepexp.cli.train import run_train, train_options
from signflow import command_line

TORCHRUN_GRACE = 5.0  # once a process has failed, torchrun stops the others within this number of seconds


def main(arguments: list[str] | None = None) -> int:
    """Run `deepexp`; return exit code 0 on success, 1 on failure, 2 on bad input, 130 if interrupted."""
    return _follow(arguments) if int(os.environ.get("RANK", 0)) else _lead(arguments)


def _follow(arguments: list[str] | None) -> int:
    """Run `deepexp` without output, in a process whose rank is not 0.

    Only rank 0 prints. If this process fails, it waits for `TORCHRUN_GRACE` seconds. If rank 0 has failed as
    well, rank 0 prints the error, and torchrun stops this process during the wait. If this process is still
    running after the wait, rank 0 has not failed, so this process prints its own error.
    """
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            code = _lead(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
    if code not in (0, 130):
        time.sleep(TORCHRUN_GRACE)
        print(f"rank {os.environ['RANK']}: {said.getvalue().strip()}", file=sys.stderr)
    return code


def _lead(arguments: list[str] | None) -> int:
    options = _parser().parse_args(arguments)

    def run() -> None:
        try:
            options.run(options)
        except ModuleNotFoundError as error:
            raise ValueError(f"{error.name} must be installed; run pip install 'signflow[deep]'") from None

    return command_line.finish("deepexp", run)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("deepexp", "Pruning experiments on deep networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--quiet", action="store_true", help="print only errors and results")
        return sub

    train = add("train", run_train, "train one configuration, level by level, or resume it")
    train_options(train)
    add("recipes", run_recipes, "list the experiments")
    plan = add("plan", run_plan, "list a recipe's runs, how many are left, and how long they will take")
    run = add("run", run_recipe, "train all runs of a recipe, one after another or on a cluster")
    reduce = add("reduce", run_reduce, "gather a recipe's runs into one result file")
    recipe_options(plan, run, reduce)
    status = add("status", run_status, "list all runs, with level, accuracy and time left")
    status.add_argument("runs", type=command_line.path, nargs="?", default=RUNS, metavar="DIR")
    export = add(
        "export",
        run_export,
        "write a level as a plain state dict, and as a state dict with torch.nn.utils.prune masks",
    )
    export.add_argument("folder", type=command_line.path, metavar="RUN")
    export.add_argument("--level", type=command_line.integer, required=True)
    export.add_argument("--out", type=command_line.path, required=True, metavar="DIR")
    data = add("data", run_data, "fetch a data set, or verify this machine's copy")
    data.add_argument("action", choices=["fetch", "verify"])
    data.add_argument("dataset", metavar="DATASET")
    data.add_argument("--url", help="download the archive from this mirror")
    bench = add(
        "bench", run_bench, "measure how fast this machine trains, compared with a plain PyTorch loop"
    )
    bench_options(bench)
    check = add(
        "gpu-check", run_gpu_check, "check that a GPU agrees with a CPU, and measure its speed (six minutes)"
    )
    check.add_argument("--out", type=Path, default=Path("build/gpu-check.json"), metavar="FILE")
    add("doctor", run_doctor, "report what this machine can run")
    return parser
