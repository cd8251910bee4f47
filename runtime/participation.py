"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.streams import stream_seed


def participants(clients: Sequence[str], fraction: float, seed: int, round_index: int) -> tuple[str, ...]:
    """Return the clients that take part in a round, in their order.

    Drawn uniformly without replacement from a stream of the round's own, so that run and replay agree and a resumed
    run draws the same ones.

    Parameters
    ----------
    clients
        All clients that may take part.
    fraction
        Share of them that does, in (0, 1]; at least one does.
    seed
        The scenario's seed.
    round_index
        Counts from 0.
    """
    wanted = max(1, round(fraction * len(clients)))
    if wanted >= len(clients):
        return tuple(clients)
    rng = np.random.default_rng(stream_seed(seed, "participants", round_index))
    chosen = set(rng.choice(len(clients), size=wanted, replace=False).tolist())
    return tuple(client for position, client in enumerate(clients) if position in chosen)
