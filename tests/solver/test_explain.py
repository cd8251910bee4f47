"""Reasons by counterfactual, prices in words, and where the advantage comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.contracts.plan import Prices
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.explain.decomposition import decompose
from hybridsplit.solver.explain.reasons import notes
from hybridsplit.solver.planner import make_plan
from tests.solver.instances import group, make_scenario, make_table, random_instance

MIB = 1024**2


def plan_reason(rows: list[dict[str, Any]], **scenario_keys: Any) -> str:
    scenario = make_scenario([group("a", memory_budget_bytes=2 * MIB)], **scenario_keys)
    return make_plan(scenario, make_table(scenario, rows)).clients[0].reason


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
    plan = make_plan(scenario, make_table(scenario, rows))
    assert any(client.reason.startswith("server memory: with more of it, cut 1 fo") for client in plan.clients)


def test_nothing_binds_where_there_is_one_option() -> None:
    assert plan_reason([option(1)]).startswith("nothing binds")


def test_notes_put_prices_into_sentences() -> None:
    lines = notes(Prices(uplink_s=0.8, downlink_s=2.0, server_s=0.0), 10.0)
    assert lines == (
        "10 % more downlink bandwidth saves about 200 ms a round",
        "10 % more uplink bandwidth saves about 80 ms a round",
    )
    assert notes(Prices(), 10.0) == (
        "no shared resource binds: more bandwidth or server compute would not shorten the round",
    )


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
