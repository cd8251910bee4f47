"""Reasons by counterfactual, savings that agree with them, and where the advantage comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.orchestrator.plan_words import bottlenecks, no_bottlenecks
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.explain.decomposition import decompose
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.instances import group, make_scenario, make_table, random_instance

MIB = 1024**2


def plan_reason(rows: list[dict[str, Any]], **scenario_keys: Any) -> str:
    scenario = make_scenario([group("a", memory_budget_bytes=2 * MIB)], **scenario_keys)
    return make_plan(scenario, make_table(scenario, rows), "static").clients[0].reason


def option(cut: int, mode: str = "fo", **costs: Any) -> dict[str, Any]:
    return {"client": "a-0", "cut": cut, "mode": mode, "client_compute_s": 1.0, "uplink_bytes": 10_000} | costs


def test_memory_is_named_with_what_is_missing() -> None:
    rows = [option(1, client_compute_s=5.0), option(5, client_peak_bytes=int(3.1 * MIB))]
    assert plan_reason(rows) == "memory: would take cut 5 fo, which needs 3.10 MiB of 2.00 MiB"


def test_a_weak_uplink_is_named() -> None:
    rows = [option(1, uplink_bytes=10**9), option(2, client_compute_s=60.0)]
    assert plan_reason(rows).startswith("uplink: if it were free, cut 1 fo")


def test_a_slow_server_is_named() -> None:
    rows = [option(1, server_compute_s=100.0), option(2, client_compute_s=60.0)]
    assert plan_reason(rows).startswith("server: if it were free, cut 1 fo")


def test_a_slow_device_is_named() -> None:
    rows = [option(1, uplink_bytes=10**7), option(2, client_compute_s=600.0)]
    assert plan_reason(rows).startswith("device speed: if it computed in no time, cut 2 fo")


def test_the_server_memory_is_named() -> None:
    scenario = make_scenario([group("a", count=2)], server_memory_bytes=150)
    rows = [
        row | {"client": f"a-{i}"}
        for i in range(2)
        for row in (
            option(1, server_state_bytes=100),
            option(2, client_compute_s=1.5, server_state_bytes=50, progress=0.9),
        )
    ]
    plan = make_plan(scenario, make_table(scenario, rows), "static")
    assert any(client.reason.startswith("server memory: with more of it, cut 1 fo") for client in plan.clients)


def test_nothing_binds_where_there_is_one_option() -> None:
    assert plan_reason([option(1)]).startswith("no limit: ")


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    link_model=st.sampled_from(["fixed", "shannon"]),
    minimise=st.sampled_from(["time-to-progress", "round-latency"]),
    copies=st.sampled_from([1, 2]),
    limits=st.sampled_from([{}, {"server_memory": True}, {"drop": True}, {"coverage": True}]),
)
def test_a_reason_names_memory_exactly_where_more_of_it_saves_something(
    seed: int, link_model: str, minimise: str, copies: int, limits: dict[str, bool]
) -> None:
    instance = random_instance(
        seed, num_clients=4, num_options=None, link_model=link_model, minimise=minimise, copies=copies,
        budgets=(3e6, 8e6), **limits,
    )  # fmt: skip
    try:
        plan = make_plan(instance.scenario, instance.table, "static")
    except InfeasibleError:
        return
    saving = {client: m for m in plan.marginals for client in m.clients}
    for client in plan.clients:
        named = client.reason.startswith("memory: would take ")
        assert named == (client.id in saving), client.reason
        if named:
            assert client.reason.startswith(f"memory: would take {saving[client.id].option}, which needs ")
    assert all(m.saves_s > 1e-6 * plan.objective_s for m in saving.values())
    shared = [m for m in plan.marginals if not m.clients]
    assert [m.resource for m in shared] == ["uplink", "downlink", "server"]
    assert no_bottlenecks(plan).startswith("more of a shared resource saves nothing") == all(
        m.saves_s == 0 for m in shared
    )
    listed = [row.what for row in bottlenecks(plan)]
    assert {m.resource for m in shared if m.saves_s > 0} == {what for what in listed if not what.endswith("memory")}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), link_model=st.sampled_from(["fixed", "shannon"]))
def test_the_decomposition_never_rises(seed: int, link_model: str) -> None:
    instance = random_instance(
        seed, num_clients=5, num_options=None, num_cuts=4, link_model=link_model, budgets=(4e6, 1e7)
    )
    try:
        parts = decompose(instance.scenario, instance.table)
    except InfeasibleError:
        return
    assert parts.splitfed_s >= parts.shares_s >= parts.cuts_s >= parts.modes_s >= parts.modes_lower_bound_s
    assert min(parts.shares_ratio, parts.cuts_ratio, parts.modes_ratio) >= 1
    assert parts.total_ratio == pytest.approx(parts.shares_ratio * parts.cuts_ratio * parts.modes_ratio)
    assert parts.splitfed_s == pytest.approx(make_plan(instance.scenario, instance.table, "splitfed").round_latency_s)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 9.0), st.integers(1, 10**6), st.floats(0.1, 1.0)), min_size=2, max_size=5))
def test_a_client_by_itself_is_not_held_back_by_others(costs: list[tuple[float, int, float]]) -> None:
    rows = [
        option(cut, client_compute_s=compute_s, uplink_bytes=size, progress=progress)
        for cut, (compute_s, size, progress) in enumerate(costs, 1)
    ]
    assert "the other clients" not in plan_reason(rows)
