"""Prune deep networks iteratively: by IMP, WR, LRR, or variants that transplant signs or amplitudes.

A run that is stopped and resumed gives the same results, bit for bit, as an uninterrupted run. All public
names can be imported from here; their modules are loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepexp.stored_run import StoredRun, load

_HOME = {"stored_run": ("StoredRun", "load")}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["StoredRun", "load"]


def __getattr__(name: str) -> Any:
    """Load the module of a public name and return the object of that name."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE[name]}"), name)
