"""The sample flow again, slow and clear: Taylor series in long double, all from scratch at every restart.

Nothing is shared with the fast integrator: in a cell a and w are power series from the recurrence of the
polynomial flow, events are found on the series, and the sliding set by trying every combination.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

LD = np.longdouble
TERMS = 30
SLACK = LD(1e-17)
GRID = np.linspace(0, 1, 65, dtype=LD)


class Reference(NamedTuple):
    path: np.ndarray  # (T, 1 + d)
    shares: np.ndarray  # (T, n), each sample's share of the active side
    events: list  # (time, sample, what)
    ambiguous: bool


def solve(matrix, right):
    """Gaussian elimination with pivoting (numpy's is double precision only)."""
    m, r = matrix.astype(LD), right.astype(LD)
    for i in range(len(m)):
        best = i + int(np.argmax(np.abs(m[i:, i])))
        m[[i, best]], r[[i, best]] = m[[best, i]], r[[best, i]]
        for j in range(i + 1, len(m)):
            factor = m[j, i] / m[i, i]
            m[j] -= factor * m[i]
            r[j] = r[j] - factor * r[i]
    for i in reversed(range(len(m))):
        r[i] = (r[i] - m[i, i + 1 :] @ r[i + 1 :]) / m[i, i]
    return r


def moments(x, y, on):
    n = len(y)
    return (x * on[:, None]).T @ x / n, (y * on) @ x / n


def multipliers(x, y, sliding, residual):
    """alpha (|J|,) from X_J X_J^T diag(y_J/n) alpha = -X_J (b - A u)."""
    xs = x[sliding]
    return solve(xs @ xs.T, -(xs @ residual)) * len(y) / y[sliding]


def project(x, sliding, vector):
    if not sliding:
        return vector
    xs = x[sliding]
    return vector - xs.T @ solve(xs @ xs.T, xs @ vector)


def series(x, y, on, sliding, a0, w0):
    """Coefficients of a (K,), w (K, d) and the residual b - A a w (K, d) in powers of t."""
    matrix, b = moments(x, y, on)
    a, w, residual = [a0], [w0], []
    for k in range(TERMS):
        u = sum(a[j] * w[k - j] for j in range(k + 1))
        residual.append((b if k == 0 else 0) - matrix @ u)
        pushed = [project(x, sliding, r) for r in residual]
        a.append(sum(w[j] @ pushed[k - j] for j in range(k + 1)) / (k + 1))
        w.append(sum(a[j] * pushed[k - j] for j in range(k + 1)) / (k + 1))
    return np.array(a[:TERMS]), np.array(w[:TERMS]), np.array(residual)


def value(coefficients, t):
    result = coefficients[-1] * LD(1)
    for c in coefficients[-2::-1]:
        result = result * t + c
    return result


def first_falls(functions, h):
    """[(t, column)] of the polynomials, columns of `functions`, that fall below -SLACK, first at t <= h."""
    f = functions * (h ** np.arange(len(functions)))[:, None]
    f[0] += SLACK * np.maximum(1, np.abs(f).max(axis=0))
    values = GRID[:, None] ** np.arange(len(f)) @ f  # (65, columns)
    # A dip between two grid points is shallower than the largest change from point to point.
    near = values.min(axis=0) <= np.abs(np.diff(values, axis=0)).max(axis=0)
    found = []
    for column in np.flatnonzero(near):
        low, high = LD(0), LD(1)
        for _ in range(3):
            times = low + (high - low) * GRID
            values = value(f[:, column], times)
            below = np.flatnonzero(values < 0)
            if below.size:
                low, high = times[max(below[0] - 1, 0)], times[below[0]]
                for _ in range(70):
                    middle = (low + high) / 2
                    low, high = (low, middle) if value(f[:, column], middle) < 0 else (middle, high)
                found.append((h * high, column))
                break
            least = int(np.argmin(values))
            low, high = times[max(least - 1, 0)], times[min(least + 1, len(times) - 1)]
    return found


def settle(x, y, on, candidates, a, w):
    """on, off or sliding for every candidate, by trying all combinations; returns (on, off, sliding)."""
    best = None
    for choice in product(("off", "on", "sliding"), repeat=len(candidates)):
        sliding = [k for k, c in zip(candidates, choice, strict=True) if c == "sliding"]
        if len(sliding) >= x.shape[1]:
            continue
        trial = on.copy()
        for k, c in zip(candidates, choice, strict=True):
            trial[k] = c == "on"
        matrix, b = moments(x, y, trial)
        residual = b - matrix @ (a * w)
        velocity = a * project(x, sliding, residual)
        margins = [velocity @ x[k] for k, c in zip(candidates, choice, strict=True) if c == "on"]
        margins += [-velocity @ x[k] for k, c in zip(candidates, choice, strict=True) if c == "off"]
        if sliding:
            alpha = multipliers(x, y, sliding, residual)
            margins += [*alpha, *(1 - alpha)]
        worst = min(margins, default=LD(1))
        if best is None or worst > best[0]:
            best = worst, choice
    assert best[0] > -1e-12, "no consistent combination"
    pick = {what: [k for k, c in zip(candidates, best[1], strict=True) if c == what] for what in set(best[1])}
    return pick.get("on", []), pick.get("off", []), pick.get("sliding", [])


def reference_flow(x, y, a, w, times, t_max_events=100_000):
    x, y, a, w = x.astype(LD), y.astype(LD), LD(a), np.asarray(w, dtype=LD)
    times = np.asarray(times, dtype=LD)
    on, sliding, t = (x @ w > 0).astype(LD), [], LD(0)
    path, shares, events, ambiguous = (
        np.empty((len(times), 1 + len(w))),
        np.empty((len(times), len(y))),
        [],
        False,
    )
    filled = 0
    while filled < len(times):
        w = project(x, sliding, w)
        sa, sw, sr = series(x, y, on, sliding, a, w)
        size = np.maximum(np.abs(sa), np.abs(sw).max(axis=1))
        with np.errstate(divide="ignore"):
            radius = min((size[k] / max(size[0], LD(1e-30))) ** (LD(-1) / k) for k in (TERMS - 2, TERMS - 1))
        h = min(radius / LD(8), LD(1), times[-1] - t)
        # Events within the step.
        others = [i for i in range(len(y)) if i not in sliding]
        z = (sw @ x.T) * np.where(on > 0, 1, -1)
        found = [(fall, others[column], "reached") for fall, column in first_falls(z[:, others], h)]
        if sliding:
            alphas = np.array([multipliers(x, y, sliding, r) for r in sr])
            rest = -alphas
            rest[0] += 1
            for what, functions in (("off", alphas), ("on", rest)):
                found += [(fall, sliding[column], what) for fall, column in first_falls(functions, h)]
            turn = first_falls((sa * np.sign(a))[:, None], h)
            found += [(fall, -1, "turned") for fall, _ in turn]
        step = min((f[0] for f in found), default=h)
        while filled < len(times) and times[filled] <= t + step:
            lapse = times[filled] - t
            path[filled] = [value(sa, lapse), *value(sw, lapse)]
            shares[filled] = on
            if sliding:
                shares[filled][sliding] = [value(alphas[:, s], lapse) for s in range(len(sliding))]
            filled += 1
        a, w, t = value(sa, step), value(sw, step), t + step
        if a > 0 and np.linalg.norm(w) < 1e-12:
            ray, on, sliding = leave_zero(x.astype(float), y.astype(float))
            w = 1e-13 * project(x, sliding, ray.astype(LD))
            events.append((float(t), -1, "left"))
            continue
        if not found:
            continue
        _, i, what = min(found)
        events.append((float(t), i, what))
        assert len(events) < t_max_events
        if what == "turned":
            on[sliding], sliding, ambiguous = 0, [], True
            continue
        if what in ("on", "off"):
            sliding.remove(i)
            on[i] = what == "on"
            continue
        candidates = list(sliding)
        if a * y[i] < 0:
            candidates.append(i)
            on[i] = 0
        else:
            on[i] = 1 - on[i]
        w = project(x, candidates if len(candidates) < len(w) else [], w)
        active, _, sliding = settle(x, y, on, candidates, a, w)
        on[candidates] = 0
        on[active] = 1
    return Reference(path, shares, events, ambiguous)


def fields_around(x, y):
    """The fields b_S (m, 2) of all cells around w = 0 at d = 2, by their sectors."""
    normals = np.concatenate([x[:, ::-1] * [1, -1], x[:, ::-1] * [-1, 1]])
    angles = np.sort(np.arctan2(normals[:, 1], normals[:, 0]))
    middle = (angles + np.append(angles[1:], angles[0] + 2 * np.pi)) / 2
    inside = np.stack([np.cos(middle), np.sin(middle)], axis=1)
    return ((inside @ x.T > 0) * y) @ x / len(y)


def holds(fields):
    """Whether 0 is in the convex hull of the fields (m, 2): no half-plane has them all."""
    angles = np.sort(np.arctan2(fields[:, 1], fields[:, 0]))
    return np.max(np.diff(np.append(angles, angles[0] + 2 * np.pi))) <= np.pi


def rays_from(x, y):
    """The directions (k, 2) in which a flow with a > 0 can leave w = 0 for good, at d = 2.

    A cell's field that points into its own cell; or along a hyperplane, where both sides push to it and out.
    """

    def height(w):  # P(w) = -(1/n) sum y_i phi(w.x_i), which the flow next to w = 0 descends
        return -np.maximum(w @ x.T, 0) @ y / len(y)

    rays = [f for f in fields_around(x, y) if np.allclose(((f @ x.T > 0) * y) @ x / len(y), f)]
    for row in x:
        for along in (row[::-1] * [1, -1], row[::-1] * [-1, 1]):
            beside = [height(along + side * 1e-7 * row) for side in (1, -1)]
            if height(along) < min(0, *beside):
                rays.append(along)
    return np.unique(np.round([ray / np.linalg.norm(ray) for ray in rays], 12), axis=0)


def leave_zero(x, y):
    """(direction, on, sliding) of the only way out of w = 0 with a > 0."""
    (ray,) = rays_from(x, y)
    z = x @ ray
    level = np.abs(z) < 1e-9
    return ray, (~level & (z > 0)).astype(LD), [int(j) for j in np.flatnonzero(level)]
