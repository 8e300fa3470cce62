"""How a plan's runs get done: by make, killed and called again; on workers; in an order that works."""

import contextlib
import json
import math
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch

from deepexp import models
from deepexp.cli import main
from deepexp.cli import recipes as cli_recipes
from deepexp.config.build import build
from deepexp.recipes import plan
from deepexp.runs.setup import prepare
from deepexp.schedule import costs, execute, gpus, makefile, progress
from deepexp.schedule import units as schedule_units
from deepexp.storage import completeness, records, status
from deepexp.storage import folder as layout
from signflow.workers import cluster
from tests.cluster import dask, wait_until

# IMP, LRR and IMP on LRR's masks for two seeds; LRR stands in two arms.
RECIPE = """
question = "Does it run?"
source = "a test"
settings.data = { dataset = "digits", limit = 320 }
settings.model.width = 0.25
panels.digits = {}
arms.on = { algorithm = "imp", masks = "lrr" }
arms.imp.algorithm = "imp"
arms.lrr.algorithm = "lrr"
arms.again.algorithm = "lrr"

[profiles.smoke]
protocol = "signflow"
panels = ["digits"]
seeds = [0, 1]
settings.train.epochs = EPOCHS
settings.pruning.levels = 2
"""
PATIENCE = 200.0


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RECIPE.replace("EPOCHS", "2"))
    return plan.runs("tiny.toml", profile="smoke")


def _command(command, *arguments):
    return [
        sys.executable,
        "-m",
        "deepexp",
        command,
        "tiny.toml",
        "--profile",
        "smoke",
        "--device",
        "cpu",
        *arguments,
    ]


def _names(runs):
    return list(dict.fromkeys(run.config.run_id for run in runs))


def test_a_run_in_two_arms_is_one_target_after_what_it_needs(recipe):
    text = makefile.makefile("tiny.toml", recipe, Path("runs"), ["--profile", "smoke"], Path("build"))
    rules = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("runs/"))
    assert list(rules) == [f"runs/{name}/levels.csv" for name in _names(recipe)]
    assert len(rules) == 6
    for run in recipe:
        assert rules[f"runs/{run.config.run_id}/levels.csv"].split() == [
            f"runs/{need}/levels.csv" for need in run.needs
        ]
    with pytest.raises(ValueError, match="make needs paths that contain only letters"):
        makefile.makefile("tiny.toml", recipe, Path("my runs"), [], Path("build"))


def test_run_trains_all_and_the_next_call_nothing(recipe, capsys):
    arguments = ["run", "tiny.toml", "--profile", "smoke", "--only"]
    for name in _names(recipe)[:2]:
        assert main.main([*arguments, name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == _names(recipe)[:2]
    assert "5 runs are left, about" in lines[0]
    assert "4 runs are left, about" in lines[1]
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--quiet"]) == 0
    assert not schedule_units.unfinished(recipe, Path("runs"))
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    assert main.main(["run", "tiny.toml", "--profile", "smoke"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tiny, profile smoke: 6 of 6 runs are complete",
        "gather them: deepexp reduce tiny.toml --profile smoke",
    ]
    assert main.main(["plan", "tiny.toml", "--profile", "smoke", "--make"]) == 0
    text = capsys.readouterr().out
    assert "6 of 6 runs are complete" in text
    assert text.endswith("nothing is left to train\n")
    done = subprocess.run(
        ["make", "-f", "build/deep/tiny.mk", "runs"], capture_output=True, text=True, check=True
    )
    assert "Nothing to be done for 'runs'" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}


def test_a_recipe_that_has_changed_is_reduced_again(recipe, capsys):
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--quiet", "--seed", "0"]) == 0
    assert main.main(["reduce", "tiny.toml", "--profile", "smoke", "--seed", "0"]) == 0
    chosen, results = [run for run in recipe if run.config.seed == 0], "build/results/tiny.nc"

    def always():
        text = makefile.makefile("tiny.toml", chosen, Path("runs"), [], Path("build"))
        return text.splitlines()[1].split()[1:]

    assert always() == ["all", "runs"]
    reduce = ["reduce", "tiny.toml", "--profile", "smoke", "--seed", "0"]
    assert main.main([*reduce, "--without-starved"]) == 0
    assert always() == ["all", "runs", results]
    assert main.main(reduce) == 0
    assert always() == ["all", "runs"]
    Path("tiny.toml").write_text('predictions = ["P2"]\n' + RECIPE.replace("EPOCHS", "2"))
    os.utime("tiny.toml", (later := Path(results).stat().st_mtime + 1, later))
    assert always() == ["all", "runs", results]


def test_a_run_holds_the_first_free_gpu_for_its_user(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    config = build({"machine.device": "cuda"})
    with gpus.device(config), gpus.device(config):
        assert taken == [0, 1]
    user = os.getuid()
    assert {path.name for path in tmp_path.iterdir()} == {f"signflow-{user}-gpu-{i}.lock" for i in (4, 7)}


def test_a_part_of_a_gpu_whose_name_has_slashes_is_held_too(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-x/1/0,MIG-GPU-x/2/0")
    config = build({"machine.device": "cuda"})
    with gpus.device(config), gpus.device(config):
        assert taken == [0, 1]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_a_run_on_one_is_one_line_and_does_not_wait(recipe, capsys):
    arguments = ["run", "tiny.toml", "--profile", "smoke", "--device", "cuda"]
    alone = plan.runs("tiny.toml", profile="smoke", device="cuda")[0].config.run_id
    for only, code in (([], 1), (["--only", alone], 2)):
        assert main.main([*arguments, *only]) == code
        assert capsys.readouterr().err.endswith("torch finds none; use --device cpu\n")
    assert not Path("runs").exists()


def test_a_run_that_is_not_the_recipes_is_one_line(recipe, capsys):
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--only", "x"]) == 2
    assert "--only must name runs of the recipe tiny, got x" in capsys.readouterr().err
    name = recipe[1].config.run_id  # on LRR's masks, which are not there yet
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--only", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("recipe")
def test_without_a_profile_the_first_is_planned(capsys):
    assert main.main(["plan", "tiny.toml"]) == 0
    assert capsys.readouterr().out.startswith("tiny, profile smoke\n")


def test_a_plan_beyond_its_hours_is_printed_and_refused(recipe, capsys, monkeypatch):
    speed = costs.Speed(1.0, "planted")
    monkeypatch.setattr(costs, "speeds", lambda configs, _: {costs.work(one): speed for one in configs})
    configs = list({run.config.run_id: run.config for run in recipe}.values())
    hours = costs.seconds(configs, Path("runs"), costs.speeds(configs, Path("runs"))) / 3600
    plan_it = ["plan", "tiny.toml", "--make", "--most-hours"]
    assert main.main([*plan_it, f"{hours - 0.01:.3f}"]) == 2
    told = capsys.readouterr()
    assert "6 runs are left, about" in told.out
    assert "tiny, profile smoke: training must take at most" in told.err
    assert "pass YES=1 to make" in told.err
    assert not Path("build").exists()
    assert main.main([*plan_it, f"{hours + 0.01:.3f}", "--quiet"]) == 0
    assert Path("build/deep/tiny.mk").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("all_of_them", [True, False])
def test_make_killed_in_the_middle_goes_on(recipe, tmp_path, same_run, all_of_them):
    """With its runs, or alone: then they train on, and the next call waits for them."""
    text = RECIPE.replace("EPOCHS", "12").replace('arms.imp.algorithm = "imp"\n', "")
    Path("tiny.toml").write_text(text)
    runs = plan.runs("tiny.toml", profile="smoke")
    make = ["make", "-j2", "-f", "build/deep/tiny.mk", "runs"]
    subprocess.run(_command("plan", "--make", "--quiet"), check=True, timeout=PATIENCE)
    first = subprocess.Popen(make, start_new_session=True)
    rows = {name: Path("runs") / name / "levels.csv" for name in _names(runs)}

    def trained():
        return {name: len(records.rows(path)) for name, path in rows.items()}

    # One run is over, and another has levels behind it and levels before it.
    wait_until(lambda: 3 in trained().values() and {1, 2} & set(trained().values()), "no progress", PATIENCE)
    (os.killpg if all_of_them else os.kill)(first.pid, signal.SIGKILL)
    first.wait(PATIENCE)
    done = trained()
    kept = {  # a run goes on from its last checkpoint: from the end of a level, whose files it writes again
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for name, count in done.items()
        for level in range(count if count == 3 else count - 1)
        for path in [layout.file(Path("runs") / name, "weights", level)]
    }
    assert 0 < len(kept) < 12
    subprocess.run(_command("plan", "--make", "--quiet"), check=True, timeout=PATIENCE)
    subprocess.run(make, check=True, timeout=PATIENCE)
    assert set(trained().values()) == {3}
    again = [path for path, (when, _) in kept.items() if path.stat().st_mtime_ns != when]
    assert not again, "a finished level was trained again"
    for name, count in done.items():
        if all_of_them and 0 < count < 3:
            log = (Path("runs") / name / "log.txt").read_text()
            assert re.search(rf"resuming from level ({count - 1}, step (\d+) of \2|{count}, )", log)
    subprocess.run(_command("run", "--runs", "whole", "--quiet"), check=True, timeout=PATIENCE)
    for name in rows:
        same_run(tmp_path / "runs" / name, tmp_path / "whole" / name)


def _future(error=None):
    future = Future()
    future.set_exception(error) if error else future.set_result(None)
    return future


def test_runs_start_after_their_needs_and_a_failure_takes_along_its_own_alone(recipe):
    lrr, on = recipe[0].config.run_id, recipe[1].config.run_id
    assert recipe[1].needs == (lrr,)
    started, done = [], []

    def start(unit):
        (run,) = unit
        assert set(run.needs) <= set(done)
        started.append(run.config.run_id)
        return _future(RuntimeError("it broke") if run.config.run_id == lrr else None)

    todo = schedule_units.units(recipe, Path("runs"))
    failed = execute.execute(todo, start, lambda run: done.append(run.config.run_id), Path("runs"))
    assert {name: str(error) for name, error in failed.items()} == {
        lrr: "it broke",
        on: f"it needs {lrr}, which failed",
    }
    assert sorted(done) == sorted(set(_names(recipe)) - {lrr, on})
    assert sorted(started) == sorted(set(_names(recipe)) - {on})


def test_no_more_runs_at_a_time_than_asked_for(recipe):
    going, most = [], []

    def start(run):
        future = Future()
        going.append(future)
        most.append(sum(not one.done() for one in going))
        if len(going) > 1:
            going[-2].set_result(None)
        if len(going) == 6:
            future.set_result(None)
        return future

    assert not execute.execute(
        schedule_units.units(recipe, Path("runs")), start, lambda run: None, Path("runs"), most=2
    )
    assert max(most) == 2


def test_a_failure_among_several_runs_is_told_and_the_others_run(recipe, capsys, monkeypatch):
    def break_lrr(configs, *_, **__):
        if configs[0].algorithm == "lrr":
            raise RuntimeError("it broke")

    monkeypatch.setattr(cli_recipes, "train_together", break_lrr)
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert f"4 of 6 runs failed, starting with {recipe[0].config.run_id}: it broke" in error
    assert error.count("\n") == 1


def test_what_is_told_of_the_machine_names_the_runs_of_plan_make_run_and_status(recipe, capsys):
    told = ["--set", "machine.channels_last=false"]
    runs = plan.runs("tiny.toml", profile="smoke", machine={"machine.channels_last": False})
    assert set(_names(recipe)).isdisjoint(_names(runs))
    assert main.main(_command("plan", *told, "--make", "--quiet")[3:]) == 0
    made = Path("build/deep/tiny.mk").read_text()
    first = runs[0].config.run_id
    command = next(line for line in made.splitlines() if line.endswith(f"--only {first}"))
    assert main.main(shlex.split(command)[3:]) == 0
    assert [run.state for run in status.status(Path("runs"))] == ["complete"]
    assert set(_names(runs)) - set(_names(schedule_units.unfinished(runs, Path("runs")))) == {first}
    capsys.readouterr()
    assert main.main(["run", "tiny.toml", "--profile", "smoke", *told, "--only", first]) == 0
    assert "1 of 1 runs are complete" in capsys.readouterr().out


def test_the_seeds_of_an_arm_train_as_one_stack(recipe, tmp_path, capsys, same_run):
    """By make, which finds one target for each; one that is lost is trained again to the same bits."""
    alone, command = set(_names(recipe)), ["run", "tiny.toml", "--profile", "smoke", "--stack"]
    runs = plan.runs("tiny.toml", profile="smoke", stack=True)
    assert alone.isdisjoint(_names(runs))
    units = [
        [(run.arm, run.config.seed) for run in unit] for unit in schedule_units.units(runs, Path("runs"))
    ]
    assert units == [[(arm, 0), (arm, 1)] for arm in ("lrr", "on", "imp")]
    assert main.main(_command("plan", "--stack", "--make", "--quiet")[3:]) == 0
    make = ["make", "-f", "build/deep/tiny.mk", "runs"]
    subprocess.run(make, check=True, timeout=PATIENCE)
    assert not schedule_units.units(runs, Path("runs"))
    assert main.main([*command, "--runs", "whole", "--quiet"]) == 0
    lost = runs[0].config.run_id
    for path in (Path("runs") / lost).glob("*.csv"):
        path.unlink()
    assert [len(unit) for unit in schedule_units.units(runs, Path("runs"))] == [2]
    assert main.main([*command, "--only", runs[3].config.run_id, "--quiet"]) == 0
    for name in _names(runs):
        same_run(tmp_path / "runs" / name, tmp_path / "whole" / name)
    assert main.main([*command, "--seed", "1"]) == 2
    assert "a stack must have at least two seeds, got [1]; leave --stack out" in capsys.readouterr().err


def test_a_member_that_diverges_fails_with_what_needs_it_and_the_others_are_done(recipe, capsys, monkeypatch):
    runs, made, built = plan.runs("tiny.toml", profile="smoke", stack=True), models.build, []

    def poisoned(*names, **more):
        net = made(*names, **more)
        built.append(net)
        if len(built) == 2:
            net.classifier.bias.data[0] = math.nan
        return net

    monkeypatch.setattr(models, "build", poisoned)
    assert main.main(["run", "tiny.toml", "--profile", "smoke", "--stack"]) == 1
    streams, units = capsys.readouterr(), schedule_units.units(runs, Path("runs"))
    assert [[run.arm for run in unit] for unit in units] == [["lrr", "lrr"], ["on", "on"]]
    lost = units[0][1].config.run_id
    assert f"3 of 6 runs failed, starting with {lost}: the training loss must stay finite" in streams.err
    assert f"{units[0][0].config.run_id} (lrr on digits): test accuracy" in streams.out


HOLD = """
import sys, time
from pathlib import Path
from deepexp.schedule.gpus import first_free
with first_free([Path(name) for name in sys.argv[1:]]) as index:
    print(index, flush=True)
    sys.stdin.read()
"""


def test_each_process_has_a_lock_of_its_own(tmp_path):
    """Two locks for three processes: the third has one once another process ends, however it does."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "0"), str(tmp_path / "1")]
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(3):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            held.append(process)
            if len(held) < 3:
                assert process.stdout.readline() == f"{len(held) - 1}\n"
        assert select.select([held[2].stdout], [], [], 3.0)[0] == []
        held[1].kill()
        assert held[2].stdout.readline() == "1\n"


@pytest.mark.slow
def test_two_dask_workers_train_what_one_process_trains(recipe, tmp_path, same_run, capsys):
    distributed = pytest.importorskip("distributed")
    with dask(tmp_path, 2, PATIENCE) as (address, _):
        with cluster(address), distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        arguments = ["run", "tiny.toml", "--profile", "smoke"]
        assert main.main([*arguments, "--scheduler", address]) == 0
        assert capsys.readouterr().out.count("test accuracy") == 6
    assert main.main([*arguments, "--runs", "whole", "--quiet"]) == 0
    for name in _names(recipe):
        same_run(tmp_path / "runs" / name, tmp_path / "whole" / name)


def test_an_unreachable_scheduler_is_one_line(recipe, capsys):
    pytest.importorskip("distributed")
    arguments = ["run", "tiny.toml", "--profile", "smoke", "--scheduler", "tcp://127.0.0.1:1"]
    assert main.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a Dask scheduler must answer" in error


SBATCH = """#!/bin/sh
number=$(($(ls "$QUEUE" | wc -l) + 1))
cp "$1" "$QUEUE/$number"
echo "Submitted batch job $number"
"""


def test_slurm_gets_jobs_that_wait_for_their_needs(recipe, tmp_path, capsys, monkeypatch):
    """With an sbatch that keeps what it is given; what submitit would call there trains the run."""
    submitit = pytest.importorskip("submitit")
    arguments = ["run", "tiny.toml", "--profile", "smoke", "--slurm"]
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert main.main(arguments) == 2
    assert "needs a machine with sbatch" in capsys.readouterr().err
    queue, programs = tmp_path / "queue", tmp_path / "programs"
    for made in (queue, programs):
        made.mkdir()
    for name in ("sbatch", "srun"):
        (programs / name).write_text(SBATCH)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("QUEUE", str(queue))
    assert main.main([*arguments, "slurm_partition=fast", "timeout_min=30"]) == 0
    printed = dict(line.split(": job ") for line in capsys.readouterr().out.splitlines())
    assert printed == {name: str(number) for number, name in enumerate(_names(recipe), 1)}
    for run in recipe:
        script = (queue / printed[run.config.run_id]).read_text()
        assert "#SBATCH --partition=fast" in script
        assert "#SBATCH --time=30" in script
        after = [f"#SBATCH --dependency=afterok:{printed[need]}" for need in run.needs]
        assert [line for line in script.splitlines() if "dependency=" in line] == after
    first = next(Path("runs/slurm").glob("1_submitted.pkl"))
    call = submitit.core.utils.DelayedSubmission.load(first)
    assert call.result() == [recipe[0].config.run_id]
    assert completeness.is_complete(Path("runs") / recipe[0].config.run_id, recipe[0].config)
    assert main.main([*arguments, "partition"]) == 2
    assert "--slurm must be KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("warmup", [0.0, 2.0])
@pytest.mark.parametrize(("algorithm", "cycles"), [("imp", "one"), ("wr", "one"), ("imp", "cumulative")])
def test_the_cost_counts_the_images_that_training_sees(tmp_path, algorithm, cycles, warmup):
    settings = {"algorithm": algorithm, "train.epochs": 5, "pruning.levels": 3, "data.limit": 1000}
    settings["train.cycles"] = cycles
    settings |= {"train.warmup": "before", "train.warmup_epochs": warmup} if warmup else {}
    config = build(settings)
    work = prepare(config, tmp_path)
    each = [work.total(level) - work.first(level) for level in range(4)]
    assert costs.images(config) == sum(each) * 64 + 4 * 359 // 3
    speeds = {costs.work(config): costs.Speed(1000.0, "given")}
    whole = costs.seconds([config], tmp_path, speeds)
    assert whole == pytest.approx(costs.START + costs.images(config) / 1000)
    run = tmp_path / config.run_id
    run.mkdir()
    for epochs in (0, 2):  # of level 2
        epoch = work.first(2) // work.per_epoch + epochs
        told = {"level": 2, "epoch": epoch, "images_per_second": 500.0, "seconds_left": 9}
        (run / "progress.json").write_text(json.dumps(told))
        left = (each[2] + each[3] - epochs * work.per_epoch) / sum(each)
        assert costs.seconds([config], tmp_path, speeds) == pytest.approx(
            costs.START + left * costs.images(config) / 1000
        )
    assert costs.observed([config], tmp_path)[costs.work(config)].images_per_second == 500.0
    (run / "levels.csv").write_text("level\n" + "0\n" * 4)
    assert costs.seconds([config], tmp_path, speeds) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(("model", "width", "ratio"), [("resnet8", 0.25, 3), ("resnet18", 1.0, 1)])
def test_an_assumed_gpu_launches_the_layers_of_a_stack_once(tmp_path, model, width, ratio):
    settings = {"machine.device": "cuda", "model.name": model, "model.width": width, "train.batch_size": 1024}
    configs = [build(settings), build({**settings, "machine.stack": [0, 1, 2]})]
    alone, stacked = (costs.speeds([config], tmp_path)[costs.work(config)] for config in configs)
    assert stacked.images_per_second == pytest.approx(ratio * alone.images_per_second)
    assert "assumed" in stacked.known


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(("precision", "published"), [("float32", 367), ("tf32", 938), ("bf16", 2470)])
def test_an_assumed_gpu_trains_resnet50_as_fast_as_was_published(tmp_path, precision, published):
    settings = {"data.dataset": "imagenet", "model.name": "resnet50", "train.batch_size": 256}
    machine = {"machine.device": "cuda", "machine.precision": precision, "machine.compile": True}
    config = build({**settings, **machine}, protocol="renda20")
    speed = costs.speeds([config], tmp_path)[costs.work(config)]
    assert speed.images_per_second == pytest.approx(published, rel=0.01)
    assert f"{published:,} images/s in {precision}, 0.05 ms" in speed.known


@pytest.mark.parametrize("name", ["digits", "cifar10", "cifar100"])
def test_the_cost_knows_how_many_images_there_are(name):
    from deepexp.data import dataset, described

    data = build({"data.dataset": name}).data
    try:
        loaded = dataset.load(data, 0)
    except ValueError as error:
        pytest.skip(str(error))
    assert described.counts(data) == (len(loaded.train), len(loaded.test))


@pytest.mark.parametrize(
    ("flags", "jobs_at_a_time"), [("", 1), ("k", 1), (" -j2 --jobserver-auth=3,4", 2), ("ks -j16", 16)]
)
def test_a_job_knows_how_many_run_beside_it(monkeypatch, flags, jobs_at_a_time):
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert progress.at_a_time() == jobs_at_a_time


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")])
def test_durations_read_well(seconds, text):
    assert costs.duration(seconds) == text


def test_without_any_speed_no_time_is_given(tmp_path):
    """As where the progress of every finished run is damaged."""
    runs = plan.runs("smoke", profile="smoke")
    assert progress.outlook(runs, tmp_path, {}) == f"{len(runs)} runs are left"
