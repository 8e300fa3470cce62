"""The commands `figures draw`, which draws results as PDF and PNG, and `figures report`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from signflow import command_line, waiting
from signflow.command_line import opener
from signflow.files import SUFFIXES, atomic, check_output
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
    parser = command_line.parser("figures", "Draw results, and the report of all figures and verdicts.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    draw = commands.add_parser("draw", help="draw results as PDF and PNG")
    draw.add_argument(
        "names",
        nargs="*",
        metavar="FILE|NAME",
        help="a result file, the name of a figure, 'all' (the theorem figures), 'studies', or - (the result "
        "files named on stdin)",
    )
    draw.add_argument("--list", action="store_true", help="list what can be drawn")
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
        help="verdict files (default: verdicts.json and verdicts-*.json in the results folder)",
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
    # may not be installed here. No backend is needed, because no window is shown.
    os.environ.pop("MPLBACKEND", None)
    # Matplotlib may warn about a matplotlibrc or about its own folder; neither affects the figures.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    return command_line.finish("figures", lambda: options.run(options))


def _draw(options: argparse.Namespace) -> None:
    if options.list:
        return _list(options.results)
    if not options.names:
        raise ValueError(
            "draw needs a result file or the name of a figure, but got none; `figures draw --list` lists both"
        )
    if options.names == ["-"]:
        check_output(options.out / "probe.nc")
        return _draw_all(_arriving(), options.out, options.quiet)
    files = [text for text in options.names if Path(text).suffix in SUFFIXES]
    names = _names([text for text in options.names if text not in files], options.results)
    if len({Path(text).stem for text in files} | set(names)) < len(files) + len(names):
        raise ValueError(
            f"results must have different names, because their pictures are named after them, got "
            f"{' '.join(options.names)}; draw them into different folders (--out)"
        )
    check_output(options.out / "probe.nc")
    sources = [(command_line.path(text), "") for text in files]
    sources += [(_result(options.results, name), name) for name in names]
    _draw_all(sources, options.out, options.quiet)
    return None


def _draw_all(sources: Iterable[tuple[Path, str]], out: Path, quiet: bool) -> None:
    """Draw result files, and print the paths of the pictures.

    Each source is a pair of a result file and the name of the figure to draw. If the name is empty, the file
    is drawn according to its contents.
    """
    from figures import style

    drawn: list[Path] = []
    for source, name in sources:
        with waiting.watch(f"drawing '{source}'", quiet):
            drawn += style.save(_picture(source, name), out, name or source.stem)
        if not quiet:
            print(*drawn[-2:], sep="\n", flush=True)
    if drawn and not quiet:
        one = len(drawn) == 2  # a PDF and a PNG
        command_line.say_next("see it" if one else "see them", opener(), drawn[-1] if one else out)


def _result(folder: Path, name: str) -> Path:
    """Return the result file that a figure is drawn from."""
    from figures import kinds

    return folder / f"{kinds.result_of(name)}.nc"


def _arriving() -> Iterator[tuple[Path, str]]:
    """Yield the result files named on the lines of stdin, as `singleneuron preset` prints them."""
    for line in sys.stdin:
        path = Path(line.rstrip("\n").removesuffix(" (up to date)"))
        if path.suffix in SUFFIXES and path.is_file():
            yield path, ""


def _picture(source: Path, name: str) -> Figure:
    """Draw a result file as the figure called `name` or, if `name` is empty, by the contents of the file."""
    from figures import kinds
    from figures.deep import experiments
    from figures.plotting import warn_if_outdated

    tables = read(source)
    warn_if_outdated(f"'{source}'", tables)
    if not name:
        with _described(source, "hold what a command writes"):
            return kinds.figure_of(tables, f"'{source}'")
    # A user's own recipe has no figure function, so its result file is drawn with `accuracy`.
    figure, _ = _draw_from(source, kinds.NAMED.get(name, experiments.accuracy))
    return figure


def _names(given: list[str], results: Path) -> list[str]:
    """Return the names of figures, with the name of a set replaced by the figures in it."""
    from figures import kinds

    sets = _sets()
    if len(given) > 1 and (several := [name for name in given if name in sets]):
        raise ValueError(
            f"'{several[0]}' must be the only name, got {' '.join(given)}; pass it alone, or pass "
            "the names of figures"
        )
    names = sets.get(given[0], given) if given else []
    if odd := [name for name in names if not name or Path(name).name != name]:
        raise ValueError(
            f"a figure must be given by its name, or as a file that ends in .nc or .csv, got "
            f"{', '.join(map(repr, odd))}"
        )
    known = set(kinds.NAMED)
    if missing := sorted(name for name in set(names) - known if not (results / f"{name}.nc").is_file()):
        unknown("a figure must be", missing[0], (*kinds.NAMED, *sets))
    return names


def _list(results: Path) -> None:
    """Print the kinds of file that can be drawn, the names of all figures, and which results exist."""
    from figures import kinds

    print("figures draw FILE draws a file according to its contents:")
    for kind in kinds.KINDS:
        print(f"    {kind.name:<28} {kind.shows}")
    print(f"    {'preset, recipe':<28} the figure of that name, listed below")
    print(f"figures draw NAME draws {results}/NAME.nc (* if this file exists):")
    for name, draw in kinds.NAMED.items():
        words = (draw.__doc__ or "").partition("\n")[0].removeprefix("Draw").lstrip(", ").rstrip(".")
        print(f"  {'*' if _result(results, name).is_file() else ' '} {name:<28} {words}")
    for name, members in _sets().items():
        print(f"    {name:<28} {members[0]} to {members[-1]}, {len(members)} figures")
    others = sorted(path for path in results.glob("*.[nc][cs]*") if path.suffix in SUFFIXES)
    mine = [str(path) for path in others if path.stem not in (*kinds.NAMED, "explorer")]
    if mine:
        print(f"your own results: {' '.join(mine)}")
    command_line.say_next("draw one", "figures", "draw", next(iter(mine), "fig1b"))


def _sets() -> dict[str, list[str]]:
    """Return the figures in each set: 'all' (theorems), 'studies', and the recipe with several figures."""
    from figures import kinds
    from figures.deep import converged

    several = list(converged.FIGURES)
    return {"all": list(kinds.THEOREMS), "studies": list(kinds.STUDIES), several[0]: several}


def _report(options: argparse.Namespace) -> None:
    from figures import kinds
    from figures.report import explorer as report_explorer
    from figures.report import page as report
    from signflow import verdicts as signflow_verdicts

    check_output(options.out, (".html",))
    shipped = options.results / "verdicts.json"
    files = options.verdicts or [shipped, *sorted(options.results.glob("verdicts-*.json"))]
    verdicts = [verdict for file in files for verdict in signflow_verdicts.read_verdicts(file)]
    counted = Counter(verdict.id for verdict in verdicts)
    if twice := [name for name, number in counted.items() if number > 1]:
        raise ValueError(
            f"a report must hold only one verdict on each statement, but {' and '.join(map(str, files))} "
            f"have {counted[twice[0]]} on '{twice[0]}'; choose files with --verdicts, or rename the statement"
        )
    known = kinds.NAMED
    sources = {name: _result(options.results, name) for name in known}
    there = [name for name, source in sources.items() if source.is_file()]
    explorer = options.results / "explorer.nc"
    missing = [name for name in known if name not in there]
    try:
        with waiting.watch("figures", options.quiet) as watch:
            watch.report(f"drawing {len(there)} figures into the page")
            drawn = [_drawn(name, sources[name], known[name]) for name in there]
            embedded = _draw_from(explorer, report_explorer.embedded) if explorer.is_file() else None
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
        command_line.say_next("read it", opener(), options.out)


def _drawn(name: str, source: Path, draw: Draw) -> report.Drawn:
    """Draw a figure, with the verdicts in its result file if the file and the figure have the same name.

    If several figures share a result file, only one of them then shows the verdicts.
    """
    from figures.deep.converged import SHOWS
    from figures.report import page as report

    def parts(tables: ResultTables) -> tuple[Figure, list[signflow_verdicts.PredictionVerdict]]:
        return draw(tables), report.predictions(tables) if name == source.stem else []

    (figure, decided), attributes = _draw_from(source, parts)
    return report.Drawn(name, figure, attributes, decided, SHOWS.get(name, ""))


def _draw_from(source: Path, draw: Callable[[ResultTables], _Made]) -> tuple[_Made, Mapping[str, Any]]:
    """Apply `draw` to the tables in a result file; return the outcome and the attributes of the file."""
    tables = read(source)
    with _described(source, f"hold the tables that {source.stem} draws", ValueError):
        if not isinstance(tables, dict):
            raise KeyError("groups")
        return draw(tables), next(iter(tables.values())).attrs


@contextlib.contextmanager
def _described(source: Path, expected: str, *more: type[Exception]) -> Iterator[None]:
    """Turn the errors for missing variables, and those in `more`, into one line that names the file."""
    missing: tuple[type[Exception], ...] = (AttributeError, KeyError, IndexError, *more)
    try:
        yield
    except missing as error:
        raise ValueError(
            f"'{source}' must {expected}, but something is missing ({error}); recreate the file"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
