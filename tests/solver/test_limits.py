"""Limits so tight that rounding a relaxation fails, limits together, and what each key changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.search.label_setting import best_by_labels
from hybridsplit.testing.instances import Instance, group, make_scenario, make_table, random_instance


def with_keys(scenario: Scenario, **sections: dict[str, Any]) -> Scenario:
    document = scenario.model_dump(mode="json")
    for name, keys in sections.items():
        document[name].update(keys)
    return validate_scenario(document, "test")


@pytest.mark.parametrize("num_clients", [4, 8, 14])
@pytest.mark.parametrize("seed", range(4))
def test_limits_that_hardly_a_plan_keeps(seed: int, num_clients: int) -> None:
    instance = random_instance(seed, num_clients=num_clients, num_options=6)
    frame = instance.table.table[instance.table.table["fits"]]
    # One plan drawn at random; its own progress and server state become the limits, to the byte.
    known = frame.groupby("client", sort=False).sample(1, random_state=seed)
    progress = float((known["data_weight"] * known["progress"]).sum())
    scenario = with_keys(
        instance.scenario,
        server={"memory_bytes": int(known["server_state_bytes"].sum())},
        objective={"minimum_progress": progress * (1 - 1e-12)},
    )
    plan = make_plan(scenario, instance.table, "static")
    assert sum(client.server_state_bytes for client in plan.clients) <= known["server_state_bytes"].sum()
    assert plan.progress >= progress * (1 - 1e-11)


def test_limits_that_exclude_each_other_are_named() -> None:
    scenario = make_scenario([group("a", count=2)], server_memory_bytes=100, coverage=0.5)
    rows = [
        row
        for i in range(2)
        for row in (
            {"client": f"a-{i}", "cut": 1, "mode": "fo", "uplink_bytes": 10, "server_state_bytes": 80},
            {"client": f"a-{i}", "cut": 1, "mode": "zo-loss", "uplink_bytes": 10, "server_state_bytes": 30},
        )
    ]
    with pytest.raises(InfeasibleError, match=r"keeps server memory and coverage together.*raise server\.memory_bytes"):
        make_plan(scenario, make_table(scenario, rows), "static")


@pytest.fixture(scope="module")
def instance() -> Instance:
    return random_instance(31, num_clients=4, num_options=8)


def test_an_energy_cap_for_all_changes_the_plan(instance: Instance) -> None:
    free = make_plan(instance.scenario, instance.table, "static")
    spent_j = sum(client.client_energy_j or 0.0 for client in free.clients)
    capped = make_plan(
        with_keys(instance.scenario, objective={"energy_cap_j": 0.8 * spent_j}), instance.table, "static"
    )
    assert sum(client.client_energy_j or 0.0 for client in capped.clients) <= 0.8 * spent_j
    assert capped.objective_s > free.objective_s


def test_an_energy_cap_for_one_client_changes_the_plan(instance: Instance) -> None:
    free = make_plan(instance.scenario, instance.table, "static")
    document = instance.scenario.model_dump(mode="json")
    spent_j = free.clients[0].client_energy_j
    assert spent_j is not None
    document["clients"][0]["energy_cap_j"] = 0.99 * spent_j
    capped = make_plan(validate_scenario(document, "test"), instance.table, "static")
    assert capped.clients[0].client_energy_j is not None
    assert capped.clients[0].client_energy_j <= 0.99 * spent_j


def test_coverage_changes_the_plan() -> None:
    rows = [
        row | {"client": f"a-{i}", "cut": 1}
        for i in range(4)
        for row in (
            {"mode": "fo", "client_compute_s": 3.0},
            {"mode": "zo-loss", "client_compute_s": 1.0, "progress": 0.5},
        )
    ]

    def exact_at(coverage: float) -> int:
        scenario = make_scenario([group("a", count=4)], minimise="round-latency", coverage=coverage)
        return sum(client.mode == "fo" for client in make_plan(scenario, make_table(scenario, rows), "static").clients)

    assert exact_at(0.0) == 0
    assert exact_at(0.5) >= 2
    assert exact_at(0.9) == 4


def test_a_slow_client_is_dropped_once_its_price_is_low() -> None:
    def plan_at(price_s: float | None) -> Any:
        slow = group("slow", drop_price_s=price_s)
        scenario = make_scenario([group("fast", count=3), slow], minimise="round-latency")
        rows = [{"client": f"fast-{i}", "cut": 1, "mode": "fo", "client_compute_s": 1.0} for i in range(3)]
        rows.append({"client": "slow-0", "cut": 1, "mode": "fo", "client_compute_s": 9.0})
        return make_plan(scenario, make_table(scenario, rows), "static")

    assert plan_at(None).dropped == ()
    assert plan_at(8.5).dropped == ()
    cheap = plan_at(7.5)
    assert cheap.dropped == ("slow-0",)
    assert [client.id for client in cheap.clients] == ["fast-0", "fast-1", "fast-2"]
    assert (cheap.round_latency_s, cheap.objective_s) == pytest.approx((1.0, 8.5))
    assert cheap.progress == pytest.approx(0.75)


def test_somebody_always_takes_part() -> None:
    scenario = make_scenario([group("a", count=2, drop_price_s=0.0)], minimise="round-latency")
    rows = [{"client": f"a-{i}", "cut": 1, "mode": "fo", "client_compute_s": 1.0 + i} for i in range(2)]
    assert make_plan(scenario, make_table(scenario, rows), "static").dropped == ("a-1",)


def test_a_price_in_seconds_does_not_go_with_joules() -> None:
    with pytest.raises(ScenarioError, match=r"drop_price_s.*no value in joules"):
        make_scenario([group("a", drop_price_s=1.0)], minimise="energy")


def test_unknown_energy_is_not_zero() -> None:
    scenario = make_scenario([group("a")], minimise="energy")
    with pytest.raises(InfeasibleError, match=r"a-0 .*no power figure is published"):
        make_plan(scenario, make_table(scenario, [{"client": "a-0", "cut": 1, "mode": "fo"}]), "static")


def test_energy_over_its_cap_names_what_is_missing() -> None:
    row = {"client": "a-0", "cut": 1, "mode": "fo", "client_energy_j": 5.0}
    scenario = make_scenario([group("a", energy_cap_j=4.0)])
    with pytest.raises(InfeasibleError, match=r"takes 5 J of a cap of 4 J: 1 J missing; raise energy_cap_j of a-0"):
        make_plan(scenario, make_table(scenario, [row]), "static")
    scenario = make_scenario([group("a")], energy_cap_j=4.0)
    with pytest.raises(InfeasibleError, match=r"take 5 J together: 1 J missing; raise objective\.energy_cap_j"):
        make_plan(scenario, make_table(scenario, [row]), "static")


def test_coverage_out_of_reach_names_what_is_in_reach() -> None:
    scenario = make_scenario([group("a"), group("b")], coverage=0.8)
    rows = [
        {"client": "a-0", "cut": 1, "mode": "fo", "uplink_bytes": 10},
        {"client": "b-0", "cut": 1, "mode": "zo-loss", "uplink_bytes": 10},
    ]
    with pytest.raises(InfeasibleError, match=r"coverage is 0\.8.*hold 0\.5 of the data"):
        make_plan(scenario, make_table(scenario, rows), "static")


@pytest.mark.parametrize("seed", range(4))
def test_labels_find_the_best_plan(seed: int) -> None:
    from hybridsplit.solver.problem.build import build_problem
    from hybridsplit.solver.problem.kinds import group_alike
    from tests.solver.test_knapsack import every_plan

    instance = random_instance(seed, num_clients=5, num_options=5, server_memory=True, energy_cap=True)
    kinds = group_alike(build_problem(instance.table, instance.scenario))
    values = np.random.default_rng(seed).normal(size=len(kinds.rows))
    found = best_by_labels(kinds, values)
    best = max(float(plan @ values) for plan in every_plan(kinds) if kinds.keeps(plan))
    assert found.complete
    assert found.counts is not None
    assert found.counts @ values == pytest.approx(best)
