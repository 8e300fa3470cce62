"""Ctrl-C ends a program once: by one line and exit code 130, whatever it does, and however often it comes.

The first one raises KeyboardInterrupt. A second one would come out of whatever the first has to put in order,
or as a traceback when Python exits: it does nothing, unless the end takes longer than `GRACE`. Then it ends
the process at once: all files are written all or nothing.
"""

import atexit
import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

GRACE = 2.0  # seconds that an interrupted program has to end by itself, whatever else is pressed

_ends_since: float | None = None  # Ctrl-C, too, is one a process


def heed() -> Any:
    """Treat Ctrl-C like that; returns the handler before.

    None, and no change, where Ctrl-C is ignored or has a handler already, or is not for this thread.
    """
    global _ends_since
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return None
    _ends_since = None
    return signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> None:
    global _ends_since
    if _ends_since is None:
        _ends_since = time.monotonic()
        raise KeyboardInterrupt
    if time.monotonic() - _ends_since > GRACE:
        os._exit(130)


def program(name: str, module: str) -> int:
    """The exit code of `module`'s `main`; Ctrl-C is heeded from before its imports to Python's own end.

    What the program computes is what stands in the sources before it reads them.
    """
    global _ends_since
    if heed() is not None:
        # The last thing at the end: Python then takes handlers away, but goes on to ignore what is ignored.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        from signflow.provenance import started_with

        started_with()
        code: int = importlib.import_module(module).main()
        _ends_since = _ends_since or time.monotonic()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        code = 130
    return code
