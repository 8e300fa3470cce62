"""`deepexp reduce`: gather a recipe's runs into one result file, and print its verdicts on predictions."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepexp.cli.recipes import planned_runs
from signflow import command_line
from signflow.files import check_output

if TYPE_CHECKING:
    import xarray as xr

    from deepexp.recipes.recipe import Recipe


def run_reduce(options: argparse.Namespace) -> None:
    """Write a result file from a recipe's runs or from an earlier result file, and print the verdicts."""
    from deepexp.analysis import tables as analysis
    from deepexp.analysis.labels import with_labels
    from deepexp.recipes.recipe import load
    from signflow.results import write

    recipe = load(options.recipe)
    out = check_output(options.out or Path("build/results") / f"{recipe.name}.nc", (".nc",))
    if options.result is not None:
        if options.seed or options.panel:
            raise ValueError("--from uses every seed and panel in the file; leave out --seed and --panel")
        tables, made_of = analysis.again(recipe, options.result, without_starved=options.without_starved)
    else:
        tables, made_of = _from_runs(options, recipe)
    print(write(with_labels(tables), out, config=made_of))
    _say_what_it_holds(tables, made_of)
    command_line.say_next("draw it", "figures", "draw", out)


def _say_what_it_holds(tables: dict[str, xr.Dataset], made_of: dict[str, Any]) -> None:
    """Print which runs are missing, which layers starve, and the verdicts."""
    from deepexp.analysis import starvation

    missing = json.loads(tables["levels"].attrs["missing"])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        print(f"not complete: {len(missing)} of {len(made_of['runs'])} runs, {', '.join(missing[:3])}{more}")
    for line in starvation.starvation(tables["levels"]):
        print(line)
    if "verdicts" in tables:
        _print_verdicts(tables["verdicts"])
        if added := made_of.get("added_seeds"):
            print(
                f"seeds that are not in the profile: {' '.join(map(str, added))}; if they were added because "
                "of a verdict, the intervals are too narrow (optional stopping); choose the seeds before the "
                "first verdict"
            )


def _from_runs(options: argparse.Namespace, recipe: Recipe) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Gather a recipe's runs into tables, and describe what the tables were made from."""
    from deepexp.analysis import tables as analysis

    planned = planned_runs(options)
    tables = analysis.tables(recipe, planned, options.runs, without_starved=options.without_starved)
    seeds = sorted({run.config.seed for run in planned})
    return tables, {
        "recipe": recipe.name,
        "title": recipe.question,
        "source": recipe.source,
        "profile": options.profile,
        "protocol": recipe.profiles[options.profile].protocol,
        "seed": ", ".join(map(str, seeds)),
        "added_seeds": [seed for seed in seeds if seed not in recipe.profiles[options.profile].seeds],
        "without_starved": options.without_starved,
        "runs": list(dict.fromkeys(run.config.run_id for run in planned)),
        "trained": analysis.origins(planned, options.runs),
    }


def _print_verdicts(verdicts: xr.Dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("prediction", "on", "primary estimate", "seeds", "verdict")
    for number in range(verdicts.sizes["verdict"]):
        row = {str(name): verdicts[name].values[number] for name in verdicts.data_vars}
        name = f"{row['prediction']} ({row['variant']})" if row["variant"] else str(row["prediction"])
        interval = f" [{row['low']:.3g}, {row['high']:.3g}]" if row["seeds"] > 1 else ""
        found = "" if row["word"] == "NOT RUN" else f"{row['estimate']:.3g}{interval} {row['unit']}"
        table.add_row(name, f"{row['panel']}, {row['network']}", found, str(row["seeds"]), str(row["text"]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
