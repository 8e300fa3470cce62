"""Vector operations for kernels, written as loops: array expressions take ten times as long to compile."""

from singleneuron.kernels.compiling import routine


@routine
def dot(u, v):
    """Return the dot product u.v.

    Parameters
    ----------
    u, v : ndarray, shape (n,)
        Vectors.
    """
    total = 0.0
    for i in range(u.size):
        total += u[i] * v[i]
    return total


@routine
def add(u, factor, v):
    """Add factor * v to u, in place.

    Parameters
    ----------
    u, v : ndarray, shape (n,)
        Vectors; u is changed.
    factor : float
        Factor of v.
    """
    for i in range(u.size):
        u[i] += factor * v[i]


@routine
def put(u, v):
    """Copy v into u.

    Parameters
    ----------
    u, v : ndarray, shape (n,)
        Vectors; u is changed.
    """
    for i in range(u.size):
        u[i] = v[i]


@routine
def fill(u, value):
    """Set every entry of u to `value`.

    Parameters
    ----------
    u : ndarray, shape (n,)
        Vector that is changed.
    value : float
        The value.
    """
    for i in range(u.size):
        u[i] = value
