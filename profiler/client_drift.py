"""How far clients' data pull apart: every client's mean gradient against that of all, at the starting weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hybridsplit.profiler.progress import Gradients
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.schema import Scenario

_NUM_BATCHES = 2
"""Batches of each half of a client's draw."""


def client_drift(scenario: Scenario) -> Mapping[str, float]:
    """Return ``ζ² = |∇F_i − ∇F|² / |∇F|²`` of every client.

    Each squared norm is a product of two halves of independent batches, so that noise of batches adds nothing in
    expectation; what comes out below 0 is 0.

    Raises
    ------
    ProfileError
        If the mean gradient is zero, or not finite.
    ScenarioError
        If the data cannot be had.
    """
    train = load_dataset(scenario).train
    dealt = partition(train, scenario)
    gradients = Gradients(scenario)
    size = scenario.training.candidate_batch_sizes[0]
    weight = {client.id: client.data_weight for client in scenario.expanded_clients()}
    halves: dict[str, tuple[Tensor, Tensor]] = {}
    for client, index in dealt.items():
        sums: list[Tensor] = []
        for half in range(2):
            steps = range(half * _NUM_BATCHES, (half + 1) * _NUM_BATCHES)
            batches = [draw_batch(train, index, scenario, client, step, batch_size=size) for step in steps]
            sums.append(torch.stack([_flat(gradients, batch) for batch in batches]).mean(dim=0))
        halves[client] = (sums[0], sums[1])
    mean = [sum((weight[c] * pair[half] for c, pair in halves.items()), torch.zeros(())) for half in range(2)]
    squared = float(mean[0] @ mean[1])
    if not 0 < squared < float("inf"):
        raise ProfileError(
            f"the gradient of all clients together at the starting weights has a squared norm of {squared:.3g}; needs "
            "one above zero to measure how far clients are from it: use larger batches"
        )
    return {
        client: max(0.0, float((first - mean[0]) @ (second - mean[1])) / squared)
        for client, (first, second) in halves.items()
    }


def _flat(gradients: Gradients, batch: Batch) -> Tensor:
    whole = gradients.of_batch(batch)
    grads = [parameter.grad for _, parameter in whole.trainable() if parameter.grad is not None]
    return torch.cat([grad.detach().double().flatten() for grad in grads])
