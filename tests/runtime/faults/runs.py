"""Short runs of quickstart, to be disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hybridsplit.runtime.executors.base import Executor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario

SMALL = ["training.local_steps=1", "training.zeroth_order.directions=1", "training.rounds=3"]
OPTIONS = [(1, Mode.FO), (2, Mode.ZO_PROJECTION), (3, Mode.FO_RECOMPUTE), (4, Mode.ZO_LOSS), (2, Mode.FO), (7, Mode.FO)]
ENDS_S = [1.0, 2.0, 3.0]


def scenario_with(*settings: str) -> Scenario:
    return load_scenario("quickstart", [*SMALL, *settings])


def assignments_of(scenario: Scenario) -> list[Assignment]:
    clients = scenario.expanded_clients()
    return [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30)
        for c, (cut, mode) in zip(clients, OPTIONS, strict=True)
    ]


def assert_same_bits(one: State, other: State) -> None:
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def run_with(scenario: Scenario, executor: Executor[Any], assignments: Sequence[Assignment]) -> TrainingResult:
    with executor:
        return train(scenario, assignments, executor, ENDS_S)
