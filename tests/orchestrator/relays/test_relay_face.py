"""The Python interface on a model that is cut several times: the same functions, typed values, the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import hybridsplit as hs
from hybridsplit.orchestrator.relays.results import RelayRun
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.loader import builtin_text
from hybridsplit.scenarios.relays.schema import RelayScenario
from tests.runtime.relays.runs import SMALL_MODEL


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(builtin_text("factory"))
    document["name"] = "small"
    document["model"]["config"] |= SMALL_MODEL
    document["data"]["image_size"] = 16
    document["training"] |= {"local_steps": 1, "micro_batches": [1, 2], "rounds": 2}
    document["search"] = {"time_limit_s": 2.0}
    return document


@pytest.fixture(scope="module")
def plan(values: dict[str, Any]) -> RelayPlan:
    scenario = hs.load(values, training__rounds=1)
    assert isinstance(scenario, RelayScenario)
    made = hs.plan(scenario)
    assert isinstance(made, RelayPlan)
    return made


def test_a_plan_shows_itself_and_replays_to_its_seconds(plan: RelayPlan, tmp_path: Path) -> None:
    assert "cuts" in repr(plan)
    assert "is busy for longest" in plan._repr_html_()
    replayed = hs.replay(plan, out=tmp_path / "replay")
    assert replayed.summary.value_s == pytest.approx(plan.value_s, rel=1e-9)
    assert "planned" in repr(replayed)
    assert hs.report(replayed) == tmp_path / "replay" / "report.html"
    with pytest.raises(hs.HybridSplitError, match="constant"):
        hs.replay(plan, in_order=True)  # type: ignore[call-overload]


def test_strategies_stand_side_by_side(values: dict[str, Any]) -> None:
    compared = hs.compare(hs.load(values), strategies=["optimal", "even-split"])
    assert list(compared.frame["strategy"]) == ["optimal", "even-split"]
    assert compared.frame["ratio"].iloc[1] >= 1
    assert "optimal is the fastest" in repr(compared)


@pytest.mark.slow
def test_a_run_trains_and_goes_on(plan: RelayPlan, tmp_path: Path) -> None:
    seen: list[RoundDone] = []
    run = hs.run(plan, out=tmp_path / "run", on_round=seen.append)
    assert isinstance(run, RelayRun)
    assert [done.round for done in seen] == [0]
    assert run.accuracy == seen[-1].test_accuracy == run.rounds["test_accuracy"].iloc[-1]
    assert run.report.is_file()
    assert "Test accuracy" in run._repr_html_()
    again = hs.run(plan, rounds=2, out=tmp_path / "run", resume=True)
    whole = hs.run(plan, rounds=2, out=tmp_path / "whole")
    assert list(again.rounds["train_loss"]) == list(whole.rounds["train_loss"])


def test_prices_of_nodes_count_and_one_that_is_unknown_makes_the_cost_unknown(values: dict[str, Any]) -> None:
    devices = [group["device"] for group in values["clients"]]
    nodes = [node["device"] for node in values["network"]["nodes"] if node.get("device")]
    prices = {name: {"price": 10.0} for name in {*devices, *nodes}}
    counts = [group.get("count", 1) for group in values["clients"]]
    priced = hs.load({**values, "devices": prices})
    (cell,) = hs.what_if(priced, {"seed": [0]}, strategy="even-split").cells
    assert cell.cost == 10.0 * (sum(counts) + len(nodes))
    partly = hs.load({**values, "devices": {devices[0]: {"price": 10.0}}})
    assert hs.what_if(partly, {"seed": [0]}, strategy="even-split").cells[0].cost is None


def test_what_is_about_one_cut_is_refused(values: dict[str, Any], plan: RelayPlan) -> None:
    scenario = hs.load(values)
    with pytest.raises(hs.HybridSplitError, match="is about one cut"):
        hs.search(scenario)
    with pytest.raises(hs.HybridSplitError, match="warm_start"):
        hs.plan(scenario, warm_start=plan)
    with pytest.raises(hs.HybridSplitError, match="options: belong to one cut"):
        hs.pareto(scenario, object())  # type: ignore[arg-type]
    with pytest.raises(hs.HybridSplitError, match="options, fixed"):
        hs.plan(scenario, fixed={"camera-0": (1, "fo")})
    with pytest.raises(hs.HybridSplitError, match="needs a name"):
        hs.plan(scenario, strategy=object())


def test_a_changed_plan_is_refused(plan: RelayPlan, tmp_path: Path) -> None:
    changed = plan.model_copy(update={"value_s": plan.value_s / 2})
    with pytest.raises(hs.HybridSplitError, match="the plan: is no plan of its scenario"):
        hs.run(changed, out=tmp_path / "run")
    with pytest.raises(hs.HybridSplitError, match="the plan: is no plan of its scenario"):
        hs.replay(changed)
