"""A Dask cluster of real processes on this machine, for the tests of both packages."""

import contextlib
import json
import subprocess
import sys
import time


def wait_until(condition, message, seconds):
    """Return as soon as `condition()` holds; fail with `message` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.02)


@contextlib.contextmanager
def dask(folder, workers, seconds):
    """A scheduler and worker processes of one thread on 127.0.0.1: its address, and the workers."""
    file = folder / "scheduler.json"
    with contextlib.ExitStack() as stack, (folder / "log").open("w") as log:

        def start(*arguments):
            process = subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("scheduler", "--host", "tcp://127.0.0.1", "--port", "0", "--no-dashboard",
              "--scheduler-file", str(file))  # fmt: skip
        wait_until(file.exists, "no scheduler", seconds)
        address = json.loads(file.read_text())["address"]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        yield address, [start("worker", address, *options) for _ in range(workers)]
