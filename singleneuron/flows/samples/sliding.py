"""Filippov sliding: decide in which hyperplanes the flow slides, and compute their multipliers.

w' jumps by a y_i x_i/n across w.x_i = 0. If a y_i > 0, a flow that arrives there crosses. If a y_i < 0, both
sides may push towards the hyperplane, and the flow then slides in it. Let J be the hyperplanes in which w
lies, and let g = a r be the value of w' if all of them are off. Filippov's solution is the point
w' = g - sum_J gamma_j x_j nearest to 0 for which 0 <= gamma_j <= -a y_j/n. The multiplier
alpha_j = gamma_j n/(-a y_j) is the share of the active side of hyperplane j. When alpha_j reaches 1, w is
released to the active side. When it reaches 0, w is released to the inactive side.
"""

import math

import numpy as np

from singleneuron.flows.samples.cells import OFF, ON, SLID, SLIDING, cell_field, set_side
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import add, dot, fill, put


@routine
def factorise(x, rows, basis, lower):
    """Factorise x[rows] = lower @ basis by Gram-Schmidt, done twice so that the basis is orthonormal."""
    for s in range(rows.size):
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
    """Replace v[:count] by lower^-T v."""
    for s in range(count - 1, -1, -1):
        for r in range(s + 1, count):
            v[s] -= lower[r, s] * v[r]
        v[s] /= lower[s, s]


@routine
def nearest_to_zero(planes, members, upper, g, gamma, verdict, cell):
    """Fill `gamma` (k,) in [0, upper] so that g - sum gamma_j x_j over the members is nearest to 0.

    This is bounded-variable least squares (Stark & Parker 1995). A gamma_j is freed from its bound only if
    this shrinks the residual, so the x_j of all free gamma_j stay independent. `verdict` becomes OFF if
    gamma_j is 0, ON if it is at its upper bound, and SLIDING in between.
    """
    count = members.size
    residual, goal = np.empty(g.size), np.empty(count)
    slots, rows = np.empty(count, np.int64), np.empty(count, np.int64)
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
            factorise(planes.x, rows[:free], cell.basis, cell.lower)
            for s in range(free):
                goal[s] = dot(cell.basis[s], residual)
            solve_transposed(cell.lower, free, goal)
            # Move to the goal, or only to the first bound on the way.
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


@routine
def join(cell, j):
    """Add hyperplane j to the slide."""
    cell.members[cell.counts[SLID]] = j
    cell.counts[SLID] += 1


@routine
def release(cell, s):
    """Remove the s-th hyperplane from the slide; return its index."""
    j = cell.members[s]
    for r in range(s, cell.counts[SLID] - 1):
        cell.members[r] = cell.members[r + 1]
    cell.counts[SLID] -= 1
    return j


@routine
def prepare_slide(planes, cell, y):
    """Compute the basis of the slide, and the multipliers as functions of a w; project w onto the slide."""
    count = cell.counts[SLID]
    factorise(planes.x, cell.members[:count], cell.basis, cell.lower)
    w = y[1:]
    for s in range(count):
        add(w, -dot(cell.basis[s], w), cell.basis[s])
    # alpha = -(n/y) (X X^T)^-1 X (b - A a w), where (X X^T)^-1 X = lower^-T basis.
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
def settle(planes, cell, y):
    """Decide which hyperplanes stay in the slide and which become ON or OFF, and prepare the new slide."""
    count = cell.counts[SLID]
    members, verdict = np.empty(count, np.int64), np.empty(count, np.int64)
    upper, gamma, rate = np.empty(count), np.empty(count), np.empty(y.size)
    put(members, cell.members)
    for k in range(count):
        upper[k] = -y[0] * planes.jump[members[k]] / planes.n
    cell.counts[SLID] = 0
    cell_field(y, cell, rate)
    nearest_to_zero(planes, members, upper, rate[1:], gamma, verdict, cell)
    for k in range(count):
        set_side(planes, cell, members[k], verdict[k])
        if verdict[k] == SLIDING:
            join(cell, members[k])
    prepare_slide(planes, cell, y)
