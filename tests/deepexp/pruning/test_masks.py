"""Masks: exact counts, ties by index, budgets that redistribute, shuffles that shuffle, files."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepexp import models
from deepexp.pruning import budgets, masks
from deepexp.pruning.masks import Mask
from deepexp.pruning.scores import score
from deepexp.storage import bit_files, tensor_files


def _mask(*sizes):
    return Mask({f"layer{i}": torch.ones(size, dtype=torch.bool) for i, size in enumerate(sizes)})


def _by_sorting(scores, alive, keep):
    """The clear version: sort the living by falling score, then rising index, and keep the first."""
    order = sorted(np.flatnonzero(alive), key=lambda i: (-scores[i], i))[:keep]
    chosen = np.zeros(len(scores), bool)
    chosen[order] = True
    return chosen


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_top_is_exact_under_ties(data):
    size = data.draw(st.integers(1, 40))
    scores = data.draw(st.lists(st.sampled_from([0.0, 1e-45, 0.5, 1.0, -1.0]), min_size=size, max_size=size))
    alive = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    keep = data.draw(st.integers(0, sum(alive)))
    cut = data.draw(st.integers(0, size))
    parts = {"a": slice(0, cut), "b": slice(cut, size)}
    values, living = torch.tensor(scores), torch.tensor(alive)
    found = masks.top(
        {n: values[s] for n, s in parts.items()}, Mask({n: living[s] for n, s in parts.items()}), keep
    )
    chosen = torch.cat([found.alive["a"], found.alive["b"]]).numpy()
    np.testing.assert_array_equal(chosen, _by_sorting(np.float32(scores), alive, keep))
    assert found.kept == keep


def test_every_level_of_resnet20_is_exact_and_nested():
    net = models.build("resnet20", classes=10)
    scores, mask = score("magnitude", net, 0), masks.dense_mask(net)
    for level in range(1, 40):
        keep = (2 * 4**level * mask.total + 5**level) // (2 * 5**level)
        smaller = masks.top(scores, mask, keep)
        assert smaller.kept == keep
        assert smaller.within(mask)
        assert sum(smaller.counts().values()) == keep
        assert smaller.density == keep / 270_896
        mask = smaller


def test_all_weights_equal_still_gives_the_exact_count():
    """Trap: a threshold with <= prunes every tied weight."""
    mask = _mask(1000)
    kept = masks.top({"layer0": torch.ones(1000)}, mask, 801)
    assert kept.kept == 801
    assert bool(kept.alive["layer0"][:801].all())


def test_more_than_2_to_the_24_weights():
    """Trap: torch.quantile refuses more than 2^24 elements."""
    size = 2**24 + 3
    scores = torch.arange(size, dtype=torch.int32).float()  # ties too: float32 has 24 bits
    assert masks.top({"layer0": scores}, _mask(size), size - 5).kept == size - 5


def test_a_channels_last_network_has_the_same_mask():
    """Trap: layouts. A mask is a function of the values by index, not of their order in memory."""
    net = models.build("resnet8", classes=10)
    plain = masks.top(score("magnitude", net, 0), masks.dense_mask(net), 1000)
    net.to(memory_format=torch.channels_last)
    assert masks.top(score("magnitude", net, 0), masks.dense_mask(net), 1000) == plain


def test_scores_are_float32():
    """Trap: bf16 leaves too few distinct magnitudes for an exact count to mean anything."""
    net = models.build("resnet8", classes=10)
    found = score("magnitude", net, 0)
    assert all(torch.equal(found[name], weight.abs()) for name, weight in models.prunable(net).items())
    assert {tensor.dtype for tensor in score("magnitude", net.bfloat16(), 0).values()} == {torch.float32}


def test_scores_are_compared_as_float32():
    """Neighbours in float32, which are one number in bf16."""
    scores = torch.tensor([1.0, 1.0 + 2**-23, 1.0, 1.0 + 2**-22])
    assert masks.top({"layer0": scores}, _mask(4), 2).alive["layer0"].tolist() == [False, True, False, True]


def test_impossible_counts_and_nan_are_refused():
    with pytest.raises(ValueError, match="0 to 5 of 5 living weights"):
        masks.top({"layer0": torch.ones(5)}, _mask(5), 6)
    with pytest.raises(ValueError, match="NaN"):
        masks.top({"layer0": torch.tensor([1.0, float("nan")])}, _mask(2), 1)


def test_a_mask_is_boolean():
    with pytest.raises(ValueError, match="boolean"):
        Mask({"a": torch.ones(3)})
    with pytest.raises(ValueError, match="at least one layer"):
        Mask({})


def test_a_mask_of_another_model_is_refused():
    with pytest.raises(ValueError, match="must fit this network"):
        masks.check_fits(_mask(3), models.build("resnet8", classes=10), "elsewhere")
    wide = masks.dense_mask(models.build("resnet8", classes=10, width=2.0))
    with pytest.raises(ValueError, match=r"must fit this network.*conv\.weight"):
        masks.check_fits(wide, models.build("resnet8", classes=10), "elsewhere")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_apportion_hits_the_total_within_the_capacities(data):
    count = data.draw(st.integers(1, 8))
    capacity = data.draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
    shares = data.draw(st.lists(st.floats(0.01, 100), min_size=count, max_size=count))
    total = data.draw(st.integers(0, sum(capacity)))
    parts = budgets.apportion(total, shares, capacity)
    assert sum(parts) == total
    assert all(0 <= part <= room for part, room in zip(parts, capacity, strict=True))
    # One common factor: every part with room is within one unit of factor * share, a full one not above it.
    above = [(p - 1) / s for p, s in zip(parts, shares, strict=True)]
    below = [(p + 1) / s for p, s, c in zip(parts, shares, capacity, strict=True) if p < c]
    assert max(above) < min(below, default=math.inf)


def test_erk_redistributes_what_full_layers_cannot_take():
    """Trap: ERK clamped at 1 without redistribution reaches 0.389 instead of 0.5 on ResNet18."""
    net = models.build("resnet18", classes=10)
    dense = masks.dense_mask(net)
    keep = dense.total // 2
    shares = {name: sum(tensor.shape) for name, tensor in dense}
    scale = keep / sum(shares.values())
    clamped = sum(min(scale * shares[name], size) for name, size in dense.sizes().items())
    assert clamped / dense.total == pytest.approx(0.389, abs=5e-4)
    counts = budgets.budget("erk", keep, dense)
    assert sum(counts.values()) == keep
    free = [counts[name] / shares[name] for name, size in dense.sizes().items() if counts[name] < size]
    assert max(free) - min(free) <= 1 / min(shares.values())
    assert any(counts[name] == size for name, size in dense.sizes().items())


def test_budgets_mean_what_their_names_say():
    alive = Mask({"a": torch.ones(10, 20, dtype=torch.bool), "b": torch.ones(40, 50, dtype=torch.bool)})
    assert budgets.budget("uniform", 1100, alive) == {"a": 100, "b": 1000}
    assert budgets.budget("balanced", 300, alive) == {"a": 150, "b": 150}
    assert budgets.budget("balanced", 600, alive) == {"a": 200, "b": 400}  # 'a' is full
    assert budgets.budget("erk", 240, alive) == {"a": 60, "b": 180}  # 30 to 90


def test_a_shuffle_keeps_counts_and_nesting_and_moves_the_weights():
    """Trap: a shuffle that rebinds a local name and changes nothing."""
    net = models.build("resnet20", classes=10)
    large = masks.top(score("magnitude", net, 0), masks.dense_mask(net), 100_000)
    small = masks.top(score("magnitude", net, 0), large, 20_000)
    shuffled = masks.shuffle(small, 0)
    assert shuffled.counts() == small.counts()
    assert shuffled != small
    assert all(not torch.equal(shuffled.alive[name], tensor) for name, tensor in small if tensor.any())
    assert shuffled.within(masks.shuffle(large, 0))
    assert shuffled == masks.shuffle(small, 0)
    assert shuffled != masks.shuffle(small, 1)


def test_random_masks_are_seeded_by_layer():
    net = models.build("resnet8", classes=10)
    first, again, other = (score("random", net, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv.weight"], other["conv.weight"])


def test_files_are_bit_packed_and_read_back(tmp_path):
    net = models.build("resnet20", classes=10)
    mask = masks.top(score("magnitude", net, 0), masks.dense_mask(net), 54_321)
    bit_files.save(mask.alive, tmp_path / "mask.safetensors")
    found = Mask(bit_files.load(tmp_path / "mask.safetensors"))
    assert found == mask
    assert list(found.alive) == list(mask.alive)  # the order decides between ties
    assert (tmp_path / "mask.safetensors").stat().st_size < 270_896 / 8 + 5_000
    content = bytearray((tmp_path / "mask.safetensors").read_bytes())
    content[-1] ^= 1  # a weight comes back to life
    (tmp_path / "mask.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"mask\.safetensors' is damaged \(its checksum"):
        bit_files.load(tmp_path / "mask.safetensors")
    (tmp_path / "mask.safetensors").write_bytes(b"no mask")
    with pytest.raises(ValueError, match=r"mask\.safetensors' is damaged"):
        bit_files.load(tmp_path / "mask.safetensors")
    tensor_files.write({"w": torch.zeros(3)}, tmp_path / "mask.safetensors", {})
    with pytest.raises(ValueError, match="must hold masks or signs"):
        bit_files.load(tmp_path / "mask.safetensors")
