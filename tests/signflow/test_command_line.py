"""What the command lines share: paths, numbers, and sections of a page."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from signflow import command_line, sections

ROOT = Path(__file__).parents[2]


def test_rates_have_three_digits():
    assert [sections.three_digits(rate) for rate in (123456.0, 98.76, 1.0, 0.012345)] == [
        *("123,000", "98.8", "1.00", "0.0123")
    ]


def test_a_marked_section_of_the_readme_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    one, two = ("<!-- a: begin -->", "<!-- a: end -->"), ("<!-- b: begin -->", "<!-- b: end -->")
    readme.write_text("\n".join(["before", one[0], "old", one[1], two[0], "kept", two[1], ""]))
    sections.replace_section(readme, "a", "new")
    assert readme.read_text() == "\n".join(["before", one[0], "new", one[1], two[0], "kept", two[1], ""])
    with pytest.raises(
        ValueError, match="must hold the lines <!-- c: begin --> and <!-- c: end -->; add them"
    ):
        sections.replace_section(readme, "c", "new")


def test_a_path_begins_at_home_where_it_says_so(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert command_line.path("~/results/x.nc") == Path("/home/someone/results/x.nc")
    assert command_line.path("a/~b.nc") == Path("a/~b.nc")
    for text in ("", "a\0b", "~nobody-of-that-name/x.nc"):
        with pytest.raises(argparse.ArgumentTypeError, match="got") as caught:
            command_line.path(text)
        assert "\n" not in str(caught.value)


def test_whole_numbers_may_have_an_exponent():
    assert command_line.integer("1e12") == 10**12
    assert command_line.integer("12345678901234567890123456") == 12345678901234567890123456
    assert command_line.integer("-3") == -3
    for text in ("1.5", "nan", "inf", "1e999999999", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            command_line.integer(text)


def test_a_marked_file_is_looked_at_before_there_is_anything_to_write(tmp_path):
    readme = tmp_path / "README.md"
    with pytest.raises(ValueError, match=r"README\.md' must be a readable file"):
        sections.section(readme, "a")
    readme.write_bytes(b"\xef\xbb\xbf<!-- a: begin -->\r\n<!-- a: end -->\r\n")
    sections.replace_section(readme, "a", "\N{GREEK SMALL LETTER ETA}")
    assert readme.read_text("utf-8").splitlines()[1] == "\N{GREEK SMALL LETTER ETA}"
    readme.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"README\.md' must be UTF-8 text, but is invalid at byte 0"):
        sections.section(readme, "a")


def test_output_fails_for_no_character_and_no_full_disk():
    code = (
        "import sys; from signflow import command_line as command\n"
        "def action(): print('\\u03b7 \\udce9')\n"
        "sys.exit(command.finish('program', action))"
    )
    told = {"capture_output": True, "cwd": ROOT, "check": False, "timeout": 60}
    for name, text in (("ascii", b"\\u03b7 \\udce9\n"), ("utf-8", b"\xce\xb7 \\udce9\n")):
        environment = {**os.environ, "PYTHONIOENCODING": name}
        done = subprocess.run([sys.executable, "-c", code], env=environment, **told)
        assert (done.returncode, done.stdout, done.stderr) == (0, text, b"")
    if not os.path.exists("/dev/full"):
        return
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "$0" > /dev/full', code], **told)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"No space left on device" in done.stderr
