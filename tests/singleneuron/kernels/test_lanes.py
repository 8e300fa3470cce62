"""Trajectories side by side: the vectorised functions, and each trajectory as it is on its own."""

import math

import numpy as np
import pytest

from singleneuron.flows import population, population_field
from singleneuron.flows.integrate import integrate
from singleneuron.kernels import lanes
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import CERTAIN, KNOWN, SIZE, STEP
from singleneuron.kernels.lanes import LANES, arctan, exp_row
from singleneuron.problem.loss import loss
from singleneuron.problem.problem import Population
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import Reduced, start_balance
from singleneuron.problem.status import TOLERANCE, Status


@kernel()
def exp_and_arctan(x, y):
    b = np.zeros(3 * LANES)
    for first in range(0, x.size, LANES):
        b[:LANES] = x[first : first + LANES]
        exp_row(b, b.view(np.int64), 0, 1, 2, LANES)
        x[first : first + LANES] = b[LANES : 2 * LANES]
    for i in range(y.size):
        y[i] = arctan(y[i], 1.0 / (1.0 + y[i]))


def test_exp_and_arctan_are_right_to_the_last_bits():
    x = np.concatenate([np.linspace(-690, 690, 4000), np.linspace(-1, 1, 96), -np.geomspace(1e-300, 1, 128)])
    assert x.size % LANES == 0
    y = np.concatenate([np.linspace(0, 1, 4001), np.geomspace(1e-300, 1, 300)])
    e, angle = x.copy(), y.copy()
    exp_and_arctan(e, angle)
    assert np.max(np.abs(e / np.exp(x) - 1)) < 1e-15
    assert np.max(np.abs(angle - np.arctan(y)) / np.maximum(np.arctan(y), 1e-300)) < 1e-15


@kernel()
def both_fields(y, p, out, single):
    b = population.buffer()
    b[: population_field.ROWS * LANES] = 1.0
    for first in range(0, y.shape[0], LANES):
        for i in range(LANES):
            b[i], b[LANES + i] = y[first + i]
            b[population_field.ROW_SIGMA * LANES + i] = p[first + i, population_field.SIGMA]
            b[population_field.ROW_C * LANES + i] = p[first + i, population_field.C]
            b[population_field.ROW_UNIT * LANES + i] = p[first + i, population_field.UNIT]
            b[population_field.ROW_PER_UNIT * LANES + i] = 1.0 / p[first + i, population_field.UNIT]
        population_field.field_lanes(b, b.view(np.int64), LANES)
        for i in range(LANES):
            out[first + i, 0] = b[population_field.ROW_DU * LANES + i]
            out[first + i, 1] = b[population_field.ROW_DX * LANES + i]
            population_field.field(y[first + i], p[first + i], single[first + i])


def test_the_field_of_the_lanes_is_the_field():
    rng, size = np.random.default_rng(0), 64 * LANES
    c = rng.choice([-1.0, 0.0, 1.0], size) * rng.lognormal(0, 3, size)
    p = np.zeros((size, 6))
    p[:, population_field.NU], p[:, population_field.C] = 1.0, c
    p[:, population_field.SIGMA] = np.where(c < 0, 0.0, rng.choice([-1.0, 1.0], size))
    p[:, population_field.SCALE] = np.sqrt(np.maximum(0.0, -c))
    p[:, population_field.UNIT] = np.maximum(1.0, p[:, population_field.SCALE])
    y = np.column_stack([p[:, population_field.UNIT] * rng.normal(0, 3, size), rng.normal(0, 8, size)])
    y[:20] *= 1e-3
    y[20:40, 1] *= 30
    out, single = np.empty((2, size, 2))
    both_fields(y, p, out, single)
    # a rho and k(theta) cancel in part: the error is relative to them.
    unit = p[:, population_field.UNIT, None]
    size_of = np.abs(single) + unit * (1 + np.exp(2 * np.abs(y[:, :1] / unit)) * (1 + np.abs(c[:, None])))
    assert np.max(np.abs(out - single) / size_of) < 1e-14


@routine
def root_decay(b, bits, w):
    """y' = -sqrt(y), not a number where y < 0, of two unknowns in 4 rows."""
    for i in range(2 * w):
        b[2 * LANES + i] = -math.sqrt(b[i]) if b[i] >= 0.0 else math.nan


@routine
def nothing(b, bits, w, tolerance, near):
    for i in range(2 * w):
        b[2 * LANES + i] = 0.0


buffer, load, step, _, _ = lanes.build(root_decay, nothing, 2, 4)


@kernel()
def long_steps(h, t_end, y):
    """The states y at t_end, after first steps h of which some are too long."""
    b, s, times = buffer(), np.zeros(KNOWN), np.array([math.inf])
    for lane in range(LANES):
        s[STEP], s[SIZE] = h[lane], 1.0
        load(b, lane, y[lane], s, times, False, math.inf, -np.sqrt(y[lane]))
    for _ in range(100):
        step(b, b.view(np.int64), LANES, 1e-10, 1e-10, 1e-3, 0.0, t_end)
    for lane in range(LANES):
        y[lane, 0], y[lane, 1] = b[4 * LANES + lane], b[5 * LANES + lane]


def test_a_step_that_is_not_a_number_leaves_nothing_behind():
    h, y = np.geomspace(1e-3, 1e3, LANES), np.ones((LANES, 2))
    long_steps(h, 1.5, y)
    assert np.allclose(y, 0.25**2, rtol=1e-8)


def _run(run, starts, times, limit, tolerance=TOLERANCE, rtol=1e-9):
    size = starts.size
    path, end = np.empty((size, times.size, 3)), np.empty((size, 3))
    reason, time = np.empty(size, dtype=np.int64), np.empty(size)
    y, c = population.log_coordinates(starts), start_balance(starts)
    run(y, np.ones(size), c, times, rtol, rtol, limit, 2e3, tolerance, path, end, reason, time)
    return population.from_log_coordinates(path), population.from_log_coordinates(end), reason, time


@pytest.mark.parametrize("limit", [False, True])
@pytest.mark.parametrize("draw", [balanced_starts, independent_starts])
def test_a_trajectory_is_the_same_in_a_lane_and_on_its_own(draw, limit):
    starts = draw(3, 500, 1, reduced=True)
    if limit and draw is independent_starts:  # in the limit, c < 0 takes thousands of steps
        starts = starts[np.flatnonzero(start_balance(starts) > 0)]
    times = np.array([1e5]) if limit else np.array([0.0, 0.3, 2.0, 2.5, 20.0])
    ours = _run(population._in_lanes, starts, times, limit)
    single = _run(population._follow, starts, times, limit)
    assert np.array_equal(ours[2], single[2])
    # One that is certain ends with whichever step passes that time.
    decided = ours[2] != CERTAIN
    assert np.allclose(ours[3][decided], single[3][decided], rtol=1e-6)
    for one, other in zip(ours[:2], single[:2], strict=True):
        assert isinstance(one, Reduced)
        for name in ("a", "p", "q"):
            assert np.nanmax(np.abs(getattr(one, name) - getattr(other, name))) < 1e-6


@kernel()
def approached(start, c, times, path):
    y, p, later = np.empty(2), np.empty(6), np.empty(2)
    population.enter(start, 1.0, c, TOLERANCE, y, p)
    for i in range(times.size):
        population_field.approach(y, p, times[i], later)
        population_field.outer(later, p, path[i])


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("c", [-1e8, -100.0, -1.0, -1e-6, -1e-12, 0.0, 1e-12, 1e-6, 1.0, 100.0, 1e8])
def test_the_rest_of_a_flow_near_its_target_is_that_of_the_integrator(c, rtol):
    near = np.sqrt(rtol)
    off, theta = (grid.ravel() for grid in np.meshgrid([-near, 0.0, near], [near, near / 10]))
    product = 1 + off
    larger = 0.5 * (abs(c) + np.hypot(c, 2 * product))
    rho2 = larger if c < 0 else product**2 / larger
    start = np.stack([product / np.sqrt(rho2), 0.5 * np.log(rho2), np.log(np.tan(theta / 2))], axis=1)
    times = np.geomspace(0.01, 100, 9) / np.mean(larger)
    path, end = np.empty((start.shape[0], times.size, 3)), np.empty_like(start)
    reason, time = np.empty(start.shape[0], dtype=np.int64), np.empty(start.shape[0])
    options = (times, 1e-13, 1e-13, False, np.inf, TOLERANCE, path, end, reason, time)
    population._follow(start, np.ones(start.shape[0]), np.full(start.shape[0], c), *options)
    known = np.empty_like(path)
    for one, out in zip(start, known, strict=True):
        approached(one, c, times, out)
    assert np.max(np.abs(known - path) / (1 + np.abs(path))) < 0.1 * rtol


def test_fewer_trajectories_than_lanes_and_many_more():
    starts = independent_starts(3, 300, 2, reduced=True)
    times = np.array([5.0])
    every = _run(population._in_lanes, starts, times, False)[1]
    for size in (1, lanes.LANES - 1, lanes.LANES + 1):
        few = _run(population._in_lanes, starts[:size], times, False)[1]
        for name in ("a", "p", "q"):
            assert np.array_equal(getattr(few, name), getattr(every, name)[:size])


def test_a_mask_that_loses_targets_does_not_touch_the_others():
    starts = independent_starts(3, 40, 3, reduced=True)
    y, c = population.log_coordinates(starts), start_balance(starts)
    options = {"rtol": 1e-8, "atol": 1e-8, "limit": False, "t_certain": 2e3, "tolerance": TOLERANCE}
    overlap = np.ones(40)
    alone = population.population_flow(y, overlap, c, np.array([5.0]), **options)[1]
    overlap[7] = 0.6
    mixed = population.population_flow(y, overlap, c, np.array([5.0]), **options)[1]
    assert np.array_equal(np.delete(alone, 7, axis=0), np.delete(mixed, 7, axis=0))
    assert not np.array_equal(alone[7], mixed[7])


@pytest.mark.parametrize("rho", [1e3, 1e5])
def test_the_loss_falls_from_large_weights(rho):
    starts = Reduced([0.0, 1.0, -1.0], np.zeros(3), np.full(3, rho))
    path = integrate(Population(2), starts, t_eval=np.array([0, 0.01, 0.1, 1]) / rho**2 * 1e3, method="ode")
    values = loss(Population(2), path.state)
    assert np.all(np.diff(values, axis=0) <= 1e-8 * rho)
    assert np.all(values[-1] < 0.26)


def test_starts_whose_balance_has_no_digits_fail_alone():
    starts = Reduced([1.0, 1e-152, 1e200], [0.3, 0.0, 1.0], [1.0, 1e-150, 1.0])
    end = integrate(Population(2), starts, np.inf, method="ode")
    assert list(end.status) == [Status.CONVERGED, Status.FAILED, Status.FAILED]
    assert np.array_equal(end.state.a[1:], starts.a[1:])
