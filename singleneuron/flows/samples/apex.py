"""The apex w = 0, where all hyperplanes meet, and how a flow on samples continues after it arrives there.

Next to w = 0 the flow is w' = a b_S, where b_S is the b of the cell (see `cells`). This velocity is piecewise
constant, so paths are polygons. A path that arrives at 0 is continued straight across, from w to -w. If 0
lies outside the convex hull of the fields a b_S, let g be the point of the hull nearest to 0. Every field f
in the hull has f.g >= |g|^2, so w.g grows along every path. It is negative on arrival at 0 and positive after
that, so the path cannot come back. Hence a path that does come back proves that the hull contains 0. The flow
then stays at w = 0, and the neuron is dead.

The continuation is not unique if several rays lead away from w = 0. It is also not unique if one ray leads
away although the hull contains 0, because w may then stay as well. In these cases, going straight across is a
convention. Gradient descent overshoots, and usually agrees with this convention. With small steps, which hop
back and forth across the slides of the flow, descent did not end where the flow ended for 1 of 5,100 starts
(a > 0, d = 2, n = 10 to 50, noise 1), and for 7 of 5,683 starts in another draw.
"""

import math

import numpy as np

from singleneuron.flows.samples.cells import OFF, ON, SLID, SLIDING, sum_up
from singleneuron.flows.samples.events import REACHED, SLACK, enter_next
from singleneuron.flows.samples.near_planes import watch_all
from singleneuron.flows.samples.sliding import prepare_slide, settle
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import add, dot, put

LEAVES, RESTS, RETURNS, ENDLESS = range(4)
ROUNDING = 1e-13  # a sum below this multiple of its terms counts as 0
ARRIVED = 1e-6  # a path has arrived at w = 0 when |w| falls below this multiple of its initial value


@routine
def strength(planes):
    """Return an upper bound on |b_S| over all cells.

    A |b_S| below ROUNDING times this bound counts as 0.
    """
    total = math.sqrt(dot(planes.pull, planes.pull))
    for i in range(planes.jump.size):
        total += abs(planes.jump[i]) / planes.inverse_norm[i]
    return total / planes.n


@routine
def velocity(cell, a, out):
    """Fill `out` with the velocity a b_S, projected onto the slide of the cell; return its norm."""
    for i in range(out.size):
        out[i] = a * cell.b[i]
    for s in range(cell.counts[SLID]):
        add(out, -dot(cell.basis[s], out), cell.basis[s])
    return math.sqrt(dot(out, out))


@routine
def first_hit(planes, cell, watch, y, f, speed):
    """Return (t, which) of the first hyperplane that w + t f meets, or (inf, -1) if it meets none."""
    watch_all(planes, y, watch)
    earliest, which = math.inf, -1
    for i in range(cell.side.size):
        if cell.side[i] != SLIDING:
            sign = 1.0 if cell.side[i] == ON else -1.0
            approach = -sign * dot(planes.x[i], f)
            if approach * planes.inverse_norm[i] > ROUNDING * speed:
                t = max(sign * watch.every[i], 0.0) / approach
                if t < earliest:
                    earliest, which = t, i
    return earliest, which


@routine
def follow_polygon(planes, cell, watch, y, f):
    """Follow the path of w' = a b_S from y to its last piece; return (how it ends, number of earlier pieces).

    The path LEAVES if no hyperplane lies ahead, RESTS if b_S = 0, RETURNS if its last piece leads to w = 0,
    and is ENDLESS if it has too many pieces. y and its cell are moved to the start of the last piece, and f
    becomes the velocity along this piece.
    """
    w = y[1:]
    start, least = math.sqrt(dot(w, w)), ROUNDING * abs(y[0]) * strength(planes)
    trial = np.empty(w.size)
    for pieces in range(100 + 10 * cell.side.size):
        speed = velocity(cell, y[0], f)
        if speed <= least:
            return RESTS, pieces
        t, which = first_hit(planes, cell, watch, y, f, speed)
        if which < 0:
            return LEAVES, pieces
        put(trial, w)
        add(trial, t, f)
        if dot(trial, trial) <= (ARRIVED * start) ** 2:
            return RETURNS, pieces
        put(w, trial)
        add(w, -dot(w, planes.x[which]) * planes.inverse_norm[which] ** 2, planes.x[which])
        enter_next(planes, cell, y, REACHED, which)
    return ENDLESS, pieces


@routine
def cross(planes, cell, watch, y, f):
    """Move w straight across 0, along the velocity f, and update the cell."""
    w = y[1:]
    rho = math.sqrt(dot(w, w))
    factor = rho / math.sqrt(dot(f, f))
    for i in range(w.size):
        w[i] = factor * f[i]
    watch_all(planes, y, watch)
    for i in range(cell.side.size):
        if cell.side[i] != SLIDING and abs(watch.every[i]) * planes.inverse_norm[i] > SLACK * rho:
            cell.side[i] = ON if watch.every[i] > 0.0 else OFF
    sum_up(planes, cell)
    if cell.counts[SLID] > 0:
        settle(planes, cell, y)


@routine
def pass_apex(planes, cell, watch, y):
    """Continue the path from y, next to w = 0; return (how it ends, whether y or its cell changed).

    If the path LEAVES, w is placed on the ray of its last piece, at the same distance from 0 as before. Two
    things are neglected: the time that the path takes, and A w, which is small compared with b.
    """
    w = y[1:]
    f = np.empty(w.size)
    rho = math.sqrt(dot(w, w))
    # w is so small that rounding has carried it off its slide.
    sum_up(planes, cell)
    prepare_slide(planes, cell, y)
    end, pieces = follow_polygon(planes, cell, watch, y, f)
    crossed = end == RETURNS
    if crossed:
        cross(planes, cell, watch, y, f)
        end, pieces = follow_polygon(planes, cell, watch, y, f)
    if end == LEAVES:
        factor = rho / math.sqrt(dot(f, f))
        for i in range(w.size):
            w[i] = factor * f[i]
    return end, crossed or pieces > 0 or end == LEAVES


@routine
def comes_back(planes, cell, watch, y):
    """Return whether the path from y leads to w = 0 rather than past it; leave y and its cell unchanged."""
    side, members, count = cell.side.copy(), cell.members.copy(), cell.counts[SLID]
    state, f = y.copy(), np.empty(y.size - 1)
    sum_up(planes, cell)
    prepare_slide(planes, cell, state)
    end, _ = follow_polygon(planes, cell, watch, state, f)
    put(cell.side, side)
    put(cell.members, members)
    cell.counts[SLID] = count
    sum_up(planes, cell)
    put(state, y)
    prepare_slide(planes, cell, state)
    return end == RETURNS
