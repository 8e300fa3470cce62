"""How a Sign-In trajectory on samples ends: at rest, dead, or sure to tend to the critical point of its cell.

Near w = 0, the metric D of w is nearly beta_w times the identity, so the rules for plain weights near w = 0
apply.
"""

import math

import numpy as np

from singleneuron.flows.samples.apex import ROUNDING, strength
from singleneuron.flows.samples.cells import SLID
from singleneuron.flows.samples.limits import APEX, FADES, MOVING, UNDERFLOW, at_apex, fades, projected, stays
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853 import CERTAIN, CONVERGED, END, EVENT, FAILED
from singleneuron.kernels.metric import distance_of, metric_of
from singleneuron.kernels.vectors import add, dot, fill, put
from singleneuron.problem.status import EQUAL, TINY_NORM

FLAT = 1e-6
"""If |w| <= FLAT beta_w, D is beta_w times the identity up to a relative error of a few times FLAT^2."""


@routine
def distance_sum(w, factor, beta):
    """Return the sum over i of the distances g(factor w_i, beta)."""
    total = 0.0
    for i in range(w.size):
        total += distance_of(factor * w[i], beta)
    return total


@routine
def largest_scale(p, y):
    """Return the largest factor S by which the metric multiplies a component of the gradient at y."""
    most = metric_of(y[0], p.beta[0])
    for i in range(1, y.size):
        most = max(most, metric_of(y[i], p.beta[1]))
    return most


@routine
def shares_stay(planes, p, y, rest, spread, pull):
    """Return whether all shares stay in (0, 1) while (a, w) moves by `rest` and a w by `spread`.

    `pull` is a bound on |P r|, where r = b - a A w is the sum of X_J^T mu and P r. The share of sample j is
    -(n/y_j) (mu_j + e_j). Here mu is linear in a w, and e is the weighted least-squares solution of
    X_J^T e = P r, so that |e| <= sqrt(cond D) |P r| / sigma_min(X_J).
    """
    cell = p.cell
    count, inverse = cell.counts[SLID], 0.0
    column = np.empty(count)
    for s in range(count):
        fill(column, 0.0)
        column[s] = 1.0
        for r in range(count - 1, -1, -1):
            for q in range(r + 1, count):
                column[r] -= cell.lower[q, r] * column[q]
            column[r] /= cell.lower[r, r]
        inverse += dot(column, column)
    condition = (largest_scale(p, y) + 2.0 * rest) / p.beta[1]
    error = math.sqrt(inverse * condition) * pull
    for s in range(count):
        alpha = cell.share[s] + y[0] * dot(cell.slope[s], y[1:])
        margin = spread * math.sqrt(dot(cell.slope[s], cell.slope[s]))
        if min(alpha, 1.0 - alpha) <= margin + error * planes.n / abs(planes.jump[cell.members[s]]):
            return False
    return True


@routine
def balanced_size(p, target, c, near):
    """Solve g(s, beta_a) = c + sum_i g(target_i/s, beta_w) for s in [near/2, 2 near], by bisection."""
    low, high = 0.5 * near, 2.0 * near
    for _ in range(60):
        middle = 0.5 * (low + high)
        if distance_of(middle, p.beta[0]) < c + distance_sum(target, 1.0 / middle, p.beta[1]):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@routine
def silent_rest(p, A, y):
    """Return a bound on how far w still moves if b = 0 and a tends to 0, or inf if no bound is known.

    If b = 0, then dw/da = a D A w/(S(a) w.A w). The bound contains a factor 2 to allow for changes of this
    derivative. This factor suffices if w moves so little that |w|, D A w and w.A w change by less than a
    hundredth. If the bound does not guarantee this, it is not valid, and inf is returned.
    """
    a, w = y[0], y[1:]
    push = np.empty(w.size)
    for i in range(w.size):
        push[i] = dot(A[i], w)
    work, size = dot(w, push), math.sqrt(dot(push, push))
    largest = largest_scale(p, y)
    if work <= 0.0:
        return math.inf
    rest = a * a * largest * size / (p.beta[0] * work)
    trace = 0.0
    for i in range(w.size):
        trace += A[i, i]
    small = 0.01 * min(work / size, size) / trace
    return rest if rest <= min(small, 0.01 * p.beta[1]) else math.inf


@routine
def limit_in_cell(planes, p, watch, y, c, tolerance, goal):
    """Return whether y is certain to tend to the critical point of its cell, and the distance |u - u*|.

    `goal` is set to that point, or to y if the point depends on the path taken. In a cell, L is quadratic in
    u = a w with a minimiser u*. The flow is the gradient flow of L in the metric G = diag(S). L falls at a
    rate of at least beta_w |P dL/dw|^2, and this rate is at least 2 beta_w a^2 lambda (L - L*), where lambda
    is the smallest positive eigenvalue of P A P. So the remaining path has a length of at most
    sqrt(2 (L - L*)/(beta_w lambda))/min|a| in the norm of G^-1. The Euclidean length R of the path is at most
    sqrt(max S) times as large, and max S grows by at most 2 R on the way. The flow stays in its cell if no
    event lies within R. As in `limits.limit_of`, an R far below the tolerance also counts as proof.
    """
    # This function is long because it is one proof, whose cases share the eigenvectors and sums over them.
    cell = p.cell
    d, a, w = y.size - 1, y[0], y[1:]
    A, b, target = np.empty((d, d)), np.empty(d), np.empty(d)
    projected(cell, A, b)
    trace = 0.0
    for j in range(d):
        trace += cell.A[j, j]
    values, columns = np.linalg.eigh(A)
    vectors = columns.T
    put(goal, y)
    fill(target, 0.0)
    energy = apart2 = 0.0
    least, rank = math.inf, 0
    for k in range(d):
        if values[k] > 1e-12 * trace:
            part, best = dot(vectors[k], w), dot(vectors[k], b) / values[k]
            add(target, best, vectors[k])
            energy += values[k] * (a * part - best) ** 2
            apart2 += (a * part - best) ** 2
            least = min(least, values[k])
            rank += 1
    distance = math.sqrt(apart2)
    if rank == 0 or a == 0.0:
        return False, math.inf
    close, spread = 1e-3 * tolerance, 2.0 * math.sqrt(energy / least)
    reach = spread / (math.sqrt(p.beta[1]) * abs(a))
    rest = reach * (reach + math.sqrt(reach * reach + largest_scale(p, y)))
    silent = math.sqrt(dot(b, b)) <= ROUNDING * strength(planes)
    if rest > 0.5 * abs(a):
        # `a` may tend to 0.
        if not silent or c >= 0.0:
            return False, distance
        rest, goal[0] = silent_rest(p, A, y), 0.0
    elif silent and math.sqrt(dot(w, w)) <= FLAT * p.beta[1]:
        return fades(planes, cell, y), distance
    elif silent or rank < d - cell.counts[SLID]:
        if distance > tolerance:
            return False, distance
    else:
        goal[0] = math.copysign(balanced_size(p, target, c, abs(a)), a)
        for i in range(d):
            goal[1 + i] = target[i] / goal[0]
    if rest <= close:
        return True, distance
    if rest == math.inf or not stays(planes, cell, watch, y, rest, spread):
        return False, distance
    return shares_stay(planes, p, y, rest, spread, math.sqrt(values[d - 1] * energy)), distance


@routine
def at_rest_in_cell(p, y, rate, c):
    """Return EVENT if the neuron is dead, CONVERGED if it is at rest, APEX if it is next to w = 0, or MOVING.

    As in `limits.at_rest`, return FAILED if the square of w underflows. The rules are the same, except that
    lengths are compared with beta_w, the scale of the metric at w = 0.
    """
    a, w, b = y[0], y[1:], p.cell.b
    square, turn, pull = dot(w, w), math.sqrt(dot(rate[1:], rate[1:])), math.sqrt(dot(b, b))
    if turn == 0.0 and rate[0] == 0.0 and pull == 0.0:
        return EVENT
    if square <= UNDERFLOW * UNDERFLOW:
        return EVENT if np.all(w == 0.0) else FAILED
    tiny = TINY_NORM * min(1.0, p.beta[1])
    if dot(w, rate[1:]) <= 0.0:
        if c > 0.0 and square <= (tiny * min(1.0, abs(a))) ** 2:
            return APEX
        if c <= 0.0 and square <= tiny * tiny:
            # Near 0, c = 2 a^2/beta_a - 2 |w|^2/beta_w. If a < 0 and c is 0 up to rounding, the neuron dies.
            if a < 0.0 and a * a * p.beta[1] >= (1.0 - 2.0 * EQUAL) * square * p.beta[0]:
                return EVENT
            if c == 0.0:
                return APEX
    # r = b - a A w is known only up to the rounding errors in its terms.
    for j in range(w.size):
        pull += p.cell.A[j, j] * abs(a) * math.sqrt(square)
    slow = ROUNDING * pull * largest_scale(p, y)
    return CONVERGED if turn <= slow * abs(a) and abs(rate[0]) <= slow * math.sqrt(square) else MOVING


@routine
def ending_in_cell(planes, p, watch, options, y, rate, c, t, look, scratch):
    """Return why a trajectory ends at y, or MOVING if it goes on.

    A limit is sought only with `look`. If the trajectory ends because it is near its limit, y is set to the
    limit.
    """
    cell = p.cell
    rest = at_rest_in_cell(p, y, rate, c)
    if rest == APEX:
        rest = at_apex(planes, cell, watch, y, c)
    if rest != MOVING:
        return END if rest == CONVERGED and not options.limit else rest
    if not options.limit:
        return MOVING
    if look:
        certain, distance = limit_in_cell(planes, p, watch, y, c, options.tolerance, scratch)
        if certain and (distance <= options.tolerance or t >= options.t_certain):
            put(y, scratch)
            return CONVERGED if distance <= options.tolerance else CERTAIN
    return CERTAIN if t >= options.t_certain and y[0] < 0.0 and c >= 0.0 else MOVING


@routine
def fate_in_cell(planes, p, watch, options, y, rate, c, scratch):
    """Return the fate of the state y: FADES or CONVERGED if that is certain, else MOVING.

    FADES means that the output tends to 0 because all active labels are 0. CONVERGED means that y is at rest,
    or near its limit.
    """
    A, b = np.empty((y.size - 1, y.size - 1)), np.empty(y.size - 1)
    projected(p.cell, A, b)
    known = FADES if math.sqrt(dot(b, b)) <= ROUNDING * strength(planes) else CONVERGED
    if at_rest_in_cell(p, y, rate, c) in (EVENT, CONVERGED):
        return known
    certain, distance = limit_in_cell(planes, p, watch, y, c, options.tolerance, scratch)
    return known if certain and distance <= options.tolerance else MOVING
