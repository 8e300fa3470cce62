"""The pages of the documentation that follow from the code: commands, presets, recipes, results, figures."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

import deepexp.cli.main
import figures.cli
import singleneuron.cli.main
from deepexp.analysis import labels as deep_labels
from deepexp.config.protocols import PROTOCOLS
from deepexp.predictions.predictions import PREDICTIONS
from deepexp.recipes.recipe import Recipe, recipes
from figures import kinds
from figures.deep.converged import SHOWS
from signflow.provenance import RECORDED
from signflow.results import read
from singleneuron import presets
from singleneuron import theory as proofs
from singleneuron.experiments import labels
from singleneuron.problem.status import FAILURE, SUCCESS, Status
from singleneuron.verification.conditions import FUNCTIONS, NAMES
from singleneuron.verification.shipped import shipped

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "figures/gallery"
PROGRAMS = {
    "singleneuron": singleneuron.cli.main._parser,
    "deepexp": deepexp.cli.main._parser,
    "figures": figures.cli._parser,
}


def write(folder: Path) -> None:
    """Write every generated page into a folder, which is made anew.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = {
        "commands": commands, "presets": preset_page, "recipes": recipe_page, "results": result_page,
        "gallery": gallery, "statements": statement_page, "laptop_converged": verdict_page,
    }  # fmt: skip
    for name, lines in pages.items():
        (folder / f"{name}.md").write_text("\n".join(lines()) + "\n", encoding="utf-8")


def _plain(text: str) -> str:
    """Return text in which no character means anything in Markdown."""
    for character in "\\*_<>[]|$#`{}":
        text = text.replace(character, f"\\{character}")
    return text


def _table(*header: str) -> list[str]:
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def commands() -> Iterator[str]:
    """Yield the reference of all commands, from their parsers."""
    yield "# Commands"
    yield (
        "\nExit codes: 0 done, 1 a failure in the run (for `singleneuron verify` also a verdict other than "
        "VERIFIED and NOT REFUTED), 2 bad input, 130 interrupted. An error is one line on stderr. A command "
        "that has been silent for five seconds says there what it is waiting for; the environment variable "
        "`SIGNFLOW_PATIENCE` sets another number of seconds. `--version` prints the version and the "
        "revision, `--quiet` leaves only errors."
    )
    for program, make in PROGRAMS.items():
        parser = make()
        yield f"\n## {program}\n\n{_plain(parser.description or '')}"
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
                for name, sub in action.choices.items():
                    yield from _command(f"{program} {name}", helps[name], sub)


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the section of one command: its usage, and a definition for every argument."""
    formatter = argparse.HelpFormatter(name, width=88)
    formatter.add_usage(None, parser._actions, parser._mutually_exclusive_groups)
    yield f"\n### {name}\n\n{_plain(text)}.\n\n```text\n{formatter.format_help().strip()}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        value = formatter._format_args(action, (action.dest if not action.choices else "").upper())
        value = value or "|".join(map(str, action.choices or ()))
        words = action.option_strings or [""]
        yield "\n".join(f"`{f'{word} {value}'.strip()}`" for word in words)
        said = formatter._expand_help(action) if action.help else "see above"
        if action.choices and action.help:
            said += f"; one of {', '.join(map(str, action.choices))}"
        yield f": {_plain(said)}\n"


def preset_page() -> Iterator[str]:
    """Yield the reference of all presets."""
    yield "# Presets"
    yield (
        "\nA preset lists the tables that a figure is drawn from. `singleneuron preset NAME` computes them, "
        "unless the result is up to date, and `figures draw build/results/NAME.nc` draws them."
    )
    for name in presets.names():
        preset = presets.load(name)
        text = files(presets).joinpath(f"{name}.toml").read_text("utf-8").strip()
        yield f"\n## {name}\n\n{_plain(preset.title)}.\n\n{' '.join(preset.shows.split())}\n"
        yield f"```toml\n{text}\n```"


def recipe_page() -> Iterator[str]:
    """Yield the reference of all recipes, of the predictions they decide, and of the protocols."""
    yield "# Recipes\n\nA recipe is a TOML file in `deepexp/recipes/`; give a recipe of your own as a path.\n"
    for name, recipe in recipes().items():
        yield from _recipe(name, recipe)
    yield "\n## Predictions\n"
    yield from _table("", "prediction", "primary estimate per seed", "bound", "margin", "decided by")
    for name, item in PREDICTIONS.items():
        by = ", ".join(f"`{key}`" for key, recipe in recipes().items() if name in recipe.predictions)
        margin = "5 % of the mean flips" if item.margin != item.margin else f"{item.margin:g} {item.unit}"
        yield _row(name, item.statement, item.primary, f"{item.bound:g}", margin, by)
    yield "\n[How a verdict follows from these](../explanation/statistics.md).\n"
    yield "\n## Protocols\n"
    yield from _table("`--protocol`", "follows", "data sets")
    for name, protocol in PROTOCOLS.items():
        yield _row(f"`{name}`", _plain(protocol.source), ", ".join(protocol.settings))
    yield "\n`deepexp/config/protocols.py` lists the differences between each protocol and its source.\n"


def _recipe(name: str, recipe: Recipe) -> Iterator[str]:
    stop = "" if recipe.question.endswith("?") else "."
    yield f"\n## {name}\n\n{_plain(recipe.question)}{stop}\n\nSource: {_plain(recipe.source)}."
    if recipe.predictions:
        yield f"\nDecides {', '.join(recipe.predictions)}."
    yield f"\nArms: {', '.join(f'`{arm}`' for arm in recipe.arms)}.\n"
    yield from _table("profile", "protocol", "panels", "seeds")
    for label, profile in recipe.profiles.items():
        seeds = ", ".join(map(str, profile.seeds))
        optional = f" (on request: {', '.join(profile.optional)})" if profile.optional else ""
        yield _row(label, profile.protocol, ", ".join(profile.panels) + optional, seeds)


def result_page() -> Iterator[str]:
    """Yield the reference of the variables and attributes of result files."""
    yield "# Variables of result files\n\n## Status codes\n"
    yield from _table("code", "status", "counts as")
    for status in Status:
        counts = "success" if status in SUCCESS else "failure" if status in FAILURE else "neither"
        yield _row(status.value, status.label, counts)
    yield "\n## Attributes of the file\n"
    about = {
        "config": "the configuration, as JSON", "seed": "the seed, if there is one",
        "versions": "the versions of Python and of the libraries, as JSON",
        "revision": "the git revision; it ends in '-dirty' if the sources were edited",
        "source_digest": "a SHA-256 digest of the sources that compute",
        "created": "the time at which the file was written", "platform": "the operating system",
        "cpu": "the processor, and how many logical cores it has",
    }  # fmt: skip
    yield from _table("attribute", "meaning")
    for key in ("config", "seed", *(key for key in RECORDED if key != "config")):
        yield _row(f"`{key}`", about[key])
    for title, names in (("singleneuron", labels.NAMES), ("deepexp", deep_labels.NAMES)):
        yield f"\n## Variables of {title}\n"
        yield from _table("variable", "`long_name`")
        for name, text in names.items():
            yield _row(f"`{name}`", _plain(text))
    yield "\nA statistic over seeds of the variable `NAME` is a variable of its own:\n"
    yield from _table("variable", "`long_name`")
    for part, text in deep_labels.STATISTICS.items():
        yield _row(f"`NAME_{part}`", _plain(text))


def verdict_page() -> Iterator[str]:
    """Yield the verdicts that the result of `laptop-converged` has reached, each with its statement."""
    tables = read(GALLERY / "laptop-converged.nc")
    levels, verdicts = tables["levels"], tables["verdicts"]
    planned = json.loads(levels.attrs["config"])["runs"]
    missing = json.loads(levels.attrs["missing"])
    yield "# Verdicts of laptop-converged\n"
    yield (
        f"In `figures/gallery/laptop-converged.nc`, {len(planned) - len(missing)} of {len(planned)} runs are "
        "complete. A prediction has a row for each panel in which complete runs give an estimate.\n"
    )
    yield from _table("prediction", "panel", "seeds", "estimate", "95 % interval", "unit", "verdict")
    decided = [verdicts.isel(verdict=i) for i in np.flatnonzero(np.isfinite(verdicts.estimate.values))]
    for row in decided:
        name, panel, unit, text = (row[key].item() for key in ("prediction", "panel", "unit", "text"))
        ends = f"{float(row.low):.3g} to {float(row.high):.3g}" if np.isfinite(row.low) else ""
        estimate = f"{float(row.estimate):.3g}"
        yield _row(name + row.variant.item(), panel, int(row.seeds), estimate, ends, unit, _plain(text))
    yield "\n"
    yield from _table("prediction", "statement", "what is estimated")
    stated = {row.prediction.item() + row.variant.item(): row for row in decided}
    for name, row in stated.items():
        yield _row(name, _plain(row.statement.item()), _plain(row.primary.item()))


def gallery() -> Iterator[str]:
    """Yield every figure that has a name, with the command that makes it."""
    yield "# Gallery\n\nEvery figure, and the command that makes it. All are drawn by `figures draw`."
    known = recipes()
    for name in kinds.NAMED:
        preset = presets.load(name) if name in presets.names() else None
        recipe = kinds.result_of(name)
        asked = _plain(known[recipe].question) if preset is None else " ".join(preset.shows.split())
        shown = SHOWS.get(name, asked)
        title = "" if preset is None else f"{_plain(preset.title)}.\n\n"
        yield f"\n## {name}\n\n{title}{shown}\n"
        if (GALLERY / f"{name}.png").is_file():
            alt = shown if preset is None else _plain(preset.title)
            yield f"![{alt}](../../figures/gallery/{name}.png)\n"
        first = f"make deep RECIPE={recipe}" if preset is None else f"singleneuron preset {name}"
        draw = "" if preset is None else f"\nfigures draw build/results/{name}.nc"
        yield f"```shell\n{first}{draw}\n```"


def statement_page() -> Iterator[str]:
    """Yield the shipped statements, the derivations behind them, and the words of a condition."""
    yield "# Statements and derivations\n\n`singleneuron verify` decides these statements."
    for statement in shipped():
        yield f"\n## {statement.id}\n\n{statement.text}\n"
        if statement.derivations:
            yield f"Derived by: {'; '.join(_plain(title) for title in statement.derivations)}."
        if statement.figure:
            yield f"\nFigure: [`{statement.figure}`](gallery.md)."
    yield "\n## Derivations\n\nSympy derives each of these from the loss, in `singleneuron/theory/`.\n"
    for title, derivation in proofs.derivations().items():
        text = " ".join((derivation.__doc__ or "").split("\n\n")[0].split())
        yield f"\n{_plain(title)}\n: {_plain(text)}\n"
    yield "\n## Words of a condition\n"
    yield from _table("name", "meaning")
    for name, text in NAMES.items():
        yield _row(f"`{name}`", _plain(text))
    yield f"\nFunctions: {', '.join(f'`{name}`' for name in FUNCTIONS)}; the constant `pi`."
