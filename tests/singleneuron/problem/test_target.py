"""Targets of your own: any unit vector, or a function of the samples; the default target is unchanged."""

from dataclasses import replace

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.problem.line import Line
from singleneuron.problem.reduction import expand, reduce, unit_overlap
from singleneuron.problem.target import unit_target

UNEVEN = np.array([0.5, -0.1, 0.0, 0.7, -0.5])
NORMED = UNEVEN / np.linalg.norm(UNEVEN)


@pytest.mark.parametrize("targets", [1, 2, 4])
def test_the_default_target_given_as_a_vector_is_the_default_problem(targets):
    default = sn.Population(4, targets)
    assert sn.Population(4, v=default.v) == default
    assert hash(sn.Population(4, v=default.v)) == hash(default)
    drawn = sn.Sample.draw(4, 20, 0.1, seed=1, targets=targets)
    given = sn.Sample.draw(4, 20, 0.1, seed=1, v=default.v)
    np.testing.assert_array_equal(given.y, drawn.y)
    np.testing.assert_array_equal(given.v, drawn.v)
    assert given.targets == targets


def test_targets_are_the_entries_that_are_not_zero():
    problem = sn.Population(5, v=NORMED)
    np.testing.assert_allclose(problem.v, NORMED, rtol=0, atol=1e-15)
    assert problem.targets == 4
    assert problem != sn.Population(5, targets=4)
    assert sn.Population(2, v=[np.cos(np.pi / 2), np.sin(np.pi / 2)]).targets == 1  # not 6e-17


def test_labels_are_those_of_the_target():
    data = sn.Sample.draw(5, 30, seed=2, v=NORMED)
    np.testing.assert_allclose(data.y, np.maximum(data.x @ NORMED, 0), rtol=0, atol=1e-14)
    assert data.x.tolist() == sn.Sample.draw(5, 30, seed=2).x.tolist()


def test_a_function_gives_the_labels():
    x = np.random.default_rng(0).standard_normal((20, 3))
    data = sn.Sample(x=x, y=lambda x: np.abs(x[:, 0]) - x[:, 2])
    np.testing.assert_array_equal(data.y, np.abs(x[:, 0]) - x[:, 2])
    noisy = sn.Sample.draw(3, 20, noise=0.5, seed=4, target=lambda x: x[:, 1] ** 2)
    clean, usual = sn.Sample.draw(3, 20, noise=0.5, seed=4), sn.Sample.draw(3, 20, seed=4)
    np.testing.assert_allclose(noisy.y - noisy.x[:, 1] ** 2, clean.y - usual.y, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"v": [1.0, 1.0, 0.0]}, r"v must be a unit vector, but \|v\| is 1.41421356; divide v by its norm"),
        ({"v": [0.0, 0.0, 0.0]}, "v must be a unit vector"),
        ({"v": [1.0, 0.0]}, r"v must have d = 3 entries, but has shape \(2,\)"),
        ({"v": [np.nan, 1.0, 0.0]}, "v must be finite"),
        ({"v": [0.6, 0.8, 0.0], "targets": 3}, "v has 2 entries that are not 0, but targets = 3; leave"),
    ],
)
def test_a_target_that_is_no_unit_vector_is_one_line(arguments, message):
    x = np.ones((4, 3))
    for make in (
        lambda: sn.Population(3, **arguments),
        lambda: sn.Sample(x, np.ones(4), **arguments),
        lambda: sn.Sample.draw(3, 5, **arguments),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("target", [lambda x: 1.0, lambda x: x, lambda x: x[:2, 0]])
def test_a_function_must_give_one_label_for_each_row(target):
    with pytest.raises(ValueError, match="one label for each row of x"):
        sn.Sample(x=np.ones((4, 3)), y=target)
    with pytest.raises(ValueError, match="one label for each row of x"):
        sn.Sample.draw(3, 5, target=target)


@pytest.mark.parametrize("v", [NORMED, [0.0, -1.0, 0.0, 0.0, 0.0], np.array([0, 1, 0, -1, 1]) / np.sqrt(3)])
def test_reducing_and_expanding_are_inverse(v):
    problem, starts = sn.Population(5, v=v), sn.independent_starts(5, 40, seed=4)
    mask = np.random.default_rng(0).random((40, 5)) < 0.6
    for kept in (None, mask):
        reduced = reduce(problem, starts, kept)
        w = starts.w if kept is None else starts.w * kept
        np.testing.assert_allclose(expand(problem, reduced, starts, kept).w, w, rtol=0, atol=1e-14)
        overlap = unit_overlap(problem, np.ones(w.shape, dtype=bool) if kept is None else kept)[0]
        part = problem.v if kept is None else problem.v * kept
        np.testing.assert_allclose(overlap, np.linalg.norm(part * np.ones(w.shape), axis=1), atol=1e-15)
        np.testing.assert_allclose(reduced.p * overlap, np.sum(w * part, axis=1), rtol=0, atol=1e-14)


def test_the_overlap_is_exactly_one_where_the_mask_keeps_the_target():
    mask = np.array([[True, True, False, True, True], [True, False, True, True, True]])
    assert (unit_overlap(sn.Population(5, v=NORMED), mask)[0] == 1).tolist() == [True, False]


@pytest.mark.parametrize("v", [NORMED, np.array([0, 1, 0, -1, 1]) / np.sqrt(3)])
def test_a_parallel_w_has_exactly_no_perpendicular_part(v):
    problem = sn.Population(5, v=v)
    w = np.array([0.1, -0.7, 1 / 3, 1e9, -1e-9])[:, None] * problem.v
    reduced = reduce(problem, sn.State(np.ones(5), w))
    assert not reduced.q.any()
    assert (np.sign(reduced.p) == [1, -1, 1, 1, -1]).all()


def test_samples_restricted_to_some_coordinates_keep_their_part_of_the_target():
    data = sn.Sample.draw(5, 12, seed=3, v=NORMED)
    part = data.restricted(np.array([1, 2, 4]))
    np.testing.assert_array_equal(part.x, data.x[:, [1, 2, 4]])
    np.testing.assert_allclose(part.v, NORMED[[1, 2, 4]] / np.linalg.norm(NORMED[[1, 2, 4]]), atol=1e-15)
    assert data.restricted(np.array([2])).v.tolist() == [1.0]
    line = data.restricted(np.array([1])).statistics
    assert isinstance(line, Line)
    assert line.s_pos.tolist() == data.statistics.s_pos[[1]].tolist()


def test_replacing_keeps_the_target():
    data = sn.Sample.draw(5, 12, seed=3, v=NORMED)
    again = replace(data, y=data.y + 1)
    np.testing.assert_array_equal(again.v, data.v)
    assert again.targets == 4
    np.testing.assert_array_equal(unit_target(data.v, 5), data.v)
