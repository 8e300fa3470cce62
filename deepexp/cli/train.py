"""`deepexp train`: train a single run, or the runs of several seeds as a stack."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepexp.cli import listing
from deepexp.cli.common import RUNS
from deepexp.cli.configs import configs as configs_of
from deepexp.cli.progress import train_together
from signflow import command_line

if TYPE_CHECKING:
    from deepexp.config.settings import Config


def train_options(train: argparse.ArgumentParser) -> None:
    """Add the options of `deepexp train`: data, network, algorithm, protocol and any other setting."""
    train.add_argument("--dataset", help="digits (default), cifar10, tinyimagenet, ..., or an import path")
    train.add_argument(
        "--model", help="resnet18, ..., or an import path (default: the protocol's network, else resnet8)"
    )
    train.add_argument("--algorithm", help="imp, wr, lrr (default), or another level policy")
    train.add_argument("--protocol", metavar="NAME", help="the protocol of the settings (default: signflow)")
    train.add_argument("--profile", help="the size of the run: smoke, short or full (default)")
    train.add_argument(
        "--config",
        type=command_line.path,
        metavar="FILE",
        help="take every setting from this file, a run's config.toml or the output of --print-config; --set, "
        "--levels, --seed and --device override it",
    )
    train.add_argument(
        "--levels",
        type=command_line.integer,
        metavar="N",
        help="number of prunings; 0 trains only the dense network",
    )
    train.add_argument(
        "--epochs",
        type=command_line.integer,
        metavar="E",
        help="epochs per level; the schedule is rescaled to fit",
    )
    train.add_argument(
        "--seed",
        type=command_line.integer,
        nargs="+",
        help="the seeds (default: 0); several seeds train together as one stacked network",
    )
    train.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: auto")
    train.add_argument(
        "--set",
        nargs="*",
        action="extend",
        metavar="KEY=VALUE",
        help="change settings, such as train.lr=0.05; --set alone lists all settings",
    )
    train.add_argument(
        "--out",
        type=command_line.path,
        metavar="DIR",
        help="the folder of the run (default: runs/RUN_ID); for several seeds, the folder of their runs",
    )
    train.add_argument("--tensorboard", action="store_true", help="also write scalars for TensorBoard")
    train.add_argument("--dry-run", action="store_true", help="print the plan and its cost without training")
    train.add_argument(
        "--print-config", action="store_true", help="print the settings of the run as TOML without training"
    )
    train.add_argument("--list-models", action="store_true", help="list the networks")
    train.add_argument("--list-datasets", action="store_true", help="list the data sets")


def run_train(options: argparse.Namespace) -> None:
    """Train one run, or several seeds as a stack; or only print the plan, the settings or a list."""
    if options.list_models or options.list_datasets:
        lines = [*(listing.networks() if options.list_models else ())]
        print(*lines, *(listing.data_sets() if options.list_datasets else ()), sep="\n")
        return
    configs = configs_of(options)
    if options.set == []:
        print(*listing.settings(configs[0]), sep="\n")
        return
    if options.print_config:
        _print_config(configs)
        return
    if options.dry_run:
        _print_plan(configs)
        return
    if options.tensorboard and len(configs) > 1:
        raise ValueError(
            f"--tensorboard needs a single seed, got {len(configs)}; pass one, or leave out --tensorboard"
        )
    folders = [(options.out or RUNS) / config.run_id for config in configs]
    if options.out is not None and len(configs) == 1:
        folders = [options.out]
    train_together(configs, folders, options.quiet, options.tensorboard)
    if not options.quiet:
        last = ["--level", configs[0].pruning.levels, "--out", "exported"]
        command_line.say_next("export the last level", "deepexp", "export", folders[0], *last)


def _print_config(configs: Sequence[Config]) -> None:
    from deepexp.config.build import to_toml

    if len(configs) > 1:
        raise ValueError(f"--print-config needs a single seed, got {len(configs)}; pass one seed")
    print(to_toml(configs[0]), end="")


def _print_plan(configs: Sequence[Config]) -> None:
    from deepexp.pruning import masks
    from deepexp.runs import speed
    from deepexp.runs.setup import prepare
    from deepexp.runs.stack import Stack
    from deepexp.schedule.costs import duration

    works = [prepare(configs[0], RUNS / configs[0].run_id, print)]
    works += [prepare(config, RUNS / config.run_id) for config in configs[1:]]
    work, config = works[0], configs[0]
    total = masks.dense_mask(work.net).total
    for each in configs:
        print(f"{each.run_id}: {each.algorithm} by the protocol {each.protocol}, seed {each.seed}")
    print(f"{config.data.dataset} ({work.dataset.variant}): {len(work.dataset.train):,} training images")
    print(f"{config.model.name}: {total:,} prunable weights")
    steps = 0
    for level in range(config.pruning.levels + 1):
        first = work.first(level)
        steps += work.total(level) - first
        kept = config.pruning.kept(level, total) if config.pruning.run is None else None
        density = (
            "mask of " + str(config.pruning.run)
            if kept is None
            else f"{kept:>12,} weights, {kept / total:.4%}"
        )
        print(f"  level {level:2d}: {density}, epochs {first / work.per_epoch:g} to {config.epochs(level)}")
    steps *= len(works)
    rate = speed.images_per_second(Stack(works) if len(works) > 1 else work)
    seconds = steps * config.train.batch_size / rate
    threads = f"{config.machine.threads} thread{'s' * (config.machine.threads > 1)}"
    if config.machine.processes > 1:
        threads += f" of one process instead of {config.machine.processes}"
    print(
        f"{steps:,} steps of {config.train.batch_size} images; {rate:,.0f} images/s measured on {threads}:",
        end=" ",
    )
    print(f"about {duration(seconds)}")
