"""The Runge-Kutta pair on problems with known solutions."""

import math

import numpy as np
import pytest

from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED, build
from singleneuron.kernels.dop853_step import (
    STAGES,
    A,
    attempt,
    error_norm,
    interpolate,
    prepare_dense,
    workspace,
)


@routine
def circle(y, p, out):
    out[0] = -p[0] * y[1]
    out[1] = p[0] * y[0]


@routine
def circle_gauge(y, p, g):
    g[0] = y[0] - p[1]  # event: the first coordinate falls to p[1]
    g[1] = abs(y[1] - 1.0) - p[2]  # target: the second one within p[2] of 1
    g[2] = 1.0


@routine
def burst(y, p, out):
    out[0] = y[0] * y[0]


@routine
def never(y, p, g):
    g[0], g[1], g[2] = 1.0, 1.0, -1.0


solve_circle = build(circle, circle_gauge)
solve_burst = build(burst, never)


@kernel()
def follow_circle(y, p, times, rtol, limit, t_certain, path):
    return solve_circle(y, p, 0.0, times, 0, path, rtol, rtol, limit, t_certain, math.nan, workspace(2))


@kernel()
def follow_burst(y, times, path):
    return solve_burst(
        y, np.empty(0), 0.0, times, 0, path, 1e-8, 1e-8, False, math.inf, math.nan, workspace(1)
    )


@kernel()
def one_step(y, p, h, y1, fractions, between):
    k, _, _, dense, scratch, _ = workspace(2)
    circle(y, p, k[0])
    attempt(circle, p, y, h, k, y1)
    error = error_norm(y, y1, h, k, 1.0, 1.0)
    prepare_dense(circle, p, y, y1, h, k, dense, scratch)
    for i in range(fractions.size):
        interpolate(y, dense, fractions[i], between[i])
    return error


def around(times, *, rtol=1e-10, rate=1.0, event=-2.0, within=-1.0, limit=False, t_certain=math.inf):
    times = np.asarray(times, dtype=float)
    y, path = np.array([1.0, 0.0]), np.full((times.size, 2), np.nan)
    p = np.array([rate, event, within])
    return (y, path, *follow_circle(y, p, times, rtol, limit, t_certain, path))


def test_tableau_is_consistent():
    nodes = A.sum(axis=1)
    weights = A[STAGES, :STAGES]
    for power in range(8):
        assert weights @ nodes[:STAGES] ** power == pytest.approx(1 / (power + 1), abs=1e-14)


def test_a_step_has_order_8_and_its_dense_output_order_7():
    fractions = np.linspace(0.1, 0.9, 9)
    errors, between_errors, estimates = [], [], []
    for h in (0.8, 0.4):
        y1, between = np.empty(2), np.empty((9, 2))
        estimates.append(one_step(np.array([1.0, 0.0]), np.array([1.0]), h, y1, fractions, between))
        errors.append(np.hypot(y1[0] - math.cos(h), y1[1] - math.sin(h)))
        exact = np.column_stack([np.cos(h * fractions), np.sin(h * fractions)])
        between_errors.append(np.max(np.abs(between - exact)))
    assert 8.5 < math.log2(errors[0] / errors[1]) < 10.5
    assert 7.2 < math.log2(between_errors[0] / between_errors[1]) < 9
    assert 7 < math.log2(estimates[0] / estimates[1]) < 9.5


@pytest.mark.parametrize("rtol", [1e-6, 1e-9, 1e-12])
def test_error_is_of_the_size_asked_for(rtol):
    times = np.linspace(0, 20, 201)
    y, path, reason, t, filled, _ = around(times, rtol=rtol)
    exact = np.column_stack([np.cos(times), np.sin(times)])
    assert (reason, t, filled) == (END, 20.0, 201)
    assert np.array_equal(path[-1], y)
    assert np.max(np.abs(path - exact)) < 100 * rtol + 1e-14


def test_event_is_located():
    rtol = 1e-10
    y, path, reason, t, filled, _ = around([0.5, 5.0], rtol=rtol, event=0.5)
    assert reason == EVENT
    assert t == pytest.approx(math.pi / 3, abs=10 * rtol)
    assert y[0] == pytest.approx(0.5, abs=10 * rtol)
    assert filled == 1
    assert path[0, 0] == pytest.approx(math.cos(0.5), abs=1e-9)


def test_target_is_entered_and_left():
    # Within 0.1 of y = 1 between asin(0.9) and pi - asin(0.9).
    entered = math.asin(0.9)
    assert around([1.5], within=0.1)[5] == pytest.approx(entered, abs=10 * 1e-10)
    assert math.isnan(around([3.0], within=0.1)[5])
    y, _, reason, t, _, since = around([100.0], within=0.1, limit=True)
    assert reason == CONVERGED
    assert since == pytest.approx(entered, abs=10 * 1e-10)
    assert t >= since
    assert y[1] == pytest.approx(math.sin(t), abs=1e-8)
    assert abs(y[1] - 1) <= 0.1


def test_a_certain_limit_ends_the_trajectory_after_its_time():
    _, _, reason, t, _, _ = around([100.0], limit=True, t_certain=4.0)
    assert reason == CERTAIN
    assert 4.0 <= t < 10.0


def test_blow_up_is_a_failure_and_not_a_result():
    y, path = np.array([1.0]), np.full((1, 1), np.nan)
    reason, t, filled, _ = follow_burst(y, np.array([2.0]), path)  # y = 1/(1 - t)
    assert reason == FAILED
    assert t == pytest.approx(1.0, abs=1e-6)
    assert filled == 0
    assert np.isfinite(y[0])
