"""Independent streams of random numbers from one seed."""

from __future__ import annotations

import hashlib
import json


def stream(seed: int, *key: str | int) -> int:
    """Return the seed of the random stream that `key` names.

    Different keys give independent streams. Every random number of a run comes from a generator that is
    created from such a seed, used for one purpose only, and then discarded. The seed, level and epoch
    therefore determine all randomness, so that a resumed run draws the same numbers as an uninterrupted run.

    Parameters
    ----------
    seed : int
        The run's seed.
    *key : str or int
        The purpose of the stream, such as ('score', layer).

    Returns
    -------
    int
        A 63-bit seed.
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
