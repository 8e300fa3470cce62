"""Steps of DOP853 for several trajectories side by side, in loops that the compiler vectorises.

The trajectories of an ensemble are independent. So the stages of `LANES` trajectories are computed together,
each with its own step size. Steps in which nothing happens are also accepted or rejected together; `dop853`
handles the other steps one by one. A lane whose trajectory has ended gets the next trajectory, so no lane
waits for the slowest.

All numbers are in one flat array b, in rows of LANES numbers: with several arrays, the compiler would have to
assume that they overlap. The first rows belong to the right-hand side ``rhs(b, bits, w)``. They hold the
state, the derivative that rhs computes, the parameters, and scratch. `bits` is the memory of b read as
integers. w is LANES; it is passed as an argument because the compiler would unroll loops over a constant.

After a step, ``watch(b, bits, w, tolerance, near)`` measures the lanes. It sets the first row of the
derivative to 1 where the state is within tolerance of its target, else to 0. It sets the second row to 1
where there is an event, where the flow cannot reach the state, or where the state is so near the target that
the rest of the trajectory is known; else to 0.
"""

import math

import numpy as np

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.dop853 import (
    ERROR,
    FILLED,
    FLOOR_OF_LAST,
    INSIDE,
    LAST,
    LEAST_STEP,
    MAX_CERTAIN_STEPS,
    REJECTED,
    SIZE,
    STEP,
    TRIED,
    T,
)
from singleneuron.kernels.dop853_step import E3, E5, FLOOR_OF_THREE, STAGES, A, step_factor

LANES = 64

LOG2_E, LOG_2_HIGH, LOG_2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
ROUND = 1.5 * 2.0**52  # when this is added to a number, the last bits of the sum hold the nearest integer
ONE = 0x3FF0000000000000  # the bits of 1.0


@routine
def exp_row(b, bits, source, target, spare, w):
    """Compute exp of a row to about an ulp, as 2^n exp(r) with |r| <= log(2)/2, in loops that vectorise.

    exp(r) is computed as its Taylor polynomial of degree 13; 2^n is built by setting the bits of a float.

    Parameters
    ----------
    b : ndarray
        All numbers of the lanes.
    bits : ndarray of int64
        The same memory, read as integers.
    source, target, spare : int
        Rows: `source` holds the arguments, at most 690 in absolute value; `target` receives the results;
        `spare` is scratch.
    w : int
        LANES.
    """
    for i in range(w):
        x = b[source * LANES + i]
        shifted = x * LOG2_E + ROUND
        b[spare * LANES + i] = shifted
        n = shifted - ROUND
        r = (x - n * LOG_2_HIGH) - n * LOG_2_LOW
        y = 1.0 / 6227020800.0
        y = y * r + 1.0 / 479001600.0
        y = y * r + 1.0 / 39916800.0
        y = y * r + 1.0 / 3628800.0
        y = y * r + 1.0 / 362880.0
        y = y * r + 1.0 / 40320.0
        y = y * r + 1.0 / 5040.0
        y = y * r + 1.0 / 720.0
        y = y * r + 1.0 / 120.0
        y = y * r + 1.0 / 24.0
        y = y * r + 1.0 / 6.0
        y = y * r + 0.5
        b[target * LANES + i] = (y * r + 1.0) * r + 1.0
    for i in range(w):
        bits[spare * LANES + i] = (bits[spare * LANES + i] << 52) + ONE
    for i in range(w):
        b[target * LANES + i] *= b[spare * LANES + i]


@routine
def arctan(x, inverse):
    """Compute arctan of 0 <= x <= 1 to about an ulp, without branches, by Cephes' rational approximation.

    Parameters
    ----------
    x : float
        The argument.
    inverse : float
        1/(1 + x), which callers have already computed.

    Returns
    -------
    float
        arctan x.
    """
    large = x > math.sqrt(2.0) - 1.0
    z = (x - 1.0) * inverse if large else x
    q = z * z
    above = -8.750608600031904122785e-1
    above = above * q - 1.615753718733365076637e1
    above = above * q - 7.500855792314704667340e1
    above = above * q - 1.228866684490136173410e2
    above = above * q - 6.485021904942025371773e1
    below = q + 2.485846490142306297962e1
    below = below * q + 1.650270098316988542046e2
    below = below * q + 4.328810604912902668951e2
    below = below * q + 4.853903996359136964868e2
    below = below * q + 1.945506571482613964425e2
    return z + z * q * above / below + (0.25 * math.pi if large else 0.0)


def build(rhs, watch, size, rows):
    """Compile the routines that step all lanes, for one flow.

    Parameters
    ----------
    rhs, watch : routine
        Right-hand side and gauge of the lanes, as described in the module docstring.
    size : int
        Number of unknowns, >= 2.
    rows : int
        Number of rows that rhs and watch use.

    Returns
    -------
    buffer : routine
        Allocates b.
    load : routine
        Copies a trajectory into a lane.
    step : routine
        Tries a step in every lane.
    happened : routine
        Returns whether `dop853.settle` must handle the step of a lane.
    unload : routine
        Copies a trajectory out of a lane.
    """
    # This function is long because the routines are closures over rhs, watch and the row numbers, which numba
    # compiles as constants. The rows of rhs are followed by the states, by the numbers that describe each
    # trajectory (as in `dop853`; `due` is the next time at which something happens), by intermediate results,
    # and by k[0], ..., k[12].
    y0 = rows
    k = y0 + size + 11
    h, t, due, inside, rejected, tried, last_error, last_h, loud, sum3, sum5 = range(y0 + size, k)
    total = k + (STAGES + 1) * size

    @routine
    def buffer():
        """Allocate b, filled with ones, so that lanes without a trajectory compute finite numbers."""
        return np.ones(total * LANES)

    @routine
    def load(b, lane, y, s, times, limit, t_certain, slope):
        """Copy a trajectory at the state y, where slope = rhs(y), into a lane."""
        b[h * LANES + lane], b[t * LANES + lane] = s[STEP], s[T]
        b[inside * LANES + lane], b[rejected * LANES + lane] = s[INSIDE], s[REJECTED]
        b[tried * LANES + lane] = s[TRIED]
        b[last_error * LANES + lane], b[last_h * LANES + lane] = s[ERROR], s[SIZE]
        b[due * LANES + lane] = min(times[int(s[FILLED])], t_certain if limit else math.inf)
        for i in range(size):
            b[(y0 + i) * LANES + lane] = y[i]
            b[(k + i) * LANES + lane] = slope[i]

    @routine
    def unload(b, lane, y, s, t_end, y1, slopes):
        """Copy a trajectory and its tried step out of a lane for `dop853.settle`; return the step's error."""
        s[STEP], s[T] = b[h * LANES + lane], b[t * LANES + lane]
        s[LAST] = s[STEP] >= t_end - s[T]
        s[REJECTED], s[TRIED] = b[rejected * LANES + lane], b[tried * LANES + lane]
        s[ERROR], s[SIZE] = b[last_error * LANES + lane], b[last_h * LANES + lane]
        for i in range(size):
            y[i], y1[i] = b[(y0 + i) * LANES + lane], b[i * LANES + lane]
            for j in range(STAGES + 1):
                slopes[j, i] = b[(k + j * size + i) * LANES + lane]
        return b[sum5 * LANES + lane]

    @routine
    def stages(b, bits, w):
        """Compute the stages of one step in every lane: k[1:13], and y1 in the first rows."""
        for s in range(1, STAGES + 1):
            for i in range(size):
                for lane in range(w):
                    slope = 0.0
                    for j in range(STAGES):  # the compiler unrolls range(STAGES), not range(s); A[s, s:] is 0
                        slope += A[s, j] * b[(k + j * size + i) * LANES + lane]
                    b[i * LANES + lane] = b[(y0 + i) * LANES + lane] + b[h * LANES + lane] * slope
            rhs(b, bits, w)
            for i in range(size):
                row = b[(k + s * size + i) * LANES :]
                for lane in range(w):
                    row[lane] = b[(size + i) * LANES + lane]

    @routine
    def errors(b, w, rtol, atol):
        """Compute the error of each lane's step as `dop853.build` does, and store it in the row sum5."""
        for lane in range(w):
            b[sum3 * LANES + lane] = 0.0
            b[sum5 * LANES + lane] = 0.0
        for i in range(size):
            for lane in range(w):
                e3, e5 = 0.0, 0.0
                # Include weights that are 0, so that any stage that is not finite makes the sums NaN.
                for j in range(STAGES + 1):
                    slope = b[(k + j * size + i) * LANES + lane]
                    e3 += E3[j] * slope
                    e5 += E5[j] * slope
                old, new = b[(y0 + i) * LANES + lane], b[i * LANES + lane]
                scale = 1.0 / (atol + rtol * max(abs(old), abs(new)))
                b[sum3 * LANES + lane] += (e3 * scale) ** 2 + 0.0 * new
                b[sum5 * LANES + lane] += (e5 * scale) ** 2 + 0.0 * new
        for lane in range(w):
            five, three = b[sum5 * LANES + lane], b[sum3 * LANES + lane]
            now = b[h * LANES + lane]
            error = now * five / math.sqrt(max(five + 0.01 * three, 1e-300))
            error = max(error, FLOOR_OF_THREE * rtol * now * now * three)
            ratio = now / b[last_h * LANES + lane]
            ratio *= ratio
            ratio *= ratio
            error = max(error, FLOOR_OF_LAST * b[last_error * LANES + lane] * ratio * ratio)
            # If the error or `three` is NaN, its comparison is false, and the error is set to infinity.
            b[sum5 * LANES + lane] = error if error < math.inf and three >= 0.0 else math.inf

    @routine
    def clear(b, w):
        """Set the stages of a lane to 0 if one is not finite, because the next step multiplies some by 0."""
        broken = 0.0
        for lane in range(w):
            broken += 1.0 if b[sum5 * LANES + lane] == math.inf else 0.0
        if broken == 0.0:
            return
        for row in range(k + size, k + (STAGES + 1) * size):
            for lane in range(w):
                if b[sum5 * LANES + lane] == math.inf:
                    b[row * LANES + lane] = 0.0

    @routine
    def step(b, bits, w, rtol, atol, tolerance, near, t_end):
        """Try a step in every lane; return the number of lanes that `dop853.settle` must handle."""
        stages(b, bits, w)
        errors(b, w, rtol, atol)
        clear(b, w)
        watch(b, bits, w, tolerance, near)
        for lane in range(w):
            error = b[sum5 * LANES + lane]
            # The step size must not grow after a rejected step, nor after the step that follows it.
            most = 1.0 if b[rejected * LANES + lane] != 0.0 or not error < 1.0 else 10.0
            b[sum3 * LANES + lane] = b[h * LANES + lane] * min(most, step_factor(error))
        for lane in range(w):
            accepted = b[sum5 * LANES + lane] < 1.0
            now = b[t * LANES + lane] + b[h * LANES + lane]
            turned = b[size * LANES + lane] != b[inside * LANES + lane]
            happens = turned or b[(size + 1) * LANES + lane] != 0.0 or now >= b[due * LANES + lane]
            ends = b[sum3 * LANES + lane] < LEAST_STEP or b[tried * LANES + lane] >= MAX_CERTAIN_STEPS
            b[loud * LANES + lane] = 1.0 if (accepted and happens) or ends else 0.0
        count = 0.0
        for lane in range(w):
            count += b[loud * LANES + lane]
        for lane in range(w):
            quiet = b[loud * LANES + lane] == 0.0
            accepted = quiet and b[sum5 * LANES + lane] < 1.0
            now = b[t * LANES + lane] + (b[h * LANES + lane] if accepted else 0.0)
            b[t * LANES + lane] = now
            b[last_error * LANES + lane] = (
                b[sum5 * LANES + lane] if accepted else b[last_error * LANES + lane]
            )
            b[last_h * LANES + lane] = b[h * LANES + lane] if accepted else b[last_h * LANES + lane]
            b[h * LANES + lane] = min(b[sum3 * LANES + lane], t_end - now) if quiet else b[h * LANES + lane]
            b[tried * LANES + lane] += 1.0 if quiet else 0.0
            b[rejected * LANES + lane] = (0.0 if accepted else 1.0) if quiet else b[rejected * LANES + lane]
            b[sum3 * LANES + lane] = 1.0 if accepted else 0.0
        for i in range(size):
            new = b[(k + STAGES * size + i) * LANES :]
            for lane in range(w):
                b[(k + i) * LANES + lane] = (
                    new[lane] if b[sum3 * LANES + lane] != 0.0 else b[(k + i) * LANES + lane]
                )
            for lane in range(w):
                b[(y0 + i) * LANES + lane] = (
                    b[i * LANES + lane] if b[sum3 * LANES + lane] != 0.0 else b[(y0 + i) * LANES + lane]
                )
        return count

    @routine
    def happened(b, lane):
        """Return whether `dop853.settle` must handle the step of a lane."""
        return b[loud * LANES + lane] != 0.0

    return buffer, load, step, happened, unload
