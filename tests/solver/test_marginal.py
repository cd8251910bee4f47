"""What a little more is worth, against planning again with it."""

from __future__ import annotations

from typing import Any

import pytest

from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.planner import make_plan
from tests.solver.instances import Instance, group, make_scenario, make_table, random_instance

MIB = 1024**2


def value(plan: Any, resource: str) -> float:
    return float(next(m.saves_s for m in plan.marginals if m.resource == resource))


@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("key", ["uplink_hz", "downlink_hz"])
@pytest.mark.parametrize("seed", range(3))
def test_a_megahertz_saves_what_planning_again_saves(seed: int, key: str, link_model: str, minimise: str) -> None:
    instance = random_instance(seed, num_clients=4, num_options=None, link_model=link_model, minimise=minimise)
    plan = make_plan(instance.scenario, instance.table)
    promised_s = value(plan, key.removesuffix("_hz"))
    document = instance.scenario.model_dump(mode="json")
    document["radio"][key] += 1e6
    again = make_plan(validate_scenario(document, "test"), instance.table)
    saved_s = plan.objective_s - again.objective_s
    # Other options may pay with more band, never fewer: planning again saves as much or more.
    assert promised_s <= saved_s + 1e-6 * plan.objective_s
    kept = [(c.cut, c.mode) for c in plan.clients] == [(c.cut, c.mode) for c in again.clients]
    if kept:
        assert promised_s == pytest.approx(saved_s, abs=1e-6 * plan.objective_s)


@pytest.mark.parametrize("seed", range(3))
def test_a_gigaflop_saves_what_a_faster_server_saves(seed: int) -> None:
    from hybridsplit.scenarios.devices import catalogue

    instance = random_instance(seed, num_clients=4, num_options=None)
    table = instance.table.table.copy()
    table["server_compute_s"] *= 30
    slow = type(instance.table)(table)
    plan = make_plan(instance.scenario, slow)
    device = catalogue()[instance.scenario.server.device]
    assert device.fp32_flops_per_s is not None
    assert device.efficiency is not None
    speed = device.fp32_flops_per_s * device.efficiency.matmul
    table["server_compute_s"] *= speed / (speed + 1e9)
    again = make_plan(instance.scenario, type(instance.table)(table))
    promised_s = value(plan, "server")
    assert promised_s > 0
    assert promised_s <= plan.objective_s - again.objective_s + 1e-6 * plan.objective_s


def memory_instance(budget_mib: int) -> Instance:
    scenario = make_scenario([group("a", memory_budget_bytes=budget_mib * MIB), group("b")])
    rows: list[dict[str, Any]] = [
        {"client": "a-0", "cut": 1, "mode": "fo", "client_compute_s": 9.0, "uplink_bytes": 1000},
        {"client": "a-0", "cut": 2, "mode": "fo", "client_compute_s": 4.0, "client_peak_bytes": 150 * MIB},
        {"client": "a-0", "cut": 3, "mode": "fo", "client_compute_s": 2.0, "client_peak_bytes": 400 * MIB},
        {"client": "b-0", "cut": 1, "mode": "fo", "client_compute_s": 5.0, "uplink_bytes": 1000},
    ]
    return Instance(scenario, make_table(scenario, rows))


def test_memory_saves_what_planning_again_saves() -> None:
    before, after = memory_instance(100), memory_instance(200)
    plan = make_plan(before.scenario, before.table)
    again = make_plan(after.scenario, after.table)
    promised = next(m for m in plan.marginals if m.resource == "memory of a-0")
    assert promised.saves_s == pytest.approx(plan.objective_s - again.objective_s, rel=1e-6)
    assert promised.detail == "cut 2 fo would fit with 50.00 MiB more"
    assert not [m for m in plan.marginals if m.resource == "memory of b-0"]


def test_a_resource_that_nobody_waits_for_saves_nothing() -> None:
    plan = make_plan(memory_instance(500).scenario, memory_instance(500).table)
    assert value(plan, "server") == 0
    assert value(plan, "downlink") == 0
