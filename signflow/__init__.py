"""Code shared by singleneuron, deepexp and figures: result files, provenance, workers, command lines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signflow.results import read, write

__all__ = ["read", "write"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from signflow import results

    return getattr(results, name)
