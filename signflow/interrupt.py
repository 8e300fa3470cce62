"""Ctrl-C ends a program once, with one line and exit code 130, however often it is pressed.

The first press raises KeyboardInterrupt. A second one would break into the clean-up after the first, or print
a traceback while Python exits. It therefore does nothing, unless the end takes longer than `GRACE`: then it
ends the process at once, which harms no file, since all are written completely or not at all.
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
"""Seconds that an interrupted program has to end by itself before another Ctrl-C ends it at once."""

# When the program began to end. A module's variable, since a process has but one handler of Ctrl-C.
_ends_since: float | None = None


def heed() -> Any:
    """Let Ctrl-C end the program once, and return the handler that was there before.

    Return None and change nothing where Ctrl-C is ignored, has a handler of its own, or does not come to this
    thread.
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
    """Run the `main` of a module, with Ctrl-C heeded from before its imports until Python exits.

    The sources are noted before the program imports them: provenance names those that it runs with, even if
    they are edited meanwhile.

    Parameters
    ----------
    name : str
        Name of the program, for the line that says it was interrupted.
    module : str
        Dotted name of the module.

    Returns
    -------
    int
        The exit code.
    """
    global _ends_since
    if heed() is not None:
        # Python's exit removes handlers but leaves ignored signals ignored. Registered first, this runs last.
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
