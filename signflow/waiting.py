"""Say what a command waits for, once it has been silent for a while.

A long command holds a `watch`. Code further down says what takes long between `begin` and `end`, without
knowing who listens.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

LONGEST = 60.0
"""Seconds: the pause between two lines doubles from `patience` up to this."""

_reasons: list[str] = []
_watches: list[Silence] = []


def patience() -> float:
    """Return after how many seconds of silence a command says what it waits for.

    Returns
    -------
    float
        5, or the number in the environment variable SIGNFLOW_PATIENCE.
    """
    return float(os.environ.get("SIGNFLOW_PATIENCE", "5"))


def begin(reason: str) -> None:
    """Note that this process now waits for something.

    Parameters
    ----------
    reason : str
        What it waits for, as in 'compiling kernels, once, about 40 s'.
    """
    _reasons.append(reason)


def end(reason: str) -> None:
    """Note that what `begin` announced is done.

    Parameters
    ----------
    reason : str
        The reason that `begin` got.
    """
    with contextlib.suppress(ValueError):
        _reasons.remove(reason)


def reason() -> str:
    """Return what this process waits for, or '' if nothing in particular."""
    return next(iter(_reasons[-1:]), "")


def heard() -> None:
    """Note that the command has just printed something, so that it counts as silent only from now on."""
    for item in _watches:
        item.restart()


class Silence:
    """Prints a line on stderr whenever the command has been silent for too long."""

    def __init__(self, label: str) -> None:
        """Start with a label, which every line begins with."""
        self.label, self._words = label, ""
        self._began = time.monotonic()
        self._done = threading.Event()
        self.restart()

    def restart(self) -> None:
        """Count the silence from now."""
        self._since, self._pause, self._said = time.monotonic(), patience(), ""

    def report(self, words: str) -> None:
        """Set what a line says if there is no particular reason to wait."""
        self._words = words

    def run(self) -> None:
        """Look every now and then whether a line is due, until `stop` is called."""
        while not self._done.wait(min(0.5, patience() / 4)):
            silent, why = time.monotonic() - self._since, reason()
            # A new reason is told at once, the same one only at intervals that grow.
            if silent >= self._pause or (silent >= patience() and why and why != self._said):
                spent = f"{time.monotonic() - self._began:.0f} s so far"
                words = why or ", ".join(filter(None, [self._words or "working", spent]))
                print(f"{self.label}: {words}", file=sys.stderr, flush=True)
                self._pause, self._said = silent + min(max(silent, patience()), LONGEST), why

    def stop(self) -> None:
        """Say nothing from now on."""
        self._done.set()


@contextlib.contextmanager
def watch(label: str, quiet: bool = False) -> Iterator[Silence]:
    """Say what a block waits for whenever it is silent for longer than `patience`.

    Parameters
    ----------
    label : str
        What the block does; every line begins with it.
    quiet : bool
        Whether to say nothing at all.

    Yields
    ------
    Silence
        To tell how far the block has come.
    """
    found = Silence(label)
    if quiet:
        yield found
        return
    thread = threading.Thread(target=found.run, name="watch", daemon=True)
    _watches.append(found)
    thread.start()
    try:
        yield found
    finally:
        found.stop()
        thread.join()
        _watches.remove(found)
