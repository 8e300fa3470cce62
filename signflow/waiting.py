"""Tell the user what a command is waiting for, once it has been silent for a while.

A long command runs in the context `watch`. The functions that it calls announce slow work with `begin` and
`end`, whether or not a command is watched.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

LONGEST = 60.0
"""The longest pause between two lines, in seconds. They start at `patience` and double up to `LONGEST`."""

_reasons: list[str] = []
_watches: list[Silence] = []


def patience() -> float:
    """Return the seconds of silence after which a command prints what it is waiting for.

    Returns
    -------
    float
        The number in the environment variable SIGNFLOW_PATIENCE, or 5 if it is not set.
    """
    return float(os.environ.get("SIGNFLOW_PATIENCE", "5"))


def begin(reason: str) -> None:
    """Record that this process is now waiting for something.

    Parameters
    ----------
    reason : str
        The reason for waiting, such as 'compiling kernels, once, about 40 s'.
    """
    _reasons.append(reason)


def end(reason: str) -> None:
    """Record that a wait that `begin` announced is over.

    Parameters
    ----------
    reason : str
        The reason that was passed to `begin`.
    """
    with contextlib.suppress(ValueError):
        _reasons.remove(reason)


def reason() -> str:
    """Return the latest announced reason for waiting, or '' if there is none."""
    return next(iter(_reasons[-1:]), "")


def heard() -> None:
    """Record that the command has just printed something, so that its silence is measured from now on."""
    for item in _watches:
        item.restart()


class Silence:
    """Prints a line on stderr whenever the command has been silent for too long."""

    def __init__(self, label: str) -> None:
        """Set the label with which every line begins, and measure the silence from now on."""
        self.label, self._words = label, ""
        self._began = time.monotonic()
        self._done = threading.Event()
        self.restart()

    def restart(self) -> None:
        """Measure the silence from now on."""
        self._since, self._pause, self._said = time.monotonic(), patience(), ""

    def report(self, words: str) -> None:
        """Set the words to print if no reason for waiting has been announced."""
        self._words = words

    def run(self) -> None:
        """Check regularly whether a line is due, until `stop` is called."""
        while not self._done.wait(min(0.5, patience() / 4)):
            silent, why = time.monotonic() - self._since, reason()
            # After `patience`, a new reason is printed at once. Other lines are printed at growing intervals.
            if silent >= self._pause or (silent >= patience() and why and why != self._said):
                spent = f"{time.monotonic() - self._began:.0f} s so far"
                words = why or ", ".join(filter(None, [self._words or "working", spent]))
                print(f"{self.label}: {words}", file=sys.stderr, flush=True)
                self._pause, self._said = silent + min(max(silent, patience()), LONGEST), why

    def stop(self) -> None:
        """Print nothing from now on."""
        self._done.set()


@contextlib.contextmanager
def watch(label: str, quiet: bool = False) -> Iterator[Silence]:
    """Print what a block is waiting for whenever it has been silent for longer than `patience`.

    Parameters
    ----------
    label : str
        A description of the block, with which every line begins.
    quiet : bool
        Whether to print nothing at all.

    Yields
    ------
    Silence
        An object whose `report` method sets the words that tell how far the block has come.
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
