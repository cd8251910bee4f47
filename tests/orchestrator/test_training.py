"""After a client has failed, plan, replay and run still speak of the same clients, bytes and seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster

from hybridsplit.orchestrator import pipeline
from hybridsplit.orchestrator.ledger_sums import bytes_agree
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.training import Trained, train_by_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.base import Executor
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.scenarios.contracts.ledger import Ledger, Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.runtime.faulty_workers import CulpritInline, Fails
from tests.tiers import one_of

ROUNDS = 5
CULPRIT = "phone-0"
"""Drawn for the second round, in which it fails, and for later ones."""
SMALL = ["training.local_steps=2", "training.participation=0.5", "training.rounds=5"]
PREFIX = ["training.modes=[zo-projection]", "training.zo_prefix_blocks=1", "training.zeroth_order.directions=1"]


def case(*settings: str) -> tuple[Scenario, OptionTable, Plan]:
    roomy = (
        [f"clients.{i}.memory_budget_bytes=1 GiB" for i in range(5)]
        if "training.zo_prefix_blocks=1" in settings
        else []
    )
    scenario = load_scenario("quickstart", [*SMALL, *settings, *roomy])
    options = profile_scenario(scenario)
    return scenario, options, make_plan(scenario, options)


def trained_by(
    scenario: Scenario,
    options: OptionTable,
    plan: Plan,
    executor: Executor[object],
    folder: RunFolder | None = None,
    *,
    rounds: int = ROUNDS,
    resume: bool = False,
) -> Trained:
    with executor:
        return train_by_plan(
            plan, scenario, options, executor, rounds, lambda *_: None,
            with_control=True, folder=folder, resume=resume,
        )  # fmt: skip


def assert_they_agree(trained: Trained, plan: Plan, rounds: int = ROUNDS) -> None:
    """Plan, replay and run, by client, round and phase; and the clock under every accuracy is theirs."""
    result = trained.result
    failed = {(fault.client, fault.round) for fault in result.faults}
    key = ["client", "round", "phase"]
    planned, replayed, measured = (
        ledger.table.set_index(key)["bytes"]
        for ledger in (plan.ledger(rounds, result.attendance), trained.replayed.ledger, result.measured)
    )
    assert planned.sort_index().equals(replayed.sort_index())
    compared = [where for where in replayed.index if where[:2] not in failed and where[2] != Phase.BARRIER]
    assert set(compared) == set(measured.index)
    assert (measured[compared] == replayed[compared]).all()
    ledger = Ledger.concat([plan.ledger(rounds, result.attendance), trained.replayed.ledger, result.measured])
    assert bytes_agree(ledger.entries(), failed)
    clock = [record.simulated_s for record in result.records]
    assert clock == list(trained.replayed.rounds["simulated_s"])
    latency_s = [end - start for start, end in zip([0.0, *clock], clock, strict=False)]
    for there, took_s in zip(result.attendance.rounds, latency_s, strict=True):
        assert took_s == pytest.approx(max(plan.client(client).latency_s for client in there), rel=1e-6, abs=0.05)
    assert trained.control is not None
    assert [record.simulated_s for record in trained.control.records] == clock
    counted = {(r.client, r.round) for r in result.clients if not r.fault}
    assert {(record.client, record.round) for record in trained.control.clients} == counted


@pytest.mark.parametrize("policy", one_of(2, ["drop-client", "drop-round"]))
@pytest.mark.parametrize("more", [[], PREFIX], ids=["weights", "scalars"])
def test_participation_and_a_client_that_fails(policy: str, more: list[str]) -> None:
    scenario, options, plan = case(f"faults.policy={policy}", *more)
    trained = trained_by(scenario, options, plan, CulpritInline(scenario, Fails("not-finite", CULPRIT)))
    assert [(fault.client, fault.round) for fault in trained.result.faults] == [(CULPRIT, 1)]
    later = [CULPRIT in there for there in trained.result.attendance.rounds[2:]]
    assert any(later) == (policy == "drop-round")
    assert_they_agree(trained, plan)


@pytest.mark.parametrize("policy", ["drop-client", "drop-round"])
def test_participation_and_a_client_over_its_budget_beside_a_shared_server(policy: str) -> None:
    scenario, options, made = case(f"faults.policy={policy}", "training.server_model=shared-mean")
    tight = [c.model_copy(update={"memory_budget_bytes": 1}) if c.id == CULPRIT else c for c in made.clients]
    plan = made.model_copy(update={"clients": tuple(tight)})
    trained = trained_by(scenario, options, plan, InlineExecutor(scenario))
    there = [r for r in range(ROUNDS) if CULPRIT in trained.result.attendance.rounds[r]]
    assert [fault.round for fault in trained.result.faults] == there
    assert len(there) == 1 if policy == "drop-client" else len(there) > 1
    assert_they_agree(trained, plan)


@pytest.mark.slow
@pytest.mark.ray
def test_participation_and_a_client_that_fails_on_ray() -> None:
    scenario, options, plan = case("faults.policy=drop-client")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        executor = RayExecutor(scenario, 2, address=cluster.address, make_worker=Fails("not-finite", CULPRIT))
        trained = trained_by(scenario, options, plan, executor)
    finally:
        cluster.shutdown()
    inline = trained_by(scenario, options, plan, CulpritInline(scenario, Fails("not-finite", CULPRIT)))
    assert trained.result.records == inline.result.records
    assert_they_agree(trained, plan)


@pytest.mark.parametrize("done", one_of(3, [1, 2, 4]))
def test_a_resumed_run_has_the_clock_of_one_that_never_stopped(done: int, tmp_path: Path) -> None:
    scenario, options, plan = case("faults.policy=drop-client")

    def executor() -> CulpritInline:
        return CulpritInline(scenario, Fails("not-finite", CULPRIT))

    whole = trained_by(scenario, options, plan, executor())
    trained_by(scenario, options, plan, executor(), RunFolder(tmp_path), rounds=done)
    resumed = trained_by(scenario, options, plan, executor(), RunFolder(tmp_path), resume=True)
    assert resumed.result.records == whole.result.records
    assert resumed.result.attendance == whole.result.attendance
    assert resumed.control is not None
    assert whole.control is not None
    assert resumed.control.records == whole.control.records
    assert_they_agree(resumed, plan)


def test_another_policy_on_resuming_does_not_change_what_was(tmp_path: Path) -> None:
    """A client that sat out one round before is not counted as gone since then."""
    scenario, options, plan = case("faults.policy=drop-round")
    executor = CulpritInline(scenario, Fails("not-finite", CULPRIT))
    first = trained_by(scenario, options, plan, executor, RunFolder(tmp_path), rounds=3)
    stricter, _, _ = case("faults.policy=drop-client")
    again = CulpritInline(stricter, Fails("not-finite", CULPRIT))
    resumed = trained_by(stricter, options, plan, again, RunFolder(tmp_path), resume=True)
    assert resumed.result.records[:3] == first.result.records
    assert [fault.leaves for fault in resumed.result.faults] == [False]
    assert "left out of this round" in resumed.result.faults[0].describe()
    assert_they_agree(resumed, plan)
    assert isinstance(resumed.result.measured.table, pd.DataFrame)


def test_the_run_folder_shows_the_clock_of_those_who_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, options, plan = case("faults.policy=drop-client", "training.frozen_control=true")
    executor = CulpritInline(scenario, Fails("not-finite", CULPRIT))
    monkeypatch.setattr(pipeline, "worker_pool", lambda *_: executor)
    folder = RunFolder(tmp_path / "run")
    summary = pipeline.run_plan(scenario, options, plan, folder, pipeline.RunSettings(num_rounds=ROUNDS))
    assert summary.bytes_agree
    (happened,) = summary.events
    assert happened.startswith(f"round 2: client {CULPRIT} not-finite")
    assert happened.endswith("left out from then on")
    rounds, control = folder.rounds(), folder.rounds("control")
    assert rounds is not None
    assert control is not None
    assert list(control["simulated_s"]) == list(rounds["simulated_s"])
    replayed = folder.ledger().of(Source.REPLAYED)
    elapsed_s = (replayed["seconds"] + replayed["waiting_s"]).groupby([replayed["round"], replayed["client"]]).sum()
    ends_s = elapsed_s.groupby(level="round").max().cumsum()
    assert list(rounds["simulated_s"]) == pytest.approx(list(ends_s))
    assert summary.simulated_s == pytest.approx(float(ends_s.iloc[-1]))
    assert CULPRIT not in set(replayed[replayed["round"] > 1]["client"])
