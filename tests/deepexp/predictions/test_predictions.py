"""Each prediction from planted tables whose answer is known, and the rule at its edges."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from deepexp.predictions import decide as decide_module
from deepexp.predictions import estimates, predictions
from deepexp.predictions.decide import decide, decide_ratio
from deepexp.predictions.statistics import fieller
from tests.deepexp import planted

HALF = stats.t.ppf(0.975, 2) / math.sqrt(3)  # of three values: interval = mean +- HALF * deviation
SHAPE = (3, 4)  # seeds, levels of density 1, 1/2, 1/4, 1/8: the last alone is at most 0.2


def _arms(**offsets):
    """Accuracies of 0.6 at every level; at the last the offsets of the seeds, in percentage points."""
    arms = {}
    for name, offset in offsets.items():
        accuracy = np.full((len(offset), SHAPE[1]), 0.6)
        accuracy[:, -1] += np.array(offset) / 100
        arms[name.replace("_", "-")] = accuracy
    return arms


def _decided(identifier, arms, signs=None, **more):
    levels = planted.levels({"digits": arms}, **more)
    return predictions.decided(identifier, {"levels": levels, "signs": signs or planted.signs(levels)})


def _one(identifier, arms, **more):
    (found,) = _decided(identifier, arms, **more)
    return found


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 1.1, 0.9], "SUPPORTED"),
        ([0.10, 0.11, 0.09], "SUPPORTED (below the margin)"),
        ([-1.0, -1.1, -0.9], "NOT SUPPORTED"),
        ([0.0, 0.01, -0.01], "NOT SUPPORTED"),
        ([0.0, 0.0, 0.0], "NOT SUPPORTED"),
        ([7e-15, 7e-15, 7e-15], "NOT SUPPORTED"),
        ([1.0, 3.0, -1.0], "INCONCLUSIVE (n = 18)"),
        ([0.1001, 3.0, -2.8], "INCONCLUSIVE (n > 1,000)"),
        ([5.0], "INCONCLUSIVE (n unknown)"),
        ([5.0, 5.1], "INCONCLUSIVE (n = 3)"),
        ([5.0, 5.0], "INCONCLUSIVE (n = 3)"),
        ([-5.0, -5.0], "INCONCLUSIVE (n = 3)"),
        ([], "NOT RUN (no seed has all the runs that the estimate needs)"),
    ],
)
def test_the_rule(values, text):
    assert str(decide(np.array(values), 0.0, 0.2)) == text


def test_a_tie_is_one_whatever_the_order_of_its_sums():
    """Means of the same three accuracies, summed in two orders, differ by 1.4e-14."""
    arms = {"imp": np.full((3, 5), 0.6), "lrr": np.full((3, 5), 0.6)}
    arms["imp"][:, 2:], arms["lrr"][:, 2:] = (0.3, 0.2, 0.1), (0.1, 0.2, 0.3)
    levels = planted.levels({"digits": arms}, keep=0.4)
    found = predictions.verdict_table(("P1",), {"levels": levels, "signs": planted.signs(levels)}).isel(
        verdict=0
    )
    assert np.all(found["values"] != 0)
    assert (found.word, found.estimate, str(float(found.low))) == ("NOT SUPPORTED", 0.0, "0.0")


@pytest.mark.parametrize(
    ("mean", "word"),
    [
        (HALF + 1e-9, "SUPPORTED"),
        (HALF - 1e-9, "INCONCLUSIVE"),
        (0.2 - HALF + 1e-9, "INCONCLUSIVE"),
        (0.2 - HALF - 1e-9, "NOT SUPPORTED"),
    ],
)
def test_an_end_decides_by_the_side_of_the_bound_that_it_lies_on(mean, word):
    """The interval of mean + (-1, 0, 1), of deviation 1, is mean -+ HALF."""
    assert decide(mean + np.array([-1.0, 0.0, 1.0]), 0.0, 0.2).word == word


@pytest.mark.parametrize(("mean", "deviation"), [(1.0, 2.0), (-0.3, 0.9), (0.05, 0.4), (3.0, 2.6)])
def test_the_number_of_seeds_is_the_smallest_that_decides(mean, deviation):
    def sample(n):
        standard = np.random.default_rng(n).normal(size=n)
        standard -= standard.mean()
        return mean + deviation * standard / standard.std(ddof=1)

    needed = int(decide(sample(3), 0.0, 0.2).needed)
    assert decide(sample(needed), 0.0, 0.2).word in ("SUPPORTED", "NOT SUPPORTED")
    assert decide(sample(needed - 1), 0.0, 0.2).word == "INCONCLUSIVE"


SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = (1.0, 1.1, 0.9), (-1.0, -1.1, -0.9), (1.0, 3.0, -1.0)
ANSWERS = [
    (SUPPORTED, "SUPPORTED"),
    (NOT_SUPPORTED, "NOT SUPPORTED"),
    (INCONCLUSIVE, "INCONCLUSIVE (n = 18)"),
]
ZERO = (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("planted_gap", "text"), ANSWERS)
@pytest.mark.parametrize(
    ("identifier", "plus", "minus"),
    [
        ("P1", "lrr", "imp"),
        ("P2", "imp_on_lrr", "imp"),
        ("P3", "lrr_on_imp", "imp"),
        ("P12", "lrr_sign_in", "lrr"),
    ],
)
def test_p1_to_p3_and_p12_compare_at_low_density(identifier, plus, minus, planted_gap, text):
    common = np.array([1.0, -2.0, 7.0])  # what a seed brings all its arms takes no part
    found = _one(identifier, _arms(**{plus: common + planted_gap, minus: common}))
    assert str(found.verdict) == text
    assert found.estimate is not None
    np.testing.assert_allclose(found.estimate.values, planted_gap, atol=1e-12)
    assert (found.panel, found.network, found.variant, found.margin) == ("digits", "resnet8", "", 0.2)


def test_only_levels_of_low_density_count_and_all_of_them():
    """keep 0.44: densities 1, 0.44, 0.1936 (0.1936 N rounded), 0.0852: the last two."""
    arms = _arms(imp=ZERO, lrr=ZERO)
    arms["lrr"][:, :] += np.array([0.3, 0.2, 0.02, 0.01])
    (found,) = _decided("P1", arms, keep=0.44)
    assert found.verdict.estimate == pytest.approx(1.5)


def test_a_density_is_reached_by_the_count_that_pruning_rounds_it_to():
    """A fifth of 4,098 is 819.6: pruning to density 0.2 keeps 820."""
    levels = xr.Dataset({"kept": ("level", [821.0, 820.0, np.nan]), "total": 4098.0})
    assert estimates.at_most(levels, 0.2).values.tolist() == [False, True, False]


def test_p1_of_each_criterion():
    gaps = {"magnitude": SUPPORTED, "snip": NOT_SUPPORTED, "synflow": INCONCLUSIVE}
    arms = {f"imp_{score}": ZERO for score in gaps} | {f"lrr_{score}": gap for score, gap in gaps.items()}
    found = {item.variant: str(item.verdict) for item in _decided("P1", _arms(**arms))}
    assert found == {
        "magnitude": "SUPPORTED", "snip": "NOT SUPPORTED", "synflow": "INCONCLUSIVE (n = 18)"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("imp", "text"),
    [([60, 10, 10, 20], "SUPPORTED"), ([80, 20, 0, 0], "NOT SUPPORTED"), ([77, 20, 0, 3], "SUPPORTED")],
)
def test_p4_compares_when_the_survivors_settle(imp, text):
    """Of 100 survivors: last flips at levels 0 to 3, as a share of 3 prunings; LRR's mean is 0.2 / 3."""
    levels = planted.levels({"digits": _arms(imp=ZERO, lrr=ZERO)})
    signs = planted.signs(levels, {"imp": imp, "lrr": [80, 20, 0, 0]})
    found = _one("P4", _arms(imp=ZERO, lrr=ZERO), signs=signs)
    assert found.verdict.word == text
    assert found.verdict.estimate == pytest.approx((np.arange(4) @ imp / 100 - 0.2) / 3, abs=1e-15)


@pytest.mark.parametrize(("planted_gap", "text"), ANSWERS)
def test_p5_compares_what_is_lost_at_the_last_level(planted_gap, text):
    """With 3 prunings the perturbed level is 1; the other perturbations stand aside."""
    lost = np.array([2.0, 3.0, 4.0])
    arms = _arms(imp=ZERO, lrr=lost) | {
        name.replace("_", "-").replace("025", "0.25"): accuracy
        for name, accuracy in _arms(
            imp_p025_l1=-lost - planted_gap, lrr_p025_l1=ZERO, imp_p025_l2=ZERO, imp_p025_l1_layer=ZERO
        ).items()
    }
    for name in ("imp", "lrr"):
        arms[name][:, :-1] += 0.3
    found = _one("P5", arms)
    assert str(found.verdict) == text
    assert found.estimate is not None
    np.testing.assert_allclose(found.estimate.values, planted_gap, atol=1e-12)


@pytest.mark.parametrize(("planted_gap", "text"), ANSWERS)
def test_p6_compares_on_erk_masks_at_half_density_and_below(planted_gap, text):
    arms = _arms(imp_erk=ZERO, lrr_erk=ZERO, imp_uniform=ZERO, lrr_uniform=(9.0, 9.0, 9.0))
    arms["lrr-erk"][:, :2] += 3 * np.array(planted_gap)[:, None] / 100  # of densities 1/2, 1/4, 1/8 the first
    (found,) = _decided("P6", arms)
    assert str(found.verdict) == text
    assert found.verdict.estimate == pytest.approx(np.mean(planted_gap))


def _width_arms(gap):
    """Gaps of 1 and of gap more points for each doubling, at widths 1/4 to 2."""
    arms = {}
    for doublings, width in enumerate(("0.25", "0.5", "1", "2")):
        arms |= {f"imp-w{width}": ZERO, f"lrr-w{width}": 1 + doublings * np.array(gap)}
    return _arms(**arms)


@pytest.mark.parametrize(("slope", "text"), ANSWERS)
def test_p7b_is_the_slope_of_the_gap(slope, text):
    found = _one("P7b", _width_arms(slope))
    assert str(found.verdict) == text
    assert found.estimate is not None
    np.testing.assert_allclose(found.estimate.values, slope, atol=1e-12)


@pytest.mark.parametrize(
    ("slopes", "text"),
    [
        ((40.0, 41.0, 39.0), "SUPPORTED"),
        ((8.0, 8.1, 7.9), "SUPPORTED (below the margin)"),
        ((0.0, 1.0, -1.0), "NOT SUPPORTED"),
        ((40.0, -40.0, 20.0), "INCONCLUSIVE"),
    ],
)
def test_p7_is_the_slope_of_the_early_flips(slopes, text):
    """400 flips of TOTAL weights on average, so that the margin is 20 flips a doubling."""
    arms = _width_arms(ZERO)
    flips = {}
    for doublings, width in enumerate((0.25, 0.5, 1, 2)):
        early = 400 + (doublings - 1.5) * np.array(slopes)
        flips |= {f"{name}-w{width:g}": early for name in ("imp", "lrr")}
    found = _one("P7", arms, flips=flips)
    assert found.verdict.estimate == pytest.approx(np.mean(slopes) / planted.TOTAL)
    assert found.margin == pytest.approx(20 / planted.TOTAL)
    assert str(found.verdict).removesuffix(f" (n = {found.verdict.needed})") == text


GAP = np.array([10.0, 10.2, 9.8])


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ((0.8, 0.82, 0.78), "SUPPORTED"),
        ((0.2, 0.22, 0.18), "NOT SUPPORTED"),
        ((0.55, 0.75, 0.35), "INCONCLUSIVE"),
    ],
)
@pytest.mark.parametrize(
    ("identifier", "base", "other"), [("P8", "imp", "imp_on_lrr"), ("P8b", "imp_on_lrr", "imp")]
)
def test_p8_is_the_share_of_lrrs_lead_and_p8b_of_the_gap_on_its_masks(identifier, base, other, share, text):
    """IMP on the masks that are not its own takes no part in P8, IMP on its own none in P8b."""
    arms = {base: ZERO, "lrr": GAP, "signs_on_lrr": GAP * share, other: (-90.0, 7.0, 3.0)}
    found = _one(identifier, _arms(**arms))
    assert found.verdict.word == text
    assert found.verdict.estimate == pytest.approx((GAP * share).mean() / GAP.mean())
    if text == "INCONCLUSIVE":
        assert int(found.verdict.needed) > 3


def _random_arms(gain):
    """Networks pruned at initialisation: gains of half, once and one and a half times `gain`, in points."""
    arms = {}
    for density, share in ((0.2, 0.5), (0.1, 1.0), (0.05, 1.5)):
        common = np.array([0.7, 0.6, 0.8])[:, None] * density + np.zeros(SHAPE)
        arms |= {
            f"erk-{density}": common,
            f"erk-sign-in-{density}": common + share * np.array(gain)[:, None] / 100,
        }
    return arms


@pytest.mark.parametrize(("planted_gain", "text"), ANSWERS)
def test_p9_is_the_mean_gain_of_networks_pruned_at_initialisation(planted_gain, text):
    """All three densities count, one of 0.2 too; LRR's arms in the same tables take no part."""
    found = _one("P9", {**_random_arms(planted_gain), **_arms(lrr=SUPPORTED, lrr_sign_in=NOT_SUPPORTED)})
    assert str(found.verdict) == text
    assert found.estimate is not None
    np.testing.assert_allclose(found.estimate.values, planted_gain, atol=1e-12)


def test_p9_takes_no_seed_that_lacks_a_density():
    found = _one("P9", _random_arms(SUPPORTED), missing=[("digits", "erk-sign-in-0.05", 1)])
    assert (found.verdict.n, found.verdict.word) == (2, "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ((0.100, 0.102, 0.098), "SUPPORTED"),
        ((0.0060, 0.0061, 0.0059), "SUPPORTED (below the margin)"),
        ((0.0, 0.001, -0.001), "NOT SUPPORTED"),
        ((0.1, -0.1, 0.05), "INCONCLUSIVE"),
    ],
)
def test_p10_counts_flips_per_survivor_from_initialisation(more, text):
    """0.2 flips per survivor without Sign-In, a few more with it; 5 % of the mean of all networks."""
    arms, flips = _random_arms(ZERO), {}
    for name in arms:
        kept = np.floor(float(name.split("-")[-1]) * planted.TOTAL + 0.5)
        flips[name] = kept * (0.2 + np.array(more) * ("sign-in" in name))
    found = _one("P10", arms, flips=flips)
    np.testing.assert_allclose(found.estimate.values, more, atol=1e-12)
    assert found.margin == pytest.approx(0.05 * (0.2 + np.mean(more) / 2))
    assert str(found.verdict).removesuffix(f" (n = {found.verdict.needed})") == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ((0.8, 0.82, 0.78), "SUPPORTED"),
        ((0.2, 0.22, 0.18), "NOT SUPPORTED"),
        ((0.55, 0.75, 0.35), "INCONCLUSIVE"),
    ],
)
def test_p11_is_the_share_of_lrrs_lead_that_cycles_do_not_explain(share, text):
    common = np.array([1.0, -2.0, 7.0])
    arms = {"imp": common, "lrr": common + GAP, "imp_cycles": common + GAP * (1 - np.array(share))}
    found = _one("P11", _arms(**arms))
    assert found.verdict.word == text
    assert found.verdict.estimate == pytest.approx((GAP * share).mean() / GAP.mean())
    low, high = fieller(GAP * share, GAP)
    assert (found.verdict.low, found.verdict.high) == pytest.approx((float(low), float(high)))


def test_p11_is_not_run_without_a_lead():
    found = _one("P11", _arms(imp=ZERO, lrr=INCONCLUSIVE, imp_cycles=ZERO))
    assert str(found.verdict).startswith("NOT RUN ('denominator > 0' must be SUPPORTED")


def test_p8_is_not_run_unless_the_gap_is_there():
    over = np.array([0.5, 0.6, 0.4])
    for gap, word in ((INCONCLUSIVE, "INCONCLUSIVE (n = 18)"), (NOT_SUPPORTED, "NOT SUPPORTED")):
        verdict = decide_ratio(over, np.array(gap), 0.5, 0.0)
        assert str(verdict) == f"NOT RUN ('denominator > 0' must be SUPPORTED, but it is {word})"
    assert decide_ratio(over[:2], GAP[:2], 0.5, 0.0).word == "NOT RUN"
    assert decide_ratio(over * np.nan, GAP, 0.5, 0.0).word == "NOT RUN"


def test_an_unbounded_interval_decides_nothing(monkeypatch):
    """It cannot come with a denominator that is SUPPORTED > 0; the rule holds on its own."""
    free = (np.array(-np.inf), np.array(np.inf))
    monkeypatch.setattr(decide_module, "fieller", lambda over, under, n=None: free)
    assert str(decide_ratio(GAP, GAP, 0.5, 0.0)) == "INCONCLUSIVE (n > 1,000)"


def test_a_seed_without_all_its_runs_takes_no_part():
    arms = _arms(imp=(0.0,) * 4, lrr=(1.0, 1.1, 0.9, 50.0))
    found = _one("P1", arms, missing=[("digits", "imp", 3)])
    assert (str(found.verdict), found.verdict.n) == ("SUPPORTED", 3)


@pytest.mark.parametrize(
    ("identifier", "arms", "why"),
    [
        ("P1", {"imp": ZERO}, "there is no arm lrr here"),
        ("P2", {"imp": ZERO, "lrr": ZERO}, "there is no arm imp-on-lrr here"),
        ("P4", {"lrr": ZERO}, "there is no arm imp here"),
        ("P5", {"imp": ZERO, "lrr": ZERO}, "there is no arm imp-p0.25-l1 here"),
        ("P6", {"imp_uniform": ZERO, "lrr_uniform": ZERO}, "there is no arm lrr-erk here"),
        ("P7", {"imp_w1": ZERO, "lrr_w1": ZERO}, "a slope needs arms of at least two widths, got 1"),
        ("P8", {"imp": ZERO, "lrr": ZERO}, "there is no arm signs-on-lrr here"),
        ("P8b", {"imp": ZERO, "lrr": ZERO}, "there is no arm imp-on-lrr here"),
        ("P9", {"erk_0.2": ZERO, "erk_sign_in_0.2": ZERO}, "there is no arm erk-sign-in-0.1 here"),
        ("P10", {"erk_0.2": ZERO, "erk_0.1": ZERO}, "there is no arm erk-0.05 here"),
        ("P11", {"imp": ZERO, "lrr": ZERO}, "there is no arm imp-cycles here"),
        ("P12", {"lrr": ZERO}, "there is no arm lrr-sign-in here"),
    ],
)
def test_what_cannot_be_decided_is_not_run_and_says_why(identifier, arms, why):
    assert str(_one(identifier, _arms(**arms)).verdict) == f"NOT RUN ({why})"


def test_what_is_not_complete_or_not_sparse_is_not_run():
    arms = _arms(imp=ZERO, lrr=SUPPORTED)
    missing = [("digits", "lrr", seed) for seed in range(3)]
    why = str(_one("P1", arms, missing=missing).verdict)
    assert why == "NOT RUN (no run of the arm lrr is complete)"
    why = str(_one("P1", arms, keep=0.9).verdict)
    assert why == "NOT RUN (the arm lrr has no level with a density of at most 0.2)"


def test_the_table_has_a_row_a_panel_and_p7b_with_p7():
    full, part = _arms(imp=ZERO, lrr=SUPPORTED, imp_on_lrr=SUPPORTED), _arms(imp=ZERO, lrr=NOT_SUPPORTED)
    levels = planted.levels({"cifar10": full, "cifar100": part})
    table = predictions.verdict_table(("P1", "P2", "P7"), {"levels": levels, "signs": planted.signs(levels)})
    rows = list(zip(table.prediction.values, table.panel.values, table.word.values, strict=True))
    assert rows == [
        ("P1", "cifar10", "SUPPORTED"),
        ("P1", "cifar100", "NOT SUPPORTED"),
        ("P2", "cifar10", "SUPPORTED"),
        ("P2", "cifar100", "NOT RUN"),
        *[(name, panel, "NOT RUN") for name in ("P7", "P7b") for panel in ("cifar10", "cifar100")],
    ]
    np.testing.assert_allclose(table["values"][0], SUPPORTED)
    with pytest.raises(ValueError, match=r"predictions must be among P1, .*, got P99$"):
        predictions.verdict_table(("P99",), {"levels": levels, "signs": planted.signs(levels)})
    assert np.isnan(table["values"][3:]).all()


def test_p8_comes_with_the_share_on_lrrs_masks_under_its_own_name():
    """Of a lead of 10 points the signs bring 3; on LRR's masks, where IMP is 6 below its own, 9 of 16."""
    lead = np.array([10.0, 10.2, 9.8])
    arms = {"imp": ZERO, "lrr": lead, "imp_on_lrr": 0 * lead - 6, "signs_on_lrr": 0.3 * lead}
    levels = planted.levels({"digits": _arms(**arms)})
    table = predictions.verdict_table(("P8",), {"levels": levels, "signs": planted.signs(levels)})
    assert table.prediction.values.tolist() == ["P8", "P8b"]
    assert table.word.values.tolist() == ["NOT SUPPORTED", "SUPPORTED"]
    np.testing.assert_allclose(table.estimate, [0.3, 9 / 16])
    assert table.unit.values.tolist() == ["of LRR's lead over IMP", "of the gap on LRR's masks"]


def test_levels_that_do_not_count_take_no_part():
    """keep 0.44: of the two levels of density at most 0.2 the last is left out."""
    arms = _arms(imp=ZERO, lrr=ZERO)
    arms["lrr"][:, :] += np.array([0.3, 0.2, 0.02, 0.01])
    levels = planted.levels({"digits": arms}, keep=0.44)
    levels["counted"] = (("panel", "level"), [[True, True, True, False]])
    (found,) = predictions.decided("P1", {"levels": levels, "signs": planted.signs(levels)})
    assert found.verdict.estimate == pytest.approx(2.0)
    levels["counted"] = (("panel", "level"), [[True, True, False, False]])
    (found,) = predictions.decided("P1", {"levels": levels, "signs": planted.signs(levels)})
    assert found.verdict.word == "NOT RUN"
