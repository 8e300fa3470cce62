"""The command line: `singleneuron map | study | trajectory | preset | verify`."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING, cast

from signflow import command_line
from singleneuron.cli.map import _map, _map_options
from singleneuron.cli.preset import _preset, _preset_options
from singleneuron.cli.study import _study, _study_options
from singleneuron.cli.trajectory import _trajectory, _trajectory_options
from singleneuron.cli.verify import _verify, _verify_options

if TYPE_CHECKING:
    pass


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("singleneuron", "The single hidden neuron, trained and pruned.")
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


def main(arguments: list[str] | None = None) -> int:
    """Run `singleneuron`; return 0 when done, 1 after a failure, 2 on bad input, 130 when interrupted."""
    options = _parser().parse_args(arguments)

    def run() -> int | None:
        with warnings.catch_warnings():
            # Numbers that overflow are told by the status of their trajectories.
            warnings.simplefilter("ignore", RuntimeWarning)
            return cast("int | None", options.run(options))

    return command_line.finish("singleneuron", run)


if __name__ == "__main__":
    raise SystemExit(main())
