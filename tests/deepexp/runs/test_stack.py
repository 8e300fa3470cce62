"""Several seeds as one stacked network: what each would compute alone, with a folder of its own."""

import itertools
import math

import pytest
import torch

from deepexp import models
from deepexp.config.build import build
from deepexp.data import dataset
from deepexp.pruning import masks
from deepexp.runs import level_start, run, stack, stacked_run
from deepexp.runs.setup import prepare
from deepexp.storage import completeness, records
from deepexp.storage import folder as layout
from deepexp.training import failures
from deepexp.training import steps as train

SEEDS = (3, 0, 7)


def _configs(settings, **more):
    return [build({**settings, **more, "seed": s, "machine.stack": sorted(SEEDS)}) for s in SEEDS]


def _run(configs, out, events=None):
    """The rows of every run, from a stack stopped after so many events."""
    rows = [[] for _ in configs]
    going = stacked_run.run_stack(configs, [out / config.run_id for config in configs])
    for number, event in itertools.islice(going, events):
        rows[number] += [event.row] if event.row is not None else []
    going.close()
    return rows


@pytest.mark.parametrize(
    ("name", "stem", "size"),
    [("resnet8", "cifar", 8), ("resnet18", "imagenet", 32), ("resnet50", "cifar", 8), ("vgg16", "cifar", 32)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_stack_is_its_members_side_by_side(name, stem, size, layout):
    made = [models.build(name, classes=5, stem=stem, width=0.125, seed=seed).double() for seed in SEEDS]
    wide = stack.widened(made[0], len(SEEDS)).double()
    for module in (*made, wide):
        module.to(memory_format=layout).train()
    states = [net.state_dict() for net in made]
    for key, tensor in wide.state_dict().items():
        parts = [state[key] for state in states]
        tensor.copy_(torch.stack(parts) if parts[0].dim() == 0 else torch.cat(parts))
    x = [torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(i)).double() for i in range(3)]
    logits = [net(batch) for net, batch in zip(made, x, strict=True)]
    found = wide(torch.cat(x, 1).contiguous(memory_format=layout))
    torch.testing.assert_close(found, torch.cat(logits, 1), rtol=1e-10, atol=1e-10)
    found.square().sum().backward()
    torch.cat(logits, 1).square().sum().backward()
    weights = [dict(net.named_parameters()) for net in made]
    for key, weight in wide.named_parameters():
        own = torch.cat([parameters[key].grad for parameters in weights])
        torch.testing.assert_close(weight.grad, own, rtol=1e-9, atol=1e-9 * float(own.abs().max()))
    for key, buffer in wide.named_buffers():
        own = [dict(net.named_buffers())[key] for net in made]
        torch.testing.assert_close(buffer, torch.stack(own) if own[0].dim() == 0 else torch.cat(own))


@pytest.mark.parametrize("parameterization", ["plain", "sign-in"])
def test_five_steps_are_those_of_each_alone(tmp_path, tiny, parameterization):
    settings = {**tiny, "data.crop_padding": 1, "data.flip": "random", "train.batch_size": 32}
    settings["train.parameterization"] = parameterization
    works = [prepare(config, tmp_path) for config in _configs(settings)]
    dense = masks.dense_mask(works[0].net)
    scores = [{name: weight.detach().abs() for name, weight in models.prunable(w.net).items()} for w in works]
    sparse = [masks.top(score, dense, dense.total // 2) for score in scores]
    starts = []
    for work, mask in zip(works, sparse, strict=True):
        starts.append(level_start.masked(level_start.capture(work.net, work.sgd), mask))
    together = stack.Stack(works)
    going = []
    for work, mask, start in zip(works, sparse, starts, strict=True):
        level_start.restore(work.net, work.sgd, start)
        going.append(work.stacked(0, 0, mask, (5,)))
    assert [next(steps) for steps in going] == [None, None, None]
    together.advance()
    reports = [next(steps) for steps in going]
    for work, mask, start, report in zip(works, sparse, starts, reports, strict=True):
        found = level_start.capture(work.net, work.sgd)
        alone = prepare(work.config.model_copy(update={"machine": build(settings).machine}), tmp_path)
        level_start.restore(alone.net, alone.sgd, start)
        steps = train.steps(
            alone.net, alone.forward, alone.sgd, mask, alone.dataset, alone.config, 0, 0, (5,)
        )
        expected = next(steps)
        assert report.loss == pytest.approx(expected.loss, rel=1e-5)
        assert (report.step, report.lr, report.accuracy) == (5, expected.lr, expected.accuracy)
        own = level_start.capture(alone.net, alone.sgd)
        for have, want in ((found.tensors, own.tensors), (found.momentum, own.momentum)):
            for name, tensor in want.items():
                bound = 1e-5 * float(tensor.abs().max())
                torch.testing.assert_close(have[name], tensor, rtol=1e-5, atol=bound)
        for name, alive in mask:
            assert not found.tensors[name][~alive].any()
            assert not found.momentum[name][~alive].any()


SIGN_IN = {"train.parameterization": "sign-in", "train.reset_epochs": 1}


@pytest.mark.parametrize(
    ("algorithm", "rewind_step", "more"), [("imp", 0, {}), ("wr", 2, {}), ("lrr", 0, SIGN_IN)]
)
def test_a_stack_stopped_after_any_event_ends_as_the_uninterrupted(
    tmp_path, tiny, algorithm, rewind_step, more, same_run
):
    settings = {"train.epochs": 2, "data.validation": 20, "policy.rewind_step": rewind_step, **more}
    configs = _configs({**tiny, **settings}, algorithm=algorithm)
    whole = _run(configs, tmp_path / "whole")
    assert [[row["kept"] for row in rows] for rows in whole] == [[row["kept"] for row in whole[0]]] * 3
    assert len({rows[-1]["train_loss"] for rows in whole}) == 3
    for count in range(1, 30):
        _run(configs, tmp_path / "stopped", events=1 + count % 4)
        if all(completeness.is_complete(tmp_path / "stopped" / c.run_id, c) for c in configs):
            break
    for config in configs:
        same_run(tmp_path / "whole" / config.run_id, tmp_path / "stopped" / config.run_id)


def test_a_lost_member_is_trained_again_to_the_same_bits(tmp_path, tiny, same_run):
    configs = _configs({**tiny, "train.epochs": 1, "policy.rewind_epoch": 0}, algorithm="lrr")
    _run(configs, tmp_path / "whole")
    for config in configs[:2]:
        (tmp_path / "whole" / config.run_id).rename(tmp_path / config.run_id)
    _run(configs, tmp_path)
    _run(configs, tmp_path / "whole")
    for config in configs:
        same_run(tmp_path / "whole" / config.run_id, tmp_path / config.run_id)


@pytest.mark.parametrize(
    ("settings", "count"), [({"data.limit": None}, 1), ({"data.limit": 160}, 3), ({"data.validation": 9}, 3)]
)
def test_images_that_no_seed_chooses_are_loaded_once(tmp_path, tiny, monkeypatch, settings, count):
    loaded, load = [], dataset.load
    monkeypatch.setattr(dataset, "load", lambda *args: loaded.append(load(*args)) or loaded[-1])
    _run(_configs({**tiny, "data.limit": None, **settings}), tmp_path, events=1)
    assert len(loaded) == count


def test_the_order_of_the_seeds_changes_no_bit(tmp_path, tiny, same_run):
    configs = _configs({**tiny, "train.epochs": 1, "pruning.levels": 0, "policy.rewind_epoch": 0})
    _run(configs, tmp_path)
    _run(configs[::-1], tmp_path / "other")
    for config in configs:
        same_run(tmp_path / config.run_id, tmp_path / "other" / config.run_id)


def test_a_member_that_diverges_leaves_the_others(tmp_path, tiny, monkeypatch, same_run):
    configs, made = _configs({**tiny, "train.epochs": 1, "policy.rewind_epoch": 0}), models.build
    _run(configs, tmp_path / "sound")

    def poisoned(name, *, seed, **more):
        net = made(name, seed=seed, **more)
        if seed == SEEDS[1]:
            net.classifier.bias.data[0] = math.nan
        return net

    monkeypatch.setattr(models, "build", poisoned)
    with pytest.raises(failures.Diverged, match=f"^{configs[1].run_id}: the training loss must stay finite"):
        _run(configs, tmp_path)
    assert not records.rows(tmp_path / configs[1].run_id / "levels.csv")
    assert "Diverged" in (tmp_path / configs[1].run_id / "log.txt").read_text()
    for config in (configs[0], configs[2]):
        same_run(tmp_path / "sound" / config.run_id, tmp_path / config.run_id)


@pytest.mark.parametrize(
    ("error", "line"),
    [(KeyboardInterrupt(), "interrupted"), (failures.OutOfMemory(8, 4), "OutOfMemory: the")],
)
def test_what_ends_a_stack_lets_go_of_every_run_and_stands_in_its_log(
    tmp_path, tiny, monkeypatch, error, line
):
    def broken(*_):
        raise error

    monkeypatch.setattr(train, "_gradients", broken)
    configs = _configs(tiny)
    with pytest.raises(type(error)) as kept:
        _run(configs, tmp_path)
    assert kept.value is error  # whose traceback holds on to the runs, but not to their folders
    for config in configs:
        with layout.lock(tmp_path / config.run_id):
            pass
        *_, told = (tmp_path / config.run_id / "log.txt").read_text().splitlines()
        assert told.split(" ", 1)[1].startswith(line)


def test_a_part_of_a_stack_is_refused(tmp_path, tiny):
    configs = _configs(tiny)
    with pytest.raises(ValueError, match="the seeds 0 3 7 must train together, got only 3 0;"):
        _run(configs[:2], tmp_path)
    with pytest.raises(ValueError, match="the seeds 0 3 7 must train together, got only 3;"):
        next(run.run(configs[0], tmp_path / "run"))
    assert not list(tmp_path.iterdir())
