"""Formulas: well-formed MathML that says what was typed, and text that stays text."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figures.report.formulas import condition, mathml, prose


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("a(0) > -|w_1(0)|", "a(0)>−|w1(0)|"),
        ("T(theta(t)) = T(theta(0)) +- t", "T(θ(t))=T(θ(0))±t"),
        ("(2/c) log(1 + pi c rho/(a delta))", "(2/c)log(1+πcρ/(aδ))"),
        ("P = (2 + sqrt 2)/4", "P=(2+2)/4"),
        ("s_neg << c", "sneg≪c"),
        ("sqrt(beta^2 + 4 x^2) - beta", "β2+4x2−β"),
        ("sum_i g(w_i)", "∑ig(wi)"),
        ("theta^*(t_k)", "θ∗(tk)"),
        ("1e-4 <= x", "1e-4≤x"),
    ],
)
def test_a_formula_says_what_was_typed(formula, text):
    root = ET.fromstring(mathml(formula))
    assert (root.tag, "".join(root.itertext())) == ("math", text)


def test_scripts_roots_and_prefixes_have_their_elements():
    root = ET.fromstring(mathml("-a > -w_1^2 - sqrt 2 |b|"))
    assert [child.text for child in root.findall(".//msup/msub/*")] == ["w", "1"]
    assert root.find(".//msqrt/mn").text == "2"
    signs = [mark.get("form") for mark in root.iter("mo") if mark.text == "−"]
    assert signs == ["prefix", "prefix", None]
    assert [mark.get("form") for mark in root.iter("mo") if mark.text == "|"] == ["prefix", "postfix"]


def test_a_root_covers_its_group():
    root = ET.fromstring(mathml("g(x) = sqrt(b^2 + (4 x)^2) - b"))
    assert "".join(root.find(".//msqrt").itertext()) == "b2+(4x)2"


def test_prose_sets_what_stands_between_backticks():
    assert prose("no <b>formula</b>") == "no &lt;b&gt;formula&lt;/b&gt;"
    assert prose("one ` alone & <i>") == "one ` alone &amp; &lt;i&gt;"
    html = prose("iff `a > 0`, or not")
    assert html == f'iff <span class="whole">{mathml("a > 0")},</span> or not'


def test_a_condition_names_the_start():
    assert condition("True") == "every start"
    html = f"<p>{condition('a0 > -rho and (w1 > 0 or s_neg**2 > kept)')}</p>"
    assert "".join(ET.fromstring(html).itertext()) == "a(0)>−|w(0)| and (w1(0)>0 or sneg2>|mask·w(0)|)"
    assert "θ∗(0.3)" in "".join(ET.fromstring(condition("flip_angle(0.3)")).itertext())


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_whatever_is_typed_is_well_formed(text):
    for html in (mathml(text), prose(f"x `{text}` y"), condition(text)):
        ET.fromstring(f"<p>{html}</p>")
