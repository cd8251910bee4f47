"""What-if studies: every combination is a scenario of its own, and its plan is the one that scenario gets alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import hybridsplit as hs
from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.studies.what_if import MOST_CELLS, Varied, WhatIf, parse_varied, what_if
from hybridsplit.orchestrator.studies.what_if_cells import Cell
from hybridsplit.orchestrator.studies.what_if_page import what_if_page
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.errors import ScenarioError, UsageError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

FAST = ("objective.gradient_split=assumed", "training.local_steps=2")
PRICED = ("devices.rpi4b_8gb.price=60", "devices.rpi5_8gb.price=80", "devices.jetson_nano_4gb.price=100",
          "devices.phone_sd855_6gb.price=0", "devices.jetson_orin_nano_8gb.price=250")  # fmt: skip


def invoked(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def study() -> WhatIf:
    varied = parse_varied(["radio.uplink_hz=0.5x,1x,200 MHz", "clients.pi5.memory_budget_bytes=0.1x,1x"])
    return what_if(load_scenario("quickstart", [*FAST, *PRICED]), varied, "greedy")


def test_cells_are_all_combinations_in_order(study: WhatIf) -> None:
    assert [tuple(cell.values.values()) for cell in study.cells] == [
        (band, memory) for band in ("0.5x", "1x", "200 MHz") for memory in ("0.1x", "1x")
    ]


def test_a_cell_is_the_plan_of_its_scenario(study: WhatIf) -> None:
    base = load_scenario("quickstart", FAST)
    band = base.radio.uplink_hz
    for text, value in (("0.5x", band / 2), ("1x", band), ("200 MHz", 200e6)):
        scenario = load_scenario("quickstart", [*FAST, f"radio.uplink_hz={value}"])
        plan = make_plan(scenario, profile_scenario(scenario), "greedy")
        cell = next(c for c in study.cells if c.values["radio.uplink_hz"] == text and not c.infeasible)
        assert cell.round_latency_s == pytest.approx(plan.round_latency_s, rel=1e-9)
        assert cell.objective == pytest.approx(plan.objective_s, rel=1e-9)


def test_a_cell_without_a_plan_says_why_and_others_go_on(study: WhatIf) -> None:
    lacking = [cell for cell in study.cells if cell.values["clients.pi5.memory_budget_bytes"] == "0.1x"]
    assert all("pi5-0" in cell.infeasible and cell.objective is None for cell in lacking)
    assert len(lacking) == 3
    assert sum(cell.objective is not None for cell in study.cells) == 3


def test_cost_is_that_of_all_clients_and_unknown_where_one_price_is(study: WhatIf) -> None:
    assert {cell.cost for cell in study.cells if not cell.infeasible} == {2 * 60 + 80 + 100 + 0 + 250}
    partly = what_if(load_scenario("quickstart", [*FAST, PRICED[0]]), [Varied("seed", ("0",))], "greedy")
    assert partly.cells[0].cost is None


def test_the_document_is_json_and_the_page_whole(study: WhatIf) -> None:
    document = json.loads(json.dumps(study.document(), allow_nan=False))
    assert len(document["cells"]) == 6
    page = what_if_page(study)
    assert page.rstrip().endswith("</html>")
    assert "no option fits" in page
    assert all(f'id="figure-{name}"' in page for name in ("objective", "round", "memory", "energy", "cost"))


def test_text_of_the_user_is_escaped() -> None:
    attack = "<script>alert(1)</script>"
    study = WhatIf(attack, "optimal", "time-to-progress", (Varied("seed", (attack, "2")),), (
        Cell({"seed": attack}, 1.0, 1.0, 0.0, 0.5), Cell({"seed": "2"}, infeasible=attack)))  # fmt: skip
    assert attack not in what_if_page(study)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "at least one key"),
        (["radio.uplink_hz"], "needs key.path=value"),
        (["radio.uplink_hz=1x,"], "needs key.path=value"),
        (["seed=1,1"], "twice"),
        (["seed=1", "seed=2"], "twice"),
        ([f"seed={','.join(map(str, range(MOST_CELLS + 1)))}"], f"at most {MOST_CELLS}"),
    ],
)
def test_wrong_use_is_named(items: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_varied(items)


@pytest.mark.parametrize(
    ("key", "text", "error"),
    [("radio.link_model", "2x", UsageError), ("nothing.here", "2x", UsageError), ("seed", "two", ScenarioError),
     ("clients.nobody.count", "2", ScenarioError)],
)  # fmt: skip
def test_a_wrong_value_stops_before_anything_is_planned(key: str, text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="vary"):
        what_if(load_scenario("quickstart"), [Varied("training.rounds", ("1",)), Varied(key, (text,))])


def test_from_python_it_is_the_study_of_the_command(study: WhatIf) -> None:
    scenario = load_scenario("quickstart", [*FAST, *PRICED])
    vary = {"radio.uplink_hz": ["0.5x", "1x", "200 MHz"], "clients__pi5__memory_budget_bytes": ["0.1x", "1x"]}
    found = hs.what_if(scenario, vary, strategy="greedy")
    assert found.document() == study.document()
    assert list(found.frame["radio.uplink_hz"]) == ["0.5x", "0.5x", "1x", "1x", "200 MHz", "200 MHz"]
    assert found.frame["round_latency_s"].isna().sum() == 3
    assert "3 of 6 combinations" in repr(found)
    assert "pi5-0" in found._repr_html_()


@pytest.mark.parametrize(
    ("vary", "says"),
    [
        ({}, "at least one key"),
        ({"seed": "0.5x"}, "needs a list of values"),
        ({"seed": []}, "found no value"),
        ({"seed": [1, 1]}, "twice"),
        ({"training.rounds": [1], "training__rounds": [2]}, "twice"),
        ({"seed": [object()]}, "neither text, number"),
        ({"seed": range(MOST_CELLS + 1)}, f"at most {MOST_CELLS}"),
    ],
)
def test_wrong_use_from_python_is_named(vary: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        hs.what_if("quickstart", vary)


def test_a_factor_is_of_the_catalogue_where_the_scenario_says_nothing() -> None:
    varied = [Varied("devices.rpi4b_8gb.fp32_flops_per_s", ("1x", "4x"))]
    slow, fast = what_if(load_scenario("quickstart", FAST), varied, "greedy").cells
    assert slow.objective is not None
    assert fast.objective is not None
    assert fast.objective < slow.objective


def test_the_command_prints_a_table_and_writes_both_kinds_of_file(tmp_path: Path) -> None:
    settings = [part for setting in FAST for part in ("--set", setting)]
    arguments = ["what-if", "quickstart", "--vary", "seed=0,1", "--strategy", "greedy", *settings]
    text = invoked(*arguments, "--out", str(tmp_path / "w.html")).stdout
    assert "least" in text
    assert "devices.NAME.price" in text
    assert (tmp_path / "w.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    document: Any = json.loads(invoked(*arguments, "--json", "--out", str(tmp_path / "w.json")).stdout)
    assert document == json.loads((tmp_path / "w.json").read_text(encoding="utf-8"))
    assert "ends in .html" in invoked(*arguments, "--out", str(tmp_path / "w.txt"), code=2).output
