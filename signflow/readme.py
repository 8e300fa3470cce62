"""Measured tables in the README, replaced where their section is marked."""

from __future__ import annotations

import math
from pathlib import Path

from signflow.files import atomic, read_text


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def section(path: Path, mark: str) -> tuple[str, str]:
    """The text of a file up to and from the lines that mark the begin and the end of `mark`; ValueError."""
    opening, closing = (f"<!-- {mark}: {side} -->" for side in ("begin", "end"))
    before, begin, rest = read_text(path).partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(
            f"{path} must hold the lines {opening} and {closing}; add them where the table belongs"
        )
    return before + begin, end + after


def replace_section(path: Path, mark: str, text: str) -> None:
    """Put `text` between the lines in the file that mark the begin and the end of `mark`; ValueError."""
    before, after = section(path, mark)
    with atomic(path) as temporary:
        temporary.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")
