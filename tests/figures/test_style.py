"""Saving: PDF and PNG together, the same bytes every time, nothing partial."""

import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from figures import style
from figures.deep import curves


def _figure() -> Figure:
    figure = Figure(figsize=(style.COLUMN, 2))
    figure.subplots().plot([0, 1], [1, 0], label="$a(0)$")
    return figure


def test_save_writes_both_formats_with_the_same_bytes_every_time(tmp_path):
    for folder in ("first", "second"):
        paths = style.save(_figure(), tmp_path / folder, "line")
        assert [path.name for path in paths] == ["line.pdf", "line.png"]
    for suffix, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        first, second = (tmp_path / folder / f"line.{suffix}" for folder in ("first", "second"))
        assert first.read_bytes().startswith(magic)
        assert first.read_bytes() == second.read_bytes()


def _luminance(colour):
    """The relative luminance of WCAG 2, section 1.4.11."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_contrast_measures_what_wcag_says():
    """WebAIM's worked examples: grey #767676 is the lightest with 4.54 on white, and red has 4.00."""
    for colour, contrast in (("#000000", 21.0), ("#767676", 4.54), ("#FF0000", 4.0), ("#FFFFFF", 1.0)):
        assert 1.05 / (_luminance(colour) + 0.05) == pytest.approx(contrast, abs=5e-3)


@pytest.mark.parametrize(
    "colour",
    sorted({*style.SERIES, *style.ALGORITHM.values(), style.GREY, style.BLACK, style.SUCCESS, style.FAILURE}),
)
def test_every_series_stands_out_from_white(colour):
    assert 1.05 / (_luminance(colour) + 0.05) >= 3


def test_every_trajectory_stands_out_from_the_cells_that_it_crosses():
    """A success stays among the cells of success; a failure may begin in any map of failures."""
    for line, fill in ((style.SUCCESS, style.SUCCESS_FILL), (style.FAILURE, style.FAILURE_FILL)):
        assert (_luminance(fill) + 0.05) / (_luminance(line) + 0.05) >= 3


def test_every_colour_of_a_deep_arm_is_one_of_the_palette():
    palette = {*style.SERIES, *style.ALGORITHM.values(), style.BLACK}
    assert {look.colour for look in curves.LOOKS.values()} <= palette


def test_failed_save_leaves_nothing(tmp_path):
    figure = _figure()
    figure.axes[0].set_title(r"$\nonsense{$")  # fails while it is drawn
    with pytest.raises(ValueError, match="nonsense"):
        style.save(figure, tmp_path, "line")
    assert list(tmp_path.iterdir()) == []


MATPLOTLIBRC = """
text.usetex: True
axes.grid: True
axes.spines.top: False
axes.facecolor: pink
savefig.transparent: True
savefig.bbox: tight
path.simplify_threshold: 1
lines.linestyle: --
"""


def test_a_users_matplotlibrc_changes_no_picture(tmp_path):
    code = """
import sys
from matplotlib.figure import Figure
from figures import style

@style.styled()
def draw():
    figure = Figure(figsize=(style.COLUMN, 2))
    figure.subplots().plot([0, 1, 2], [1, 0, 1])
    return figure

style.save(draw(), sys.argv[1], "line")
"""
    (tmp_path / "rc").write_text(MATPLOTLIBRC)
    for name, more in (("plain", {}), ("user", {"MATPLOTLIBRC": str(tmp_path / "rc")})):
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        subprocess.run(command, env=os.environ | more, cwd=tmp_path, timeout=100, check=True)
    for file in ("line.pdf", "line.png"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "user" / file).read_bytes()


def test_a_full_disk_leaves_the_pictures_that_were_there(tmp_path):
    code = """
import resource, sys
from matplotlib.figure import Figure
from figures import style
from signflow import command_line as command
figure = Figure(figsize=(3, 3))
figure.subplots().plot(range(1000), [hash((i, 1)) % 1000 for i in range(1000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
raise SystemExit(command.finish("lab", lambda: style.save(figure, sys.argv[1], "line") and None))
"""
    paths = style.save(_figure(), tmp_path, "line")
    before = [path.read_bytes() for path in paths]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("': File too large\n")
    assert done.stderr.count("\n") == 1
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)
