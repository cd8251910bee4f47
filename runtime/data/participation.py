"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybridsplit.scenarios.contracts.attendance import Absence, Attendance
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.streams import stream_seed


def participants(clients: Sequence[str], fraction: float, seed: int, round_index: int) -> tuple[str, ...]:
    """Return the clients that are drawn for a round, in their order.

    Drawn uniformly without replacement from a stream of the round's own, so that a resumed run draws the same ones.

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


def draw_attendance(
    scenario: Scenario, clients: Sequence[str], num_rounds: int, absences: Iterable[Absence] = ()
) -> Attendance:
    """Return who takes part in every round, and how many bytes each has to catch up with.

    Each round is drawn from all clients of the plan, and those that have left are taken out of it: nobody takes their
    place, so that what the others do in later rounds does not depend on who failed. Only where that would leave nobody
    is the round drawn again, from the clients that are still there. A client that fails in a round still takes part in
    it, since the others waited for it.

    There is something to catch up with only where blocks are moved by averaged scalars
    (``training.zo_prefix_blocks``): the scalars of the rounds in which a client's own training did not count, as far
    as there are any.

    Parameters
    ----------
    scenario
        Gives participation and seed.
    clients
        The clients of the plan, in its order.
    num_rounds
        Rounds.
    absences
        Clients whose training did not count, and when. A round depends on those of earlier rounds only.

    Raises
    ------
    RunError
        If everybody has left before the last round.
    """
    absent = tuple(absences)
    left = {one.client: one.round for one in absent if one.for_good}
    not_counted = {(one.client, one.round) for one in absent}
    training = scenario.training
    num_logged, known = 0, dict.fromkeys(clients, 0)
    rounds: list[dict[str, int]] = []
    for round_index in range(num_rounds):
        present = [client for client in clients if left.get(client, round_index) >= round_index]
        if not present:
            raise RunError(f"round {round_index + 1}: every client has left; needs at least one to train with")
        drawn = participants(clients, training.participation, scenario.seed, round_index)
        chosen = [client for client in drawn if left.get(client, round_index) >= round_index]
        chosen = chosen or list(participants(present, training.participation, scenario.seed, round_index))
        rounds.append({client: (num_logged - known[client]) * training.catch_up_bytes_a_round for client in chosen})
        counted = [client for client in chosen if (client, round_index) not in not_counted]
        num_logged += bool(counted)
        known |= dict.fromkeys(counted, num_logged)
    return Attendance(tuple(rounds))
