"""How many samples each client gets, as plain numbers: known without loading any data but their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Iid, Scenario
from hybridsplit.scenarios.units import counted


def ends_of_runs(num_samples: int, weights: Sequence[float]) -> NDArray[np.int_]:
    """Return [M] where each of M consecutive runs ends whose lengths follow the weights."""
    return np.asarray(np.round(np.cumsum(weights) / sum(weights) * num_samples), dtype=int)


def check_counts(scenario: Scenario, counts: Sequence[int]) -> None:
    """Check that every client can draw a batch.

    Parameters
    ----------
    scenario
        The scenario.
    counts
        Training samples of each client, in the scenario's order.

    Raises
    ------
    ScenarioError
        If a client gets fewer samples than one batch of the smallest size that it may choose.
    """
    batch_size = scenario.training.candidate_batch_sizes[0]
    for client, count in zip(scenario.expanded_clients(), counts, strict=True):
        if count < batch_size:
            raise ScenarioError(
                f"data.partition: client {client.id} gets {counted(count, 'sample')}; needs at least one batch of "
                f"{batch_size}: lower training.batch_size or the number of clients, raise its data_share, or use more "
                "data"
            )


def check_number(scenario: Scenario, num_samples: int) -> None:
    """Check that so many training samples can give every client a batch, as far as their number alone tells.

    Raises
    ------
    ScenarioError
        As :func:`check_counts` where samples are dealt evenly, and where there are fewer than a batch a client.
    """
    clients = scenario.expanded_clients()
    if isinstance(scenario.data.partition, Iid):
        ends = ends_of_runs(num_samples, [client.data_weight for client in clients])
        check_counts(scenario, np.diff(ends, prepend=0).tolist())
    batch_size = scenario.training.candidate_batch_sizes[0]
    if num_samples < batch_size * len(clients):
        raise ScenarioError(
            f"data: found {num_samples} training samples for {len(clients)} clients; needs at least one batch of "
            f"{batch_size} for each: lower training.batch_size or the number of clients, or use more data"
        )
