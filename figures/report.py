"""The verification report: verdicts, figures and provenance as one HTML page that stands alone."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from figures import style
from figures.formulas import condition, mathml, prose
from figures.messages import invalid

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

WORDS = ("VERIFIED", "NOT REFUTED", "REFUTED", "UNDECIDED", "NOT RUN")
"""The verdicts of `singleneuron verify`, in the order of the page's count."""
NO_VALUE = 65535
"""What a missing value is quantised to."""
FAINTEST = 1e-16
"""Losses below are shown as this: rounding."""


class Derivation(BaseModel):
    derivation: str
    shows: str
    proved: bool
    residuals: list[str]


class Law(BaseModel):
    law: str
    starts: int
    error: float
    unit: str
    limit: float
    beyond: int


class Rate(BaseModel):
    stated: float
    successes: int
    decided: int
    interval: tuple[float, float]


class Claim(BaseModel):
    algorithm: str
    success: str | None = None


class Count(BaseModel):
    """Runs counted against a claim, or the starts of a law."""

    starts: int
    decided: int
    undecided: int
    label: str = ""
    law: str = ""
    claim: Claim | None = None
    near_boundary: int = 0
    trapped: int = 0
    counterexamples: int | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    rate: Rate | None = None
    undecided_starts: list[dict[str, Any]] = []


class Evidence(BaseModel):
    symbolic: list[Derivation]
    exact_vs_ode: list[Law]
    monte_carlo: list[Count]
    figure: str | None


class Verdict(BaseModel):
    """An entry of the file that `singleneuron verify` writes."""

    id: str
    statement: str
    verdict: str = Field(pattern=r"^(VERIFIED|REFUTED|(NOT REFUTED|UNDECIDED|NOT RUN) \(.*\))$")
    evidence: Evidence
    counterexample: dict[str, Any] | None
    provenance: dict[str, Any] = {}

    @property
    def word(self) -> str:
        return self.verdict.partition(" (")[0]

    @property
    def why(self) -> str:
        return self.verdict.partition(" (")[2].removesuffix(")")


class Prediction(BaseModel):
    """A verdict on a prediction of the theory, as `deepexp reduce` decides it from the runs of a recipe."""

    prediction: str
    variant: str
    statement: str
    primary: str
    panel: str
    network: str
    text: str
    word: str = Field(pattern=r"^(SUPPORTED|NOT SUPPORTED|INCONCLUSIVE|NOT RUN)$")
    seeds: int
    estimate: float
    low: float
    high: float
    unit: str

    @property
    def why(self) -> str:
        return self.text.removeprefix(self.word).removeprefix(" (").removesuffix(")")


@dataclass(frozen=True)
class Drawn:
    """A figure of the report, and the attributes and the verdicts of the result file it was drawn from."""

    name: str
    figure: Figure
    attributes: Mapping[str, Any]
    predictions: Sequence[Prediction] = ()

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.attributes["config"])


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts in a file; ValueError, in one line, where there are none or it holds something else."""
    if not path.is_file():
        raise ValueError(
            f"there must be verdicts at '{path}', but there is no such file; `singleneuron verify` makes it"
        )
    try:
        return TypeAdapter(list[Verdict]).validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise ValueError(
            f"the verdicts in '{path}' must be readable, but are not: {error.strerror}"
        ) from None
    except ValidationError as error:
        raise ValueError(
            f"'{path}' must hold what `singleneuron verify` writes, but {invalid(error)}; make it again"
        ) from None


def predictions(tables: Mapping[str, xr.Dataset]) -> list[Prediction]:
    """The verdicts in the tables of a result file; none where it decides no prediction."""
    if "verdicts" not in tables:
        return []
    found = tables["verdicts"]
    columns = {name: found[name].values.tolist() for name in Prediction.model_fields}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [Prediction.model_validate(row) for row in rows]


def page(
    verdicts: Sequence[Verdict],
    drawn: Sequence[Drawn],
    *,
    explorer: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    missing: Sequence[str] = (),
) -> str:
    """The report as HTML.

    drawn : the figures in their order; missing : names of those that have no result file.
    explorer : `embedded` of the preset of that name, and its attributes; without it the page says how to
    make it.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    safe = {"prose": prose, "condition": condition, "math": mathml}  # each escapes what it is given
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
        missing=missing,
        explorer=None if explorer is None else explorer[0],
        explorer_shows="" if explorer is None else json.loads(explorer[1]["config"]).get("shows", ""),
        made=_provenance(sources),
        style=style,
    )


def embedded(tables: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The explorer's `grid` for the page: 16-bit steps of its paths and of log10 of its losses, in base64."""
    import numpy as np

    explorer = tables["grid"]
    codes = dict(item.split(" ", 1) for item in explorer.attrs["status_codes"].split(", "))
    wins = explorer.success.fillna(2).astype("uint8").values
    return {
        "d": int(explorer.attrs["d"]),
        "rewind_time": float(explorer.attrs["rewind_time"]),
        "algorithms": explorer.algorithm.values.tolist(),
        "labels": [style.LABEL[name] for name in explorer.algorithm.values.tolist()],
        "a0": explorer.a0.values.tolist(),
        "w0": explorer.w0.values.tolist(),
        "kept": explorer.kept.values.tolist(),
        "points": explorer.sizes["point"],
        "codes": [codes[str(code)] for code in range(len(codes))],
        "success": _base64(wins),
        "status": _base64(explorer.status.values.astype("uint8")),
        "a": quantised(explorer.a.values),
        "w": quantised(explorer.w.values),
        "loss": quantised(np.log10(np.maximum(explorer.loss.values, FAINTEST))),
    }


def quantised(values: Any) -> dict[str, Any]:
    """`low + step * code` gives back `values` within step / 2; code: 16 bits, little end first, in base64."""
    import numpy as np

    finite = np.isfinite(values)
    low, high = (float(edge) for edge in (values[finite].min(), values[finite].max()))
    step = (high - low) / (NO_VALUE - 1) or 1.0
    codes = np.full(values.shape, NO_VALUE)
    codes[finite] = np.rint((values[finite] - low) / step)
    return {"low": low, "step": step, "codes": _base64(codes.astype("<u2"))}


def _base64(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _marked(function: Any) -> Any:
    from markupsafe import Markup

    return lambda text: Markup(function(str(text)))


def _number(value: float) -> str:
    """To three digits, with a power of ten where that is shorter."""
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if not exponent:
        return mantissa.replace("-", "−")
    superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} · 10{superscript}".replace("1 · ", "", mantissa == "1")


def _image(figure: Figure, name: str) -> dict[str, Any]:
    file = io.BytesIO()
    # Text as paths: the same on every machine. A fixed salt and no date: the same bytes again.
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
    return {
        "title": title,
        "shows": (config.get("shows") or title) + recipe,
        "smoke": config.get("profile") == "smoke",
    }


def _runs(count: Count) -> str:
    """Which runs were counted, in words."""
    name = count.label.partition(",")[0].partition(" ")[0]
    words = style.LABEL.get(name, name) + count.label.removeprefix(name)
    return words.replace(" = ", "\u00a0=\u00a0") or count.law


def _counterexample(found: Mapping[str, Any]) -> dict[str, str]:
    """A counterexample in words: what was stated and found, and the start or the setting to repeat it."""
    claim = found.get("claim", {})
    label = style.LABEL.get(str(claim.get("algorithm")), "the run")
    if "law" in found:
        stated = f"the law '{found['law']}'"
        seen = f"the integration leaves it by {found['error']:.3g} {found['unit']}"
        confirmed = "the independent solver confirms it"
    elif "rate" in found:
        low, high = found["interval"]
        stated = f"{label} succeeds with probability {found['rate']:g}"
        seen = f"{found['successes']:,} of {found['decided']:,} decided runs succeed"
        confirmed = (
            f"the 99.99 % interval is [{low:.5f}, {high:.5f}], and {found['agree']} of {found['repeated']} "
            "runs repeated with the independent solver come out the same"
        )
    else:
        stated = f"{label} {found.get('stated')}"
        seen = f"integrated, it ends {found.get('integrated')}"
        confirmed = f"with the independent solver it {found.get('independent')}"
    return {
        "stated": stated,
        "condition": "" if "rate" in found else claim.get("success") or "",
        "found": f"{seen}; {confirmed}",
        "start": _listed(found.get("start", {})),
        "setting": _listed(found.get("setting", {})),
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None)


def _verdict_sources(verdicts: Sequence[Verdict]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each provenance once, with the verdicts that share it."""
    shared: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        shared.setdefault(json.dumps(verdict.provenance, sort_keys=True), []).append(verdict)
    if len(shared) == 1:
        return [("all verdicts", verdicts[0].provenance)]
    return [(", ".join(item.id for item in group), group[0].provenance) for group in shared.values()]


def _provenance(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """A row for each source, and the environments (versions, machine) that they were made in."""
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
    """The seeds of a result: its own, or those of its parts."""
    found: list[str] = [str(attributes["seed"])] if "seed" in attributes else []

    def visit(config: Any) -> None:
        if isinstance(config, dict):
            if "seed" in config:
                found.append(str(config["seed"]))
            for value in config.values():
                visit(value)

    visit(json.loads(attributes.get("config", "{}")))
    return list(dict.fromkeys(found))
