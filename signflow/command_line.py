"""Parts that the command lines have in common: parser, `--version`, paths, numbers, and how they end.

Exit codes: 0 done, 1 a failure in the run, 2 bad input, 130 interrupted; an error is one line on stderr.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from signflow.interrupt import heed
from signflow.messages import Failure
from signflow.provenance import revision, version


class Parser(argparse.ArgumentParser):
    """An argument parser, also of subcommands, that reports errors in one line and takes no abbreviations."""

    def __init__(self, *, prog: str, description: str | None = None, **options: object) -> None:
        """Take the name and description of a program; other options of argparse are ignored."""
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2 and the message, without argparse's lines of usage."""
        self.exit(2, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"{parser.prog} {version('signflow')} (revision {revision()})")
        parser.exit()


def parser(prog: str, description: str) -> Parser:
    """Make the parser of a program, with `--version`.

    Parameters
    ----------
    prog : str
        Name of the program.
    description : str
        What it does, for `--help`.

    Returns
    -------
    Parser
        The parser.
    """
    made = Parser(prog=prog, description=description)
    text = "print the version and its revision"
    made.add_argument("--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help=text)
    return made


def path(text: str) -> Path:
    """Read a path from the command line.

    Parameters
    ----------
    text : str
        The path; `~` is the home folder, even where the shell has not replaced it.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    argparse.ArgumentTypeError
        If it cannot name a file or folder.
    """
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"a path must be the name of a file or a folder, got {text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(
            f"'~' must begin a path with a user's home, got {text!r}; write './{text}' for that name"
        ) from None


def integer(text: str) -> int:
    """Read a whole number from the command line.

    Parameters
    ----------
    text : str
        The number, which may be written like 1e6.

    Returns
    -------
    int
        The number, exact at any size.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not a whole number.
    """
    try:
        value = Decimal(text)
        if value.is_finite() and value.adjusted() < 100 and value == value.to_integral_value():
            return int(value)
    except InvalidOperation:
        pass
    raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")


def fail(prog: str, code: int, message: str) -> int:
    """Print an error on one line of stderr.

    Parameters
    ----------
    prog : str
        Name of the program, which begins the line.
    code : int
        Exit code.
    message : str
        What went wrong; its line breaks become spaces.

    Returns
    -------
    int
        The exit code.
    """
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
    return code


def finish(prog: str, action: Callable[[], int | None]) -> int:
    """Run a program to its end, and turn whatever it raises into one line on stderr.

    Parameters
    ----------
    prog : str
        Name of the program.
    action : Callable[[], int | None]
        The program; it returns its exit code, where None is 0.

    Returns
    -------
    int
        The exit code of `action`, or that of the error that it ended with.
    """
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal lacks is shown by its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = heed()
    try:
        code = action() or 0
        sys.stdout.flush()
    except ValueError as error:
        code = fail(prog, 2, str(error))
    except KeyboardInterrupt as error:
        code = fail(prog, 130, f"interrupted{error}")
    except BrokenPipeError:  # the reader, such as `head`, has closed its end
        code = 141  # 128 + SIGPIPE, as shells report it
    except OSError as error:
        code = fail(prog, 1, f"'{error.filename}': {error.strerror}" if error.filename else str(error))
    except Failure as error:
        code = fail(prog, 1, str(error))
    except Exception as error:
        code = fail(prog, 1, f"{type(error).__name__}: {error}")
    try:
        sys.stdout.flush()
    except OSError:  # Python flushes once more as it exits: let that succeed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if before is not None:
        signal.signal(signal.SIGINT, before)
    return code
