"""Plans that change between rounds: what is replayed, trained, kept, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from hybridsplit.orchestrator import pipeline
from hybridsplit.orchestrator.replanning.following import Following
from hybridsplit.orchestrator.replanning.policies import Never
from hybridsplit.orchestrator.replanning.words import predicted_peaks
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.training import Trained, train_by_plan
from hybridsplit.orchestrator.views.tables import memory_line
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.replanned import Surroundings, replay_changing
from hybridsplit.runtime.run.checkpoint import CHECKPOINT_SCHEMA_VERSION
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.errors import AlteredError, ContractError, UsageError
from hybridsplit.scenarios.loader import builtin_text, load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan

ROUNDS = 6
ON_CHANGE = {"policy": "on-change", "change": 0.3, "hysteresis_rounds": 1}
Case = tuple[Scenario, OptionTable, Plan]


def case_of(folder: Path, replanning: dict[str, Any] | None, **training: Any) -> Case:
    """Quickstart with links that are good and bad for seconds, and optimizers that keep their state."""
    document = yaml.safe_load(builtin_text("quickstart"))
    document["training"] |= {
        "local_steps": 2, "rounds": ROUNDS, "frozen_control": False, "replanning": replanning, "modes": ["fo"],
        "optimizer": {"name": "adamw", "learning_rate": 0.001}, "optimizer_state": "keep", **training,
    }  # fmt: skip
    document["radio"] |= {"uplink_hz": "80 MHz", "downlink_hz": "80 MHz"}
    for index, (group, period_s) in enumerate(zip(document["clients"], (3, 4, 5, 3.5, 4.5), strict=True)):
        rows = [f"{t / 4},{30 if (t / 4 + index / 2) % period_s < period_s / 2 else 1.5}" for t in range(240)]
        (folder / f"{index}.csv").write_text("time_s,throughput_mbps\n" + "\n".join(rows) + "\n")
        group["link"]["trace"] = f"{index}.csv"
        group["memory_budget_bytes"] = "4 MiB"
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    scenario = load_scenario(str(path))
    table = profile_scenario(scenario)
    is_sequential = scenario.training.server_model == "shared-sequential"
    return scenario, table, make_plan(scenario, table, "optimal" if is_sequential else "static")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("changing"), ON_CHANGE)


def trained(case: Case, rounds: int = ROUNDS, folder: RunFolder | None = None, **keys: Any) -> Trained:
    scenario, table, plan = case
    with InlineExecutor(scenario) as executor:
        return train_by_plan(
            plan, scenario, table, executor, rounds, lambda *_: None, with_control=False, folder=folder, **keys
        )


@pytest.fixture(scope="module")
def whole(case: Case) -> Trained:
    return trained(case)


def test_cuts_move_and_everything_that_moves_is_measured(whole: Trained) -> None:
    followed = whole.replayed.followed
    assert followed is not None
    assert any(change.changed for change in followed.changes), "the case moves no cut"
    moved: dict[Source, dict[tuple[str, int, str], int]] = {Source.REPLAYED: {}, Source.MEASURED: {}}
    for entry in (*whole.replayed.entries, *whole.result.measured.entries()):
        if entry.phase.startswith("moved") and entry.bytes:
            moved[entry.source][entry.client, entry.round, str(entry.phase)] = entry.bytes
    assert moved[Source.REPLAYED] == moved[Source.MEASURED] != {}
    assert sum(moved[Source.REPLAYED].values()) == sum(change.moved_bytes for change in followed.changes)


def test_seconds_of_every_round_are_those_of_its_phases(whole: Trained) -> None:
    sums: dict[tuple[str, int], float] = {}
    for entry in whole.replayed.entries:
        key = entry.client, entry.round
        sums[key] = sums.get(key, 0.0) + entry.seconds + entry.waiting_s
    for (_, number), seconds in sums.items():
        assert seconds == pytest.approx(whole.replayed.played[number].latency_s, rel=1e-9)


@pytest.mark.parametrize("later", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_stopped_goes_on_to_the_same_bits(later: int, case: Case, whole: Trained, tmp_path: Path) -> None:
    followed = whole.replayed.followed
    assert followed is not None
    # Once with the change still to come, in the first round after the stop, and once with it done.
    stop = next(change.round for change in followed.changes if change.changed) + later
    folder = RunFolder(tmp_path / "run").create()
    trained(case, stop, folder)
    resumed = trained(case, ROUNDS, folder, resume=True)
    assert resumed.result.records == whole.result.records
    assert all(resumed.result.state[name].equal(value) for name, value in whole.result.state.items())
    assert resumed.result.peak_bytes == whole.result.peak_bytes


def test_a_checkpoint_of_other_plans_is_refused(case: Case, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run").create()
    trained(case, 2, folder)
    path = folder.checkpoints / "round-000002" / "checkpoint.json"
    document = read_sealed(path, Kind("a checkpoint", CHECKPOINT_SCHEMA_VERSION, ""))
    assert len(document["plans"]) == 2
    document.pop("schema_version", None)
    values = {**json.loads(path.read_text()), "plans": [document["plans"][0], "0" * 64]}
    values = {key: value for key, value in values.items() if key not in ("digest", "written_by")}
    write_sealed(path, values)
    with pytest.raises(ContractError, match="round 1 was trained by another plan"):
        trained(case, ROUNDS, folder, resume=True)


def test_static_has_the_bits_of_a_scenario_without_the_key(tmp_path: Path) -> None:
    found = []
    for name, replanning in (("with", {"policy": "static"}), ("without", None)):
        (tmp_path / name).mkdir()
        scenario, table, plan = case_of(tmp_path / name, replanning)
        done = trained((scenario, table, plan), 2)
        assert done.replayed.followed is None
        found.append((plan.clients, plan.schedule, done.replayed.round_latency_s, done.result))
    (*one, with_key), (*other, without) = found
    assert one == other
    assert all(with_key.state[name].equal(value) for name, value in without.state.items())


def test_rounds_that_keep_their_plan_are_those_of_the_replay_in_order(case: Case) -> None:
    scenario, _, plan = case
    attendance = draw_attendance(scenario, [client.id for client in plan.clients], ROUNDS)
    around = Surroundings.of(scenario, from_the_start=True)
    found = replay_changing(plan, scenario, Never(), around, attendance)
    wanted = replay(plan, scenario, num_rounds=ROUNDS, attendance=attendance)
    assert found.round_latency_s == pytest.approx(wanted.round_latency_s, rel=1e-9)
    assert found.followed is not None
    assert found.followed.changes == ()


def test_constant_links_never_change_the_plan(tmp_path: Path) -> None:
    scenario, table, plan = case_of(tmp_path, {**ON_CHANGE, "change": 1e-6})
    attendance = draw_attendance(scenario, [client.id for client in plan.clients], 4)
    followed = Following(plan, scenario, table, {}).replay(attendance).followed
    assert followed is not None
    assert followed.changes == ()


def test_the_oracle_is_faster_in_every_round_that_it_changes_for(tmp_path: Path) -> None:
    scenario, table, plan = case_of(tmp_path, {"policy": "oracle"})
    attendance = draw_attendance(scenario, [client.id for client in plan.clients], 4)
    following = Following(plan, scenario, table)
    known, first = following.replay(attendance), following.replay_first_plan(attendance)
    assert known.followed is not None
    assert known.followed.changes
    assert all(change.expected_saving > 0 for change in known.followed.changes)
    assert known.round_latency_s[0] == first.round_latency_s[0]
    with pytest.raises(UsageError, match="hybridsplit replay"):
        pipeline.run_plan(scenario, table, plan, RunFolder(tmp_path / "run"), pipeline.RunSettings("inline"))
    assert not (tmp_path / "run").exists()


def test_files_and_report_name_the_plans(case: Case, tmp_path: Path) -> None:
    scenario, table, plan = case
    folder = RunFolder(tmp_path / "run")
    summary = pipeline.run_plan(scenario, table, plan, folder, pipeline.RunSettings("inline", num_rounds=ROUNDS))
    assert summary.bytes_agree
    followed = folder.followed(plan)
    assert followed is not None
    for name in ("rounds", "replay"):
        assert pd.read_parquet(folder.path / f"{name}.parquet")["plan"].tolist() == list(followed.of_round)
    assert any(note.startswith("The plan changed") for note in summary.notes)
    peaks = predicted_peaks(plan, followed)
    assert peaks == [max(one.client(c.id).client_peak_bytes for one in followed.plans) for c in plan.clients]
    assert peaks != [client.client_peak_bytes for client in plan.clients]
    share = max(peak / c.memory_budget_bytes for peak, c in zip(peaks, plan.clients, strict=True))
    assert f"predicted {share:.1%}" in memory_line(plan, summary.peak_bytes, peaks)
    assert "The plan changed" in pipeline.write_report(folder).read_text()
    replanned = folder.path / "replanned.json"
    replanned.write_text(replanned.read_text().replace('"plan_of_round":', '"plan_of_round" :'))
    with pytest.raises(AlteredError):
        pipeline.write_report(folder)


@pytest.mark.slow
def test_ray_trains_the_same_bits(case: Case, whole: Trained) -> None:
    from hybridsplit.runtime.executors.ray import RayExecutor

    scenario, table, plan = case
    with RayExecutor(scenario, 2) as executor:
        done = train_by_plan(plan, scenario, table, executor, ROUNDS, lambda *_: None, with_control=False)
    assert all(done.result.state[name].equal(value) for name, value in whole.result.state.items())


@pytest.mark.slow
@pytest.mark.parametrize("server_model", ["shared-mean", "shared-sequential"])
def test_shared_servers_go_on_to_the_same_bits(server_model: str, tmp_path: Path) -> None:
    case = case_of(tmp_path, ON_CHANGE, server_model=server_model)
    all_rounds = trained(case, 4)
    folder = RunFolder(tmp_path / "run").create()
    trained(case, 2, folder)
    resumed = trained(case, 4, folder, resume=True)
    assert all(resumed.result.state[name].equal(value) for name, value in all_rounds.result.state.items())
