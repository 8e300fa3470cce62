"""Signs beside LRR's last ticket, overlaps of masks and densities of layers, counted on planted runs."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deepexp.analysis import evidence
from deepexp.analysis.alignment import alignment_table
from deepexp.analysis.overlap import layer_table, overlap_tables
from deepexp.predictions.statistics import moments, pair_moments
from deepexp.storage import bit_files
from deepexp.storage import folder as layout
from tests.deepexp import planted


def _bits(text):
    """Two layers, of 4 weights and of the others, from a text of 0 and 1."""
    bits = torch.tensor([char == "1" for char in text])
    return {"a": bits[:4].reshape(2, 2), "b": bits[4:]}


def _plant(folder, arm, seed, masks, signs, during=(), initial="00000000"):
    """Write the masks and signs of a run, a text a level; `during` has the signs by epoch of level 0."""
    run_id = f"{arm}-{seed}"
    files = {("signs", "initial"): initial}
    files |= {("signs", f"00-{epoch:04d}"): text for epoch, text in enumerate(during)}
    for level, (mask, sign) in enumerate(zip(masks, signs, strict=True)):
        files |= {("masks", level): mask, ("signs", level): sign}
    for (kind, level), text in files.items():
        bit_files.save(_bits(text), layout.file(folder / run_id, kind, level))
    rows = [
        f"{level},{name},{int(bits.sum())},{bits.numel()},0\n"
        for level, mask in enumerate(masks)
        for name, bits in _bits(mask).items()
    ]
    (folder / run_id / "layers.csv").write_text("level,layer,kept,total,density\n" + "".join(rows))
    config = SimpleNamespace(
        run_id=run_id,
        seed=seed,
        pruning=SimpleNamespace(levels=len(masks) - 1),
        train=SimpleNamespace(signs="first" if during else "level"),
        epochs=lambda level: len(during),
    )
    return SimpleNamespace(panel="p", arm=arm, config=config)


def _levels(*arms, seeds=1):
    return planted.levels({"p": {arm: np.full((seeds, 2), 0.5) for arm in arms}})


def test_signs_are_compared_over_the_ticket_where_the_run_is_alive(tmp_path):
    """LRR's ticket is weights 0 to 4 with signs 10110; the text of a mask or of signs has 8 weights."""
    runs = [
        _plant(
            tmp_path, "lrr", 0, ["11111111", "11111000"], ["10000111", "10110111"],
            during=["00000000", "10000111"],
        ),
        _plant(tmp_path, "imp", 0, ["11111111", "11000111"], ["10111000", "01111111"]),
        _plant(tmp_path, "short", 0, ["00111110"], ["11011111"], during=["00110000"], initial="00010000"),
    ]  # fmt: skip
    table = alignment_table(_levels("lrr", "imp", "short"), runs, tmp_path).sel(panel="p", seed=0)
    assert int(table.ticket) == 5
    counts = {
        "shared": [[5, 5], [5, 2], [3, None]],  # imp keeps 0 and 1 of the ticket, short 2, 3 and 4
        "aligned": [[3, 5], [4, 0], [1, None]],
        "aligned_initially": [[2, 2], [2, 1], [2, None]],
    }
    for name, expected in counts.items():
        np.testing.assert_array_equal(table[name], np.array(expected, dtype=float), err_msg=name)
    by_epoch = [[2, 2, 3], [np.nan] * 3, [2, 3, np.nan]]
    np.testing.assert_array_equal(table.aligned_epoch, by_epoch)
    made = evidence.with_statistics({"alignment": table.expand_dims(["panel", "seed"])})["alignment"]
    np.testing.assert_array_equal(made.alignment_mean.sel(panel="p", arm="imp"), [4 / 5, 0])
    np.testing.assert_array_equal(made.shared_share_mean.sel(panel="p", arm="imp"), [1, 2 / 5])
    np.testing.assert_array_equal(made.epoch_alignment_mean.sel(panel="p", arm="short")[:2], [2 / 3, 1])


def test_without_a_ticket_of_the_same_shape_there_is_no_alignment(tmp_path):
    wide = _plant(tmp_path, "wide", 0, ["1111111111"] * 2, ["0" * 10] * 2, initial="0" * 10)
    lrr = _plant(tmp_path, "lrr", 0, ["11111111"] * 2, ["00000000"] * 2)
    other = _plant(tmp_path, "imp", 1, ["11111111"] * 2, ["00000000"] * 2)  # LRR has no run of this seed
    table = alignment_table(_levels("wide", "lrr", "imp", seeds=2), [wide, lrr, other], tmp_path)
    assert table.aligned.sel(arm="wide").isnull().all()
    assert table.aligned.sel(arm="imp").isnull().all()
    assert table.aligned.sel(arm="lrr", seed=0).notnull().all()
    assert "epoch" not in table.dims  # no run recorded them
    alone = alignment_table(_levels("imp", seeds=2), [other], tmp_path)
    assert alone.aligned.isnull().all()


def test_masks_in_common_and_what_chance_gives(tmp_path):
    """The first layer has 4 weights and the second 4 (6 in the wider network)."""
    none = "00000000"
    runs = [
        _plant(tmp_path, "imp", 0, ["11111111", "11001110"], [none] * 2),
        _plant(tmp_path, "lrr", 0, ["11111111", "10100011"], [none] * 2),
        _plant(tmp_path, "imp", 1, ["11111111", "01001101"], [none] * 2),
        _plant(tmp_path, "wide", 0, ["1" * 10] * 2, ["0" * 10] * 2, initial="0" * 10),
    ]
    tables = overlap_tables(_levels("imp", "lrr", "wide", seeds=2), runs, tmp_path)
    arms = tables["overlap"].sel(panel="p", seed=0)
    pair = arms.sel(arm="imp", baseline="lrr")
    assert pair.common.values.tolist() == [8, 2]
    assert pair.expected.values.tolist() == [8, 2 * 2 / 4 + 3 * 2 / 4]
    assert pair["size"].values.tolist() == [8, 4.5]
    mirrored = arms.sel(arm="lrr", baseline="imp").drop_vars(("arm", "baseline"))
    assert mirrored.equals(pair.drop_vars(("arm", "baseline")))
    assert arms.common.sel(arm="imp", baseline="imp").isnull().all()
    assert arms.common.sel(arm="wide").isnull().all()
    seeds = tables["seed_overlap"].sel(panel="p", arm="imp", level=1)
    np.testing.assert_array_equal(seeds.common, [[np.nan, 3], [3, np.nan]])
    np.testing.assert_array_equal(seeds.expected, [[np.nan, 2.75], [2.75, np.nan]])  # 2*1/4 + 3*3/4
    np.testing.assert_array_equal(seeds["size"], [[np.nan, 4.5], [4.5, np.nan]])
    made = evidence.with_statistics(tables)
    found = made["overlap"].sel(panel="p", arm="imp", baseline="lrr", level=1)
    assert (float(found.overlap_mean), float(found.chance_mean)) == (2 / 4.5, 2.5 / 4.5)
    assert int(found.overlap_n) == 1
    found = made["seed_overlap"].sel(panel="p", arm="imp", level=1)
    assert (float(found.overlap_mean), float(found.chance_mean)) == (3 / 4.5, 2.75 / 4.5)
    assert np.isnan(found.overlap_low)  # two seeds make one pair


def test_the_expectation_by_chance_is_the_mean_over_all_masks(tmp_path):
    """Over all masks with 2 of the 4 weights of the first layer and 3 of those of the second."""
    levels = _levels("imp", "lrr")
    first = [itertools.combinations(range(4), 2), itertools.combinations(range(4, 8), 3)]
    found = []
    runs = [_plant(tmp_path, "imp", 0, ["11111111", "11001000"], ["00000000"] * 2)]
    for left, right in itertools.product(*map(list, first)):
        text = "".join("1" if place in (*left, *right) else "0" for place in range(8))
        lrr = _plant(tmp_path, "lrr", 0, ["11111111", text], ["00000000"] * 2)
        found.append(overlap_tables(levels, [*runs, lrr], tmp_path)["overlap"].sel(level=1, seed=0))
    pairs = [item.sel(panel="p", arm="imp", baseline="lrr") for item in found]
    assert (
        np.mean([float(pair.common) for pair in pairs]) == float(pairs[0].expected) == 2 * 2 / 4 + 1 * 3 / 4
    )


def test_densities_of_layers(tmp_path):
    runs = [
        _plant(tmp_path, "imp", seed, ["11111111", mask], ["00000000"] * 2)
        for seed, mask in enumerate(("10001110", "11101110"))
    ]
    counts = layer_table(_levels("imp", seeds=2), runs, tmp_path)
    table = evidence.with_statistics({"layers": counts})["layers"].sel(panel="p", arm="imp", level=1)
    assert table.layer.values.tolist() == ["a", "b"]
    assert table.kept.transpose("seed", "layer").values.tolist() == [[1, 3], [3, 3]]
    assert table.total.values.tolist() == [4, 4]
    assert table.density_mean.values.tolist() == [0.5, 0.75]


def test_the_jackknife_over_pairs():
    """A mean over pairs of (x + y) / 2 is the mean of the samples, with their own deviation."""
    x = np.random.default_rng(3).normal(size=(2, 5))
    pairs = (x[..., None] + x[..., None, :]) / 2
    found, plain = pair_moments(pairs), moments(x)
    assert found.n.tolist() == [5, 5]
    np.testing.assert_allclose(found.mean, plain.mean, rtol=1e-13)
    np.testing.assert_allclose(found.deviation, plain.deviation, rtol=1e-12)
    pairs[:, 1], pairs[:, :, 1] = np.nan, np.nan  # the second sample is missing
    found, plain = pair_moments(pairs), moments(np.delete(x, 1, axis=-1))
    np.testing.assert_allclose(found.mean, plain.mean, rtol=1e-13)
    np.testing.assert_allclose(found.deviation, plain.deviation, rtol=1e-12)


@pytest.mark.parametrize(("samples", "mean"), [(0, np.nan), (1, np.nan), (2, 0.25)])
def test_fewer_than_three_samples_have_no_interval(samples, mean):
    values = np.full((3, 3), np.nan)
    values[:samples, :samples] = 0.25
    found = pair_moments(values)
    np.testing.assert_equal(float(found.mean), mean)
    assert np.isnan(found.deviation)
