"""`singleneuron verify`: verdicts on the shipped statements, or on a statement of the user's own."""

from __future__ import annotations

import argparse
import tomllib
from typing import TYPE_CHECKING

from signflow import command_line
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
        help="starts per statement (1000000; 4000 if it trains on samples in d > 1)",
    )
    add("--seed", type=command_line.integer, default=0, help="seed of all random draws (%(default)s)")
    text = (
        "result file, .json (build/results/verdicts.json, or verdicts-NAME.json for the statement NAME.toml)"
    )
    add("--out", type=command_line.path, metavar="FILE", help=text)


def run_verify(options: argparse.Namespace) -> int:
    """Verify statements, write the verdicts, and print them; return 0 if every verdict is in DONE, else 1."""
    # The verdict on a user's own statement must not replace the verdicts on the shipped statements.
    from singleneuron.verification import shipped, statements, verify

    name, config = "verdicts", config_of(options)
    wanted = shipped.shipped() if options.statement is None else (statements.read(options.statement),)
    if options.statement is not None:
        name = f"verdicts-{options.statement.stem}"
        # The contents count: an edited statement is another one.
        contents = tomllib.loads(read_text(options.statement))
        config["statement"] = {"file": options.statement.name, **contents}
    out = options.out or RESULTS / f"{name}.json"
    claim(out, config=config, overwrite=options.overwrite, suffixes=(".json",))
    from signflow.verdicts import DONE, write_verdicts

    with progress_bar("verify", options.quiet) as progress:
        verdicts = verify.verify(wanted, runs=options.runs, seed=options.seed, progress=progress)
    made = provenance(config, options.seed)
    write_verdicts([verdict.model_copy(update={"provenance": made}) for verdict in verdicts], out)
    if not options.quiet:
        _print_verdicts(verdicts)
        print(out)
    return int(not all(verdict.word in DONE for verdict in verdicts))


def _print_verdicts(verdicts: list[Verdict]) -> None:
    """Print a table with a row for each statement, and each counterexample below the table."""
    from rich.console import Console
    from rich.table import Table

    from singleneuron.verification.verify import summary

    columns = ("statement", "verdict", "symbolic", "law against ODE", "Monte Carlo", "figure")
    table = Table(*columns, show_lines=True)
    for verdict in verdicts:
        row = summary(verdict)
        table.add_row(*(row[column] for column in columns))
    console = Console()
    console.print(table, markup=False)
    for verdict in verdicts:
        if verdict.counterexample is not None:
            found = verdict.counterexample.model_dump(mode="json", exclude_unset=True)
            console.print(f"{verdict.id} is refuted by", found, markup=False)
