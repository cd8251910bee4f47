"""The independent check rejects every tampered plan and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.verify.plan import plan_violations, verify_plan
from hybridsplit.testing.instances import Instance, random_instance

Document = dict[str, Any]


@pytest.fixture(scope="module", params=["fixed", "shannon"])
def instance(request: pytest.FixtureRequest) -> Instance:
    return random_instance(5, num_clients=4, num_options=8, link_model=request.param, server_memory=True)


@pytest.fixture(scope="module")
def plan(instance: Instance) -> Plan:
    return make_plan(instance.scenario, instance.table, "static")


def first_client(**changes: Any) -> Callable[[Document], None]:
    def tamper(document: Document) -> None:
        client = document["clients"][0]
        client.update({key: value(client[key]) if callable(value) else value for key, value in changes.items()})

    return tamper


def whole(**changes: Any) -> Callable[[Document], None]:
    def tamper(document: Document) -> None:
        document.update({key: value(document[key]) if callable(value) else value for key, value in changes.items()})

    return tamper


def _all_uplink(document: Document) -> None:
    for client in document["clients"]:
        client["uplink_share"] = 0.5


def _drop_client(document: Document) -> None:
    document["clients"].pop()


def _swap_clients(document: Document) -> None:
    document["clients"].reverse()


def _shift_phase(document: Document) -> None:
    phases = document["clients"][0]["phases_s"]
    phases["client_compute"] += 0.01
    phases["uplink"] = max(0.0, phases["uplink"] - 0.01)


def _drop_phase(document: Document) -> None:
    document["clients"][0]["phases_s"].pop("uplink")


TAMPERINGS: dict[str, tuple[Callable[[Document], None], str]] = {
    "share_raised": (first_client(uplink_share=lambda share: min(1.0, share + 1e-3)), "sums to|its shares give"),
    "all_shares_half": (_all_uplink, "uplink_share sums to 2"),
    "share_zero": (first_client(downlink_share=0.0), "its shares give inf"),
    "memory_over_by_a_byte": (
        first_client(client_peak_bytes=lambda _: 10**9, memory_budget_bytes=10**9 - 1),
        "peak of 1000000000 bytes exceeds its budget of 999999999",
    ),
    "budget_raised": (first_client(memory_budget_bytes=lambda budget: budget + 1), "memory_budget_bytes"),
    "uplink_bytes_lowered": (first_client(uplink_bytes=lambda size: size - 8), "uplink_bytes is"),
    "compute_lowered": (first_client(client_compute_s=lambda seconds: seconds * 0.99), "client_compute_s is"),
    "progress_raised": (first_client(progress=lambda progress: progress + 0.1), "progress is"),
    "server_state_raised": (first_client(server_state_bytes=lambda size: size + 10**9), "server state takes"),
    "latency_lowered": (first_client(latency_s=lambda seconds: seconds * (1 - 1e-5)), "latency_s is"),
    "round_latency_lowered": (whole(round_latency_s=lambda seconds: seconds * (1 - 1e-5)), "round_latency_s is"),
    "objective_lowered": (whole(objective_s=lambda seconds: seconds * (1 - 1e-5)), "objective_s is"),
    "bound_above_objective": (whole(lower_bound_s=lambda seconds: seconds * 1.01, gap=0.0), "is above objective_s"),
    "schedule_bound_above": (whole(schedule_lower_bound_s=lambda seconds: seconds * 100), "schedule_lower_bound_s"),
    "gap_hidden": (whole(lower_bound_s=lambda seconds: seconds / 2, schedule_lower_bound_s=0.0), "gap is"),
    "other_objective": (whole(objective="energy"), "it minimises 'energy'"),
    "other_scenario": (whole(scenario_hash="0" * 64), "scenario hash"),
    "unknown_cut": (first_client(cut=99), "is not in the option table"),
    "frozen_mode": (first_client(mode="frozen"), "is not among training.modes"),
    "other_device": (first_client(device="rpi5_8gb"), "device is"),
    "client_missing": (_drop_client, "clients are not the scenario's"),
    "clients_swapped": (_swap_clients, "clients are not the scenario's"),
    "phase_shifted": (_shift_phase, "client_compute is"),
    "phase_missing": (_drop_phase, "its phases are not those of a round"),
}


def test_the_plan_itself_passes(plan: Plan, instance: Instance) -> None:
    verify_plan(plan, instance.scenario, instance.table)
    verify_plan(Plan.model_validate_json(plan.model_dump_json()), instance.scenario, instance.table)


@pytest.mark.parametrize("name", list(TAMPERINGS))
def test_tampered_plans_are_rejected(name: str, plan: Plan, instance: Instance) -> None:
    tamper, message = TAMPERINGS[name]
    document = plan.model_dump(mode="json")
    tamper(document)
    with pytest.raises(SolverFailure, match=message):
        verify_plan(Plan.model_validate(document), instance.scenario, instance.table)


def test_min_cut_and_least_progress_are_checked() -> None:
    instance = random_instance(5, num_clients=4, num_options=8, modes=("zo-loss",), minimise="round-latency")
    plan = make_plan(instance.scenario, instance.table, "static")
    assert plan.progress < 0.999
    document = instance.scenario.model_dump(mode="json")
    document["objective"]["minimum_progress"] = 1.0
    for member in document["clients"]:
        member["min_cut"] = 99
    with pytest.raises(SolverFailure, match=r"below the least one.*shallower than min_cut 99"):
        verify_plan(plan, validate_scenario(document, "test"), instance.table)


ALIKE = random_instance(11, num_clients=9, copies=3, num_options=6)
PLAN_OF_ALIKE = make_plan(ALIKE.scenario, ALIKE.table)


@given(
    position=st.integers(0, len(PLAN_OF_ALIKE.clients) - 1),
    figure=st.sampled_from(["latency_s", "client_compute_s", "uplink_bytes", "memory_budget_bytes", "data_weight"]),
    reads_table=st.booleans(),
)
def test_one_of_several_alike_clients_that_was_changed_is_named(position: int, figure: str, reads_table: bool) -> None:
    """Clients of a group whose figures are equal are checked once: none may hide behind the others."""
    document = PLAN_OF_ALIKE.model_dump(mode="json")
    changed = document["clients"][position]
    changed[figure] = changed[figure] * 2 + 1
    table = ALIKE.table if reads_table else None
    found = list(plan_violations(Plan.model_validate(document), ALIKE.scenario, table))
    assert any(line.startswith(f"{changed['id']}: ") for line in found), found
    by_client = [line for line in found if line.startswith("g") and "waits" not in line]
    assert all(line.startswith(f"{changed['id']}: ") for line in by_client), found
