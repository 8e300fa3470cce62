"""The figures of the deep experiments draw the numbers that they are given."""

import json

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("pydantic")

from deepexp.analysis import derived
from figures import style
from figures.deep import experiments
from figures.deep.curves import LOOKS
from tests.deepexp import planted

SCORES, BUDGETS = ("magnitude", "random", "snip", "synflow"), ("balanced", "erk", "uniform")
CIFAR = ("cifar10", "cifar100")
FIG3 = ("imp", "wr", "lrr", "imp-on-lrr")
FIG4 = ("imp", "imp-keep-bn", "lrr", "lrr-on-imp", "lrr-bn-rewind", "lrr-bn-rewind-on-imp")
SHUFFLED = ("imp", "lrr", "imp-shuffled", "lrr-shuffled")
STUDY = ("imp", "wr", "lrr", "imp-on-lrr", "lrr-on-imp", "signs-on-lrr")
SHAKEN = [f"{a}-p{p}-l{l}" for a in ("imp", "lrr") for p in (0.1, 0.25, 0.5) for l in (4, 8)]  # noqa: E741
RECIPES = {
    "smoke": {"digits": ("imp", "wr", "lrr")},
    "fig2b": {"cifar10": SHUFFLED},
    "fig2c": {"cifar100": SHUFFLED},
    "fig2d": {"tinyimagenet": ("imp", "lrr", "lrr-on-imp")},
    "fig3": dict.fromkeys(CIFAR, (*FIG3, *(f"{name}-warmup" for name in FIG3))),
    "fig4": dict.fromkeys(CIFAR, FIG4),
    "fig5": dict.fromkeys((*CIFAR, "tinyimagenet"), ("imp", "lrr")),
    "perturb": {"cifar10": ("imp", "lrr", *SHAKEN, "imp-p0.25-l4-layer", "lrr-p0.25-l4-layer")},
    "random": {"cifar10": [f"{a}-{b}{c}" for a in ("imp", "lrr") for b in BUDGETS for c in ("", "-initial")]},
    "criteria": {"cifar10": [f"{a}-{score}" for a in ("imp", "lrr") for score in SCORES]},
    "signs-vs-amplitudes": {
        "cifar10": ("imp", "lrr", "imp-on-lrr", "signs-on-lrr", "amplitudes-on-lrr", "shuffled-on-lrr")
    },
    "width": {"cifar10": [f"{a}-w{w}" for a in ("imp", "lrr") for w in (0.25, 0.5, 1, 2)]},
    "imagenet": {"imagenet": ("imp", "wr", "lrr")},
    "laptop": {"cifar10": STUDY, "cifar100": ("imp", "lrr")},
    "sign-in": {
        "cifar10": (
            *(f"erk{s}-{d}" for s in ("", "-sign-in") for d in (0.2, 0.1, 0.05)),
            "lrr",
            "lrr-sign-in",
        )
    },
    "cyclic": {"cifar10": ("imp", "lrr", "imp-cycles")},
}
PREDICTIONS = {"laptop": ("P1", "P2", "P3", "P4", "P8"), "width": ("P7",), "criteria": ("P1",)}


def tables(recipe, seeds=3, levels=12, profile="full"):
    """Tables of a recipe whose arms fall with the density, each by its own rate."""
    rng = np.random.default_rng(1)
    fall = np.arange(levels + 1) ** 2 / levels**2
    panels = {
        panel: {
            arm: 0.83
            + 0.1 * (j / len(arms) - 1) * fall
            - 0.02 * i
            + rng.normal(0, 0.004, (seeds, levels + 1))
            for j, arm in enumerate(arms)
        }
        for i, (panel, arms) in enumerate(RECIPES[recipe].items())
    }
    names = list(dict.fromkeys(arm for arms in RECIPES[recipe].values() for arm in arms))
    flips = {arm: planted.TOTAL * rng.uniform(0.1, 0.2, seeds) for arm in names}
    made = planted.levels(panels, keep=0.75, flips=flips)
    spread = np.exp(-0.5 * np.arange(levels + 1.0))
    last = {"imp": 900 * spread, "lrr": 1000 * spread**2}
    signs = planted.signs(made, last, {arm: np.append(values, 0) for arm, values in last.items()})
    found = derived.derived(made, signs, PREDICTIONS.get(recipe, ()))
    config = json.dumps({"recipe": recipe, "profile": profile, "title": "?", "runs": []})
    return {name: table.assign_attrs(config=config) for name, table in found.items()}


def _drawn(axes):
    """The lines with a label, by it."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def _stand_side_by_side(lines, densities, number=0):
    """Each density has its arms around it, all by the same factor apart, within 60 % of a gap."""
    places = np.log([line.get_xdata() for line in lines])
    steps = np.diff(places, axis=0)
    gap = np.abs(np.diff(np.log(densities))).min()
    assert (steps < 0).all()
    np.testing.assert_allclose(steps, steps[0, 0])
    assert -steps[0, 0] * (number or len(places)) <= 0.6 * gap * (1 + 1e-9)
    if not number:
        np.testing.assert_allclose(places.mean(axis=0), np.log(densities))


def _legend(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()], legend.get_title().get_text()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_figure_with_labels_units_and_a_legend(recipe, tmp_path):
    data = tables(recipe)
    figure = experiments.FIGURES[recipe](data)
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
    labels, title = _legend(figure)
    assert labels or recipe == "width"  # one line a panel, which the axis names
    assert "mean over 3 seeds; whiskers: 95 %" in title
    for axes in figure.axes:
        below = axes.get_subplotspec().is_last_row()
        assert axes.get_xlabel() or not below
        if axes.get_subplotspec().is_first_col():
            units = ("%", "pp", "per weight", "per surviving weight")
            assert any(unit in axes.get_ylabel() for unit in units)
        assert any(np.isfinite(line.get_ydata()).any() for line in axes.lines)
    assert not any("SMOKE" in text.get_text() for text in figure.texts)
    figure.savefig(tmp_path / "figure.pdf")


def test_figures_are_of_all_recipes_and_of_nothing_else():
    assert list(experiments.FIGURES) == list(RECIPES)


@pytest.mark.parametrize("recipe", ["fig2b", "fig5", "width", "perturb", "cyclic"])
def test_smoke_is_marked_and_two_seeds_have_no_bars(recipe):
    figure = experiments.FIGURES[recipe](tables(recipe, seeds=2, profile="smoke"))
    assert figure.get_suptitle() == "SMOKE RUN: says nothing about the methods"
    assert "whiskers" not in _legend(figure)[1]
    assert not any(axes.collections for axes in figure.axes)


def test_accuracy_is_the_mean_of_the_file_with_its_interval():
    data = tables("fig2b")
    (axes,) = experiments.accuracy(data).axes
    means = data["means"].sel(panel="cifar10")
    lines = _drawn(axes)
    assert set(lines) == {"IMP", "LRR", "IMP, shuffled masks", "LRR, shuffled masks"}
    for arm in ("imp", "lrr-shuffled"):
        line = lines[LOOKS[arm].label]
        np.testing.assert_allclose(line.get_ydata(), 100 * means.accuracy_mean.sel(arm=arm))
        (bars,) = (
            item for item in axes.collections
            if np.isclose(item.get_segments()[0][0, 0], line.get_xdata()[0])
        )  # fmt: skip
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends[:, 0], 100 * means.accuracy_low.sel(arm=arm))
        np.testing.assert_allclose(ends[:, 1], 100 * means.accuracy_high.sel(arm=arm))
    density = 100 * means.density.sel(arm="imp")
    _stand_side_by_side(lines.values(), density)
    assert axes.xaxis_inverted()
    assert axes.get_xscale() == "log"
    ticks = np.union1d(axes.get_xticks(), axes.get_xticks(minor=True))
    np.testing.assert_allclose(ticks[::-1], density, rtol=1e-6)  # the ticks are at the densities themselves
    assert axes.get_title(loc="left") == "CIFAR-10, resnet8"


def test_published_curves_stand_beside_their_arm_with_their_source():
    data = tables("imagenet")
    source = "Someone et al. 2020, table 1: median of 3"
    data["reference"] = xr.Dataset(
        {"density": (("curve", "point"), [[1.0, 0.5]]), "accuracy": (("curve", "point"), [[0.76, 0.75]])}
        | {"panel": ("curve", ["imagenet"]), "arm": ("curve", ["lrr"]), "source": ("curve", [source])}
    )
    figure = experiments.accuracy(data)
    line = _drawn(figure.axes[0])["LRR, published"]
    np.testing.assert_allclose(line.get_xdata(), [100, 50])
    np.testing.assert_allclose(line.get_ydata(), [76, 75])
    assert source in " ".join(_legend(figure)[1].split())


def test_warm_up_has_a_row_of_its_own():
    data = tables("fig3")
    figure = experiments.warmup(data)
    grid = np.array(figure.axes).reshape(2, 2)
    for row, suffix in enumerate(("", "-warmup")):
        for column, panel in enumerate(CIFAR):
            lines = _drawn(grid[row, column])
            assert set(lines) == {"IMP", "WR", "LRR", "IMP on LRR's masks"}
            shown = 100 * data["means"].accuracy_mean.sel(panel=panel, arm=f"imp-on-lrr{suffix}")
            np.testing.assert_allclose(lines["IMP on LRR's masks"].get_ydata(), shown)


def test_the_two_histograms_are_shares_of_the_survivors():
    data = tables("fig5")
    figure = experiments.signs(data)
    assert _legend(figure)[0] == ["IMP", "LRR", "mean of IMP", "mean of LRR"]
    grid = np.array(figure.axes).reshape(2, 3)
    assert grid[0, 0].get_ylabel() == "surviving weights (%)"
    for row, name in enumerate(("last_flip", "switches")):
        counts = data["signs"][name].sel(panel="cifar10").isel(seed=0)
        for container, arm in zip(
            [item for item in grid[row, 0].containers if hasattr(item, "patches")],
            ("imp", "lrr"),
            strict=True,
        ):
            heights = [bar.get_height() for bar in container.patches]
            expected = counts.sel(arm=arm) / data["signs"].survivors.sel(panel="cifar10", arm=arm)[0]
            np.testing.assert_allclose(heights, 100 * expected)
            assert sum(heights) == pytest.approx(100)
            assert bool(container.patches[0].get_hatch()) == (arm == "lrr")
            # The line at the mean is drawn over the bars.
            mean = float(data["sign_means"][f"mean_{name}_mean"].sel(panel="cifar10", arm=arm))
            (line,) = (item for item in grid[row, 0].lines if np.array_equal(item.get_xdata(), [mean, mean]))
            assert line.get_zorder() > max(bar.get_zorder() for bar in container.patches)


def test_panels_of_different_data_sets_have_limits_of_their_own():
    rows = np.array(experiments.study(tables("laptop")).axes).reshape(3, 2)
    for left, right in [*rows, *np.array(experiments.signs(tables("fig5")).axes).reshape(2, 3)[:, :2]]:
        assert right not in left.get_shared_y_axes().get_siblings(left)


@pytest.mark.parametrize("recipe", RECIPES)
def test_arms_are_told_apart_without_their_colours(recipe):
    for axes in experiments.FIGURES[recipe](tables(recipe)).axes:
        lines = list(_drawn(axes).values())
        assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines)


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_is_cut_off(recipe):
    figure = experiments.FIGURES[recipe](tables(recipe))
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01


def test_perturb_shows_what_is_lost_at_the_last_level():
    data = tables("perturb")
    together, by_layer = experiments.perturb(data).axes
    lines = _drawn(together)
    assert all(axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 52 for axes in (together, by_layer))
    assert set(lines) == {f"{name}, level {level}" for name in ("IMP", "LRR") for level in (4, 8)}
    last = data["levels"].test_accuracy.sel(panel="cifar10").isel(level=-1).mean("seed")
    lost = [100 * float(last.sel(arm="lrr") - last.sel(arm=f"lrr-p{p}-l8")) for p in (0.1, 0.25, 0.5)]
    places = np.array([line.get_xdata() for line in lines.values()])
    np.testing.assert_allclose(places.mean(axis=0), [10, 25, 50])  # shifted sideways, evenly
    np.testing.assert_allclose(np.diff(np.sort(places, axis=0), axis=0), 0.6)
    np.testing.assert_allclose(lines["LRR, level 8"].get_ydata(), lost, atol=1e-10)
    assert set(_drawn(by_layer)) == {"IMP, level 4", "LRR, level 4"}


@pytest.mark.parametrize(("recipe", "names"), [("criteria", SCORES), ("random", BUDGETS)])
def test_every_suffix_has_a_column(recipe, names):
    data = tables(recipe)
    columns = experiments.by_suffix(data).axes
    assert [axes.get_title(loc="left").lower() for axes in columns] == list(names)
    for axes, name in zip(columns, names, strict=True):
        lines = _drawn(axes)
        shown = 100 * data["means"].accuracy_mean.sel(panel="cifar10", arm=f"lrr-{name}")
        np.testing.assert_allclose(lines["LRR"].get_ydata(), shown)
        if recipe == "random":  # pruned before it is trained: one density, its last level
            there = 100 * data["means"].accuracy_mean.sel(panel="cifar10", arm=f"lrr-{name}-initial")
            np.testing.assert_allclose(lines["LRR, pruned at the start"].get_ydata(), there[-1:])


def test_width_shows_early_flips_and_the_gap():
    data = tables("width")
    left, right = experiments.width(data).axes
    widths = (0.25, 0.5, 1, 2)
    flips = [
        float((data["levels"].flips / data["levels"].total).sel(arm=f"lrr-w{w}", level=0).mean())
        for w in widths
    ]
    np.testing.assert_allclose(left.lines[0].get_xdata(), widths)
    np.testing.assert_allclose(left.lines[0].get_ydata(), flips)
    low = data["levels"].isel(level=slice(6, None)).test_accuracy.mean(("level", "seed"))  # 0.75^6 <= 0.2
    gaps = [100 * float((low.sel(arm=f"lrr-w{w}") - low.sel(arm=f"imp-w{w}"))[0]) for w in widths]
    np.testing.assert_allclose(right.lines[0].get_ydata(), gaps)


def test_networks_pruned_at_initialisation_are_one_line():
    """Above their accuracies, below the sign flips per surviving weight from initialisation to the end."""
    data = tables("sign-in")
    above, below = experiments.accuracy_and_flips(data).axes
    levels, densities = data["levels"].sel(panel="cifar10"), (0.2, 0.1, 0.05)
    first = levels.sel(arm=[f"erk-sign-in-{density}" for density in densities], level=0)
    label, names = LOOKS["erk-sign-in"].label, ("erk", "erk-sign-in", "lrr", "lrr-sign-in")
    for axes in (above, below):
        assert set(_drawn(axes)) == {LOOKS[name].label for name in names}
        for several, density in ((names[:2], first.density), (names[2:], levels.density.sel(arm="lrr"))):
            lines = [_drawn(axes)[LOOKS[name].label] for name in several]
            _stand_side_by_side(lines, 100 * density.mean("seed"), len(names))
    accuracy = 100 * first.test_accuracy.mean("seed")
    np.testing.assert_allclose(_drawn(above)[label].get_ydata(), accuracy)
    np.testing.assert_allclose(_drawn(below)[label].get_ydata(), (first.flips / first.kept).mean("seed"))
    lrr = levels.sel(arm="lrr")
    flips = (lrr.flips / lrr.kept).mean("seed")
    np.testing.assert_allclose(_drawn(below)["LRR"].get_ydata(), flips)


def test_a_study_shows_accuracy_differences_and_signs():
    data = tables("laptop")
    grid = np.array(experiments.study(data).axes).reshape(3, 2)
    assert set(_drawn(grid[0, 1])) == {"IMP", "LRR"}  # the arms that the panel has
    shown = data["levels"].test_accuracy.sel(panel="cifar10").mean("seed")
    line = _drawn(grid[1, 0])["LRR's signs, initial amplitudes"]
    np.testing.assert_allclose(
        line.get_ydata(), 100 * (shown.sel(arm="signs-on-lrr") - shown.sel(arm="imp")), atol=1e-10
    )
    assert set(_drawn(grid[1, 1])) == {"LRR"}


def test_an_arm_without_runs_is_left_out():
    panels = {"cifar10": {arm: np.full((3, 4), 0.5) for arm in ("imp", "lrr", "lrr-on-imp")}}
    made = planted.levels(panels, missing=[("cifar10", "lrr-on-imp", seed) for seed in range(3)])
    data = derived.derived(made, planted.signs(made), ())
    assert set(_drawn(experiments.accuracy(data).axes[0])) == {"IMP", "LRR"}


@pytest.mark.parametrize(
    "draw", [experiments.accuracy, experiments.study, experiments.signs], ids=lambda draw: draw.__name__
)
def test_a_panel_without_runs_is_empty(draw):
    panels = {panel: {arm: np.full((1, 4), 0.5) for arm in ("imp", "lrr")} for panel in CIFAR}
    missing = [("cifar100", arm, 0) for arm in ("imp", "lrr")]
    made = planted.levels(panels, missing=missing)
    signs = planted.signs(made)
    signs = signs.where(signs.panel != "cifar100")
    figure = draw(derived.derived(made, signs, ()))
    first, second = figure.axes[:2]
    assert "LRR" in first.get_legend_handles_labels()[1]
    assert "LRR" not in second.get_legend_handles_labels()[1]
    assert "one seed" in _legend(figure)[1]


def test_of_many_densities_those_with_room_have_a_label():
    data = tables("smoke", levels=25)
    (axes,) = experiments.accuracy(data).axes
    labelled = axes.get_xticks()
    ticks = np.union1d(labelled, axes.get_xticks(minor=True))
    assert len(ticks) == 26
    assert 4 <= len(labelled) <= 7
    steps = labelled[:-1] / labelled[1:]
    np.testing.assert_allclose(steps, steps[0], rtol=5e-2)  # counts are whole
