"""What the command lines share: numbers and sections for the README."""

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
