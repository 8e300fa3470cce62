"""The verification report: verdicts, figures and provenance in one self-contained HTML page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import style
from figures.report.formulas import condition, mathml, prose
from signflow.verdicts import BrokenLaw, Count, PredictionVerdict, Verdict, WrongOutcome, WrongRate

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

WORDS = ("VERIFIED", "NOT REFUTED", "REFUTED", "UNDECIDED", "NOT RUN")
"""The verdicts of `singleneuron verify`, in the order in which the page counts them."""


@dataclass(frozen=True)
class Drawn:
    """A figure of the report, with the attributes and verdicts from its result file.

    Attributes
    ----------
    name : str
        Name of the figure, as in `figures draw NAME`.
    figure : Figure
        The figure.
    attributes : Mapping[str, Any]
        Provenance of the result file, with `config` as JSON.
    predictions : Sequence[PredictionVerdict]
        Verdicts on predictions from the result file.
    shows : str
        What the figure shows. If empty, the page takes the text from the configuration of the result.
    """

    name: str
    figure: Figure
    attributes: Mapping[str, Any]
    predictions: Sequence[PredictionVerdict] = ()
    shows: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the result."""
        return json.loads(self.attributes["config"])


def predictions(tables: Mapping[str, xr.Dataset]) -> list[PredictionVerdict]:
    """Read the verdicts on predictions from the tables of a result file.

    Parameters
    ----------
    tables : Mapping[str, xr.Dataset]
        Tables by name, including `verdicts` if the result decides predictions.

    Returns
    -------
    list[PredictionVerdict]
        The verdicts, one per row; empty if the result decides no predictions.
    """
    if "verdicts" not in tables:
        return []
    found = tables["verdicts"]
    columns = {name: found[name].values.tolist() for name in PredictionVerdict.model_fields}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [PredictionVerdict.model_validate(row) for row in rows]


def page(
    verdicts: Sequence[Verdict],
    drawn: Sequence[Drawn],
    *,
    explorer: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    missing: Sequence[str] = (),
) -> str:
    """Write the report as HTML.

    Parameters
    ----------
    verdicts : Sequence[Verdict]
        Verdicts of `singleneuron verify`, in the order in which the page shows them.
    drawn : Sequence[Drawn]
        Figures in the order of their numbers.
    explorer : tuple[Mapping[str, Any], Mapping[str, Any]] | None
        Data from `explorer.embedded`, and the attributes of the result file that holds the data. None if the
        file does not exist; the page then says how to create it.
    missing : Sequence[str]
        Names of the figures without a result file.

    Returns
    -------
    str
        The page.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    safe = {"prose": prose, "condition": condition, "math": mathml}  # these functions escape HTML themselves
    environment.filters.update({name: _marked(function) for name, function in safe.items()})
    environment.filters.update(
        count="{:,}".format, number=_number, counterexample=_counterexample, runs=_runs
    )
    derivations = {item.derivation: item for verdict in verdicts for item in verdict.evidence.symbolic}
    sources = [
        *_verdict_sources(verdicts),
        *((item.name, item.attributes) for item in drawn),
        *([] if explorer is None else [("explorer", explorer[1])]),
    ]
    return environment.get_template("report.html.j2").render(
        verdicts=verdicts,
        words=WORDS,
        predicted=[(item, row) for item in drawn for row in item.predictions],
        derivations=derivations,
        order=list(derivations),
        figures={
            item.name: {
                "number": number,
                "image": _image(item.figure, item.name),
                "predictions": item.predictions,
                **_caption(item),
            }
            for number, item in enumerate(drawn, 1)
        },
        beside=_beside(verdicts, drawn),
        missing=missing,
        explorer=None if explorer is None else explorer[0],
        explorer_shows="" if explorer is None else json.loads(explorer[1]["config"]).get("shows", ""),
        made=_provenance(sources),
        style=style,
    )


def _beside(verdicts: Sequence[Verdict], drawn: Sequence[Drawn]) -> dict[int, str]:
    """Return the figure to show beside each statement, by the statement's index; show no figure twice."""
    there, placed = {item.name for item in drawn}, dict[int, str]()
    for index, verdict in enumerate(verdicts):
        name = verdict.evidence.figure
        if name in there and name not in placed.values():
            placed[index] = str(name)
    return placed


def _marked(function: Any) -> Any:
    """Wrap a function that returns HTML, so that the template does not escape it again."""
    from markupsafe import Markup

    return lambda text: Markup(function(str(text)))


def _number(value: float) -> str:
    """Format a number to three digits, with a power of ten if that is shorter."""
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if not exponent:
        return mantissa.replace("-", "−")
    superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} · 10{superscript}".replace("1 · ", "", mantissa == "1")


def _image(figure: Figure, name: str) -> dict[str, Any]:
    file = io.BytesIO()
    # Text is drawn as paths, so that it looks the same on every machine. With a fixed salt and no date, the
    # same figure gives the same file.
    with style.styled(**{"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    width, height = figure.get_size_inches()
    return {
        "source": f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode('ascii')}",
        "width": round(96 * width),
        "height": round(96 * height),
    }


def _caption(item: Drawn) -> dict[str, Any]:
    config = item.config
    title = config.get("title", item.name)
    recipe = ""
    if "recipe" in config:
        recipe = f" Recipe {config['recipe']}, profile {config['profile']}: {len(config['runs'])} runs."
    shows = item.shows or config.get("shows", "")
    return {
        "title": title,
        "shows": (shows or title) + recipe,
        "alt": " ".join(f"{title}. {shows}".replace("`", "").split()),
        "smoke": config.get("profile") == "smoke",
    }


def _runs(count: Count) -> str:
    """Describe the runs in a count: the algorithm and setting, or the law."""
    name = count.label.partition(",")[0].partition(" ")[0]
    words = style.LABEL.get(name, name) + count.label.removeprefix(name)
    return words.replace(" = ", "\u00a0=\u00a0") or count.law


def _counterexample(found: BrokenLaw | WrongRate | WrongOutcome) -> dict[str, str]:
    """Describe a counterexample: what was stated and found, and the start or setting needed to repeat it."""
    words = {"condition": "", "start": "", "setting": ""}
    if isinstance(found, BrokenLaw):
        return words | {
            "stated": f"the law '{found.law}'",
            "found": f"the integration deviates from it by {found.error:.3g} {found.unit}; "
            "the independent solver confirms this",
            "start": _listed(found.start),
        }
    words["setting"] = _listed(found.setting)
    label = style.LABEL.get(found.claim.algorithm, found.claim.algorithm)
    if isinstance(found, WrongRate):
        low, high = found.interval
        return words | {
            "stated": f"{label} succeeds with probability {found.rate:g}",
            "found": f"{found.successes:,} of {found.decided:,} decided runs succeed; the 99.99 % interval "
            f"is [{low:.5f}, {high:.5f}], and {found.agree} of {found.repeated} runs repeated with the "
            "independent solver have the same outcome",
        }
    return words | {
        "stated": f"{label} {found.stated}",
        "condition": found.claim.success or "",
        "found": f"the integrated run ends '{found.integrated}'; "
        f"with the independent solver it {found.independent}",
        "start": _listed(found.start),
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None)


def _verdict_sources(verdicts: Sequence[Verdict]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return each distinct provenance with a name that lists the verdicts that share it."""
    shared: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        shared.setdefault(json.dumps(verdict.provenance, sort_keys=True), []).append(verdict)
    if len(shared) == 1:
        return [("all verdicts", verdicts[0].provenance)]
    return [(", ".join(item.id for item in group), group[0].provenance) for group in shared.values()]


def _provenance(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return a row for each result, and the environments (versions and machines) that made the results."""
    environments: list[dict[str, str]] = []
    rows = []
    for name, attributes in sources:
        given = {
            key: str(attributes.get(key, "not recorded"))
            for key in ("created", "revision", "source_digest", "platform", "cpu")
        }
        versions = json.loads(attributes.get("versions", "{}"))
        words = ", ".join(f"{library} {version}" for library, version in versions.items()) or "not recorded"
        environment = {"versions": words, "platform": given["platform"], "cpu": given["cpu"]}
        if environment not in environments:
            environments.append(environment)
        rows.append(
            {
                "name": name,
                "created": given["created"].replace("T", " ").replace("+00:00", " UTC"),
                "revision": given["revision"],
                "sources": given["source_digest"],
                "seed": ", ".join(_seeds(attributes)) or "none",
                "environment": environments.index(environment) + 1,
            }
        )
    return {
        "rows": rows,
        "environments": environments,
        "mixed": len({row["sources"] for row in rows}) > 1,
    }


def _seeds(attributes: Mapping[str, Any]) -> list[str]:
    """Return the seeds of a result and of its parts."""
    found: list[str] = [str(attributes["seed"])] if "seed" in attributes else []

    def visit(config: Any) -> None:
        if isinstance(config, dict):
            if "seed" in config:
                found.append(str(config["seed"]))
            for value in config.values():
                visit(value)

    visit(json.loads(attributes.get("config", "{}")))
    return list(dict.fromkeys(found))
