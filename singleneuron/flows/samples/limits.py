"""How a trajectory on samples ends: at rest, dead, or certain to tend to the critical point of its cell.

On a slide, P A P and P b take the place of A and b, where P is the projection onto the slide.
"""

import math

import numpy as np

from singleneuron.flows.samples.apex import ENDLESS, RESTS, RETURNS, ROUNDING, comes_back, pass_apex, strength
from singleneuron.flows.samples.cells import ON, SHARE_SLACK, SLID, SLIDING
from singleneuron.flows.samples.near_planes import watch_all
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.vectors import add, dot, fill, put
from singleneuron.problem.status import EQUAL, TINY_NORM

MOVING, APEX, MOVED, FADES = -1, -2, -3, -4  # in addition to the reasons of `dop853`
UNDERFLOW = 1e-140  # the square of a smaller |w| may underflow


@routine
def projected(cell, A, b):
    """Fill `A` with P A P and `b` with P b, from the A and b of the cell."""
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
    """Return whether (a, w) can move by `rest`, and a w by `spread`, without an event."""
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
def outweighs(planes, cell, values, vectors, parts, i, rho):
    """Return whether w(tau) = sum_k parts_k e^{-values_k tau} vectors_k stays on its side of hyperplane i.

    It stays there for all tau if the terms of x_i.w that decay most slowly have the right sign and together
    outweigh all other terms. If all terms are 0, the path lies within the hyperplane and stays there too.
    """
    sign = 1.0 if cell.side[i] == ON else -1.0
    trace = values[values.size - 1]
    lead, rest, slowest = 0.0, 0.0, math.inf
    for k in range(values.size):
        term = sign * parts[k] * dot(planes.x[i], vectors[k])
        value = values[k] if values[k] > 1e-12 * trace else 0.0
        if abs(term) * planes.inverse_norm[i] > 1e-15 * rho:
            slowest = min(slowest, value)
            if value <= slowest * (1.0 + 1e-9):
                lead += term
            else:
                rest += abs(term)
    return lead > rest or slowest == math.inf


@routine
def fades(planes, cell, y):
    """Return whether the output is certain to tend to 0 because every active label is 0.

    If P b = 0, w moves along the path e^{-P A P tau} w. Here tau is the integral of a^2 over time, which is
    finite if `a` tends to 0. The neuron never learns if the path reaches no hyperplane and no multiplier
    leaves [0, 1] on the way.
    """
    d = y.size - 1
    w = y[1:]
    A, b, parts = np.empty((d, d)), np.empty(d), np.empty(d)
    projected(cell, A, b)
    if math.sqrt(dot(b, b)) > ROUNDING * strength(planes):
        return False
    values, columns = np.linalg.eigh(A)
    vectors = columns.T.copy()
    for k in range(d):
        parts[k] = dot(vectors[k], w)
    for s in range(cell.counts[SLID]):
        spread = 0.0
        for k in range(d):
            spread += abs(y[0] * parts[k] * dot(cell.slope[s], vectors[k]))
        if min(cell.share[s], 1.0 - cell.share[s]) < spread - SHARE_SLACK:
            return False
    rho = math.sqrt(dot(w, w))
    for i in range(cell.side.size):
        if cell.side[i] != SLIDING and not outweighs(planes, cell, values, vectors, parts, i, rho):
            return False
    return True


@routine
def fade_out(cell, y, c):
    """Move y to the limit of its path e^{-P A P tau} w.

    If the path reaches |w|^2 = -c, where a = 0, it ends there, and bisection finds the tau of this point. The
    component of w in the null space of P A P never changes.
    """
    d = y.size - 1
    A, b, parts = np.empty((d, d)), np.empty(d), np.empty(d)
    projected(cell, A, b)
    values, columns = np.linalg.eigh(A)
    vectors = columns.T.copy()
    stays = 0.0
    for k in range(d):
        parts[k] = dot(vectors[k], y[1:])
        values[k] = values[k] if values[k] > 1e-12 * values[d - 1] else 0.0
        stays += parts[k] ** 2 if values[k] == 0.0 else 0.0
    inner, tau = c + stays, math.inf
    if inner < 0.0:
        low, tau = 0.0, 1.0 / values[d - 1]
        while square_at(values, parts, tau) > -c:
            low, tau = tau, 2.0 * tau
        for _ in range(100):
            middle = 0.5 * (low + tau)
            if square_at(values, parts, middle) > -c:
                low = middle
            else:
                tau = middle
    y[0] = math.copysign(math.sqrt(max(inner, 0.0)), y[0])
    fill(y[1:], 0.0)
    for k in range(d):
        add(y[1:], parts[k] * left_after(values[k], tau), vectors[k])


@routine
def left_after(value, tau):
    """Return the factor e^{-value tau} of w along an eigenvector; 1 if `value` is 0, even if tau is inf."""
    return math.exp(-value * tau) if value > 0.0 else 1.0


@routine
def square_at(values, parts, tau):
    """Return |w(tau)|^2 on the path e^{-P A P tau} w."""
    total = 0.0
    for k in range(values.size):
        total += (parts[k] * left_after(values[k], tau)) ** 2
    return total


@routine
def limit_of(planes, cell, watch, y, c, close, goal):
    """Return whether y is certain to tend to the critical point of its cell, and the distance |u - u*|.

    `goal` is set to that point. In a cell, L is quadratic in u = a w with a minimiser u*, and
    |grad L|^2 >= 2 a^2 lambda (L - L*), where lambda is the smallest positive eigenvalue of P A P. The
    remaining path is therefore no longer than sqrt(2 (L - L*)/lambda)/min|a|, and the flow stays in its cell
    if no event lies within that length. This proves nothing if the critical point is on the edge of the cell
    (common with fewer samples than coordinates), so a length below `close` also counts as proof. The
    exception is a w that tends to 0: another cell may lead it away from the critical point (see `fades`).
    """
    # This function is long because it is one proof, whose cases share the eigenvectors and sums over them.
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
    # a^2 - |w|^2 is conserved, and so is the component of w in the null space of P A P.
    inner = a * a - norm2
    if a > 0.0 and c >= 0.0 and math.sqrt(dot(b, b)) <= ROUNDING * strength(planes):
        goal[0] = math.sqrt(max(inner, 0.0))
        return fades(planes, cell, y), math.sqrt(apart2)
    if inner < 0.0 and target2 <= 1e-24 * norm2 * norm2:
        # Here u* = 0, which the flow approaches with a -> 0, and |grad L|^2 >= 2 L (w.A w).
        rest = 2.0 * abs(a)
        if rest * rest * values[d - 1] * 4.0 * a * a > energy:
            return False, math.inf
        goal[0] = 0.0
        put(goal[1:], w)
    else:
        rest = 2.0 * math.sqrt(energy / least) / abs(a)
        if rest > 0.5 * abs(a):
            return False, math.inf
        root = math.hypot(inner, 2.0 * math.sqrt(target2))
        size = math.sqrt(0.5 * (inner + root) if inner > 0.0 else 2.0 * target2 / (root - inner))
        goal[0] = math.copysign(size, a)
        add(goal[1:], 1.0 / goal[0], target)
    for s in range(cell.counts[SLID]):
        add(goal[1:], -dot(goal[1:], cell.basis[s]), cell.basis[s])
    if rest > close and not stays(planes, cell, watch, y, rest, 2.0 * math.sqrt(energy / least)):
        return False, math.inf
    return True, math.sqrt(apart2)


@routine
def at_rest(cell, y, rate, c):
    """Return EVENT if the neuron is dead, CONVERGED if it is at rest, APEX if it is next to w = 0, or MOVING.

    Return FAILED if w is so small that its square underflows. If c <= 0, a neuron with a tiny |w| and
    a <= -|w| (up to EQUAL) is dead. Since c < 0 excludes a <= -|w|, its c is 0 up to rounding.
    """
    a, w = y[0], y[1:]
    square, turn, pull = dot(w, w), math.sqrt(dot(rate[1:], rate[1:])), math.sqrt(dot(cell.b, cell.b))
    if turn == 0.0 and rate[0] == 0.0 and pull == 0.0:
        return EVENT
    if square <= UNDERFLOW * UNDERFLOW:
        # phi'(0) = 0: a start at w = 0 stays. Any other w this small is beyond double precision.
        return EVENT if np.all(w == 0.0) else FAILED
    if dot(w, rate[1:]) <= 0.0:
        if c > 0.0 and square <= (TINY_NORM * min(1.0, abs(a))) ** 2:
            return APEX
        if c <= 0.0 and square <= TINY_NORM * TINY_NORM:
            if a < 0.0 and -a >= (1.0 - EQUAL) * math.sqrt(square):
                return EVENT
            if c == 0.0:
                return APEX
    # w' = a r and a' = w.r, where r is a difference of terms of size |b|. If a = 0, then w' = 0 for any r.
    slow = ROUNDING * pull
    return CONVERGED if turn <= slow * abs(a) and abs(rate[0]) <= slow * math.sqrt(square) else MOVING


@routine
def at_apex(planes, cell, watch, y, c):
    """Return EVENT if a neuron next to w = 0 dies, MOVED if y or its cell changed, else MOVING or FAILED."""
    if c == 0.0:
        # w and `a` tend to 0 together, but never reach 0.
        dies = comes_back(planes, cell, watch, y) or (y[0] > 0.0 and fades(planes, cell, y))
        return EVENT if dies else MOVING
    end, changed = pass_apex(planes, cell, watch, y)
    if end == RETURNS or (end == RESTS and (y[0] < 0.0 or fades(planes, cell, y))):
        return EVENT
    if end == ENDLESS:
        return FAILED
    return MOVED if changed else MOVING


@routine
def ending(planes, cell, watch, options, y, rate, c, t, look, scratch):
    """Return why a trajectory ends at y, else MOVING; with `look`, also seek a limit, and move y there."""
    rest = at_rest(cell, y, rate, c)
    if rest == APEX:
        rest = at_apex(planes, cell, watch, y, c)
    if rest != MOVING:
        return END if rest == CONVERGED and not options.limit else rest
    if not options.limit:
        return MOVING
    if look:
        certain, distance = limit_of(planes, cell, watch, y, c, 1e-3 * options.tolerance, scratch)
        if certain and (distance <= options.tolerance or t >= options.t_certain):
            put(y, scratch)
            return CONVERGED if distance <= options.tolerance else CERTAIN
        if c == 0.0 and y[0] > 0.0 and fades(planes, cell, y):
            fill(y, 0.0)
            return EVENT
        if c < 0.0 and fades(planes, cell, y):
            fade_out(cell, y, c)
            return CERTAIN
    return CERTAIN if t >= options.t_certain and y[0] < 0.0 and c >= 0.0 else MOVING


@routine
def fate(planes, cell, watch, options, y, rate, c, scratch):
    """Return the fate of y if it is certain, FADES or CONVERGED (at rest or near its limit), else MOVING."""
    if fades(planes, cell, y):
        return FADES
    rest = at_rest(cell, y, rate, c)
    if rest in (EVENT, CONVERGED):
        return CONVERGED
    certain, distance = limit_of(planes, cell, watch, y, c, 1e-3 * options.tolerance, scratch)
    if not certain or distance > options.tolerance:
        return MOVING
    return CONVERGED if scratch[0] != 0.0 else FADES  # with a = 0 the output is 0
