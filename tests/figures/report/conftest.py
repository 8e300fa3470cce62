"""A report on planted results."""

import json

import numpy as np
import pytest
import xarray as xr

from figures import cli
from signflow import results
from tests.figures.report.planted import HOSTILE, LAW, RATE, REFUTING, deep_tables, explorer_table, verdict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results: a deep smoke figure, one of the single neuron, and the explorer."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("results")
    smoke = {"recipe": "smoke", "title": f"Who? {HOSTILE}", "profile": "smoke", "runs": ["one", "two"]}
    results.write(deep_tables(rng), folder / "smoke.nc", config=smoke)
    drift = xr.Dataset(
        {"drift": (("rtol", "start", "time"), rng.uniform(1e-9, 1e-8, (1, 2, 3)))},
        coords={"rtol": [1e-6], "time": [1.0, 2.0, 3.0]},
        attrs={"d": 3},
    )
    shown = {"title": "Drift", "shows": f"`c` stays. {HOSTILE}", "parts": {"line": {"seed": 1234}}}
    results.write({"line": drift}, folder / "conservation.nc", config=shown)
    results.write(
        {"grid": explorer_table(rng)}, folder / "explorer.nc", config={"shows": "Where `w_1(0) < 0`."}
    )
    mine = verdict(f"mine {HOSTILE}", "REFUTED", REFUTING)
    verdicts = [
        verdict(),
        mine | {"statement": f"`a <b {HOSTILE}` {HOSTILE}"},
        verdict("rate", "REFUTED", RATE),
        verdict("law", "REFUTED", LAW, figure="fig1a"),
        verdict("open", "UNDECIDED (2 of 9 runs are undecided)", symbolic=[], monte_carlo=[]),
        verdict("user", "NOT REFUTED (no derivation; 9 starts)", symbolic=[]),
        verdict("none", "NOT RUN (there is nothing to run)", symbolic=[], monte_carlo=[]),
    ]
    (folder / "verdicts.json").write_text(json.dumps(verdicts))
    return folder


@pytest.fixture(scope="module")
def html(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "deeper" / "index.html"
    assert cli.main(["report", "--results", str(folder), "--out", str(out), "--quiet"]) == 0
    assert [file.name for file in out.parent.iterdir()] == ["index.html"]
    return out.read_text("utf-8")
