"""Vector operations of the kernels: as array expressions they would compile ten times as long."""

from singleneuron.kernels.compiling import routine


@routine
def dot(u, v):
    total = 0.0
    for i in range(u.size):
        total += u[i] * v[i]
    return total


@routine
def add(u, factor, v):
    """u += factor v"""
    for i in range(u.size):
        u[i] += factor * v[i]


@routine
def put(u, v):
    """u[:] = v"""
    for i in range(u.size):
        u[i] = v[i]


@routine
def fill(u, value):
    for i in range(u.size):
        u[i] = value
