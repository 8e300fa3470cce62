"""Code shared by all command lines: the parser, `--version`, paths, numbers, exit codes and error messages.

The exit codes are 0 (success), 1 (failure during the run), 2 (bad input), 130 (interrupted) and 141 (broken
pipe). Every error is printed as one line on stderr.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
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
    """A parser for a program or subcommand that reports errors on one line and accepts no abbreviations."""

    def __init__(self, *, prog: str, description: str | None = None, **options: object) -> None:
        """Set the name and description of the program; ignore any other options that argparse passes."""
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the message without argparse's usage lines, and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"{parser.prog} {version('signflow')} (revision {revision()})")
        parser.exit()


def parser(prog: str, description: str) -> Parser:
    """Make the parser for a program, with `--version`.

    Parameters
    ----------
    prog : str
        Name of the program.
    description : str
        What the program does, for `--help`.

    Returns
    -------
    Parser
        The parser.
    """
    made = Parser(prog=prog, description=description)
    text = "print the version and the git revision"
    made.add_argument("--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help=text)
    return made


def path(text: str) -> Path:
    """Read a path from the command line.

    Parameters
    ----------
    text : str
        The path; `~` is the home folder, even if the shell has not expanded it.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text cannot be the name of a file or folder.
    """
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"a path must be the name of a file or a folder, got {text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(
            f"'~' must be followed by '/' or the name of a user of this machine, got {text!r}; for a file of "
            f"that name write './{text}'"
        ) from None


def integer(text: str) -> int:
    """Read a whole number from the command line.

    Parameters
    ----------
    text : str
        The number; exponents, as in 1e6, are allowed.

    Returns
    -------
    int
        The number, exact even if it is large.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is not a whole number, or the number has more than 100 digits.
    """
    try:
        value = Decimal(text)
        if value.is_finite() and value.adjusted() < 100 and value == value.to_integral_value():
            return int(value)
    except InvalidOperation:
        pass
    raise argparse.ArgumentTypeError(f"must be a whole number of at most 100 digits, got {text!r}")


def say_next(what: str, *words: object) -> None:
    """Print the command to type next.

    Parameters
    ----------
    what : str
        What the command does, such as 'draw it'.
    *words : object
        The words of the command. They are printed with the quotes that a shell needs.
    """
    print(f"{what}: {shlex.join(map(str, words))}", flush=True)


def opener() -> str:
    """Return the command with which this system opens a file or a folder."""
    return {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")


def fail(prog: str, code: int, message: str) -> int:
    """Print an error on one line of stderr.

    Parameters
    ----------
    prog : str
        Name of the program, printed at the start of the line.
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
    """Run a program and turn any exception into one line on stderr.

    Parameters
    ----------
    prog : str
        Name of the program.
    action : Callable[[], int | None]
        The program; it returns its exit code, or None for 0.

    Returns
    -------
    int
        The exit code of `action`, or the code for the exception it raised.
    """
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal cannot show are printed as backslash escapes.
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
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        code = 141  # 128 + SIGPIPE, as shells report it
    except OSError as error:
        code = fail(prog, 1, f"'{error.filename}': {error.strerror}" if error.filename else str(error))
    except Failure as error:
        code = fail(prog, 1, str(error))
    except Exception as error:
        code = fail(prog, 1, f"{type(error).__name__}: {error}")
    try:
        sys.stdout.flush()
    except OSError:  # Python flushes again on exit, and that flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if before is not None:
        signal.signal(signal.SIGINT, before)
    return code
