"""Planted results for the report: verdicts of every kind, the explorer, a recipe, and hostile texts."""

import numpy as np
import xarray as xr

from signflow import provenance

HOSTILE = "<script>alert(1)</script> & \"quotes\" <img src=x onerror='alert(2)'>"
CODES = "0 converged, 1 trapped, 2 dead, 3 stuck, 4 undecided, 5 failed, 6 ambiguous"

MADE = provenance.provenance({"runs": 54321}, seed=11)


def verdict(name="theorem-0", verdict="VERIFIED", counterexample=None, **changes):
    count = {
        "label": "imp, balanced d = 1,000",
        "claim": {"algorithm": "imp", "imp": "keep", "success": "a0 > -rho and w1 > 0", "rate": 0.25},
        "setting": {"d": 1000},
        "starts": 54321,
        "near_boundary": 77,
        "decided": 54319,
        "trapped": 3,
        "undecided": 2,
        "undecided_starts": [{"a0": 0.125, "status": "undecided"}],
        "counterexamples": 0,
        "interval": [0.0, 1.25e-4],
        "rate": {"stated": 0.25, "successes": 13571, "decided": 54242, "interval": [0.2435, 0.2565]},
    }
    evidence = {
        "symbolic": [{"derivation": "Loss", "shows": "L >= 0", "proved": True, "residuals": ["0", "False"]}],
        "exact_vs_ode": [
            {"law": "angle", "starts": 99, "error": 3.25, "unit": "2 z^4", "limit": 1e2, "beyond": 0}
        ],
        "monte_carlo": [count],
        "figure": "smoke",
    }
    return {
        "id": name,
        "statement": "One neuron learns iff `a(0) > 0`.",
        "verdict": verdict,
        "evidence": evidence | changes,
        "counterexample": counterexample,
        "provenance": MADE,
    }


REFUTING = {
    "claim": {"algorithm": "imp", "success": "a0 > 0"},
    "setting": {"d": 10, "n": None},
    "start": {"a0": 1.077183101451537, "w1": -0.18806056544472688},
    "stated": "succeeds",
    "integrated": "stuck",
    "independent": "fails",
}
RATE = {
    "claim": {"algorithm": "lrr"}, "setting": {"d": 4}, "rate": 0.5, "successes": 251, "decided": 1000,
    "interval": [0.2, 0.31], "repeated": 20, "agree": 19,
}  # fmt: skip
LAW = {"law": "angle", "start": {"a0": 0.375}, "error": 5.5e5, "unit": "tolerances"}


def explorer_table(rng):
    grid, along = (2, 3, 5, 5), (2, 4, 5, 5, 6)
    loss = 10 ** rng.uniform(-20, 0, (*grid, 3))
    path = rng.normal(size=along)
    path[0, 2, 1, 3, 4] = np.nan
    success = rng.integers(0, 2, grid).astype(float)
    success[0, 0, 0, 0] = np.nan
    one = "parameterization"
    return xr.Dataset(
        {
            "success": ((one, "algorithm", "a0", "w0"), success),
            "status": ((one, "algorithm", "a0", "w0"), rng.integers(0, 7, grid).astype("int8")),
            "loss": ((one, "algorithm", "a0", "w0", "level"), loss),
            "a": ((one, "path", "a0", "w0", "point"), path),
            "w": ((one, "path", "a0", "w0", "point"), 3 * path),
        },
        coords={
            "parameterization": ["plain", "sign-in"],
            "algorithm": ["imp", "wr", "lrr"],
            "a0": np.linspace(-2, 2, 5),
            "w0": np.linspace(-2, 2, 5),
            "kept": ("level", [10, 3, 1]),
        },
        attrs={"d": 10, "rewind_time": 3.0, "status_codes": CODES},
    )


def deep_tables(rng):
    """Of a recipe: accuracies of two arms, and a verdict of each kind."""
    accuracy = rng.uniform(0.5, 1, (1, 2, 2, 3))
    coords = {
        "panel": ["digits"],
        "arm": ["imp", "lrr"],
        "level": [0, 1, 2],
        "network": ("panel", ["resnet8"]),
    }
    levels = xr.Dataset({"test_accuracy": (("panel", "arm", "seed", "level"), accuracy)}, coords)
    mean = levels.test_accuracy.mean("seed")
    density = xr.zeros_like(mean) + [1.0, 0.8, 0.64]
    means = {f"accuracy_{part}": mean for part in ("mean", "low", "high")}
    means |= {"accuracy_n": xr.full_like(mean, 2, dtype=int), "density": density}
    rows = [
        ("P1", "", "SUPPORTED", "SUPPORTED (below the margin)", 3, 0.125, 0.0625, 0.1875),
        ("P1", "snip", "NOT SUPPORTED", "NOT SUPPORTED", 3, -4.5, -5.5, -3.5),
        ("P2", "", "INCONCLUSIVE", "INCONCLUSIVE (n > 1,000)", 1, 7.25, np.nan, np.nan),
        ("P8", "", "NOT RUN", f"NOT RUN (no {HOSTILE})", 0, np.nan, np.nan, np.nan),
    ]
    names = ("prediction", "variant", "word", "text", "seeds", "estimate", "low", "high")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    said = {"statement": "LRR wins.", "primary": "LRR - IMP", "panel": "digits", "network": "resnet8"}
    said |= {"unit": "pp", "needed": "", "bound": 0.0, "margin": 0.2}
    columns |= {name: (value,) * len(rows) for name, value in said.items()}
    verdicts = xr.Dataset({name: ("verdict", list(column)) for name, column in columns.items()})
    return {"levels": levels, "means": xr.Dataset(means), "verdicts": verdicts}
