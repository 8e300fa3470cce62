"""Find the first event in a step, the state at this event, and the cell that the trajectory enters.

The side of a sample is stored and never inferred from the sign of w.x_i. After a release from a slide, w.x_i
grows only as t^2, so rounding would decide its sign.
"""

import math
from typing import NamedTuple

import numpy as np

from singleneuron.flows.samples.cells import OFF, ON, SHARE_SLACK, SLID, SLIDING, cell_field, set_side, step
from singleneuron.flows.samples.sliding import join, prepare_slide, release, settle
from singleneuron.kernels.bernstein import DEGREE, NEVER, PEAKS, PRODUCT, bernstein, first_root
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853_step import STAGES
from singleneuron.kernels.vectors import add, dot, fill, put
from singleneuron.problem.arguments import Array

# Kinds of event:
# NOTHING: no event.
# REACHED: w.x_i = 0.
# FULL, EMPTY: alpha = 1 or 0, so that a hyperplane leaves the slide.
# TURNED: a = 0 during a slide.
NOTHING, REACHED, FULL, EMPTY, TURNED = range(5)
SLACK = 1e-13
"""A hyperplane counts as reached once w.x_i is beyond 0 by this multiple of |w| |x_i|.

This margin exceeds rounding errors, but not integration errors, which `leads_across` takes into account.
"""
STILL = 1e-12
"""A speed below this multiple of the terms in its formula counts as 0."""


class Coefficients(NamedTuple):
    """The scratch space of `next_event` for Bernstein coefficients.

    In `linear` and `share`, row 0 holds the function whose root is sought. The other rows are scratch space.
    """

    y: Array  # (8, 1 + d), of (a, w) along the step
    terms: Array  # (7,), of the dense output of one function
    linear: Array  # (3, 8), of a function linear in (a, w)
    share: Array  # (3, 15), of a multiplier, which is quadratic in (a, w)


def empty_coefficients(d: int) -> Coefficients:
    """Allocate the scratch space of `next_event` in d coordinates."""
    return Coefficients(
        y=np.empty((DEGREE + 1, 1 + d)),
        terms=np.empty(DEGREE),
        linear=np.empty((3, DEGREE + 1)),
        share=np.empty((3, 2 * DEGREE + 1)),
    )


@routine
def bend_of(dense):
    """Return a bound on the distance between w(t) and its chord over the step."""
    total = 0.0
    for r in range(1, DEGREE):
        total += PEAKS[r] * math.sqrt(dot(dense[r, 1:], dense[r, 1:]))
    return total


@routine
def next_event(planes, cell, watch, y, dense, bend, coefficients):
    """Return (fraction, kind, which) of the first event in the step, or (NEVER, NOTHING, 0) if there is none.

    `fraction` is the part of the step before the event. `which` is the index of the hyperplane that is
    reached, or the position in the slide of the hyperplane that is released.
    """
    best, which = first_reached(planes, cell, watch, y, dense, bend, coefficients)
    kind = REACHED if best < NEVER else NOTHING
    if cell.counts[SLID] > 0:
        t, ending, member = first_release(cell, y, dense, coefficients, best)
        if t < best:
            return t, ending, member
    return best, kind, which


@routine
def first_reached(planes, cell, watch, y, dense, bend, coefficients):
    """Return (fraction, which) of the first hyperplane reached in the step, or (NEVER, 0) if none is reached.

    The path stays within `bend` of its chord, so no root is sought for hyperplanes farther than `bend` away.
    """
    best, which = NEVER, 0
    rho = math.sqrt(dot(y[1:], y[1:]))
    for slot in range(watch.size[0]):
        index = watch.near[slot]
        sign = 1.0 if cell.side[index] == ON else -1.0
        margin = bend * watch.norm[slot]
        slack = SLACK * watch.norm[slot] * rho
        v0, v1 = sign * watch.start[slot] + slack, sign * watch.stop[slot] + slack
        # Up to the first event found so far, sign * w.x_i stays above its chord minus the margin.
        above = v0 > margin and v0 + min(best, 1.0) * (v1 - v0) > margin
        if above or cell.side[index] == SLIDING:
            continue
        for r in range(DEGREE):
            coefficients.terms[r] = sign * dot(dense[r, 1:], planes.x[index])
        bernstein(v0, coefficients.terms, coefficients.linear[0])
        t = first_root(coefficients.linear[0], best, coefficients.linear[1:])
        if t < best:
            best, which = t, index
    return best, which


@routine
def first_release(cell, y, dense, coefficients, latest):
    """Return (fraction, kind, which) of the first release (a = 0, or alpha = 0 or 1) before `latest`."""
    best, kind, which = latest, NOTHING, 0
    c, alpha = coefficients.linear[0], coefficients.share[0]
    for i in range(y.size):
        for r in range(DEGREE):
            coefficients.terms[r] = dense[r, i]
        bernstein(y[i], coefficients.terms, c)
        for k in range(DEGREE + 1):
            coefficients.y[k, i] = c[k]
    for k in range(DEGREE + 1):
        c[k] = coefficients.y[k, 0] if y[0] > 0.0 else -coefficients.y[k, 0]
    t = first_root(c, best, coefficients.linear[1:])
    if t < best:
        best, kind, which = t, TURNED, 0
    for s in range(cell.counts[SLID]):
        fill(alpha, cell.share[s])
        size = abs(cell.share[s])
        for j in range(DEGREE + 1):
            value = dot(cell.slope[s], coefficients.y[j, 1:])
            size += abs(value)
            for i in range(DEGREE + 1):
                alpha[i + j] += PRODUCT[i, j] * coefficients.y[i, 0] * value
        # alpha is known only up to the rounding errors in its terms.
        slack = SHARE_SLACK + 1e-15 * y.size * size
        for target in (EMPTY, FULL):
            for i in range(alpha.size):
                alpha[i] = (alpha[i] if target == EMPTY else 1.0 + slack - alpha[i]) + slack
            t = first_root(alpha, best, coefficients.share[1:])
            if t < best:
                best, kind, which = t, target, s
    return best, kind, which


@routine
def arrive(planes, cell, y, lapse, kind, which, k, k_within, out):
    """Fill `out` with the state at an event near the time `lapse` after y; return the corrected lapse.

    The state is computed by a separate step, since nothing controls the error of the dense output that
    located the event. The remaining distance to the hyperplane is covered along the flow. A projection then
    removes the error of second order.
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
def leads_across(planes, cell, y, which, rate):
    """Return whether the flow at y, on hyperplane `which`, leads to its other side; `rate` is scratch.

    The flow may merely tend to a hyperplane, for instance if the label is 0. Then its speed there is 0 up to
    rounding, and only the error of the step has carried w onto the hyperplane.
    """
    cell_field(y, cell, rate)
    a, w = y[0], y[1:]
    trace = 0.0
    for j in range(w.size):
        trace += cell.A[j, j]
    size = abs(a) * (math.sqrt(dot(cell.b, cell.b)) + abs(a) * trace * math.sqrt(dot(w, w)))
    sign = 1.0 if cell.side[which] == ON else -1.0
    return -sign * dot(rate[1:], planes.x[which]) * planes.inverse_norm[which] > STILL * size


@routine
def enter_next(planes, cell, y, kind, which):
    """Update the cell for the event (kind, which) at the state y.

    At a = 0 the hyperplanes of the slide become repelling, and the continuation is not unique. By convention,
    all of them are released to their off side.
    """
    if kind == REACHED:
        slides = y[0] * planes.jump[which] < 0.0
        set_side(planes, cell, which, SLIDING if slides else ON - cell.side[which])
        if slides:
            join(cell, which)
        if cell.counts[SLID] > 0:
            settle(planes, cell, y)
        return
    for _ in range(cell.counts[SLID] if kind == TURNED else 1):
        set_side(planes, cell, release(cell, which), ON if kind == FULL else OFF)
    prepare_slide(planes, cell, y)
