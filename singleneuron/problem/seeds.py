"""Seeds derived from other seeds, so that all random streams are independent and reproducible."""

from collections.abc import Sequence

import numpy as np

from singleneuron.problem.arguments import integer_in_range


def derived_seed(key: Sequence[int], *more: int) -> int:
    """Derive a 63-bit seed from a key and further numbers.

    Parameters
    ----------
    key : sequence of int
        Numbers >= 0 that identify the work.
    *more : int
        Numbers >= 0 that identify a part of that work.

    Returns
    -------
    int
        The seed, which depends only on the arguments.
    """
    return int(np.random.SeedSequence([*key, *more]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def child_seed(seed: int, run: int) -> int:
    """Derive the seed for the samples of one run from the seed of its study.

    Two runs of a study get different seeds, and so do runs of studies with different seeds below 2^32, unless
    64-bit hashes collide.

    Parameters
    ----------
    seed : int
        Seed of the study, >= 0.
    run : int
        Index of the run, >= 0.

    Returns
    -------
    int
        A 64-bit seed.
    """
    return int(np.random.SeedSequence([seed, run]).generate_state(1, np.uint64)[0])


def generator(seed: int) -> np.random.Generator:
    """Create a random generator from a seed of any size.

    Parameters
    ----------
    seed : int
        Seed, >= 0.

    Returns
    -------
    numpy.random.Generator
        A Philox generator, which is counter-based and gives the same numbers on every machine.

    Raises
    ------
    ValueError
        If `seed` is not an integer >= 0.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(integer_in_range("seed", seed, 0))))


def key_of(seed: int, stream: int, d: int, index: int) -> int:
    """Derive a 63-bit seed from `seed`, `stream`, `d` and `index`.

    Parameters
    ----------
    seed : int
        Seed of the study, >= 0.
    stream : int
        Number that identifies the purpose, such as a kind of start.
    d : int
        Number of coordinates.
    index : int
        Index of the block or run.

    Returns
    -------
    int
        The seed, which depends only on the arguments.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(stream, d, index))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
