"""Where a trajectory of samples ends: at rest, dead, or certain to tend to the critical point of its cell."""

import math

import numpy as np

from singleneuron.cells import ON, SLID, SLIDING
from singleneuron.kernel import routine
from singleneuron.outcome import TINY_NORM
from singleneuron.solver import CERTAIN, CONVERGED, END, EVENT
from singleneuron.vectors import add, dot, fill, put
from singleneuron.watch import watch_all

MOVING = -1  # beside the reasons of `solver`
ROUNDING = 1e-13  # a residual of this multiple of its terms is 0


@routine
def projected(cell, A, b):
    """Fill A and b with P A P and P b, P the projection on the slide."""
    d = b.size
    across = np.empty(d)
    put(b, cell.b)
    for j in range(d):
        put(A[j], cell.A[j])
    for s in range(cell.counts[SLID]):
        q = cell.basis[s]
        add(b, -dot(q, b), q)
        for j in range(d):
            across[j] = dot(A[j], q)
        add(across, -0.5 * dot(q, across), q)
        for j in range(d):
            add(A[j], -q[j], across)
            add(A[j], -across[j], q)


@routine
def stays(planes, cell, watch, y, rest, spread):
    """Whether no event can happen while (a, w) moves less than `rest` and a w less than `spread`."""
    for s in range(cell.counts[SLID]):
        alpha = cell.share[s] + y[0] * dot(cell.slope[s], y[1:])
        if min(alpha, 1.0 - alpha) <= spread * math.sqrt(dot(cell.slope[s], cell.slope[s])):
            return False
    watch_all(planes, y, watch)
    for i in range(cell.side.size):
        ahead = watch.every[i] if cell.side[i] == ON else -watch.every[i]
        if cell.side[i] != SLIDING and ahead * planes.inverse_norm[i] <= rest:
            return False
    return True


@routine
def limit_of(planes, cell, watch, y, close, goal):
    """(whether y tends to the critical point of its cell, how far a w is from it); goal is that point.

    In a cell L is a quadratic of u = a w with a minimiser u*, and |grad L|^2 >= 2 a^2 lambda (L - L*), lambda
    the least positive eigenvalue of P A P. So the path left is no longer than sqrt(2 (L - L*)/lambda)/min|a|,
    and the flow stays if no event lies within that. Critical points on the very edge of a cell (as of fewer
    samples than coordinates) allow no such proof: there, a path shorter than `close` is near enough.
    """
    d = y.size - 1
    a, w = y[0], y[1:]
    A, b, target = np.empty((d, d)), np.empty(d), np.empty(d)
    projected(cell, A, b)
    trace = 0.0
    for j in range(d):
        trace += cell.A[j, j]
    values, columns = np.linalg.eigh(A)
    vectors = columns.T
    put(goal[1:], w)
    fill(target, 0.0)
    norm2 = target2 = energy = apart2 = 0.0
    least = math.inf
    for k in range(d):
        if values[k] > 1e-12 * trace:
            v = vectors[k]
            part, best = dot(v, w), dot(v, b) / values[k]
            add(goal[1:], -part, v)
            add(target, best, v)
            norm2 += part * part
            target2 += best * best
            energy += values[k] * (a * part - best) ** 2
            apart2 += (a * part - best) ** 2
            least = min(least, values[k])
    if least == math.inf or a == 0.0:
        return False, math.inf
    # a^2 - |w|^2 is conserved, and so is the w on which A does not act.
    c = a * a - norm2
    if c < 0.0 and target2 <= 1e-24 * norm2 * norm2:
        # u* = 0, by a -> 0: |grad L|^2 >= (w.A w) 2 L
        rest = 2.0 * abs(a)
        if rest * rest * values[d - 1] * 4.0 * a * a > energy:
            return False, math.inf
        goal[0] = 0.0
        put(goal[1:], w)
    else:
        rest = 2.0 * math.sqrt(energy / least) / abs(a)
        if rest > 0.5 * abs(a):
            return False, math.inf
        root = math.hypot(c, 2.0 * math.sqrt(target2))
        size = math.sqrt(0.5 * (c + root) if c > 0.0 else 2.0 * target2 / (root - c))
        goal[0] = math.copysign(size, a)
        add(goal[1:], 1.0 / goal[0], target)
    if rest > close and not stays(planes, cell, watch, y, rest, 2.0 * math.sqrt(energy / least)):
        return False, math.inf
    return True, math.sqrt(apart2)


@routine
def at_rest(cell, y, rate):
    """EVENT if the neuron is dead, CONVERGED if it moves no more, up to rounding, else MOVING."""
    w = y[1:]
    square, turn, pull = dot(w, w), math.sqrt(dot(rate[1:], rate[1:])), math.sqrt(dot(cell.b, cell.b))
    if turn == 0.0 and rate[0] == 0.0 and pull == 0.0:
        return EVENT
    if square <= TINY_NORM * TINY_NORM and dot(w, rate[1:]) <= 0.0:
        return EVENT
    # w' = a r and a' = w.r, with r a difference of terms of size |b|: at a = 0 the latter alone tells.
    slow = ROUNDING * pull
    return CONVERGED if turn <= slow * abs(y[0]) and abs(rate[0]) <= slow * math.sqrt(square) else MOVING


@routine
def ending(planes, cell, watch, options, y, rate, c, t, look, scratch):
    """Why the trajectory ends here, or MOVING; with `look` its limit may tell, and y becomes it."""
    rest = at_rest(cell, y, rate)
    if rest != MOVING:
        return rest if options.limit or rest == EVENT else END
    if not options.limit:
        return MOVING
    if look:
        certain, distance = limit_of(planes, cell, watch, y, 1e-3 * options.tolerance, scratch)
        if certain and (distance <= options.tolerance or t >= options.t_certain):
            put(y, scratch)
            return CONVERGED if distance <= options.tolerance else CERTAIN
    return CERTAIN if t >= options.t_certain and y[0] < 0.0 and c >= 0.0 else MOVING
