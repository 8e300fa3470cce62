"""What a derivation returns: claims that carry their own proof, each exact and symbolic.

`statement` is what a reader sees, `residual` what is left of it after simplification (0, or false),
`proved` whether that settles it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

ROUTES: tuple[Callable[[Any], Any], ...] = (
    sp.expand,
    lambda e: sp.cancel(sp.together(e)),
    sp.trigsimp,
    sp.simplify,
)
SIGN_PREDICATES = {
    sp.Gt: "is_positive",
    sp.Ge: "is_nonnegative",
    sp.Lt: "is_negative",
    sp.Le: "is_nonpositive",
}


def simplified(expression: sp.Expr) -> sp.Expr:
    """`expression` by the cheapest route that shows that it is 0, else as simple as it gets."""
    for route in ROUTES:
        expression = route(expression)
        if expression == 0:
            break
    return expression


def _under(given: Boolean, statement: Boolean) -> Boolean:
    return statement if given is sp.true else sp.Implies(given, statement, evaluate=False)


@dataclass(frozen=True)
class Equation:
    """`quantity` equals `stated`, because `derived`, what the loss gives for it, does.

    where : meaning of the symbols in `stated` in terms of those in `derived`; given : condition under which.
    """

    quantity: sp.Expr
    stated: sp.Expr
    derived: sp.Expr
    where: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    given: Boolean = sp.true

    @property
    def statement(self) -> sp.Basic:
        return _under(self.given, sp.Eq(self.quantity, self.stated, evaluate=False))

    @cached_property
    def residual(self) -> sp.Expr:
        return simplified(sp.sympify(self.derived - self.stated).subs(self.where))

    @property
    def proved(self) -> bool:
        return bool(self.residual == 0)


@dataclass(frozen=True)
class Inequality:
    """`quantity` is > 0 (or as `relation` says), because it equals `form`, whose sign its symbols force.

    The symbols of `form` have the ranges that the claim is about; sympy finds the sign from them alone.
    """

    quantity: sp.Expr
    relation: type
    form: sp.Expr
    derived: sp.Expr
    given: Boolean = sp.true

    @property
    def statement(self) -> sp.Basic:
        return _under(self.given, self.relation(self.quantity, 0, evaluate=False))

    @cached_property
    def residual(self) -> sp.Expr:
        return simplified(sp.sympify(self.derived - self.form))

    @property
    def proved(self) -> bool:
        return bool(self.residual == 0) and getattr(self.form, SIGN_PREDICATES[self.relation]) is True


def consistent(condition: Boolean) -> bool:
    """Whether real numbers satisfy a condition made of linear relations, by Fourier-Motzkin elimination.

    Exact. (sympy's own procedure, `satisfiable` with `use_lra_theory`, calls some that are satisfied
    inconsistent.)
    """
    condition = sp.to_nnf(condition, simplify=False).replace(sp.Ne, lambda x, y: sp.Or(x < y, x > y))
    return any(_feasible(sp.And.make_args(clause)) for clause in sp.Or.make_args(sp.to_dnf(condition)))


def _feasible(relations: Iterable[Boolean]) -> bool:
    """`consistent` for relations that all have to hold."""
    rows: set[tuple[sp.Expr, bool]] = set()  # (e, strict): e > 0, or e >= 0
    for relation in relations:
        if isinstance(relation, sp.Eq):
            gap = sp.expand(relation.lhs - relation.rhs)
            rows |= {(gap, False), (-gap, False)}
        elif isinstance(relation, sp.Rel):
            strict = isinstance(relation, sp.StrictGreaterThan | sp.StrictLessThan)
            rows.add((sp.expand(relation.gts - relation.lts), strict))
        elif relation is not sp.true:
            return False
    for x in sorted({x for e, _ in rows for x in e.free_symbols}, key=str):
        slopes = {row: row[0].diff(x) for row in rows}
        if any(slope.free_symbols for slope in slopes.values()):
            raise ValueError(f"relations must be linear, but one is not in {x}; state it otherwise")
        lower, upper = ([row for row in rows if sign * slopes[row] > 0] for sign in (1, -1))
        rows = {row for row in rows if slopes[row] == 0} | {
            (sp.expand(low / slopes[low, s] - high / slopes[high, r]), s or r)
            for low, s in lower
            for high, r in upper
        }
    return all(e > 0 or (e == 0 and not strict) for e, strict in rows)


@dataclass(frozen=True)
class Implication:
    """`premise` implies `conclusion`, because no state satisfies the one and not the other; both linear."""

    premise: Boolean
    conclusion: Boolean

    @property
    def statement(self) -> sp.Basic:
        return sp.Implies(self.premise, self.conclusion, evaluate=False)

    @cached_property
    def residual(self) -> Boolean:
        """What a counterexample would have to satisfy; false where there is none."""
        against = sp.And(self.premise, sp.Not(self.conclusion))
        return against if consistent(against) else sp.false

    @property
    def proved(self) -> bool:
        return self.residual is sp.false


SymbolicClaim = Equation | Inequality | Implication
Claims = tuple[SymbolicClaim, ...]
