"""Plans for memory that moves: ladders where they help, waits only where replays say so, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridsplit.orchestrator.memory_words import ladder_line, levels_line
from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.recompute import LADDER
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.verify.plan import verify_plan


def moving(folder: Path, low_mib: float, *more: str) -> tuple[Scenario, OptionTable]:
    path = folder / "memory.tsv"
    path.write_text(f"0\t2\n0.05\t{low_mib}\n0.1\t{low_mib}\n", encoding="utf-8")
    settings = [f"clients.nano.memory_trace={path}", "clients.nano.memory_budget_bytes=2 MiB", *more]
    scenario = load_scenario("quickstart", settings)
    return scenario, profile_scenario(scenario)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, OptionTable, Plan]:
    scenario, table = moving(tmp_path_factory.mktemp("memory"), 0.85)
    return scenario, table, plan_as_asked(scenario, table, "optimal")


def test_a_ladder_costs_what_its_levels_do_on_average(planned: tuple[Scenario, OptionTable, Plan]) -> None:
    """A third of the recording has little memory, and the leanest levels of some cuts fit it."""
    _, table, _ = planned
    rows = table.table[(table.table["client"] == "nano-0") & table.table["fits"]]
    ladders = rows[rows["recompute"] == LADDER]
    assert len(ladders) >= 3
    for _, ladder in ladders.iterrows():
        at_cut = rows[(rows["cut"] == ladder["cut"]) & (rows["mode"].isin(["fo", "fo-recompute"]))]
        static = at_cut[at_cut["recompute"] != LADDER]
        if len(static):
            assert ladder["client_compute_s"] <= static["client_compute_s"].min() * (1 + 1e-12)


def test_words_say_who_is_on_a_ladder_and_what_it_did(planned: tuple[Scenario, OptionTable, Plan]) -> None:
    scenario, _, plan = planned
    assert [client.id for client in plan.clients if client.levels] == ["nano-0"]
    assert ladder_line(plan).startswith("By the memory of each step: nano-0 choose")
    played = replay(plan, scenario, num_rounds=5, samples_windows=True)
    assert levels_line(plan, played).startswith("Memory moved: of 40 steps on ladders")


def test_a_plan_on_a_ladder_is_read_back_and_altered_levels_are_caught(
    planned: tuple[Scenario, OptionTable, Plan], tmp_path: Path
) -> None:
    scenario, table, plan = planned
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    nano = plan.client("nano-0")
    for changed in (
        {"levels": nano.levels[:-1]} if len(nano.levels) > 1 else {"levels": ()},
        {"levels": ()},
        {"client_compute_s": nano.client_compute_s / 2},
    ):
        clients = tuple(c.model_copy(update=changed) if c.id == "nano-0" else c for c in plan.clients)
        with pytest.raises(SolverFailure, match="nano-0"):
            verify_plan(plan.model_copy(update={"clients": clients}), scenario, table)


@pytest.mark.slow
def test_waits_are_taken_only_where_replays_are_faster(tmp_path: Path) -> None:
    """Two thirds of the recording are above the leanest level of every deep cut."""
    scenario, table = moving(tmp_path, 0.4)
    blind, chosen = make_plan(scenario, table, "optimal"), plan_as_asked(scenario, table, "optimal")

    def to_progress_s(plan: Plan) -> float:
        return replay(plan, scenario, num_rounds=40, samples_windows=True).total_s / 40 / plan.progress

    assert to_progress_s(chosen) <= to_progress_s(blind) * (1 + 1e-9)
