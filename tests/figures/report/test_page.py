"""The report: a page that stands alone, shows every verdict as it is, and embeds the data it is given."""

import base64
import copy
import json
import re
import tomllib
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from figures import cli
from figures.report import explorer
from figures.report import page as report
from signflow import results
from signflow import verdicts as signflow_verdicts
from tests.figures.report.planted import REFUTING, verdict

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """A parsed page; an element that is never closed, or closed by another's tag, is an error."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text, self.scripts = [], [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    def values(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def words(self):
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_stands_alone(html, page):
    assert html.startswith("<!DOCTYPE html>")
    for address in page.values("src") + page.values("href"):
        assert address.startswith(("data:image/svg+xml;base64,", "#", "https://arxiv.org/"))
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not page.values("srcset")
    assert not re.search(r"@import|url\(", html)
    code = "".join(page.scripts)
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", code)
    remote = set(re.findall(r"https?://[^\s\"'<)]*", html))
    assert remote == {"https://arxiv.org/abs/2402.19262", "http://www.w3.org/2000/svg"}


def test_the_page_is_valid_where_tools_read_it(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= set(ids)
    for name in ("aria-describedby", "aria-labelledby"):
        assert {target for value in page.values(name) for target in value.split()} <= set(ids)
    assert ("html", {"lang": "en"}) in page.elements
    assert all(attributes["alt"] for tag, attributes in page.elements if tag == "img")
    (map_,) = (attributes for _, attributes in page.elements if attributes.get("id") == "explorer-map")
    assert map_["tabindex"] == "0"
    assert ("p", {"id": "explorer-text", "aria-live": "polite"}) in page.elements


def test_every_verdict_is_shown_as_it_is(page):
    words = page.words()
    assert "7 statements: 1 VERIFIED, 1 NOT REFUTED, 3 REFUTED, 1 UNDECIDED, 1 NOT RUN." in words
    badges = [value for value in page.values("class") if value.startswith("badge")]
    neither = ["badge undecided", "badge not-refuted", "badge not-run"]
    expected = ["badge verified", *["badge refuted"] * 3, *neither]
    predicted = ["badge supported", "badge not-supported", "badge inconclusive", "badge not-run"]
    assert badges == [*expected * 2, *predicted]  # in the table and with the evidence; of the deep networks
    for reason in ("2 of 9 runs are undecided", "no derivation; 9 starts", "there is nothing to run"):
        assert f"Reason: {reason}." in words
    for evidence in (
        "2 claims proved",
        "angle: at most 3.25 × 2z4 in 99 starts (limit 100)",
        "IMP, balanced d = 1,000 a(0)>−|w(0)| and w1(0)>0 54,321 (77) 2 0 (< 0.000125) 0.2500 "
        "13,571 of 54,242 [0.2435, 0.2565]",
        "a0 = 0.125, status = undecided",
        "0 counterexamples in 54,321 starts, 2 undecided; 1 rate against 54,242 draws",
        "fig1a: not drawn",
    ):
        assert evidence in words, evidence


def test_counterexamples_are_complete(page):
    words = page.words()
    for said in (
        "Stated: IMP succeeds, from a(0)>0. Found: the integrated run ends 'stuck'; with the independent "
        "solver it fails.",
        "Start: a0 = 1.077183101451537, w1 = -0.18806056544472688",
        "Setting: d = 10 ",
        "Stated: LRR succeeds with probability 0.5. Found: 251 of 1,000 decided runs succeed; the 99.99 % "
        "interval is [0.20000, 0.31000], and 19 of 20 runs repeated",
        "Stated: the law 'angle'. Found: the integration deviates from it by 5.5e+05 tolerances",
        "Start: a0 = 0.375",
    ):
        assert said in words, said


def test_hostile_text_stays_text(html, page):
    assert page.words().count("<script>alert(1)</script>") >= 4  # id, statement, formula, caption
    assert not any("alert" in script for script in page.scripts)
    assert not page.values("onerror")
    assert "<script>alert" not in html


def test_predictions_stand_with_their_estimate_and_theirverdict(page):
    text = page.words()
    assert "Predictions for deep networks" in text
    for row in (
        "P1 LRR wins. LRR - IMP digits, resnet8 0.125 [0.0625, 0.188] pp 3",
        "P1 (snip) LRR wins. LRR - IMP digits, resnet8 −4.5 [−5.5, −3.5] pp 3",
        "P2 LRR wins. LRR - IMP digits, resnet8 7.25 pp 1",
        "P8 LRR wins. LRR - IMP digits, resnet8 – 0",
    ):
        assert row in text
    for why in ("✓ SUPPORTED below the margin", "? INCONCLUSIVE n > 1,000", "○ NOT RUN no <script>"):
        assert why in text
    assert "P1 on digits: SUPPORTED (below the margin); P1 (snip) on digits: NOT SUPPORTED; P2" in text


def test_figures_say_what_they_show_and_smoke_is_marked(page):
    words = page.words()
    assert "(conservation). c stays." in words
    assert "SMOKE RUN: it shows that the pipeline works, and says nothing about the methods." in words
    assert words.count("SMOKE RUN") == 5  # at the figure, and at each of its verdicts
    assert "Not drawn, since there is no result file: fig1a," in words
    images = [value for value in page.values("src") if value.startswith("data:")]
    assert len(images) == 2
    for image in images:
        drawn = base64.b64decode(image.partition(",")[2]).decode()
        assert drawn.rstrip().endswith("</svg>")


def test_provenance_is_that_of_every_file(page, folder):
    words = page.words()
    for name in ("smoke", "conservation", "explorer"):
        table = next(iter(results.read(folder / f"{name}.nc").values()))
        made = table.attrs["created"].replace("T", " ").replace("+00:00", " UTC")
        digest = table.attrs["source_digest"][:12]
        assert f"{name} {made} {table.attrs['revision']} {digest}" in words
    assert "1234 1" in words
    assert "all verdicts" in words
    assert f"numpy {np.__version__}" in words
    assert "different versions of the sources" not in words


def _decoded(array, shape):
    codes = np.frombuffer(base64.b64decode(array["codes"]), "<u2").reshape(shape)
    return np.where(codes == explorer.NO_VALUE, np.nan, array["low"] + array["step"] * codes)


def test_embedded_data_are_those_of_the_result(page, folder):
    grid = results.read(folder / "explorer.nc")["grid"]
    found = json.loads(page.scripts[0])
    for name, expected in (
        ("a", grid.a.values),
        ("w", grid.w.values),
        ("loss", np.log10(np.maximum(grid.loss.values, explorer.FAINTEST))),
    ):
        half = found[name]["step"] / 2
        assert half <= np.ptp(expected[np.isfinite(expected)]) / 65534 / 2 * (1 + 1e-12)
        np.testing.assert_allclose(
            _decoded(found[name], expected.shape), expected, rtol=0, atol=half * 1.0001
        )
    success = np.frombuffer(base64.b64decode(found["success"]), "u1").reshape(grid.success.shape)
    np.testing.assert_array_equal(np.where(success == 2, np.nan, success), grid.success)
    status = np.frombuffer(base64.b64decode(found["status"]), "u1").reshape(grid.status.shape)
    np.testing.assert_array_equal(status, grid.status)
    assert found["codes"][3] == "stuck"
    assert (found["kept"], found["points"], found["d"], found["rewind_time"]) == ([10, 3, 1], 6, 10, 3.0)
    np.testing.assert_array_equal(found["a0"], grid.a0)


def test_constant_values_survive():
    constant = np.full((2, 3), 0.25)
    np.testing.assert_array_equal(_decoded(explorer.quantised(constant), (2, 3)), constant)


def test_what_is_missing_is_said(folder):
    verdicts = signflow_verdicts.read_verdicts(folder / "verdicts.json")
    bare = Page(report.page(verdicts, [], missing=["fig1a"])).words()
    assert "Run singleneuron preset explorer to create it" in bare
    assert "No figure has a result file. Run make figures" in bare
    other = copy.deepcopy(verdicts)
    other[0].provenance["source_digest"] = "another"
    other[1].provenance.clear()
    words = Page(report.page(other, [])).words()
    assert "made with different versions of the sources" in words
    assert "not recorded" in words


def test_the_same_results_give_the_same_page(html, folder, tmp_path):
    out = tmp_path / "again.html"
    assert cli.main(["report", "--results", str(folder), "--out", str(out)]) == 0
    assert out.read_text("utf-8") == html


def test_the_report_gathers_the_verdicts_on_statements_of_ones_own(folder, tmp_path, capsys):
    for name, row in (("verdicts", verdict()), ("verdicts-mine", verdict("mine", "REFUTED", REFUTING))):
        (tmp_path / f"{name}.json").write_text(json.dumps([row]))
    line = ["report", "--results", str(tmp_path), "--out", str(tmp_path / "index.html")]
    assert cli.main(line) == 0
    words = Page((tmp_path / "index.html").read_text("utf-8")).words()
    assert "mine" in words
    (tmp_path / "verdicts-twice.json").write_text(json.dumps([verdict("mine")]))
    assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert "have 2 on 'mine'; choose files with --verdicts" in err
    assert err.count("\n") == 1


def test_a_report_without_its_inputs_is_one_line_and_code_2(folder, tmp_path, capsys):
    out = tmp_path / "index.html"

    def fails(message, *options):
        assert cli.main(["report", "--out", str(out), *options]) == 2
        streams = capsys.readouterr()
        assert streams.err.count("\n") == 1
        assert message in streams.err
        assert not out.exists()

    fails("does not exist; run `singleneuron verify` to create it", "--results", str(tmp_path / "none"))
    bad = tmp_path / "bad.json"
    for text, message in (
        ("[{", ": it is not JSON ("),
        ('[{"id": 3}]', ": 0.id must be a string, got 3; 0.statement must be given"),
        (json.dumps([verdict(verdict="PERHAPS")]), "0.verdict must match pattern"),
    ):
        bad.write_text(text)
        fails(message, "--verdicts", str(bad))
    assert cli.main(["report", "--out", str(tmp_path / "page.pdf")]) == 2
    assert "must end in .html" in capsys.readouterr().err
    damaged = tmp_path / "results"
    damaged.mkdir()
    (damaged / "fig1a.nc").write_text("nothing")
    fails(
        "cannot read the result file", "--results", str(damaged), "--verdicts", str(folder / "verdicts.json")
    )
    (damaged / "fig1a.nc").unlink()
    results.write({"map": xr.Dataset()}, damaged / "explorer.nc", config={})
    fails(
        "must hold the tables that explorer draws",
        "--results",
        str(damaged),
        "--verdicts",
        str(folder / "verdicts.json"),
    )


def test_the_template_is_packaged():
    """The wheel takes all files of its packages but the excluded ones and those that git ignores."""
    root, folder = Path(__file__).parents[3], Path(report.__file__).parent
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    inside = folder.relative_to(root)
    assert inside.parts[0] in wheel["packages"]
    ignored = (root / ".gitignore").read_text("utf-8").split()
    for name in ("report.html.j2", "report.css", "report.js"):
        assert (folder / name).is_file()
        assert not [path for path in wheel["exclude"] if (inside / name).is_relative_to(path) or "*" in path]
        assert not [pattern for pattern in ignored if fnmatch(name, pattern)]
