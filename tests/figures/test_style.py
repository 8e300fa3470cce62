"""Saving: PDF and PNG together, the same bytes every time, nothing partial."""

import pytest
from matplotlib.figure import Figure

from figures import style


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


def test_failed_save_leaves_nothing(tmp_path):
    figure = _figure()
    figure.axes[0].set_title(r"$\nonsense{$")  # fails while it is drawn
    with pytest.raises(ValueError, match="nonsense"):
        style.save(figure, tmp_path, "line")
    assert list(tmp_path.iterdir()) == []
