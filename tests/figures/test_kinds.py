"""Any result is drawn by what it holds, from the command line and from Python."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import figures
import signflow
import singleneuron as sn
from figures import cli, kinds, plotting, style
from figures.deep import experiments
from figures.neuron import rates
from signflow.command_line import opener
from singleneuron.cli import main

LAPTOP = Path(kinds.__file__).parent / "gallery/laptop.nc"


@functools.cache
def _map(**more):
    return sn.success_map(d=2, resolution=5, **more)


@functools.cache
def _study(**more):
    return sn.success_rate(**{"d": (2, 3), "algorithms": ("imp", "lrr"), "runs": 20, "workers": 1} | more)


@pytest.fixture
def path(tmp_path):
    line = "trajectory --d 2 --a 1 --w -0.5 0.5 --t-end 9 --points 7 --quiet --out"
    assert main.main([*line.split(), str(tmp_path / "path.nc")]) == 0
    return tmp_path / "path.nc"


def _fits(figure):
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01
    return figure


def _shown(axes):
    (mesh,) = (item for item in axes.collections if isinstance(item, QuadMesh))
    return np.ma.filled(mesh.get_array(), np.nan).reshape(5, 5)  # rows are w0


def test_a_map_has_a_panel_for_each_algorithm():
    data = _map()
    panels = figures.plot(data)
    assert panels.shape == (2,)
    for axes, name in zip(panels, ("imp", "lrr"), strict=True):
        np.testing.assert_array_equal(_shown(axes), data.success.sel(algorithm=name).transpose("w0", "a0"))
    one = figures.plot(data.sel(algorithm="lrr"))
    assert one.get_title() == "LRR, $d = 2$"
    np.testing.assert_array_equal(_shown(one), data.success.sel(algorithm="lrr").transpose("w0", "a0"))
    _fits(kinds.figure_of(data))


def test_cells_without_a_start_and_without_a_verdict_are_told_apart():
    data = _map(balanced=True).isel(algorithm=[1]).copy(deep=True)
    data.success[0, 2, 2] = np.nan
    data.status[0, 2, 2] = sn.Status.UNDECIDED
    figure = kinds.figure_of(data)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "no such start" in labels
    assert "no verdict (1 cell)" in labels


def test_a_study_shows_every_rate_with_its_interval():
    data = _study(noise=(0.1, 1.0), n=10, level_time=9.0)
    panels = figures.plot(data)
    assert [axes.get_title("left") for axes in panels] == ["(a) noise 0.1", "(b) noise 1"]
    for axes, noise in zip(panels, (0.1, 1.0), strict=True):
        for container, name in zip(axes.containers, ("imp", "lrr"), strict=True):
            shown = data.sel(noise=noise, algorithm=name)
            line, _, (bars,) = container
            np.testing.assert_array_equal(line.get_xdata(orig=False), shown.d)
            np.testing.assert_array_equal(line.get_ydata(orig=False), shown.rate)
            ends = [segment[:, 1] for segment in bars.get_segments()]
            np.testing.assert_allclose(ends, np.transpose([shown.ci_low, shown.ci_high]), rtol=0, atol=1e-12)
    _fits(kinds.figure_of(data))


def test_values_without_a_number_stand_beside_the_others():
    data = _study(d=2, n=(10, np.inf), level_time=9.0)
    axes = figures.plot(data)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "population"]
    alone = figures.plot(_study(d=2))
    assert [label.get_text() for label in alone.get_xticklabels()] == ["IMP", "LRR"]
    assert [float(line.get_ydata()[0]) for line, *_ in alone.containers] == _study(d=2).rate.values.tolist()


def test_a_study_of_too_many_factors_says_what_to_select():
    data = _study(d=2)
    for name, values in (("noise", range(rates.MOST_PANELS + 1)), ("scale", (1.0, 2.0)), ("targets", (1, 2))):
        data = xr.concat([data.assign_coords({name: value}) for value in values], name)
    with pytest.raises(
        ValueError, match="at most 9 panels, but with noise on the x-axis, n, scale and targets need 12"
    ) as caught:
        kinds.figure_of(xr.concat([data.assign_coords(n=n) for n in (1, 2, 3)], "n"))
    assert "\n" not in str(caught.value)


def test_a_trajectory_is_drawn_in_the_plane_and_against_time(path):
    data = signflow.read(path)
    plane, weights, losses = figures.plot(path)
    (line,) = (line for line in plane.lines if len(line.get_xdata()) == 7)
    np.testing.assert_array_equal(line.get_xydata(), np.transpose([data.a, data.w[:, 0]]))
    assert line.get_color() == style.SUCCESS
    drawn = [line.get_ydata() for line in weights.lines if len(line.get_xdata()) == 7]
    np.testing.assert_array_equal(drawn, [data.a, data.w[:, 0], np.abs(data.w[:, 1])])
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), data.loss)
    _fits(kinds.figure_of(data))


def test_axes_of_ones_own_are_drawn_on(path):
    mine = Figure()
    first, second = mine.subplots(1, 2)
    assert list(figures.plot(_map(), ax=[first, second])) == [first, second]
    assert mine.axes == [first, second]
    lines = len(second.lines)
    assert figures.plot(path, ax=second) is second  # a path on top of a map
    assert len(second.lines) > lines
    with pytest.raises(ValueError, match="must hold 2 axes for this map, got 1"):
        figures.plot(_map(), ax=first)
    with pytest.raises(ValueError, match="leave out ax"):
        figures.plot({"map": _map()}, ax=first)


def test_tables_without_a_figure_of_their_own_are_drawn_below_one_another():
    panels = figures.plot({"one": _map(), "other": _study(), "odd": xr.Dataset({"x": 1.0})})
    assert len(panels) == 2 + 1
    _fits(kinds.figure_of({"one": _map(), "other": _study()}))


def test_the_result_of_a_recipe_is_known_under_any_name(tmp_path, capsys):
    (tmp_path / "mine.nc").write_bytes(LAPTOP.read_bytes())
    data = signflow.read(tmp_path / "mine.nc")
    assert kinds._layout(data) is experiments.study
    assert cli.main(["draw", str(tmp_path / "mine.nc"), "--out", str(tmp_path)]) == 0
    *drawn, hint = capsys.readouterr().out.splitlines()
    assert drawn == [str(tmp_path / f"mine.{end}") for end in ("pdf", "png")]
    assert hint == f"see it: {opener()} {tmp_path / 'mine.png'}"


def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys):
    for data in (xr.Dataset({"x": 1.0}), {"one": xr.Dataset({"x": 1.0})}, {"one": xr.Dataset()}):
        with pytest.raises(ValueError, match=r"must (be|hold) a map, a study") as caught:
            figures.plot(data)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="must be a Dataset, tables by name or the path"):
        figures.plot(3)
    signflow.write(xr.Dataset({"x": 1.0}), tmp_path / "x.nc", config={})
    (tmp_path / "folder").mkdir()
    for name in ("x.nc", "folder/x.nc"):
        (tmp_path / name).write_bytes((tmp_path / "x.nc").read_bytes())
    both = [str(tmp_path / "x.nc"), str(tmp_path / "folder/x.nc")]
    for given, message in ((both[:1], "must be a map"), (both, "must have different names")):
        assert cli.main(["draw", *given, "--out", str(tmp_path / "new")]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_result_of_other_sources_is_drawn_with_a_warning(tmp_path, monkeypatch, caplog):
    file = signflow.write(_map(), tmp_path / "map.nc")
    figures.plot(file)
    assert caplog.messages == []
    monkeypatch.setattr(plotting, "source_digest", lambda: "0" * 64)
    assert len(figures.plot(file)) == 2
    assert cli.main(["draw", str(file), "--out", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "map.png").is_file()
    assert len(caplog.messages) == 2
    assert all("was made by different sources" in line and "\n" not in line for line in caplog.messages)


def test_results_are_drawn_as_they_arrive(tmp_path, monkeypatch, capsys):
    """`figures draw -` reads what `singleneuron preset` prints, and draws before the next line comes."""
    file = signflow.write(_map(), tmp_path / "map.nc")

    def lines():
        yield f"{file} (up to date)\n"
        assert (tmp_path / "map.png").is_file()
        yield f"draw it: figures draw {file}\n"

    monkeypatch.setattr("sys.stdin", lines())
    assert cli.main(["draw", "-", "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_file_from_before_the_labels_is_drawn(tmp_path):
    old = _map().drop_attrs().assign_attrs(d=2, imp="keep", status_codes="")
    file = signflow.write(old, tmp_path / "old.nc", config={"d": 2})
    assert len(figures.plot(file)) == 2


def test_a_table_of_text_draws_as_the_binary_file_does(tmp_path):
    for data in (_map(), _study()):
        files = [signflow.write(data, tmp_path / f"result{end}") for end in (".nc", ".csv")]
        first, second = (np.atleast_1d(figures.plot(file)) for file in files)
        assert [axes.get_title("left") for axes in first] == [axes.get_title("left") for axes in second]


def test_the_list_names_every_kind_and_figure(tmp_path, capsys):
    signflow.write(_map(), tmp_path / "fig1b.nc")
    signflow.write(_map(), tmp_path / "mine.nc")
    assert cli.main(["draw", "--list", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = {words[-1 if len(words) == 1 else 1 if words[0] == "*" else 0] for words in map(str.split, lines)}
    assert {*kinds.NAMED, "map", "study", "trajectory", "all", "studies"} <= named
    assert [line.split()[1] for line in lines if line.startswith("  * ")] == ["fig1b"]
    assert lines[-2:] == [
        f"your own results: {tmp_path / 'mine.nc'}",
        f"draw one: figures draw {tmp_path / 'mine.nc'}",
    ]
    assert cli.main(["draw"]) == 2
    assert "figures draw --list" in capsys.readouterr().err


def test_the_note_names_settings_that_are_no_defaults():
    data = _map(n=10, noise=0.5, level_time=3.0, seed=4)
    config = json.loads(data.attrs["config"])
    assert (config["n"], config["level_time"]) == (10, 3.0)
    figure = kinds.figure_of(data)
    note = " ".join(figure.legends[0].get_title().get_text().split())
    assert note == "$n = 10$ samples; noise 0.5; time per level 3; seed 4"


@pytest.fixture(autouse=True)
def _closed():
    yield
    from matplotlib import pyplot

    pyplot.close("all")
