"""`deepexp`: train, follow, export and reduce runs of the deep experiments."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import command
from figures.messages import Failure
from figures.results import check_folder, check_output

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.config import Config
    from deepexp.levels import Progress
    from deepexp.plan import Recipe, Run

RUNS = Path("runs")
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

    return command.finish("deepexp", run)


def _train_options(train: argparse.ArgumentParser) -> None:
    train.add_argument("--dataset", default="digits", help="digits (default), cifar10, tinyimagenet, ...")
    train.add_argument("--model", help="resnet18, ... (default: the protocol's, else resnet8)")
    train.add_argument("--algorithm", default="lrr", help="imp, wr, lrr (default), or another level policy")
    train.add_argument("--protocol", default="signflow", metavar="NAME", help="whose settings to use")
    train.add_argument("--profile", default="full", help="how much of them: smoke, short, full (default)")
    train.add_argument("--levels", type=int, metavar="N", help="prunings; 0 trains the dense network alone")
    train.add_argument(
        "--epochs", type=int, metavar="E", help="epochs a level; the schedule shrinks with them"
    )
    train.add_argument(
        "--seed", type=int, nargs="+", default=[0], help="several train together, as one stacked network"
    )
    train.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="any field, as train.lr=0.05",
    )
    train.add_argument(
        "--out",
        type=command.path,
        metavar="DIR",
        help="the run's folder (default: runs/RUN_ID); of several, theirs",
    )
    train.add_argument("--tensorboard", action="store_true", help="write its scalars too")
    train.add_argument("--dry-run", action="store_true", help="print the plan and its cost, train nothing")


def _bench_options(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("--dataset", default="cifar10")
    bench.add_argument("--model", default="resnet20")
    bench.add_argument(
        "--images", type=int, help="for each loop (default: 5000, on a GPU until the time is over)"
    )
    bench.add_argument("--batch", type=int, default=128)
    bench.add_argument(
        "--seconds", type=float, default=45.0, help="end after these, if the images last longer"
    )
    bench.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    bench.add_argument("--precision", default="float32", choices=["float32", "tf32", "bf16"])
    bench.add_argument("--threads", type=int, default=2)
    bench.add_argument(
        "--compile", action="store_true", help="compiled loops too (a minute each; on a GPU always)"
    )
    bench.add_argument("--readme", type=command.path, metavar="FILE", help="replace the marked section there")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("deepexp", "Pruning experiments on deep networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--quiet", action="store_true", help="print nothing but errors and results")
        return sub

    train = add("train", _train, "run one configuration, level by level, or go on with it")
    _train_options(train)
    add("recipes", _recipes, "list the experiments")
    plan = add("plan", _plan, "a recipe's runs, what is left of them, and how long that takes")
    run = add("run", _run, "run all that a recipe stands for, one run after the other, or on a cluster")
    reduce = add("reduce", _reduce, "turn a recipe's runs into one result file")
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
            "--runs", type=command.path, default=RUNS, metavar="DIR", help="the folder of the runs"
        )
    plan.add_argument("--make", action="store_true", help="write a makefile of the runs, result and figure")
    plan.add_argument(
        "--out", type=command.path, metavar="FILE", help="of --make (default: build/deep/RECIPE.mk)"
    )
    run.add_argument("--only", nargs="+", metavar="RUN_ID", help="of the recipe's runs these alone")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, whose workers run them")
    slurm = "put them into the queue of SLURM, with submitit's parameters, as timeout_min=600"
    where.add_argument("--slurm", nargs="*", metavar="KEY=VALUE", help=slurm)
    reduce.add_argument("--out", type=command.path, metavar="FILE", help="default: build/results/RECIPE.nc")
    reduce.add_argument(
        "--from",
        dest="result",
        type=command.path,
        metavar="FILE",
        help="an earlier result file, instead of the runs",
    )
    reduce.add_argument(
        "--without-starved",
        action="store_true",
        help="means over levels leave out those at which a layer of any arm has few weights left",
    )

    status = add("status", _status, "all runs: level, accuracy, time left")
    status.add_argument("runs", type=command.path, nargs="?", default=RUNS, metavar="DIR")
    export = add(
        "export", _export, "a level as a state dict, and with masks as torch.nn.utils.prune has them"
    )
    export.add_argument("folder", type=command.path, metavar="RUN")
    export.add_argument("--level", type=int, required=True)
    export.add_argument("--out", type=command.path, required=True, metavar="DIR")
    data = add("data", _data, "fetch a data set, or verify the copy at hand")
    data.add_argument("action", choices=["fetch", "verify"])
    data.add_argument("dataset", metavar="DATASET")
    data.add_argument("--url", help="a mirror of the archive")
    bench = add("bench", _bench, "this machine's speed beside a plain PyTorch loop's")
    _bench_options(bench)
    check = add("gpu-check", _gpu_check, "whether a GPU trains as a CPU does, and how fast (six minutes)")
    check.add_argument("--out", type=Path, default=Path("build/gpu-check.json"), metavar="FILE")
    add("doctor", _doctor, "what this machine can run")
    return parser


def _configs(options: argparse.Namespace) -> list[Config]:
    """The configuration of every seed."""
    from deepexp.config import build

    settings: dict[str, Any] = {
        "data.dataset": options.dataset,
        "algorithm": options.algorithm,
        "machine.device": _device(options.device),
        "machine.processes": int(os.environ.get("WORLD_SIZE", 1)),  # as torchrun started
    }
    if options.model is not None:
        settings["model.name"] = options.model
    if options.levels is not None:
        settings["pruning.levels"] = options.levels
    if options.epochs is not None:
        settings["train.epochs"] = options.epochs
    if len(options.seed) > 1:
        settings["machine.stack"] = sorted(options.seed)
    given = _settings(options.set, "--set", "train.lr=0.05")
    if "machine.stack" in given:
        raise ValueError(
            f"--set must leave machine.stack to --seed, got {given['machine.stack']}; give the seeds that "
            "train together as --seed 0 1 2"
        )
    settings |= given
    return [
        build({"seed": seed, **settings}, protocol=options.protocol, profile=options.profile)
        for seed in sorted(options.seed)
    ]


def _settings(texts: Sequence[str], option: str, example: str) -> dict[str, Any]:
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(f"{option} takes KEY=VALUE, as {example}, got '{text}'")
        try:
            settings[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = value
    return settings


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _train(options: argparse.Namespace) -> None:
    configs = _configs(options)
    if options.dry_run:
        _print_plan(configs)
        return
    if options.tensorboard and len(configs) > 1:
        raise ValueError(f"--tensorboard is for one seed, got {len(configs)}; leave it out, or give one")
    folders = [(options.out or RUNS) / config.run_id for config in configs]
    if options.out is not None and len(configs) == 1:
        folders = [options.out]
    _train_together(configs, folders, options.quiet, options.tensorboard)


def _train_together(configs: Sequence[Config], folders: Sequence[Path], quiet: bool, scalars: bool) -> None:
    """Train one run, or those of a stack, showing their progress."""
    from deepexp.jobs import trained

    with _progress(configs, folders, quiet) as (tell, show):
        events = trained(configs, folders, tell)
        for number, event in _scalars(events, folders[0], configs[0]) if scalars else events:
            show(number, event)


@contextlib.contextmanager
def _progress(
    configs: Sequence[Config], folders: Sequence[Path], quiet: bool
) -> Iterator[tuple[Callable[[str], None], Callable[[int, Progress], None]]]:
    """Bars of runs: a function that prints a line above them, and one that shows the progress of a run."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, transient=True, disable=quiet or not sys.stderr.isatty()) as bar:

        def tell(line: str) -> None:
            if not quiet:
                bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

        tasks = [bar.add_task(config.run_id, total=config.pruning.levels + 1) for config in configs]

        def show(number: int, event: Progress) -> None:
            name = f"seed {configs[number].seed}, " if len(configs) > 1 else ""
            done = event.level + event.step / event.total
            bar.update(tasks[number], completed=done, description=f"{name}level {event.level}")

        try:
            yield tell, show
        except KeyboardInterrupt:
            kept = f"'{folders[0] if len(folders) == 1 else folders[0].parent}' keeps every complete epoch"
            raise KeyboardInterrupt(f"; {kept}; run the same command again to go on") from None


def _scalars(events: Iterator[tuple[int, Any]], folder: Path, config: Config) -> Iterator[tuple[int, Any]]:
    """Pass the `events` of a run on, having written their numbers for TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard needs the package tensorboard; pip install 'signflow[tensorboard]'"
        ) from None
    writer = None  # made once the run owns its folder
    for number, event in events:
        writer = writer or SummaryWriter(str(folder / "tensorboard"))
        if event.report is not None:
            longest = event.total * config.epochs(0) // config.epochs(event.level)
            step = event.level * longest + event.step
            writer.add_scalar("train/loss", event.report.loss, step)
            writer.add_scalar("train/accuracy", event.report.accuracy, step)
            writer.add_scalar("train/lr", event.report.lr, step)
        if event.row is not None:
            writer.add_scalar("level/test_accuracy", event.row["test_accuracy"], event.level)
            writer.add_scalar("level/density", event.row["density"], event.level)
        yield number, event
    if writer is not None:
        writer.close()


def _print_plan(configs: Sequence[Config]) -> None:
    from deepexp import bench, masks
    from deepexp.costs import duration
    from deepexp.prepare import prepare
    from deepexp.stack import Stack

    works = [prepare(configs[0], RUNS / configs[0].run_id, print)]
    works += [prepare(config, RUNS / config.run_id) for config in configs[1:]]
    work, config = works[0], configs[0]
    total = masks.dense(work.net).total
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
    rate = bench.images_per_second(Stack(works) if len(works) > 1 else work)
    seconds = steps * config.train.batch_size / rate
    threads = f"{config.machine.threads} thread{'s' * (config.machine.threads > 1)}"
    if config.machine.processes > 1:
        threads += f" of one process instead of {config.machine.processes}"
    print(
        f"{steps:,} steps of {config.train.batch_size} images; {rate:,.0f} images/s measured on {threads}:",
        end=" ",
    )
    print(f"about {duration(seconds)}")


def _recipes(_: argparse.Namespace) -> None:
    from deepexp.plan import recipes

    for name, recipe in recipes().items():
        print(f"{name:20s} {recipe.question}")


def _planned(options: argparse.Namespace) -> list[Run]:
    from deepexp.plan import runs

    return runs(
        options.recipe,
        profile=options.profile,
        seeds=options.seed,
        panels=options.panel,
        device=_device(options.device),
        processes=int(os.environ.get("WORLD_SIZE", 1)),
        stack=options.stack,
        machine=_settings(options.set, "--set", "machine.compile=true"),
    )


def _plan(options: argparse.Namespace) -> None:
    from deepexp import costs, jobs
    from deepexp.folder import write_text

    runs, name = _planned(options), Path(options.recipe).stem
    out = options.out or Path("build/deep") / f"{name}.mk"
    if options.make:
        check_output(out, ())
    elif options.out:
        raise ValueError(f"--out is the file that --make writes, got '{out}'; add --make, or leave it out")
    todo = jobs.unfinished(runs, options.runs)
    if options.make:
        jobs.check_data(name, todo)
    if not options.quiet:
        print(f"{name}, profile {options.profile}")
        print("\n".join(jobs.overview(runs, todo)))
        speeds = costs.speeds([run.config for run in todo], options.runs)
        for kind, speed in speeds.items():
            print(f"{kind}: {speed}")
        print(jobs.outlook(todo, options.runs, speeds))
    if options.make:
        told = ["--profile", options.profile, "--device", _device(options.device)]
        for key, values in (("--seed", options.seed), ("--panel", options.panel), ("--set", options.set)):
            told += [key, *map(str, values)] if values else []
        told += ["--stack"] if options.stack else []
        text = jobs.makefile(options.recipe, runs, options.runs, told, Path("build"))
        write_text(out, text)


def _run(options: argparse.Namespace) -> None:
    from deepexp import folder as layout
    from deepexp import jobs

    runs, name = _planned(options), Path(options.recipe).stem
    if unknown := set(options.only or ()) - {run.config.run_id for run in runs}:
        raise ValueError(f"--only must name runs of the recipe {name}, got {', '.join(sorted(unknown))}")
    only = set(options.only or (run.config.run_id for run in runs))
    todo = [
        unit
        for unit in jobs.units(runs, options.runs)
        if only.intersection(run.config.run_id for run in unit)
    ]
    if todo:
        check_folder(options.runs, "the folder of the runs")
        jobs.check_data(name, [run for unit in todo for run in unit])
    elif not options.quiet:
        print(f"{name}, profile {options.profile}: {len(only)} of {len(only)} runs are complete")
    if options.slurm is not None:
        parameters = _settings(options.slurm, "--slurm", "timeout_min=600")
        for run_id, number in jobs.submit(todo, options.runs, parameters).items():
            print(f"{run_id}: job {number}")
        return

    def here(unit: Sequence[Run]) -> None:
        configs = [run.config for run in unit]
        folders = [options.runs / config.run_id for config in configs]
        for folder in folders:
            layout.wait(folder)
        with jobs.device(configs[0]):
            _train_together(configs, folders, bool(options.quiet or options.only), scalars=False)

    def done(run: Run) -> None:
        if not options.quiet:
            print(jobs.news(run, jobs.unfinished(runs, options.runs), options.runs), flush=True)

    if "WORLD_SIZE" in os.environ or (len(todo) == 1 and options.scheduler is None):
        for unit in todo:  # a process that fails takes those beside it along
            here(unit)
            for run in unit:
                done(run)
        return
    if options.scheduler is None:
        failed = jobs.execute(todo, lambda unit: jobs.at_once(lambda: here(unit)), done, options.runs, most=1)
    else:
        with command.cluster(options.scheduler) as pool:
            failed = jobs.execute(
                todo, lambda unit: pool.submit(jobs.job(unit, options.runs)), done, options.runs
            )
    if failed:
        (first, error), count = next(iter(failed.items())), sum(map(len, todo))
        why = str(error).removeprefix(f"{first}: ")  # of a run that diverges in a stack
        raise Failure(f"{len(failed)} of {count} runs failed, the first {first}: {why}")


def _reduce(options: argparse.Namespace) -> None:
    from deepexp import analysis
    from deepexp.plan import load
    from figures.results import write

    recipe = load(options.recipe)
    out = check_output(options.out or Path("build/results") / f"{recipe.name}.nc", (".nc",))
    if options.result is not None:
        if options.seed or options.panel:
            raise ValueError("--from takes all that the file has; leave --seed and --panel out")
        tables, made_of = analysis.again(recipe, options.result, without_starved=options.without_starved)
    else:
        tables, made_of = _from_runs(options, recipe)
    print(write(tables, out, config=made_of))
    missing = json.loads(tables["levels"].attrs["missing"])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        print(f"not complete: {len(missing)} of {len(made_of['runs'])} runs, {', '.join(missing[:3])}{more}")
    for line in analysis.starvation(tables["levels"]):
        print(line)
    if "verdicts" in tables:
        _print_verdicts(tables["verdicts"])
        if added := made_of.get("added_seeds"):
            print(
                f"added to the profile's seeds: {' '.join(map(str, added))}; if a verdict was the reason, "
                "the intervals claim too much (optional stopping): fix the seeds before the first verdict"
            )


def _from_runs(options: argparse.Namespace, recipe: Recipe) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """The tables of a recipe's runs, and what they are made of."""
    from deepexp import analysis

    planned = _planned(options)
    tables = analysis.tables(recipe, planned, options.runs, without_starved=options.without_starved)
    seeds = sorted({run.config.seed for run in planned})
    return tables, {
        "recipe": recipe.name,
        "title": recipe.question,
        "source": recipe.source,
        "profile": options.profile,
        "protocol": recipe.profiles[options.profile].protocol,
        "seed": ", ".join(map(str, seeds)),
        "added_seeds": [seed for seed in seeds if seed not in recipe.profiles[options.profile].seeds],
        "without_starved": options.without_starved,
        "runs": list(dict.fromkeys(run.config.run_id for run in planned)),
        "trained": analysis.origins(planned, options.runs),
    }


def _print_verdicts(verdicts: xr.Dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("prediction", "on", "primary estimate", "seeds", "verdict")
    for number in range(verdicts.sizes["verdict"]):
        row = {str(name): verdicts[name].values[number] for name in verdicts.data_vars}
        name = f"{row['prediction']} ({row['variant']})" if row["variant"] else str(row["prediction"])
        interval = f" [{row['low']:.3g}, {row['high']:.3g}]" if row["seeds"] > 1 else ""
        found = "" if row["word"] == "NOT RUN" else f"{row['estimate']:.3g}{interval} {row['unit']}"
        table.add_row(name, f"{row['panel']}, {row['network']}", found, str(row["seeds"]), str(row["text"]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _status(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from deepexp.costs import duration
    from deepexp.folder import status

    if not options.runs.is_dir() and (options.runs.exists() or options.runs != RUNS):
        raise ValueError(f"there must be a folder of runs at '{options.runs}', but there is none")
    found = status(options.runs)
    if not found:
        print(f"no runs in '{options.runs}'")
        return
    table = Table("run", "level", "epoch", "density", "test accuracy", "state", "time left")
    for run in found:
        left = "" if run.seconds_left is None else duration(run.seconds_left)
        accuracy = "" if run.accuracy is None else f"{run.accuracy:.2%}"
        density = "" if run.density is None else f"{run.density:.2%}"
        table.add_row(run.run_id, run.level, run.epoch, density, accuracy, run.state, left)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _export(options: argparse.Namespace) -> None:
    from deepexp.export import export

    for path in export(options.folder, options.level, options.out):
        print(path)


def _data(options: argparse.Namespace) -> None:
    from deepexp import sources

    if options.dataset not in sources.SOURCES:
        raise ValueError(f"the data set must be one of {', '.join(sources.SOURCES)}, got '{options.dataset}'")
    if options.url and not (options.action == "fetch" and sources.SOURCES[options.dataset].url):
        raise ValueError(
            f"--url is the archive that `data fetch` downloads, and there is none for `data {options.action} "
            f"{options.dataset}`; leave it out"
        )
    if options.action == "fetch":
        print(sources.fetch(options.dataset, url=options.url, progress=not options.quiet))
    if sources.SOURCES[options.dataset].in_files:
        _verify_folder(options)
        return
    variant = sources.verify(options.dataset)
    print(f"{options.dataset}: {variant}")
    if variant == "unknown":
        raise ValueError(
            f"{options.dataset} must be one of {', '.join(sources.SOURCES[options.dataset].variants)}"
        )


def _verify_folder(options: argparse.Namespace) -> None:
    from rich.progress import Progress

    from deepexp import imagefolder

    with Progress(transient=True, disable=options.quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(options.dataset, total=None)
        found = imagefolder.verify(
            options.dataset, lambda done, of: bar.update(task, completed=done, total=of)
        )
    print(f"{options.dataset}: {found}")


def _bench(options: argparse.Namespace) -> None:
    from deepexp import bench

    mark = "deepexp benchmark"
    if options.readme:
        command.section(options.readme, mark)
    device = _device(options.device)
    chosen = bench.settings(
        *(options.dataset, options.model, options.batch),
        device=device,
        threads=options.threads,
        precision=options.precision,
    )
    images = options.images or (5000 if device == "cpu" else 10**9)
    compiled = options.compile or device == "cuda"
    parts = []
    for part in bench.report(chosen, images=images, seconds=options.seconds, compiled=compiled):
        print(part, end="\n\n", flush=True)
        parts.append(part)
    if options.readme:
        command.replace_section(options.readme, mark, "\n\n".join(parts))


def _gpu_check(options: argparse.Namespace) -> None:
    import torch

    if not torch.cuda.is_available():
        raise ValueError("gpu-check needs a CUDA device, but torch finds none; run it on a machine with one")
    from deepexp import gpu_check

    failed, count = [], 0
    for found in gpu_check.run("cuda", options.out):
        count += 1
        failed += [found.check] if found.ok is False else []
        print(found, flush=True)
    print(options.out)
    if failed:
        raise Failure(f"{len(failed)} of {count} checks failed, the first {failed[0]}")


def _doctor(_: argparse.Namespace) -> None:
    from deepexp import doctor

    for line in doctor.lines():
        print(line)
