"""The style of all figures (sizes, fonts, colours), and how they are saved."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.colors import LinearSegmentedColormap

from signflow.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Widths in inches. Text is drawn at its printed size, so figures must not be scaled afterwards.
COLUMN, PAGE = 3.25, 6.75

# The palette of Okabe and Ito, whose colours remain distinguishable for people with common colour blindness.
# Its orange and yellow are too faint for lines on white. Brown therefore replaces orange, yellow is left out,
# and the blues are darker.
BLACK, BLUE, VERMILION, GREEN = "#000000", "#005EA6", "#D55E00", "#009E73"
BROWN, SKY, PURPLE = "#7A4F00", "#3D9BD5", "#CC79A7"
GREY = "#6E6E6E"

SUCCESS, FAILURE = BLUE, VERMILION
ALGORITHM = {"imp": VERMILION, "wr": GREEN, "lrr": BLUE}
LABEL = {"imp": "IMP", "wr": "WR", "lrr": "LRR"}
SERIES = (BLUE, VERMILION, GREEN, BROWN, PURPLE, SKY)

# No series is identified by its colour alone. A line style or a marker also identifies it.
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "os^Dv"
FAILURE_LINE = (0, (2.5, 0.8))

# These colours are pale, so that lines on top stay legible. Their lightness differs, so that they also differ
# in greyscale.
SUCCESS_FILL, FAILURE_FILL = "#A9D3EE", "#FDEEE3"
FAILURE_HATCH, FAILURE_DOTS = "...", "#D9986F"
ABSENT_FILL = "#E4E4E4"
RATE = LinearSegmentedColormap.from_list("rate", [FAILURE_FILL, SUCCESS_FILL]).with_extremes(bad="white")

RC: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # matplotlib includes this font, so every machine draws the same picture
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def styled(**more: Any) -> Iterator[None]:
    """Apply `RC` on top of matplotlib's defaults, whatever the user's matplotlibrc says.

    Parameters
    ----------
    **more
        Further settings of matplotlib, which override `RC`.

    Yields
    ------
    None
        The settings apply within the context.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | more)
        yield


def save(figure: Figure, directory: str | Path, name: str) -> list[Path]:
    """Write `figure` to NAME.pdf and NAME.png in `directory` and return the paths.

    Each file is written completely or not at all. The same figure gives the same bytes, since the files
    contain neither dates nor program names.
    """
    pdf, png = (Path(directory) / f"{name}.{suffix}" for suffix in ("pdf", "png"))
    vector, raster = io.BytesIO(), io.BytesIO()
    with styled():
        none = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(vector, format="pdf", metadata=none)
        figure.savefig(raster, format="png", metadata={"Software": None})
    # Both are written before either is renamed: if the disk fills up, the old pair stays in place.
    with atomic(pdf) as first, atomic(png) as second:
        first.write_bytes(vector.getbuffer())
        second.write_bytes(raster.getbuffer())
    return [pdf, png]
