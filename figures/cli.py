"""`figures draw`: result files to PDF and PNG."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from figures.results import check_output, read, revision


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"{parser.prog} {version('signflow')} (revision {revision()})")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="figures", description="Draw the figures from result files.", allow_abbrev=False)
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        default=argparse.SUPPRESS,
        help="print the version and its revision",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    draw = commands.add_parser("draw", help="draw figures to PDF and PNG", allow_abbrev=False)
    draw.add_argument("names", nargs="+", metavar="NAME", help="a figure, 'all' (theorems), or 'studies'")
    draw.add_argument(
        "--results", type=Path, default=Path("build/results"), metavar="DIR", help="(%(default)s)"
    )
    draw.add_argument("--out", type=Path, default=Path("build/figures"), metavar="DIR", help="(%(default)s)")
    draw.add_argument("--quiet", action="store_true", help="print nothing but errors")
    draw.set_defaults(run=_draw)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run `figures`; return 0 when done, 1 after a failure, 2 on bad input."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except ValueError as error:
        print(f"figures: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader had enough; the exit flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells tell it
    except Exception as error:
        print(f"figures: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _draw(options: argparse.Namespace) -> None:
    from figures import deep, samples, studies, style, toy

    sets = {"all": list(toy.FIGURES | samples.FIGURES), "studies": list(studies.FIGURES)}
    known = toy.FIGURES | samples.FIGURES | studies.FIGURES | deep.FIGURES
    if len(options.names) > 1 and (several := [name for name in options.names if name in sets]):
        raise ValueError(
            f"give '{several[0]}' alone or the names of figures, but got {' '.join(options.names)}"
        )
    names = sets.get(options.names[0], options.names)
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(
            f"a figure must be one of {', '.join(known)}, all or studies, got {', '.join(unknown)}"
        )
    check_output(options.out / "probe.nc")
    for name in names:
        source = options.results / f"{name}.nc"
        data = read(source)
        try:
            if not isinstance(data, dict):
                raise KeyError("groups")
            figure = known[name](data)
        except (
            AttributeError,
            KeyError,
            ValueError,
        ) as error:  # xarray's ways to miss a variable or dimension
            raise ValueError(f"'{source}' does not hold what {name} draws ({error}); make it again") from None
        for path in style.save(figure, options.out, name):
            if not options.quiet:
                print(path)
