"""`deepexp recipes`, `plan` and `run`: list, plan and train whole experiments."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepexp.cli.common import RUNS, device_of, settings_of
from deepexp.cli.progress import train_together
from signflow import command_line
from signflow.files import check_folder, check_output
from signflow.messages import Failure

if TYPE_CHECKING:
    from deepexp.recipes.plan import PlannedRun


def recipe_options(
    plan: argparse.ArgumentParser, run: argparse.ArgumentParser, reduce: argparse.ArgumentParser
) -> None:
    """Add the options of `deepexp plan`, `run` and `reduce`."""
    for sub in (plan, run, reduce):
        sub.add_argument("recipe", metavar="RECIPE")
        sub.add_argument(
            "--profile", help="smoke, short or full (default: the recipe's first and smallest profile)"
        )
        sub.add_argument(
            "--seed", type=command_line.integer, nargs="+", help="the seeds (default: from the profile)"
        )
        sub.add_argument("--panel", nargs="+", metavar="PANEL", help="the panels (default: from the profile)")
        sub.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
        sub.add_argument("--stack", action="store_true", help="train an arm's seeds as one stacked network")
        sub.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="machine.KEY=VALUE",
            help="machine settings for the runs, such as machine.compile=true",
        )
        sub.add_argument(
            "--runs", type=command_line.path, default=RUNS, metavar="DIR", help="the folder of the runs"
        )
    plan.add_argument(
        "--make", action="store_true", help="write a makefile for the runs, the result and the figure"
    )
    plan.add_argument(
        "--out",
        type=command_line.path,
        metavar="FILE",
        help="the makefile that --make writes (default: build/deep/RECIPE.mk)",
    )
    plan.add_argument(
        "--most-hours",
        type=float,
        metavar="HOURS",
        help="refuse a plan that takes longer than this (`make deep` sets 1, unless YES=1)",
    )
    run.add_argument("--only", nargs="+", metavar="RUN_ID", help="train only these runs of the recipe")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="train on the workers of this Dask scheduler")
    slurm = "train as SLURM jobs, with submitit parameters such as timeout_min=600"
    where.add_argument("--slurm", nargs="*", metavar="KEY=VALUE", help=slurm)
    reduce.add_argument(
        "--out",
        type=command_line.path,
        metavar="FILE",
        help="the result file (default: build/results/RECIPE.nc)",
    )
    reduce.add_argument(
        "--from",
        dest="result",
        type=command_line.path,
        metavar="FILE",
        help="start from an earlier result file instead of the runs",
    )
    reduce.add_argument(
        "--without-starved",
        action="store_true",
        help="average only over levels at which every layer of every arm has enough weights left",
    )


def run_recipes(_: argparse.Namespace) -> None:
    """Print the name and the question of every recipe."""
    from deepexp.recipes.recipe import recipes

    for name, recipe in recipes().items():
        print(f"{name:20s} {recipe.question}")
    command_line.say_next("plan one", "deepexp", "plan", "smoke", "--profile", "smoke")


def planned_runs(options: argparse.Namespace) -> list[PlannedRun]:
    """Return the runs of a recipe that `options` select.

    If no profile is given, `options.profile` becomes the recipe's first profile.
    """
    from deepexp.recipes.plan import runs
    from deepexp.recipes.recipe import load

    recipe = load(options.recipe)
    options.profile = options.profile or next(iter(recipe.profiles))
    return runs(
        recipe,
        profile=options.profile,
        seeds=options.seed,
        panels=options.panel,
        device=device_of(options.device),
        processes=int(os.environ.get("WORLD_SIZE", 1)),
        stack=options.stack,
        machine=settings_of(options.set, "--set", "machine.compile=true"),
    )


def run_plan(options: argparse.Namespace) -> None:
    """Print a recipe's runs and how long they will take; with --make, also write a makefile for them."""
    from deepexp.schedule import costs, makefile, progress, units
    from deepexp.storage.folder import write_text

    runs, name = planned_runs(options), Path(options.recipe).stem
    out = options.out or Path("build/deep") / f"{name}.mk"
    if options.make:
        check_output(out, ())
    elif options.out:
        raise ValueError(
            f"--out '{out}' needs --make, which writes that file; add --make, or leave out --out"
        )
    todo = units.unfinished(runs, options.runs)
    if options.make:
        units.check_data(name, todo)
    if not options.quiet:
        print(f"{name}, profile {options.profile}")
        print("\n".join(progress.overview(runs, todo)))
    if not options.quiet or options.most_hours is not None:
        speeds = costs.speeds([run.config for run in todo], options.runs)
        if not options.quiet:
            for kind, speed in speeds.items():
                print(f"{kind}: {speed}")
            print(progress.outlook(todo, options.runs, speeds), flush=True)
        _check_hours(options, progress.seconds_left(todo, options.runs, speeds))
    if options.make:
        told = ["--profile", options.profile, "--device", device_of(options.device)]
        for key, values in (("--seed", options.seed), ("--panel", options.panel), ("--set", options.set)):
            told += [key, *map(str, values)] if values else []
        told += ["--stack"] if options.stack else []
        text = makefile.makefile(options.recipe, runs, options.runs, told, Path("build"))
        write_text(out, text)
    elif not options.quiet:
        command_line.say_next("train them" if todo else "gather them", "deepexp", *_same(options, bool(todo)))


def _check_hours(options: argparse.Namespace, seconds: float) -> None:
    """Raise ValueError if the plan takes longer than --most-hours."""
    most = options.most_hours
    if most is not None and seconds > 3600 * most:
        from deepexp.schedule.costs import duration

        what = "pass YES=1 to make" if options.make else "leave out --most-hours"
        raise ValueError(
            f"{Path(options.recipe).stem}, profile {options.profile}: training must take at most {most:g} h, "
            f"got about {duration(seconds)}; {what}, or choose fewer seeds or a smaller profile"
        )


def _same(options: argparse.Namespace, train: bool = False) -> list[str]:
    """Return the words of the command that trains or reduces the runs that `options` select."""
    words = ["run" if train else "reduce", options.recipe, "--profile", options.profile]
    for name in ("seed", "panel", "set"):
        if values := getattr(options, name):
            words += [f"--{name}", *map(str, values)]
    words += ["--runs", str(options.runs)] if options.runs != RUNS else []
    words += ["--device", options.device] if options.device != "auto" else []
    return words + (["--stack"] if options.stack else [])


def run_recipe(options: argparse.Namespace) -> None:
    """Train the unfinished runs of a recipe, on this machine or elsewhere."""
    _train(options)
    if options.slurm is not None:
        command_line.say_next("see how far they are", "deepexp", "status", options.runs)
    elif not (options.quiet or options.only):
        command_line.say_next("gather them", "deepexp", *_same(options))


def _train(options: argparse.Namespace) -> None:
    from deepexp.schedule import execute, gpus, progress, units
    from deepexp.storage import folder as layout
    from signflow import workers

    runs, name = planned_runs(options), Path(options.recipe).stem
    only = _chosen(options, runs, name)
    todo = [
        unit
        for unit in units.units(runs, options.runs)
        if only.intersection(run.config.run_id for run in unit)
    ]
    if todo:
        check_folder(options.runs, "the folder of the runs")
        units.check_data(name, [run for unit in todo for run in unit])
    elif not options.quiet:
        print(f"{name}, profile {options.profile}: {len(only)} of {len(only)} runs are complete")
    if options.slurm is not None:
        _submit(todo, options)
        return

    def here(unit: Sequence[PlannedRun]) -> None:
        configs = [run.config for run in unit]
        folders = [options.runs / config.run_id for config in configs]
        for folder in folders:
            layout.wait(folder)
        with gpus.device(configs[0]):
            train_together(configs, folders, bool(options.quiet or options.only), scalars=False)

    def done(run: PlannedRun) -> None:
        if not options.quiet:
            print(progress.news(run, units.unfinished(runs, options.runs), options.runs), flush=True)

    if "WORLD_SIZE" in os.environ or (len(todo) == 1 and options.scheduler is None):
        # `execute` is not used here, since an error must end this process for torchrun to stop the others.
        for unit in todo:
            here(unit)
            for run in unit:
                done(run)
        return
    if options.scheduler is None:
        failed = execute.execute(
            todo, lambda unit: workers.at_once(lambda: here(unit)), done, options.runs, most=1
        )
    else:
        with workers.cluster(options.scheduler) as pool:
            failed = execute.execute(
                todo, lambda unit: pool.submit(execute.job(unit, options.runs)), done, options.runs
            )
    if failed:
        (first, error), count = next(iter(failed.items())), sum(map(len, todo))
        # The error message of a stack begins with the run_id of the run that diverged.
        why = str(error).removeprefix(f"{first}: ")
        raise Failure(f"{len(failed)} of {count} runs failed, starting with {first}: {why}")


def _submit(todo: Sequence[Sequence[PlannedRun]], options: argparse.Namespace) -> None:
    """Submit the runs to SLURM, and print the job number of each run."""
    from deepexp.schedule import slurm

    parameters = settings_of(options.slurm, "--slurm", "timeout_min=600")
    for run_id, number in slurm.submit(todo, options.runs, parameters).items():
        print(f"{run_id}: job {number}")


def _chosen(options: argparse.Namespace, runs: Sequence[PlannedRun], name: str) -> set[str]:
    """Return the run_ids that --only names, or the run_ids of all `runs` if --only is not given."""
    known = {run.config.run_id for run in runs}
    if unknown := set(options.only or ()) - known:
        raise ValueError(f"--only must name runs of the recipe {name}, got {', '.join(sorted(unknown))}")
    return set(options.only or known)
