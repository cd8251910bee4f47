"""Edges of the input: every outcome is a verified plan or a typed error that names the cause."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hybridsplit.orchestrator.plan_words import no_bottlenecks
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.errors import ContractError, HybridSplitError, InfeasibleError
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies import STRATEGIES
from hybridsplit.testing.degenerate import CASES
from hybridsplit.testing.instances import group, make_scenario, make_table, random_instance, random_rows
from tests.tiers import one_of

MIB = 1024**2


def row(client: str, cut: int = 1, mode: str = "fo", **costs: Any) -> dict[str, Any]:
    base = {"client_compute_s": 1.0, "uplink_bytes": 1000, "downlink_bytes": 1000, "server_compute_s": 0.1}
    return {"client": client, "cut": cut, "mode": mode} | base | costs


def test_one_client_gets_everything() -> None:
    scenario = make_scenario([group("a")])
    plan = make_plan(scenario, make_table(scenario, [row("a-0")]), "static")
    client = plan.clients[0]
    assert (client.uplink_share, client.downlink_share, client.server_share) == pytest.approx((1, 1, 1))
    assert plan.status is PlanStatus.OPTIMAL
    assert plan.schedule_lower_bound_s == pytest.approx(plan.objective_s, rel=1e-3)


@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
def test_identical_clients_are_solved_as_one_kind(minimise: str) -> None:
    instance = random_instance(4, num_clients=12, copies=12, num_options=None, minimise=minimise)
    plan = make_plan(instance.scenario, instance.table, "static")
    assert plan.gap <= 0.02
    by_option: dict[tuple[int, str], set[float]] = {}
    for client in plan.clients:
        by_option.setdefault((client.cut, client.mode), set()).add(round(client.uplink_share, 5))
    assert all(len(shares) == 1 for shares in by_option.values())


def test_equal_options_are_all_alike() -> None:
    scenario = make_scenario([group("a", count=3)])
    rows = [row(f"a-{i}", cut) for i in range(3) for cut in (1, 2, 3)]
    plan = make_plan(scenario, make_table(scenario, rows), "static")
    assert plan.status is PlanStatus.OPTIMAL
    assert {client.cut for client in plan.clients} == {1}


def test_a_plan_that_costs_nothing_is_optimal() -> None:
    scenario = make_scenario([group("a", count=2)])
    rows = [
        row(f"a-{i}", client_compute_s=0.0, uplink_bytes=0, downlink_bytes=0, server_compute_s=0.0) for i in range(2)
    ]
    plan = make_plan(scenario, make_table(scenario, rows), "static")
    assert (plan.objective_s, plan.gap, plan.status) == (0.0, 0.0, PlanStatus.OPTIMAL)


def test_some_options_that_cost_nothing() -> None:
    scenario = make_scenario([group("a", count=2)], modes=("fo", "frozen"))
    free = {"client_compute_s": 0.0, "uplink_bytes": 0, "downlink_bytes": 0, "server_compute_s": 0.0, "progress": 0.0}
    rows = [r for i in range(2) for r in (row(f"a-{i}"), row(f"a-{i}", mode="frozen", **free))]
    plan = make_plan(scenario, make_table(scenario, rows), "static")
    assert plan.progress > 0
    assert plan.status is PlanStatus.OPTIMAL


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_zero_uplink_with_bits_to_move_names_the_key(link_model: str) -> None:
    scenario = make_scenario([group("a", count=2, link_model=link_model)], link_model=link_model, uplink_hz=0)
    table = make_table(scenario, [row(f"a-{i}") for i in range(2)])
    with pytest.raises(InfeasibleError, match=r"(?s)a-0.*radio\.uplink_hz = 0 Hz.*give radio\.uplink_hz"):
        make_plan(scenario, table, "static")


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_zero_uplink_leaves_options_that_send_nothing(link_model: str) -> None:
    scenario = make_scenario([group("a", count=2, link_model=link_model)], link_model=link_model, uplink_hz=0)
    rows = [r for i in range(2) for r in (row(f"a-{i}"), row(f"a-{i}", 2, uplink_bytes=0))]
    plan = make_plan(scenario, make_table(scenario, rows), "static")
    assert {client.cut for client in plan.clients} == {2}
    assert plan.status is PlanStatus.OPTIMAL


def test_a_link_with_no_gain_is_a_typed_error() -> None:
    link = {"path_gain_db": -4000.0, "downlink_bps_per_hz": 1.0}
    scenario = make_scenario([group("a", link_model="shannon") | {"link": link}], link_model="shannon")
    with pytest.raises(InfeasibleError, match="path_gain_db"):
        make_plan(scenario, make_table(scenario, [row("a-0")]), "static")


def test_a_client_without_a_fitting_option_is_explained() -> None:
    scenario = make_scenario([group("phone", count=7, memory_budget_bytes=2 * MIB)], modes=("fo", "fo-recompute"))
    rows = [
        r
        for i in range(7)
        for r in (
            row(f"phone-{i}", 1, "fo", client_peak_bytes=9 * MIB),
            row(f"phone-{i}", 1, "fo-recompute", client_peak_bytes=2 * MIB + 1),
            row(f"phone-{i}", 1, "zo-projection", client_peak_bytes=MIB),
        )
    ]
    with pytest.raises(InfeasibleError) as caught:
        make_plan(scenario, make_table(scenario, rows), "static")
    message = str(caught.value)
    assert "phone-0 (rpi4b_8gb): its leanest option, cut 1 with fo-recompute" in message
    assert "2.00 MiB of a budget of 2.00 MiB: 1 B (1 bytes) missing" in message
    assert "allow zo-projection in training.modes (then cut 1 fits)" in message
    assert "give phone-0 1 B more (then cut 1 with fo-recompute fits)" in message
    assert "7 clients" in message
    assert "... and 2 more" in message


def test_min_cut_is_named_as_the_relaxation() -> None:
    scenario = make_scenario([group("a", min_cut=3)])
    with pytest.raises(InfeasibleError, match="lower min_cut from 3 to 2"):
        make_plan(scenario, make_table(scenario, [row("a-0", 1), row("a-0", 2)]), "static")


def test_server_memory_is_kept_to_the_byte() -> None:
    rows = [
        r
        for i in range(2)
        for r in (
            row(f"a-{i}", 1, server_state_bytes=51),
            row(f"a-{i}", 2, client_compute_s=9.0, server_state_bytes=50),
        )
    ]
    for memory, slow in ((102, 0), (101, 1), (100, 2)):
        scenario = make_scenario([group("a", count=2)], server_memory_bytes=memory)
        plan = make_plan(scenario, make_table(scenario, rows), "static")
        assert sum(client.cut == 2 for client in plan.clients) == slow
    scenario = make_scenario([group("a", count=2)], server_memory_bytes=99)
    with pytest.raises(InfeasibleError, match=r"server\.memory_bytes is 99 B.*100 B together: 1 B \(1 bytes\) missing"):
        make_plan(scenario, make_table(scenario, rows), "static")


def test_a_server_without_memory_still_serves_local_options() -> None:
    scenario = make_scenario([group("a", count=2)], server_memory_bytes=0)
    rows = [
        r for i in range(2) for r in (row(f"a-{i}", 1, server_state_bytes=1), row(f"a-{i}", 2, server_compute_s=0.0))
    ]
    assert {c.cut for c in make_plan(scenario, make_table(scenario, rows), "static").clients} == {2}


def test_progress_out_of_reach_names_what_is_in_reach() -> None:
    scenario = make_scenario([group("a")], minimum_progress=0.9)
    with pytest.raises(InfeasibleError, match=r"minimum_progress is 0\.9 and the usable options reach at most 0\.5"):
        make_plan(scenario, make_table(scenario, [row("a-0", progress=0.5)]), "static")


def test_progress_out_of_reach_within_server_memory() -> None:
    scenario = make_scenario([group("a", count=2)], minimum_progress=0.9, server_memory_bytes=10)
    rows = [r for i in range(2) for r in (row(f"a-{i}", 1, server_state_bytes=10), row(f"a-{i}", 2, progress=0.1))]
    with pytest.raises(InfeasibleError, match=r"reach at most 0\.55"):
        make_plan(scenario, make_table(scenario, rows), "static")


def test_no_progress_at_all_has_no_time_to_progress() -> None:
    scenario = make_scenario([group("a")], modes=("frozen",))
    with pytest.raises(InfeasibleError, match="no usable option makes progress"):
        make_plan(scenario, make_table(scenario, [row("a-0", mode="frozen", progress=0.0)]), "static")


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e4, 1e9])
def test_ranges_of_scale(scale: float, minimise: str, link_model: str) -> None:
    instance = random_instance(6, num_clients=4, num_options=6, link_model=link_model, minimise=minimise)
    table = instance.table.table.copy()
    table["client_compute_s"] *= scale
    table.loc[table["client"] == "g0-0", "server_compute_s"] *= scale
    plan = make_plan(instance.scenario, type(instance.table)(table), "static")
    assert plan.gap <= 1e-4


def test_table_and_scenario_must_agree() -> None:
    scenario = make_scenario([group("a", count=2)])
    table = make_table(scenario, [row("a-0"), row("a-1")]).table
    with pytest.raises(ContractError, match="no row for client a-1"):
        make_plan(scenario, type(make_table(scenario, [row("a-0")]))(table[table["client"] == "a-0"]), "static")
    with pytest.raises(ContractError, match="which the scenario does not"):
        make_plan(make_scenario([group("a")]), type(make_table(scenario, [row("a-0")]))(table), "static")
    wrong = table.assign(data_weight=0.3)
    with pytest.raises(ContractError, match="data weight"):
        make_plan(scenario, type(make_table(scenario, [row("a-0")]))(wrong), "static")


def test_errors_carry_an_exit_code() -> None:
    assert issubclass(InfeasibleError, HybridSplitError)
    assert InfeasibleError.exit_code == 3


@pytest.mark.parametrize("column", ["client_compute_s", "server_compute_s", "progress"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_costs_that_are_no_numbers_never_reach_the_solver(column: str, value: float) -> None:
    scenario = make_scenario([group("a")])
    with pytest.raises(ContractError, match=rf"{column} = .* for client a-0"):
        make_table(scenario, [row("a-0", **{column: value})])


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency", "energy"])
@pytest.mark.parametrize("copies", one_of(2, [3, 1]))
def test_one_client_and_identical_clients_under_every_strategy(strategy: str, minimise: str, copies: int) -> None:
    instance = random_instance(
        4, num_clients=copies, copies=copies, num_options=None, minimise=minimise, minimum_progress=0.05
    )
    plan = make_plan(instance.scenario, instance.table, strategy)
    best = make_plan(instance.scenario, instance.table, "static")
    value, least = (
        (plan.objective_j, best.objective_j)
        if minimise == "energy"
        else (plan.objective_s, best.schedule_lower_bound_s)
    )
    assert value is not None
    assert least is not None
    assert value >= least * (1 - 1e-9)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_client_without_an_option_stops_every_strategy(strategy: str) -> None:
    scenario = make_scenario([group("a", memory_budget_bytes=10), group("b")])
    rows = [row("a-0", client_peak_bytes=11), row("b-0")]
    with pytest.raises(InfeasibleError, match="no option fits for 1 client: a-0"):
        make_plan(scenario, make_table(scenario, rows), strategy)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_ranges_of_scale_where_clients_are_many(scale: float) -> None:
    instance = random_instance(6, num_clients=60, num_options=6)
    table = instance.table.table.copy()
    table.loc[table["client"] == "g0-0", ["client_compute_s", "server_compute_s"]] *= scale
    plan = make_plan(instance.scenario, type(instance.table)(table), "static")
    assert plan.gap <= 0.05
    assert plan.status is not PlanStatus.BASELINE


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("seed", range(8))
def test_links_of_very_different_gain_are_planned_without_warnings(seed: int) -> None:
    """From -90 to -150 dB: at most deadlines some rows cannot be carried at all."""
    gains = (-90.0, -100.0, -110.0, -120.0, -150.0)
    groups = [
        group(f"g{i}", link_model="shannon") | {"link": {"path_gain_db": gain, "downlink_bps_per_hz": 3.0}}
        for i, gain in enumerate(gains)
    ]
    scenario = make_scenario(groups, link_model="shannon", uplink_hz=80e6, downlink_hz=80e6)
    rng = np.random.default_rng(seed)
    rows = [row for client in scenario.expanded_clients() for row in random_rows(client.id, 4, ("fo",), rng)]
    make_plan(scenario, make_table(scenario, rows), "static")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_client_alone_has_bottlenecks_and_no_warnings() -> None:
    """Its band is priced at nothing where the deadline is that of the client alone; more of it saves nevertheless."""
    scenario = make_scenario([group("a")])
    plan = make_plan(
        scenario, make_table(scenario, [row("a-0", uplink_bytes=10**6, downlink_bytes=0, server_compute_s=0)]), "static"
    )
    saves = {m.resource: m.saves_s for m in plan.marginals}
    assert saves["uplink"] > 0
    assert saves["downlink"] == saves["server"] == 0
    assert no_bottlenecks(plan).startswith("downlink +1 MHz (10 %), server ")


COSTS = ("client_compute_s", "server_compute_s", "client_energy_j", "progress", "data_weight")


@pytest.mark.parametrize("column", COSTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_what_is_no_cost_is_refused_before_any_strategy(column: str, value: float) -> None:
    instance = CASES["equal options"]("fixed", "energy")
    row = instance.table.table.iloc[0].to_dict() | {column: value}
    if column == "client_energy_j" and math.isnan(value):
        assert len(make_table(instance.scenario, [row]).table) == 1
        return
    with pytest.raises(ContractError, match=rf"{column} = .* for client a-0"):
        make_table(instance.scenario, [row])
