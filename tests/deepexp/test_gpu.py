"""What only a GPU can show; skipped where there is none."""

import pytest
import torch

from deepexp.benchmark import alone, loops
from deepexp.benchmark import report as bench
from deepexp.config.build import build
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level_start, run
from deepexp.runs.setup import prepare
from deepexp.training import failures
from deepexp.training import steps as train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

GPU = {"machine.device": "cuda", "data.crop_padding": 1, "data.flip": "random"}


@pytest.fixture(autouse=True)
def settings_of_torch():
    """The flags that a run on a GPU sets hold for the process."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def _trained(tmp_path, settings):
    work = prepare(build(settings), tmp_path)
    mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    steps = train.steps(work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0, (5,))
    report = next(steps)
    return report, level_start.capture(work.net, work.sgd), mask


def test_the_gpu_trains_what_the_cpu_trains(tmp_path, tiny):
    (one, here, _), (two, there, _) = (
        _trained(tmp_path, {**tiny, **GPU, "machine.device": device}) for device in ("cpu", "cuda")
    )
    assert two.loss == pytest.approx(one.loss, rel=1e-4)
    for name, tensor in here.tensors.items():
        scale = float(tensor.abs().max())
        torch.testing.assert_close(there.tensors[name], tensor, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about its own modules
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("compile", [False, True])
def test_every_precision_trains_eager_and_as_cuda_graphs(tmp_path, tiny, precision, compile):
    machine = {"machine.precision": precision, "machine.compile": compile}
    exact, _, _ = _trained(tmp_path, {**tiny, **GPU})
    report, state, mask = _trained(tmp_path, {**tiny, **GPU, **machine})
    assert report.loss == pytest.approx(exact.loss, rel=0.05)
    for name, alive in mask:
        assert not state.tensors[name][~alive].any()
        assert not state.momentum[name][~alive].any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compile", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, tiny, compile, same_run):
    config = build({**tiny, **GPU, "algorithm": "wr", "machine.compile": compile})
    for _ in run.run(config, tmp_path / "whole"):
        pass
    for count in (2, 3, 100):
        for _, _ in zip(range(count), run.run(config, tmp_path / "stopped"), strict=False):
            pass
    same_run(tmp_path / "whole", tmp_path / "stopped")


def test_no_step_within_an_epoch_waits_for_the_gpu(tmp_path, tiny, monkeypatch):
    """From the end of the first step's backward pass to that of the last one's."""
    gradients, calls = train._gradients, []

    def watched(*arguments):
        found = gradients(*arguments)
        calls.append(torch.cuda.get_sync_debug_mode())
        torch.cuda.set_sync_debug_mode("error" if len(calls) < 5 else "default")
        return found

    monkeypatch.setattr(train, "_gradients", watched)
    try:
        _trained(tmp_path, {**tiny, **GPU, "train.epochs": 1, "policy.rewind_epoch": 0})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert calls == [0, 2, 2, 2, 2]


def test_out_of_memory_on_the_device_names_a_batch_that_fits(tmp_path, tiny):
    settings = {**tiny, **GPU, "model.width": 1.0, "train.batch_size": 128}
    work = prepare(build(settings), tmp_path)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    steps = train.steps(
        work.net, work.forward, work.sgd, masks.dense_mask(work.net), work.dataset, work.config, 0, 0
    )
    next(steps)
    limit = torch.cuda.max_memory_reserved() * 0.6
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    try:
        with pytest.raises(failures.OutOfMemory, match=r"a batch of (64|32|16|8|4|2) fits"):
            next(steps)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_has_its_memory_and_its_name():
    chosen = loops.settings("digits", "resnet8", 64, device="cuda", precision="bf16")
    assert 0 < alone.alone("deepexp, masked", chosen).memory < 10_000
    parts = list(bench.report(chosen, seconds=2.0, images=10**9))
    assert torch.cuda.get_device_name() in parts[-1]
