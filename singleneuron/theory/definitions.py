"""The loss of one hidden ReLU neuron and its gradient flow, from which every derivation starts."""

from collections.abc import Iterable
from typing import Any

import sympy as sp

t = sp.Symbol("t", nonnegative=True)

Flow = dict[sp.Symbol, sp.Expr]
"""Maps each variable of a state to its time derivative."""


def relu(z: sp.Expr, active: bool) -> sp.Expr:
    """Return phi(z) = max(z, 0), which is `z` if the neuron is `active` (z > 0), else 0."""
    return z if active else sp.Integer(0)


def student(a: sp.Expr, z: sp.Expr, active: bool = True) -> sp.Expr:
    """Return the output a phi(z) of the student, where `z` is w.x and `active` says whether z > 0."""
    return a * relu(z, active)


def error(output: sp.Expr, y: sp.Expr) -> sp.Expr:
    """Return half the squared error of `output`, the contribution of one sample to n L."""
    return (output - y) ** 2 / 2


def gradient_flow(loss: sp.Expr, variables: Iterable[sp.Symbol]) -> Flow:
    """Derive the gradient flow x' = -dL/dx of each x in `variables`, which must be Euclidean coordinates."""
    return {variable: -sp.diff(loss, variable) for variable in variables}


def rate(quantity: sp.Expr, flow: Flow) -> sp.Expr:
    """Compute the time derivative of `quantity`, a function of the state, along `flow`."""
    return sum((sp.diff(quantity, variable) * speed for variable, speed in flow.items()), sp.Integer(0))


class Rate(sp.Function):
    """A time derivative that is displayed but never evaluated."""

    def _sympystr(self, printer: Any) -> str:
        return f"[{printer._print(self.args[0])}]'"

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\left[{printer._print(self.args[0])}\right]'{power}"


def gaussian(z: sp.Expr) -> sp.Expr:
    """Return the density of N(0, 1) at z."""
    return sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
