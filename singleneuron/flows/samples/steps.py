"""What happens at the ends of a step along the flow of samples."""

import math

from singleneuron.flows.samples.cells import OFF, ON, SLID, record_shares, sum_up
from singleneuron.flows.samples.near_planes import look_around, room, watch_all
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import add, dot, put


@routine
def begin(planes, cell, watch, y):
    """The cell of a start: phi'(0) = 0 puts those at w.x_i = 0 on the inactive side."""
    watch_all(planes, y, watch)
    for i in range(cell.side.size):
        cell.side[i] = ON if watch.every[i] > 0.0 else OFF
    cell.counts[SLID] = 0
    watch.reach[0] = 2.0
    sum_up(planes, cell)


@routine
def rebalance(cell, y, c):
    """w back on the hyperplanes slid in, and a from a^2 = c + |w|^2, against the drift of either.

    With c >= 0 a never passes 0, which a drift of c can make it do near w = 0.
    """
    w = y[1:]
    for s in range(cell.counts[SLID]):
        add(w, -dot(cell.basis[s], w), cell.basis[s])
    if c >= 0.0:
        y[0] = math.copysign(math.sqrt(c + dot(y[1:], y[1:])), y[0])


@routine
def within_reach(planes, watch, y, rate, h):
    """(h, or less, and how far w may move) for a step that reaches no hyperplane which is not watched."""
    rho, speed = math.sqrt(dot(y[1:], y[1:])), math.sqrt(dot(rate, rate))
    space = room(watch, y)
    if h * speed > 0.9 * space:
        if space < 0.5 * watch.reach[0] * rho:
            look_around(planes, y, watch)
            space = watch.reach[0] * rho
        h = min(h, 0.9 * space / speed)
    return h, space


@routine
def record(cell, y, state, shares):
    """Keep the state, and the shares of its samples where they are wanted."""
    put(state, y)
    if shares.size > 0:
        record_shares(cell, y, shares)
