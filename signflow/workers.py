"""Where work runs on this machine: in this process, or in others; and how much of it there may be."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from signflow.machine import check_time

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


def at_once(action: Callable[[], None]) -> Future[None]:
    """A future of `action`, done in this thread."""
    future: Future[None] = Future()
    try:
        action()
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)
    return future


@contextlib.contextmanager
def cluster(address: str, timeout: float = 5.0) -> Iterator[Executor]:
    """The workers of the Dask scheduler at `address`; ValueError if none answers within `timeout` seconds."""
    import asyncio
    import logging

    try:
        from distributed import Client, rpc
    except ImportError:
        raise ValueError(
            "a scheduler needs the package distributed: pip install 'signflow[cluster]'"
        ) from None

    async def ask() -> None:
        async with rpc(address, timeout=timeout) as scheduler:
            await scheduler.identity()

    async def ask_in_time() -> None:
        await asyncio.wait_for(ask(), timeout)

    chatter = logging.getLogger("distributed")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)
    try:
        # A client that finds nothing takes long to give up, and says much.
        try:
            asyncio.run(ask_in_time())
        except Exception as error:  # whatever answers there may send anything
            reason = " ".join(str(error).split()) or "no answer in time"
            raise ValueError(
                f"a Dask scheduler must answer at '{address}', but none does ({reason}); "
                "start one with `dask scheduler`"
            ) from None
        with Client(address, timeout=timeout, set_as_default=False) as client:
            yield client.get_executor()
    finally:
        chatter.setLevel(level)
