"""Write a plan as a makefile, so that make's job server schedules its runs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from deepexp.recipes.plan import PlannedRun
from deepexp.schedule.units import units
from signflow.provenance import source_digest


def makefile(
    recipe: str, runs: Sequence[PlannedRun], folder: Path, options: Sequence[str], build: Path
) -> str:
    """Return a makefile for a plan's runs, result file and figure.

    The target of a run is its levels.csv. If the run is unfinished, its target is phony, since levels.csv may
    exist but have only some of the levels. The result file is also a phony target, unless it was made from
    exactly these runs by the current sources and the current recipe.

    Parameters
    ----------
    recipe : str
        The name of a recipe of this package, or the path of a TOML file.
    runs : sequence of PlannedRun
        The runs of the plan.
    folder : Path
        The folder of the runs.
    options : sequence of str
        The options of the plan, which the makefile passes on to `deepexp run` and `deepexp reduce`.
    build : Path
        The folder that contains results/ and figures/.

    Returns
    -------
    str
        The text of the makefile.

    Raises
    ------
    ValueError
        If a path has characters that make cannot handle.
    """
    name = Path(recipe).stem
    results, figure = build / "results" / f"{name}.nc", build / "figures" / f"{name}.png"
    for path in (folder, build, results):
        if re.search(r"[^\w./@+=,-]", str(path)):
            raise ValueError(f"make needs paths that contain only letters, digits and ./@+=,-_, got '{path}'")
    todo = units(runs, folder)
    always = [_target(run.config.run_id, folder) for unit in todo for run in unit]
    if not is_reduced(results, runs) or _is_newer(Path(recipe), results):
        always.append(str(results))
    told = shlex.join([recipe, *options, "--runs", str(folder)]).replace("$", "$$")
    lines = [
        f"INTERPRETER := {shlex.quote(sys.executable).replace('$', '$$')}",
        f".PHONY: all runs {' '.join(always)}",
        f"all: {figure}",
        f"runs: {' '.join(dict.fromkeys(_target(run.config.run_id, folder) for run in runs))}",
    ]
    for unit in todo:
        first, *others = (_target(run.config.run_id, folder) for run in unit)
        lines += [
            f"{first}: {' '.join(_target(need, folder) for run in unit for need in run.needs)}",
            f"\t@$(INTERPRETER) -m deepexp run {told} --only {unit[0].config.run_id}",
            *(f"{other}: {first}" for other in others),  # the command for `first` trains the whole stack
        ]
    lines += [
        f"{results}: {' '.join(dict.fromkeys(_target(run.config.run_id, folder) for run in runs))}",
        f"\t@$(INTERPRETER) -m deepexp reduce {told} --out {results}",
        f"{figure}: {results}",
        f"\t@$(INTERPRETER) -m figures draw {name} --results {results.parent} --out {figure.parent}",
    ]
    return "\n".join(lines) + "\n"


def is_reduced(results: Path, runs: Sequence[PlannedRun]) -> bool:
    """Return whether a result file is up to date.

    The file must have been made from exactly these runs, by the current sources, and with all levels, even if
    layers starve.
    """
    import h5netcdf

    try:
        with h5netcdf.File(results) as file:
            made_of, digest = json.loads(file.attrs["config"]), file.attrs["source_digest"]
    except (OSError, KeyError, ValueError):
        return False
    names = {run.config.run_id for run in runs}
    whole = not made_of.get("without_starved")
    return bool(whole and digest == source_digest() and set(made_of.get("runs", ())) == names)


def _is_newer(recipe: Path, results: Path) -> bool:
    """Return whether a recipe is a user's own file and newer than `results`.

    A recipe of the package is part of the sources, whose digest `is_reduced` compares.
    """
    return recipe.suffix == ".toml" and recipe.stat().st_mtime > results.stat().st_mtime


def _target(run_id: str, folder: Path) -> str:
    return str(folder / run_id / "levels.csv")
