"""The figures of the deep experiments draw the numbers that they are given."""

import numpy as np
import pytest
import xarray as xr

from figures import deep


def _table(seeds):
    rng = np.random.default_rng(0)
    dims, shape = ("algorithm", "seed", "level"), (3, seeds, 4)
    density = np.broadcast_to(0.8 ** np.arange(4.0), shape)
    return xr.Dataset(
        {"density": (dims, density), "test_accuracy": (dims, rng.uniform(0.5, 1, shape))},
        coords={"algorithm": ["imp", "wr", "mine"], "seed": range(seeds), "level": range(4)},
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_accuracy_by_density(seeds):
    table = _table(seeds)
    axes = deep.accuracy_by_density({"levels": table}).axes[0]
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in lines] == ["IMP", "WR", "mine"]
    for position, line in enumerate(lines):
        np.testing.assert_allclose(line.get_xdata(), 100 * 0.8 ** np.arange(4))
        np.testing.assert_allclose(line.get_ydata(), 100 * table.test_accuracy[position].mean("seed"))
    assert len(axes.lines) - len(lines) == 3 * (seeds > 1)
    assert axes.xaxis_inverted()
    assert axes.get_xscale() == "log"
    np.testing.assert_allclose(axes.get_xticks(), 100 * 0.8 ** np.arange(4))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "80", "64", "51.2"]
    left, right = np.log(axes.get_xlim())
    span = np.log(100) - np.log(51.2)
    assert left - np.log(100) == pytest.approx(0.06 * span)
    assert np.log(51.2) - right == pytest.approx(0.06 * span)


def test_of_many_densities_those_with_room_have_a_label():
    levels = 26
    density = np.broadcast_to(0.8 ** np.arange(levels), (1, 1, levels))
    dims = ("algorithm", "seed", "level")
    table = xr.Dataset(
        {"density": (dims, density), "test_accuracy": (dims, density)}, coords={"algorithm": ["imp"]}
    )
    axes = deep.accuracy_by_density({"levels": table}).axes[0]
    labelled = axes.get_xticks()
    ticks = np.union1d(labelled, axes.get_xticks(minor=True))
    np.testing.assert_allclose(ticks[::-1], 100 * density[0, 0])
    assert 5 <= len(labelled) <= 8
    np.testing.assert_allclose(labelled[:-1] / labelled[1:], 0.8**-4)
