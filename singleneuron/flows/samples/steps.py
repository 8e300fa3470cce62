"""Routines that run before and after the steps of the flow on samples."""

import math

from singleneuron.flows.samples.cells import OFF, ON, SLID, record_shares, sum_up
from singleneuron.flows.samples.near_planes import look_around, room, watch_all
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import add, dot, put


@routine
def begin(planes, cell, watch, y):
    """Set up the cell of a start; because phi'(0) = 0, samples with w.x_i = 0 are inactive."""
    watch_all(planes, y, watch)
    for i in range(cell.side.size):
        cell.side[i] = ON if watch.every[i] > 0.0 else OFF
    cell.counts[SLID] = 0
    watch.reach[0] = 2.0
    sum_up(planes, cell)


@routine
def rebalance(cell, y, c):
    """Remove the drift of a step: put w back on its slide and, if c >= 0, restore a^2 = c + |w|^2.

    If c >= 0, `a` never passes 0, but near w = 0 a drift of c could carry it past 0.
    """
    w = y[1:]
    for s in range(cell.counts[SLID]):
        add(w, -dot(cell.basis[s], w), cell.basis[s])
    if c >= 0.0:
        y[0] = math.copysign(math.sqrt(c + dot(y[1:], y[1:])), y[0])


@routine
def within_reach(planes, watch, y, rate, h):
    """Shorten the step h so that w meets no unwatched hyperplane; return (step, how far w may move)."""
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
    """Record the state y and, if `shares` is not empty, the shares of the hyperplanes."""
    put(state, y)
    if shares.size > 0:
        record_shares(cell, y, shares)
