"""Ctrl-C ends a program with one line and exit code 130, however often it is pressed.

The first press raises KeyboardInterrupt. A second press would interrupt the clean-up, or print a traceback
while Python exits. Further presses are therefore ignored until the clean-up has taken longer than `GRACE`.
After that, a press kills the process at once. This damages no file, because every file is written completely
or not at all.
"""

import atexit
import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

GRACE = 2.0
"""Seconds that an interrupted program has to exit by itself before another Ctrl-C kills it."""

# The time at which the program began to exit. It is global, since a process has only one handler for Ctrl-C.
_ends_since: float | None = None


def heed() -> Any:
    """Install the handler for Ctrl-C, and return the previous one.

    If Ctrl-C is ignored, already has a custom handler, or is not delivered to this thread, return None and
    change nothing.
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
    """Run the `main` of a module, and handle Ctrl-C from before its imports until Python exits.

    The digest of the sources is computed before the program imports them, so that the provenance of its
    results is right even if the sources are edited while it runs.

    Parameters
    ----------
    name : str
        Name of the program, for the line printed when it is interrupted.
    module : str
        Dotted name of the module.

    Returns
    -------
    int
        The exit code.
    """
    global _ends_since
    if heed() is not None:
        # On exit, Python removes handlers, but ignored signals stay ignored. `atexit` runs functions in
        # reverse order, so this one, which is registered first, runs last.
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
