"""`deepexp`: train, follow, export and reduce runs of the deep experiments."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepexp.cli.bench import bench_options, run_bench, run_gpu_check
from deepexp.cli.common import RUNS
from deepexp.cli.data import run_data
from deepexp.cli.inspect import run_doctor, run_export, run_status
from deepexp.cli.recipes import run_plan, run_recipe, run_recipes, run_reduce
from deepexp.cli.train import run_train, train_options
from signflow import command_line

if TYPE_CHECKING:
    pass

GRACE = 5.0  # seconds in which torchrun ends the other processes of a run once one has failed


def main(arguments: list[str] | None = None) -> int:
    """Run `deepexp`; return 0 when done, 1 after a failure, 2 on bad input, 130 when interrupted."""
    return _follow(arguments) if int(os.environ.get("RANK", 0)) else _lead(arguments)


def _follow(arguments: list[str] | None) -> int:
    """As `_lead` in the processes of a run beside rank 0, which speaks for all while it lives."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            code = _lead(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
    if code not in (0, 130):
        time.sleep(GRACE)
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
        sub.add_argument("--quiet", action="store_true", help="print nothing but errors and results")
        return sub

    train = add("train", run_train, "run one configuration, level by level, or go on with it")
    train_options(train)
    add("recipes", run_recipes, "list the experiments")
    plan = add("plan", run_plan, "a recipe's runs, what is left of them, and how long that takes")
    run = add("run", run_recipe, "run all that a recipe stands for, one run after the other, or on a cluster")
    reduce = add("reduce", run_reduce, "turn a recipe's runs into one result file")
    for sub in (plan, run, reduce):
        sub.add_argument("recipe", metavar="RECIPE")
        sub.add_argument("--profile", default="short", help="smoke, short (default), full")
        sub.add_argument("--seed", type=int, nargs="+", help="default: those of the profile")
        sub.add_argument("--panel", nargs="+", metavar="PANEL", help="default: those of the profile")
        sub.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
        sub.add_argument("--stack", action="store_true", help="train an arm's seeds as one stacked network")
        sub.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="machine.KEY=VALUE",
            help="what the runs compute on, as machine.compile=true",
        )
        sub.add_argument(
            "--runs", type=command_line.path, default=RUNS, metavar="DIR", help="the folder of the runs"
        )
    plan.add_argument("--make", action="store_true", help="write a makefile of the runs, result and figure")
    plan.add_argument(
        "--out", type=command_line.path, metavar="FILE", help="of --make (default: build/deep/RECIPE.mk)"
    )
    run.add_argument("--only", nargs="+", metavar="RUN_ID", help="of the recipe's runs these alone")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, whose workers run them")
    slurm = "put them into the queue of SLURM, with submitit's parameters, as timeout_min=600"
    where.add_argument("--slurm", nargs="*", metavar="KEY=VALUE", help=slurm)
    reduce.add_argument(
        "--out", type=command_line.path, metavar="FILE", help="default: build/results/RECIPE.nc"
    )
    reduce.add_argument(
        "--from",
        dest="result",
        type=command_line.path,
        metavar="FILE",
        help="an earlier result file, instead of the runs",
    )
    reduce.add_argument(
        "--without-starved",
        action="store_true",
        help="means over levels leave out those at which a layer of any arm has few weights left",
    )

    status = add("status", run_status, "all runs: level, accuracy, time left")
    status.add_argument("runs", type=command_line.path, nargs="?", default=RUNS, metavar="DIR")
    export = add(
        "export", run_export, "a level as a state dict, and with masks as torch.nn.utils.prune has them"
    )
    export.add_argument("folder", type=command_line.path, metavar="RUN")
    export.add_argument("--level", type=int, required=True)
    export.add_argument("--out", type=command_line.path, required=True, metavar="DIR")
    data = add("data", run_data, "fetch a data set, or verify the copy at hand")
    data.add_argument("action", choices=["fetch", "verify"])
    data.add_argument("dataset", metavar="DATASET")
    data.add_argument("--url", help="a mirror of the archive")
    bench = add("bench", run_bench, "this machine's speed beside a plain PyTorch loop's")
    bench_options(bench)
    check = add("gpu-check", run_gpu_check, "whether a GPU trains as a CPU does, and how fast (six minutes)")
    check.add_argument("--out", type=Path, default=Path("build/gpu-check.json"), metavar="FILE")
    add("doctor", run_doctor, "what this machine can run")
    return parser
