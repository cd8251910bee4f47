"""Plans of every kind in words: schedules, energy, clients left out; and such plans carried out."""

from __future__ import annotations

import pytest

from hybridsplit.orchestrator.plan_words import names, proof
from hybridsplit.orchestrator.report.headline import tiles
from hybridsplit.orchestrator.views.tables import plan_headline, plan_table
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.contracts.prices import Marginal
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.families import family_scenario


def with_a_weak_client() -> Scenario:
    document = family_scenario("opt-causal").resolved()
    weak = {**document["clients"][0], "group": "weak", "count": 1, "drop_price_s": 1e-6}
    weak["link"] = {"uplink_bps_per_hz": 0.001, "downlink_bps_per_hz": 0.001}
    document["clients"].append(weak)
    return validate_scenario(document, "weak")


BEGINNINGS = {
    PlanStatus.OPTIMAL: "Proven optimal",
    PlanStatus.FEASIBLE: "Not proven optimal: at most ",
    PlanStatus.TIME_LIMIT: "Stopped at the time limit: at most ",
    PlanStatus.BASELINE: "A baseline, which claims no optimum: at most ",
}


@pytest.mark.parametrize("status", list(PlanStatus))
def test_the_proof_says_how_good_a_plan_is_and_among_which(status: PlanStatus) -> None:
    scenario = family_scenario("opt-causal")
    made = make_plan(scenario, profile_scenario(scenario), "static")
    gap = 0.0 if status is PlanStatus.OPTIMAL else 0.125
    plan = made.model_copy(
        update={"status": status, "gap": gap, "lower_bound_s": 0.249, "schedule_lower_bound_s": 0.144}
    )
    text = proof(plan)
    assert text.startswith(BEGINNINGS[status])
    if status is PlanStatus.OPTIMAL:
        expected = "for static shares (bound 249 ms, gap below 1e-6). Any schedule: at least 144 ms."
        assert text == f"Proven optimal {expected}"
    else:
        assert "12.5 % above the best for static shares (bound 249 ms)" in text


def test_a_client_left_out_is_named_and_the_others_train() -> None:
    scenario = with_a_weak_client()
    plan = make_plan(scenario, profile_scenario(scenario))
    assert plan.dropped == ("weak-0",)
    assert "left out, at their price: weak-0" in plan_headline(plan)
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments_of(plan, scenario), executor, 1, schedule=plan.schedule)
    assert set(result.peak_bytes) == {"pi-0", "pi-1"}
    assert result.records[-1].train_loss > 0


def test_joules_are_shown_where_energy_is_minimised() -> None:
    document = family_scenario("opt-causal").resolved()
    document["objective"]["minimise"] = "energy"
    scenario = validate_scenario(document, "energy")
    plan = make_plan(scenario, profile_scenario(scenario))
    assert plan.objective_j is not None
    assert f"{plan.objective_j:.4g} J" in plan_headline(plan)


@pytest.mark.parametrize("strategy", ["static", "optimal", "time-shared", "split-sequential"])
def test_the_bound_is_said_to_hold_for_what_it_holds_for(strategy: str, report_of: object) -> None:
    scenario = family_scenario("opt-causal")
    plan = make_plan(scenario, profile_scenario(scenario), strategy)
    words = plan_headline(plan)
    assert ("for static shares" in words) == (strategy == "static")
    assert ("for any schedule" in words) == (strategy != "static")
    note = next(tile.note for tile in tiles(report_of(plan, scenario)) if tile.label == "Gap to the bound")  # type: ignore[operator]
    assert ("static shares" in note) == (strategy == "static")


@pytest.fixture
def report_of() -> object:
    import pandas as pd

    from hybridsplit.orchestrator.report.data import MEMORY_COLUMNS, ROUND_COLUMNS, ReportData

    def make(plan: Plan, scenario: Scenario) -> ReportData:
        rounds, memory = pd.DataFrame(columns=list(ROUND_COLUMNS)), pd.DataFrame(columns=list(MEMORY_COLUMNS))
        return ReportData(scenario, plan, None, plan.ledger(), rounds, memory, None)

    return make


def bulky_plan(num_groups: int, alike: int) -> Plan:
    """A plan of many groups, every one with a saving and a reason of its own."""
    scenario = family_scenario("opt-causal")
    made = make_plan(scenario, profile_scenario(scenario), "static")
    first = made.clients[0]
    clients = tuple(
        first.model_copy(update={"id": f"g{group}-{i}", "reason": f"memory: would take {group}"})
        for group in range(num_groups)
        for i in range(alike)
    )
    marginals = tuple(
        Marginal(
            resource="memory", clients=tuple(f"g{group}-{i}" for i in range(alike)), amount_bytes=1024,
            amount_fraction=0.1, option="cut 2 fo", saves_s=1e-3 * (1 + group),
        )
        for group in range(num_groups)
    )  # fmt: skip
    dropped = tuple(f"weak-{i}" for i in range(num_groups))
    return made.model_copy(update={"clients": clients, "marginals": marginals, "dropped": dropped})


def test_a_thousand_groups_fill_no_more_than_a_screen_each() -> None:
    plan = bulky_plan(1000, 1)
    lines = plan_headline(plan).splitlines()
    assert len(lines) < 36
    assert "  ... and 988 more rows: --all prints them, --out writes them" in lines
    assert "  ... and 988 more reasons: --all prints them, --out writes them" in lines
    assert all(len(line) < 200 for line in lines)
    table = plan_table(plan)
    assert table.row_count == 24
    assert table.caption == "and 976 rows more: --all prints every client, --out writes them"
    everything = plan_headline(plan, shortens=False).splitlines()
    assert sum(line.startswith("  ") for line in everything) == 2 * 1000
    assert plan_table(plan, shortens=False).row_count == len(plan.clients)


def test_alike_clients_share_a_line() -> None:
    plan = bulky_plan(3, 10)
    lines = plan_headline(plan).splitlines()
    assert [line for line in lines if "saves" in line] == [
        f"  g{group} x10 memory +1 KiB in one of them: saves {group + 1} ms (then cut 2 fo fits)" for group in (2, 1, 0)
    ]
    assert "  g2 x10: memory: would take 2" in lines


def test_clients_are_named_by_group_and_range() -> None:
    sizes = {"pi": 2, "kiosk": 10, "lab": 3}
    assert names(["pi-0", "pi-1"], sizes) == "pi-0, pi-1"
    assert names([f"kiosk-{i}" for i in (2, 3, 4, 5)], sizes) == "kiosk-2..5"
    assert names([f"kiosk-{i}" for i in (0, 2, 3, 4)], sizes) == "kiosk-0, kiosk-2..4"
    assert names(["lab-0", "lab-1", "lab-2", "alone"], sizes) == "lab x3, alone"
    assert names([f"g{i}-0" for i in range(2000)], {}) == "g0-0, g1-0, g2-0, g3-0 and 1,996 more"
