"""The commands `figures draw`, which draws result files as PDF and PNG, and `figures report`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from signflow import command_line
from signflow.files import atomic, check_output
from signflow.messages import unknown
from signflow.results import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from figures.panels import ResultTables
    from figures.report import page as report
    from signflow import verdicts as signflow_verdicts

    Draw = Callable[[ResultTables], Figure]

_Made = TypeVar("_Made")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("figures", "Draw figures and the report from result files.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    draw = commands.add_parser("draw", help="draw figures to PDF and PNG")
    draw.add_argument(
        "names", nargs="+", metavar="NAME", help="a figure, 'all' (the theorem figures), or 'studies'"
    )
    draw.add_argument(
        "--out",
        type=command_line.path,
        default=Path("build/figures"),
        metavar="DIR",
        help="folder to write to (%(default)s)",
    )
    draw.set_defaults(run=_draw)
    report = commands.add_parser("report", help="write verdicts and figures as an HTML page")
    report.add_argument(
        "--verdicts",
        type=command_line.path,
        nargs="+",
        metavar="FILE",
        help="verdict files (verdicts.json in the folder of the results)",
    )
    report.add_argument(
        "--out",
        type=command_line.path,
        default=Path("build/report/index.html"),
        metavar="FILE",
        help="page to write (%(default)s)",
    )
    report.set_defaults(run=_report)
    for sub in (draw, report):
        sub.add_argument(
            "--results",
            type=command_line.path,
            default=Path("build/results"),
            metavar="DIR",
            help="folder with the result files (%(default)s)",
        )
        sub.add_argument("--quiet", action="store_true", help="print only errors")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run `figures`; return 0 on success, 1 after a failure, 2 on bad input, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    # A notebook passes the name of its matplotlib backend on to the programs that it starts, but that backend
    # may not be installed here. None is needed, since no window is shown.
    os.environ.pop("MPLBACKEND", None)
    # Matplotlib may warn about a matplotlibrc or about its own folder; neither affects the figures.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    return command_line.finish("figures", lambda: options.run(options))


def _draw(options: argparse.Namespace) -> None:
    from figures import style
    from figures.deep import experiments

    sets, known = _figures()
    if len(options.names) > 1 and (several := [name for name in options.names if name in sets]):
        raise ValueError(
            f"'{several[0]}' must be the only name, got {' '.join(options.names)}; pass it alone, or pass "
            "the names of figures"
        )
    names = sets.get(options.names[0], options.names)
    if odd := [name for name in names if not name or Path(name).name != name]:
        raise ValueError(
            f"a figure must be given by its name, not as a path, got {', '.join(map(repr, odd))}"
        )
    # A user's own recipe has no figure function of its own; its result file is drawn with `accuracy`.
    files = {name: options.results / f"{name}.nc" for name in names}
    if missing := sorted(name for name in set(names) - set(known) if not files[name].is_file()):
        unknown("a figure must be", missing[0], (*known, *sets))
    check_output(options.out / "probe.nc")
    for name in names:
        figure, _ = _draw_from(files[name], known.get(name, experiments.accuracy))
        for path in style.save(figure, options.out, name):
            if not options.quiet:
                print(path)


def _report(options: argparse.Namespace) -> None:
    from figures.report import explorer as report_explorer
    from figures.report import page as report
    from signflow import verdicts as signflow_verdicts

    check_output(options.out, (".html",))
    files = options.verdicts or [options.results / "verdicts.json"]
    verdicts = [verdict for file in files for verdict in signflow_verdicts.read_verdicts(file)]
    _, known = _figures()
    sources = {name: options.results / f"{name}.nc" for name in known}
    there = [name for name, source in sources.items() if source.is_file()]
    drawn = [_drawn(name, sources[name], known[name]) for name in there]
    explorer = options.results / "explorer.nc"
    embedded = _draw_from(explorer, report_explorer.embedded) if explorer.is_file() else None
    missing = [name for name in known if name not in there]
    try:
        page = report.page(verdicts, drawn, explorer=embedded, missing=missing)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"a verdict in {' or '.join(map(str, files))} is not valid output of `singleneuron verify` "
            f"({error!r}); run it again to recreate the file"
        ) from None
    with atomic(options.out) as temporary:
        temporary.write_text(page, "utf-8")
    if not options.quiet:
        print(options.out)


def _drawn(name: str, source: Path, draw: Draw) -> report.Drawn:
    """Draw a figure, and read the verdicts in its result file."""
    from figures.report import page as report

    def parts(tables: ResultTables) -> tuple[Figure, list[signflow_verdicts.PredictionVerdict]]:
        return draw(tables), report.predictions(tables)

    (figure, decided), attributes = _draw_from(source, parts)
    return report.Drawn(name, figure, attributes, decided)


def _figures() -> tuple[dict[str, list[str]], dict[str, Draw]]:
    """Return the names in the sets 'all' (theorems) and 'studies', and the function that draws each name."""
    from figures.deep import experiments
    from figures.neuron import samples, sign_in, studies
    from figures.neuron import theorems as toy

    theorems: dict[str, Draw] = {**toy.FIGURES, **samples.FIGURES, **sign_in.THEOREMS}
    rates: dict[str, Draw] = {**studies.FIGURES, **sign_in.STUDIES}
    return {"all": list(theorems), "studies": list(rates)}, theorems | rates | experiments.FIGURES


def _draw_from(source: Path, draw: Callable[[ResultTables], _Made]) -> tuple[_Made, Mapping[str, Any]]:
    """Apply `draw` to the tables in a result file; return the outcome and the attributes of the file."""
    tables = read(source)
    try:
        if not isinstance(tables, dict):
            raise KeyError("groups")
        return draw(tables), next(iter(tables.values())).attrs
    except (AttributeError, KeyError, ValueError) as error:  # xarray raises these for a missing variable
        raise ValueError(
            f"'{source}' does not hold the tables that {source.stem} draws ({error}); recreate it"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
