"""Where work runs on this machine: in this process, or in others; and how much of it there may be."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from figures.machine import check_time

MOST_WORKERS = 1024
FASTEST = 200_000
"""Runs a second on one core that no experiment here exceeds (measured: 108,000, dense flows, d = 10)."""


def check_runs(runs: int) -> None:
    """ValueError, in one line, for more runs than anybody waits for."""
    check_time(f"{runs:.3g} runs", runs / FASTEST)


class Here(Executor):
    """Runs what is submitted at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _start_worker() -> None:
    """End quietly with the parent, also when it was killed, and on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """`workers` processes, or this one where that is 1. Spawned: a fork after a parallel kernel hangs."""
    if workers == 1:
        yield Here()
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
