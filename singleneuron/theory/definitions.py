"""The loss of one hidden ReLU neuron and its gradient flow, from which every derivation starts."""

from collections.abc import Iterable
from typing import Any

import sympy as sp

t = sp.Symbol("t", nonnegative=True)

Flow = dict[sp.Symbol, sp.Expr]
"""The time derivative of each variable that makes up a state."""


def relu(z: sp.Expr, active: bool) -> sp.Expr:
    """Return phi(z) = max(z, 0): z on the active side z > 0, else 0."""
    return z if active else sp.Integer(0)


def student(a: sp.Expr, z: sp.Expr, active: bool = True) -> sp.Expr:
    """Return the output f = a phi(w.x) with z = w.x."""
    return a * relu(z, active)


def error(output: sp.Expr, y: sp.Expr) -> sp.Expr:
    """Return the contribution of one sample to n L: half the squared error of the output."""
    return (output - y) ** 2 / 2


def gradient_flow(loss: sp.Expr, variables: Iterable[sp.Symbol]) -> Flow:
    """Derive the flow x' = -dL/dx in Euclidean coordinates."""
    return {variable: -sp.diff(loss, variable) for variable in variables}


def rate(quantity: sp.Expr, flow: Flow) -> sp.Expr:
    """Compute the time derivative, along a flow, of a function of the state."""
    return sum((sp.diff(quantity, variable) * speed for variable, speed in flow.items()), sp.Integer(0))


class Rate(sp.Function):
    """The time derivative of the argument, for display."""

    def _sympystr(self, printer: Any) -> str:
        return f"[{printer._print(self.args[0])}]'"

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\left[{printer._print(self.args[0])}\right]'{power}"


def gaussian(z: sp.Expr) -> sp.Expr:
    """Return the density of N(0, 1) at z."""
    return sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
