"""The command line: what it prints, its exit codes, and that help is quick."""

import fcntl
import functools
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import figures.cli
from deepexp import models
from deepexp.cli import main
from deepexp.cli import train as cli_train
from deepexp.config.build import read
from deepexp.recipes import plan
from deepexp.runs import checkpoint
from deepexp.runs import run as levels
from deepexp.storage import bit_files, records, status
from deepexp.storage import folder as layout
from signflow import results

TINY = ["model.width=0.25", "data.limit=160", "train.batch_size=32"]
RUN = ["train", "--levels", "1", "--epochs", "2", "--set", *TINY]


def _fails(capsys, arguments, message, code=2):
    capsys.readouterr()
    assert main.main(arguments) == code
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1
    assert message in streams.err
    assert streams.out == "" or code == 1  # what was said comes from a run, not before bad input


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    assert main.main([*RUN, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from deepexp.cli import main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich', 'matplotlib', 'xarray', 'scipy', 'pooch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_the_module_runs(tmp_path):
    command = [sys.executable, "-m", "deepexp", "recipes"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "smoke " in done.stdout


def test_train_writes_a_readable_folder(run):
    names = {path.name for path in run.iterdir()}
    assert {"config.toml", "levels.csv", "layers.csv", "epochs.csv", "masks", "signs", "log.txt"} <= names
    config = read((run / "config.toml").read_text())
    assert (config.pruning.levels, config.train.epochs, config.model.width) == (1, 2, 0.25)
    assert len(records.rows(run / "levels.csv")) == 2
    assert "level 1: density" in (run / "log.txt").read_text()


def test_the_same_command_finds_the_run_complete(run, capsys):
    assert main.main([*RUN, "--out", str(run)]) == 0
    assert "is complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "train.lrr=1"], "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        (["--set", "algorithm=[1]"], "the algorithm must be one of"),
        (["--set", "train=3", "train.lr=0.1"], "'train' is a section"),
        (["--set", "train.lr"], "--set must be KEY=VALUE"),
        (["--seed", "4", "--set", "seed=3"], "the seed must be given only once, got both --seed and --set"),
        (["--set", "pruning.keep=0"], "pruning.keep must be greater than 0, got 0"),
        (["--set", "pruning.keep=1.2"], "pruning.keep must be less than or equal to 1, got 1.2"),
        (["--levels", "-1"], "pruning.levels must be greater than or equal to 0, got -1"),
        (["--levels", "500"], "every level must keep at least one weight"),
        (["--set", "perturbation.fraction=1.5"], "perturbation.fraction must be less than or equal to 1"),
        (["--dataset", "cifar100"], "cifar100 must be in"),
        (["--device", "cuda"], "needs a CUDA device"),
        (["--model", "resnet9"], "model: name must be one of resnet8, resnet20"),
        (["--set", "pruning.source=run", "pruning.run=x", "pruning.budget=erk"], "budget has no effect"),
        (["--set", "data.crop_padding=8", "data.padding_mode=reflect"], "data.crop_padding must be below"),
        (["--model", "vgg16", "--set", "train.drop_last=false", "data.limit=161"], "a batch of one image"),
        (["--set", "model.width=1e9"], "needs 9.15e+14 GB or more, but 'cpu' has"),
        (["--set", "model.width=1e9", "train.parameterization=sign-in"], "needs 2.44e+15 GB or more"),
        (["--set", "model.width=1e300"], "needs inf GB or more"),
        (["--set", "data.resized_crop=true", "data.size=10000000"], "pixels needs 1.28e+07 GB or more"),
        (
            ["--set", "train.batch_size=1000000000000"],
            "of 1,000,000,000,000 images of 8x8 pixels needs",
        ),
        (["--levels", "999999999"], "pruning.levels must be less than or equal to 10000, got 999999999"),
        (["--set", "pruning.score=synflow", "pruning.synflow_steps=1000000000000"], "must be less than or"),
        (["--seed", str(2**128)], f"seed must be less than {2**128}, got {2**128}"),
        (["--set", "=1"], "--set must be KEY=VALUE, such as train.lr=0.05, got '=1'"),
        (
            ["--set", "machine.compile=true"],
            "a compiler, but there is no no-compiler; install one",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, more, message):
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("CXX", "no-compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _fails(capsys, [*RUN, "--out", str(tmp_path / "run"), *more], message)
    assert not (tmp_path / "run").exists()


def test_another_configuration_and_a_held_folder_are_refused(run, capsys):
    before = (run / "levels.csv").read_bytes()
    _fails(capsys, [*RUN, "--seed", "1", "--out", str(run)], "choose another --out")
    with layout.lock(run):
        _fails(capsys, [*RUN, "--out", str(run)], "must belong to one process")
    assert (run / "levels.csv").read_bytes() == before


def test_an_out_that_is_no_folder_is_bad_input(tmp_path, capsys):
    (tmp_path / "file").write_text("text")
    _fails(capsys, [*RUN, "--out", str(tmp_path / "file")], "must be a writable folder")
    _fails(capsys, [*RUN, "--out", str(tmp_path / "file" / "x")], "must be a writable folder")
    _fails(capsys, [*RUN, "--out", "/proc/x/run"], "must be a writable folder")
    assert (tmp_path / "file").read_text() == "text"


def test_places_that_cannot_be_are_told_before_any_work(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    monkeypatch.setattr(levels, "run", pytest.fail)
    smoke = ["smoke", "--profile", "smoke"]
    _fails(capsys, ["plan", *smoke, "--make", "--out", "/proc/x.mk"], "must be writable, but '/proc' is not")
    _fails(capsys, ["plan", *smoke, "--make", "--out", "."], "the output must be a file, but '.' is a folder")
    _fails(capsys, ["plan", *smoke, "--out", "x.mk"], "--out 'x.mk' needs --make")
    _fails(
        capsys, ["run", *smoke, "--runs", "/proc/x"], "the folder of the runs must be writable, but '/proc'"
    )
    _fails(capsys, ["run", *smoke, "--runs", "file"], "the folder of the runs must be writable, but '")
    _fails(capsys, ["export", str(run), "--level", "0", "--out", "file"], "must be writable, but '")
    _fails(capsys, ["status", "file"], "'file' must be a folder of runs, but there is no such folder")
    _fails(capsys, ["status", "nowhere"], "'nowhere' must be a folder of runs, but there is no such folder")
    _fails(capsys, ["bench", "--into", "nowhere"], "'nowhere' must be a readable file")
    _fails(capsys, ["bench", "--into", "file"], "must hold the lines <!-- deepexp benchmark: begin -->")
    assert main.main(["status"]) == 0
    hint = "plan one: deepexp train --dataset digits --profile smoke --dry-run"
    assert capsys.readouterr().out.splitlines() == ["no runs in 'runs'", hint]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "arguments", [["fetch", "digits"], ["fetch", "imagenet"], ["verify", "cifar10"], ["verify", "digits"]]
)
def test_a_url_that_nothing_would_be_fetched_from_is_refused(capsys, arguments):
    message = f"`data {' '.join(arguments)}` downloads none; leave out --url"
    _fails(capsys, ["data", *arguments, "--url", "http://localhost:1/x"], message)


def test_a_home_is_expanded_and_an_empty_path_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert main.main(["status", "~/runs"]) == 0
    monkeypatch.setenv("SIGNFLOW_DATA", "~/data")
    _fails(capsys, ["data", "verify", "cifar10"], f"must be in '{tmp_path}/data/cifar-10-batches-py'")
    empty, other = "a path must be the name of a file or a folder, got ''", "~nobody-here/x"
    for given, message in (("", empty), (other, f"write './{other}'")):
        with pytest.raises(SystemExit) as error:
            main.main([*RUN, "--out", given])
        assert error.value.code == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("limit", [200, 30_000])
def test_a_full_disk_is_one_line_and_the_run_goes_on(tmp_path, same_run, limit):
    """Where no file may be longer than so many bytes; afterwards the run ends as the uninterrupted one."""
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "deepexp", *RUN, "--out"]
    assert main.main([*RUN, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    full = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run(
        [*command, tmp_path / "run"], capture_output=True, text=True, preexec_fn=full, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"deepexp: the disk must have room for the files of '{tmp_path / 'run'}', but it has none (File "
        "too large); free some space, and run the same command again to resume from the last checkpoint\n"
    )
    assert not list((tmp_path / "run").rglob(".*"))
    assert main.main([*RUN, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    same_run(tmp_path / "whole", tmp_path / "run")


def test_divergence_is_exit_code_1(tmp_path, capsys):
    arguments = [*RUN, "--set", "train.lr=1e20", "--out", str(tmp_path / "run"), "--quiet"]
    _fails(capsys, arguments, "lower train.lr", code=1)


def test_out_of_memory_is_exit_code_1_and_loses_nothing(tmp_path, capsys, monkeypatch, same_run):
    """The device gives out in the second epoch; with the memory, the run goes on to the same bits."""
    whole, run, forward, passes = tmp_path / "whole", tmp_path / "run", models.ResNet.forward, []

    def limited(net, x):
        passes.append(len(x))
        if len(passes) > 7 and net.training and len(x) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(net, x)

    assert main.main([*RUN, "--out", str(whole), "--quiet"]) == 0
    monkeypatch.setattr(models.ResNet, "forward", limited)
    _fails(capsys, [*RUN, "--out", str(run), "--quiet"], "deepexp: the device must have", code=1)
    assert len(list(run.glob("checkpoints/*"))) == 1
    assert "a batch of 16 fits" in (run / "log.txt").read_text()
    monkeypatch.setattr(models.ResNet, "forward", forward)
    assert main.main([*RUN, "--out", str(run), "--quiet"]) == 0
    same_run(whole, run)


def test_a_network_that_is_no_longer_finite_is_no_result(tmp_path, capsys):
    """One step an epoch: the loss, taken before the step, is finite to the end; the weights are not."""
    run = tmp_path / "run"
    more = ["--levels", "0", "--epochs", "1", "--quiet", "--out", str(run)]
    extreme = ["train.batch_size=160", "train.lr=1e38", "train.weight_decay=100.0"]
    arguments = ["train", *more, "--set", *TINY, *extreme]
    _fails(capsys, arguments, "must stay finite", code=1)
    assert not records.rows(run / "levels.csv")
    assert not list(run.glob("checkpoints/*"))
    assert "Diverged: " in (run / "log.txt").read_text()


def test_a_test_loss_that_is_not_finite_is_no_result(tmp_path, capsys, monkeypatch):
    from deepexp.training import evaluate

    monkeypatch.setattr(evaluate, "evaluate", lambda *_: (float("nan"), 0.1))
    arguments = [*RUN, "--out", str(tmp_path / "run"), "--quiet"]
    _fails(capsys, arguments, "loss must stay finite", code=1)
    _fails(capsys, arguments, "resuming would diverge again: start a new run with a lower train.lr", code=1)
    assert not records.rows(tmp_path / "run" / "levels.csv")


def test_an_interrupted_run_says_what_is_kept(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "deepexp", "train", "--epochs", "60", "--out", str(folder)]
    # A shell's background job, as these tests may be, ignores Ctrl-C, and its children inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    ) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("checkpoints/0*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == (
        f"deepexp: interrupted; '{folder}' keeps every complete epoch; run the same command again to resume\n"
    )


def test_several_seeds_train_together_and_every_line_names_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = "[b]" + "x" * 100  # neither a markup nor broken where a line of a terminal would end
    assert main.main([*RUN, "--seed", "2", "0", "--out", out]) == 0
    *told, hint = capsys.readouterr().out.splitlines()
    assert hint.startswith("export the last level: deepexp export")
    assert [line.partition(" in ")[2][:103] for line in told[:2]] == [out, out]
    assert [line[:15] for line in told[2:]] == [f"seed {s}: level {n}" for n in (0, 1) for s in (0, 2)]
    folders = sorted((tmp_path / out).iterdir())
    assert [read((folder / "config.toml").read_text()).seed for folder in folders] == [0, 2]
    for folder in folders:
        lines = [line.split(" ", 1)[1] for line in (folder / "log.txt").read_text().splitlines()]
        assert lines[0] == f"{folder.name} in {Path(out) / folder.name}"
        assert [line[:8] for line in lines[1:]] == ["level 0:", "level 1:"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["machine.stack=[]", "--seed", "0", "1"], "machine.stack must not be set by --set, got []; pass"),
        (["machine.stack=[0,1]", "--dry-run"], "machine.stack must not be set by --set, got [0, 1]; pass"),
        (["seed=3", "--seed", "0", "1"], "got both --seed and --set seed=3; leave one of them out"),
        (["--seed", "1", "1"], "stack must have at least two seeds, all different, got [1, 1]"),
        (["--seed", "0", "1", "--tensorboard"], "--tensorboard needs a single seed, got 2; pass one"),
    ],
)
def test_what_a_stack_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    _fails(capsys, [*RUN, *arguments], message)
    assert not list(tmp_path.iterdir())


def test_settings_add_up(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(cli_train, "_print_plan", made.append)
    assert main.main([*RUN, "--set", "train.lr=0.5", "--set", "train.lr=0.25", "seed=3", "--dry-run"]) == 0
    ((config,),) = made
    assert (config.model.width, config.train.lr, config.seed) == (0.25, 0.25, 3)


def test_unknown_arguments_are_one_line(capsys):
    with pytest.raises(SystemExit) as error:
        main.main(["train", "--sed", "1"])
    assert error.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_dry_run_prints_the_plan_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--algorithm", "wr", "--levels", "2", "--epochs", "10", "--dry-run"]
    assert main.main(arguments) == 0
    text = capsys.readouterr().out
    assert "77,072 prunable weights" in text
    assert "level  2:       49,326 weights, 63.9999%, epochs 1 to 10" in text
    assert "616 steps of 64 images" in text  # 22 steps an epoch: 10, 9 and 9 epochs
    assert "images/s measured on 1 thread" in text
    assert list(tmp_path.iterdir()) == []


def test_print_config_prints_the_settings_that_the_run_writes(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main([*RUN, "--print-config"]) == 0
    assert capsys.readouterr().out == (run / "config.toml").read_text()
    assert list(tmp_path.iterdir()) == []
    _fails(capsys, [*RUN, "--print-config", "--seed", "0", "1"], "--print-config needs a single seed, got 2")


def test_status_lists_the_runs(run, capsys):
    assert main.main(["status", str(run.parent)]) == 0
    text = capsys.readouterr().out
    assert "1/1" in text
    assert "complete" in text
    assert main.main(["status", str(run / "masks")]) == 0
    assert "no runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("config.toml", "seed = [", "must be valid TOML"),
        ("config.toml", b"\xff\xfe", "decode"),
        ("progress.json", "{", "property name"),
        ("progress.json", "3", "'int'"),
        ("progress.json", '{"level": "x", "epoch": 1}', "progress.json' is damaged"),
        ("levels.csv", b"\xff\xfe", "levels.csv' is damaged"),
        ("levels.csv", "density,test_accuracy\n1.0\n", "a row is too short"),
        ("levels.csv", "a,b\n1,2\n", "no column 'density'"),
    ],
)
def test_status_names_a_damaged_run_and_lists_the_others(run, tmp_path, capsys, name, content, why):
    for copy in ("damaged", "sound"):
        shutil.copytree(run, tmp_path / copy)
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "damaged" / name).write_bytes(content)
    damaged, sound = status.status(tmp_path)
    assert damaged.run_id == "damaged"
    assert damaged.state.startswith("damaged: ")
    assert why in damaged.state
    assert sound.state == "complete"
    assert main.main(["status", str(tmp_path)]) == 0
    assert "damaged" in capsys.readouterr().out


def test_status_only_reads(run, tmp_path, monkeypatch):
    """A run may start while it looks, and the folder may be read-only."""
    stopped = tmp_path / "stopped"
    shutil.copytree(run, stopped)
    (stopped / "levels.csv").unlink()
    real, asked = fcntl.flock, []
    monkeypatch.setattr(
        fcntl, "flock", lambda file, kind: (asked.append((file.mode, kind)), real(file, kind))
    )
    assert [one.state for one in status.status(tmp_path)] == ["stopped"]
    assert asked == [("r", fcntl.LOCK_SH | fcntl.LOCK_NB)]


def test_export_loads_into_others_code(run, tmp_path, capsys):
    """A plain network loads the one; one masked by torch.nn.utils.prune the other; both compute the same."""
    assert main.main(["export", str(run), "--level", "1", "--out", str(tmp_path)]) == 0
    plain, pruned = (
        torch.load(tmp_path / name, weights_only=True) for name in ("state_dict.pt", "pruned_state_dict.pt")
    )
    nets = [models.build("resnet8", classes=10, width=0.25, channels=1, seed=seed).eval() for seed in (1, 2)]
    nets[0].load_state_dict(plain)
    for module in nets[1].modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.identity(module, "weight")
    nets[1].load_state_dict(pruned)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(nets[0](x), nets[1](x))
    kept = sum(int(mask.sum()) for name, mask in pruned.items() if name.endswith("_mask"))
    assert kept == int(records.rows(run / "levels.csv")[1]["kept"])
    capsys.readouterr()
    assert main.main(["export", str(run), "--level", "1", "--out", str(tmp_path / "again")]) == 0
    for name in ("state_dict.pt", "pruned_state_dict.pt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()
    capsys.readouterr()
    _fails(capsys, ["export", str(run), "--level", "2", "--out", str(tmp_path)], "the level must be complete")
    _fails(capsys, ["export", str(tmp_path), "--level", "0", "--out", str(tmp_path)], "there must be a run")


def test_export_refuses_pruned_weights_that_are_not_zero_and_damaged_masks(run, tmp_path, capsys):
    copy, arguments = tmp_path / "run", ["--level", "1", "--out", str(tmp_path / "out")]
    shutil.copytree(run, copy)
    path, run_id = layout.file(copy, "weights", 1), read((copy / "config.toml").read_text()).run_id
    state = checkpoint.load_state(path, run_id)
    name, alive = max(
        bit_files.load(layout.file(copy, "masks", 1)).items(), key=lambda item: (~item[1]).sum()
    )
    pruned = int((~alive).sum())
    state.tensors[name][~alive] = torch.arange(pruned).float()  # the first of them is 0
    checkpoint.save_state(state, path, run_id)
    assert pruned > 1
    message = f"but {pruned - 1:,} of '{name}' at level 1 are not"
    _fails(capsys, ["export", str(copy), *arguments], message)
    mask = layout.file(copy, "masks", 1)
    mask.write_bytes(mask.read_bytes()[:-1] + b"x")
    _fails(capsys, ["export", str(copy), *arguments], f"'{mask}' is damaged")
    assert not (tmp_path / "out").exists()


def test_data_verify_and_doctor(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path))
    assert main.main(["data", "verify", "digits"]) == 0
    hint = "plan a run on it: deepexp train --dataset digits --dry-run"
    assert capsys.readouterr().out.splitlines() == ["digits: scikit-learn", hint]
    _fails(capsys, ["data", "verify", "cifar10"], "deepexp data fetch cifar10")
    _fails(capsys, ["data", "verify", "mnist"], "the data set must be one of")
    assert main.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "digits: scikit-learn" in text
    assert "cifar100 must be in" in text
    assert (
        f"torch {torch.__version__}, whose own kernels use {torch.backends.cpu.get_cpu_capability()}" in text
    )


def test_doctor_says_which_instructions_convolutions_may_use(capsys, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name, most in ((None, ""), ("DNNL_MAX_CPU_ISA", "SSE41"), ("ONEDNN_MAX_CPU_ISA", "AVX2")):
        if name is not None:
            monkeypatch.setenv(name, most)
        limit = f"{name}={most}" if name is not None else "the processor alone"
        assert main.main(["doctor"]) == 0
        text = capsys.readouterr().out
        assert f"convolutions by oneDNN, whose instructions are limited by {limit}\n" in text


def test_doctor_says_all_it_can_where_nothing_else_is_installed(capsys, monkeypatch):
    monkeypatch.delenv("SIGNFLOW_DATA", raising=False)
    for name in ("torch", "sklearn", "PIL", "pooch", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main.main(["doctor"]) == 0
    streams = capsys.readouterr()
    for line in (
        "torch must be installed; run pip install 'signflow[deep]'",
        "  digits: sklearn must be installed; run pip install 'signflow[deep]'",
    ):
        assert line in streams.out.splitlines()
    assert "data: pooch must be installed; run pip install 'signflow[deep]', or set SIGNFLOW" in streams.out
    assert streams.out.startswith("python ")
    assert "free disk space here: " in streams.out
    assert not streams.err


def test_tensorboard_is_optional(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    _fails(
        capsys,
        [*RUN, "--out", str(tmp_path / "x"), "--quiet", "--tensorboard"],
        "needs the package tensorboard",
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorboard's own
def test_tensorboard_gets_the_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    assert main.main([*RUN, "--out", str(tmp_path / "x"), "--quiet", "--tensorboard"]) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "x" / "tensorboard")).Reload()
    rows = records.rows(tmp_path / "x" / "levels.csv")
    found = [scalar.value for scalar in events.Scalars("level/test_accuracy")]
    assert found == pytest.approx([float(row["test_accuracy"]) for row in rows], rel=1e-6)


TINY_RECIPE = """
question = "Does it run?"
source = "a test"
predictions = ["P1", "P2"]
settings.data = { dataset = "digits", limit = 64 }
settings.model.width = 0.25
panels.digits = {}
arms.imp.algorithm = "imp"
arms.lrr.algorithm = "lrr"

[profiles.smoke]
protocol = "signflow"
panels = ["digits"]
seeds = [0]
settings.train.epochs = 2
settings.pruning.levels = 1
"""


def test_a_recipe_runs_and_reduces_to_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--quiet"]) == 0
    assert main.main(["reduce", "tiny.toml", "--profile", "smoke"]) == 0
    table = results.read(tmp_path / "build/results/tiny.nc")["levels"].sel(panel="digits")
    assert table.arm.values.tolist() == ["imp", "lrr"]
    for made in plan.runs("tiny.toml", profile="smoke"):
        rows = records.rows(tmp_path / "runs" / made.config.run_id / "levels.csv")
        found = table.sel(arm=made.arm, seed=0)
        assert found.test_accuracy.values.tolist() == [float(row["test_accuracy"]) for row in rows]
        assert found.density.values.tolist() == [float(row["density"]) for row in rows]
    said = " ".join(capsys.readouterr().out.split())
    assert "build/results/tiny.nc" in said
    assert "P1 │ digits, resnet8, width 0.25 │ │ 0 │ NOT RUN (the arm lrr has no level with a density" in said
    assert "NOT RUN (there is no arm imp-on-lrr here)" in said
    assert "not complete" not in said
    assert figures.cli.main(["draw", "tiny", "--quiet"]) == 0
    assert (tmp_path / "build/figures/tiny.png").is_file()
    assert main.main(["reduce", "tiny.toml", "--profile", "smoke", "--seed", "0", "1"]) == 0
    said = capsys.readouterr().out
    assert "not complete: 2 of 4 runs, digits-resnet8-" in said
    assert "seeds that are not in the profile: 1; if they were added because of a verdict" in said
    _fails(
        capsys, ["reduce", "tiny.toml", "--profile", "smoke", "--seed", "1"], "tiny must have a complete run"
    )


def test_a_result_is_reduced_again_where_its_runs_are_gone(tmp_path, capsys, monkeypatch):
    """From the values by seed that it has; other predictions of the recipe are decided then."""
    monkeypatch.chdir(tmp_path)
    recipe = TINY_RECIPE.replace("pruning.levels = 1", "pruning = { levels = 4, keep = 0.4 }")
    (tmp_path / "tiny.toml").write_text(recipe.replace('["P1", "P2"]', '["P4"]'))
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--quiet"]) == 0
    assert main.main(["reduce", "tiny.toml", "--profile", "smoke", "--out", "old.nc"]) == 0
    assert "digits, imp: layers starve from level " in capsys.readouterr().out
    (tmp_path / "runs").rename("gone")
    (tmp_path / "tiny.toml").write_text(recipe)
    again = ["reduce", "tiny.toml", "--from", "old.nc", "--out", "new.nc"]
    assert main.main(again) == 0
    assert " P1 " in capsys.readouterr().out
    old, new = (results.read(tmp_path / f"{name}.nc") for name in ("old", "new"))
    for name in old.keys() - {"verdicts"}:
        assert new[name].drop_attrs().identical(old[name].drop_attrs()), name
    assert new["verdicts"].prediction.values.tolist() == ["P1", "P2"]
    before, after = (json.loads(table["levels"].attrs["config"]) for table in (old, new))
    assert after.pop("reduced_from")["created"] == old["levels"].attrs["created"]
    assert after == before
    assert main.main([*again, "--without-starved"]) == 0
    assert not results.read(tmp_path / "new.nc")["levels"].counted.values[0, -1]
    for arguments, message in (
        (
            ["laptop", "--from", "old.nc"],
            "must be a result file of the recipe laptop, but it belongs to the recipe tiny",
        ),
        (["tiny.toml", "--from", "gone.nc"], "the result file 'gone.nc' does not exist"),
        (["tiny.toml", "--from", "old.nc", "--seed", "0"], "leave out --seed and --panel"),
    ):
        _fails(capsys, ["reduce", *arguments], message)


def test_recipes_and_runs_that_are_not_there_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _fails(capsys, ["run", "fig9"], "the recipe must be one of criteria,")


@pytest.mark.parametrize(
    "line", ["train --epochs nan", "train --seed 1e100", "bench --batch 1.5", "export r --level x"]
)
def test_whole_numbers_are_asked_for_by_one_rule(line, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(line.split())
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"must be a whole number of at most 100 digits, got '{line.split()[-1]}'" in error
    assert error.count("\n") == 1
