"""Plans of every kind in words: schedules, energy, clients left out; and such plans carried out."""

from __future__ import annotations

import pytest

from hybridsplit.orchestrator.report.headline import STATUS_WORDS, tiles
from hybridsplit.orchestrator.views.tables import plan_headline
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.families import family_scenario


def with_a_weak_client() -> Scenario:
    document = family_scenario("opt-causal").resolved()
    weak = {**document["clients"][0], "group": "weak", "count": 1, "drop_price_s": 1e-6}
    weak["link"] = {"uplink_bps_per_hz": 0.001, "downlink_bps_per_hz": 0.001}
    document["clients"].append(weak)
    return validate_scenario(document, "weak")


def test_every_status_has_its_words() -> None:
    assert set(STATUS_WORDS) == set(PlanStatus)


def test_a_client_left_out_is_named_and_the_others_train() -> None:
    scenario = with_a_weak_client()
    plan = make_plan(scenario, profile_scenario(scenario))
    assert plan.dropped == ("weak-0",)
    assert "left out, at their price: weak-0" in plan_headline(plan)
    with InlineExecutor(scenario) as executor:
        result = train(
            scenario, assignments_of(plan, scenario), executor, [plan.round_latency_s], schedule=plan.schedule
        )
    assert set(result.peak_bytes) == {"pi-0", "pi-1"}
    assert result.records[-1].train_loss > 0


def test_joules_are_shown_where_energy_is_minimised() -> None:
    document = family_scenario("opt-causal").resolved()
    document["objective"]["minimise"] = "energy"
    scenario = validate_scenario(document, "energy")
    plan = make_plan(scenario, profile_scenario(scenario))
    assert plan.objective_j is not None
    assert f"{plan.objective_j:.4g} J" in plan_headline(plan)


@pytest.mark.parametrize("strategy", ["optimal", "time-shared", "split-sequential"])
def test_the_bound_is_said_to_hold_for_what_it_holds_for(strategy: str, report_of: object) -> None:
    scenario = family_scenario("opt-causal")
    plan = make_plan(scenario, profile_scenario(scenario), strategy)
    words = plan_headline(plan)
    assert ("any static shares" in words) == (strategy == "optimal")
    assert ("for any schedule" in words) == (strategy != "optimal")
    note = next(tile.note for tile in tiles(report_of(plan, scenario)) if tile.label == "Gap to the bound")  # type: ignore[operator]
    assert ("static shares" in note) == (strategy == "optimal")


@pytest.fixture
def report_of() -> object:
    import pandas as pd

    from hybridsplit.orchestrator.report.data import MEMORY_COLUMNS, ROUND_COLUMNS, ReportData

    def make(plan: Plan, scenario: Scenario) -> ReportData:
        rounds, memory = pd.DataFrame(columns=list(ROUND_COLUMNS)), pd.DataFrame(columns=list(MEMORY_COLUMNS))
        return ReportData(scenario, plan, None, plan.ledger(), rounds, memory, None)

    return make
