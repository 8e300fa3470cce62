"""Conditions: what they mean, and that nothing else is one."""

import numpy as np
import pytest

from singleneuron.formulas import balanced
from singleneuron.verification import conditions

VALUES = {
    "a0": np.array([1.0, -1.0, 0.5]),
    "w1": np.array([0.5, 0.5, -2.0]),
    "rho": np.array([1.0, 2.0, 3.0]),
    "theta": np.array([1.0, 1.6, 2.5]),
    "d": np.full(3, 4.0),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a0 > 0", [True, False, True]),
        ("a0 > -rho and not w1 <= 0", [True, True, False]),
        ("a0 > 0 or w1 > 0 and rho > 1.5", [True, True, True]),
        ("0 < w1 < 1", [True, True, False]),
        ("a0 != 1 and w1 == 0.5", [False, True, False]),
        ("abs(a0) + 2*w1 - rho/d**2 >= 1", [True, True, False]),
        ("max(a0, w1) > min(rho, pi) - 1", [True, False, False]),
        ("sqrt(a0) > 0", [True, False, True]),  # sqrt(-1) is no number: the comparison is undefined
        ("not sqrt(a0) > 0", [False, False, False]),
        ("log(a0) != 0", [False, False, True]),
        ("not log(a0) == 0", [False, False, True]),
        ("a0 > 0 and log(a0) > -1", [True, False, True]),
        ("a0 < 0 or log(a0) > -1", [True, True, True]),
        ("theta < flip_angle(0.3)", [True, True, False]),
        ("flip_angle(-1) > pi/2 - 1e-9", [True, True, True]),
        ("True", [True, True, True]),
        (" exp(log(rho)) < 2.5 ", [True, True, False]),
    ],
)
def test_conditions_mean_what_they_say(text, expected):
    result = conditions.parse(text)(VALUES)
    assert result.dtype == bool
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log(a0) != 0", [False, True, False]),
        ("not sqrt(a0) > 0", [False, True, False]),
        ("a0 > 0 and log(a0) > -1", [False, False, False]),  # false, whatever log(-1) is
        ("a0 < 0 or log(a0) > -1", [False, False, False]),
        ("w1 > 0 and log(a0) > -1", [False, True, False]),
        ("0 < sqrt(a0) < -1", [False, True, False]),
    ],
)
def test_a_comparison_with_what_is_no_number_is_undefined(text, expected):
    assert conditions.parse(text).undefined(VALUES).tolist() == expected


def test_atoms_are_the_links_of_every_chain():
    condition = conditions.parse("0 < w1 < 1 and not abs(a0) == 1")
    assert [(atom.text, atom.point) for atom in condition.atoms] == [
        ("0 < w1", False), ("w1 < 1", False), ("abs(a0) == 1", True)
    ]  # fmt: skip
    assert condition.atoms[1](VALUES).tolist() == [-0.5, -0.5, -3.0]


def test_flip_angle_is_the_laws():
    threshold = float(balanced.flip_angle(0.3))
    for shift in (-1e-12, 1e-12):
        values = {"theta": np.array([threshold + shift])}
        assert conditions.parse("theta < flip_angle(0.3)")(values)[0] == (shift < 0)


def test_names_are_those_that_occur():
    assert conditions.parse("a0 > -rho and sin(theta) > pi").names == {"a0", "rho", "theta"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a0",
        "a0 + 1",
        "a0 and w1",
        "(a0 > 0) + 1 > 0",
        "-(a0 > 0) > 0",
        "not a0",
        "x > 0",
        "a0 = 1",
        "a0 > 0; w1 > 0",
        "a0 > 0\nw1 > 0",
        "a0 > 0\0",
        "a0 is 1",
        "a0 in (1, 2)",
        "a0 > 1e400",
        "a0 > " + "9" * 500,
        "a0 > 1j",
        "a0 > 'x'",
        "a0 > ...",
        "a0 % 2 > 0",
        "a0 @ w1 > 0",
        "a0 >> 2 > 0",
        "abs(a0, w1) > 0",
        "abs(a0=1) > 0",
        "min(*a0) > 0",
        "abs > 0",
        "a0.real > 0",
        "a0[0] > 0",
        "[a0 > 0]",
        "{a0}",
        "lambda: a0 > 0",
        "(y := a0) > 0",
        "a0 > 0 if w1 > 0 else w1 > 0",
        "[x for x in (1,)] > 0",
        "f'{a0}' > 0",
        "await a0 > 0",
        "__import__('os').system('true') > 0",
        "().__class__.__base__.__subclasses__() > 0",
        "exec('1') > 0",
        "(" * 400 + "a0 > 0" + ")" * 400,
        "-" * 900 + "1 > 0",
        "not " * 240 + "a0 > 0",
        " or ".join(["a0 > 0"] * 90),
        "a0 > 0" + " " * 2000,
        "\\x > 0",
        "0x1for a0 > 0",
    ],
)
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"\S") as refusal:
        conditions.parse(text)
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 1500


@pytest.mark.parametrize("part", ["1 / 0", "0 / 0", "log(0)", "sqrt(-1)", "9 ** 9 ** 9 ** 9"])
def test_a_part_that_no_start_can_make_a_number_is_refused(part):
    with pytest.raises(ValueError, match="must be a finite number, but is not") as refusal:
        conditions.parse(f"a0 > 0 and w1 < {part}")
    assert part in str(refusal.value)
    for never in ("a0 / 0", "a0 / (1 - 1)", "a0 / log(1)"):
        with pytest.raises(ValueError, match="must be a finite number, but divides by 0"):
            conditions.parse(f"{never} > 0")
    for large in ("1e400", "-2e300", "1" + 400 * "0"):
        with pytest.raises(ValueError, match=r"must be at most 1e\+300, but one is larger"):
            conditions.parse(f"a0 > {large}")
    assert conditions.parse("a0 > 0 and w1 < log(w1)")(VALUES).tolist() == [False] * 3


@pytest.mark.parametrize(("typo", "meant"), [("tehta", "theta"), ("w_1", "w1"), ("sqr(a0)", "sqrt")])
def test_a_misspelt_name_is_answered_by_the_nearest(typo, meant):
    with pytest.raises(ValueError, match=rf"did you mean '{meant}'\?$"):
        conditions.parse(f"{typo} > 0")
    with pytest.raises(ValueError, match=r"but has 'colour'$"):
        conditions.parse("colour > 0")


def test_parsing_runs_nothing(monkeypatch):
    for name in ("eval", "exec"):
        monkeypatch.setattr(f"builtins.{name}", lambda *_: pytest.fail("evaluated"))
    assert conditions.parse("a0 > sqrt(2) * 0.123")({"a0": np.array([1.0])})[0]
