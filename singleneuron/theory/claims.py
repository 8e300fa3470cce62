"""The claims that derivations return: exact symbolic statements, each with its own proof.

`statement` is the claim as a reader sees it. `residual` is 0 or false if the proof succeeds. For an equation
or an inequality, it is the derived expression minus the stated one, simplified. For an implication, it is the
condition that a counterexample must satisfy. `proved` says whether the claim is proved.
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
# Maps each relation to the sympy property which says whether an expression has this relation to 0.
SIGN_PREDICATES = {
    sp.Gt: "is_positive",
    sp.Ge: "is_nonnegative",
    sp.Lt: "is_negative",
    sp.Le: "is_nonpositive",
}


def simplified(expression: sp.Expr) -> sp.Expr:
    """Apply sympy's simplifications to `expression`, the cheapest first, and stop once the result is 0."""
    for route in ROUTES:
        expression = route(expression)
        if expression == 0:
            break
    return expression


def _under(given: Boolean, statement: Boolean) -> Boolean:
    return statement if given is sp.true else sp.Implies(given, statement, evaluate=False)


@dataclass(frozen=True)
class Equation:
    """The claim that `quantity` equals `stated`; the proof is that `derived` simplifies to `stated`.

    Attributes
    ----------
    quantity : sympy.Expr
        Left-hand side of the statement; only displayed.
    stated : sympy.Expr
        Right-hand side.
    derived : sympy.Expr
        The quantity as derived from the loss; must equal `stated`.
    where : dict of sympy.Symbol to sympy.Expr
        Definitions of symbols in `stated` in terms of the symbols in `derived`.
    given : sympy.Boolean
        Condition under which the claim holds; only displayed, not used in the proof.
    """

    quantity: sp.Expr
    stated: sp.Expr
    derived: sp.Expr
    where: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    given: Boolean = sp.true

    @property
    def statement(self) -> sp.Basic:
        """The claim as a reader sees it."""
        return _under(self.given, sp.Eq(self.quantity, self.stated, evaluate=False))

    @cached_property
    def residual(self) -> sp.Expr:
        """`derived` minus `stated`, simplified; 0 if the claim holds."""
        return simplified(sp.sympify(self.derived - self.stated).subs(self.where))

    @property
    def proved(self) -> bool:
        """Whether the residual is 0."""
        return bool(self.residual == 0)


@dataclass(frozen=True)
class Inequality:
    """The claim that `quantity` has the given `relation` to 0, because it equals `form`, whose sign is known.

    Each symbol in `form` is declared with the range that the claim assumes for it. Sympy determines the sign
    of `form` from these ranges.

    Attributes
    ----------
    quantity : sympy.Expr
        Left-hand side of the statement; only displayed.
    relation : type
        One of sympy's relations Gt, Ge, Lt and Le.
    form : sympy.Expr
        The quantity in a form whose sign follows from the ranges of its symbols.
    derived : sympy.Expr
        The quantity as derived from the loss; must equal `form`.
    given : sympy.Boolean
        Condition under which the claim holds; only displayed, not used in the proof.
    """

    quantity: sp.Expr
    relation: type
    form: sp.Expr
    derived: sp.Expr
    given: Boolean = sp.true

    @property
    def statement(self) -> sp.Basic:
        """The claim as a reader sees it."""
        return _under(self.given, self.relation(self.quantity, 0, evaluate=False))

    @cached_property
    def residual(self) -> sp.Expr:
        """`derived` minus `form`, simplified; 0 if they are equal."""
        return simplified(sp.sympify(self.derived - self.form))

    @property
    def proved(self) -> bool:
        """Whether the residual is 0 and sympy finds that `form` has the claimed sign."""
        return bool(self.residual == 0) and getattr(self.form, SIGN_PREDICATES[self.relation]) is True


def consistent(condition: Boolean) -> bool:
    """Return whether some real numbers satisfy `condition`, which must be built from linear relations.

    The test uses Fourier-Motzkin elimination, which is exact. Sympy's own procedure, `satisfiable` with
    `use_lra_theory`, calls some conditions inconsistent although real numbers satisfy them.
    """
    condition = sp.to_nnf(condition, simplify=False).replace(sp.Ne, lambda x, y: sp.Or(x < y, x > y))
    return any(_feasible(sp.And.make_args(clause)) for clause in sp.Or.make_args(sp.to_dnf(condition)))


def _feasible(relations: Iterable[Boolean]) -> bool:
    """Return whether some real numbers satisfy all `relations`."""
    rows: set[tuple[sp.Expr, bool]] = set()  # (e, strict) means e > 0 if strict, else e >= 0
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
            raise ValueError(f"relations must be linear, but one is not linear in {x}; rewrite it")
        lower, upper = ([row for row in rows if sign * slopes[row] > 0] for sign in (1, -1))
        rows = {row for row in rows if slopes[row] == 0} | {
            (sp.expand(low / slopes[low, s] - high / slopes[high, r]), s or r)
            for low, s in lower
            for high, r in upper
        }
    return all(e > 0 or (e == 0 and not strict) for e, strict in rows)


@dataclass(frozen=True)
class Implication:
    """The claim that every state which satisfies `premise` also satisfies `conclusion`.

    Attributes
    ----------
    premise, conclusion : sympy.Boolean
        Conditions built from linear relations.
    """

    premise: Boolean
    conclusion: Boolean

    @property
    def statement(self) -> sp.Basic:
        """The claim as a reader sees it."""
        return sp.Implies(self.premise, self.conclusion, evaluate=False)

    @cached_property
    def residual(self) -> Boolean:
        """The condition that a counterexample must satisfy; false if there is none."""
        against = sp.And(self.premise, sp.Not(self.conclusion))
        return against if consistent(against) else sp.false

    @property
    def proved(self) -> bool:
        """Whether there is no counterexample."""
        return self.residual is sp.false


SymbolicClaim = Equation | Inequality | Implication
Claims = tuple[SymbolicClaim, ...]
