"""Studies on processes and on a Dask cluster: the same counts, also when some of it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import singleneuron as sn
from signflow import results
from signflow.workers import cluster, processes
from singleneuron.cli import main
from singleneuron.experiments import counting
from tests.cluster import dask, wait_until

# Own data for every run: 16 chunks of 64 runs.
STUDY = {"d": [3], "n": [20], "noise": [0.1], "learning_rate": [0.2], "level_time": [20.0], "runs": 1024}
LINE = [
    "study",
    "--d",
    "3",
    "--n",
    "20",
    "--noise",
    "0.1",
    "--learning-rate",
    "0.2",
    "--level-time",
    "20",
    "--runs",
    "1024",
]
ENDURANCE = 120.0


def _alive(pid):
    """Whether a process runs; a zombie, which nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_processes_count_the_same_and_end_with_their_work():
    before = set(_children(os.getpid()))
    study = {"d": [2, 7], "runs": 9000}
    xr.testing.assert_identical(sn.success_rate(**study, workers=2), sn.success_rate(**study, workers=1))
    with processes(2) as pool:
        workers = {pool.submit(os.getpid).result() for _ in range(4)}
    assert os.getpid() not in workers
    with processes(1) as here:
        assert here.submit(os.getpid).result() == os.getpid()

    def left():
        return [pid for pid in _children(os.getpid()) if pid not in before and _alive(pid)]

    def over():
        return len(left()) <= 1 and not any(map(_alive, workers))

    # One process may stay, the tracker of multiprocessing. A pool does not wait for its workers to be gone.
    wait_until(over, "workers outlive their pool", ENDURANCE)


def test_a_killed_worker_is_one_line_and_what_is_finished_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "count_runs", _stop_here_after_one)
    with pytest.raises(RuntimeError, match=r"a worker process died.*kept") as caught:
        sn.success_rate(d=[2], runs=20_000, workers=2, directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "study.json").exists()


def _stop_here_after_one(group, first, last):
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return [[0] * len(counting.COUNTS)] * len(group.algorithms)


def test_an_unreachable_scheduler_is_one_line_soon(tmp_path, capsys):
    pytest.importorskip("distributed")
    start = time.monotonic()
    for address in ("tcp://127.0.0.1:1", "nonsense://here", ""):
        with pytest.raises(ValueError, match="a Dask scheduler must answer") as caught, cluster(address, 1.0):
            pass
        assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20
    out = ["--out", str(tmp_path / "study.nc")]
    assert main.main([*LINE, "--scheduler", "tcp://127.0.0.1:1", *out]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cluster_counts_the_same_though_a_worker_is_killed(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    reference = sn.success_rate(**STUDY, workers=1)
    with dask(tmp_path, 2, ENDURANCE) as (address, workers), cluster(address) as executor:
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=ENDURANCE)
            assert set(client.run(os.getpid).values()) == {worker.pid for worker in workers}
        killed = []

        def kill(done, total):
            if done > total // 3 and not killed:
                workers[0].kill()
                killed.append(done)

        study = sn.success_rate(**STUDY, executor=executor, directory=tmp_path / "chunks", progress=kill)
        assert killed
        assert killed[0] < STUDY["runs"]
        assert {executor.submit(os.getpid).result() for _ in range(20)} == {workers[1].pid}
    xr.testing.assert_identical(study, reference)
    assert len(list((tmp_path / "chunks").glob("0*.json"))) == 16


@pytest.mark.slow
def test_a_study_killed_three_times_goes_on_and_leaves_no_process(tmp_path):
    out = tmp_path / "study.nc"
    program = Path(sys.executable).with_name("singleneuron")
    command = [program, *LINE, "--workers", "2", "--quiet", "--out", str(out)]
    chunks = tmp_path / "study.nc.chunks"

    def finished():
        return {path.name: path.stat().st_mtime_ns for path in chunks.glob("0*.json")}

    kept = {}
    for enough in (2, 5, 9):
        process = subprocess.Popen(command)
        wait_until(lambda enough=enough: len(finished()) >= enough, "no progress", ENDURANCE)
        children = _children(process.pid)
        process.kill()
        process.wait()
        assert len(children) >= 2
        wait_until(
            lambda pids=children: not any(map(_alive, pids)), "workers outlive their parent", ENDURANCE
        )
        now = finished()
        assert kept.items() <= now.items()  # nothing was repeated
        kept = now
    assert len(kept) < 16
    subprocess.run(command, check=True, timeout=ENDURANCE)
    assert not chunks.exists()
    reference = sn.success_rate(**STUDY, workers=1)
    written = results.read(out)
    for name, values in reference.variables.items():
        np.testing.assert_array_equal(written[name], values)
