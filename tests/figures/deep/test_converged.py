"""The figures of `laptop-converged` draw the numbers that they are given."""

import json

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("pydantic")

from deepexp.analysis import derived
from figures import kinds, style
from figures.deep import converged
from figures.deep.curves import LOOKS
from tests.deepexp import planted

LEVELS, EPOCHS, SEEDS = 9, 16, 3
PAIRED = [arm for pair in converged.PAIRS for arm in pair[:2]]
LAST = [f"last-{owner}-{name}" for owner in ("imp", "lrr") for name in (16, 32, 64, "warm-up")]
ARMS = {
    "cifar10": list(dict.fromkeys((*converged.MAIN, *PAIRED, *LAST))),
    "cifar10-augmented": ["imp", "lrr", "imp-on-lrr"],
    "cifar100": ["imp", "lrr"],
}


def _shares(rng, name, axes, sizes, there):
    """NAME_mean, _low, _high and _n of random shares; NaN where the arm is not in the panel."""
    mean = rng.uniform(0.2, 0.9, [sizes[axis] for axis in axes])
    mean[~there] = np.nan
    count = np.where(np.isfinite(mean), SEEDS, 0)
    values = {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": count}
    return {f"{name}_{part}": (axes, array) for part, array in values.items()}


def tables(missing=()):
    """Tables with accuracies, shares and densities drawn at random."""
    rng = np.random.default_rng(2)
    panels = {
        panel: {arm: rng.uniform(0.5, 0.7, (SEEDS, LEVELS)) for arm in arms} for panel, arms in ARMS.items()
    }
    made = planted.levels(panels, keep=0.7, missing=missing)
    data = derived.derived(made, planted.signs(made), ())
    there = made.planned.values & (made.density.sum(("seed", "level")).values > 0)
    coordinates = {name: made[name].values for name in ("panel", "arm", "level")}
    coordinates |= {
        "epoch": range(EPOCHS + 1),
        "baseline": ["imp", "lrr"],
        "layer": [f"layer {i}" for i in range(5)],
    }
    sizes = {name: len(values) for name, values in coordinates.items()}

    def table(**variables):
        found = {}
        for name, last in variables.items():
            found |= _shares(rng, name, ("panel", "arm", *last.split()), sizes, there)
        used = {axis for axes, _ in found.values() for axis in axes}
        return xr.Dataset(found, {name: coordinates[name] for name in used})

    data["alignment"] = table(alignment="level", epoch_alignment="epoch")
    data["overlap"] = table(overlap="level baseline", chance="level baseline")
    data["seed_overlap"] = table(overlap="level")
    data["layers"] = table(density="level layer")
    config = json.dumps({"recipe": "laptop-converged", "profile": "full", "title": "?", "runs": []})
    return {name: found.assign_attrs(config=config) for name, found in data.items()}


def _lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("name", converged.FIGURES)
def test_every_figure_has_units_and_a_legend_and_needs_no_colour(name):
    figure = converged.FIGURES[name](tables())
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert figure.get_figwidth() == style.PAGE
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    (legend,) = figure.legends
    assert "3 seeds" in legend.get_title().get_text()
    for axes in figure.axes:
        lines = list(_lines(axes).values())
        assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines)
        if axes.get_subplotspec().is_first_col():
            assert any(unit in axes.get_ylabel() + axes.get_xlabel() for unit in ("%", "pp"))


def test_accuracy_has_a_column_for_each_panel_and_the_differences_below():
    data = tables()
    above, below = np.array(converged.accuracy(data).axes).reshape(2, 3)
    assert set(_lines(above[0])) == {LOOKS[arm].label for arm in converged.MAIN}
    assert set(_lines(above[2])) == {"IMP", "LRR"}
    shown = data["levels"].test_accuracy.mean("seed")
    for column, panel in enumerate(ARMS):
        np.testing.assert_allclose(
            _lines(above[column])["LRR"].get_ydata(), 100 * shown.sel(panel=panel, arm="lrr")
        )
        lead = 100 * (shown.sel(arm="lrr") - shown.sel(arm="imp")).sel(panel=panel)
        np.testing.assert_allclose(_lines(below[column])["LRR"].get_ydata(), lead, atol=1e-10)


def test_signs_are_shares_by_level_and_by_epoch():
    data = tables()
    above, below = np.array(converged.signs(data).axes).reshape(2, 3)
    table = data["alignment"].sel(panel="cifar10")
    shown = _lines(above[0])["IMP on LRR's masks"].get_ydata()
    np.testing.assert_allclose(shown, 100 * table.alignment_mean.sel(arm="imp-on-lrr"))
    (line,) = _lines(below[0]).values()
    np.testing.assert_array_equal(line.get_xdata(), range(EPOCHS + 1))
    np.testing.assert_allclose(line.get_ydata(), 100 * table.epoch_alignment_mean.sel(arm="lrr"))


def test_masks_are_compared_between_arms_seeds_and_with_chance():
    data = tables()
    lines = _lines(converged.masks(data).axes[0])
    between = data["overlap"].sel(panel="cifar10", baseline="lrr")
    expected = {
        "IMP and LRR, same seed": between.overlap_mean.sel(arm="imp"),
        "WR and LRR, same seed": between.overlap_mean.sel(arm="wr"),
        "LRR, two seeds": data["seed_overlap"].overlap_mean.sel(panel="cifar10", arm="lrr"),
        "random masks": between.chance_mean.sel(arm="imp"),
    }
    for name, shares in expected.items():
        np.testing.assert_allclose(lines[name].get_ydata(), 100 * shares)


def test_controls_are_drawn_over_their_epochs_and_layers():
    data = tables()
    left, right = converged.controls(data).axes
    means = data["means"].accuracy_mean.sel(panel="cifar10", level=0)
    for owner, label in (("imp", "IMP's last mask"), ("lrr", "LRR's last mask")):
        line = _lines(left)[label]
        np.testing.assert_allclose(line.get_xdata(), [16, 32, 64], rtol=0.03)
        np.testing.assert_allclose(
            line.get_ydata(), [100 * means.sel(arm=f"last-{owner}-{n}") for n in (16, 32, 64)]
        )
        warm = _lines(left)[f"{label}, after a warm-up"].get_ydata()
        np.testing.assert_allclose(warm, [100 * means.sel(arm=f"last-{owner}-warm-up")])
    density = data["layers"].density_mean.sel(panel="cifar10", arm="lrr").isel(level=-1)
    np.testing.assert_allclose(right.lines[1].get_ydata(), 100 * density)


def test_every_pair_has_a_row_with_its_interval():
    data = tables()
    (axes,) = converged.differences(data).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [label for *_, label in reversed(converged.PAIRS)]
    first = axes.containers[0]
    low = data["low"].sel(panel="cifar10").isel(at_most=0)
    for row, (arm, baseline, _) in enumerate(converged.PAIRS):
        pair = low.sel(arm=arm, baseline=baseline)
        assert first.lines[0].get_xdata()[row] == pytest.approx(100 * float(pair.difference_mean))
        ends = first.lines[2][0].get_segments()[row][:, 0]
        np.testing.assert_allclose(
            ends, [100 * float(pair.difference_low), 100 * float(pair.difference_high)]
        )
    # Only the pairs of a panel stand in its row.
    assert len(axes.containers[2].lines[0].get_xdata()) == 1


def test_a_study_that_has_begun_is_drawn():
    missing = [(panel, arm, seed) for panel, arms in ARMS.items() for arm in arms for seed in range(SEEDS)]
    missing = [run for run in missing if run[:2] not in (("cifar10", "imp"), ("cifar10", "lrr"))]
    data = tables(missing)
    for name, draw in converged.FIGURES.items():
        figure = draw(data)
        figure.draw_without_rendering()
        assert name in kinds.NAMED
        assert kinds.result_of(name) == "laptop-converged"
    assert len(converged.accuracy(data).axes) == 2
    (axes,) = converged.differences(data).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["LRR $-$ IMP"]
