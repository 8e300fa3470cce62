"""The command line: `singleneuron map | study | trajectory | preset | verify`."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from figures import command
from figures.results import claim, is_current, provenance, write

if TYPE_CHECKING:
    import xarray as xr

RESULTS = Path("build/results")
FAILED_SHARE = 0.01
"""A map in which the integrator gave up on more of the cells is a failure."""
Progress = Callable[[int, int], None]


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("singleneuron", "The single hidden neuron, trained and pruned.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, options in (
        ("map", _map, _map_options),
        ("study", _study, _study_options),
        ("trajectory", _trajectory, _trajectory_options),
        ("preset", _preset, _preset_options),
        ("verify", _verify, _verify_options),
    ):
        summary = (options.__doc__ or "").strip()
        sub = commands.add_parser(name, help=summary, description=summary)
        options(sub)
        sub.add_argument("--overwrite", action="store_true", help="replace another result of that name")
        sub.add_argument("--quiet", action="store_true", help="print nothing but errors")
        sub.set_defaults(run=run)
    return parser


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--n", type=command.integer, help="train on this many samples (default: the population)"
    )
    parser.add_argument("--noise", type=float, default=0.0, help="its standard deviation (%(default)g)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="LR",
        help="gradient descent with this step (default: the flow)",
    )
    parser.add_argument("--seed", type=command.integer, default=0, help="of everything drawn (%(default)s)")


def _map_options(parser: argparse.ArgumentParser) -> None:
    """success of pruning algorithms over a grid of (a(0), w_1(0))"""
    add = parser.add_argument
    add("--d", type=command.integer, required=True, help="input coordinates")
    add(
        "--algorithm",
        nargs="+",
        default=["imp", "lrr"],
        choices=["imp", "wr", "lrr"],
        metavar="imp|wr|lrr",
        help="one or more (imp lrr)",
    )
    add("--resolution", type=command.integer, default=256, help="points on each axis (%(default)s)")
    add("--extent", type=float, default=2.0, metavar="E", help="both axes run from -E to E (%(default)g)")
    others = parser.add_mutually_exclusive_group()
    others.add_argument(
        "--w-perp", type=float, metavar="R", help="norm of the other coordinates (default: sqrt(1 - 1/d))"
    )
    others.add_argument("--balanced", action="store_true", help="choose that norm such that |w| = |a|")
    others.add_argument(
        "--average", type=command.integer, metavar="RUNS", help="draw them from N(0, 1/d), RUNS times"
    )
    add(
        "--imp",
        default="keep",
        choices=["keep", "rebalance"],
        help="a after IMP or WR has pruned (%(default)s)",
    )
    add("--rewind-time", type=float, metavar="T", help="the time WR rewinds to")
    add(
        "--levels",
        type=command.integer,
        default=1,
        help="number of prunings, geometric from d to 1 (%(default)s)",
    )
    _data_options(parser)
    add(
        "--level-time",
        type=float,
        default=float("inf"),
        metavar="T",
        help="training time of a level (default: to its limit)",
    )
    add(
        "--method",
        default="ode",
        choices=["ode", "exact"],
        help="integrate, or use closed forms (%(default)s)",
    )
    add("--workers", type=command.integer, help="threads (default: all cores)")
    add(
        "--out",
        type=command.path,
        default=RESULTS / "map.nc",
        metavar="FILE",
        help=".nc or .csv (%(default)s)",
    )


def _study_options(parser: argparse.ArgumentParser) -> None:
    """success rates from random starts; every factor given spans a dimension of the result"""
    add = parser.add_argument

    def factor(name: str, kind: Callable[[str], Any], text: str, **options: Any) -> None:
        add(name, type=kind, nargs="+", help=text, **options)

    factor("--d", command.integer, "input coordinates", required=True)
    factor("--n", _number_or_inf, "samples, drawn anew for every run; inf: the population (default)")
    factor("--noise", float, "standard deviation of their labels (0)")
    factor("--algorithm", str, "one or more (imp lrr)", default=["imp", "lrr"], metavar="imp|wr|lrr")
    factor("--init", str, "of a and w (balanced)", metavar="balanced|independent")
    factor("--scale", float, "factor of the starts (1)")
    factor("--learning-rate", float, "gradient descent with this step (default: the flow)", metavar="LR")
    factor("--level-time", float, "training time of a level (default: to its limit)", metavar="T")
    factor("--rewind-time", float, "the time WR rewinds to", metavar="T")
    factor("--targets", command.integer, "coordinates of the target (1)", metavar="K")
    add(
        "--levels",
        type=command.integer,
        default=1,
        help="number of prunings, geometric from d to K (%(default)s)",
    )
    add("--imp", default="keep", choices=["keep", "rebalance"], help="a after a pruning (%(default)s)")
    add(
        "--runs",
        type=command.integer,
        default=10_000,
        help="of every point (%(default)s); the most with --ci-width",
    )
    add("--ci-width", type=float, metavar="W", help="stop once every interval is narrower")
    add("--seed", type=command.integer, default=0, help="of everything drawn (%(default)s)")
    add(
        "--method",
        default="ode",
        choices=["ode", "exact"],
        help="integrate, or use closed forms (%(default)s)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=command.integer, help="processes (default: all cores)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work")
    add(
        "--out",
        type=command.path,
        default=RESULTS / "study.nc",
        metavar="FILE",
        help=".nc or .csv (%(default)s)",
    )
    add("--fresh", action="store_true", help="discard what an interrupted study has left in FILE.chunks")


def _number_or_inf(text: str) -> float:
    return float("inf") if text == "inf" else command.integer(text)


def _trajectory_options(parser: argparse.ArgumentParser) -> None:
    """one trajectory, at evenly spaced times"""
    add = parser.add_argument
    add("--d", type=command.integer, required=True, help="input coordinates")
    add("--a", type=float, required=True, help="outer weight at the start")
    add("--w", type=float, required=True, nargs="+", help="inner weights at the start, d numbers")
    _data_options(parser)
    add("--t-end", type=float, required=True, metavar="T", help="the last time")
    add("--points", type=command.integer, default=200, help="times, from 0 to T (%(default)s)")
    add(
        "--out",
        type=command.path,
        default=RESULTS / "trajectory.nc",
        metavar="FILE",
        help=".nc or .csv (%(default)s)",
    )


def _preset_options(parser: argparse.ArgumentParser) -> None:
    """the results that the figures are drawn from"""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("names", nargs="*", default=[], metavar="NAME")
    what.add_argument("--list", action="store_true", help="list the presets")
    what.add_argument("--figures", action="store_true", help="all that `figures draw all` needs")
    what.add_argument("--studies", action="store_true", help="all that `figures draw studies` needs")
    add = parser.add_argument
    add(
        "--out", type=command.path, default=RESULTS, metavar="DIR", help="folder of the results (%(default)s)"
    )
    add("--runs", type=command.integer, help="of every point of a study (default: as the preset states)")
    add("--workers", type=command.integer, help="processes of a study (default: all cores)")
    add("--fresh", action="store_true", help="discard what an interrupted study has left")


def _verify_options(parser: argparse.ArgumentParser) -> None:
    """a verdict on each theorem and on what goes beyond, or on a statement of your own"""
    add = parser.add_argument
    add(
        "--statement", type=command.path, metavar="FILE", help="a TOML file (default: all statements shipped)"
    )
    add(
        "--runs",
        type=command.integer,
        help="starts of each statement (1000000; 4000 of those that train samples in d > 1)",
    )
    add("--seed", type=command.integer, default=0, help="of everything drawn (%(default)s)")
    text = ".json (build/results/verdicts.json, or verdicts-NAME.json of the statement NAME.toml)"
    add("--out", type=command.path, metavar="FILE", help=text)


def main(arguments: list[str] | None = None) -> int:
    """Run `singleneuron`; return 0 when done, 1 after a failure, 2 on bad input, 130 when interrupted."""
    options = _parser().parse_args(arguments)

    def run() -> int | None:
        with warnings.catch_warnings():
            # Numbers that overflow are told by the status of their trajectories.
            warnings.simplefilter("ignore", RuntimeWarning)
            return cast("int | None", options.run(options))

    return command.finish("singleneuron", run)


def _fail(message: str) -> int:
    return command.fail("singleneuron", 1, message)


def _map(options: argparse.Namespace) -> int:
    config = _config(options)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn

    if options.workers is not None:
        import numba

        cores = numba.get_num_threads()
        if not 1 <= options.workers <= cores:
            raise ValueError(f"--workers must be from 1 to {cores}, the cores here, but is {options.workers}")
        numba.set_num_threads(options.workers)
    arguments = {key: value for key, value in config.items() if value is not None}
    arguments["algorithms"] = tuple(arguments.pop("algorithm"))
    with _progress("map", options.quiet) as progress:
        data = sn.success_map(**arguments, progress=progress)
    write(data, options.out, config=config, seed=options.seed)
    if not options.quiet:
        for algorithm in data.algorithm.values:
            print(_summary(data.sel(algorithm=algorithm), options))
        print(options.out)
    failed = int((data.status == sn.Status.FAILED).sum())
    cells = int((data.status >= 0).sum() if options.average is None else data.status.size)
    if failed > FAILED_SHARE * cells:
        return _fail(f"the integrator gave up on {failed} of {cells} cells, kept in {options.out}")
    return 0


def _study(options: argparse.Namespace) -> None:
    config = _config(options)
    claim(options.out, config=config, overwrite=options.overwrite)
    import singleneuron as sn
    from singleneuron import chunks

    arguments = {key: value for key, value in config.items() if value is not None}
    arguments["algorithms"] = arguments.pop("algorithm")
    folder = options.out.with_name(f"{options.out.name}.chunks")
    if options.fresh:
        chunks.discard(folder)
    with contextlib.ExitStack() as stack:
        if options.scheduler is not None:
            arguments["executor"] = stack.enter_context(command.cluster(options.scheduler))
        progress = stack.enter_context(_progress("study", options.quiet))
        data = sn.success_rate(**arguments, workers=options.workers, directory=folder, progress=progress)
    with chunks.kept(options.out, folder):
        write(data, options.out, config=config, seed=options.seed)
    chunks.finish(folder)
    if not options.quiet:
        print("\n".join(_rates(data)))
        print(options.out)


def _rates(data: xr.Dataset) -> Iterator[str]:
    """One line for every point of a study."""
    points = data.stack(point=list(data.sizes))
    for index in range(points.sizes["point"]):
        point = points.isel(point=index)
        name = " ".join(f"{dim} {point[dim].item()}" for dim in data.sizes)
        value = {key: point[key].item() for key in point.data_vars}
        theory = "" if math.isnan(value["predicted"]) else f", predicted {value['predicted']:.4f}"
        rate = [] if math.isnan(value["rate"]) else [f"{value['rate']:.4f}"]
        if value["undecided"]:
            rate.append(f"between {value['rate_low']:.4f} and {value['rate_high']:.4f}")
        yield (
            f"{name}: {', '.join(rate)} [{value['ci_low']:.4f}, {value['ci_high']:.4f}]{theory}; "
            f"{value['successes']} of {value['decided']} decided ({value['trapped']} trapped), "
            f"{value['undecided']} undecided"
        )


def _summary(cells: xr.Dataset, options: argparse.Namespace) -> str:
    """Cells by status, and how many decided ones differ from the predicted region; of averages the mean."""
    from singleneuron.outcome import Status, counts

    decided = cells.success.notnull()
    codes = cells.status.values
    name = cells.algorithm.item()
    # Theory is about the limit: cells that are not there yet, or follow another path, may well differ.
    finite = math.isfinite(options.level_time) or options.learning_rate is not None
    what = " (for the flow in the limit of long levels)" if finite else ""
    if options.average is not None:
        failed = int((codes == Status.FAILED).sum())
        low, high, theory = (float(cells[key].mean()) for key in ("success_low", "success_high", "predicted"))
        share = f"{low:.4f}" if low == high else f"between {low:.4f} and {high:.4f}"
        return (
            f"{name}: mean success {share}{'' if math.isnan(theory) else f', predicted {theory:.4f}{what}'}, "
            f"{int(decided.sum())} of {decided.size} cells decided in every run; {failed} failed"
        )
    known = decided & cells.predicted.notnull()
    differ = int((known & (cells.success != cells.predicted)).sum())
    statuses = ", ".join(f"{number} {label}" for label, number in counts(codes[codes >= 0]).items() if number)
    if not known.any():
        return f"{name}: {statuses}; no prediction"
    total = f"{differ} of {int(known.sum())} cells differ from the prediction{what}"
    return f"{name}: {statuses}; {total}"


def _trajectory(options: argparse.Namespace) -> int:
    config = _config(options)
    claim(options.out, config=config, overwrite=options.overwrite)
    if len(options.w) != options.d:
        raise ValueError(f"--w must give d = {options.d} numbers, got {len(options.w)}")
    from singleneuron.presets import Paths

    settings = config | {"a": (options.a,), "w": (tuple(options.w),)}
    with _progress("trajectory", options.quiet) as progress:
        path = Paths(**settings).compute(progress).isel(start=0, drop=True)
    status = path.status.item()
    data = path.drop_vars(["status", "success"]).assign_attrs(status=status)
    write(data, options.out, config=config, seed=options.seed)
    if not options.quiet:
        last = data.isel(time=-1)
        w = " ".join(f"{value:.6g}" for value in last.w.values)
        print(f"{status}: a = {last.a.item():.6g}, w = {w}, loss = {last.loss.item():.3g}")
        print(options.out)
    if status == "failed":
        return _fail(f"the integrator gave up; how far it came is kept in {options.out}")
    return 0


def _preset(options: argparse.Namespace) -> None:
    from singleneuron import chunks, presets

    if options.list:
        for name in presets.names():
            print(f"{name:14} {presets.load(name).title}")
        return
    found = {name: presets.load(name) for name in options.names or presets.names()}
    if not options.names:
        drawn = "theorem" if options.figures else "study"
        found = {name: preset for name, preset in found.items() if preset.figure == drawn}
    if options.runs is not None:
        found = {name: preset.with_runs(options.runs) for name, preset in found.items()}
    configs = {name: preset.model_dump(mode="json", exclude_none=True) for name, preset in found.items()}
    paths = {
        name: claim(options.out / f"{name}.nc", config=config, overwrite=options.overwrite)
        for name, config in configs.items()
    }
    for name, preset in found.items():
        config, path = configs[name], paths[name]
        left = [options.out / presets.chunks(name, label) for label in preset.parts]
        if options.fresh:
            for folder in left:
                chunks.discard(folder)
        if is_current(path, config=config):
            message = f"{path} (up to date)"
        else:
            with _progress(name, options.quiet) as progress:
                tables = presets.run(
                    name, runs=options.runs, workers=options.workers, directory=options.out, progress=progress
                )
            write(tables, path, config=config)
            for folder in left:
                chunks.finish(folder)
            message = str(path)
        if not options.quiet:
            print(message, flush=True)


def _verify(options: argparse.Namespace) -> int:
    # The verdicts on the statements shipped are not those on a statement of the user's own.
    name = "verdicts" if options.statement is None else f"verdicts-{options.statement.stem}"
    config, out = _config(options), options.out or RESULTS / f"{name}.json"
    claim(out, config=config, overwrite=options.overwrite, suffixes=(".json",))
    from singleneuron import statements, verify

    wanted = statements.shipped() if options.statement is None else (statements.read(options.statement),)
    with _progress("verify", options.quiet) as progress:
        verdicts = verify.verify(wanted, runs=options.runs, seed=options.seed, progress=progress)
    made = provenance(config, options.seed)
    verify.write([verdict | {"provenance": made} for verdict in verdicts], out)
    if not options.quiet:
        _print_verdicts(verdicts)
        print(out)
    return int(not all(item["verdict"].startswith(verify.DONE) for item in verdicts))


def _print_verdicts(verdicts: list[dict[str, Any]]) -> None:
    """A table on stdout: a row for each statement, and each counterexample below it."""
    from rich.console import Console
    from rich.table import Table

    from singleneuron.verify import summary

    columns = ("statement", "verdict", "symbolic", "law against ODE", "Monte Carlo", "figure")
    table = Table(*columns, show_lines=True)
    for item in verdicts:
        row = summary(item)
        table.add_row(*(row[column] for column in columns))
    console = Console()
    console.print(table, markup=False)
    for item in verdicts:
        if item["counterexample"] is not None:
            console.print(f"{item['id']} is refuted by", item["counterexample"], markup=False)


def _config(options: argparse.Namespace) -> dict[str, Any]:
    """The options that determine the result."""
    others = ("run", "quiet", "out", "overwrite", "workers", "scheduler", "fresh")
    return {key: value for key, value in vars(options).items() if key not in others}


@contextlib.contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Progress]:
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


if __name__ == "__main__":
    raise SystemExit(main())
