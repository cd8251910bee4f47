"""A run trains exactly those whom the replay says arrived, and every file and figure tells of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from hybridsplit.orchestrator import pipeline
from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.training import train_by_plan
from hybridsplit.orchestrator.views.tables import plan_headline
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import builtin_text, load_scenario
from hybridsplit.scenarios.schema import Scenario

ROUNDS = 5


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, OptionTable, Plan]:
    """Links of which two stand still now and then, for longer than a round."""
    folder = tmp_path_factory.mktemp("late")
    document = yaml.safe_load(builtin_text("quickstart"))
    document["training"] |= {"local_steps": 2, "rounds": ROUNDS, "frozen_control": False}
    document["objective"] = {"late": "skip", "windows": 20}
    for index, pause in ((0, 7), (3, 5)):
        rows = [f"{second / 50},{0 if second % pause == 0 else 20},{20}" for second in range(300)]
        (folder / f"{index}.csv").write_text("time_s,uplink_mbps,downlink_mbps\n" + "\n".join(rows) + "\n")
        document["clients"][index]["link"]["trace"] = f"{index}.csv"
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    scenario = load_scenario(str(path))
    table = profile_scenario(scenario)
    return scenario, table, plan_as_asked(scenario, table, "optimal")


def trained(case: tuple[Scenario, OptionTable, Plan], rounds: int, folder: RunFolder | None = None, **keys: bool):  # type: ignore[no-untyped-def]
    scenario, table, plan = case
    with InlineExecutor(scenario) as executor:
        return train_by_plan(
            plan, scenario, table, executor, rounds, lambda *_: None, with_control=False, folder=folder, **keys
        )


def test_the_run_trains_those_who_arrived_and_goes_on_to_the_same_bits(
    case: tuple[Scenario, OptionTable, Plan], tmp_path: Path
) -> None:
    scenario, _, plan = case
    whole = trained(case, ROUNDS)
    late = {(one.client, one.round) for one in whole.replayed.late}
    assert late, "the case has nobody late"
    everybody = {(client.id, index) for client in plan.clients for index in range(ROUNDS)}
    measured = whole.result.measured.table
    assert set(zip(measured["client"], measured["round"], strict=True)) == everybody - late
    with InlineExecutor(scenario) as executor:
        by_hand = train(
            scenario, assignments_of(plan, scenario), executor, ROUNDS, schedule=plan.schedule,
            excluded=whole.replayed.late,
        )  # fmt: skip
    assert by_hand.state.keys() == whole.result.state.keys()
    assert all(by_hand.state[name].equal(value) for name, value in whole.result.state.items())
    folder = RunFolder(tmp_path / "run")
    folder.create()
    trained(case, 2, folder)
    resumed = trained(case, ROUNDS, folder, resume=True)
    assert resumed.result.records == whole.result.records
    assert all(resumed.result.state[name].equal(value) for name, value in whole.result.state.items())


def test_ledger_rounds_summary_and_report_name_who_was_late(
    case: tuple[Scenario, OptionTable, Plan], tmp_path: Path
) -> None:
    scenario, table, plan = case
    folder = RunFolder(tmp_path / "run")
    summary = pipeline.run_plan(
        scenario, table, plan, folder, pipeline.RunSettings(executor="inline", num_rounds=ROUNDS)
    )
    late = replay(plan, scenario, num_rounds=ROUNDS, samples_windows=True).late
    weight = {client.id: client.data_weight for client in plan.clients}
    assert summary.data_seen == pytest.approx(1 - sum(weight[one.client] for one in late) / ROUNDS)
    assert summary.bytes_agree
    assert any(note.startswith("Late ") for note in summary.notes)
    rounds = pd.read_parquet(folder.path / "replay.parquet")
    named = {(name, row.round) for row in rounds.itertuples() for name in str(row.late).split(", ") if name}
    assert named == {(one.client, one.round) for one in late}
    ledger = pd.read_parquet(folder.path / "ledger.parquet")
    left = ledger[(ledger["phase"] == "abandoned") & (ledger["source"] == str(Source.REPLAYED))]
    assert set(zip(left["client"], left["round"], strict=True)) == named
    assert pipeline.write_report(folder).read_text().count("Left unfinished") > 0


def test_the_chosen_deadline_sees_enough_of_the_data(case: tuple[Scenario, OptionTable, Plan]) -> None:
    scenario, table, plan = case
    assert plan.deadline_s is not None
    assert plan.deadline_s >= plan.round_latency_s
    assert any(note.startswith("With the deadline, over windows") for note in plan.notes)
    assert "without those who are late" in plan_headline(plan)
    document = scenario.resolved()
    document["objective"]["least_data_seen"] = 1.0
    patient = plan_as_asked(Scenario.model_validate(document, strict=False), table, "optimal")
    assert patient.deadline_s is not None
    assert patient.deadline_s > plan.deadline_s
