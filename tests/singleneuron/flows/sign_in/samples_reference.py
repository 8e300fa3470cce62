"""The Sign-In flow of samples again, slow and clear: scipy's DOP853 with small steps, events on its output.

Nothing is shared with the fast integrator: the field is a dense sum over the samples, the multipliers of a
slide solve a small linear system, and the sliding set is found by trying every combination.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.integrate import DOP853

GRID = np.linspace(0, 1, 33)
SLACK = 1e-13
GONE = 1e-7  # all hyperplanes meet at w = 0; a flow with a < 0 that comes so near is dead
ACCURACY = {"rtol": 1e-12, "atol": 1e-13, "max_step": 0.05}


class Reference(NamedTuple):
    path: np.ndarray  # (T, 1 + d)
    shares: np.ndarray  # (T, n), each sample's share of the active side
    events: list  # (time, sample, what)
    ambiguous: bool


class Pattern:
    """The samples that are on, those in whose hyperplanes w slides, and the flow that this makes."""

    def __init__(self, x, y, beta, on, sliding):
        self.x, self.y, self.beta, self.on, self.sliding = x, y, beta, on.copy(), list(sliding)
        self.on[self.sliding] = 0.0

    def residual(self, a, w):
        """r = b - A a w, the sum over the samples that are on."""
        return (self.on * (self.y - a * (self.x @ w))) @ self.x / len(self.y)

    def multipliers(self, a, w):
        """lambda/a (|J|,) from (X D X^T) lambda = -X D a r."""
        xs, metric = self.x[self.sliding], np.hypot(self.beta[1], 2 * w)
        return np.linalg.solve(xs * metric @ xs.T, -(xs @ (metric * self.residual(a, w))))

    def shares(self, a, w):
        """alpha (|J|,): the share alpha of sample j adds alpha a y_j x_j/n to the force, so lambda_j x_j."""
        return self.multipliers(a, w) * len(self.y) / self.y[self.sliding]

    def field(self, _, state):
        a, w = state[0], state[1:]
        force = self.residual(a, w)
        da = np.hypot(self.beta[0], 2 * a) * (w @ force)
        if self.sliding:
            force = force + self.multipliers(a, w) @ self.x[self.sliding]
        return np.concatenate([[da], np.hypot(self.beta[1], 2 * w) * a * force])

    def gauges(self, state):
        """Functions that are positive until an event, and what they announce."""
        a, w = state[0], state[1:]
        z = (self.x @ w) * np.where(self.on > 0, 1, -1)
        found = {(i, "reached"): z[i] for i in range(len(z)) if i not in self.sliding}
        if self.sliding:
            found[-1, "turned"] = a * self.toward
            for j, alpha in zip(self.sliding, self.shares(a, w), strict=True):
                found |= {(j, "off"): alpha, (j, "on"): 1 - alpha}
        return found


def settle(x, y, beta, on, candidates, state):
    """The pattern with every candidate on, off or sliding as Filippov's rule asks, by trying all."""
    best, a, w = None, state[0], state[1:]
    for choice in product(("off", "on", "sliding"), repeat=len(candidates)):
        sliding = [k for k, c in zip(candidates, choice, strict=True) if c == "sliding"]
        if len(sliding) >= len(w):
            continue
        trial = on.copy()
        trial[candidates] = [c == "on" for c in choice]
        pattern = Pattern(x, y, beta, trial, sliding)
        speed = pattern.field(0, state)[1:]
        margins = [speed @ x[k] for k, c in zip(candidates, choice, strict=True) if c == "on"]
        margins += [-speed @ x[k] for k, c in zip(candidates, choice, strict=True) if c == "off"]
        if sliding:
            alpha = pattern.shares(a, w)
            margins += [*alpha, *(1 - alpha)]
        worst = min(margins, default=1.0)
        if best is None or worst > best[0]:
            best = worst, pattern
    assert best[0] > -1e-9, "no consistent combination"
    return best[1]


def project(x, sliding, w):
    return w - np.linalg.pinv(x[sliding]) @ (x[sliding] @ w) if sliding else w


def first_event(pattern, dense, start, stop):
    """(time, sample, what) of the first gauge that falls below -SLACK on a step, or None."""
    values = [pattern.gauges(dense(start + (stop - start) * part)) for part in GRID]
    found = []
    for key in values[0]:
        below = [k for k in range(1, GRID.size) if values[k][key] < -SLACK]
        if not below and values[0][key] >= -SLACK:
            continue
        low, high = start, start
        if values[0][key] >= -SLACK:
            low, high = (start + (stop - start) * GRID[below[0] - s] for s in (1, 0))
        for _ in range(60):
            middle = (low + high) / 2
            if pattern.gauges(dense(middle))[key] < -SLACK:
                high = middle
            else:
                low = middle
        found.append((high, *key))
    return min(found, default=None)


def after(x, y, beta, pattern, state, i, what):
    """The pattern after an event."""
    sliding, on = list(pattern.sliding), pattern.on.copy()
    if what == "turned":
        return Pattern(x, y, beta, on, [])
    if what in ("on", "off"):
        sliding.remove(i)
        on[i] = what == "on"
        return Pattern(x, y, beta, on, sliding)
    if state[0] * y[i] < 0:
        sliding.append(i)
        on[i] = 0
    else:
        on[i] = 1 - on[i]
    return settle(x, y, beta, on, sliding, state)


def reference_flow(x, y, a, w, beta, times, most_events=2000):
    """Follow one trajectory; beta = (beta_a, beta_w)."""
    state, t = np.concatenate([[a], w]), 0.0
    pattern = Pattern(x, y, beta, (x @ w > 0).astype(float), [])
    path, shares, events, ambiguous = np.empty((len(times), state.size)), [], [], False
    while len(shares) < len(times):
        state[1:] = project(x, pattern.sliding, state[1:])
        pattern.toward = np.sign(state[0])
        solver = DOP853(pattern.field, t, state, max(times[-1], 1e-3), **ACCURACY)
        event = None
        while event is None and len(shares) < len(times) and np.linalg.norm(state[1:]) >= GONE:
            message = solver.step()
            assert solver.status != "failed", message
            dense = solver.dense_output()
            event = first_event(pattern, dense, solver.t_old, solver.t)
            t = solver.t if event is None else event[0]
            while len(shares) < len(times) and times[len(shares)] <= t:
                path[len(shares)] = here = dense(times[len(shares)])
                shares.append(pattern.on.copy())
                if pattern.sliding:
                    shares[-1][pattern.sliding] = pattern.shares(here[0], here[1:])
            state = dense(t)
        if np.linalg.norm(state[1:]) < GONE:
            path[len(shares) :] = state[0], *np.zeros(len(w))
            shares += [np.zeros(len(y))] * (len(times) - len(shares))
        elif event is not None:
            events.append(event)
            assert len(events) < most_events
            ambiguous = ambiguous or event[2] == "turned"
            if event[2] == "turned":
                state[0] = 0.0
            pattern = after(x, y, beta, pattern, state, *event[1:])
    return Reference(path, np.array(shares), events, ambiguous)
