from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from singleneuron.theory.claims import Equation, Implication, Inequality, consistent

x, y, z = sp.symbols("x y z", real=True)
p, q = sp.symbols("p q", positive=True)


def test_an_equation_holds_or_shows_what_is_left() -> None:
    claim = Equation(x, (p + q) ** 2, p**2 + 2 * p * q + q**2)
    assert claim.proved
    assert claim.residual == 0
    wrong = replace(claim, stated=p**2 + q**2)
    assert not wrong.proved
    assert wrong.residual == 2 * p * q


def test_an_equation_may_state_other_symbols() -> None:
    assert Equation(x, y, p**2, where={y: p**2}).proved
    assert not Equation(x, y, p**2).proved


def test_an_inequality_needs_the_form_and_its_sign() -> None:
    claim = Inequality(x, sp.Gt, p * (p + q), p**2 + p * q)
    assert claim.proved
    assert not replace(claim, derived=p**2 - p * q).proved  # another expression
    assert not replace(claim, relation=sp.Lt).proved  # the other sign
    assert not replace(claim, form=p**2 - p * q, derived=p**2 - p * q).proved  # of either sign


def test_an_implication_holds_in_one_direction() -> None:
    claim = Implication(sp.And(x > 1, y > 1), x + y > 2)
    assert claim.proved
    assert claim.residual is sp.false
    converse = Implication(claim.conclusion, claim.premise)
    assert not converse.proved
    assert converse.residual.subs({x: 3, y: 0}) == sp.true


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (sp.true, True),
        (sp.false, False),
        (sp.And(x >= 0, x <= 0), True),
        (sp.And(x >= 0, x < 0), False),
        (sp.And(sp.Eq(x, y), x > 0, y < 0), False),
        (sp.And(sp.Ne(x, 0), x >= 0, x <= 0), False),
        (sp.And(x > y, y > z, z > x), False),
        (sp.And(sp.Or(x < -1, y > -x), x > 0), True),
        (sp.Not(sp.And(sp.Eq(x, y), x > 0)), True),
        # x = -1/2, y = 1, z = 0
        (sp.And(z > -y, x + y > 0, sp.Ne(y, 0), sp.Or(x <= -z, y <= -z)), True),
    ],
)
def test_consistent(condition: sp.Basic, expected: bool) -> None:
    assert consistent(condition) is expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 4, st.booleans()), min_size=1, max_size=6),
)
def test_consistent_agrees_with_linear_programming(rows: list[tuple[int, int, int, int, bool]]) -> None:
    gaps = [(a * x + b * y + c * z + k, strict) for a, b, c, k, strict in rows]
    ours = consistent(sp.And(*(gap > 0 if strict else gap >= 0 for gap, strict in gaps)))
    # The largest margin <= 1 of the strict relations.
    table = np.array(rows, dtype=float)
    margin = np.column_stack([-table[:, :3], table[:, 4]])
    bounds = [(None, None)] * 3 + [(None, 1)]
    best = linprog([0, 0, 0, -1], A_ub=margin, b_ub=table[:, 3], bounds=bounds)
    assert ours == (best.status == 0 and (-best.fun > 1e-7 or not table[:, 4].any()))


def test_consistent_refuses_what_is_not_linear() -> None:
    with pytest.raises(ValueError, match=r"linear, but one is not linear in x"):
        consistent(sp.And(x * y > 1, x > 0))
