"""The cells into which the hyperplanes w.x_i = 0 of n samples divide the space of w, and the flow in a cell.

While S = {i : w.x_i > 0} does not change, the flow is polynomial in (a, w):

    a' = w.r  and  w' = a r,  where r = b - a A w

with A = (1/n) sum_S x_i x_i^T and b = (1/n) sum_S y_i x_i. A stage of the solver therefore costs O(d^2). When
a sample changes sides, A and b need a rank-one update.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853_step import attempt
from singleneuron.kernels.vectors import add, dot
from singleneuron.problem.arguments import Array

OFF, ON, SLIDING = 0, 1, 2
# Indices into `Cell.counts`:
# SLID: the number of hyperplanes in the slide.
# ACTIVE: the number of hyperplanes that are ON.
# UPDATES: the number of updates of A and b.
SLID, ACTIVE, UPDATES = 0, 1, 2
SHARE_SLACK = 1e-12
"""How far outside [0, 1] rounding may carry a sample's share while the flow slides in its hyperplane."""


class Hyperplanes(NamedTuple):
    """The m <= n distinct hyperplanes x.w = 0 of the samples.

    When w crosses a hyperplane from its off side (x.w < 0) to its on side, n A grows by `weight` x x^T, and
    n b grows by `jump` x. When w is on the off side of every hyperplane, n A is `base` and n b is `pull`.
    These are the sums of x_i x_i^T and of y_i x_i over the samples that point against the x of their
    hyperplane (x_i = -s x with s > 0).
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
    """Find the distinct hyperplanes of samples; samples with parallel x_i (up to 1e-12) share one.

    Returns
    -------
    planes : Hyperplanes
        The hyperplanes. A sample with x_i = 0 has none.
    group : NDArray[np.int64]
        (n,) index of the hyperplane of each sample; 0 if x_i = 0.
    scale : Array
        (n,) factors in x_i = scale_i x, where x is the normal vector in `planes`; 0 if x_i = 0.
    """
    norms = np.linalg.norm(x, axis=1)
    kept = np.flatnonzero(norms > 0)
    unit = x[kept] / norms[kept, None]
    # A linear function takes the same value, up to sign, on parallel unit rows. So sorting the rows by the
    # absolute value of a generic linear function puts parallel rows together.
    key = unit @ np.sin(1.0 + np.arange(x.shape[1]))
    unit *= np.where(key < 0, -1.0, 1.0)[:, None]
    order = np.argsort(np.abs(key), kind="stable")
    different = np.abs(np.diff(unit[order], axis=0)).max(axis=1) > 1e-12
    label = np.zeros(len(kept), dtype=np.int64)
    label[order[1:]] = np.cumsum(different)
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    # Number the hyperplanes by first appearance, so that samples in general position keep their order.
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
    """The cell of a trajectory: its side of every hyperplane, its slide, and its field."""

    A: Array  # (d, d)
    b: Array  # (d,)
    basis: Array  # (d + 1, d), with orthonormal first rows that span the x_j of the slide
    counts: NDArray[np.int64]  # (3,), entries SLID, ACTIVE and UPDATES (since the last `sum_up`)
    side: NDArray[np.int64]  # (m,), OFF, ON or SLIDING
    members: NDArray[np.int64]  # (d + 1,), the hyperplanes of the slide
    share: Array  # (d + 1,); alpha_j = share_j + slope_j.(a w)
    slope: Array  # (d + 1, d)
    lower: Array  # (d + 1, d + 1), where x[members] = lower @ basis


def empty_cell(m: int, d: int) -> Cell:
    """Allocate an uninitialised cell for m hyperplanes in d coordinates."""
    most = d + 1  # a slide has at most d - 1 hyperplanes; one more may enter, and one is spare
    return Cell(
        A=np.empty((d, d)),
        b=np.empty(d),
        basis=np.empty((most, d)),
        counts=np.zeros(3, np.int64),
        side=np.empty(m, np.int64),
        members=np.empty(most, np.int64),
        share=np.empty(most),
        slope=np.empty((most, d)),
        lower=np.zeros((most, most)),
    )


@routine
def cell_field(y, cell, out):
    """Fill `out` with the time derivative of y = (a, w) within the cell, projected onto its slide."""
    a, w = y[0], y[1:]
    rate = out[1:]
    for i in range(w.size):
        rate[i] = cell.b[i]
    for j in range(w.size):
        add(rate, -a * w[j], cell.A[j])
    out[0] = dot(w, rate)
    for i in range(w.size):
        rate[i] *= a
    for s in range(cell.counts[SLID]):
        add(rate, -dot(cell.basis[s], rate), cell.basis[s])


@routine
def step(cell, y, h, k, y1):
    """Step by h from `y`, given k[0] = y'; set `y1` to the new state, and k[12] to its time derivative."""
    attempt(cell_field, cell, y, h, k, y1)


@routine
def accumulate(planes, cell, i, factor):
    """Add `factor` times the contributions of hyperplane i, `weight` x x^T and `jump` x, to A and b."""
    row = planes.x[i]
    add(cell.b, factor * planes.jump[i], row)
    for j in range(row.size):
        add(cell.A[j], factor * planes.weight[i] * row[j], row)


@routine
def sum_up(planes, cell):
    """Compute A and b from scratch by summing over all hyperplanes."""
    for j in range(cell.b.size):
        cell.b[j] = planes.pull[j] / planes.n
        for k in range(cell.b.size):
            cell.A[j, k] = planes.base[j, k] / planes.n
    cell.counts[ACTIVE] = cell.counts[UPDATES] = 0
    for i in range(cell.side.size):
        if cell.side[i] == ON:
            cell.counts[ACTIVE] += 1
            accumulate(planes, cell, i, 1.0 / planes.n)


@routine
def set_side(planes, cell, i, side):
    """Set the side of hyperplane i to OFF, ON or SLIDING, and update A and b."""
    change = (1 if side == ON else 0) - (1 if cell.side[i] == ON else 0)
    cell.side[i] = side
    if change != 0:
        accumulate(planes, cell, i, change / planes.n)
        cell.counts[ACTIVE] += change
        cell.counts[UPDATES] += 1
        # Many updates let A and b drift. If no sample is active, both must be exactly 0, so nothing moves.
        if cell.counts[ACTIVE] == 0 or cell.counts[UPDATES] > 1000 + cell.side.size:
            sum_up(planes, cell)


@routine
def record_shares(cell, y, out):
    """Fill `out` (m,) with the shares of the hyperplanes: 1 if ON, 0 if OFF, and alpha if SLIDING."""
    for i in range(out.size):
        out[i] = 1.0 if cell.side[i] == ON else 0.0
    for s in range(cell.counts[SLID]):
        out[cell.members[s]] = cell.share[s] + y[0] * dot(cell.slope[s], y[1:])
