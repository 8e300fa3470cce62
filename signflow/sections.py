"""Replace marked sections of a page, such as tables of measurements."""

from __future__ import annotations

import math
from pathlib import Path

from signflow.files import atomic, read_text


def three_digits(value: float) -> str:
    """Format a positive number with three significant digits.

    Parameters
    ----------
    value : float
        A number > 0.

    Returns
    -------
    str
        The number with commas between thousands and without an exponent.
    """
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def section(path: Path, mark: str) -> tuple[str, str]:
    """Read the text of a file before and after a marked section.

    Parameters
    ----------
    path : Path
        The file.
    mark : str
        Name of the section between the lines `<!-- mark: begin -->` and `<!-- mark: end -->`.

    Returns
    -------
    tuple[str, str]
        The text up to and including the `begin` line, and the text from the `end` line on.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not have both lines.
    """
    opening, closing = (f"<!-- {mark}: {side} -->" for side in ("begin", "end"))
    before, begin, rest = read_text(path).partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(
            f"'{path}' must hold the lines {opening} and {closing}; add them where the table belongs"
        )
    return before + begin, end + after


def replace_section(path: Path, mark: str, text: str) -> None:
    """Replace the text between the two lines that mark a section of a file.

    Parameters
    ----------
    path : Path
        The file.
    mark : str
        Name of the section.
    text : str
        The new text.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not have both lines that mark the section.
    """
    before, after = section(path, mark)
    with atomic(path) as temporary:
        temporary.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")
