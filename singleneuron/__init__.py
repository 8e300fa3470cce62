"""The single hidden neuron: gradient flow, pruning, and where IMP, WR and LRR succeed.

Import all public names from here. The module that defines a name is loaded when the name is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singleneuron.algorithms import Algorithm
    from singleneuron.experiments.success_map import success_map
    from singleneuron.experiments.success_rate import success_rate
    from singleneuron.flows.integrate import integrate
    from singleneuron.flows.result import FlowResult
    from singleneuron.formulas.balanced import angle_time, balanced_flow, flip_angle, universal_angle
    from singleneuron.formulas.line import crossing_time, line_flow
    from singleneuron.formulas.population import escape_time, population_limit
    from singleneuron.formulas.rates import balanced_angle_cdf
    from singleneuron.formulas.regions import predicted
    from singleneuron.formulas.sign_in import sign_in_limit, sign_in_rate
    from singleneuron.parameterization import Parameterization
    from singleneuron.problem.data import read_sample
    from singleneuron.problem.line import Line
    from singleneuron.problem.loss import gradient, loss
    from singleneuron.problem.problem import Population, Sample
    from singleneuron.problem.reduction import reduce
    from singleneuron.problem.starts import balanced_starts, independent_starts
    from singleneuron.problem.state import Reduced, State, balance
    from singleneuron.problem.status import Status
    from singleneuron.pruning import PruneResult, prune

_HOME = {
    "algorithms": ("Algorithm",),
    "experiments.success_map": ("success_map",),
    "experiments.success_rate": ("success_rate",),
    "flows.integrate": (
        "FlowResult",
        "integrate",
    ),
    "formulas.balanced": (
        "angle_time",
        "balanced_flow",
        "flip_angle",
        "universal_angle",
    ),
    "formulas.line": (
        "crossing_time",
        "line_flow",
    ),
    "formulas.population": (
        "escape_time",
        "population_limit",
    ),
    "formulas.rates": ("balanced_angle_cdf",),
    "formulas.regions": ("predicted",),
    "formulas.sign_in": (
        "sign_in_limit",
        "sign_in_rate",
    ),
    "parameterization": ("Parameterization",),
    "problem.data": ("read_sample",),
    "problem.loss": (
        "gradient",
        "loss",
    ),
    "problem.line": ("Line",),
    "problem.problem": (
        "Population",
        "Sample",
    ),
    "problem.starts": (
        "balanced_starts",
        "independent_starts",
    ),
    "problem.state": (
        "Reduced",
        "State",
        "balance",
    ),
    "problem.reduction": ("reduce",),
    "problem.status": ("Status",),
    "pruning": (
        "PruneResult",
        "prune",
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Algorithm",
    "FlowResult",
    "Line",
    "Parameterization",
    "Population",
    "PruneResult",
    "Reduced",
    "Sample",
    "State",
    "Status",
    "angle_time",
    "balance",
    "balanced_angle_cdf",
    "balanced_flow",
    "balanced_starts",
    "crossing_time",
    "escape_time",
    "flip_angle",
    "gradient",
    "independent_starts",
    "integrate",
    "line_flow",
    "loss",
    "population_limit",
    "predicted",
    "prune",
    "read_sample",
    "reduce",
    "sign_in_limit",
    "sign_in_rate",
    "success_map",
    "success_rate",
    "universal_angle",
]


def __getattr__(name: str) -> Any:
    """Return the public object called `name`, after loading the module that defines it."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE[name]}"), name)
