"""Named protocols against the formulas of the public codes that they follow, at every step."""

import bisect

import numpy as np
import pytest
import torch

from deepexp import models
from deepexp.config.build import build
from deepexp.data.batches import steps_per_epoch
from deepexp.runs import run as levels
from deepexp.storage import records, status
from deepexp.training import optimizer

CIFAR, IMAGENET = 50_000, 1_281_167  # training images


def _built(protocol, dataset="cifar10", **settings):
    return build({"data.dataset": dataset, **settings}, protocol=protocol)


def _rates(config, level, count=CIFAR):
    """The learning rate of every step of the level's schedule, and how many steps an epoch has."""
    per_epoch, warm = steps_per_epoch(count, config.train), config.warms_up(level)
    steps = range(config.epochs(level) * per_epoch)
    return [optimizer.learning_rate(config.train, step, per_epoch, warm=warm) for step in steps], per_epoch


def _same(rates, source):
    np.testing.assert_allclose(rates, source, rtol=1e-12, atol=1e-15)


def _by_epoch(formula, epochs, per_epoch):
    return [formula(epoch) for epoch in range(epochs) for _ in range(per_epoch)]


def test_s2s_warms_up_before_level_0_and_its_cosine_ends_at_a_hundredth():
    """sparse_to_sparse, STR/utils/schedulers.py and STR/main.py."""

    def cosine(epoch):
        return 0.01 + 0.5 * (1 + np.cos(np.pi * epoch / 150)) * (0.1 - 0.01)

    for algorithm in ("imp", "wr", "lrr", "lrr-bn-rewind"):
        config = _built("s2s", algorithm=algorithm)
        first, per_epoch = _rates(config, 0)
        assert per_epoch == 196  # 80 images are in the last batch
        warmup = _by_epoch(lambda epoch: 0.1 * (epoch + 1) / 10, 10, 196)
        _same(first, warmup + _by_epoch(cosine, 150, 196))
        _same(_rates(config, 1)[0], _by_epoch(cosine, 150, 196))
    step = {"train.schedule": "step", "train.milestones": [60.0, 120.0]}
    rates = _rates(_built("s2s", **step), 0)[0]
    _same(rates[10 * 196 :], _by_epoch(lambda epoch: 0.1 * 0.1 ** (epoch // 60), 150, 196))


def test_s2s_goes_back_to_the_end_of_its_warm_up_with_or_without_one():
    none = {"train.warmup": "none", "train.warmup_epochs": 0.0}
    assert _built("s2s", algorithm="imp").policy.rewind_epoch == 10
    assert _built("s2s", algorithm="imp", **none).policy.rewind_epoch == 0
    assert _built("s2s", algorithm="imp", **none).epochs(0) == 150
    assert _built("s2s", algorithm="signflow-wr", **none).policy.rewind_epoch == 10
    shorter = _built("s2s", algorithm="imp", **{"train.epochs": 1})
    assert (shorter.epochs(0), shorter.epochs(1), shorter.policy.rewind_epoch) == (2, 1, 1)


def test_turboprune24_counts_its_drops_from_the_end_of_the_warm_up():
    """TurboPrune, tag of 2024, utils/schedulers.py: MultiStepLRWarmup."""

    def multistep(epoch):
        return 0.1 * (epoch + 1) / 10 if epoch < 10 else 0.1 * 0.1 ** ((epoch - 10) // 60)

    config = _built("turboprune24", algorithm="wr")
    for level in (0, 1, 24):
        rates, per_epoch = _rates(config, level)
        assert per_epoch == 196
        _same(rates, _by_epoch(multistep, 150, 196))
        drops = [step // 196 for step in range(1, len(rates)) if rates[step] < rates[step - 1]]
        assert drops == [70, 130]
    assert config.pruning.levels == 24
    plain = _built("turboprune24", **{"train.warmup": "none", "train.warmup_epochs": 0.0})
    _same(_rates(plain, 0)[0], _by_epoch(lambda epoch: 0.1 * 0.1 ** (epoch // 60), 150, 196))


def test_turboprune_rises_from_a_fifth_of_the_peak():
    """TurboPrune, HEAD, utils/schedulers.py: TriangularSchedule."""
    config = _built("turboprune", algorithm="imp")
    total = 150 * (CIFAR // 512)
    source = 0.2 * np.interp(np.arange(total), [0, int(0.2 * total), total], [0.2, 1, 0])
    for level in (0, 1):
        rates, per_epoch = _rates(config, level)
        assert per_epoch == 97
        _same(rates, source)
    left = 1.0
    while left > 1 - 0.999:  # utils/harness_utils.py: generate_densities
        left *= 1 - 0.2
    assert 0.8**config.pruning.levels == pytest.approx(left)


def test_openlth_drops_at_steps():
    """open_lth, training/optimizers.py; datasets/base.py has ceil(n / batch) steps an epoch."""
    config = _built("openlth", algorithm="imp")
    rates, per_epoch = _rates(config, 0)
    assert per_epoch == -(-CIFAR // 128)
    milestones = [80 * per_epoch, 120 * per_epoch]
    source = [0.1 * 0.1 ** bisect.bisect(milestones, step) for step in range(160 * per_epoch)]
    _same(rates, source)


def test_renda20_drops_by_images_seen():
    """rewinding-iclr20-public, resnet_run_loop.py; its steps are 390.625 an epoch, ours 390."""
    config = _built("renda20", algorithm="lrr", **{"model.name": "resnet20"})
    rates, per_epoch = _rates(config, 1)
    boundaries = [int(CIFAR / 128 * epoch) for epoch in (91, 136)]
    ends = [(step + 1) * CIFAR // (128 * per_epoch) for step in range(len(rates))]
    _same(rates, [0.1 * [1, 0.1, 0.01][bisect.bisect_left(boundaries, step)] for step in ends])


def test_renda20_rises_from_0_on_imagenet():
    """rewinding-iclr20-public, tpu-src, resnet_main.py: learning_rate_schedule, per step."""
    config = _built("renda20", "imagenet", algorithm="lrr")
    rates, per_epoch = _rates(config, 0, IMAGENET)
    epochs, peak = np.arange(len(rates)) / per_epoch, 0.1 * 1024 / 256
    source = peak * epochs / 5
    for share, start in ((1.0, 5), (0.1, 30), (0.01, 60), (0.001, 80)):
        source = np.where(epochs < start, source, peak * share)
    _same(rates, source)
    assert rates[0] == 0


def test_openlth_draws_the_scales_of_batch_normalisation():
    config = _built("openlth", algorithm="imp")
    assert config.model.norm_scale == "uniform"
    kept = {"classes": 10, "seed": 3}
    drawn, plain = models.build("resnet20", norm_scale="uniform", **kept), models.build("resnet20", **kept)
    scales = torch.cat([norm.weight.detach() for norm in models.norms(drawn).values()])
    assert 0 <= float(scales.min()) < 0.05
    assert 0.95 < float(scales.max()) < 1
    assert float(scales.mean()) == pytest.approx(0.5, abs=3 / (12 * len(scales)) ** 0.5)
    others = models.build("resnet20", norm_scale="uniform", classes=10, seed=4)
    assert not torch.equal(drawn.norm.weight, others.norm.weight)
    for norm in models.norms(drawn).values():
        norm.weight.data.fill_(1.0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, drawn.state_dict()[name]), name


def _lrs(folder, level):
    rows = records.rows(folder / "epochs.csv")
    return [float(row["lr"]) for row in rows if int(row["level"]) == level]


@pytest.mark.parametrize("rewound", [1, 2])
@pytest.mark.parametrize("kind", ["first", "before"])
def test_a_rewound_level_follows_what_is_left_of_level_0s_schedule(tmp_path, tiny, kind, rewound):
    """With a warm-up of level 0 as well, in whose midst the rewind point may lie."""
    settings = {"train.warmup": kind, "train.warmup_epochs": 2.0, "policy.rewind_epoch": rewound}
    config = build({**tiny, "algorithm": "wr", "train.epochs": 4, **settings})
    for _ in levels.run(config, tmp_path):
        pass
    first = _lrs(tmp_path, 0)
    assert len(first) == 4 + 2 * (kind == "before")
    assert first[:2] == [0.05, 0.1]
    assert first[2] == 0.1  # the cosine starts
    for level in (1, 2):
        assert _lrs(tmp_path, level) == first[rewound:]


def test_runs_of_another_schedule_keep_their_names_for_themselves():
    """Before, rewound levels after a warm-up of the first level left its schedule."""
    warm = {"train.warmup": "first", "train.warmup_epochs": 1.0}
    assert build({"algorithm": "lrr", **warm}).run_id == "digits-resnet8-lrr-s0-3ca0a1efd6"
    assert build({"algorithm": "wr", **warm}).run_id != "digits-resnet8-wr-s0-74799b4d64"
    assert build({"algorithm": "wr"}).run_id == "digits-resnet8-wr-s0-3ff6b0691e"


def test_a_level_of_its_own_length_goes_on_where_it_was(tmp_path, tiny, same_run):
    settings = {"train.warmup": "before", "train.warmup_epochs": 1.0, "train.epochs": 2}
    config = build({**tiny, "algorithm": "lrr", **settings})
    seen = [(event.level, event.step, event.total) for event in levels.run(config, tmp_path / "whole")]
    steps = 5  # of an epoch
    assert seen[:4] == [(0, steps * n, 3 * steps) for n in (1, 2, 3, 3)]
    assert seen[4:7] == [(1, steps * n, 2 * steps) for n in (1, 2, 2)]
    for count, epoch in ((2, "2/3"), (3, "1/2"), (4, "2/2")):
        events = levels.run(config, tmp_path / "parts")
        for _ in range(count):
            next(events)
        events.close()
        assert [run.epoch for run in status.status(tmp_path) if run.state == "stopped"] == [epoch]
    for _ in levels.run(config, tmp_path / "parts"):
        pass
    same_run(tmp_path / "whole", tmp_path / "parts")
