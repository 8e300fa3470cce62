"""The closed forms against independent solvers, high precision, and the laws of the flow."""

import math

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from singleneuron.formulas import balanced, line, population
from singleneuron.formulas import rates as formulas_rates

RTOL = 1e-12
EPS = np.finfo(float).eps


def rng(seed):
    return np.random.default_rng(seed)


# One coordinate: references


def reference_line(field, a, w, t):
    """scipy with the event w = 0; `field(side, a, w)` is (a', w') with the samples of that side active."""
    side = math.copysign(1.0, w)

    def run(start, side, span, events):
        return solve_ivp(
            lambda _, y: field(side, *y), span, start, "DOP853", rtol=RTOL, atol=1e-14, events=events
        )

    def reached(_, y):
        return y[1] * side

    reached.terminal, reached.direction = True, -1
    first = run([a, w], side, (0.0, t), reached)
    if first.status != 1:
        return first.y[:, -1]
    stop, moment = first.y[0, -1], first.t[-1]
    if field(side, stop, 0.0)[1] * side >= 0:  # a w that decays for ever, down to the solver's tolerance
        return np.array([stop, 0.0])
    if field(-side, stop, 0.0)[1] * -side > 0:
        return run([stop, 0.0], -side, (moment, t), None).y[:, -1]
    return np.array([stop, 0.0])


def line_field(c_pos, s_pos, c_neg, s_neg):
    def field(side, a, w):
        rate, slope = (c_pos, s_pos) if side > 0 else (c_neg, s_neg)
        return rate * w * (slope - a * w), rate * a * (slope - a * w)

    return field


def precise_side(a, w, rate, slope, t):
    """(a, w) at t in 900 digits, by the exponential of the linear system behind the Riccati equation."""
    with mp.workdps(900):
        a, w, slope = mp.mpf(a), mp.mpf(w), mp.mpf(slope)
        plus, minus = a + w, a - w
        c = plus * minus
        first, s, swap = (plus, slope, False) if abs(plus) >= abs(minus) else (minus, -slope, True)
        flow = mp.expm(mp.matrix([[s, c**2 / 2], [mp.mpf(1) / 2, -s]]) * mp.mpf(rate) * mp.mpf(t))
        square = (flow[0, 0] * first**2 + flow[0, 1]) / (flow[1, 0] * first**2 + flow[1, 1])
        large = mp.sign(first) * mp.sqrt(square)
        small = c / large
        plus, minus = (small, large) if swap else (large, small)
        return (plus + minus) / 2, (plus - minus) / 2


def condition(flow, starts, scale=1e-6):
    """Largest change of the end state per change of one entry of the start, by central differences."""
    worst = np.zeros(np.broadcast(*starts).shape)
    for k in range(len(starts)):
        ends = []
        for sign in (1, -1):
            moved = list(starts)
            moved[k] = moved[k] + sign * scale
            ends.append(np.array(flow(*moved)))
        worst = np.maximum(worst, np.abs(ends[0] - ends[1]).max(axis=0) / (2 * scale))
    return worst


# Starts in the eight wedges between the axes and the diagonals.
WEDGES = [
    (r * math.cos(phi), r * math.sin(phi)) for phi in np.pi * (np.arange(8) + 0.4) / 4 for r in (0.4, 1.6)
]


@pytest.mark.parametrize("seed", range(2))
def test_line_flow_agrees_with_scipy_for_any_statistics(seed):
    draw = rng(seed)
    for a, w in WEDGES:
        statistics = draw.uniform(0.2, 1, 4) * [1, draw.choice([-1, 1]), 1, draw.choice([-1, 1])]
        t = draw.uniform(0, 30)
        expected = reference_line(line_field(*statistics), a, w, t)
        kappa = condition(lambda a, w, t=t, s=statistics: line.line_flow(a, w, t, *s), (a, w))
        error = np.abs(np.array(line.line_flow(a, w, t, *statistics)) - expected).max()
        assert error <= 100 * RTOL * max(1, kappa), (a, w, t, statistics)


def test_line_flow_agrees_with_scipy_for_the_population():
    draw = rng(7)
    for a, w, t in zip(*draw.normal(size=(2, 25)), draw.uniform(0, 100, 25), strict=True):
        expected = reference_line(line_field(0.5, 1.0, 0.5, 0.0), a, w, t)
        kappa = condition(lambda a, w, t=t: line.line_flow(a, w, t), (a, w))
        assert np.abs(np.array(line.line_flow(a, w, t)) - expected).max() <= 100 * RTOL * max(1, kappa)


@pytest.mark.parametrize("negative_slope", [True, False])
def test_line_flow_from_statistics_agrees_with_the_flow_of_the_samples(negative_slope):
    draw = rng(0)
    while True:
        x, y = draw.normal(size=(2, 200))
        y = np.maximum(x, 0) + 0.5 * y
        sides = [x > 0, x < 0]
        rates = [np.sum(x[on] ** 2) / x.size for on in sides]
        slopes = [np.sum(x[on] * y[on]) / np.sum(x[on] ** 2) for on in sides]
        if (slopes[1] < 0) == negative_slope:
            break

    def field(side, a, w):
        active = sides[0] if side > 0 else sides[1]
        residual = y[active] - a * w * x[active]
        return np.sum(residual * w * x[active]) / x.size, np.sum(residual * a * x[active]) / x.size

    statistics = (rates[0], slopes[0], rates[1], slopes[1])
    for a, w in [*WEDGES, (0.0, 1.0), (0.0, -1.0)]:
        for t in (1.0, 8.0, 40.0):
            expected = reference_line(field, a, w, t)
            np.testing.assert_allclose(line.line_flow(a, w, t, *statistics), expected, rtol=0, atol=1e-8)
    for a, w in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)]:
        # Without the event: a balanced flow never reaches w = 0.
        expected = solve_ivp(
            lambda _, z, side=w: field(side, *z), (0, 5.0), [a, w], "DOP853", rtol=RTOL, atol=1e-14
        ).y[:, -1]
        end = line.line_flow(a, w, 5.0, *statistics, balanced=True)
        np.testing.assert_allclose(end, expected, rtol=0, atol=1e-8)
        assert abs(end[0]) == abs(end[1])


# One coordinate: corners and laws

MAGNITUDES = [1e-200, 1e-100, 1e-8, 0.3, 1.0, 1.0 + 4 * EPS, 50.0]


@pytest.mark.parametrize("slope", [1.0, 0.0, -1e-3, 1e-30])
def test_line_flow_keeps_all_digits_up_to_time_1e6(slope):
    draw = rng(3)
    for _ in range(25):
        a, w = draw.choice(MAGNITUDES, 2) * draw.choice([-1, 1], 2)
        t = float(draw.choice([1e-6, 1.0, 300.0, 1e6]))
        crossing = float(line.crossing_time(a, w, 0.5, slope, 0.5, slope))
        if crossing <= t:
            continue
        end = [float(z) for z in line.line_flow(a, w, t, 0.5, slope, 0.5, slope)]
        precise = precise_side(a, w, 0.5, slope, t)
        size = max(abs(z) for z in precise)
        for k in range(2):
            # No cancellation where a w slope >= 0: relative errors of each, but for underflow.
            scale = abs(precise[k]) if a * w * slope >= 0 else size
            assert abs(end[k] - precise[k]) <= 1e-12 * scale + 1e-320, (a, w, t)


def test_crossing_times_are_where_the_precise_flow_is_at_zero():
    draw = rng(4)
    for _ in range(25):
        w = draw.choice(MAGNITUDES) * draw.choice([-1, 1])
        slope = draw.choice([1.0, 1e-3, 1e-30]) * draw.choice([-1, 1])
        a = -np.sign(w * slope) * abs(w) * draw.choice([1 + 4 * EPS, 1 + 1e-8, 1.5, 1e3])
        t = float(line.crossing_time(a, w, 0.7, slope, 0.7, slope))
        assert 0 < t < np.inf
        stop, rest = precise_side(a, w, 0.7, slope, t)
        # Relative error of the time: the distance to w = 0 over the speed there.
        assert abs(rest / (0.7 * stop * slope)) <= 50 * EPS * t


def test_crossing_time_is_infinite_iff_the_line_is_never_reached():
    a, w, s = np.meshgrid(*[[-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]] * 2, [-0.3, 0.0, 0.3])
    reached = (np.abs(a) > np.abs(w)) & (a * w * s < 0)
    assert np.array_equal(np.isfinite(line.crossing_time(a, w, 0.5, s, 0.5, s)), reached)
    assert np.all(line.crossing_time(a, w, 0.0, s, 0.0, s) == np.inf)
    assert np.all(line.crossing_time(a, a, 0.5, s, 0.5, s, balanced=True) == np.inf)
    assert line.crossing_time(1.0, 0.0) == 0.0


def test_noise_wedge_crosses_after_a_logarithmic_time():
    noise = np.array([0.1, 1e-2, 1e-4])
    times = line.crossing_time(1.0, -0.5, s_neg=noise)
    np.testing.assert_array_equal(np.round(times, 2), [4.22, 9.75, 21.95])
    c = 0.75
    leading = np.log(c * 0.5 / noise) / (0.5 * c)
    assert np.all(np.abs(times - leading) < 2 * noise * times)
    before, after = (line.line_flow(1.0, -0.5, times * f, s_neg=noise)[1] for f in (1 - 1e-6, 1 + 1e-6))
    assert np.all(before < 0)
    assert np.all(after > 0)
    a, w = line.line_flow(1.0, -0.5, np.inf, s_neg=noise)
    np.testing.assert_allclose(a * w, 1.0, rtol=8 * EPS)


def test_limits_of_one_coordinate():
    def limit(a, w, **statistics):
        a_t, w_t = line.line_flow(a, w, np.inf, **statistics)
        return float(a_t), float(w_t)

    root = math.sqrt(0.75)
    target = float(population.population_limit(0.75))
    assert limit(1.0, 0.5) == pytest.approx((target, 1 / target), rel=8 * EPS)
    assert limit(0.5, 1.0) == pytest.approx((1 / target, target), rel=8 * EPS)
    assert limit(-0.5, 1.0) == pytest.approx((1 / target, target), rel=8 * EPS)
    for a, w, end in [
        (-1.0, 0.5, (-root, 0.0)),
        (1.0, -0.5, (root, -0.0)),
        (-1.0, -0.5, (-root, -0.0)),
        (0.5, -1.0, (0.0, -root)),
    ]:
        assert limit(a, w) == pytest.approx(end, rel=8 * EPS)
        assert math.copysign(1, limit(a, w)[1]) == math.copysign(1, end[1])
    # Crosses down and converges on the wrong side; sticks once the other side pushes back or is empty.
    a, w = limit(-1.0, 0.5, s_neg=0.2)
    assert (a * w, a * a - w * w) == pytest.approx((0.2, 0.75), rel=8 * EPS)
    assert w < 0
    assert limit(-1.0, 0.5, s_neg=-0.2) == pytest.approx((-root, 0.0), rel=8 * EPS)
    assert limit(-1.0, 0.5, s_neg=0.2, c_neg=0.0) == pytest.approx((-root, 0.0), rel=8 * EPS)
    assert math.copysign(1, limit(-1.0, 0.5, s_neg=0.2, c_neg=0.0)[1]) == 1
    assert limit(1.0, -0.5, c_neg=0.0) == (1.0, -0.5)
    # Balanced.
    assert limit(0.3, 0.3, balanced=True) == pytest.approx((1.0, 1.0), rel=8 * EPS)
    for start in (5e-324, 1e-300):  # escapes, however small
        end = line.line_flow(start, start, [1e4, np.inf], balanced=True)
        np.testing.assert_allclose(end, 1.0, rtol=8 * EPS)
    for a, w in [(-0.3, 0.3), (0.3, -0.3), (-0.3, -0.3)]:
        assert limit(a, w, balanced=True) == (0.0, 0.0)
        assert math.copysign(1, limit(a, w, balanced=True)[1]) == math.copysign(1, w)


def test_balanced_line_is_logistic():
    u0, t, s, rate = np.meshgrid([1e-50, 1e-6, 0.5, 30.0], [0.1, 5.0, 200.0], [0.4, 2.0], [0.2, 0.7])
    root = np.sqrt(u0)
    up = s / (1 + (s / root**2 - 1) * np.exp(-2 * rate * s * t))
    np.testing.assert_allclose(line.line_flow(root, root, t, rate, s, balanced=True)[0] ** 2, up, rtol=1e-12)
    down = s / (np.expm1(2 * rate * s * t) + s / root**2 * np.exp(2 * rate * s * t))
    a, w = line.line_flow(-root, root, t, rate, s, balanced=True)
    np.testing.assert_allclose(w**2, down, rtol=1e-12)
    assert np.array_equal(a, -w)
    still = root / np.sqrt(1 + 2 * rate * root**2 * t)
    for sign in (-1, 1):
        a, w = line.line_flow(sign * root, -root, t, c_neg=rate, s_neg=0.0, balanced=True)
        np.testing.assert_allclose([a, w], [sign * still, -still], rtol=1e-12)


def test_balanced_starts_ignore_an_ulp_of_imbalance():
    w = rng(5).uniform(0.1, 2, 1000)
    for a in (-w, -np.nextafter(w, 0), -np.nextafter(w, 9)):
        for t in (10.0, 1e6, np.inf):
            a_t, w_t = line.line_flow(a, w, t, balanced=True)
            assert np.array_equal(a_t, -w_t)
            assert np.all(w_t <= w)


def test_extreme_arguments_give_finite_states_on_the_right_side():
    tiny = [0.0, 5e-324, 1e-310, 1e-200, 1e-150, 1e-16, 0.1, 1.0, np.nextafter(1.0, 2), 1e3, 1e100]
    values = np.array([-z for z in tiny] + tiny)
    times = [0.0, 5e-324, 1e-9, 1.0, 1e3, 1e6, np.inf]
    slopes = [-1.0, -1e-300, 0.0, 1e-12, 1.0]
    a, w, t, s, rate = np.meshgrid(values, values, times, slopes, [0.0, 1e-300, 0.5], indexing="ij")
    a_t, w_t = line.line_flow(a, w, t, rate, s, rate, s)
    assert np.all(np.isfinite(a_t))
    assert np.all(np.isfinite(w_t))
    stays = line.crossing_time(a, w, rate, s, rate, s) > t
    assert np.array_equal(np.signbit(w_t)[stays], np.signbit(w)[stays])
    growing = np.hypot(a_t, w_t) > np.hypot(a, w) * (1 + 4 * EPS)
    assert not np.any(growing & (s == 0))
    still = (w == 0) | (t == 0) | (rate == 0)
    assert np.array_equal(a_t[still], a[still])
    assert np.array_equal(w_t[still], w[still])


def random_line(seed, size=20_000):
    draw = rng(seed)
    a, w = draw.normal(size=(2, size)) * 10 ** draw.uniform(-3, 0.5, (2, size))
    statistics = draw.uniform(0, 1, (4, size)) * draw.choice([-1, 1], (4, size))
    statistics[[0, 2]] = np.abs(statistics[[0, 2]])
    return a, w, statistics, draw.exponential(5, size), draw.exponential(5, size)


def test_line_flow_is_a_semigroup():
    a, w, statistics, first, second = random_line(11)
    direct = np.array(line.line_flow(a, w, first + second, *statistics))
    middle = line.line_flow(a, w, first, *statistics)
    split = np.array(line.line_flow(*middle, second, *statistics))
    kappa = condition(lambda a, w: line.line_flow(a, w, second, *statistics), middle, 1e-7)
    assert np.all(np.abs(direct - split) <= 100 * EPS * np.maximum(1, kappa) * (1 + np.abs(a) + np.abs(w)))


def test_line_flow_conserves_the_balance():
    a, w, statistics, t, _ = random_line(12)
    a_t, w_t = line.line_flow(a, w, t, *statistics)
    error = np.abs((a_t - w_t) * (a_t + w_t) - (a - w) * (a + w))
    assert np.all(error <= 20 * EPS * (a_t**2 + w_t**2))


def test_line_flow_respects_the_symmetries():
    a, w, (c_pos, s_pos, c_neg, s_neg), t, _ = random_line(13)
    a_t, w_t = line.line_flow(a, w, t, c_pos, s_pos, c_neg, s_neg)
    for signs, slopes in [((-1, -1), (s_neg, s_pos)), ((1, -1), (-s_neg, -s_pos))]:
        mirrored = line.line_flow(signs[0] * a, signs[1] * w, t, c_neg, slopes[0], c_pos, slopes[1])
        np.testing.assert_array_equal(mirrored, (signs[0] * a_t, signs[1] * w_t))
    # Units: powers of four are exact.
    scaled = line.line_flow(4 * a, 4 * w, t, c_pos / 16, 16 * s_pos, c_neg / 16, 16 * s_neg)
    np.testing.assert_array_equal(scaled, (4 * a_t, 4 * w_t))
    one = line.line_flow(a[7], w[7], t[7], c_pos[7], s_pos[7], c_neg[7], s_neg[7])
    assert one == (a_t[7], w_t[7])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="t must be >= 0"):
        line.line_flow(1.0, 1.0, -1.0)
    with pytest.raises(ValueError, match="t must be >= 0"):
        balanced.balanced_flow(1.0, 1.0, 0.0, [1.0, np.nan])
    assert np.all(np.isnan(line.line_flow([np.nan, 1.0], [1.0, np.nan], 1.0)))
    assert np.all(np.isnan(balanced.balanced_flow(np.nan, np.nan, 0.5, 1.0)))
    with pytest.raises(ValueError, match=r"\|a\| = \|w\|"):
        line.line_flow(1.0, [1.0, 0.5], 1.0, balanced=True)
    with pytest.raises(ValueError, match=r"\|a\| = \|w\|"):
        balanced.balanced_flow(2.0, 0.6, 0.8, 1.0)
    with pytest.raises(ValueError, match=r"q = .* must be >= 0"):
        balanced.balanced_flow(1.0, 0.6, -0.8, 1.0)
    with pytest.raises(ValueError, match="theta must lie"):
        balanced.angle_time([0.1, 3.2])


# The universal angle curve


def precise_integral(weight, low, high):
    """2 pi int weight(x, delta)/delta dx, which is the integral of the weight over T, in 30 digits."""

    def integrand(x):
        delta = 2 * mp.atan(mp.exp(-x))
        return 2 * mp.pi * weight(x, delta) / delta

    pieces = 2 + int(abs(high - low) / 2)
    return mp.quad(integrand, mp.linspace(low, high, pieces)) if low != high else mp.mpf(0)


def precise_time(x):
    """T at x = log tan(theta/2)."""
    return precise_integral(lambda x, delta: 1, mp.mpf(x), mp.mpf(0))


@pytest.fixture(autouse=True, scope="module")
def thirty_digits():
    with mp.workdps(30):
        yield


@pytest.mark.parametrize("theta", [1e-6, 0.02, 0.5, 1.5, np.pi / 2, 1.6, 2.5, 3.0, 3.13, 3.1415])
def test_angle_time_is_the_integral(theta):
    expected = precise_time(mp.log(mp.tan(mp.mpf(theta) / 2)))
    # pi - theta is off by the rounding of pi.
    slope = 2 * math.pi / ((math.pi - theta) * math.sin(theta))
    error = abs(float(balanced.angle_time(theta)) - expected)
    assert error <= 1e-14 * max(1, abs(expected)) + abs(np.pi - mp.pi) * slope
    assert abs(float(balanced.universal_angle(float(expected))) - theta) <= 1e-14


@pytest.mark.parametrize("x", [*np.linspace(-33.3, 12.4, 14), -20.001, -19.999, 3.999, 4.001, 27.0])
def test_angle_time_of_the_safe_coordinate_keeps_all_digits(x):
    expected = precise_time(x)
    assert abs(float(balanced.angle_time_x(x)) - expected) <= 1e-14 * max(1, abs(expected))
    assert abs(float(balanced.universal_x(float(expected))) - x) <= 1e-14 * (1 + abs(x))


def test_universal_angle_inverts_angle_time():
    x = np.concatenate([np.linspace(-700, 700, 2001), np.linspace(-21, 5, 5001)])
    np.testing.assert_allclose(balanced.universal_x(balanced.angle_time_x(x)), x, rtol=0, atol=2e-13)
    time = np.concatenate([np.linspace(-200, 60, 5001), [-1e300, -1e6, 1e6]])
    back = balanced.angle_time_x(balanced.universal_x(time))
    assert np.all(np.abs(back - time) <= 1e-12 * np.maximum(1, np.abs(time)))
    theta = np.linspace(0, np.pi, 10_001)
    np.testing.assert_allclose(
        balanced.universal_angle(balanced.angle_time(theta)), theta, rtol=0, atol=1e-12
    )
    assert np.all(np.diff(balanced.angle_time(theta)) < 0)


def test_ends_of_the_universal_angle_curve():
    assert balanced.angle_time([0.0, np.pi]).tolist() == [np.inf, -np.inf]
    assert abs(balanced.angle_time(np.pi / 2)) <= EPS
    assert balanced.universal_angle([np.inf, -np.inf]).tolist() == [0.0, np.pi]
    assert abs(balanced.universal_angle(0.0) - np.pi / 2) <= 2 * EPS
    theta = np.array([1e-300, 1e-100, 1e-9])
    offset = balanced.angle_time(theta) + 2 * np.log(theta)
    np.testing.assert_allclose(offset, offset[1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(balanced.universal_angle(balanced.angle_time(theta)), theta, rtol=1e-12)
    delta = np.array([1e-300, 1e-12, 1e-4])
    x = -np.log(np.tan(delta / 2))
    np.testing.assert_allclose(balanced.angle_time_x(x) * delta, -2 * np.pi, rtol=1e-4)
    np.testing.assert_allclose(
        2 * np.arctan(np.exp(-balanced.universal_x(-2 * np.pi / delta))), delta, rtol=1e-4
    )


def test_angle_follows_its_differential_equation():
    end = solve_ivp(
        lambda _, y: -(np.pi - y) * np.sin(y) / (2 * np.pi), (0, 12), [3.0], "DOP853", rtol=RTOL, atol=1e-14
    ).y[0, -1]
    assert abs(balanced.universal_angle(balanced.angle_time(3.0) + 12) - end) <= 100 * RTOL


# Balanced flows in d > 1: references


def reduced_field(_, state):
    """(a', p', q'), from the expectations E[phi(w.x) phi(v.x)] and E[phi(v.x) 1(w.x > 0) x]."""
    a, p, q = state
    rho, theta = math.hypot(p, q), math.atan2(q, p)
    sine, cosine, delta = math.sin(theta), math.cos(theta), math.pi - theta
    pull = (sine + delta * cosine) / (2 * math.pi)
    return (
        -a * rho**2 / 2 + rho * pull,
        -(a**2) * p / 2 + a * (delta + sine * cosine) / (2 * math.pi),
        -(a**2) * q / 2 + a * sine**2 / (2 * math.pi),
    )


def antipodal_pull(x):
    """k(theta) and delta = pi - theta."""
    delta = 2 * math.atan(math.exp(-x))
    if delta < 0.05:
        return delta**3 / (6 * math.pi) * (1 - delta**2 / 10 + delta**4 / 280), delta
    return (math.sin(delta) - delta * math.cos(delta)) / (2 * math.pi), delta


def polar_field(_, state):
    """The same in (a, log rho, x)."""
    a, log_rho, x = state
    rho = math.exp(log_rho)
    pull, delta = antipodal_pull(x)
    return -a * rho**2 / 2 + rho * pull, a * pull / rho - a**2 / 2, -a / rho * delta / (2 * math.pi)


def balanced_field(_, state, sign):
    """The same in (log rho, x) with a = sign rho: in floats a - sign rho would escape where a < 0."""
    rho = math.exp(state[0])
    _, log_rho_dot, x_dot = polar_field(_, (sign * rho, *state))
    return log_rho_dot, x_dot


def starts(seed, size, spread=1.0):
    draw = rng(seed)
    x, rho = draw.normal(scale=spread, size=size), np.exp(draw.normal(scale=0.7, size=size))
    q = rho / np.cosh(x)
    p = -rho * np.tanh(x)
    return draw.choice([-1, 1], size) * np.hypot(p, q), p, q


def test_balanced_flow_agrees_with_scipy_in_the_original_coordinates():
    for k, (a, p, q) in enumerate(zip(*starts(21, 20), strict=True)):
        t = 2.5 * k
        expected = solve_ivp(reduced_field, (0, t), [a, p, q], "DOP853", rtol=RTOL, atol=1e-14).y[:, -1]
        error = np.abs(np.array(balanced.balanced_flow(a, p, q, t)) - expected).max()
        scale = np.array([1 + 1e-6, 1 - 1e-6])
        ends = np.array(balanced.balanced_flow(a * scale, p * scale, q * scale, t))
        turned = balanced.balanced_flow(
            a, *(np.hypot(p, q) * f(np.arctan2(q, p) * scale) for f in (np.cos, np.sin)), t
        )
        kappa = max(np.ptp(ends, axis=1).max(), np.ptp(turned, axis=1).max()) / 2e-6
        assert error <= 100 * RTOL * max(1, kappa), (a, p, q, t)


def test_balanced_flow_agrees_with_scipy_near_the_antipode():
    for a, p, q in zip(*starts(22, 24, spread=4.0), strict=True):
        x, rho = -math.asinh(p / q), math.hypot(p, q)
        solution = solve_ivp(
            balanced_field, (0, 100), [math.log(rho), x], "DOP853", rtol=RTOL, atol=1e-13, args=(np.sign(a),)
        )
        log_rho, x_t = solution.y[:, -1]
        a_t, p_t, q_t = balanced.balanced_flow(a, p, q, 100.0)
        # A relative error of delta shifts T by that times T.
        error = 100 * RTOL * (1 + abs(float(balanced.angle_time_x(x))))
        assert abs(np.log(np.abs(a_t)) - log_rho) <= error
        assert abs(-np.arcsinh(p_t / q_t) - x_t) <= error * max(1, abs(x_t))


@pytest.mark.parametrize("sign", [-1, 1])
def test_balanced_flow_keeps_all_digits(sign):
    draw = rng(23)
    for x in [-21.0, -3.0, 0.0, 3.9, 4.1, 14.0, 30.0]:
        rho, t = float(draw.choice([1e-3, 0.7, 30.0])), float(draw.choice([0.1, 5.0, 40.0]))
        q = rho / math.cosh(x)
        p = -rho * math.tanh(x)
        a_t, p_t, q_t = (float(z) for z in balanced.balanced_flow(sign * rho, p, q, t))
        start = mp.log(mp.tan(mp.atan2(mp.mpf(q), mp.mpf(p)) / 2))
        time = precise_time(start)
        end = mp.mpf(float(balanced.universal_x(float(time + sign * t))))
        end += (precise_time(end) - time - sign * t) * mp.atan(mp.exp(-end)) / mp.pi  # Newton's method
        energy = [(2 * mp.atan(mp.exp(-z)) * mp.cosh(z)) ** 2 for z in (start, end)]
        gained = precise_integral(lambda x, delta: (delta * mp.cosh(x)) ** 2, start, end)
        size = mp.sqrt(energy[1] / (energy[0] / mp.mpf(rho) ** 2 + abs(gained)))
        tolerance = 20 * EPS * (1 + abs(time) + t)
        assert abs(a_t / (sign * size) - 1) <= tolerance
        assert abs(p_t + size * mp.tanh(end)) <= tolerance * size
        assert abs(q_t / (size / mp.cosh(end)) - 1) <= tolerance


def test_balanced_flow_is_a_semigroup_and_stays_balanced():
    a, p, q = starts(24, 20_000, spread=3.0)
    first, second = rng(25).exponential(20, (2, a.size))
    direct = balanced.balanced_flow(a, p, q, first + second)
    middle = balanced.balanced_flow(a, p, q, first)
    split = balanced.balanced_flow(*middle, second)
    delays = np.abs(balanced.angle_time_x(-np.arcsinh(p / q))) + first + second
    error = np.abs(np.array(direct) - np.array(split)) / np.abs(direct[0])
    assert np.all(error <= 50 * EPS * (1 + delays) * (1 + a**2))
    np.testing.assert_allclose(np.hypot(direct[1], direct[2]), np.abs(direct[0]), rtol=4 * EPS)


def test_balanced_flow_on_the_axis_is_the_flow_of_one_coordinate():
    p = np.array([-3.0, -0.5, -1e-200, 1e-200, 0.5, 3.0])
    for sign in (-1, 1):
        for t in (0.0, 0.3, 50.0, 1e6, np.inf):
            a_t, p_t, q_t = balanced.balanced_flow(sign * np.abs(p), p, 0.0, t)
            np.testing.assert_array_equal((a_t, p_t), line.line_flow(sign * np.abs(p), p, t, balanced=True))
            assert np.all(q_t == 0)
    for p in (-1.0, 1.0):  # nor is there a jump where the axis takes over
        q = 2 * np.exp([-699.9, -700.1])
        for a in (-1.0, 1.0):
            ends = np.array(balanced.balanced_flow(a, p, q, 7.0))[:2]
            np.testing.assert_allclose(ends[:, 0], ends[:, 1], rtol=1e-13)


def test_balanced_flow_at_extreme_arguments():
    tiny = [0.0, 5e-324, 1e-310, 1e-200, 1e-100, 1e-16, 0.1, 1.0, 1e3, 1e100]
    values = np.array([-z for z in tiny] + tiny)
    times = [0.0, 5e-324, 1e-9, 1.0, 1e3, 1e6, 1e300, np.inf]
    p, q, t, sign = np.meshgrid(values, tiny, times, [-1.0, 1.0], indexing="ij")
    a = sign * np.hypot(p, q)
    a_t, p_t, q_t = end = balanced.balanced_flow(a, p, q, t)
    assert np.all(np.isfinite(end))
    assert np.array_equal(np.signbit(a_t), np.signbit(a))
    assert np.all(q_t >= 0)
    still = (a == 0) | (t == 0)
    assert all(np.array_equal(z[still], z0[still]) for z, z0 in zip(end, (a, p, q), strict=True))
    # w turns towards v for a > 0, away from it for a < 0.
    turn = (np.arctan2(q, p) - np.arctan2(q_t, p_t)) * sign
    assert np.all(turn[(a_t != 0) & (q_t > 0)] >= -20 * EPS)


def test_limits_of_balanced_flows():
    for p, q in [(0.3, 0.4), (-0.6, 0.8), (-1.0, 1e-6)]:
        rho = math.hypot(p, q)
        assert np.array_equal(balanced.balanced_flow(rho, p, q, np.inf), (1.0, 1.0, 0.0))
        a, p_end, q_end = balanced.balanced_flow(-rho, p, q, np.inf)
        assert (a, p_end, q_end) == (0.0, 0.0, 0.0)
        assert np.signbit(a)
        # A dead one shrinks like 1/sqrt(t).
        late = balanced.balanced_flow(-rho, p, q, [1e5, 1e6])[0]
        np.testing.assert_allclose(late * np.sqrt([1e5, 1e6]), -1.0, rtol=1e-3)
    c = np.array([-1e8, -1.0, 0.0, 3.0, 1e8])
    a = population.population_limit(c)
    np.testing.assert_allclose(a**2 - 1 / a**2, c, rtol=1e-15)


# Probabilities and times


def test_angle_distribution_is_that_of_a_random_direction():
    from scipy.stats import t as student

    # cot(angle) sqrt(d - 1) is a standard normal over an independent chi: Student's t.
    for d in (2, 3, 10, 1000, 10**6):
        z = np.array([-6, -1.5, -1e-3, 0, 1e-6, 0.7, 3, 8]) / math.sqrt(d)
        theta = np.clip(np.pi / 2 + z, 0.05, np.pi - 0.05)
        expected = student.sf(np.sqrt(d - 1) / np.tan(theta), d - 1)
        np.testing.assert_allclose(formulas_rates.balanced_angle_cdf(theta, d), expected, rtol=1e-9)
    theta = np.linspace(0, np.pi, 41)
    np.testing.assert_allclose(formulas_rates.balanced_angle_cdf(theta, 2), theta / np.pi, rtol=1e-14)
    np.testing.assert_allclose(
        formulas_rates.balanced_angle_cdf(theta, 3), np.sin(theta / 2) ** 2, rtol=1e-14, atol=1e-30
    )
    assert formulas_rates.balanced_angle_cdf([0.0, 1.0, 3.0], 1).tolist() == [0.0, 0.5, 0.5]
    np.testing.assert_allclose(formulas_rates.balanced_angle_cdf(1e-5, 4), 2e-15 / (3 * np.pi), rtol=1e-9)


def test_rewinding_succeeds_with_the_known_probabilities():
    times = np.array([0.0, 0.1, 0.3, 1e6])
    rates = formulas_rates.balanced_angle_cdf(balanced.flip_angle(times), 1000) / 2
    np.testing.assert_array_equal(np.round(rates, 5), [0.25, 0.39169, 0.49482, 0.5])
    # The earliest flips, and the flow itself.
    z = np.array([1e-3, 1e-2])
    assert np.all(np.abs(balanced.flip_angle(4 * z + 4 / np.pi * z**2) - np.pi / 2 - z) < z**3)
    theta = balanced.flip_angle([0.1, 3.0, 40.0])
    p = balanced.balanced_flow(1.0, np.cos(theta), np.sin(theta), [0.1, 3.0, 40.0])[1]
    np.testing.assert_allclose(p, 0, atol=1e-13)


def turning_time(a, rho, delta):
    def turned(_, y):
        return y[2]

    turned.terminal = True
    start = [a, math.log(rho), -math.log(math.tan(delta / 2))]
    return solve_ivp(polar_field, (0, 1e8), start, "LSODA", rtol=1e-9, atol=1e-11, events=turned).t[-1]


@pytest.mark.parametrize(
    ("a", "rho"),
    [(1.2, 1.0), (1.0, 1.0), (0.3, 1.0), (-0.2, 1.0), (0.9, 1.0)],
    ids=["c>0", "c=0", "c<0", "a<0", "c<0, slow"],
)
def test_escape_times_are_the_leading_order(a, rho):
    deltas = np.array([0.1, 0.05])
    measured = np.array([turning_time(a, rho, delta) for delta in deltas])
    error = np.abs(population.escape_time(a, rho, deltas) / measured - 1)
    assert np.all(error < deltas / 2)
    assert error[1] < error[0] / 2


def test_escape_times_at_known_starts():
    assert round(float(population.escape_time(0.3, 1.0, 0.1))) == 129_154
    assert round(float(population.escape_time(1.2, 1.0, 0.01)), 1) == 21.6
    never = population.escape_time([-1.0, -2.0, 1.0, 0.5], 1.0, [0.1, 0.1, 0.0, 0.0])
    assert np.all(never == np.inf)
    near = population.escape_time([1.0 - 1e-9, 1.0, 1.0 + 1e-9], 1.0, 0.1)
    np.testing.assert_allclose(near, 2 * np.pi / 0.1, rtol=1e-6)
    # Balanced, the time is known exactly.
    delta = np.array([1e-2, 1e-4, 1e-6])
    assert np.all(
        np.abs(population.escape_time(0.5, 0.5, delta) / -balanced.angle_time(np.pi - delta) - 1) < delta
    )
