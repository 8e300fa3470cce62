"""Sign-In: planted falsehoods are not proved, and nothing is proved with another metric, loss or flow."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import sympy as sp

from singleneuron.theory import (
    Claims,
    Equation,
    Implication,
    Inequality,
    line,
    samples,
    sign_in,
    sign_in_regions,
)
from singleneuron.theory.definitions import Rate, rate
from singleneuron.theory.regions import a0, balanced_probability, norm, w1
from singleneuron.theory.sign_in import ahead, beta, beta_a, beta_w, distance, metric
from singleneuron.theory.sign_in_regions import dense_success, g_1, g_a, g_even, g_w, line_success

x, y = sp.symbols("x y", positive=True)
CONSERVED = sp.Symbol("c")


def euclidean(weight: sp.Expr, beta: sp.Expr) -> sp.Expr:
    return beta + 2 * weight**2


def narrow(weight: sp.Expr, beta: sp.Expr) -> sp.Expr:
    return sp.sqrt(beta**2 + weight**2)


@pytest.mark.parametrize(
    ("module", "name", "replacement", "derivation"),
    [
        (sign_in, "metric", narrow, sign_in.products),
        (sign_in, "metric", euclidean, sign_in.products),
        (sign_in, "metric", narrow, sign_in.conservation),
        (sign_in, "metric", narrow, sign_in.limits),
        (sign_in, "metric", euclidean, sign_in.distances),
        (sign_in, "metric", euclidean, sign_in.line_invariants),
        (sign_in_regions, "metric", narrow, sign_in_regions.common_slope),
        (sign_in_regions, "metric", narrow, sign_in_regions.limit_state),
        (sign_in_regions, "metric", narrow, sign_in_regions.balanced_rates),
        (samples, "student", lambda a, z, active=True: a**2 * z if active else 0 * z, sign_in.conservation),
        (sign_in_regions, "angle_kernel", lambda x: (1 + sp.cos(x)) / 4, sign_in_regions.dense_region_above),
    ],
)
def test_another_metric_or_loss_fails(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    replacement: Any,
    derivation: Callable[[], Claims],
) -> None:
    monkeypatch.setattr(module, name, replacement)
    assert not all(claim.proved for claim in derivation())


@pytest.mark.parametrize("derivation", [sign_in.line_invariants, sign_in.line_axes])
def test_another_flow_fails(monkeypatch: pytest.MonkeyPatch, derivation: Callable[[], Claims]) -> None:
    monkeypatch.setitem(line.FLOW, line.a, 2 * line.FLOW[line.a])
    assert not all(claim.proved for claim in derivation())


def test_only_the_law_itself_is_conserved() -> None:
    flow, a, w = sign_in.line_flow(), line.a, line.w
    quantities = {
        "the law": metric(a, beta_a) - metric(w, beta_w),
        "the balance of plain weights": a**2 - w**2,
        "the law with the betas exchanged": metric(a, beta_w) - metric(w, beta_a),
        "the law of small betas": sp.sqrt(a**2) - sp.sqrt(w**2),
    }
    proved = {name for name, q in quantities.items() if Equation(Rate(q), sp.S.Zero, rate(q, flow)).proved}
    assert proved == {"the law"}


def test_the_two_norm_does_not_take_the_place_of_the_sum() -> None:
    """For w in d = 2, with w_i' = -S(w_i) dL/dw_i, a' = -S(a) dL/da, and a dL/da = w.dL/dw."""
    a, w = sp.Symbol("a", positive=True), sp.symbols("w_1:3", positive=True)
    g = sp.symbols("g_1:3", real=True)
    flow = {a: -metric(a, beta_a) * (w[0] * g[0] + w[1] * g[1]) / a}
    flow |= {w[i]: -metric(w[i], beta_w) * g[i] for i in range(2)}
    own = metric(a, beta_a)
    law = own - metric(w[0], beta_w) - metric(w[1], beta_w)
    planted = own - metric(sp.sqrt(w[0] ** 2 + w[1] ** 2), beta_w)
    assert Equation(CONSERVED, sp.S.Zero, rate(law, flow)).proved
    assert not Equation(CONSERVED, sp.S.Zero, rate(planted, flow)).proved


def test_the_distance_is_not_convex_and_does_not_grow_with_beta() -> None:
    root = distance(sp.sqrt(x), beta)
    size = sp.Symbol("|theta|", positive=True)
    for planted, derived in (
        (4 / metric(sp.sqrt(x), beta) ** 3, root.diff(x, 2)),
        (4 * size**2 / metric(size, beta), distance(size, beta).diff(beta)),
    ):
        assert not Inequality(CONSERVED, sp.Gt, planted, derived).proved


PLANE = sp.And(norm > w1, norm > -w1, sp.Eq(a0, -norm))
FALSE = {
    "beta_a > beta_w is needed in d > 1": Implication(sp.And(PLANE, g_a < g_w), sp.Not(dense_success())),
    "company of other coordinates does not matter": Implication(
        sp.And(PLANE, g_1 < g_a, dense_success()), g_a < g_1
    ),
    "some beta learns from w < 0": Implication(sp.And(w1 < 0, g_a < g_1), line_success()),
    "equal betas suffice in d = 1": Implication(
        sp.And(sp.Eq(a0, -w1), w1 > 0, sp.Eq(g_a, g_1)), line_success()
    ),
    "a >= 0 is needed": Implication(dense_success(), a0 >= 0),
    "IMP succeeds where LRR does": Implication(
        sp.And(norm > w1, norm > -w1, g_1 <= g_w, dense_success()), line_success()
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_region_has_a_counterexample(name: str) -> None:
    assert not FALSE[name].proved
    assert FALSE[name].residual is not sp.false


@pytest.mark.parametrize(
    ("region", "given", "rate"),
    [
        (dense_success(), g_a < g_w, sp.Rational(1, 2)),
        (line_success(), g_1 < g_a, sp.Rational(1, 2)),
        (line_success(g_even), sp.Eq(g_even, g_1), sp.Rational(1, 2)),
        (line_success(), sp.true, sp.Rational(1, 4)),  # without a premise, no quadrant decides it
    ],
)
def test_a_false_rate_is_not_proved(region: sp.Basic, given: sp.Basic, rate: sp.Rational) -> None:
    assert not Equation(CONSERVED, rate, balanced_probability(region, given)).proved


def test_the_first_coordinate_does_not_share_the_slope() -> None:
    slope, along = sign_in_regions.common_slope()[:2]
    assert isinstance(slope, Equation)
    assert isinstance(along, Equation)
    shared = -sign_in_regions.S_1 * sign_in_regions.p * slope.stated
    assert not Equation(CONSERVED, shared, along.derived, along.where).proved


def test_the_path_of_another_beta_is_no_solution() -> None:
    clock, s = sp.asinh(beta / (2 * ahead)), sp.Symbol("s", real=True)
    assert not Equation(CONSERVED, 2 * beta * s, -clock.diff(ahead) * metric(ahead, beta) * ahead * s).proved


@pytest.mark.parametrize("options", [{"algorithm": "gmp"}, {"algorithm": "imp", "imp": "reset"}])
def test_success_refuses_other_names(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        sign_in_regions.success_region(**options)
