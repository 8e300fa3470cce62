"""`singleneuron verify`: verdicts on the shipped statements, or on a user's own statement."""

from __future__ import annotations

import argparse
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from signflow import command_line, waiting
from signflow.files import read_text
from signflow.provenance import provenance
from signflow.results import claim
from singleneuron.cli.common import RESULTS, config_of, progress_bar

if TYPE_CHECKING:
    from signflow.verdicts import Verdict


def verify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `singleneuron verify`."""
    add = parser.add_argument
    add(
        "--statement",
        type=command_line.path,
        metavar="FILE",
        help="a TOML file with a statement of your own (default: all shipped statements)",
    )
    add(
        "--runs",
        type=command_line.integer,
        help="starts per statement (1000000; 4000 for samples in d > 1, 10000 for Sign-In)",
    )
    add("--seed", type=command_line.integer, default=0, help="seed of all random draws (%(default)s)")
    add("--verbose", action="store_true", help="also print a table of the evidence")
    text = (
        "result file, .json (build/results/verdicts.json, or verdicts-NAME.json for the statement NAME.toml)"
    )
    add("--out", type=command_line.path, metavar="FILE", help=text)


def run_verify(options: argparse.Namespace) -> int:
    """Verify statements, print each verdict as soon as it is reached, and write all verdicts to a file.

    Returns 0 if every statement is VERIFIED or NOT REFUTED, and 1 otherwise.
    """
    # The verdict on a user's own statement must not replace the verdicts on the shipped statements.
    from singleneuron.verification import shipped, statements, verify

    name, config = "verdicts", config_of(options)
    wanted = shipped.shipped() if options.statement is None else (statements.read(options.statement),)
    if options.statement is not None:
        name = f"verdicts-{options.statement.stem}"
        # The contents are part of the configuration, since an edited statement is a different statement.
        contents = tomllib.loads(read_text(options.statement))
        config["statement"] = {"file": options.statement.name, **contents}
    out = options.out or RESULTS / f"{name}.json"
    claim(out, config=config, overwrite=options.overwrite, suffixes=(".json",))
    from signflow.verdicts import DONE, write_verdicts

    found: list[Verdict] = []
    with progress_bar("verify", options.quiet) as progress:
        began = time.monotonic()
        for verdict in verify.verdicts(wanted, runs=options.runs, seed=options.seed, progress=progress):
            found.append(verdict)
            if not options.quiet:
                print(verify.brief(verdict, time.monotonic() - began), flush=True)
                waiting.heard()
            began = time.monotonic()
    made = provenance(config, options.seed)
    write_verdicts([verdict.model_copy(update={"provenance": made}) for verdict in found], out)
    if not options.quiet:
        _print_rest(found, options.verbose)
        print(out)
        command_line.say_next("read it as a page", "figures", "report", *_where(out))
    return int(not all(verdict.word in DONE for verdict in found))


def _where(out: Path) -> tuple[object, ...]:
    """Return the options with which `figures report` finds the verdicts, or none if it finds them anyway."""
    gathered = out.parent == RESULTS and out.name.startswith("verdicts")
    return () if gathered else ("--verdicts", out)


def _print_rest(verdicts: list[Verdict], verbose: bool) -> None:
    """Print reasons or, if `verbose`, a table of the evidence; then print counterexamples and a tally."""
    from rich.console import Console

    console = Console()
    if verbose:
        _print_table(verdicts)
    for verdict in verdicts:
        if verdict.why and not verbose:
            console.print(f"{verdict.id}: {verdict.why}", markup=False, highlight=False, soft_wrap=True)
        if verdict.counterexample is not None:
            found = verdict.counterexample.model_dump(mode="json", exclude_unset=True)
            console.print(f"{verdict.id} is refuted by", found, markup=False)
    counted = Counter(verdict.word for verdict in verdicts)
    tally = ", ".join(f"{number} {word}" for word, number in counted.items())
    print(f"{len(verdicts)} statement{'s' if len(verdicts) != 1 else ''}: {tally}")


def _print_table(verdicts: list[Verdict]) -> None:
    """Print a table of the evidence, with one row for each statement."""
    from rich.console import Console
    from rich.table import Table

    from singleneuron.verification.verify import summary

    columns = ("statement", "verdict", "symbolic", "law against ODE", "Monte Carlo", "figure")
    table = Table(*columns, show_lines=True)
    for verdict in verdicts:
        row = summary(verdict)
        table.add_row(*(row[column] for column in columns))
    Console().print(table, markup=False)
