"""Choose the hyperplanes to watch: only those near w, because w must turn before it can reach the others."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import add, dot, fill
from singleneuron.problem.arguments import Array


class Watch(NamedTuple):
    """The watched hyperplanes, which are the nearest to a reference direction e of w.

    All other hyperplanes have |x.e| >= `reach` |x|, so w must turn before it can reach them. Arrays over the
    watched hyperplanes use only their first `size` entries.
    """

    near: NDArray[np.int64]  # (m,), indices of the watched hyperplanes
    columns: Array  # (d, m), x of each watched hyperplane
    norm: Array  # (m,), |x| of each watched hyperplane
    start: Array  # (m,), x.w of each watched hyperplane at the start of the step
    stop: Array  # (m,), x.w of each watched hyperplane at the end of the step
    reference: Array  # (d,), the unit vector e
    every: Array  # (m,), x.w of all hyperplanes
    size: NDArray[np.int64]  # (1,), number of watched hyperplanes
    reach: Array  # (1,), `reach`, which is inf if all hyperplanes are watched


def empty_watch(m: int, d: int) -> Watch:
    """Allocate a watch with room for all m hyperplanes.

    Memory that is never written costs nothing.
    """
    return Watch(
        near=np.empty(m, np.int64),
        columns=np.empty((d, m)),
        norm=np.empty(m),
        start=np.empty(m),
        stop=np.empty(m),
        reference=np.empty(d),
        every=np.empty(m),
        size=np.zeros(1, np.int64),
        reach=np.empty(1),
    )


@routine
def watch_all(planes, y, watch):
    """Fill `watch.every` with x.w of all hyperplanes, for the w in `y`."""
    fill(watch.every, 0.0)
    for j in range(y.size - 1):
        add(watch.every, y[1 + j], planes.columns[j])


@routine
def look_around(planes, y, watch):
    """Choose the hyperplanes to watch from now on, which are those near w in the state `y`."""
    m, d = planes.x.shape
    # A look at all hyperplanes costs O(m), and is needed about once every `most` steps. Watching `most`
    # hyperplanes costs O(`most`) per step. A value of `most` ~ sqrt(m) balances the two costs.
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
        # The number of hyperplanes within reach is roughly proportional to `reach`.
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
    # A reach above 1 covers all hyperplanes, since none is farther than 1 from the unit vector e.
    watch.reach[0] = reach if count < m else math.inf


@routine
def watched(watch, y, out):
    """Fill `out` with x.w of the watched hyperplanes, for the w in `y`."""
    count = watch.size[0]
    fill(out[:count], 0.0)
    for j in range(y.size - 1):
        add(out[:count], y[1 + j], watch.columns[j])


@routine
def room(watch, y):
    """Return how far w may move before it can reach a hyperplane that is not watched."""
    if watch.reach[0] == math.inf:
        return math.inf
    w = y[1:]
    along = dot(watch.reference, w)
    # |x.w|/|x| >= `along` * `reach` - |w - `along` * e|
    return along * watch.reach[0] - math.sqrt(max(dot(w, w) - along * along, 0.0))
