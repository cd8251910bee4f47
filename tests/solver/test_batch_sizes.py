"""Batch size as a column like any other: strategies choose among what the table offers."""

from __future__ import annotations

import pandas as pd
import pytest

from scenarios.contracts.options import OptionTable
from scenarios.schema import Scenario
from solver.planner import make_plan
from solver.strategies import STRATEGIES
from solver.verify import verify_plan
from tests.solver.instances import random_instance


def with_batch_sizes(table: OptionTable, scale: dict[int, tuple[float, float]]) -> OptionTable:
    """Offer every option at several batch sizes: batch size to factors of costs and of progress."""
    frames = []
    for batch_size, (cost, worth) in scale.items():
        rows = table.table.copy()
        rows["batch_size"] = batch_size
        for column in ("client_compute_s", "server_compute_s", "client_energy_j"):
            rows[column] *= cost
        rows["progress"] *= worth
        frames.append(rows)
    return OptionTable(pd.concat(frames, ignore_index=True).sort_values("client", kind="stable", ignore_index=True))


def instance(minimise: str = "time-to-progress") -> tuple[Scenario, OptionTable]:
    found = random_instance(5, num_clients=4, num_options=None, num_cuts=4, minimise=minimise)
    return found.scenario, found.table


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_batch_size_that_is_worth_its_time_is_taken_and_one_that_is_not_is_left(strategy: str) -> None:
    if strategy == "random":
        pytest.skip("draws its options")
    scenario, table = instance()
    for scale, expected in (({8: (1.0, 1.0), 16: (2.0, 0.9)}, 8), ({8: (1.0, 0.4), 16: (1.0, 1.0)}, 16)):
        offered = with_batch_sizes(table, scale)
        plan = make_plan(scenario, offered, strategy)
        verify_plan(plan, scenario, offered)
        assert {client.batch_size for client in plan.clients} == {expected}


def test_batch_sizes_are_chosen_client_by_client() -> None:
    """A mixture beats either size for all, and hsfl may mix them too."""
    scenario, table = instance()
    offered = with_batch_sizes(table, {8: (1.0, 0.7), 16: (1.6, 1.0)})
    best = make_plan(scenario, offered).objective_s
    for batch_size in (8, 16):
        rows = offered.table[offered.table["batch_size"] == batch_size]
        assert best <= make_plan(scenario, OptionTable(rows.reset_index(drop=True))).objective_s * (1 + 1e-6)
    plan = make_plan(scenario, offered, "hsfl")
    verify_plan(plan, scenario, offered)
    assert {client.batch_size for client in plan.clients} <= {8, 16}
