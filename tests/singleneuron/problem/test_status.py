"""Statuses, one by one."""

import numpy as np
import pytest

from singleneuron.problem.line import Line
from singleneuron.problem.problem import Sample
from singleneuron.problem.state import State
from singleneuron.problem.status import Status, counts, line_status, population_status, sample_status, success


def test_success_failure_and_neither():
    assert np.array_equal(
        success([Status.CONVERGED, Status.TRAPPED, Status.DEAD, Status.STUCK]), [1, 1, 0, 0]
    )
    assert np.isnan(success([Status.UNDECIDED, Status.FAILED, Status.AMBIGUOUS])).all()
    assert counts([0, 0, 2, 4])["converged"] == 2
    assert sum(counts([0, 0, 2, 4]).values()) == 4
    assert list(counts([])) == [status.label for status in Status]


@pytest.mark.parametrize(
    ("state", "c", "overlap", "status"),
    [
        ((1.0, 0.0, -10.0), 0.0, 1.0, Status.CONVERGED),
        ((1.0, 0.0009, -10.0), 0.0, 1.0, Status.CONVERGED),
        ((1.0, 0.0011, -10.0), 0.0, 1.0, Status.TRAPPED),
        ((1.0, 0.0, -7.0), 0.0, 1.0, Status.TRAPPED),
        ((0.1, 1.0, 5.0), -1.0, 1.0, Status.TRAPPED),
        ((-0.1, -2.0, 5.0), 0.0, 1.0, Status.DEAD),
        ((-1.0, -3.0, 5.0), 1.0, 1.0, Status.DEAD),
        ((-0.0, -np.inf, np.inf), 0.0, 1.0, Status.DEAD),
        ((-1e-15, -34.0, 5.0), -1e-30, 1.0, Status.UNDECIDED),  # however small
        ((-1e-15, -36.0, 5.0), 1e-30, 1.0, Status.DEAD),
        ((-0.1, 1.0, 5.0), -1.0, 1.0, Status.UNDECIDED),
        ((0.0, 1.0, 5.0), -1.0, 1.0, Status.UNDECIDED),
        ((1.0, 0.0, -10.0), 0.0, 0.7, Status.STUCK),
        ((-1.0, -3.0, 5.0), 1.0, 0.7, Status.DEAD),
    ],
)
def test_population(state, c, overlap, status):
    a, log_rho, x = (np.array([value]) for value in state)
    assert population_status(a, log_rho, x, np.array([c]), np.array([overlap]))[0] == status


OPENS = Line(0.5, 1.0, 0.5, 0.2)


@pytest.mark.parametrize(
    ("a", "w", "c", "line", "status"),
    [
        (1.0, 1.0, 0.0, Line(), Status.CONVERGED),
        (-1.0, -1.0, 0.0, Line(), Status.STUCK),
        (2.0, 1.0, 3.0, Line(), Status.TRAPPED),
        (-2.0, 1.0, 3.0, Line(), Status.DEAD),
        (-1.0, 2.0, -3.0, Line(), Status.UNDECIDED),
        (2.0, -1.0, 3.0, Line(), Status.STUCK),
        (2.0, -1.0, 3.0, OPENS, Status.TRAPPED),
        (1.0, -2.0, -3.0, OPENS, Status.STUCK),
        (1.0, -1.0, 0.0, OPENS, Status.STUCK),
        (-2.0, -1.0, 3.0, OPENS, Status.STUCK),
        (1.0, 0.0, 1.0, OPENS, Status.STUCK),
        (-2.0, 1.0, 3.0, Line(0.5, -2.0, 0.5, 0.0), Status.CONVERGED),
        (2.0, 1.0, 3.0, Line(0.5, -2.0, 0.5, 0.0), Status.DEAD),
        (1.0, 2.0, -3.0, Line(0.0, 0.0, 0.5, 0.0), Status.STUCK),
        (0.01, 0.01, 0.0, Line(0.0, 0.0, 0.5, 0.0), Status.STUCK),
        (1e-9, 0.4, -0.16, Line(0.5, 0.0, 0.5, 0.0), Status.STUCK),
        (-1e-9, 0.4, -0.16, Line(0.5, 0.0, 0.5, 0.0), Status.STUCK),
    ],
)
def test_line(a, w, c, line, status):
    assert line_status(np.array([a]), np.array([w]), np.array([c]), line)[0] == status


def test_samples_are_judged_by_the_least_squares_of_their_cell():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.maximum(x[:, 0], 0) + 0.1 * rng.normal(size=200)
    problem, u = Sample(x, y), np.array([1.0, 0.0, 0.0])
    for _ in range(20):  # the least-squares solution of its own cell
        active = x @ u > 0
        u = np.linalg.lstsq(x[active], y[active], rcond=None)[0]
    states = State(
        [1.0, 2.0, 1.0, -1.0, -1.0, -1e-13, 1.0],
        [u, u / 2, u + [0, 0.1, 0], -u, [0.1, 0.2, 0.3], [1e-13, 0, 0], [1e-13, 0, 0]],
    )
    c = np.array([0.0, 3.0, 0.0, 0.0, -1.0, -1e-30, 1.0])
    converged, undecided, dead = Status.CONVERGED, Status.UNDECIDED, Status.DEAD
    expected = [converged, converged, undecided, dead, undecided, dead, undecided]  # the last one grows
    assert np.array_equal(sample_status(problem, states, c), expected)
    assert sample_status(problem, states, c, overlap=0.5)[0] == Status.STUCK
    nobody = Sample(np.array([[1.0, 0.0], [1.0, 1.0]]), np.ones(2))
    assert sample_status(nobody, State([1.0], [[-1.0, 0.0]]), np.array([0.0]))[0] == Status.DEAD
    # a = 0 where the target is silent: the flow is at rest, for good.
    silent = Sample(np.array([[-1.0, 0.0], [-1.0, 1.0], [1.0, 0.0]]), np.array([0.0, 0.0, 1.0]))
    assert sample_status(silent, State([0.0], [[-1.0, 0.0]]), np.array([-1.0]))[0] == Status.STUCK
    assert sample_status(problem, State([0.0], [u]), np.array([-1.0]))[0] == Status.UNDECIDED


def test_what_creeps_is_not_stuck_without_a_proof():
    problem, one = Sample(np.array([[-1.0, 0.0], [0.0, -1.0]]), np.array([0.0, 0.0])), np.array([-1.0])
    creeping = State([1e-4], [[-1.0, -1.0]])
    assert sample_status(problem, creeping, one)[0] == Status.STUCK
    assert sample_status(problem, creeping, one, settled=np.array([False]))[0] == Status.UNDECIDED
    assert sample_status(problem, creeping, one, settled=np.array([True]))[0] == Status.DEAD  # labels 0


def test_a_slide_is_judged_along_its_hyperplanes():
    # Samples 1 and 3 alone have least squares (1, 0) and pull w_2 up; sample 2, half active, holds it at 0.
    x = np.array([[1.0, 0.5], [0.0, 1.0], [1.0, -0.5]])
    attracting, crossed = (Sample(x, np.array([1.5, y, 0.5])) for y in (-1.0, 1.0))
    states = State([1.0, 2.0, 1.0, 1.0, 1.0], [[1, 0], [0.5, 0], [1, 1e-16], [1, 1e-6], [1.1, 0]])
    converged, undecided = Status.CONVERGED, Status.UNDECIDED
    expected = [converged, converged, converged, undecided, undecided]
    assert np.array_equal(sample_status(attracting, states, np.zeros(5)), expected)
    assert np.array_equal(sample_status(crossed, states, np.zeros(5)), [undecided] * 5)
    twice = Sample(np.concatenate([x, x]), np.tile(attracting.y, 2))  # dependent rows
    assert np.array_equal(sample_status(twice, states, np.zeros(5)), expected)
