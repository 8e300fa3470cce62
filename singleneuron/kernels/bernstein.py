"""Roots of polynomials on a step, from their Bernstein coefficients.

On [0, 1], the values of a polynomial lie between its smallest and its largest Bernstein coefficient, and the
polynomial changes sign at most as often as the sequence of these coefficients. So a search for events that
uses the coefficients cannot miss a pair of roots within a step.
"""

import math

import numpy as np

from singleneuron.kernels.compiling import routine
from singleneuron.kernels.vectors import put

NEVER = 2.0  # later than 1, the end of a step

# The dense output is a linear combination of the terms t, t(1-t), t^2(1-t), ...
# POWERS: the exponents of t and 1-t in each term.
# TERMS: the Bernstein coefficients of each term, in one column per term.
# PEAKS: the largest value of each term on [0, 1].
DEGREE = 7
POWERS = [(r // 2 + 1, (r + 1) // 2) for r in range(DEGREE)]
TERMS = np.zeros((DEGREE + 1, DEGREE))
for _r, (_p, _q) in enumerate(POWERS):
    for _k in range(DEGREE - _p - _q + 1):
        TERMS[_p + _k, _r] = math.comb(DEGREE - _p - _q, _k) / math.comb(DEGREE, _p + _k)
PEAKS = np.array([(p / (p + q)) ** p * (q / (p + q)) ** q for p, q in POWERS])
# If two such polynomials have the Bernstein coefficients p and q, coefficient k of their product is the sum
# of PRODUCT[i, j] p[i] q[j] over i + j = k.
PRODUCT = np.array(
    [[math.comb(7, i) * math.comb(7, j) / math.comb(14, i + j) for j in range(8)] for i in range(8)]
)


@routine
def bernstein(start, terms, out):
    """Compute the Bernstein coefficients of a function on a step from its dense output.

    Parameters
    ----------
    start : float
        Value of the function at the start of the step.
    terms : ndarray, shape (7,)
        Coefficients of the dense output of the function.
    out : ndarray, shape (8,)
        Filled with the Bernstein coefficients.
    """
    for k in range(DEGREE + 1):
        out[k] = start
        for r in range(DEGREE):
            out[k] += TERMS[k, r] * terms[r]


@routine
def restrict(c, low, high, out):
    """Fill `out` with the Bernstein coefficients on [low, high] of a polynomial, given `c` on [0, 1]."""
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
    """Return the value at `t` of the polynomial with the Bernstein coefficients `c` (de Casteljau)."""
    degree = c.size - 1
    put(scratch, c)
    for level in range(degree):
        for i in range(degree - level):
            scratch[i] += t * (scratch[i + 1] - scratch[i])
    return scratch[0]


@routine
def sign_changes(c):
    """Count the sign changes between neighbours in the sequence `c`; 0 counts as negative."""
    changes = 0
    for i in range(1, c.size):
        if (c[i] <= 0.0) != (c[i - 1] <= 0.0):
            changes += 1
    return changes


@routine
def only_root(c, scratch):
    """Return the only root in [0, 1] of a polynomial that falls through 0, by the Illinois method.

    `c` holds its Bernstein coefficients, and `scratch` has the same length.
    """
    left, right, at_left, at_right, last = 0.0, 1.0, c[0], c[c.size - 1], 0
    while right - left > 1e-15:
        middle = right - (right - left) * at_right / (at_right - at_left)
        if not left < middle < right:
            middle = 0.5 * (left + right)
            if not left < middle < right:
                break
        value = bernstein_value(c, middle, scratch)
        if value <= 0.0:
            at_left *= 0.5 if last == 1 else 1.0
            right, at_right, last = middle, value, 1
        else:
            at_right *= 0.5 if last == -1 else 1.0
            left, at_left, last = middle, value, -1
        if value == 0.0:
            break
    return right


@routine
def first_root(c, latest, work):
    """Find the first t in [0, latest] at which a polynomial falls to 0 from above.

    The interval is halved until its first part has at most one root. If this part has no root, the next part
    is searched in the same way.

    Parameters
    ----------
    c : ndarray, shape (k + 1,)
        Bernstein coefficients on [0, 1].
    latest : float
        End of the search interval; values above 1 count as 1.
    work : ndarray, shape (2, k + 1)
        Scratch.

    Returns
    -------
    float
        The root; 0 if c[0] <= 0, and `NEVER` if there is no root.
    """
    if c[0] <= 0.0:
        return 0.0
    part, scratch = work[0], work[1]
    latest = min(latest, 1.0)
    low, high = 0.0, latest
    while low < high:
        if low == 0.0 and high == 1.0:
            put(part, c)
        else:
            restrict(c, low, high, part)
        changes = sign_changes(part)
        if changes > 1 and high - low > 1e-12:
            high = 0.5 * (low + high)
        elif changes > 0:
            return low + only_root(part, scratch) * (high - low)
        elif part[0] <= 0.0:
            return low
        elif high >= latest:
            return NEVER
        else:
            low, high = high, min(latest, 2.0 * high - low + 1e-300)
    return NEVER
