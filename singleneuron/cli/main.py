"""The command line: `singleneuron map | study | trajectory | preset | verify`."""

from __future__ import annotations

import argparse
import warnings
from typing import cast

from signflow import command_line
from singleneuron.cli.map import map_options, run_map
from singleneuron.cli.preset import preset_options, run_preset
from singleneuron.cli.study import run_study, study_options
from singleneuron.cli.trajectory import run_trajectory, trajectory_options
from singleneuron.cli.verify import run_verify, verify_options


def _parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = command_line.parser("singleneuron", "Train and prune a single hidden neuron.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, options, summary in (
        ("map", run_map, map_options, "success of pruning algorithms over a grid of (a(0), w_1(0))"),
        (
            "study", run_study, study_options,
            "success rates from random starts; every factor given becomes a dimension of the result",
        ),
        ("trajectory", run_trajectory, trajectory_options, "one trajectory at evenly spaced times"),
        ("preset", run_preset, preset_options, "the results from which the figures are drawn"),
        (
            "verify", run_verify, verify_options,
            "verdicts on the theorems and the results beyond them, or on a statement of your own "
            "(exit code 0: all are VERIFIED or NOT REFUTED, 1: there is another verdict, 2: bad input)",
        ),
    ):  # fmt: skip
        sub = commands.add_parser(name, help=summary, description=summary)
        options(sub)
        sub.add_argument("--overwrite", action="store_true", help="replace any existing file of this name")
        sub.add_argument("--quiet", action="store_true", help="print only errors")
        sub.set_defaults(run=run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run `singleneuron`, and return its exit code.

    The code is 0 when done, 1 after a failure, 2 on bad input, and 130 when interrupted.
    """
    options = _parser().parse_args(arguments)

    def run() -> int | None:
        with warnings.catch_warnings():
            # Overflow needs no warning, since the status of the trajectory shows it.
            warnings.simplefilter("ignore", RuntimeWarning)
            return cast("int | None", options.run(options))

    return command_line.finish("singleneuron", run)


if __name__ == "__main__":
    raise SystemExit(main())
