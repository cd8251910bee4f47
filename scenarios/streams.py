"""Named random streams of one seed.

Every source of randomness gets a seed of its own, derived from the scenario's seed and the stream's name, so that no
stream shifts when another one draws more numbers.
"""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *name: str | int) -> int:
    """Return the seed of a named stream, a number in [0, 2**63).

    Parameters
    ----------
    seed
        The scenario's seed.
    name
        Parts of the stream's name, for example ``"batches", "phone-0", 3``.
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in name)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
