"""The flow of n samples in d > 1 coordinates: event-driven, with Filippov sliding.

Where S = {i : w.x_i > 0} does not change the flow is a polynomial of (a, w),

    a' = w.r,  w' = a r,  r = b - a A w,  A = (1/n) sum_S x_i x_i^T,  b = (1/n) sum_S y_i x_i,

so a stage costs O(d^2), and a sample that changes sides a rank-one update of A and b. w' jumps by
a y_i x_i/n across w.x_i = 0. Where a y_i > 0 the flow crosses; where a y_i < 0 both sides may push towards
the hyperplane, and the flow slides in it: Filippov's solution, w' = g - sum_J gamma_j x_j with g = a r, the
point nearest to 0 with 0 <= gamma_j <= -a y_j/n. A member of J whose share of the active side, alpha_j =
gamma_j n/(-a y_j), reaches 1 is released to that side, one whose share reaches 0 to the other.

A sample's side is bookkeeping, never read again from the sign of w.x_i: released, it leaves as slowly as t^2.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from singleneuron.kernel import kernel, routine
from singleneuron.model import Array
from singleneuron.outcome import TINY_NORM, TOLERANCE
from singleneuron.solver import (
    CERTAIN,
    CONVERGED,
    END,
    EVENT,
    FAILED,
    MAX_STEPS,
    ROWS,
    STAGES,
    attempt,
    error_norm,
    first_step,
    prepare_dense,
    step_factor,
)

OFF, ON, SLIDING = 0, 1, 2
NOTHING, REACHED, FULL, EMPTY, TURNED = range(5)  # what ends a cell: w.x_i = 0, alpha = 1, alpha = 0, a = 0
# A hyperplane counts as crossed this multiple of |w| |x_i| beyond it: above rounding, below any tolerance.
SLACK = 1e-13
ROUNDING = 1e-13  # a residual of this multiple of its terms is 0
NEVER = 2.0  # later than a step's end

# Terms t, t(1-t), t^2(1-t), ... of the dense output: powers, Bernstein coefficients and peaks on [0, 1].
DEGREE = 7
POWERS = [(r // 2 + 1, (r + 1) // 2) for r in range(DEGREE)]
TERMS = np.zeros((DEGREE + 1, DEGREE))
for _r, (_p, _q) in enumerate(POWERS):
    for _k in range(DEGREE - _p - _q + 1):
        TERMS[_p + _k, _r] = math.comb(DEGREE - _p - _q, _k) / math.comb(DEGREE, _p + _k)
PEAKS = np.array([(p / (p + q)) ** p * (q / (p + q)) ** q for p, q in POWERS])
# Bernstein coefficients of a product of two such polynomials: c[i + j] += PRODUCT[i, j] p[i] q[j].
PRODUCT = np.array(
    [[math.comb(7, i) * math.comb(7, j) / math.comb(14, i + j) for j in range(8)] for i in range(8)]
)


class Hyperplanes(NamedTuple):
    """Samples by the m <= n hyperplanes x.w = 0 that they share.

    From off (x.w < 0) to on, n A gains weight x x^T and n b gains jump x; all off, they are base and pull.
    Off is where the samples on the other side of the hyperplane, x_i = -x, are active, if there are any.
    """

    x: Array  # (m, d)
    columns: Array  # (d, m), x^T
    weight: Array  # (m,)
    jump: Array  # (m,)
    inverse_norm: Array  # (m,), 1/|x|
    base: Array  # (d, d)
    pull: Array  # (d,)
    n: float


def hyperplanes(x: Array, y: Array) -> tuple[Hyperplanes, NDArray[np.int64], Array]:
    """Merge samples whose hyperplanes coincide (x_i parallel, up to 1e-12); x_i = 0 has none.

    Returns them, the hyperplane of each sample (n,), and scale (n,): x_i = scale_i x, 0 for x_i = 0.
    """
    norms = np.linalg.norm(x, axis=1)
    kept = np.flatnonzero(norms > 0)
    unit = x[kept] / norms[kept, None]
    # Parallel rows have one value of a generic linear function, up to their sign.
    key = unit @ np.sin(1.0 + np.arange(x.shape[1]))
    unit *= np.where(key < 0, -1.0, 1.0)[:, None]
    order = np.argsort(np.abs(key), kind="stable")
    different = np.abs(np.diff(unit[order], axis=0)).max(axis=1) > 1e-12
    label = np.zeros(len(kept), dtype=np.int64)
    label[order[1:]] = np.cumsum(different)
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    # Numbered by first appearance: samples in general position keep their order.
    first, label = np.unique(first[label], return_inverse=True)
    rows = x[kept[first]]
    scale = np.sum(x[kept] * rows[label], axis=1) / np.sum(rows * rows, axis=1)[label]
    behind = kept[scale < 0]
    planes = Hyperplanes(
        rows,
        rows.T.copy(),
        np.bincount(label, scale * np.abs(scale), len(rows)).astype(np.float64),
        np.bincount(label, y[kept] * np.abs(scale), len(rows)).astype(np.float64),
        1 / np.linalg.norm(rows, axis=1),
        x[behind].T @ x[behind],
        x[behind].T @ y[behind],
        float(len(x)),
    )
    group, scales = np.zeros(len(x), dtype=np.int64), np.zeros(len(x))
    group[kept], scales[kept] = label, scale
    return planes, group, scales


class Cell(NamedTuple):
    """Where a trajectory is: the side of every hyperplane, those slid in, and the field that follows."""

    A: Array  # (d, d)
    b: Array  # (d,)
    basis: Array  # (d + 1, d), its first rows span the x_j slid in
    sizes: NDArray[np.int64]  # slid in, on, updates of A and b since they were summed
    side: NDArray[np.int64]  # (m,), OFF, ON or SLIDING
    members: NDArray[np.int64]  # (d + 1,), those slid in
    share: Array  # (d + 1,); alpha_j = share_j + slope_j.(a w)
    slope: Array  # (d + 1, d)
    lower: Array  # (d + 1, d + 1), x_members = lower basis


@routine
def dot(u, v):
    total = 0.0
    for i in range(u.size):
        total += u[i] * v[i]
    return total


@routine
def add(u, factor, v):
    """u += factor v"""
    for i in range(u.size):
        u[i] += factor * v[i]


@routine
def put(u, v):
    """u[:] = v (whose compilation takes ten times as long)"""
    for i in range(u.size):
        u[i] = v[i]


@routine
def fill(u, value):
    for i in range(u.size):
        u[i] = value


@routine
def cell_field(y, cell, out):
    a, w = y[0], y[1:]
    rate = out[1:]
    for i in range(w.size):
        rate[i] = cell.b[i]
    for j in range(w.size):
        add(rate, -a * w[j], cell.A[j])
    out[0] = dot(w, rate)
    for i in range(w.size):
        rate[i] *= a
    for s in range(cell.sizes[0]):
        add(rate, -dot(cell.basis[s], rate), cell.basis[s])


@routine
def accumulate(planes, cell, i, factor):
    """Add `factor` times the active side of hyperplane i to A and b."""
    row = planes.x[i]
    add(cell.b, factor * planes.jump[i], row)
    for j in range(row.size):
        add(cell.A[j], factor * planes.weight[i] * row[j], row)


@routine
def sum_up(planes, cell):
    """A and b from the sides, from scratch."""
    for j in range(cell.b.size):
        cell.b[j] = planes.pull[j] / planes.n
        for k in range(cell.b.size):
            cell.A[j, k] = planes.base[j, k] / planes.n
    cell.sizes[1] = cell.sizes[2] = 0
    for i in range(cell.side.size):
        if cell.side[i] == ON:
            cell.sizes[1] += 1
            accumulate(planes, cell, i, 1.0 / planes.n)


@routine
def set_side(planes, cell, i, side):
    change = (1 if side == ON else 0) - (1 if cell.side[i] == ON else 0)
    cell.side[i] = side
    if change != 0:
        accumulate(planes, cell, i, change / planes.n)
        cell.sizes[1] += change
        cell.sizes[2] += 1
        # With none on, nothing moves, exactly; else against the drift of many updates.
        if cell.sizes[1] == 0 or cell.sizes[2] > 1000 + cell.side.size:
            sum_up(planes, cell)


@routine
def factorise(x, rows, count, basis, lower):
    """x[rows[:count]] = lower basis, by Gram-Schmidt, twice."""
    for s in range(count):
        row = basis[s]
        put(row, x[rows[s]])
        fill(lower[s], 0.0)
        for _ in range(2):
            for r in range(s):
                along = dot(basis[r], row)
                lower[s, r] += along
                add(row, -along, basis[r])
        lower[s, s] = math.sqrt(dot(row, row))
        for i in range(row.size):
            row[i] /= lower[s, s]


@routine
def solve_transposed(lower, count, v):
    """v[:count] = lower^-T v"""
    for s in range(count - 1, -1, -1):
        for r in range(s + 1, count):
            v[s] -= lower[r, s] * v[r]
        v[s] /= lower[s, s]


@routine
def settle(planes, cell, y):
    """Decide for every hyperplane slid in whether it is still, or on, or off, and prepare the slide.

    The gamma in [0, -a y_j/n] with g - sum gamma_j x_j nearest to 0, by bounded-variable least squares (Stark
    & Parker 1995): a bound is freed only while its x_j gains from it, hence the free rows stay independent.
    """
    count = cell.sizes[0]
    members = np.empty(count, np.int64)
    put(members, cell.members)
    cell.sizes[0] = 0
    rate = np.empty(y.size)
    cell_field(y, cell, rate)
    g, residual = rate[1:], np.empty(y.size - 1)
    upper, gamma, goal = np.empty(count), np.empty(count), np.empty(count)
    verdict, slots, rows = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    for k in range(count):
        upper[k] = -y[0] * planes.jump[members[k]] / planes.n
    fill(gamma, 0.0)
    fill(verdict, OFF)
    least = 1e-13 * math.sqrt(dot(g, g))
    for _ in range(20 * count):
        put(residual, g)
        for k in range(count):
            add(residual, -gamma[k], planes.x[members[k]])
        most, which = least, -1
        for k in range(count):
            if verdict[k] != SLIDING:
                gain = dot(residual, planes.x[members[k]]) * planes.inverse_norm[members[k]]
                gain = gain if verdict[k] == OFF else -gain
                if gain > most:
                    most, which = gain, k
        if which < 0:
            break
        verdict[which] = SLIDING
        while True:
            free = 0
            put(residual, g)
            for k in range(count):
                if verdict[k] == SLIDING:
                    slots[free], rows[free] = k, members[k]
                    free += 1
                else:
                    add(residual, -gamma[k], planes.x[members[k]])
            factorise(planes.x, rows, free, cell.basis, cell.lower)
            for s in range(free):
                goal[s] = dot(cell.basis[s], residual)
            solve_transposed(cell.lower, free, goal)
            # Go there, or as far as the first bound.
            part, stop = 1.0, -1
            for s in range(free):
                k = slots[s]
                if goal[s] < 0.0 or goal[s] > upper[k]:
                    reach = ((0.0 if goal[s] < 0.0 else upper[k]) - gamma[k]) / (goal[s] - gamma[k])
                    if stop < 0 or reach < part:
                        part, stop = reach, s
            for s in range(free):
                gamma[slots[s]] += part * (goal[s] - gamma[slots[s]])
            if stop < 0:
                break
            k = slots[stop]
            verdict[k] = OFF if goal[stop] < 0.0 else ON
            gamma[k] = 0.0 if verdict[k] == OFF else upper[k]
    for k in range(count):
        set_side(planes, cell, members[k], verdict[k])
        if verdict[k] == SLIDING:
            cell.members[cell.sizes[0]] = members[k]
            cell.sizes[0] += 1
    prepare_slide(planes, cell, y)


@routine
def prepare_slide(planes, cell, y):
    """Basis of the slide, w projected on it, and the multipliers as functions of a w."""
    count = cell.sizes[0]
    factorise(planes.x, cell.members, count, cell.basis, cell.lower)
    w = y[1:]
    for s in range(count):
        add(w, -dot(cell.basis[s], w), cell.basis[s])
    # alpha = -(n/y) (X X^T)^-1 X (b - A a w), and (X X^T)^-1 X = lower^-T basis
    for s in range(count - 1, -1, -1):
        row = cell.slope[s]
        put(row, cell.basis[s])
        for r in range(s + 1, count):
            add(row, -cell.lower[r, s], cell.slope[r])
        for i in range(row.size):
            row[i] /= cell.lower[s, s]
    row = np.empty(w.size)
    for s in range(count):
        factor = planes.n / planes.jump[cell.members[s]]
        put(row, cell.slope[s])
        cell.share[s] = -factor * dot(row, cell.b)
        fill(cell.slope[s], 0.0)
        for j in range(row.size):
            add(cell.slope[s], factor * row[j], cell.A[j])


@routine
def release(cell, s):
    """Take the s-th hyperplane out of the slide; returns it."""
    j = cell.members[s]
    for r in range(s, cell.sizes[0] - 1):
        cell.members[r] = cell.members[r + 1]
    cell.sizes[0] -= 1
    return j


@routine
def enter_next(planes, cell, y, kind, which):
    """Update the cell for the event (kind, which) at the state y."""
    if kind == REACHED:
        slides = y[0] * planes.jump[which] < 0.0
        set_side(planes, cell, which, SLIDING if slides else ON - cell.side[which])
        if slides:
            cell.members[cell.sizes[0]] = which
            cell.sizes[0] += 1
        if cell.sizes[0] > 0:
            settle(planes, cell, y)
        return
    for _ in range(cell.sizes[0] if kind == TURNED else 1):
        set_side(planes, cell, release(cell, which), ON if kind == FULL else OFF)
    prepare_slide(planes, cell, y)


@routine
def section(c, low, high, out):
    """Bernstein coefficients on [low, high] of the polynomial that has c on [0, 1] (de Casteljau)."""
    degree = c.size - 1
    put(out, c)
    for level in range(degree):
        for i in range(degree - level):
            out[i] += low * (out[i + 1] - out[i])
    part = (high - low) / (1.0 - low)
    for level in range(degree):
        for i in range(degree, level, -1):
            out[i] = out[i - 1] + part * (out[i] - out[i - 1])


@routine
def bernstein_value(c, t, scratch):
    degree = c.size - 1
    put(scratch, c)
    for level in range(degree):
        for i in range(degree - level):
            scratch[i] += t * (scratch[i + 1] - scratch[i])
    return scratch[0]


@routine
def first_root(c, latest, part, scratch):
    """The first t in [0, latest] at which a polynomial falls to 0 from above, NEVER if none; c (8,) or (15,).

    A polynomial lies in the hull of its Bernstein coefficients and changes sign at most as often as they
    do, so that no pair of roots within the step is missed.
    """
    if c[0] <= 0.0:
        return 0.0
    low, high = 0.0, min(latest, 1.0)
    while low < high:
        if low == 0.0 and high == 1.0:
            put(part, c)
        else:
            section(c, low, high, part)
        changes = 0
        for i in range(1, part.size):
            if (part[i] <= 0.0) != (part[i - 1] <= 0.0):
                changes += 1
        if changes == 0:
            if part[0] <= 0.0:
                return low
            if high >= min(latest, 1.0):
                return NEVER
            low, high = high, min(latest, 1.0, 2.0 * high - low + 1e-300)
            continue
        if changes > 1 and high - low > 1e-12:
            high = 0.5 * (low + high)
            continue
        # One simple root: regula falsi in its Illinois form.
        left, right, at_left, at_right, last = 0.0, 1.0, part[0], part[part.size - 1], 0
        while right - left > 1e-15:
            middle = right - (right - left) * at_right / (at_right - at_left)
            if not left < middle < right:
                middle = 0.5 * (left + right)
                if not left < middle < right:
                    break
            value = bernstein_value(part, middle, scratch)
            if value <= 0.0:
                at_left *= 0.5 if last == 1 else 1.0
                right, at_right, last = middle, value, 1
            else:
                at_right *= 0.5 if last == -1 else 1.0
                left, at_left, last = middle, value, -1
            if value == 0.0:
                break
        return low + right * (high - low)
    return NEVER


class Watch(NamedTuple):
    """The hyperplanes nearest to a reference direction of w: only they can be reached until w has turned.

    All others are at |x.e| >= reach |x| from the unit vector e.
    """

    near: NDArray[np.int64]  # (m,), which
    columns: Array  # (d, m), their x
    norm: Array  # (m,)
    start: Array  # (m,), x.w at the start of the step
    stop: Array  # (m,), and at its end
    reference: Array  # (d,), the unit vector e
    every: Array  # (m,), x.w of all
    size: NDArray[np.int64]  # (1,), how many; as much of each array is in use
    reach: Array  # (1,)


@routine
def watch_all(planes, y, watch):
    """Fill watch.every with x.w."""
    fill(watch.every, 0.0)
    for j in range(y.size - 1):
        add(watch.every, y[1 + j], planes.columns[j])


@routine
def look_around(planes, y, watch):
    """Choose the hyperplanes to watch from the state y on, those within reach."""
    m, d = planes.x.shape
    # Looking at all costs O(m) a time, watching O(most) a step, and about `most` steps pass between.
    most = 16.0 + 4.0 * math.sqrt(m)
    watch_all(planes, y, watch)
    rho = math.sqrt(dot(y[1:], y[1:]))
    for j in range(d):
        watch.reference[j] = y[1 + j] / rho
    reach = min(watch.reach[0], 2.0)
    for _ in range(20):
        count = 0
        for i in range(m):
            if abs(watch.every[i]) * planes.inverse_norm[i] < reach * rho:
                count += 1
        if count <= most and (2 * count >= most or count == m):
            break
        # Their number is about proportional to the reach.
        reach *= min(2.0, 0.8 * most / (count + 1))
    count = 0
    for i in range(m):
        if abs(watch.every[i]) * planes.inverse_norm[i] < reach * rho:
            watch.near[count] = i
            watch.norm[count] = 1.0 / planes.inverse_norm[i]
            watch.start[count] = watch.every[i]
            for j in range(d):
                watch.columns[j, count] = planes.x[i, j]
            count += 1
    watch.size[0] = count
    # No hyperplane is farther than 1 from a unit vector.
    watch.reach[0] = reach if count < m else math.inf


@routine
def watched(watch, y, out):
    """x.w of the hyperplanes watched."""
    count = watch.size[0]
    fill(out[:count], 0.0)
    for j in range(y.size - 1):
        add(out[:count], y[1 + j], watch.columns[j])


@routine
def room(watch, y):
    """How far w may move before a hyperplane that is not watched can be reached."""
    if watch.reach[0] == math.inf:
        return math.inf
    w = y[1:]
    along = dot(watch.reference, w)
    # |x.w|/|x| >= (along) reach - |w - along e|
    return along * watch.reach[0] - math.sqrt(max(dot(w, w) - along * along, 0.0))


@routine
def bend_of(dense):
    """Bound on the distance of w(t) from its chord within the step."""
    total = 0.0
    for r in range(1, DEGREE):
        total += PEAKS[r] * math.sqrt(dot(dense[r, 1:], dense[r, 1:]))
    return total


class Curve(NamedTuple):
    """Scratch of `next_event`."""

    y: Array  # (8, 1 + d), Bernstein coefficients of the step
    terms: Array  # (7,), of the dense output of one function
    c: Array  # (8,), and its Bernstein coefficients
    part: Array
    scratch: Array
    alpha: Array  # (15,), those of a multiplier
    alpha_part: Array
    alpha_scratch: Array


@routine
def bernstein(start, terms, out):
    """Bernstein coefficients (8,) of a function with this start and these terms (7,) of the dense output."""
    for k in range(DEGREE + 1):
        out[k] = start
        for r in range(DEGREE):
            out[k] += TERMS[k, r] * terms[r]


@routine
def next_event(planes, cell, watch, y, dense, bend, curve):
    """(fraction of the step, kind, which) of the first event in it; (NEVER, NOTHING, 0) if there is none."""
    best, kind, which = NEVER, NOTHING, 0
    rho = math.sqrt(dot(y[1:], y[1:]))
    for c in range(watch.size[0]):
        index = watch.near[c]
        sign = 1.0 if cell.side[index] == ON else -1.0
        margin = bend * watch.norm[c]
        slack = SLACK * watch.norm[c] * rho
        v0, v1 = sign * watch.start[c] + slack, sign * watch.stop[c] + slack
        # Up to the first event found so far it stays above its chord less the margin.
        above = v0 > margin and v0 + min(best, 1.0) * (v1 - v0) > margin
        if above or cell.side[index] == SLIDING:
            continue
        for r in range(DEGREE):
            curve.terms[r] = sign * dot(dense[r, 1:], planes.x[index])
        bernstein(v0, curve.terms, curve.c)
        t = first_root(curve.c, best, curve.part, curve.scratch)
        if t < best:
            best, kind, which = t, REACHED, index
    if cell.sizes[0] > 0:
        return first_release(cell, y, dense, curve, best, kind, which)
    return best, kind, which


@routine
def first_release(cell, y, dense, curve, best, kind, which):
    """The first event of a slide, if earlier than the one given: a = 0, alpha = 0 or alpha = 1."""
    for i in range(y.size):
        for r in range(DEGREE):
            curve.terms[r] = dense[r, i]
        bernstein(y[i], curve.terms, curve.c)
        for k in range(DEGREE + 1):
            curve.y[k, i] = curve.c[k]
    for k in range(DEGREE + 1):
        curve.c[k] = curve.y[k, 0] if y[0] > 0.0 else -curve.y[k, 0]
    t = first_root(curve.c, best, curve.part, curve.scratch)
    if t < best:
        best, kind, which = t, TURNED, 0
    for s in range(cell.sizes[0]):
        fill(curve.alpha, cell.share[s])
        size = abs(cell.share[s])
        for j in range(DEGREE + 1):
            value = dot(cell.slope[s], curve.y[j, 1:])
            size += abs(value)
            for i in range(DEGREE + 1):
                curve.alpha[i + j] += PRODUCT[i, j] * curve.y[i, 0] * value
        # alpha is known up to rounding of its terms
        slack = 1e-12 + 1e-15 * y.size * size
        for target in (EMPTY, FULL):
            for i in range(curve.alpha.size):
                curve.alpha[i] = (curve.alpha[i] if target == EMPTY else 1.0 + slack - curve.alpha[i]) + slack
            t = first_root(curve.alpha, best, curve.alpha_part, curve.alpha_scratch)
            if t < best:
                best, kind, which = t, target, s
    return best, kind, which


@routine
def projected(cell, A, b):
    """Fill A and b with P A P and P b, P the projection on the slide."""
    d = b.size
    across = np.empty(d)
    put(b, cell.b)
    for j in range(d):
        put(A[j], cell.A[j])
    for s in range(cell.sizes[0]):
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
    for s in range(cell.sizes[0]):
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
def record_shares(cell, y, out):
    """Share of the active side of every hyperplane, (m,): 1 on, 0 off, alpha where slid in."""
    for i in range(out.size):
        out[i] = 1.0 if cell.side[i] == ON else 0.0
    for s in range(cell.sizes[0]):
        out[cell.members[s]] = cell.share[s] + y[0] * dot(cell.slope[s], y[1:])


@routine
def begin(planes, cell, watch, y):
    """The cell of a start: phi'(0) = 0 puts those at w.x_i = 0 on the inactive side."""
    watch_all(planes, y, watch)
    for i in range(cell.side.size):
        cell.side[i] = ON if watch.every[i] > 0.0 else OFF
    cell.sizes[0] = 0
    watch.reach[0] = 2.0
    sum_up(planes, cell)


@routine
def at_rest(cell, y, rate):
    """EVENT if the neuron is dead, CONVERGED if it moves no more, up to rounding, END if it moves."""
    w = y[1:]
    square, speed, pull = dot(w, w), math.sqrt(dot(rate, rate)), math.sqrt(dot(cell.b, cell.b))
    if speed == 0.0 and pull == 0.0:
        return EVENT
    if square <= TINY_NORM * TINY_NORM and dot(w, rate[1:]) <= 0.0:
        return EVENT
    # w' = a r with r a difference of terms of size |b|
    return CONVERGED if math.sqrt(dot(rate[1:], rate[1:])) <= ROUNDING * abs(y[0]) * pull else END


@routine
def step(cell, y, h, k, y1):
    attempt(cell_field, cell, y, h, k, y1)


@routine
def arrive(planes, cell, y, lapse, kind, which, k, k_within, out):
    """The state at an event at about `lapse`; returns its time.

    By a step of its own, since nothing controls the error of the dense output that located it. What is left
    to the hyperplane is gone along the flow, and the rest, of second order, straight.
    """
    put(k_within[0], k[0])
    step(cell, y, lapse, k_within, out)
    if kind == REACHED:
        w, x = out[1:], planes.x[which]
        sign = 1.0 if cell.side[which] == ON else -1.0
        speed = dot(k_within[STAGES, 1:], x)
        shift = -dot(w, x) / speed if speed * sign < 0.0 else math.inf
        if abs(shift) < 0.1 * lapse:
            add(out, shift, k_within[STAGES])
            lapse += shift
        add(w, -dot(w, x) * planes.inverse_norm[which] ** 2, x)
    elif kind == TURNED:
        out[0] = 0.0
    return lapse


@routine
def rebalance(y, c):
    """a from a^2 = c + |w|^2: with c >= 0 it never passes 0, which a drift of c can make it do near w = 0."""
    if c >= 0.0:
        y[0] = math.copysign(math.sqrt(c + dot(y[1:], y[1:])), y[0])


class Options(NamedTuple):
    rtol: float
    atol: float
    limit: bool
    t_certain: float
    tolerance: float


@kernel()
def follow(planes, options, y, c, times, path, shares, log, cell, watch, curve, work):
    """Follow one trajectory; returns (reason, t, events, ambiguous) and leaves its last state in y."""
    k, k_within, y1, dense, scratch = work
    t, t_end, filled, events, ambiguous = 0.0, times[-1], 0, 0, False
    spacing, gap, calm, rejected = math.inf, 0.0, 0, False
    begin(planes, cell, watch, y)
    cell_field(y, cell, k[0])
    h = first_step(cell_field, cell, y, options.rtol, options.atol, k, y1)
    reason = FAILED
    if at_rest(cell, y, k[0]) == END:
        look_around(planes, y, watch)
    for _ in range(MAX_STEPS):
        while filled < times.size and times[filled] <= t:
            put(path[filled], y)
            if shares.size > 0:
                record_shares(cell, y, shares[filled])
            filled += 1
        if filled == times.size:
            reason = END
            break
        rest = at_rest(cell, y, k[0])
        if rest != END:
            reason = rest if options.limit or rest == EVENT else END
            break
        if options.limit and calm >= 64:
            calm = 0
            certain, distance = limit_of(planes, cell, watch, y, 1e-3 * options.tolerance, scratch)
            if certain and (distance <= options.tolerance or t >= options.t_certain):
                put(y, scratch)
                reason = CONVERGED if distance <= options.tolerance else CERTAIN
                break
        if options.limit and t >= options.t_certain and y[0] < 0.0 and c >= 0.0:
            reason = CERTAIN
            break
        h = min(h, t_end - t)
        rho, speed = math.sqrt(dot(y[1:], y[1:])), math.sqrt(dot(k[0, 1:], k[0, 1:]))
        space = room(watch, y)
        if h * speed > 0.9 * space:
            if space < 0.5 * watch.reach[0] * rho:
                look_around(planes, y, watch)
                space = watch.reach[0] * rho
            h = min(h, 0.9 * space / speed)
        last = h >= t_end - t
        if t + h <= t:
            break
        step(cell, y, h, k, y1)
        # Near w = 0 the direction of w has to be right, not only its size.
        error = error_norm(y, y1, h, k, options.rtol, options.atol * min(1.0, rho))
        if not error < 1.0:
            h *= min(1.0, step_factor(error))
            rejected = True
            continue
        prepare_dense(cell_field, cell, y, y1, h, k, dense, scratch)
        bend = bend_of(dense)
        # All the hyperplanes meet at w = 0: it is approached, but never stepped over.
        if min(space, room(watch, y1)) <= bend or dot(y[1:], y1[1:]) < 0.1 * rho * rho:
            h *= 0.5
            rejected = True
            continue
        watched(watch, y1, watch.stop)
        fraction, kind, which = next_event(planes, cell, watch, y, dense, bend, curve)
        if kind == NOTHING:
            t_new = t_end if last else t + h
        else:
            t_new = t + arrive(planes, cell, y, fraction * h, kind, which, k, k_within, y1)
        while filled < times.size and times[filled] < t_new:
            put(k_within[0], k[0])
            step(cell, y, times[filled] - t, k_within, path[filled])
            if shares.size > 0:
                record_shares(cell, path[filled], shares[filled])
            filled += 1
        rebalance(y1, c)
        put(y, y1)
        factor = step_factor(error)
        gap += t_new - t
        if kind == NOTHING:
            put(k[0], k[STAGES])
            put(watch.start, watch.stop)
            calm += 8
            h *= min(1.0, factor) if rejected else factor
        else:
            if events < log.size:
                log[events] = t_new
            events += 1
            ambiguous = ambiguous or kind == TURNED
            enter_next(planes, cell, y, kind, which)
            cell_field(y, cell, k[0])
            watched(watch, y, watch.start)
            # A step is worth taking up to the next event only.
            spacing = gap if spacing == math.inf else 0.7 * spacing + 0.3 * gap
            gap = 0.0
            calm += 1
            h = min(h * factor, 4.0 * spacing)
        t = t_new
        rejected = False
    if reason == EVENT and dot(y[1:], y[1:]) <= TINY_NORM * TINY_NORM:
        fill(y[1:], 0.0)
    while filled < times.size:
        put(path[filled], y)
        if shares.size > 0:
            record_shares(cell, y, shares[filled])
        filled += 1
    return reason, t, events, ambiguous


class SampleFlow(NamedTuple):
    """B trajectories of the flow of n samples."""

    path: Array  # (B, T, 1 + d), (a, w) at the times asked for
    end: Array  # (B, 1 + d), the last state; with `limit` of a decided trajectory its limit
    reason: NDArray[np.int64]  # (B,), why it ended
    time: Array  # (B,), when
    events: NDArray[np.int64]  # (B,), crossings, entries and releases
    ambiguous: NDArray[np.bool_]  # (B,), whether a passed 0 while sliding: no unique continuation


def _run(
    planes: Hyperplanes,
    options: Options,
    a: Array,
    w: Array,
    c: Array | None,
    times: Array,
    shares: Array,
    log: Array,
) -> SampleFlow:
    start = np.concatenate([np.reshape(a, (-1, 1)), w], axis=1).astype(np.float64)
    size, width = start.shape
    if c is None:
        rho = np.linalg.norm(start[:, 1:], axis=1)
        c = (np.abs(start[:, 0]) - rho) * (np.abs(start[:, 0]) + rho)
    times = np.array(times, dtype=np.float64)
    flow = SampleFlow(
        np.empty((size, times.size, width)),
        np.empty((size, width)),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.bool_),
    )

    def run(part: range) -> None:
        scratch = _scratch(*planes.x.shape)
        for i in part:
            y = flow.end[i]
            y[:] = start[i]
            ended = follow(planes, options, y, c[i], times, flow.path[i], shares, log, *scratch)
            flow.reason[i], flow.time[i], flow.events[i], flow.ambiguous[i] = ended

    # Threads, since the kernel holds no lock: with numba's `prange` around it, it compiles twice as long.
    threads = min(numba.get_num_threads(), size)
    if threads <= 1:
        run(range(size))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, [range(i, size, 8 * threads) for i in range(min(size, 8 * threads))]))
    return flow


def _scratch(m: int, d: int) -> tuple[Cell, Watch, Curve, tuple[Array, ...]]:
    cell = Cell(
        np.empty((d, d)),
        np.empty(d),
        np.empty((d + 1, d)),
        np.zeros(3, np.int64),
        np.empty(m, np.int64),
        np.empty(d + 1, np.int64),
        np.empty(d + 1),
        np.empty((d + 1, d)),
        np.zeros((d + 1, d + 1)),
    )
    # All m may be watched, but memory that is never touched costs nothing.
    watch = Watch(
        np.empty(m, np.int64),
        np.empty((d, m)),
        np.empty(m),
        np.empty(m),
        np.empty(m),
        np.empty(d),
        np.empty(m),
        np.zeros(1, np.int64),
        np.empty(1),
    )
    short, long = DEGREE + 1, 2 * DEGREE + 1
    vectors = (np.empty(size) for size in (DEGREE, short, short, short, long, long, long))
    stages = np.empty((ROWS, 1 + d)), np.empty((ROWS, 1 + d))
    work = *stages, np.empty(1 + d), np.empty((DEGREE, 1 + d)), np.empty(1 + d)
    return cell, watch, Curve(np.empty((short, 1 + d)), *vectors), work


def sample_flow(
    x: Array,
    y: Array,
    a: Array,
    w: Array,
    times: Array,
    *,
    c: Array | None = None,
    rtol: float,
    atol: float,
    limit: bool = False,
    t_certain: float = 1e3,
    tolerance: float = TOLERANCE,
) -> SampleFlow:
    """The flow of samples x (n, d), y (n,) from starts a (B,), w (B, d) to the increasing `times` (T,).

    c (B,) : balance of the starts, exactly 0 where balanced by construction; a does not pass 0 where c >= 0.
    limit : end a trajectory where it tends to the critical point of its cell, for certain, and is within
        `tolerance` of it in a w (CONVERGED; from t_certain on at any distance: CERTAIN); `end` is that point.
        From t_certain on a < 0 <= c ends it too (CERTAIN): a keeps its sign, and never fits a target.
    Always, a trajectory ends where no sample is active, or where w reached 0, in finite time (EVENT: dead).
    Where a passes 0 while sliding the hyperplane turns repelling and the continuation is not unique: by
    convention all slid in go to the inactive side, and the trajectory is marked ambiguous.
    """
    planes, _, _ = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), bool(limit), float(t_certain), float(tolerance))
    return _run(planes, options, a, w, c, times, np.empty((0, 0)), np.empty(0))


def sample_trace(
    x: Array, y: Array, a: float, w: Array, times: Array, *, c: float | None = None, rtol: float, atol: float
) -> tuple[SampleFlow, Array, Array]:
    """One trajectory in detail: its flow, each sample's share of the active side, and the times of events.

    Shares (T, n) are 1 where the sample is active, 0 where not, and its multiplier alpha while slid on.
    """
    planes, group, scale = hyperplanes(x, y)
    options = Options(float(rtol), float(atol), False, math.inf, 0.0)
    start = np.atleast_1d(a), np.atleast_2d(w), None if c is None else np.atleast_1d(c)
    events = _run(planes, options, *start, times, np.empty((0, 0)), np.empty(0)).events[0]
    shares, log = np.empty((len(times), len(planes.x))), np.empty(events)
    flow = _run(planes, options, *start, times, shares, log)
    shares = shares[:, group]
    return flow, np.where(scale > 0, shares, np.where(scale < 0, 1 - shares, 0.0)), log
