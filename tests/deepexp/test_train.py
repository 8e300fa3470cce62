"""The training loop against a plain one, its schedules by formula, and pruned weights that stay at 0."""

import math
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F

from deepexp import models
from deepexp.config.build import build
from deepexp.config.machine import Machine
from deepexp.data.batches import training_batches
from deepexp.distributed import ALONE
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level as runs_level
from deepexp.runs import level_start, run, stack
from deepexp.runs import setup as prepare_module
from deepexp.runs.setup import prepare
from deepexp.training import evaluate, failures, optimizer
from deepexp.training import forward as training_forward
from deepexp.training import steps as train


def _work(tmp_path, tiny, **settings):
    return prepare(build({**tiny, **settings}), tmp_path)


def _arguments(work, mask, start=0):
    return work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, start


def _run(work, mask, start=0):
    return list(train.steps(*_arguments(work, mask, start)))


def _equal(first, second):
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert all(torch.equal(first.momentum[name], second.momentum[name]) for name in first.momentum)


def _rates(settings, warm=False, per_epoch=4):
    settings = {"train.epochs": 10, **settings}
    config = build(settings).train
    return [optimizer.learning_rate(config, t, per_epoch, warm=warm) for t in range(10 * per_epoch)]


def test_cosine_by_epoch_and_by_step():
    """Trap: a schedule that steps after the first epoch, so that a level starts at another level's rate."""
    by_epoch = _rates({"train.lr": 0.1})
    assert by_epoch[:5] == [0.1] * 4 + [0.1 * (1 + math.cos(math.pi / 10)) / 2]
    by_step = _rates({"train.lr": 0.1, "train.schedule_per": "step"})
    assert by_step == [0.1 * (1 + math.cos(math.pi * t / 40)) / 2 for t in range(40)]


def test_step_schedule_drops_at_its_milestones_alone():
    rates = _rates(
        {"train.lr": 1.0, "train.schedule": "step", "train.milestones": [3.0, 7.5], "train.decay": 0.5}
    )
    assert rates == [1.0] * 12 + [0.5] * 20 + [0.25] * 8  # by epoch: the half epoch is rounded up
    halves = _rates(
        {
            "train.lr": 1.0,
            "train.schedule": "step",
            "train.milestones": [7.5],
            "train.decay": 0.5,
            "train.schedule_per": "step",
        }
    )
    assert halves == [1.0] * 30 + [0.5] * 10


def test_triangular_and_constant():
    rates = _rates({"train.lr": 1.0, "train.schedule": "triangular", "train.schedule_per": "step"})
    assert rates[:9] == pytest.approx([t / 8 for t in range(9)])
    assert rates[8:] == pytest.approx([(40 - t) / 32 for t in range(8, 40)])
    assert set(_rates({"train.schedule": "constant"})) == {0.1}


def test_warm_up_is_a_ramp_and_not_a_rewind():
    settings = {
        "train.lr": 1.0,
        "train.schedule": "constant",
        "train.warmup": "first",
        "train.warmup_epochs": 2.0,
    }
    assert _rates(settings, warm=True)[:9] == [0.5] * 4 + [1.0] * 5
    assert _rates({**settings, "train.schedule_per": "step"}, warm=True)[:9] == [
        *(t / 8 for t in range(1, 9)),
        1.0,
    ]
    assert set(_rates(settings, warm=False)) == {1.0}


def test_warm_up_in_the_first_level_or_in_every(tmp_path, tiny, monkeypatch):
    real, seen = optimizer.learning_rate, []
    monkeypatch.setattr(
        train,
        "learning_rate",
        lambda config, step, per_epoch, *, warm: (
            seen.append((step, warm)) or real(config, step, per_epoch, warm=warm)
        ),
    )
    for kind, ramps in (("first", {0}), ("every", {0, 1, 2})):
        settings = {**tiny, "train.warmup": kind, "train.warmup_epochs": 1.0, "train.schedule": "constant"}
        for _ in run.run(build(settings), tmp_path / kind):
            pass
        first, seen[:] = [warm for step, warm in seen if step == 0], []
        assert {level for level, warm in enumerate(first) if warm} == ramps
        assert len(first) == 3


@pytest.mark.parametrize("decay_norm", [True, False])
def test_a_dense_training_is_the_plain_loop(tmp_path, tiny, decay_norm):
    work = _work(tmp_path, tiny, **{"train.decay_norm": decay_norm, "train.label_smoothing": 0.1})
    config, dataset = work.config, work.dataset
    net = models.build("resnet8", classes=10, width=0.25, channels=1, seed=0)
    net.to(memory_format=torch.channels_last).train()
    flat = [p for p in net.parameters() if p.dim() == 1]
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": 5e-4},
        {"params": flat, "weight_decay": 5e-4 if decay_norm else 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for epoch in range(config.train.epochs):
        for group in sgd.param_groups:
            group["lr"] = 0.1 * (1 + math.cos(math.pi * epoch / config.train.epochs)) / 2
        for x, y in training_batches(dataset, config.data, config.train, config.seed, 0, epoch):
            sgd.zero_grad()
            F.cross_entropy(net(x), y, label_smoothing=0.1).backward()
            sgd.step()
    _run(work, masks.dense_mask(work.net))
    _equal(level_start.capture(work.net, work.sgd), level_start.capture(net, sgd))


def test_masked_training_is_training_of_the_masked_network(tmp_path, tiny):
    """The survivors move as in a network whose forward pass multiplies the weights by the mask."""
    work = _work(tmp_path, tiny)
    mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    net = models.build("resnet8", classes=10, width=0.25, channels=1, seed=0)
    net.to(memory_format=torch.channels_last).train()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    names = models.prunable(net)
    for x, y in training_batches(work.dataset, work.config.data, work.config.train, 0, 0, 0):
        sgd.zero_grad()
        masked = {name: weight * mask.alive[name] for name, weight in names.items()}
        F.cross_entropy(torch.func.functional_call(net, masked, (x,)), y).backward()
        sgd.step()
    steps = train.steps(work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0)
    next(steps)
    for name, weight in models.prunable(work.net).items():
        assert torch.equal(weight.detach(), names[name].detach() * mask.alive[name]), name
        # Trap: where only the forward pass is masked, weight decay and momentum go on moving dead weights.
        assert not torch.equal(names[name].detach(), names[name].detach() * mask.alive[name])


def test_pruned_weights_and_their_momentum_stay_exactly_zero(tmp_path, tiny):
    work = _work(tmp_path, tiny)
    _run(work, masks.dense_mask(work.net))  # momentum is no longer 0
    mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 1500)
    before = level_start.capture(work.net, work.sgd)
    assert all(bool(tensor.any()) for tensor in before.momentum.values())
    level_start.restore(work.net, work.sgd, level_start.masked(before, mask))
    _run(work, mask)
    after = level_start.capture(work.net, work.sgd)
    for name, alive in mask:
        assert not after.tensors[name][~alive].any()
        assert not after.momentum[name][~alive].any()
        assert bool((after.tensors[name][alive] != before.tensors[name][alive]).all())


@pytest.mark.parametrize(
    ("step", "precision"), [(1, "float32"), (5, "float32"), (7, "float32"), (10, "float32"), (7, "bf16")]
)
def test_a_training_entered_anywhere_is_the_uninterrupted_one(tmp_path, tiny, step, precision):
    """Also within an epoch, also after other random numbers were drawn in the process."""
    augmented = {"data.crop_padding": 1, "data.flip": "random", "train.schedule_per": "step"}
    augmented["machine.precision"] = precision
    whole, parts = _work(tmp_path, tiny, **augmented), _work(tmp_path, tiny, **augmented)
    dense = masks.dense_mask(whole.net)
    _run(whole, dense)
    for report in train.steps(
        parts.net, parts.forward, parts.sgd, dense, parts.dataset, parts.config, 0, 0, (step,)
    ):
        if report.step == step:
            break
    torch.manual_seed(step)
    other = _work(tmp_path, tiny, **augmented)
    level_start.restore(other.net, other.sgd, level_start.capture(parts.net, parts.sgd))
    _run(other, dense, start=step)
    _equal(level_start.capture(whole.net, whole.sgd), level_start.capture(other.net, other.sgd))


@pytest.mark.parametrize(
    ("units", "machine", "told"), [(False, "x86_64", 1), (True, "x86_64", 0), (False, "aarch64", 0)]
)
def test_bfloat16_without_units_for_it_is_slow_and_says_so(tmp_path, tiny, monkeypatch, units, machine, told):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("platform.machine", lambda: machine)
    said = []
    for precision in ("float32", "bf16"):
        prepare(build({**tiny, "machine.precision": precision}), tmp_path, said.append)
    assert len(said) == told
    assert all("processor has no bf16 instructions" in line for line in said)


def test_bfloat16_trains_and_keeps_its_weights_and_scores_in_float32(tmp_path, tiny):
    exact, rounded = (_work(tmp_path, tiny, **{"machine.precision": p}) for p in ("float32", "bf16"))
    x = exact.dataset.normalise(exact.dataset.test.x[:32])
    with torch.no_grad():
        want, have = exact.forward(x), rounded.forward(x)
    assert have.dtype == torch.float32
    assert 1e-4 < float((have - want).norm() / want.norm()) < 2e-2  # some roundings to 8 bits
    first, *_, last = _run(rounded, masks.dense_mask(rounded.net))
    assert last.loss < first.loss
    state = level_start.capture(rounded.net, rounded.sgd)
    kinds = {t.dtype for t in [*state.tensors.values(), *state.momentum.values()] if t.is_floating_point()}
    assert kinds == {torch.float32}
    found = score("magnitude", rounded.net, 0)
    assert all(torch.equal(found[name], state.tensors[name].abs()) for name in found)
    bits = torch.cat([values.flatten().view(torch.int32) for values in found.values()])
    assert bool((bits & 0xFFFF).any())  # more digits than bfloat16 has


def test_within_an_epoch_nothing_waits_for_the_device(tmp_path, tiny):
    """The operators that need a value on the host are as many for an epoch of 5 steps as for one of 10."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            names = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")
            self.count += operator.__name__.split(".")[0].startswith(names)
            return operator(*args, **(kwargs or {}))

    counts = []
    for size in (32, 16):
        work = _work(tmp_path, tiny, **{"train.batch_size": size, "data.flip": "random"})
        mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
        with Waits() as waits:
            next(train.steps(*_arguments(work, mask)))
        counts.append(waits.count)
        with Waits() as waits:
            assert failures.not_finite(work.net, work.sgd) is None
        assert waits.count <= 1
    assert counts[0] == counts[1] > 0


def test_a_state_that_is_not_finite_is_named(tmp_path, tiny):
    work = _work(tmp_path, tiny)
    assert failures.not_finite(work.net, work.sgd) is None
    name, weight = list(work.net.named_parameters())[5]
    work.sgd.state[weight]["momentum_buffer"].view(-1)[3] = math.nan
    assert failures.not_finite(work.net, work.sgd) == name
    models.norms(work.net)["norm"].running_var[0] = math.inf
    assert failures.not_finite(work.net, work.sgd) == "norm.running_var"


@pytest.mark.parametrize(("most", "fits"), [(31, 16), (10, 8), (2, 2), (1, 0)])
def test_out_of_memory_names_the_batch_that_fits(tmp_path, tiny, monkeypatch, most, fits):
    work, forward = _work(tmp_path, tiny), models.ResNet.forward

    def limited(net, x):
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return forward(net, x)

    monkeypatch.setattr(models.ResNet, "forward", limited)
    told = f"a batch of {fits} fits" if fits else "not even two images for each process fit"
    with pytest.raises(
        failures.OutOfMemory, match=rf"a batch of 32 images, but it does not; {told}: start"
    ) as e:
        _run(work, masks.dense_mask(work.net))
    assert "\n" not in str(e.value)
    x, y = work.dataset.normalise(work.dataset.train.x[:32]), work.dataset.train.y[:32]
    assert train.fitting(work.net, x, y[:, None], work.config) == fits


@pytest.mark.parametrize("error", [failures.Diverged("the loss", 0, 1, 0.1), failures.OutOfMemory(8, 4)])
def test_what_ends_a_training_is_the_same_in_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_failed_backward_pass_leaves_its_memory_to_smaller_batches(tmp_path, tiny, monkeypatch):
    work, made = prepare(build(tiny), tmp_path), []

    def forward(x):
        logits = work.net(x)
        made.append(weakref.ref(logits))
        return logits

    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", fails)
    monkeypatch.setattr(train, "fitting", lambda *_: 7 if made[0]() is None else 0)
    x, y = work.dataset.normalise(work.dataset.train.x[:32]), work.dataset.train.y[:32]
    with pytest.raises(failures.OutOfMemory, match="a batch of 7 fits"):
        train._gradients(work.net, forward, x, y[:, None], work.config, ALONE)


def test_on_a_gpu_networks_are_compiled_into_cuda_graphs_without_a_choice_by_time(monkeypatch):
    from torch._inductor import config

    asked = []
    monkeypatch.setattr(torch, "compile", lambda net, mode="default", **_: asked.append(mode) or net)
    monkeypatch.setattr(config, "deterministic", False)
    for device, expected in (("cpu", False), ("cuda", True)):
        training_forward.compiled(models.build("resnet8", classes=10), Machine(device=device, compile=True))
        assert config.deterministic == expected
    assert asked == ["default", "reduce-overhead"]


@pytest.fixture
def graphs(monkeypatch):
    """The shapes of the first input of every graph that torch.compile makes; they run as they were traced."""
    made, real = [], torch.compile

    def backend(graph, inputs):
        made.append(next(tuple(value.shape) for value in inputs if not isinstance(value, torch.nn.Parameter)))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda net, mode=None, **rest: real(net, backend=backend, **rest))
    torch._dynamo.reset()
    yield made
    torch._dynamo.reset()


class _Scaled(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x[:, None] * self.weight


def test_the_ninth_network_of_a_process_is_compiled_too(graphs):
    """Torch leaves the ninth of one class as it is, and a run whose name says otherwise would train so."""
    for width in range(1, 13):
        training_forward.compiled(_Scaled(width), Machine(compile=True))(torch.ones(2))
        assert len(graphs) == width


def test_no_graph_depends_on_the_batches_before(graphs):
    """After a second shape torch would make one for all shapes, which rounds in another way."""
    net = _Scaled(3)
    for size in (2, 5, 2, 7, 5):
        training_forward.compiled(net, Machine(compile=True))(torch.ones(size))
    assert graphs == [(2,), (5,), (7,)]


def test_levels_and_seeds_share_one_graph(tmp_path, tiny, graphs):
    """Masks and restored states are written in place; the last batch of an epoch has a graph of its own."""
    short = {**tiny, "train.epochs": 2, "pruning.levels": 1, "policy.rewind_epoch": 1, "algorithm": "wr"}
    settings = {**short, "machine.compile": True, "train.drop_last": False, "data.limit": 72}
    for seed in (0, 1):
        for _ in run.run(build({**settings, "seed": seed}), tmp_path / str(seed)):
            pass
    assert sorted(shape[0] for shape in graphs) == [8, 32]


def test_evaluation_is_in_the_precision_of_the_run(tmp_path, tiny, monkeypatch):
    logits, real = [], F.cross_entropy
    monkeypatch.setattr(
        F, "cross_entropy", lambda x, *rest, **more: logits.append(x) or real(x, *rest, **more)
    )
    for precision in ("float32", "bf16"):
        work = _work(tmp_path, tiny, **{"machine.precision": precision})
        evaluate.evaluate(work.net, work.dataset.test[:50], work.dataset, work.config.machine)
    exact, rounded = logits
    assert exact.dtype == rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.05)


def test_gradients_have_the_layout_of_their_weights(tmp_path, tiny):
    """The fused step of a GPU refuses others; a dimension of one has no layout."""
    for name in ("resnet8", "resnet18", "resnet50", "vgg16"):
        work = _work(tmp_path, {**tiny, "model.width": 0.25, "model.name": name})
        x, y = work.dataset.normalise(work.dataset.train.x[:2]), work.dataset.train.y[:2]
        F.cross_entropy(work.net.train()(x.repeat(1, 1, 5, 5)), y).backward()
        for weight in work.net.parameters():
            for one, two, size in zip(weight.stride(), weight.grad.stride(), weight.shape, strict=True):
                assert one == two or size == 1


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_on_a_gpu_float32_is_float32_unless_tf32_is_asked_for(monkeypatch, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", precision != "tf32")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    before = torch.get_float32_matmul_precision()
    try:
        prepare_module._set_up(Machine(device="cuda", precision=precision))
        assert torch.get_float32_matmul_precision() == ("high" if precision == "tf32" else "highest")
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
        assert torch.backends.cudnn.deterministic
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_diverging_training_stops_with_a_message(tmp_path, tiny):
    work = _work(tmp_path, tiny, **{"train.lr": 1e20})
    with pytest.raises(failures.Diverged, match=r"training loss must stay finite.*lower train\.lr"):
        _run(work, masks.dense_mask(work.net))


def test_evaluation_counts_every_image_and_changes_nothing(tmp_path, tiny, monkeypatch):
    work = _work(tmp_path, tiny)
    before = level_start.capture(work.net, work.sgd)
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH", 100)  # 359 images: a last batch of 59
    loss, accuracy = evaluate.evaluate(work.net, work.dataset.test, work.dataset, work.config.machine)
    work.net.eval()
    with torch.no_grad():
        logits = work.net(work.dataset.normalise(work.dataset.test.x))
    assert accuracy == float((logits.argmax(1) == work.dataset.test.y).double().mean())
    assert loss == pytest.approx(float(F.cross_entropy(logits, work.dataset.test.y)), rel=1e-5)
    _equal(before, level_start.capture(work.net, work.sgd))
    none = work.dataset.validation
    assert evaluate.evaluate(work.net, none, work.dataset, work.config.machine) == (None, None)


@pytest.mark.parametrize("dataset", ["digits", "tinyimagenet"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_every_layer_has_the_layout_asked_for(tmp_path, tiny, tiny_imagenet, dataset, channels_last):
    """Trap: the strides of one channel satisfy both, so that `contiguous` leaves them as they are."""
    settings = {"data.dataset": dataset, "data.limit": 8, "train.batch_size": 4, "pruning.score": "snip"}
    settings |= {"pruning.snip_batches": 1, "machine.channels_last": channels_last}
    settings = {**tiny, **settings}
    alone = prepare(build(settings), tmp_path)
    members = [prepare(build({**settings, "seed": s, "machine.stack": [0, 1]}), tmp_path) for s in (0, 1)]
    together, planar = stack.Stack(members), {}
    for net in (alone.net, together.net):
        for name, layer in net.named_modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda layer, _, y, name=name: planar.setdefault(name, set()).add(y.is_contiguous())
                )
    runs_level._scores(alone, 1, masks.dense_mask(alone.net))
    evaluate.evaluate(alone.net, alone.dataset.test[:4], alone.dataset, alone.config.machine)
    for work in (alone, together):
        arguments = work.net, work.forward, work.sgd, masks.dense_mask(work.net), work.sources
        next(train.side_by_side(*arguments, work.config, 0, 0))
    assert len(planar) == 9
    assert all(found == {not channels_last} for found in planar.values()), planar


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about its own modules
def test_a_compiled_run_compiles_once(tmp_path, tiny):
    """Masks and restored states are written in place: no level compiles the training step again."""
    import torch._dynamo

    torch._dynamo.reset()
    settings = {
        **tiny,
        "machine.compile": True,
        "train.epochs": 2,
        "policy.rewind_epoch": 0,
        "algorithm": "imp",
    }
    counted = []
    for event in run.run(build(settings), tmp_path / "run"):
        if event.row is not None:
            counted.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(counted) == 3
    assert counted[0] == counted[-1] > 0
