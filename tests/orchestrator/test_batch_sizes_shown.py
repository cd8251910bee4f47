"""Where several batch sizes are offered, tables, report and picture tell them apart; where one is, nothing is added."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from rich.console import Console, RenderableType

from hybridsplit.orchestrator.report import ReportData, render_report
from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure
from hybridsplit.orchestrator.studies.compare import compare_plans, decompose_against_uniform
from hybridsplit.orchestrator.views.memory import explain_memory
from hybridsplit.orchestrator.views.profile import fits_table, memory_chart, worth_line
from hybridsplit.orchestrator.views.tables import comparison_table, plan_headline, plan_table
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.testing.families import family_scenario


def printed(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def planned(batch_sizes: list[int], **objective: object) -> tuple[Scenario, OptionTable, Plan]:
    document = family_scenario("vit", modes=["fo", "fo-recompute"], batch_sizes=batch_sizes).resolved()
    document["objective"] |= objective
    scenario = validate_scenario(document, "shown")
    options = profile_scenario(scenario)
    return scenario, options, make_plan(scenario, options)


def report_page(scenario: Scenario, options: OptionTable, plan: Plan) -> str:
    rounds = pd.DataFrame(columns=["round", "simulated_s", "train_loss", "test_accuracy"])
    return render_report(ReportData(scenario, plan, options, plan.ledger(), rounds, pd.DataFrame()))


def test_one_batch_size_adds_nothing() -> None:
    scenario, options, plan = planned([])
    rows = compare_plans(scenario, options, ["optimal"]).rows
    shown = [plan_table(plan), plan_headline(plan), comparison_table(rows), fits_table(options, 1)]
    assert not any("batch" in printed(one) for one in shown)
    assert worth_line(options) == ""
    assert "noise scale" not in report_page(scenario, options, plan)
    assert {trace.name for trace in memory_by_cut_figure(options).data if trace.name} == {"fo", "fo-recompute"}


def test_several_batch_sizes_are_told_apart() -> None:
    scenario, options, plan = planned([4], gradient_noise_scale=1e-3)
    assert re.search(r"pi-0 +rpi5_8gb +\d+ +\S+ +4 ", printed(plan_table(plan)))
    rows = compare_plans(scenario, options, ["optimal", "hsfl"]).rows
    assert [row.batch_sizes for row in rows] == ["4 x2", "4 x2"]
    assert "batch sizes" in printed(comparison_table(rows))
    assert any("cut and batch size" in row.step for row in decompose_against_uniform(scenario, options))
    fits = printed(fits_table(options, 1))
    assert re.search(r"fo +4 ", fits)
    assert re.search(r"fo +8 ", fits)
    assert worth_line(options) == "worth of a step by batch size: 4: 1, 8: 1"
    assert "batches of 8" in printed(memory_chart(options))
    assert all(name.endswith("batch 8") for name in explain_memory(scenario, options))
    names = {trace.name for trace in memory_by_cut_figure(options).data if trace.name}
    assert names == {f"{mode}, batch {size}" for mode in ("fo", "fo-recompute") for size in (4, 8)}
    page = report_page(scenario, options, plan)
    assert re.search(r"<th[^>]*>\s*Batch", page)
    assert ", batch 4" in page


@pytest.mark.parametrize(
    ("objective", "word", "line"),
    [
        ({"gradient_noise_scale": 3.0}, "stated", "the stated gradient noise scale of 3 samples"),
        ({}, "assumed", "an assumed gradient noise scale of 8 samples"),
    ],
)
def test_the_noise_scale_is_labelled(objective: dict[str, object], word: str, line: str) -> None:
    scenario, options, plan = planned([4], **objective)
    assert line in plan_headline(plan)
    paragraph = report_page(scenario, options, plan).split("gradient noise scale")[1][:200]
    assert f"<b>{word}</b>" in paragraph


def test_a_measured_noise_scale_is_labelled_so() -> None:
    scenario, options, plan = planned([4])
    document = scenario.resolved()
    document["objective"]["gradient_split"] = "measured"
    measured = plan.model_copy(update={"scenario": document})
    assert "noise scale measured at the starting weights" in plan_headline(measured)
    page = report_page(validate_scenario(document, "measured"), options, measured)
    assert "<b>measured</b>" in page.split("gradient noise scale")[1][:200]


def test_memory_is_explained_at_a_cut_that_exists() -> None:
    """With a common prefix of all blocks but one, the middle of all cuts is no option."""
    scenario = family_scenario("vit", modes=["zo-projection"], zo_prefix_blocks=3)
    options = profile_scenario(scenario)
    assert list(explain_memory(scenario, options)) == [f"cut {options.table['cut'].min()} zo-projection"]
