"""Level policies: every part of the state comes from where the table says, the pruned weights are 0."""

import pytest
import torch

from deepexp import models
from deepexp.config.algorithms import POLICIES
from deepexp.config.algorithms import policy as row_of
from deepexp.config.build import build
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level, level_start, run
from deepexp.runs.level_start import TrainingState
from deepexp.training import optimizer


def _states():
    """Four different states of one network; the initial one has no momentum, as at step 0."""
    net = models.build("resnet8", classes=10, width=0.25, channels=1)
    sgd = optimizer.optimizer(net, build({}).train)
    states = {}
    for seed, name in enumerate(("keep", "initial", "rewind", "donor")):
        state = level_start.capture(net, sgd)
        generator = torch.Generator().manual_seed(seed)

        def noise(tensor, generator=generator):
            return torch.randn(tensor.shape, generator=generator).to(tensor.dtype) + 3

        tensors = {key: noise(tensor) * (-1) ** (seed % 2) for key, tensor in state.tensors.items()}
        momentum = {key: noise(tensor) * (name != "initial") for key, tensor in state.momentum.items()}
        states[name] = TrainingState(tensors, momentum)
    return net, states


ROWS = [(source, algorithm) for source, rows in POLICIES.items() for algorithm in rows]


@pytest.mark.parametrize(("source", "algorithm"), ROWS)
def test_every_part_comes_from_its_origin(source, algorithm):
    net, states = _states()
    row = row_of(source, algorithm)
    mask = masks.top(score("random", net, 0), masks.dense_mask(net), 2000)
    state = level_start.compose(row, level_start.policy_parts(net), states, mask, 0)
    seen = set()
    for name, part in level_start.policy_parts(net).items():
        seen.add(part)
        if part == "weight":
            alive = mask.alive[name]
            amplitude = states[row.amplitude].tensors[name][alive].abs()
            found = state.tensors[name][alive]
            if row.shuffle_amplitude:
                assert not torch.equal(found.abs(), amplitude)
                found, amplitude = found.abs().sort().values * found.sign(), amplitude.sort().values
                assert torch.equal(found.abs(), amplitude)
            else:
                assert torch.equal(found.abs(), amplitude)
            sign = states[row.sign].tensors[name][alive].sign()
            assert torch.equal(state.tensors[name][alive].sign(), sign)
            assert not state.tensors[name][~alive].any()
            assert not state.momentum[name][~alive].any()
        else:
            assert torch.equal(state.tensors[name], states[getattr(row, part)].tensors[name]), name
    assert seen == {"weight", "bias", "norm_affine", "norm_statistics"}
    for name, tensor in state.momentum.items():
        want = states[row.momentum].momentum[name]
        assert torch.equal(tensor, want * mask.alive[name] if name in mask.alive else want)


def test_parts_cover_the_state_dict():
    net = models.build("resnet20", classes=10)
    part = level_start.policy_parts(net)
    assert set(part) == set(net.state_dict())
    assert sum(kind == "weight" for kind in part.values()) == len(models.prunable(net))
    assert part["classifier.bias"] == "bias"
    assert part["norm.weight"] == part["norm.bias"] == "norm_affine"
    assert part["norm.running_mean"] == part["norm.num_batches_tracked"] == "norm_statistics"


def test_composing_changes_none_of_its_states():
    net, states = _states()
    copies = {name: {k: t.clone() for k, t in state.tensors.items()} for name, state in states.items()}
    mask = masks.top(score("random", net, 0), masks.dense_mask(net), 100)
    level_start.compose(row_of("signflow", "lrr"), level_start.policy_parts(net), states, mask, 0)
    for name, tensors in copies.items():
        assert all(torch.equal(tensors[key], states[name].tensors[key]) for key in tensors)


def test_momentum_and_statistics_make_four_different_trajectories(tmp_path, tiny):
    """One level 0, four second levels; each starts as its policy says and ends elsewhere than the others."""
    ends, starts, real = {}, {}, level_start.restore
    for algorithm in ("lrr", "lrr-fresh-momentum", "imp", "imp-keep-statistics"):
        folder = tmp_path / algorithm
        config = build({**tiny, "algorithm": algorithm, "pruning.levels": 1})
        started = {}

        def restoring(net, sgd, state, started=started):
            started["last"] = state
            real(net, sgd, state)

        with pytest.MonkeyPatch.context() as patch:
            for module in (run, level):
                patch.setattr(module, "restore", restoring)
            for _ in run.run(config, folder):
                pass
        starts[algorithm] = started["last"]
        ends[algorithm] = [
            run.checkpoint.load_state(run.layout.file(folder, "weights", number)).tensors for number in (0, 1)
        ]
    zero, one = ({name: end[number] for name, end in ends.items()} for number in (0, 1))
    for name in zero["lrr"]:
        assert all(torch.equal(zero["lrr"][name], other[name]) for other in zero.values())
    names, mean = list(one), "norm.running_mean"
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert not torch.equal(one[first][mean], one[second][mean]), (first, second)
            # BN statistics do not act on training: what IMP does with them shows in evaluation alone.
            same = {first, second} == {"imp", "imp-keep-statistics"}
            assert torch.equal(one[first]["conv.weight"], one[second]["conv.weight"]) == same
    steps, forgetting = 15, 0.9  # each step, a running mean m becomes 0.9 m + 0.1 (the batch's)
    remembered = one["imp-keep-statistics"][mean] - one["imp"][mean]
    torch.testing.assert_close(remembered, zero["imp"][mean] * forgetting**steps, rtol=1e-3, atol=1e-6)
    assert torch.equal(starts["lrr"].tensors[mean], zero["lrr"][mean])
    assert torch.equal(starts["imp-keep-statistics"].tensors[mean], zero["lrr"][mean])
    assert not starts["imp"].tensors[mean].any()
    assert any(bool(tensor.any()) for tensor in starts["lrr"].momentum.values())
    for fresh in ("lrr-fresh-momentum", "imp", "imp-keep-statistics"):
        assert not any(bool(tensor.any()) for tensor in starts[fresh].momentum.values())
