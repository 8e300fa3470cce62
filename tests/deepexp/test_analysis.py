"""Tables from runs: what stands in their files, paired by seed, with signs counted over survivors."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from deepexp.analysis import derived, histograms, starvation
from deepexp.analysis import tables as analysis
from deepexp.config.build import build
from deepexp.predictions import published
from deepexp.recipes import plan
from deepexp.recipes.recipe import load
from deepexp.runs import run as levels
from deepexp.storage import bit_files, records
from deepexp.storage import folder as layout
from tests.deepexp import planted

RECIPE = """
question = "Which is it?"
source = "a test"
predictions = ["P1", "P2", "P4"]
settings.data.limit = 160
settings.model = { name = "resnet8", width = 0.25 }
settings.policy.rewind_epoch = 1
panels.digits.data.dataset = "digits"
arms.imp.algorithm = "imp"
arms.lrr.algorithm = "lrr"
arms.imp-on-lrr = { algorithm = "imp", masks = "lrr" }

[profiles.smoke]
protocol = "signflow"
panels = ["digits"]
seeds = [0, 1]
settings.train = { epochs = 2, batch_size = 32 }
settings.pruning = { levels = 2, keep = 0.4 }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The recipe, its runs and their folder: all but IMP on LRR's masks complete, one of those part of it."""
    folder = tmp_path_factory.mktemp("analysis")
    (folder / "tiny.toml").write_text(RECIPE)
    recipe = load(str(folder / "tiny.toml"))
    runs = plan.runs(recipe, profile="smoke")
    for run in runs:
        steps = levels.run(run.config, folder / run.config.run_id)
        if run.arm != "imp-on-lrr":
            for _ in steps:
                pass
        elif run.config.seed == 0:
            while next(steps).row is None:
                pass
            steps.close()
    return recipe, runs, folder


def test_the_table_of_levels_has_what_the_runs_wrote(made):
    recipe, runs, folder = made
    table = analysis.tables(recipe, runs, folder)["levels"]
    assert dict(table.sizes) == {"panel": 1, "arm": 3, "seed": 2, "level": 3}
    for run in runs:
        found = table.sel(panel=run.panel, arm=run.arm, seed=run.config.seed)
        assert bool(found.planned)
        if run.arm == "imp-on-lrr":  # no run of it is complete: what one has is left out
            assert found.test_accuracy.isnull().all()
            continue
        rows = records.rows(folder / run.config.run_id / "levels.csv")
        for name in ("test_accuracy", "density", "kept", "flips", "total", "train_loss"):
            assert found[name].values.tolist() == [float(row[name]) for row in rows]
        assert found.validation_accuracy.isnull().all()
    missing = [run.config.run_id for run in runs if run.arm == "imp-on-lrr"]
    assert json.loads(table.attrs["missing"]) == missing
    assert table.network.values.tolist() == ["resnet8, width 0.25"]
    assert table.masks.values.tolist() == [["own", "own", "run"]]


def test_starved_layers_are_counted_by_arm_and_level(made):
    """By the masks on disk; ResNet8 of a quarter's width has layers of 36 to 2,304 weights."""
    recipe, runs, folder = made
    table = analysis.tables(recipe, runs, folder)["levels"]
    for run in runs[:2]:
        for level in range(3):
            alive = bit_files.load(layout.file(folder / run.config.run_id, "masks", level))
            left = [(int(there.sum()), there.numel()) for there in alive.values()]
            few = [kept < total and (kept < 10 or kept < total / 100) for kept, total in left]
            found = table.sel(panel=run.panel, arm=run.arm, seed=run.config.seed, level=level)
            assert int(found.starved) == sum(few)
            assert int(found.empty) == sum(kept == 0 for kept, _ in left)
    assert table.starved.sel(arm="imp-on-lrr").isnull().all()
    assert "counted" not in table


def _csv(folder, rows):
    text = "".join(f"{level},{name},{kept},{total},0\n" for level, name, kept, total in rows)
    (folder / "layers.csv").write_text("level,layer,kept,total,density\n" + text)


def test_what_starves(tmp_path):
    """Fewer than 10 weights or than 1 %, unless nothing was pruned."""
    full = [("small", 8, 8), ("large", 5000, 5000), ("middle", 100, 100)]
    pruned = [("small", 7, 8), ("large", 49, 5000), ("middle", 10, 100)]
    last = [("small", 0, 8), ("large", 50, 5000), ("middle", 9, 100)]
    _csv(tmp_path, [(level, *row) for level, rows in enumerate((full, pruned, last)) for row in rows])
    starved, empty = starvation.starving(tmp_path, [5108, 66, 59])
    assert starved.tolist() == [0, 2, 2]
    assert empty.tolist() == [0, 0, 1]
    for kept in ([5108, 66, 58], [5108, 66], [5108, 66, 59, 59]):
        with pytest.raises(
            ValueError, match=r"layers\.csv' must have .* with the totals of levels\.csv, but it does"
        ):
            starvation.starving(tmp_path, kept)


def test_means_without_the_levels_at_which_any_arm_starves():
    accuracies = {name: np.full((3, 5), 0.6) for name in ("imp", "lrr")}
    accuracies["lrr"] += np.array([0.0, 0.0, 0.0, 0.05, 0.01])
    table = planted.levels({"digits": accuracies})
    starved = np.zeros(table.kept.shape)
    starved[0, 0, 1, 4] = 1  # one seed of IMP, at the last level
    table["starved"], table["empty"] = (table.kept.dims, starved), (table.kept.dims, 0 * starved)
    assert starvation.starvation(table) == [
        "digits, imp: layers starve from level 4 (density 6.25%) on, up to 1 of them"
    ]
    whole = derived.derived(table, planted.signs(table), ("P1",))
    fed = starvation.counting_fed(table)
    part = derived.derived(fed, planted.signs(fed), ("P1",))
    assert float(whole["verdicts"].estimate[0]) == pytest.approx(3.0)
    assert float(part["verdicts"].estimate[0]) == pytest.approx(5.0)
    low = part["low"].sel(panel="digits", arm="lrr", baseline="imp", at_most=0.2)
    assert float(low.difference_mean) == pytest.approx(0.05)


def test_verdicts_of_an_unfinished_experiment_say_what_is_missing(made):
    found = analysis.tables(*made)["verdicts"]
    words = dict(zip(found.prediction.values, found.text.values, strict=True))
    assert words["P1"].startswith("INCONCLUSIVE (n ")
    assert words["P2"] == "NOT RUN (no run of the arm imp-on-lrr is complete)"
    assert words["P4"].startswith("INCONCLUSIVE (n ")


def test_nothing_complete_is_refused(made, tmp_path):
    recipe, runs, _ = made
    with pytest.raises(
        ValueError, match=r"tiny must have a complete run in .* none of its 6 runs is complete; run"
    ):
        analysis.tables(recipe, runs, tmp_path)


def test_origins_say_which_data_and_software(made):
    _, runs, folder = made
    (one,) = analysis.origins(runs, folder)
    assert one["runs"] == 4
    assert one["data"].startswith("digits (")
    assert one["torch"] == torch.__version__


def test_sign_statistics_of_runs_are_those_of_their_files(made):
    """By loops over single weights, from the bits on disk."""
    recipe, runs, folder = made
    table = analysis.tables(recipe, runs, folder)["signs"]
    run = next(run for run in runs if run.arm == "lrr" and run.config.seed == 1)
    path = folder / run.config.run_id
    history = [bit_files.load(layout.file(path, "signs", level)) for level in ("initial", 0, 1, 2)]
    alive = bit_files.load(layout.file(path, "masks", 2))
    last, count = [0] * 3, [0] * 4
    for name, there in alive.items():
        for place in there.flatten().nonzero().flatten().tolist():
            bits = [bool(level[name].flatten()[place]) for level in history]
            flipped = [level for level in range(3) if bits[level] != bits[level + 1]]
            last[flipped[-1] if flipped else 0] += 1
            count[len(flipped)] += 1
    found = table.sel(panel="digits", arm="lrr", seed=1)
    assert found.last_flip.values.tolist() == last
    assert found.switches.values.tolist() == count
    rows = records.rows(path / "levels.csv")
    assert int(found.survivors) == sum(last) == int(rows[-1]["kept"])
    assert float(found.mean_last_flip) == (last[1] + 2 * last[2]) / sum(last)


def test_sign_statistics_of_a_planted_history(tmp_path):
    """Six weights over levels 0 to 2; two of them, which flip most, are pruned on the way."""
    histories = {  # signs: initially, and at the end of levels 0, 1, 2; alive at levels 0, 1, 2
        "never": ("0000", "111"),
        "at level 0": ("0111", "111"),
        "at level 1": ("1100", "111"),
        "always": ("0101", "111"),
        "pruned at 2": ("0100", "110"),
        "pruned at 1": ("0111", "100"),
    }

    def column(texts, position):
        bits = [text[position] == "1" for text in texts]
        return {"a": torch.tensor(bits[:4]).reshape(2, 2), "b": torch.tensor(bits[4:])}

    signs, alive = zip(*histories.values(), strict=True)
    for position, level in enumerate(("initial", 0, 1, 2)):
        bit_files.save(column(signs, position), layout.file(tmp_path, "signs", level))
    for level in range(3):
        bit_files.save(column(alive, level), layout.file(tmp_path, "masks", level))
    last, count = histograms.sign_histograms(tmp_path, 2)
    assert last.tolist() == [2, 1, 1]  # never and at level 0; at level 1; always
    assert count.tolist() == [1, 2, 0, 1]


def test_paired_statistics_are_those_of_scipy():
    rng = np.random.default_rng(7)
    seeds = rng.normal(0, 0.05, (5, 1))
    accuracies = {name: 0.7 + seeds + rng.normal(0, 0.01, (5, 4)) for name in ("imp", "lrr")}
    accuracies["lrr"][:, 0] = accuracies["imp"][:, 0]  # the dense level is one training
    table = planted.levels({"digits": accuracies})
    tables = derived.derived(table, planted.signs(table), ())
    found = tables["paired"].sel(panel="digits", arm="lrr", baseline="imp")
    difference = accuracies["lrr"] - accuracies["imp"]
    tests = stats.ttest_rel(accuracies["lrr"][:, 1:], accuracies["imp"][:, 1:])
    low, high = tests.confidence_interval()
    np.testing.assert_allclose(found.difference_mean, difference.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(found.difference_low[1:], low)
    np.testing.assert_allclose(found.difference_high[1:], high)
    np.testing.assert_allclose(found.p[1:], tests.pvalue)
    np.testing.assert_allclose(found.effect[1:], tests.statistic / np.sqrt(5))
    assert np.isnan(found.p[0])
    assert np.isnan(found.p_holm[0])
    order = np.argsort(tests.pvalue)
    steps = np.maximum.accumulate(tests.pvalue[order] * [3, 2, 1])
    np.testing.assert_allclose(found.p_holm.values[1:][order], np.minimum(steps, 1))
    mirrored = tables["paired"].sel(panel="digits", arm="imp", baseline="lrr")
    np.testing.assert_allclose(mirrored.difference_low, -found.difference_high)
    at_low = tables["low"].sel(panel="digits", arm="lrr", baseline="imp")
    np.testing.assert_allclose(at_low.sel(at_most=0.2).difference_mean, difference[:, 3].mean())
    np.testing.assert_allclose(at_low.sel(at_most=0.5).difference_mean, difference[:, 1:].mean())
    means = tables["means"].sel(panel="digits", arm="lrr")
    np.testing.assert_allclose(means.accuracy_mean, accuracies["lrr"].mean(axis=0))
    np.testing.assert_allclose(means.accuracy_deviation, accuracies["lrr"].std(axis=0, ddof=1))


RENDA = {"data.dataset": "cifar10", "model.name": "resnet20", "algorithm": "lrr"}


def test_a_published_curve_belongs_to_its_protocol_and_network_alone():
    curve = published.matching(build({**RENDA, "seed": 3, "pruning.levels": 12}, protocol="renda20"))
    assert curve is not None
    assert (curve.points[0.262], curve.points[1.0]) == (92.14, 91.71)
    assert "Renda" in curve.source
    others = [
        ({"train.epochs": 30}, "renda20"),
        ({"model.width": 0.5}, "renda20"),
        ({"data.limit": 5000}, "renda20"),
        ({"pruning.keep": 0.5}, "renda20"),
        ({"pruning.score": "random"}, "renda20"),
        ({"pruning.source": "run", "pruning.run": "another"}, "renda20"),
        ({"model.name": "resnet8"}, "renda20"),
        ({}, "signflow"),
        ({}, "openlth"),
    ]
    for more, protocol in others:
        settings = {**RENDA, "algorithm": "imp" if protocol == "openlth" else "lrr", **more}
        assert published.matching(build(settings, protocol=protocol)) is None


@pytest.mark.parametrize(
    ("recipe", "arms"), [("fig3", {"lrr-warmup", "wr-warmup"}), ("imagenet", {"imp", "wr", "lrr"})]
)
def test_full_recipes_meet_what_is_published_of_their_protocol(recipe, arms):
    """TurboPrune warms up at every level; Renda et al. have ResNet50 on ImageNet."""
    runs = plan.runs(recipe, profile="full", seeds=[0])
    assert {run.arm for run in runs if published.matching(run.config)} == arms


def test_published_curves_are_densities_and_percentages():
    for curve in published.CURVES:
        densities = list(curve.points)
        assert densities[0] == 1
        assert sorted(densities, reverse=True) == densities
        assert all(0 < density <= 1 for density in densities)
        assert all(60 < accuracy < 100 for accuracy in curve.points.values())
