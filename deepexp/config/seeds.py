"""Independent streams of random numbers from one seed."""

from __future__ import annotations

import hashlib
import json


def stream(seed: int, *key: str | int) -> int:
    """The 63-bit seed of the random stream that `key` names: independent streams for independent uses.

    Every random number of a run comes from a generator seeded so and used up at once; the state of a run's
    randomness is therefore its seed, level and epoch, and a resumed run draws what the uninterrupted drew.
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
