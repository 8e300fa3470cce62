"""The Sign-In flow of n samples inside a cell, its slides, and the events that lead to the next cell.

Sign-In multiplies the gradient by S(theta, beta) = sqrt(beta^2 + 4 theta^2). With D = diag(S(w_i, beta_w))
and r = b - a A w, the flow in a cell is

    a' = S(a, beta_a) w.r
    w' = D (a r + sum_J lambda_j x_j), where x_j.w' = 0 for every hyperplane j of the slide J

In terms of D^(-1/2) w' and of the rows x_j D^(1/2), this is the same projection as in the plain flow, and
Filippov's rule is the same bounded least-squares problem. The share of sample j is
alpha_j = lambda_j n/(a y_j).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.flows.samples.cells import OFF, ON, SHARE_SLACK, SLID, SLIDING, Cell, Hyperplanes, set_side
from singleneuron.flows.samples.events import EMPTY, FULL, NOTHING, REACHED, STILL, TURNED, first_reached
from singleneuron.flows.samples.sliding import (
    factorise,
    join,
    nearest_to_zero,
    prepare_slide,
    release,
    solve_transposed,
)
from singleneuron.kernels.bernstein import DEGREE, NEVER, bernstein, first_root
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853_step import STAGES, attempt, interpolate
from singleneuron.kernels.metric import metric_of
from singleneuron.kernels.vectors import add, dot, put
from singleneuron.problem.arguments import Array

# Unlike in the plain flow, a share is not a polynomial in (a, w). It is interpolated at the NODES of a step.
# FIT turns the shares at the NODES into the Bernstein coefficients of the interpolant.
NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)
FIT = np.linalg.inv(
    [[math.comb(DEGREE, k) * t**k * (1 - t) ** (DEGREE - k) for k in range(DEGREE + 1)] for t in NODES]
)


class MetricCell(NamedTuple):
    """A cell of the plain flow together with the metric of Sign-In, and scratch space for its slide."""

    cell: Cell
    x: Array  # (m, d), the normal vectors of the hyperplanes
    beta: Array  # (2,), beta_a and beta_w
    root: Array  # (d,), D^(1/2)
    force: Array  # (d,), D^(1/2) r
    rows: Array  # (d + 1, d), x_j D^(1/2) of the slide
    basis: Array  # (d + 1, d), an orthonormal basis of the span of the rows
    lower: Array  # (d + 1, d + 1), where rows = lower @ basis
    order: NDArray[np.int64]  # (d + 1,), 0, 1, 2, ...


def metric_cell(cell: Cell, planes: Hyperplanes, beta_a: float, beta_w: float) -> MetricCell:
    """Combine a cell with the metric of Sign-In, and allocate the scratch space for its slide."""
    most, d = cell.basis.shape
    return MetricCell(
        cell=cell,
        x=planes.x,
        beta=np.array([beta_a, beta_w], dtype=np.float64),
        root=np.empty(d),
        force=np.empty(d),
        rows=np.empty((most, d)),
        basis=np.empty((most, d)),
        lower=np.zeros((most, most)),
        order=np.arange(most),
    )


@routine
def weigh(p, y):
    """Set p.force to D^(1/2) r at the state y, and factorise the rows x_j D^(1/2) of the slide."""
    cell, force = p.cell, p.force
    put(force, cell.b)
    for j in range(force.size):
        add(force, -y[0] * y[1 + j], cell.A[j])
    for i in range(force.size):
        p.root[i] = math.sqrt(metric_of(y[1 + i], p.beta[1]))
        force[i] *= p.root[i]
    count = cell.counts[SLID]
    for s in range(count):
        for i in range(force.size):
            p.rows[s, i] = p.x[cell.members[s], i] * p.root[i]
    factorise(p.rows, p.order[:count], p.basis, p.lower)


@routine
def metric_field(y, p, out):
    """Fill `out` with the time derivative of y = (a, w) within the cell and on its slide."""
    weigh(p, y)
    total = 0.0
    for i in range(p.root.size):
        total += y[1 + i] * p.force[i] / p.root[i]
    out[0] = metric_of(y[0], p.beta[0]) * total
    for s in range(p.cell.counts[SLID]):
        add(p.force, -dot(p.basis[s], p.force), p.basis[s])
    for i in range(p.root.size):
        out[1 + i] = y[0] * p.root[i] * p.force[i]


@routine
def metric_step(p, y, h, k, y1):
    """Step by h from `y`, given k[0] = y'; set `y1` to the new state, and k[12] to its time derivative."""
    attempt(metric_field, p, y, h, k, y1)


@routine
def shares_at(planes, p, y, out):
    """Fill `out` with the shares alpha_j of the slide at the state y."""
    weigh(p, y)
    count = p.cell.counts[SLID]
    for s in range(count):
        out[s] = -dot(p.basis[s], p.force)
    solve_transposed(p.lower, count, out)
    for s in range(count):
        out[s] *= planes.n / planes.jump[p.cell.members[s]]


@routine
def next_metric_event(planes, p, watch, y, dense, bend, coefficients):
    """Return (fraction, kind, which) of the first event in the step, or (NEVER, NOTHING, 0) if there is none.

    w.x_i is a polynomial on the dense output, so even two crossings of one hyperplane in a step are found.
    """
    best, which = first_reached(planes, p.cell, watch, y, dense, bend, coefficients)
    kind = REACHED if best < NEVER else NOTHING
    if p.cell.counts[SLID] > 0:
        t, ending, member = first_metric_release(planes, p, y, dense, coefficients, best)
        if t < best:
            return t, ending, member
    return best, kind, which


@routine
def first_metric_release(planes, p, y, dense, coefficients, latest):
    """Return (fraction, kind, which) of the first release (a = 0, or alpha = 0 or 1) before `latest`.

    An error e of the interpolated share shifts the release by a time of order e. During this time, the flow
    on the slide differs from the flow off the slide by order e, so the error of the state is of order e^2.
    """
    cell, best, kind, which = p.cell, latest, NOTHING, 0
    sign = 1.0 if y[0] > 0.0 else -1.0
    for r in range(DEGREE):
        coefficients.terms[r] = sign * dense[r, 0]
    bernstein(sign * y[0], coefficients.terms, coefficients.linear[0])
    t = first_root(coefficients.linear[0], best, coefficients.linear[1:])
    if t < best:
        best, kind = t, TURNED
    count = cell.counts[SLID]
    here, alpha = np.empty(y.size), np.empty((DEGREE + 1, count))
    for k in range(DEGREE + 1):
        interpolate(y, dense, NODES[k], here)
        shares_at(planes, p, here, alpha[k])
    size = 1e-15 * y.size * planes.n * math.sqrt(dot(cell.b, cell.b))
    for s in range(count):
        j = cell.members[s]
        # alpha is known only up to the rounding errors in its terms.
        slack = SHARE_SLACK + size * planes.inverse_norm[j] / abs(planes.jump[j])
        for target in (EMPTY, FULL):
            for k in range(DEGREE + 1):
                value = slack
                for i in range(DEGREE + 1):
                    value += FIT[k, i] * (alpha[i, s] if target == EMPTY else 1.0 - alpha[i, s])
                coefficients.linear[0, k] = value
            t = first_root(coefficients.linear[0], best, coefficients.linear[1:])
            if t < best:
                best, kind, which = t, target, s
    return best, kind, which


@routine
def metric_arrive(planes, p, y, lapse, kind, which, k, k_within, out):
    """Fill `out` with the state at an event near the time `lapse` after y; return the corrected lapse.

    This is the counterpart of `arrive` in the plain flow.
    """
    put(k_within[0], k[0])
    metric_step(p, y, lapse, k_within, out)
    if kind == REACHED:
        w, x = out[1:], planes.x[which]
        sign = 1.0 if p.cell.side[which] == ON else -1.0
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
def metric_leads_across(planes, p, y, which, rate):
    """Return whether the flow at y, on hyperplane `which`, leads to its other side; `rate` is scratch.

    As in `leads_across`, a flow whose speed towards the other side is 0 up to rounding does not lead across.
    """
    cell = p.cell
    metric_field(y, p, rate)
    trace = largest = 0.0
    for j in range(cell.b.size):
        trace += cell.A[j, j]
        largest = max(largest, p.root[j] ** 2)
    w = y[1:]
    size = abs(y[0]) * (math.sqrt(dot(cell.b, cell.b)) + abs(y[0]) * trace * math.sqrt(dot(w, w)))
    sign = 1.0 if cell.side[which] == ON else -1.0
    return -sign * dot(rate[1:], planes.x[which]) * planes.inverse_norm[which] > STILL * size * largest


@routine
def metric_settle(planes, p, y):
    """Decide which hyperplanes stay in the slide and which become ON or OFF, and prepare the new slide.

    The rule is the same as in `settle`, but it is applied to the rows x_j D^(1/2) and the force a D^(1/2) r.
    """
    cell = p.cell
    count = cell.counts[SLID]
    members, verdict = np.empty(count, np.int64), np.empty(count, np.int64)
    upper, gamma, inverse_norm = np.empty(count), np.empty(count), np.empty(count)
    put(members, cell.members[:count])
    weigh(p, y)
    rows, force = p.rows[:count].copy(), np.empty(p.root.size)
    for i in range(force.size):
        force[i] = y[0] * p.force[i]
    for k in range(count):
        upper[k] = -y[0] * planes.jump[members[k]] / planes.n
        inverse_norm[k] = 1.0 / math.sqrt(dot(rows[k], rows[k]))
    weighed = Hyperplanes(
        rows, planes.columns, planes.weight, planes.jump, inverse_norm, planes.base, planes.pull, planes.n
    )
    cell.counts[SLID] = 0
    nearest_to_zero(weighed, p.order[:count], upper, force, gamma, verdict, cell)
    for k in range(count):
        set_side(planes, cell, members[k], verdict[k])
        if verdict[k] == SLIDING:
            join(cell, members[k])
    prepare_slide(planes, cell, y)


@routine
def enter_next_cell(planes, p, y, kind, which):
    """Update the cell for the event (kind, which) at the state y, with the conventions of `enter_next`."""
    cell = p.cell
    if kind == REACHED:
        slides = y[0] * planes.jump[which] < 0.0
        set_side(planes, cell, which, SLIDING if slides else ON - cell.side[which])
        if slides:
            join(cell, which)
        if cell.counts[SLID] > 0:
            metric_settle(planes, p, y)
        return
    for _ in range(cell.counts[SLID] if kind == TURNED else 1):
        set_side(planes, cell, release(cell, which), ON if kind == FULL else OFF)
    prepare_slide(planes, cell, y)
