"""Seeds derived from seeds."""

from collections.abc import Sequence

import numpy as np

from singleneuron.problem.arguments import integer


def derived_seed(key: Sequence[int], *more: int) -> int:
    """A 63-bit seed that is a function of the key and the numbers after it."""
    return int(np.random.SeedSequence([*key, *more]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def child_seed(seed: int, run: int) -> int:
    """The seed of one run's samples: those of no other run, nor of a run of another seed."""
    return int(np.random.SeedSequence([seed, run]).generate_state(1, np.uint64)[0])


def generator(seed: int) -> np.random.Generator:
    """Random numbers of a seed of any length."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(integer("seed", seed, 0))))


def key_of(seed: int, stream: int, d: int, index: int) -> int:
    """A 63-bit seed of its own for every (seed, stream, d, index)."""
    sequence = np.random.SeedSequence(seed, spawn_key=(stream, d, index))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
