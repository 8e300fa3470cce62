"""Counter-based random numbers (Philox): the same on every machine and in any order of drawing."""

import math

import numpy as np

from singleneuron.kernels.compiling import routine

TWO_PI = 2.0 * math.pi
WORD = 0xFFFFFFFF


@routine
def philox(c0, c1, c2, c3, k0, k1):
    """Compute four random 32-bit words from a counter and a key: Philox4x32-10 (Salmon et al., SC 2011)."""
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * np.uint64(c0)
        product2 = np.uint64(0xCD9E8D57) * np.uint64(c2)
        high0, low0 = product0 >> np.uint64(32), product0 & np.uint64(WORD)
        high2, low2 = product2 >> np.uint64(32), product2 & np.uint64(WORD)
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, low2, high0 ^ c3 ^ k1, low0
        k0 = (k0 + np.uint64(0x9E3779B9)) & np.uint64(WORD)
        k1 = (k1 + np.uint64(0xBB67AE85)) & np.uint64(WORD)
    return c0, c1, c2, c3


@routine
def normal_pair(seed, trajectory, step, pair):
    """Compute two N(0, 1) numbers that depend only on the arguments (Box-Muller).

    Parameters
    ----------
    seed : int
        Seed of the run, 64 bits; serves as the key.
    trajectory : int
        Index of the trajectory; only its lower 32 bits are used.
    step : int
        Index of the step, 64 bits.
    pair : int
        Index of the pair within the step; only its lower 32 bits are used.

    Returns
    -------
    tuple of float
        Two independent numbers.

    References
    ----------
    Salmon, Moraes, Dror & Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
    """
    word, shift = np.uint64(WORD), np.uint64(32)
    seed, step = np.uint64(seed), np.uint64(step)
    r0, r1, r2, r3 = philox(
        np.uint64(pair) & word,
        step & word,
        step >> shift,
        np.uint64(trajectory) & word,
        seed & word,
        seed >> shift,
    )
    unit = 2.0**-53
    # `first` is in (0, 1], so that its logarithm is finite.
    first = (float(((r0 << shift) | r1) >> np.uint64(11)) + 1.0) * unit
    second = float(((r2 << shift) | r3) >> np.uint64(11)) * unit
    radius = math.sqrt(-2.0 * math.log(first))
    return radius * math.cos(TWO_PI * second), radius * math.sin(TWO_PI * second)


@routine
def normals(seed, trajectory, step, scale, out):
    """Fill `out` with N(0, scale^2) numbers, each of which depends only on the arguments and its index.

    Parameters
    ----------
    seed, trajectory, step : int
        As in `normal_pair`.
    scale : float
        Standard deviation.
    out : ndarray, shape (n,)
        Filled with the numbers.
    """
    for i in range(0, out.size, 2):
        one, two = normal_pair(seed, trajectory, step, i // 2)
        out[i] = scale * one
        if i + 1 < out.size:
            out[i + 1] = scale * two


def seed_word(seed: int) -> np.uint64:
    """Return a seed as the 64-bit key of the generator.

    Parameters
    ----------
    seed : int
        Seed >= 0.

    Returns
    -------
    uint64
        The seed itself or, if it is longer than 64 bits, a hash of it. The type is always the same, so that
        kernels compile only once.
    """
    return np.uint64(seed) if seed < 2**64 else np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
