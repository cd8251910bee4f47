"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed


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
    import numpy as np  # late: where everybody takes part, nothing is drawn

    rng = np.random.default_rng(stream_seed(seed, "participants", round_index))
    chosen = set(rng.choice(len(clients), size=wanted, replace=False).tolist())
    return tuple(client for position, client in enumerate(clients) if position in chosen)


def attendance(scenario: Scenario, clients: Sequence[str], num_rounds: int) -> tuple[Mapping[str, int], ...]:
    """Return, for every round, who takes part and how many bytes each has to catch up with.

    Only where blocks are moved by averaged scalars (``training.zo_prefix_blocks``) is there anything to catch up with:
    the scalars of the rounds a client has missed.

    Parameters
    ----------
    scenario
        Gives participation and seed.
    clients
        The clients of the plan, in its order.
    num_rounds
        Rounds.
    """
    training = scenario.training
    last = dict.fromkeys(clients, -1)
    found: list[dict[str, int]] = []
    for round_index in range(num_rounds):
        chosen = participants(clients, training.participation, scenario.seed, round_index)
        found.append({c: (round_index - 1 - last[c]) * training.catch_up_bytes_a_round for c in chosen})
        last |= dict.fromkeys(chosen, round_index)
    return tuple(found)
