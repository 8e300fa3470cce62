"""Sign-In in one coordinate: every case of the switching line, scipy as reference, and the success region."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from singleneuron.flows import line as plain
from singleneuron.flows.sign_in.line import line_flow
from singleneuron.kernels.dop853 import FAILED
from singleneuron.parameterization import distance, metric
from singleneuron.problem.line import Line
from singleneuron.problem.status import Status, line_status, success

STICKS = Line(0.5, 1.0, 0.5, -0.2)
OPENS = Line(0.5, 1.0, 0.4, 0.2)
LINES = (Line(), STICKS, OPENS, Line(0.3, -0.8, 0.6, 0.5), Line(0.5, 0.7, 0.0, 0.0))
BETAS = ((1.0, 1.0), (2.0, 0.5), (0.1, 3.0))
LIMIT = {"limit": True, "t_certain": 2e3}


def balance(a, w, beta):
    return distance(a, beta[0]) - distance(w, beta[1])


def run(a, w, line, beta, t, rtol=1e-10, limit=False, t_certain=np.inf, c=None, flow=line_flow):
    a, w, t = (np.atleast_1d(np.asarray(value, dtype=float)) for value in (a, w, t))
    c = balance(a, w, beta) if c is None else c
    return line_flow(
        a, w, c, line, *beta, t, rtol=rtol, atol=rtol, limit=limit, t_certain=t_certain, tolerance=1e-3
    )


def outcome(a, w, line, beta, t=1e5):
    """Status of the limit."""
    a, w = np.broadcast_arrays(np.atleast_1d(a).astype(float), w)
    _, end, reason, _ = run(a, w, line, beta, t, rtol=1e-8, **LIMIT)
    assert not np.any(reason == FAILED)
    return line_status(end[:, 0], end[:, 1], balance(a, w, beta), line)


def reference(a, w, line, beta, t):
    """scipy in (a, w) with the event w = 0, one side at a time; the next side by the sign of w' there."""
    side, y, now = np.sign(w), np.array([a, w]), 0.0
    while side != 0 and now < t:
        slope, target = line[:2] if side > 0 else line[2:]

        def field(_, y, slope=slope, target=target):
            pull = slope * (target - y[0] * y[1])
            return [metric(y[0], beta[0]) * pull * y[1], metric(y[1], beta[1]) * pull * y[0]]

        def hits(_, y):
            return y[1]

        hits.terminal = True
        hits.direction = -side
        done = solve_ivp(field, (now, t), y, "DOP853", rtol=1e-12, atol=1e-13, events=hits)
        y, now = done.y[:, -1], done.t[-1]
        if done.status == 1:
            y[1] = 0.0
            slope, target = line[2:] if side > 0 else line[:2]
            side = -side if slope * y[0] * target * -side > 0 else 0
    return y


# Every way to meet the switching line, or not to: start, line, the sides on which it ends, its status.
CASES = {
    "sticks": ((-1.0, 0.4), STICKS, 0, Status.STUCK),
    "sticks, as the other side is empty": ((-1.0, 0.4), Line(0.5, 1.0, 0.0, 0.0), 0, Status.STUCK),
    "sticks, as the other side is flat": ((-1.0, 0.4), Line(), 0, Status.STUCK),
    "crosses down": ((-1.0, 0.4), OPENS, -1, Status.STUCK),
    "crosses down from a > 0": ((1.0, 0.4), Line(0.5, -0.7, 0.5, -0.3), -1, Status.STUCK),
    "crosses up": ((1.0, -0.4), OPENS, 1, Status.CONVERGED),
    "crosses up from a < 0": ((-1.0, -0.4), Line(0.5, -0.7, 0.5, -0.3), 1, Status.CONVERGED),
    "sticks from below": ((1.0, -0.4), Line(0.5, -0.7, 0.5, 0.3), 0, Status.STUCK),
    "is never reached": ((1.0, -0.4), STICKS, -1, Status.STUCK),
    "is never reached on a flat side": ((-1.0, -0.4), Line(), -1, Status.STUCK),
    "a passes 0 above": ((-0.4, 1.0), STICKS, 1, Status.CONVERGED),
    "a passes 0 below": ((0.4, -1.0), OPENS, -1, Status.STUCK),
    "a leaves 0": ((0.0, 0.5), STICKS, 1, Status.CONVERGED),
    "nothing to learn": ((0.8, 0.5), Line(0.5, 0.0, 0.5, 0.2), 1, Status.STUCK),
}


@pytest.mark.parametrize("case", CASES)
def test_switching_line(case):
    (a, w), line, side, status = CASES[case]
    beta, times = (1.5, 0.8), [0.1, 1.0, 5.0, 60.0]
    path, end, _, _ = run(a, w, line, beta, times)
    for t, y in zip(times, path[0], strict=True):
        np.testing.assert_allclose(y, reference(a, w, line, beta, t), rtol=0, atol=1e-8)
    assert np.sign(end[0, 1]) == side
    if side == 0:
        assert distance(end[0, 0], beta[0]) == pytest.approx(balance(a, w, beta), abs=1e-14)
    assert outcome(a, w, line, beta) == status


def test_random_starts_agree_with_scipy():
    rng = np.random.default_rng(0)
    for beta in BETAS:
        for line in LINES:
            a, w, t = rng.normal(size=4), rng.normal(size=4), rng.uniform(0, 15, size=4)
            for i in range(4):
                end = run(a[i], w[i], line, beta, t[i])[1][0]
                np.testing.assert_allclose(end, reference(a[i], w[i], line, beta, t[i]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("beta", [(1.0, 1.0), (1e-6, 1e-6), (1e3, 1e-3)])
def test_the_elapsed_time_is_an_integral_along_the_conserved_curve(beta):
    # c < 0, and `a` passes 0: t is the integral of dp_a/p_a', with w given by c.
    rtol, a, w, times = 1e-10, -0.3, 1.1, np.linspace(0.2, 3.0, 5) / max(1.0, beta[0])
    c = balance(a, w, beta)

    def slowness(p):
        outer = beta[0] / 2 * np.sinh(2 * p)
        g = distance(outer, beta[0]) - c
        inner = np.sqrt(g * (g + 2 * beta[1])) / 2
        return 1 / (0.5 * inner * (1 - outer * inner))

    for y, t in zip(run(a, w, Line(), beta, times, rtol)[0][0], times, strict=True):
        first, last = np.arcsinh(2 * np.array([a, y[0]]) / beta[0]) / 2
        elapsed = quad(slowness, first, last, epsabs=0, epsrel=1e-12, limit=200)[0]
        assert abs(elapsed - t) * metric(y[0], beta[0]) / slowness(last) <= 100 * rtol


@pytest.mark.parametrize("beta", BETAS)
def test_balance_is_conserved_across_the_switching_line(beta):
    rng = np.random.default_rng(1)
    a, w = rng.normal(size=(2, 200))
    rtol = 1e-8
    for line in LINES:
        path = run(a, w, line, beta, np.linspace(0, 40, 100), rtol)[0]
        drift = np.abs(balance(path[..., 0], path[..., 1], beta) - balance(a, w, beta)[:, None])
        assert np.all(drift <= rtol)


def test_starts_without_a_force_stay():
    path, end, _, _ = run([1.0, -1.0], [0.0, 0.0], OPENS, (2.0, 0.7), [1.0, 50.0])
    assert np.array_equal(end, [[1.0, 0.0], [-1.0, 0.0]])
    assert np.array_equal(path[:, 0], end)
    _, end, _, _ = run(0.7, -0.3, Line(0.5, 1.0, 0.0, 0.0), (2.0, 0.7), 100.0)
    assert np.array_equal(end, [[0.7, -0.3]])


def grid(extent=2.0, points=24):
    """An even number of points, so that none is 0 and none has |a| = |w| but on the diagonals."""
    return (values.ravel() for values in np.meshgrid(*2 * [np.linspace(-extent, extent, points)]))


@pytest.mark.parametrize("beta", [*BETAS, (1e-3, 2e-3), (30.0, 10.0)])
def test_success_region_of_the_population(beta):
    a, w = grid()
    succeeds = (w > 0) & ((a >= 0) | (distance(a, beta[0]) < distance(w, beta[1])))
    found = success(outcome(a, w, Line(), beta))
    assert np.array_equal(found, succeeds)


def test_balanced_starts_need_the_larger_beta_on_the_outer_weight():
    w = np.linspace(0.05, 2.0, 40)
    assert np.all(outcome(-w, w, Line(), (1.1, 1.0)) == Status.CONVERGED)
    assert np.all(success(outcome(-w, w, Line(), (1.0, 1.1))) == 0)
    for beta in (1e-3, 1.0, 50.0):
        assert np.all(outcome(-w, w, Line(), (beta, beta)) == Status.DEAD)
    for t in (30.0, 1e3, 1e5):  # no rounding may carry them off their way to the saddle
        end = run(-w, w, Line(), (1.0, 1.0), t, rtol=1e-6)[1]
        np.testing.assert_allclose(end[:, 0], -end[:, 1], rtol=1e-14)
        assert np.all(end[:, 1] > 0)


def test_no_beta_learns_from_the_wrong_side_of_the_population():
    a, w = grid()
    a, w = a[w <= 0], w[w <= 0]
    for beta in (*BETAS, (1e3, 1e-3), (1e-3, 1e3)):
        for t in (30.0, 1e4):
            for rtol in (1e-3, 1e-8):
                assert np.all(run(a, w, Line(), beta, t, rtol)[1][:, 1] < 0)
        assert np.all(outcome(a, w, Line(), beta) == Status.STUCK)


@pytest.mark.parametrize("beta", BETAS)
def test_label_noise_rescues_the_wrong_side(beta):
    a, w = grid()
    c = balance(a, w, beta)
    above = (w > 0) & ((a >= 0) | (c < 0))
    for s_neg, rescued in ((0.2, (w < 0) & (a > 0) & (c > 0)), (-0.2, False)):
        found = success(outcome(a, w, Line(0.5, 1.0, 0.5, s_neg), beta))
        assert np.array_equal(found, above | rescued)


weights = st.floats(-3.0, 3.0, allow_subnormal=False)
betas = st.floats(-2.0, 2.0).map(lambda power: 10.0**power)
slopes = st.floats(-1.5, 1.5, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(a=weights, w=weights, beta=st.tuples(betas, betas), s_pos=slopes, s_neg=slopes, t=st.floats(0.0, 10.0))
def test_the_sign_of_the_labels_is_a_reflection(a, w, beta, s_pos, s_neg, t):
    path, end, reason, time = run(a, w, Line(0.5, s_pos, 0.4, s_neg), beta, [0.5 * t, t])
    mirrored = run(-a, w, Line(0.5, -s_pos, 0.4, -s_neg), beta, [0.5 * t, t])
    for one, two in zip((path * [-1, 1], end * [-1, 1], reason, time), mirrored, strict=True):
        assert np.array_equal(one, two)


@settings(max_examples=60, deadline=None)
@given(a=weights, w=weights, beta=st.tuples(betas, betas), s_neg=slopes)
def test_the_product_never_leaves_the_way_to_its_target(a, w, beta, s_neg):
    line = Line(0.5, 1.0, 0.4, s_neg)
    times = np.linspace(0.0, 20.0, 60)
    path, _, reason, _ = run(a, w, line, beta, times, rtol=1e-8)
    assert reason[0] != FAILED
    for side, target in ((1, 1.0), (-1, s_neg)):
        on = np.sign(path[0, :, 1]) == side
        error = np.abs(path[0, on].prod(axis=1) - target)
        # The step at which w crosses has its own line of decrease on each side.
        assert np.all(np.diff(error) <= 1e-6 * (1 + error[:-1]))


def test_a_large_beta_is_the_plain_flow_in_another_time():
    rng = np.random.default_rng(2)
    a, w, beta = rng.normal(size=50), rng.normal(size=50), 1e6
    for line in LINES:
        options = {"rtol": 1e-10, "atol": 1e-10, "limit": False, "t_certain": np.inf, "tolerance": 1e-3}
        times = np.array([0.3, 2.0, 9.0])
        expected = plain.line_flow(a, w, (a - w) * (a + w), line, times, **options)[0]
        path = run(a, w, line, (beta, beta), times / beta)[0]
        # S = beta (1 + 2 theta^2/beta^2 + ...)
        np.testing.assert_allclose(path, expected, rtol=0, atol=1e-8)


def test_a_small_beta_conserves_the_one_norm():
    rng = np.random.default_rng(3)
    a, w = rng.normal(size=(2, 100))
    path = run(a, w, OPENS, (1e-7, 1e-7), np.linspace(0, 30, 50))[0]
    law = 2 * (np.abs(path[..., 0]) - np.abs(path[..., 1]))
    np.testing.assert_allclose(law, np.broadcast_to(law[:, :1], law.shape), rtol=0, atol=4e-7)


def test_a_stiff_target_is_reached_and_kept():
    # Near the target the flow contracts at a rate of about C beta: 2 million steps would not reach t = 1e5.
    beta, a, w = (1e5, 2e5), np.array([0.4, -0.2, 1.0]), np.array([0.7, 0.9, -0.1])
    path, _, reason, time = run(a, w, OPENS, beta, [1e-5, 1.0, 1e5])
    assert not np.any(reason == FAILED)
    np.testing.assert_allclose(path[:, 1:].prod(axis=2), 1.0, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        balance(*np.moveaxis(path, 2, 0), beta), balance(a, w, beta)[:, None] + [0] * 3
    )
    assert np.all(time < 1e-3)


@pytest.mark.parametrize("limit", [False, True])
def test_time_is_when_the_state_came_within_tolerance(limit):
    a, w, beta = np.array([0.4, -0.2, 1.0]), np.array([0.7, 0.9, -0.4]), (2.0, 1.0)
    _, end, _, time = run(a, w, OPENS, beta, 100.0, limit=limit)
    assert np.all(np.abs(end.prod(axis=1) - 1) <= 1e-3)
    for i in range(3):
        y = reference(a[i], w[i], OPENS, beta, time[i])
        assert abs(abs(y.prod() - 1) - 1e-3) <= 1e-8
