"""Executors that use this process, several processes or a cluster, and a limit on the amount of work."""

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
"""Upper bound on the runs per second of one core. The most measured was 108,000 (dense flows, d = 10)."""


def check_runs(runs: int) -> None:
    """Make sure that `runs` runs can finish within `machine.PATIENCE`.

    Parameters
    ----------
    runs : int
        Number of runs.

    Raises
    ------
    ValueError
        If the runs would take longer even at the speed `FASTEST`.
    """
    check_time(f"{runs:.3g} runs", runs / FASTEST)


class Here(Executor):
    """An executor that runs its work immediately, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and return a finished future; exceptions are raised at once, not stored in it."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _start_worker() -> None:
    """Let a worker exit quietly on Ctrl-C, and exit with its parent even if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Start processes that share work, and stop them at the end of the context.

    The processes are spawned. If they were forked after a parallel kernel has run, they would hang.

    Parameters
    ----------
    workers : int
        Number of processes; 1 means this process.

    Yields
    ------
    Executor
        The executor that uses the processes.
    """
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
    """Run `action` immediately, in this thread.

    Parameters
    ----------
    action : Callable[[], None]
        The work.

    Returns
    -------
    Future[None]
        A finished future, which holds any exception that the action raised.
    """
    future: Future[None] = Future()
    try:
        action()
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)
    return future


@contextlib.contextmanager
def cluster(address: str, timeout: float = 5.0) -> Iterator[Executor]:
    """Connect to the workers of a Dask scheduler.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as 'tcp://host:8786'.
    timeout : float
        Seconds within which the scheduler must answer.

    Yields
    ------
    Executor
        The executor that uses the workers.

    Raises
    ------
    ValueError
        If no scheduler answers there, or the package distributed is missing.
    """
    import asyncio
    import logging

    try:
        from distributed import Client, rpc
    except ImportError:
        raise ValueError(
            "a scheduler needs the package 'distributed'; run pip install 'signflow[cluster]'"
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
        # Ask before connecting: a client that finds no scheduler takes long to give up and logs a lot.
        try:
            asyncio.run(ask_in_time())
        except Exception as error:  # a program other than Dask may answer with anything
            reason = " ".join(str(error).split()) or "no answer in time"
            raise ValueError(
                f"a Dask scheduler must answer at '{address}', but none does ({reason}); "
                "start one with `dask scheduler`"
            ) from None
        with Client(address, timeout=timeout, set_as_default=False) as client:
            yield client.get_executor()
    finally:
        chatter.setLevel(level)
