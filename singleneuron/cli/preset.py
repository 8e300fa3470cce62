"""`singleneuron preset`: the results behind the shipped figures, or behind a file of your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from signflow import command_line, waiting
from signflow.results import claim, is_current, write
from singleneuron.cli.common import RESULTS, progress_bar


def preset_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `singleneuron preset`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("names", nargs="*", default=[], metavar="NAME|FILE.toml")
    what.add_argument("--list", action="store_true", help="list the presets")
    what.add_argument("--figures", action="store_true", help="compute what `figures draw all` needs")
    what.add_argument("--studies", action="store_true", help="compute what `figures draw studies` needs")
    add = parser.add_argument
    add(
        "--out",
        type=command_line.path,
        default=RESULTS,
        metavar="DIR",
        help="folder for the results (%(default)s)",
    )
    add(
        "--runs",
        type=command_line.integer,
        help="runs per point of a study (default: as in the preset)",
    )
    add("--workers", type=command_line.integer, help="number of processes for a study (default: all cores)")
    add("--fresh", action="store_true", help="discard the chunks left by an interrupted study")


def run_preset(options: argparse.Namespace) -> None:
    """List the presets, or compute the requested presets whose results are not up to date."""
    from singleneuron import presets
    from singleneuron.experiments import store

    if options.list:
        for name in presets.names():
            print(f"{name:14} {presets.load(name).title}")
        command_line.say_next("make one", "singleneuron", "preset", presets.names()[0])
        return
    given = _by_name(options.names or presets.names())
    found = {name: presets.load(preset) for name, preset in given.items()}
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
                store.discard(folder)
        if is_current(path, config=config):
            message = f"{path} (up to date)"
        else:
            with progress_bar(name, options.quiet) as progress:
                tables = presets.run(
                    given[name],
                    runs=options.runs,
                    workers=options.workers,
                    directory=options.out,
                    progress=progress,
                )
            write(tables, path, config=config)
            for folder in left:
                store.discard_finished(folder)
            message = str(path)
        if not options.quiet:
            print(message, flush=True)
            waiting.heard()
    if not options.quiet:
        shown = "draw it" if len(paths) == 1 else "draw them"
        command_line.say_next(shown, "figures", "draw", *paths.values())


def _by_name(given: Sequence[str]) -> dict[str, str]:
    """Return the presets by name, or raise ValueError if two of them would write the same result file."""
    from singleneuron.presets import name_of

    found: dict[str, str] = {}
    for preset in given:
        name = name_of(preset)
        if found.setdefault(name, preset) != preset:
            raise ValueError(f"'{found[name]}' and '{preset}' would both write '{name}.nc'; rename one")
    return found
