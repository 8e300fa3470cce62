"""Parse conditions on a start, such as 'a0 > -rho and w1 > 0', without running them as code.

An allowlist defines the syntax: numbers, the names in `NAMES`, pi, the functions in `FUNCTIONS`, + - * / **,
comparisons (including chains), `and`, `or`, `not` and parentheses.

A comparison with an expression that has no value, such as log(-1), is undefined, that is, neither true nor
false. The negation of an undefined condition is undefined as well. `and` and `or` follow Kleene's logic:
`false and undefined` is false, and `true or undefined` is true.
"""

import ast
import difflib
import functools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singleneuron.formulas import balanced
from singleneuron.problem.arguments import Array

NAMES = {
    "a0": "outer weight",
    "w1": "component of w along the target",
    "q": "norm of the component of w orthogonal to the target",
    "rho": "norm of w",
    "kept": "norm of mask * w, where the mask keeps the target's coordinates",
    "theta": "angle between w and the target",
    "g_a": "distance of a0 from 0: a0^2, or sqrt(beta_a^2 + 4 a0^2) - beta_a under Sign-In",
    "g_w": "distance of w from 0: rho^2, or sum_i (sqrt(beta_w^2 + 4 w_i^2) - beta_w) under Sign-In",
    "g_kept": "g_w of mask * w, where the mask keeps the target's coordinates",
    "c": "balance g_a - g_w, which the flow conserves",
    "d": "number of coordinates",
    "s_pos": "least-squares slope of the data on x > 0 (the population: 1)",
    "s_neg": "least-squares slope of the data on x < 0 (the population: 0)",
    "found": "1 if the mask of a dense level on samples keeps the target, else 0",
}
"""The names that a condition may use, and their meanings."""

FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "abs": (1, np.abs),
    "sign": (1, np.sign),
    "sqrt": (1, np.sqrt),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "tan": (1, np.tan),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "flip_angle": (1, lambda t: balanced.flip_angle(np.maximum(t, 0.0))),
}
"""The functions that a condition may call, each with its number of arguments and its implementation."""

_ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.float_power,
}
_COMPARISONS: dict[type, Callable[..., Any]] = {
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
MAX_LENGTH, MAX_NODES, LARGEST = 1000, 300, 1e300
"""Upper limits for a condition's length in characters, its number of syntax nodes, and any number in it.

These limits bound the depth of the recursion over the nodes, and keep every number finite in float64.
"""

NamedValues = Mapping[str, Any]
"""Values for the names in `NAMES`, each an array (B,) or a number."""
_Part = tuple[type, Callable[[NamedValues], Any]]
"""The type of a subexpression, and a function that evaluates it.

If the type is float, the function returns a number. If it is bool, the function returns the pair
(is true, is false). Both are False where the subexpression is undefined.
"""


@dataclass(frozen=True)
class Atom:
    """A single comparison. Called with values for its names, it returns its left side minus its right side.

    The comparison can become true, false or undefined only where this difference changes its sign or becomes
    NaN.

    Attributes
    ----------
    text : str
        The comparison.
    point : bool
        Whether the comparison is == or !=. If so, starts at which the difference is exactly 0 matter.
    """

    text: str
    point: bool
    _difference: Callable[[NamedValues], Any]

    def __call__(self, values: NamedValues) -> Array:
        """Return the left side minus the right side, (B,)."""
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(self._difference(values), _shape(values)), dtype=float)


@dataclass(frozen=True)
class Condition:
    """A condition on starts. Called with values for its names, it returns for which starts it is true.

    Attributes
    ----------
    text : str
        The condition as written.
    names : frozenset[str]
        The names from `NAMES` that the condition uses.
    atoms : tuple[Atom, ...]
        The comparisons in the condition. A chain such as 0 < q < 1 counts as two.
    """

    text: str
    names: frozenset[str]
    atoms: tuple[Atom, ...]
    _evaluate: Callable[[NamedValues], Any]

    def __call__(self, values: NamedValues) -> NDArray[np.bool_]:
        """Return for which starts the condition is true, (B,)."""
        return self._truth(values)[0]

    def undefined(self, values: NamedValues) -> NDArray[np.bool_]:
        """Return for which starts the condition is neither true nor false, (B,)."""
        true, false = self._truth(values)
        return ~(true | false)

    def _truth(self, values: NamedValues) -> tuple[NDArray[np.bool_], ...]:
        with np.errstate(all="ignore"):
            pair = self._evaluate(values)
        return tuple(np.array(np.broadcast_to(part, _shape(values)), dtype=bool) for part in pair)


def _shape(values: NamedValues) -> tuple[int, ...]:
    return np.broadcast_shapes(*(np.shape(value) for value in values.values()))


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Condition:
    """Parse a condition.

    Parameters
    ----------
    text : str
        The condition, in the syntax that the docstring of this module describes.

    Returns
    -------
    Condition
        The parsed condition.

    Raises
    ------
    ValueError
        If `text` is not a condition, or contains a number that is not finite. The message is one line.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a condition must have <= {MAX_LENGTH} characters, got {len(text)}; shorten it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"a condition must be like 'a0 > -rho and w1 > 0', got {text!r}") from None
    nodes = list(ast.walk(body))
    if len(nodes) > MAX_NODES:
        raise ValueError(f"a condition must have <= {MAX_NODES} syntax nodes, got {len(nodes)}; shorten it")
    _check_constants(body)
    kind, evaluate = _build(body)
    if kind is not bool:
        raise ValueError(f"a condition must be true or false at every start, but {text!r} is a number")
    names = frozenset(node.id for node in nodes if isinstance(node, ast.Name)) & NAMES.keys()
    atoms = tuple(atom for node in nodes if isinstance(node, ast.Compare) for atom in _atoms(node))
    return Condition(text, names, atoms, evaluate)


def _atoms(node: ast.Compare) -> list[Atom]:
    """Split a chain of comparisons into its links."""
    sides = [node.left, *node.comparators]
    return [
        Atom(
            ast.unparse(ast.Compare(left, [op], [right])),
            isinstance(op, ast.Eq | ast.NotEq),
            _apply(np.subtract, float, left, right),
        )
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
    ]


def _build(node: ast.expr) -> _Part:
    """Return the type and the evaluator of a node, or raise ValueError if its syntax is not allowed."""
    # This function is long because an allowlist in one piece shows at a glance what a condition may contain.
    match node:
        case ast.Constant(value=bool() as truth):
            return bool, lambda values: (truth, not truth)
        case ast.Constant(value=int() | float() as value) if abs(value) <= LARGEST:
            amount = float(value)
            return float, lambda values: amount
        case ast.Name(id="pi"):
            return float, lambda values: math.pi
        case ast.Name(id=name) if name in NAMES:
            return float, lambda values: values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return bool, _apply(lambda part: (part[1], part[0]), bool, operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return float, _apply(np.negative, float, operand)
        case ast.BoolOp(op=op, values=operands):
            joins = (
                (np.logical_and, np.logical_or)
                if isinstance(op, ast.And)
                else (np.logical_or, np.logical_and)
            )

            def join(*parts: Any) -> Any:
                return tuple(
                    functools.reduce(both, side)
                    for both, side in zip(joins, zip(*parts, strict=True), strict=True)
                )

            return bool, _apply(join, bool, *operands)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return float, _apply(_ARITHMETIC[type(op)], float, left, right)
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            relations = [_COMPARISONS[type(op)] for op in ops]

            def chain(*parts: Any) -> Any:
                links = list(zip(relations, parts, parts[1:], strict=False))
                known = [~(np.isnan(x) | np.isnan(y)) for _, x, y in links]
                holds = [relation(x, y) for relation, x, y in links]
                true = (held & sure for held, sure in zip(holds, known, strict=True))
                false = (~held & sure for held, sure in zip(holds, known, strict=True))
                return functools.reduce(np.logical_and, true), functools.reduce(np.logical_or, false)

            return bool, _apply(chain, float, left, *rest)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            count, function = FUNCTIONS[name]
            if len(args) == count:
                return float, _apply(function, float, *args)
    unknown = node.func if isinstance(node, ast.Call) else node
    known = (*NAMES, "pi", *FUNCTIONS)
    near = difflib.get_close_matches(unknown.id, known, 1) if isinstance(unknown, ast.Name) else []
    raise ValueError(
        f"a condition may use numbers, {', '.join(NAMES)}, pi, {', '.join(FUNCTIONS)}, + - * / **, "
        f"comparisons, and, or, not; but has {ast.unparse(node)[:60]!r}"
        + (f"; did you mean '{near[0]}'?" if near and near[0] != ast.unparse(unknown) else "")
    )


def _check_constants(body: ast.expr) -> None:
    """Raise ValueError for a number above `LARGEST`, a constant that is not finite, or a division by 0."""
    for node in ast.walk(body):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value > LARGEST:
            raise ValueError(f"numbers in a condition must be at most {LARGEST:g}, but one is larger")
        if isinstance(node, ast.BinOp | ast.Call) and not np.isfinite(_constant(node, 0.0)):
            raise ValueError(f"{ast.unparse(node)[:60]!r} must be a finite number, but is not")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _constant(node.right, 1.0) == 0:
            raise ValueError(f"{ast.unparse(node)[:60]!r} must be a finite number, but divides by 0")


def _constant(node: ast.expr, otherwise: float) -> float:
    """Return the value of a subexpression if it is the same number for every start, else `otherwise`."""
    if any(isinstance(inner, ast.Name) and inner.id in NAMES for inner in ast.walk(node)):
        return otherwise
    kind, evaluate = _build(node)
    with np.errstate(all="ignore"):
        return float(evaluate({})) if kind is float else otherwise


def _apply(function: Callable[..., Any], kind: type, *nodes: ast.expr) -> Callable[[NamedValues], Any]:
    """Return an evaluator that applies `function` to the values of nodes, which must have type `kind`."""
    parts = [_build(node) for node in nodes]
    for node, (given, _) in zip(nodes, parts, strict=True):
        if given is not kind:
            need, has = ("a condition", "a number") if kind is bool else ("a number", "a condition")
            raise ValueError(f"{ast.unparse(node)[:60]!r} must be {need} in this place, but is {has}")
    return lambda values: function(*(evaluate(values) for _, evaluate in parts))
