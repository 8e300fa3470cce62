"""Every claim follows from the loss; and none follows from another loss, or with another formula."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import sympy as sp

from singleneuron.theory import (
    Claims,
    Equation,
    Implication,
    Inequality,
    balanced,
    derivations,
    escape,
    line,
    population,
    regions,
    samples,
)

TITLES = list(derivations())


@cache
def claims(title: str) -> Claims:
    return derivations()[title]()


@pytest.mark.parametrize("title", TITLES)
def test_every_claim_is_proved(title: str) -> None:
    assert claims(title)
    for claim in claims(title):
        assert claim.proved, f"{claim.statement}: {claim.residual} is left"


@pytest.mark.parametrize("title", TITLES)
def test_every_claim_can_be_printed(title: str) -> None:
    for claim in claims(title):
        assert str(claim.statement) not in ("True", "False")
        assert sp.latex(claim.statement)


@pytest.mark.parametrize("title", TITLES)
def test_nothing_numeric_stands_in(title: str) -> None:
    for claim in claims(title):
        for part in vars(claim).values():
            if isinstance(part, sp.Basic):
                assert not part.atoms(sp.Float)


@pytest.mark.parametrize("title", TITLES)
def test_every_derivation_names_its_source(title: str) -> None:
    source = derivations()[title].__doc__ or ""
    module = __import__(derivations()[title].__module__, fromlist=["__doc__"]).__doc__ or ""
    words = " ".join((source + module).split())
    assert any(name in words for name in ("Theorem", "Lemma", "eyond the paper"))


@pytest.mark.parametrize("title", TITLES)
def test_altered_formulas_fail(title: str) -> None:
    for claim in claims(title):
        if isinstance(claim, Equation):
            assert not replace(claim, stated=claim.stated + 1).proved
        elif isinstance(claim, Inequality):
            assert not replace(claim, form=-claim.form, derived=-claim.derived).proved
            assert not replace(claim, form=2 * claim.form).proved
        else:
            nothing = Implication(claim.premise, sp.false)
            assert not nothing.proved, "the premise contradicts itself"


ZERO = sp.Integer(0)


def leaky(z: sp.Expr, active: bool) -> sp.Expr:
    return z if active else z / 10


@pytest.mark.parametrize(
    ("module", "name", "replacement", "derivation"),
    [
        (samples, "student", lambda a, z, active=True: a**2 * z if active else ZERO, samples.conservation),
        (samples, "student", lambda a, z, active=True: (a + 1) * z if active else ZERO, samples.conservation),
        (samples, "error", lambda f, y: (f - y) ** 4, samples.cell_flow),
        (samples, "error", lambda f, y: (f + y) ** 2 / 2, samples.sliding),
        (samples, "error", lambda f, y: (f + y) ** 2 / 2, samples.attraction),
        (line, "error", lambda f, y: (f - y) ** 2, line.gradient_flow_of_samples),
        (line, "relu", leaky, line.population_statistics),
        (line, "gaussian", lambda x: sp.exp(-(x**2)) / sp.sqrt(sp.pi), line.population_statistics),
        (population, "relu", leaky, population.correlation),
        (population, "error", lambda f, y: (f - y) ** 2, population.loss_from_definition),
        (population, "Z_STUDENT", population.Z_STUDENT.subs(population.theta, 0), population.correlation),
        (population, "angle_kernel", lambda x: (1 + sp.cos(x)) / 4, population.correlation),
        (population, "angle_kernel", lambda x: (1 + sp.cos(x)) / 4, population.polar_form),
        (population, "kernel_slope", lambda x: -sp.sin(x) / 4, population.kernel_shape),
        (population, "kernel_slope", lambda x: -sp.sin(x) / 4, population.critical_points),
        (balanced, "angle_kernel", lambda x: (1 + sp.cos(x)) / 4, balanced.bernoulli_equation),
        (balanced, "kernel_slope", lambda x: -sp.sin(x) / 4, balanced.angle_equation),
        (balanced, "integrating_factor", lambda x: (sp.pi - x) / sp.sin(x), balanced.bernoulli_equation),
        (balanced, "angle_time", lambda x: -4 * sp.log(sp.tan(x / 2)), balanced.flip_time),
        (escape, "kernel_slope", lambda x: -sp.sin(x) / 4, escape.leading_order),
        (escape, "kernel_slope", lambda x: -sp.sin(x) / 4, escape.death),
        (regions, "gaussian", lambda x: sp.exp(-(x**2)) / sp.sqrt(sp.pi), regions.probabilities),
    ],
)
def test_another_loss_fails(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    replacement: Any,
    derivation: Callable[[], Claims],
) -> None:
    monkeypatch.setattr(module, name, replacement)
    assert not all(claim.proved for claim in derivation())


@pytest.mark.parametrize(
    ("a_speed", "w_speed", "derivation"),
    [
        (1, 2, line.invariants),
        (1, 2, line.riccati_equation),
        (2, 2, line.balanced_solution),
        (2, 2, line.switching_line),
        (-1, -1, regions.line_region),
    ],
)
def test_another_flow_fails(
    monkeypatch: pytest.MonkeyPatch, a_speed: int, w_speed: int, derivation: Callable[[], Claims]
) -> None:
    for variable, factor in ((line.a, a_speed), (line.w, w_speed)):
        monkeypatch.setitem(line.FLOW, variable, factor * line.FLOW[variable])
    assert not all(claim.proved for claim in derivation())


@pytest.mark.parametrize(
    ("premise", "conclusion"),
    [
        (regions.success_region("lrr"), regions.success_region("imp")),
        (regions.success_region("imp", s_neg=sp.Integer(1)), regions.success_region("imp")),
        (regions.success_region("imp"), regions.success_region("imp", imp="rebalance")),
        (regions.success_region("imp"), regions.success_region("lrr")),  # were |w| < w_1
    ],
)
def test_the_nesting_is_strict(premise: sp.Basic, conclusion: sp.Basic) -> None:
    claim = Implication(premise, conclusion)
    assert not claim.proved
    assert claim.residual is not sp.false


def test_success_refuses_other_names() -> None:
    with pytest.raises(ValueError, match=r"algorithm must be one of"):
        regions.success_region("gmp")
    with pytest.raises(ValueError, match=r"and imp must be one of"):
        regions.success_region("imp", imp="reset")
