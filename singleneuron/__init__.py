"""The single hidden neuron: gradient flow, pruning, and where IMP, WR and LRR succeed.

Everything public is here; modules are loaded when their names are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singleneuron.exact import (
        angle_time,
        balanced_angle_cdf,
        balanced_flow,
        crossing_time,
        escape_time,
        flip_angle,
        line_flow,
        population_limit,
        universal_angle,
    )
    from singleneuron.flow import FlowResult, integrate
    from singleneuron.maps import success_map
    from singleneuron.model import (
        Line,
        Population,
        Reduced,
        Sample,
        State,
        balance,
        balanced_starts,
        gradient,
        independent_starts,
        loss,
        reduce,
    )
    from singleneuron.montecarlo import success_rate
    from singleneuron.outcome import Status
    from singleneuron.pruning import PruneResult, prune
    from singleneuron.regions import predicted

_HOME = {
    "exact": (
        "angle_time",
        "balanced_angle_cdf",
        "balanced_flow",
        "crossing_time",
        "escape_time",
        "flip_angle",
        "line_flow",
        "population_limit",
        "universal_angle",
    ),
    "flow": ("FlowResult", "integrate"),
    "maps": ("success_map",),
    "model": (
        "Line",
        "Population",
        "Reduced",
        "Sample",
        "State",
        "balance",
        "balanced_starts",
        "gradient",
        "independent_starts",
        "loss",
        "reduce",
    ),
    "montecarlo": ("success_rate",),
    "outcome": ("Status",),
    "pruning": ("PruneResult", "prune"),
    "regions": ("predicted",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE[name]}"), name)
