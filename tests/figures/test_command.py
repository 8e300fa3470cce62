"""What the command lines share: paths, numbers, and sections for the README."""

import argparse
from pathlib import Path

import pytest

from figures import command


def test_rates_have_three_digits():
    assert [command.three_digits(rate) for rate in (123456.0, 98.76, 1.0, 0.012345)] == [
        *("123,000", "98.8", "1.00", "0.0123")
    ]


def test_a_marked_section_of_the_readme_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    one, two = ("<!-- a: begin -->", "<!-- a: end -->"), ("<!-- b: begin -->", "<!-- b: end -->")
    readme.write_text("\n".join(["before", one[0], "old", one[1], two[0], "kept", two[1], ""]))
    command.replace_section(readme, "a", "new")
    assert readme.read_text() == "\n".join(["before", one[0], "new", one[1], two[0], "kept", two[1], ""])
    with pytest.raises(
        ValueError, match="must hold the lines <!-- c: begin --> and <!-- c: end -->; add them"
    ):
        command.replace_section(readme, "c", "new")


def test_a_path_begins_at_home_where_it_says_so(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert command.path("~/results/x.nc") == Path("/home/someone/results/x.nc")
    assert command.path("a/~b.nc") == Path("a/~b.nc")
    for text in ("", "a\0b", "~nobody-of-that-name/x.nc"):
        with pytest.raises(argparse.ArgumentTypeError, match="got") as caught:
            command.path(text)
        assert "\n" not in str(caught.value)


def test_whole_numbers_may_have_an_exponent():
    assert command.integer("1e12") == 10**12
    assert command.integer("12345678901234567890123456") == 12345678901234567890123456
    assert command.integer("-3") == -3
    for text in ("1.5", "nan", "inf", "1e999999999", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            command.integer(text)
