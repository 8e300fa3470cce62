"""Figures and the report, drawn from result files.

`figures.plot` draws a result from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from figures.plotting import plot

__all__ = ["plot"]


def __getattr__(name: str) -> Any:
    """Load `plot` on first use, because it imports matplotlib."""
    if name != "plot":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from figures.plotting import plot

    return plot
