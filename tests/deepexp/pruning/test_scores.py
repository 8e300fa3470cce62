"""Scores: SNIP and SynFlow against short references, the conservation of flow, and whole runs on them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deepexp import models
from deepexp.config.build import build
from deepexp.config.sections import Data
from deepexp.config.training import Train
from deepexp.data import dataset as data
from deepexp.data.batches import training_batches
from deepexp.pruning import budgets, masks, scores
from deepexp.runs import level as runs_level
from deepexp.runs import level_start, run
from deepexp.runs.setup import prepare
from deepexp.storage import completeness
from deepexp.training import steps as train


def _snip_reference(net, batches):
    """dL/dm of a mask m of ones before every weight, as the method is defined."""
    names = dict(models.prunable(net))
    ones = {name: torch.ones_like(weight, requires_grad=True) for name, weight in names.items()}
    for x, y in batches:
        masked = {name: names[name].detach() * ones[name] for name in names}
        F.cross_entropy(torch.func.functional_call(net, masked, (x,)), y).backward()
    return {name: one.grad.abs() for name, one in ones.items()}


def _synflow_reference(net, keep, steps, image):
    """A mask as the published code prunes: the state dict's absolute values, ones in, evaluation mode."""
    net = net.double().eval()
    net.load_state_dict({name: tensor.abs() for name, tensor in net.state_dict().items()})
    weights = models.prunable(net)
    flat = torch.ones(sum(weight.numel() for weight in weights.values()), dtype=torch.bool)
    for step in range(1, steps + 1):
        net.zero_grad()
        net(torch.ones(1, *image, dtype=torch.float64)).sum().backward()
        found = torch.cat([(weight * weight.grad).flatten() for weight in weights.values()])
        count = keep if step == steps else round(len(flat) * (keep / len(flat)) ** (step / steps))
        flat = torch.zeros_like(flat)
        flat[found.argsort(descending=True, stable=True)[:count]] = True
        parts = flat.split([weight.numel() for weight in weights.values()])
        with torch.no_grad():
            for weight, part in zip(weights.values(), parts, strict=True):
                weight.mul_(part.view_as(weight))
    return flat


def _synflow_mask(net, keep, steps, shape):
    mask = masks.dense_mask(net)
    for count in scores.densities("synflow", mask.total, keep, steps):
        mask = masks.top(scores.synflow(net, mask, shape), mask, count)
    return mask


def test_snip_is_the_gradient_of_a_mask_over_several_batches():
    dataset = data.load(Data(), 0)
    batches = list(itertools.islice(training_batches(dataset, Data(), Train(batch_size=32), 0, 0, 0), 5))
    net = models.build("resnet8", classes=10, width=0.5, channels=1).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = scores.snip(net, batches)
    assert not net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(weight.grad is None for weight in models.prunable(net).values())
    want = _snip_reference(net.train(), batches)
    for name, tensor in want.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)
    one = scores.snip(net, batches[:1])
    assert not torch.allclose(one["conv.weight"], found["conv.weight"], rtol=0.1)


def test_snip_is_float32_of_a_network_in_half_precision():
    """Trap: SNIP on one batch in low precision."""
    net = models.build("resnet8", classes=10, width=0.5, channels=1)
    batch = (torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10)
    found = scores.snip(net.bfloat16(), [batch])
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    want = scores.snip(net.float(), [batch])
    assert all(torch.equal(found[name], tensor) for name, tensor in want.items())


def test_snip_is_float32_where_training_rounds_its_factors():
    """With precision = 'tf32', of the linear layer too."""
    net = models.build("resnet8", classes=10, width=0.5, channels=1)
    before, seen = torch.get_float32_matmul_precision(), []

    def batches():
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        yield torch.zeros(2, 1, 8, 8), torch.arange(2)

    torch.set_float32_matmul_precision("high")
    try:
        scores.snip(net, batches())
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [("highest", False)]


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_synflow_is_the_published_iteration(name):
    """At initialisation; in float64, where sums in another order move no count but a tie's."""
    net = models.build(name, classes=10, width=0.25)
    keep = masks.dense_mask(net).total // 50
    mask = _synflow_mask(net, keep, 20, (32, 32, 3))
    assert mask.kept == keep
    reference = _synflow_reference(net, keep, 20, (3, 32, 32))
    found = torch.cat([tensor.flatten() for _, tensor in mask])
    assert int((found != reference).sum()) <= 2e-4 * len(
        found
    )  # near ties, which float32 has and float64 not


def _trained(name, **shape):
    """A network whose norms are nothing like those at initialisation, and of which half is pruned."""
    net = models.build(name, classes=10, width=0.25, **shape)
    generator = torch.Generator().manual_seed(1)
    for norm in models.norms(net).values():
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) + 0.5)
    mask = masks.top(scores.score("random", net, 0), masks.dense_mask(net), masks.dense_mask(net).total // 2)
    return net, mask


def test_the_flow_is_conserved_through_every_layer_of_a_trained_network():
    """Tanaka et al.: in a network without shortcuts the scores of every layer add up to the same sum."""
    net, mask = _trained("vgg16")
    found = scores.synflow(net, mask, (32, 32, 3))
    sums = [float(tensor.double().sum()) for tensor in found.values()]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-6)
    assert sums[0] > 0
    assert all(not tensor[~mask.alive[name]].any() for name, tensor in found.items())


def test_a_layer_beside_a_shortcut_has_its_part_of_the_flow():
    """In a residual network the stem and the classifier pass all of it, a block and its shortcut share it."""
    net, mask = _trained("resnet8")
    found = scores.synflow(net, mask, (32, 32, 3))
    sums = {name.removesuffix(".weight"): float(tensor.double().sum()) for name, tensor in found.items()}
    whole = sums["conv"]
    assert sums["classifier"] == pytest.approx(whole, rel=1e-6)
    for stage in range(3):
        block = f"stages.{stage}.0"
        assert sums[f"{block}.conv1"] == pytest.approx(sums[f"{block}.conv2"], rel=1e-6)
        assert 0 < sums[f"{block}.conv1"] < 0.999 * whole
    for stage in (1, 2):  # whose shortcuts are convolutions
        both = sums[f"stages.{stage}.0.conv1"] + sums[f"stages.{stage}.0.shortcut.0"]
        assert both == pytest.approx(whole, rel=1e-6)


def test_the_flow_of_deep_networks_does_not_overflow():
    """The sum of outputs of ResNet56 is beyond float32; its scores are exact multiples of float64's."""
    net = models.build("resnet56", classes=10)
    absolute = models.build("resnet56", classes=10).eval()
    for weight in models.prunable(absolute).values():
        weight.data.abs_()
    with torch.no_grad():
        assert not absolute(torch.ones(1, 3, 32, 32)).isfinite().all()
    found = scores.synflow(net, masks.dense_mask(net), (32, 32, 3))
    flat = torch.cat([tensor.flatten() for tensor in found.values()])
    assert flat.isfinite().all()
    assert 2.0**99 <= float(flat.max()) <= 2.0**100
    assert int((flat > 0).sum()) == len(flat)


def test_densities_fall_exponentially_to_the_very_count():
    path = scores.densities("synflow", 10_000, 100, 100)
    assert len(path) == 100
    assert path[49] == 1000
    assert path[-1] == 100
    assert path == sorted(path, reverse=True)
    assert scores.densities("snip", 10_000, 100, 100) == [100]
    assert scores.densities("synflow", 10_000, 100, 1) == [100]


def _at_one_percent(name, width):
    net = models.build(name, classes=10, width=width)
    total = masks.dense_mask(net).total
    mask = _synflow_mask(net, round(0.01 * total), 100, (32, 32, 3))
    assert mask.kept == round(0.01 * total)
    flow = {layer: float(s.double().sum()) for layer, s in scores.synflow(net, mask, (32, 32, 3)).items()}
    return mask.counts(), flow


@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_synflow_leaves_no_layer_empty_at_one_percent(name):
    counts, _ = _at_one_percent(name, 0.125)
    assert min(counts.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_synflow_cuts_no_full_network_at_one_percent(name):
    """No layer in series empties, and all the flow passes through the first as through the last one.

    The 1x1 shortcuts of ResNet18 may: beside two 3x3 convolutions of hundreds of channels, whose fan-ins
    multiply, they carry under a hundredth of the flow, and their loss cuts no path. That is the published
    method's doing (the reference's too), and what its proof, of networks without parallel layers, allows.
    """
    counts, flow = _at_one_percent(name, 1.0)
    assert all("shortcut" in layer for layer, count in counts.items() if count == 0)
    first, last = next(iter(flow.values())), flow["classifier.weight"]
    assert first > 0
    assert last == pytest.approx(first, rel=1e-6)


def test_synflow_in_one_shot_empties_a_layer():
    """Trap: what the hundred steps are for."""
    net = models.build("vgg16", classes=10, width=0.125)
    keep = round(0.001 * masks.dense_mask(net).total)
    counts = [_synflow_mask(net, keep, steps, (32, 32, 3)).counts() for steps in (1, 100)]
    assert min(counts[0].values()) == 0 < min(counts[1].values())


SNIP = {"pruning.score": "snip", "pruning.snip_batches": 2, "data.crop_padding": 1, "data.flip": "random"}
SYNFLOW = {"pruning.score": "synflow", "pruning.synflow_steps": 5}


@pytest.mark.parametrize("extra", [SNIP, SYNFLOW])
@pytest.mark.parametrize("algorithm", ["imp", "lrr"])
def test_runs_on_scores_are_exact_and_resumed_to_the_bit(tmp_path, tiny, extra, algorithm, same_run):
    """Iterative from the dense network at initialisation on: pruned at once, then level by level."""
    settings = {**tiny, **extra, "algorithm": algorithm, "pruning.initial_density": 0.5, "train.epochs": 2}
    config = build(settings)
    rows = [event.row for event in run.run(config, tmp_path / "whole") if event.row is not None]
    total = rows[0]["total"]
    assert [row["kept"] for row in rows] == [config.pruning.kept(level, total) for level in range(3)]
    seen = set()
    while not completeness.is_complete(tmp_path / "stopped", config):
        torch.manual_seed(len(seen))
        for event in run.run(config, tmp_path / "stopped"):
            where = (event.level, event.step, event.row is None)
            if where not in seen:
                seen.add(where)
                break
    assert len(seen) == 3 * 3
    same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_level_is_scored_on_the_network_that_the_level_before_left(tmp_path, tiny):
    """And by the batches with which it would begin itself; SNIP's statistics stay out of the network."""
    work = prepare(build({**tiny, **SNIP}), tmp_path)
    for _ in train.steps(
        work.net, work.forward, work.sgd, masks.dense_mask(work.net), work.dataset, work.config, 0, 0
    ):
        pass
    before = level_start.capture(work.net, work.sgd)
    mask = runs_level.choose(work, 1, masks.dense_mask(work.net))
    config = work.config
    batches = training_batches(work.dataset, config.data, config.train, config.seed, 1, 0)
    found = scores.snip(work.net, itertools.islice(batches, 2))
    assert mask == masks.top(found, masks.dense_mask(work.net), mask.kept)
    other = scores.snip(work.net, [next(training_batches(work.dataset, config.data, config.train, 0, 0, 0))])
    assert mask != masks.top(other, masks.dense_mask(work.net), mask.kept)
    after = level_start.capture(work.net, work.sgd)
    assert all(torch.equal(before.tensors[name], tensor) for name, tensor in after.tensors.items())


def test_every_step_of_synflow_scores_anew(tmp_path, tiny):
    """What each leaves is what the next one scores, to the mask of the reference's steps."""
    work = prepare(build({**tiny, **SYNFLOW, "pruning.keep": 0.02}), tmp_path)
    mask = runs_level.choose(work, 1, masks.dense_mask(work.net))
    assert mask == _synflow_mask(work.net, mask.kept, 5, work.dataset.shape)
    assert mask != _synflow_mask(work.net, mask.kept, 1, work.dataset.shape)


def test_scores_within_layers_keep_their_budgets(tmp_path, tiny):
    settings = {**tiny, **SYNFLOW, "pruning.scope": "layer", "pruning.budget": "erk", "pruning.levels": 1}
    work = prepare(build({**settings, "pruning.keep": 0.1}), tmp_path)
    dense = masks.dense_mask(work.net)
    mask = runs_level.choose(work, 1, dense)
    assert mask.counts() == budgets.budget("erk", mask.kept, dense)


def test_more_snip_batches_than_an_epoch_has_are_refused(tmp_path, tiny):
    with pytest.raises(ValueError, match=r"snip_batches must be at most 5, the number .*, got 6"):
        prepare(build({**tiny, "pruning.score": "snip", "pruning.snip_batches": 6}), tmp_path)


def test_a_layer_that_no_gradient_reaches_scores_zero():
    class Net(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    found = scores.snip(Net(nn.Linear(2, 2), nn.Linear(2, 2)), [(torch.randn(4, 2), torch.arange(4) % 2)])
    assert found["0.weight"].any()
    assert not found["1.weight"].any()
