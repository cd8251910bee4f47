"""Where batches in parts are on offer, tables, figures and report name them; elsewhere nothing is added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybridsplit.orchestrator.api_runs import run
from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure
from hybridsplit.orchestrator.timeline.intervals import intervals_of_round
from hybridsplit.orchestrator.views.memory import explain_memory
from hybridsplit.orchestrator.views.profile import fits_table
from hybridsplit.orchestrator.views.tables import plan_table
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.orchestrator.test_three_part_shown import printed
from tests.runtime.test_micro_batch_runs import ROOMY, VIT

MORE = ["training.modes=[fo]", "training.local_steps=2", "training.rounds=1", "training.frozen_control=false"]


def scenario_of(*more: str) -> Scenario:
    """Quickstart with a small ViT."""
    return load_scenario("quickstart", [VIT, *ROOMY, *MORE, *more])


def test_tables_name_the_parts_where_they_are_a_choice() -> None:
    scenario = scenario_of("training.overlap.micro_batches=[1,4]")
    options = profile_scenario(scenario)
    table = options.table
    parts = OptionTable(table[table["micro_batches"] == 4].reset_index(drop=True))
    plan = make_plan(scenario, parts, "static")
    assert re.search(r"mode +parts", printed(plan_table(plan)))
    assert all(client.micro_batches == 4 for client in plan.clients)
    fits = printed(fits_table(options, 1))
    assert re.search(r"fo +1 ", fits)
    assert re.search(r"fo +4 ", fits)
    assert any("4 micro-batches" in name for name in explain_memory(scenario, options))
    hovers = [text for trace in memory_by_cut_figure(options).data for text in trace.customdata or ()]
    assert any("4 micro-batches" in text for text in hovers)
    played = replay(plan, scenario, num_rounds=1)
    intervals = intervals_of_round(played.ledger.entries(), 0, scenario.training.local_steps)
    for client in plan.clients:
        ends = [one for one in intervals if one.client == client.id]
        assert ends[-1].end_s == pytest.approx(played.round_latency_s[0])


def test_nothing_is_added_elsewhere() -> None:
    scenario = scenario_of()
    options = profile_scenario(scenario)
    shown = [printed(plan_table(make_plan(scenario, options, "static"))), printed(fits_table(options, 1))]
    assert not any(re.search(r"\bparts\b", one) for one in shown)
    assert not any("micro-batches" in name for name in explain_memory(scenario, options))


@pytest.mark.slow
def test_a_report_names_them(tmp_path: Path) -> None:
    run(scenario_of("training.overlap.micro_batches=[4]"), out=tmp_path / "run", rounds=1)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Micro-batches" in page
