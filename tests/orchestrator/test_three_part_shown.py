"""Where heads on the clients are on offer, tables, chart and report name them and their phases; elsewhere nothing is
added."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from hybridsplit.orchestrator.api_runs import run
from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure
from hybridsplit.orchestrator.timeline.intervals import intervals_of_round
from hybridsplit.orchestrator.views.gantt import gantt_lines
from hybridsplit.orchestrator.views.memory import explain_memory
from hybridsplit.orchestrator.views.profile import fits_table
from hybridsplit.orchestrator.views.tables import plan_table
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

EXACT = "training.modes=[fo,fo-recompute,frozen]"


def printed(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_tables_name_the_head_where_it_is_a_choice() -> None:
    scenario = load_scenario("quickstart", [EXACT, "training.head_blocks=[0,1]"])
    options = profile_scenario(scenario)
    table = options.table
    heads = options.__class__(table[(table["head_blocks"] == 1)].reset_index(drop=True))
    plan = make_plan(scenario, heads, "static")
    assert re.search(r"mode +head", printed(plan_table(plan)))
    assert all(client.head_blocks == 1 for client in plan.clients)
    fits = printed(fits_table(options, 1))
    assert re.search(r"fo +0 ", fits)
    assert re.search(r"fo +1 ", fits)
    peaks = explain_memory(scenario, options)
    assert any("head of 1" in name for name in peaks)
    hovers = [text for trace in memory_by_cut_figure(options).data for text in trace.customdata or ()]
    assert any("head of 1" in text for text in hovers)


def test_nothing_is_added_elsewhere() -> None:
    scenario = load_scenario("quickstart", [EXACT])
    options = profile_scenario(scenario)
    plan = make_plan(scenario, options, "static")
    played = replay(plan, scenario, num_rounds=1)
    shown = [printed(one) for one in (plan_table(plan), fits_table(options, 1))]
    shown += gantt_lines(intervals_of_round(played.ledger.entries(), 0, 8), played.round_latency_s[0])
    assert not any("head" in one for one in shown)
    assert not set(HEAD_PHASES) & set(plan.ledger().table["phase"])


@pytest.mark.parametrize("strategy", ["static", "optimal"])
def test_a_chart_of_a_round_has_the_parts_of_a_step_in_order(strategy: str) -> None:
    scenario = load_scenario("quickstart", [EXACT, "training.head_blocks=1"])
    plan = make_plan(scenario, profile_scenario(scenario), strategy)
    played = replay(plan, scenario, num_rounds=1)
    steps = scenario.training.local_steps
    intervals = intervals_of_round(played.ledger.entries(), 0, steps)
    for client in (c for c in plan.clients if c.head_blocks):
        own = [one for one in intervals if one.client == client.id and one.step == 3 and not one.is_waiting]
        middle = (Phase.UPLINK, Phase.SERVER_COMPUTE, *HEAD_PHASES)
        back = () if client.mode == "frozen" else (Phase.DOWNLINK,)
        assert [one.phase for one in own] == [Phase.CLIENT_COMPUTE, *middle, *back, Phase.CLIENT_COMPUTE]
        ends = [one for one in intervals if one.client == client.id]
        assert ends[-1].end_s == pytest.approx(played.round_latency_s[0])
    legend = gantt_lines(intervals, played.round_latency_s[0])[-1]
    assert "h head compute" in legend
    assert "b server backward" in legend


@pytest.mark.slow
def test_a_run_and_its_report_name_the_phases(tmp_path: Path) -> None:
    scenario = load_scenario("quickstart", [EXACT, "training.head_blocks=1"])
    result = run(scenario, out=tmp_path / "run", rounds=1)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for words in ("Head on the client", "Features to the head", "Gradient of the features", "Server backward"):
        assert words in page
    assert "Head blocks" in page
    assert result is not None
