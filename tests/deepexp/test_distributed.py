"""Several processes train as one would whose BN normalises their parts of the batches separately."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from deepexp import distributed, models
from deepexp.cli import main
from deepexp.config.build import build, to_toml
from deepexp.config.machine import Machine
from deepexp.data import dataset, jpeg
from deepexp.data.batches import training_batches
from deepexp.distributed import ALONE, ProcessGroup
from deepexp.pruning import masks
from deepexp.runs import level_start
from deepexp.runs.setup import prepare
from deepexp.storage import completeness, records
from deepexp.storage import folder as layout
from deepexp.training import optimizer
from deepexp.training import steps as train

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
AUGMENTED = {"data.crop_padding": 1, "data.flip": "random", "train.schedule_per": "step"}


def _environment(**more):
    lonely = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    return {**lonely, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def _ranks(code, *arguments, size=2, codes=(0, 0, 0)):
    """Run `code` in every process of a group; assert that all end well, or as `codes` says."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=_environment(**address, WORLD_SIZE=str(size), RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    for process, expected in zip(started, codes, strict=False):
        _, error = process.communicate(timeout=120)
        assert process.returncode == expected, error


def _draws_its_part(config):
    loaded = dataset.load(config.data, config.seed)
    drawn = [
        list(training_batches(loaded, config.data, config.train, 0, 1, 2, 1, group))
        for group in (ALONE, ProcessGroup(0, 4), ProcessGroup(1, 4), ProcessGroup(2, 4), ProcessGroup(3, 4))
    ]
    assert len(drawn[0]) == len(loaded.train) // config.train.batch_size - 1
    for (x, y), *parts in zip(*drawn, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), x)
        assert torch.equal(torch.cat([part for _, part in parts]), y)


def test_the_parts_of_a_batch_are_what_one_process_draws(tiny):
    _draws_its_part(build({**tiny, **AUGMENTED}))


def test_the_parts_of_a_batch_of_files_are_what_one_process_decodes(imagenet):
    files = {"data.dataset": "imagenet", "data.size": 32, "data.resized_crop": True, "data.flip": "random"}
    _draws_its_part(build({**files, "train.batch_size": 12, "train.epochs": 2}))


def test_the_processes_of_a_machine_share_its_cores_for_decoding(monkeypatch):
    monkeypatch.delenv("SIGNFLOW_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for started, expected in (("1", 8), ("2", 4), ("3", 2), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
        assert jpeg.workers() == expected


FIVE_STEPS = """
import sys
from pathlib import Path
import torch
from deepexp import distributed
from deepexp.config.build import read
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level_start
from deepexp.runs.setup import prepare
from deepexp.training import steps as train
config = read(Path(sys.argv[1]).read_text())
for _ in range(2):  # one group after another, as the runs of a recipe
    with distributed.joined(config.machine) as group:
        work = prepare(config, Path(), group=group)
        mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
        start = level_start.masked(level_start.capture(work.net, work.sgd), mask)
        level_start.restore(work.net, work.sgd, start)
        steps = train.steps(
            work.net, work.forward, work.sgd, mask, work.dataset, config, 0, 0, (5,), group
        )
        report = next(steps)
        assert report.step == 5
state = level_start.capture(work.net, work.sgd)
sums = {"loss": report.loss, "accuracy": report.accuracy}
torch.save([dict(state.tensors), dict(state.momentum), sums], f"{sys.argv[2]}/{group.rank}.pt")
"""


def _halves(work, mask):
    """Five steps of one process that normalises each half of every batch separately; loss and accuracy."""
    norms = list(models.norms(work.net).values())
    losses, right, config = [], 0, work.config
    batches = training_batches(work.dataset, config.data, config.train, config.seed, 0, 0)
    weights, zeroing = train.gradient_masks(work.net, mask)
    work.net.train()
    for step, (x, y) in zip(range(5), batches, strict=False):
        for options in work.sgd.param_groups:
            options["lr"] = optimizer.learning_rate(config.train, step, work.per_epoch, warm=False)
        before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
        after, gradients = [], []
        for half in (slice(0, 16), slice(16, 32)):
            for norm, (mean, variance) in zip(norms, before, strict=True):
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
            logits = work.net(x[half])
            loss = F.cross_entropy(logits, y[half])
            work.sgd.zero_grad()
            loss.backward()
            losses.append(loss.item())
            right += int((logits.argmax(1) == y[half]).sum())
            gradients.append([p.grad.clone() for p in work.net.parameters()])
            after.append([(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms])
        for norm, (m0, v0), (m1, v1) in zip(norms, *after, strict=True):
            norm.running_mean.copy_((m0 + m1) / 2)
            norm.running_var.copy_((v0 + v1) / 2)
            norm.num_batches_tracked -= 1  # a batch is one batch
        for p, first, second in zip(work.net.parameters(), *gradients, strict=True):
            p.grad = (first + second) / 2
        torch._foreach_mul_([weight.grad for weight in weights], zeroing)
        work.sgd.step()
    return sum(losses) / 10, right / 160


@pytest.mark.parametrize("parameterization", ["plain", pytest.param("sign-in", marks=pytest.mark.slow)])
def test_two_ranks_are_one_process_that_normalises_the_halves(tmp_path, tiny, parameterization):
    settings = {**tiny, **AUGMENTED, "data.limit": 200, "train.parameterization": parameterization}
    (tmp_path / "config.toml").write_text(to_toml(build({**settings, "machine.processes": 2})))
    _ranks(FIVE_STEPS, tmp_path / "config.toml", tmp_path)
    found, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for one, two in zip(found, other, strict=True):  # every process holds the same state, to the bit
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one)

    work = prepare(build(settings), tmp_path)
    scores = {name: weight.detach().abs() for name, weight in models.prunable(work.net).items()}
    mask = masks.top(scores, masks.dense_mask(work.net), 2000)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    start = level_start.capture(work.net, work.sgd)
    loss, accuracy = _halves(work, mask)
    state = level_start.capture(work.net, work.sgd)
    for have, want in zip(found[:2], (state.tensors, state.momentum), strict=True):
        for name, tensor in want.items():
            torch.testing.assert_close(have[name], tensor, rtol=1e-5, atol=1e-5 * float(tensor.abs().max()))
    assert found[2] == {"loss": pytest.approx(loss, rel=1e-5), "accuracy": accuracy}

    # The tolerance can tell: normalised together, the batches train another network.
    level_start.restore(work.net, work.sgd, start)
    steps = train.steps(work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0, (5,))
    next(steps)
    name = next(iter(models.prunable(work.net)))
    moved = (work.net.state_dict()[name] - found[0][name]).abs().max() / found[0][name].abs().max()
    assert moved > 1e-3


def test_buckets_hold_every_gradient_the_last_ones_first(monkeypatch):
    weights = [torch.empty(count) for count in (3, 4, 9, 1, 2)]
    for most, sizes in ((4, [[1, 2], [9], [4], [3]]), (7, [[1, 2], [9], [3, 4]]), (100, [[3, 4, 9, 1, 2]])):
        monkeypatch.setattr(distributed, "BUCKET", {"cpu": most})
        found = distributed._buckets(weights)
        assert [[len(weight) for weight in bucket] for bucket in found] == sizes
    monkeypatch.undo()
    assert len(distributed._buckets(weights)) == 1  # a CPU has the sums that it always had


# A run whose gradients are exchanged in many buckets during the backward pass, killed at an event.
BUCKETS = """
import os, signal, sys
from pathlib import Path
import torch.distributed as dist
from deepexp import distributed
from deepexp.config.build import read
from deepexp.runs import run
distributed.BUCKET["cpu"] = int(sys.argv[3])
started, real = [], dist.all_reduce
def counted(tensor, async_op=False):
    started.append(async_op)
    return real(tensor, async_op=async_op)
dist.all_reduce = counted
config = read(Path(sys.argv[1]).read_text())
for number, _ in enumerate(run.run(config, Path(sys.argv[2]))):
    if str(number) == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
steps = sum(started) / int(sys.argv[5])
assert steps == int(steps) > 0
"""


@pytest.mark.slow
def test_buckets_change_no_bit_of_two_ranks_and_neither_does_a_kill(tmp_path, tiny, same_run):
    config = build({**tiny, **AUGMENTED, "machine.processes": 2, "algorithm": "wr"})
    (tmp_path / "config.toml").write_text(to_toml(config))
    count = len(list(prepare(config, tmp_path).net.parameters()))

    def run(folder, most, each, kill="", **how):
        _ranks(BUCKETS, tmp_path / "config.toml", tmp_path / folder, most, kill, each, **how)

    run("one", 10**9, 1)
    run("many", 1, count)
    same_run(tmp_path / "one", tmp_path / "many")
    run("killed", 1, count, "4", codes=(-signal.SIGKILL, 1))
    run("killed", 1, count)
    same_run(tmp_path / "one", tmp_path / "killed")


EXCHANGES = """
import torch
from deepexp import distributed
from deepexp.config.settings import Machine
with distributed.joined(Machine(processes=3)) as group:
    r = group.rank
    mixed = [torch.full((2, 3), float(r)), torch.full((1,), 10.0 * r)]
    group.average(mixed)
    assert torch.equal(mixed[0], torch.ones(2, 3)) and mixed[1].item() == 10
    assert group.sum(torch.tensor([1.0, r])).tolist() == [3.0, 3.0]
    if r == 0:
        group.tell({"mask": torch.tensor([True, False])})
    else:
        assert group.listen()["mask"].tolist() == [True, False]
"""


@pytest.mark.slow
def test_what_three_processes_exchange():
    _ranks(EXCHANGES, size=3)


LATE = """
import os, sys, time
from pathlib import Path
from deepexp import distributed
from deepexp.config.settings import Machine
for number in range(2):
    here = Path(sys.argv[1]) / str(number)
    if os.environ["RANK"] == "1":
        time.sleep(number)
        here.touch()
    with distributed.joined(Machine(processes=2)):
        assert here.exists()
"""


def test_no_process_goes_on_before_all_are_there(tmp_path):
    """Rank 0 would lock the next run's folder, for which the others wait."""
    _ranks(LATE, tmp_path)


def test_a_termination_during_an_exchange_is_told_once():
    with pytest.raises(distributed.Lost) as told, distributed._together():
        raise distributed.Lost("torchrun ends this one")
    assert str(told.value).count("every process of the run must stay alive") == 1


@pytest.mark.parametrize(
    ("size", "started", "message"),
    [
        (2, None, "needs 2 processes, but there is 1; start `torchrun --nproc_per_node 2 -m deepexp train"),
        (1, "2", "needs 1 process, but there are 2"),
        (3, "2", "needs 3 processes, but there are 2; start `torchrun --nproc_per_node 3"),
    ],
)
def test_the_number_of_processes_must_be_what_torchrun_started(monkeypatch, size, started, message):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if started:
        monkeypatch.setenv("WORLD_SIZE", started)
    with pytest.raises(ValueError, match=message), distributed.joined(Machine(processes=size)):
        pass


def test_every_process_needs_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ValueError, match="torch finds only 1, and this process has local rank 1"),
        distributed.joined(Machine(device="cuda", processes=2)),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.batch_size": 33}, "machine.processes must divide train.batch_size = 33, got 2"),
        (
            {"train.drop_last": False, "data.limit": 161},
            "must divide 1, the number of images in the last batch",
        ),
        ({"model.name": "vgg16", "train.batch_size": 2}, "cannot train on a batch of one image"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(tmp_path, tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(build({**tiny, "machine.processes": 2, **settings}), tmp_path)


def test_other_ranks_speak_only_where_rank_0_does_not_end_them(monkeypatch, capsys):
    monkeypatch.setattr(main, "TORCHRUN_GRACE", 0.2)
    monkeypatch.setenv("RANK", "1")
    began = time.monotonic()
    assert main.main(["train", "--set", "train.batch_size=0"]) == 2
    assert time.monotonic() - began > 0.2
    streams = capsys.readouterr()
    assert streams.err.startswith("rank 1: deepexp: train.batch_size must be")
    assert streams.err.count("\n") == 1
    assert not streams.out
    assert main.main(["train", "--levells", "3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


RUN = [
    *("-m", "deepexp", "train", "--algorithm", "wr", "--levels", "2", "--epochs", "4", "--set"),
    *("data.limit=320", "train.batch_size=32", "policy.rewind_step=3", "data.crop_padding=1"),
    *("data.flip=random", "train.evaluate=epoch"),
]


def _torchrun(folder, *more):
    return subprocess.Popen(
        [*TORCHRUN, *RUN, *more, "--out", str(folder)],
        env=_environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _rank(launcher, rank):
    """The process of a rank, once it is there."""
    for _ in range(600):
        for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
        time.sleep(0.1)
    raise AssertionError(f"there is no rank {rank}")


@pytest.mark.slow
def test_bad_input_is_told_once(tmp_path):
    process = _torchrun(tmp_path / "run", "--set", "train.batch_size=31")
    _, error = process.communicate(timeout=120)
    assert process.returncode
    assert error.count("deepexp: machine.processes must divide train.batch_size") == 1
    assert "(exitcode: 2) local_rank: 0" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_which_then_goes_on_to_the_same_bits(tmp_path, same_run):
    whole = _torchrun(tmp_path / "whole")
    _, error = whole.communicate(timeout=300)
    assert whole.returncode == 0, error
    assert len(records.rows(tmp_path / "whole" / "levels.csv")) == 3
    killed = tmp_path / "killed"
    for victim, epochs in ((1, 1), (0, 2), (1, 6)):
        process = _torchrun(killed)
        number = _rank(process, victim)
        deadline = time.monotonic() + 120
        while len(records.rows(killed / "epochs.csv")) < epochs and not any(
            path.stem >= f"{epochs // 4:03d}-{epochs % 4 * 10:08d}"
            for path in killed.glob("checkpoints/0*.safetensors")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(number, signal.SIGKILL)
        _, error = process.communicate(timeout=60)
        assert process.returncode
        if victim == 1:  # rank 0 lives to tell
            assert error.count("every process of the run must stay alive, but another one ended") == 1
            assert "Lost: " in (killed / "log.txt").read_text()
    assert not completeness.is_complete(killed, layout.read((killed / "config.toml").read_text()))
    again = _torchrun(killed)
    _, error = again.communicate(timeout=300)
    assert again.returncode == 0, error
    assert "resuming from level" in (killed / "log.txt").read_text()
    same_run(tmp_path / "whole", killed)
