"""Signs: flips among survivors, last flips and switches by the definitions, exact perturbations."""

import pytest
import torch

from deepexp import models
from deepexp.config.pruning import Perturbation
from deepexp.pruning import masks, signs
from deepexp.pruning.masks import Mask


def _bits(text):
    return {"w": torch.tensor([c == "-" for c in text])}


def _alive(text):
    return Mask({"w": torch.tensor([c == "1" for c in text])})


def test_last_flip_and_switches_by_hand():
    """A weight a column: never flips; in level 0; in 1; in 0, 1 and 2; pruned at 1 (its sign goes on)."""
    history = [_bits("+++++"), _bits("+-+-+"), _bits("+--+-"), _bits("+---+")]
    alive = [_alive("11111"), _alive("11110"), _alive("11110")]
    assert signs.last_flip(history, alive)["w"].tolist() == [0, 0, 1, 2, 0]
    assert signs.switches(history, alive)["w"].tolist() == [0, 1, 1, 3, 0]


def test_pruned_weights_have_no_flips():
    """Trap: statistics that count pruned weights, whose stored sign is that of a zero."""
    net = models.build("resnet8", classes=10)
    weights = models.prunable(net)
    mask = masks.top({n: w.abs() for n, w in weights.items()}, masks.dense_mask(net), 10_000)
    before = signs.of(weights)
    after = signs.of({name: weight * mask.alive[name] for name, weight in weights.items()})
    flipped = signs.flips(before, after, mask)
    assert not any(bool(where.any()) for where in flipped.values())
    assert any(bool((before[name] ^ after[name]).any()) for name in before)


def test_one_more_sign_than_masks():
    with pytest.raises(ValueError, match="one more set of signs"):
        signs.last_flip([_bits("+")], [_alive("1")])


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_perturbation_flips_exactly_its_share_of_the_living(scope):
    net = models.build("resnet8", classes=10)
    weights = {name: weight.detach() for name, weight in models.prunable(net).items()}
    mask = masks.top({n: w.abs() for n, w in weights.items()}, masks.dense_mask(net), 20_001)
    config = Perturbation(fraction=0.25, scope=scope)
    where = signs.perturbation(mask, config, 0)
    assert Mask(where).within(mask)
    if scope == "global":
        assert Mask(where).kept == int(0.25 * 20_001 + 0.5)
    else:
        assert Mask(where).counts() == {name: int(0.25 * n + 0.5) for name, n in mask.counts().items()}
    changed = signs.flips(signs.of(weights), signs.of(signs.flip(weights, where)), mask)
    assert all(torch.equal(changed[name], where[name]) for name in where)
    assert all(torch.equal(signs.flip(weights, where)[name].abs(), weights[name].abs()) for name in where)
    assert not all(torch.equal(where[n], signs.perturbation(mask, config, 1)[n]) for n in where)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_half_a_weight_is_rounded_up_in_decimals(scope):
    """0.145 of 100 is 14.5; in binary it is less."""
    where = signs.perturbation(_alive("1" * 100), Perturbation(fraction=0.145, scope=scope), 0)
    assert Mask(where).kept == 15


def test_a_perturbation_of_some_layers_leaves_the_others():
    mask = masks.dense_mask(models.build("resnet8", classes=10))
    where = signs.perturbation(mask, Perturbation(fraction=1.0, layers=("conv.weight",)), 0)
    assert Mask(where).counts() == {name: 432 * (name == "conv.weight") for name, _ in mask}
    with pytest.raises(ValueError, match="must name layers"):
        signs.perturbation(mask, Perturbation(fraction=1.0, layers=("conv9",)), 0)


def test_transplants_take_amplitudes_here_and_signs_there():
    amplitudes = {"w": torch.tensor([1.0, -2.0, 3.0])}
    donor = {"w": torch.tensor([-5.0, -6.0, 7.0])}
    assert signs.transplant(amplitudes, donor)["w"].tolist() == [-1, -2, 3]


def test_shuffled_amplitudes_keep_signs_and_the_layers_multiset():
    weights = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(0))}
    mask = Mask({"w": torch.arange(1000) % 3 > 0})
    shuffled = signs.shuffle_amplitudes(weights, mask, 0)
    living = mask.alive["w"]
    assert torch.equal(shuffled["w"][living].sign(), weights["w"][living].sign())
    assert torch.equal(shuffled["w"][living].abs().sort().values, weights["w"][living].abs().sort().values)
    assert torch.equal(shuffled["w"][~living], weights["w"][~living])
    assert not torch.equal(shuffled["w"], weights["w"])
