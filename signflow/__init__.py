"""Code shared by singleneuron, deepexp and figures: result files, provenance, workers, command lines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signflow.results import read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    if name != "read":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from signflow.results import read

    return read
