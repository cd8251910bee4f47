"""Batch size as a column like any other: strategies choose among what the table offers."""

from __future__ import annotations

from typing import Any

import pytest

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.families import family_scenario
from hybridsplit.testing.instances import random_instance, with_batch_sizes


def instance(minimise: str = "time-to-progress") -> tuple[Scenario, OptionTable]:
    found = random_instance(5, num_clients=4, num_options=None, num_cuts=4, minimise=minimise)
    return found.scenario, found.table


def test_batch_sizes_are_chosen_client_by_client() -> None:
    """A mixture beats either size for all, and hsfl may mix them too."""
    scenario, table = instance()
    offered = with_batch_sizes(table, {8: (1.0, 0.7), 16: (1.6, 1.0)})
    best = make_plan(scenario, offered, "static").objective_s
    for batch_size in (8, 16):
        rows = offered.table[offered.table["batch_size"] == batch_size]
        assert best <= make_plan(scenario, OptionTable(rows.reset_index(drop=True)), "static").objective_s * (1 + 1e-6)
    plan = make_plan(scenario, offered, "hsfl")
    verify_plan(plan, scenario, offered)
    assert {client.batch_size for client in plan.clients} <= {8, 16}


def small_scenario(**objective: Any) -> Scenario:
    """A board with a weak link and little data, and one that is near, on a real model."""
    document = family_scenario("resnet", modes=["fo", "zo-projection"], batch_size=32, batch_sizes=[4]).resolved()
    pi = document["clients"][0] | {"count": 1}
    weak = pi | {"group": "weak", "link": {"uplink_bps_per_hz": 0.15, "downlink_bps_per_hz": 0.3}}
    few = pi | {"group": "few", "data_share": 0.02}
    document["clients"] = [pi, weak, few]
    document["objective"] |= objective
    return validate_scenario(document, "small")


def chosen_sizes(plan: Plan) -> dict[str, int]:
    return {client.id: client.batch_size for client in plan.clients}


@pytest.mark.parametrize("strategy", ["hsfl", "optimal"])
def test_batch_sizes_of_a_profiled_scenario_follow_the_noise_scale_and_the_data(strategy: str) -> None:
    """Without noise a small batch is worth as much as a large one; with nothing but noise samples are what counts."""
    sizes = {}
    for scale in (1e-3, 1e6):
        scenario = small_scenario(gradient_noise_scale=scale)
        options = profile_scenario(scenario)
        plan = make_plan(scenario, options, strategy)
        verify_plan(plan, scenario, options)
        sizes[scale] = chosen_sizes(plan)
    assert set(sizes[1e-3].values()) == {4}
    # The client whose data hold no batch of 32 has no such option.
    assert sizes[1e6]["few-0"] == 4
    assert 32 in sizes[1e6].values()


@pytest.mark.parametrize(("scale", "other"), [(1.0, 32), (100.0, 4)])
def test_hsfl_gains_from_the_choice_on_a_profiled_scenario(scale: float, other: int) -> None:
    scenario = small_scenario(gradient_noise_scale=scale)
    options = profile_scenario(scenario)
    found = make_plan(scenario, options, "hsfl")
    is_only = (options.table["batch_size"] == other) | (options.table["client"] == "few-0")
    only = OptionTable(options.table[is_only].reset_index(drop=True))
    assert found.objective_s < 0.9 * make_plan(scenario, only, "hsfl").objective_s
