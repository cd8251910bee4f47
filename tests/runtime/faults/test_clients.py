"""Clients that fail are named and handled by the policy, on either executor."""

from __future__ import annotations

import dataclasses

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from hybridsplit.runtime.data.participation import participants
from hybridsplit.runtime.executors.base import RoundOutcome, RoundTask, without_culprits
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.records import RoundRecord
from hybridsplit.runtime.run.rounds import train
from hybridsplit.runtime.worker.faults import ClientFault, FaultKind
from hybridsplit.runtime.worker.groups import groups_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import BudgetExceededError, RunError
from tests.runtime.faults.runs import ROUNDS, assert_same_bits, assignments_of, run_with, scenario_with
from tests.runtime.faulty_workers import CulpritInline, Fails

POLICY_OUTCOMES = {"drop-round": {0, 2}, "drop-client": {0}}


def with_placement(assignment: Assignment, **changes: object) -> Assignment:
    """The same client with another placement."""
    return dataclasses.replace(assignment, placement=assignment.placement.model_copy(update=changes))


@pytest.mark.parametrize("policy", sorted(POLICY_OUTCOMES))
def test_a_client_that_is_not_finite_is_handled_by_the_policy(policy: str) -> None:
    scenario = scenario_with(f"faults.policy={policy}")
    result = run_with(scenario, CulpritInline(scenario, Fails("not-finite", "pi4-1")), assignments_of(scenario))
    (fault,) = result.faults
    assert (fault.client, fault.round, fault.kind) == ("pi4-1", 1, FaultKind.NOT_FINITE)
    took_part = {record.round for record in result.clients if record.client == "pi4-1" and not record.fault}
    assert took_part == POLICY_OUTCOMES[policy]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.state.values())


def test_a_client_that_is_not_finite_stops_the_run_by_name() -> None:
    scenario = scenario_with()
    with pytest.raises(RunError, match=r"client pi4-1 .*round 2.*non-finite weights.*learning_rate"):
        run_with(scenario, CulpritInline(scenario, Fails("not-finite", "pi4-1")), assignments_of(scenario))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(("how", "num_groups"), [("hangs", 2), ("killed", 2), ("killed", 6)])
def test_a_client_that_hangs_or_kills_is_found_among_its_group(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, how: str, num_groups: int
) -> None:
    """In larger groups, and alone while another group is next in line at its worker."""
    monkeypatch.setattr("hybridsplit.runtime.worker.groups.MAX_GROUPS", num_groups)
    scenario = scenario_with("faults.policy=drop-client", "faults.client_timeout_s=2", "faults.worker_retries=1")
    executor = RayExecutor(scenario, 2, address=cluster.address, make_worker=Fails(how, "pi4-1"))
    result = run_with(scenario, executor, assignments_of(scenario))
    (fault,) = result.faults
    kind = FaultKind.HANGS if how == "hangs" else FaultKind.KILLS_WORKERS
    assert (fault.client, fault.round, fault.kind) == ("pi4-1", 1, kind)
    assert {record.client for record in result.clients if record.round == 2} == {
        a.client for a in assignments_of(scenario)
    } - {"pi4-1"}
    # The same client left out without any drama gives the same bits.
    inline = run_with(scenario, CulpritInline(scenario, Fails("not-finite", "pi4-1")), assignments_of(scenario))
    assert_same_bits(result.state, inline.state)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("cut", [2, 7])
def test_a_client_that_hangs_beside_a_shared_server_is_named(cluster: Cluster, cut: int) -> None:
    """With the whole model it never asks the server for anything, and is found nevertheless."""
    scenario = scenario_with(
        "training.server_model=shared-mean", "faults.policy=drop-client", "faults.client_timeout_s=1.5"
    )
    own = [with_placement(a, cut=cut if a.client == "nano-0" else 2, mode=Mode.FO) for a in assignments_of(scenario)]
    executor = RayExecutor(scenario, 2, address=cluster.address, make_worker=Fails("hangs", "nano-0"))
    result = run_with(scenario, executor, own)
    assert [(fault.client, fault.round, fault.kind) for fault in result.faults] == [("nano-0", 1, FaultKind.HANGS)]
    assert "nano-0" not in {record.client for record in result.clients if record.round == 2}


@pytest.mark.ray
@pytest.mark.slow
def test_a_shared_server_outlives_all_its_workers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker finds no place, the others are killed at once between rounds, and a client kills its workers."""
    monkeypatch.setattr("hybridsplit.runtime.executors.ray_side_by_side._PATIENCE_S", 5.0)
    scenario = scenario_with(
        "training.server_model=shared-mean", "faults.policy=drop-client", "faults.worker_retries=1"
    )
    executor = RayExecutor(scenario, 3, address=cluster.address, make_worker=Fails("killed", "pi4-1"))

    def kill_all(record: RoundRecord) -> None:
        if record.round == 1:
            for slot in executor._pool.ready():
                ray.kill(slot.worker)

    with executor:
        result = train(scenario, assignments_of(scenario), executor, ROUNDS, on_round=kill_all)
    (fault,) = result.faults
    assert (fault.client, fault.round, fault.kind) == ("pi4-1", 1, FaultKind.KILLS_WORKERS)
    inline = run_with(scenario, CulpritInline(scenario, Fails("not-finite", "pi4-1")), assignments_of(scenario))
    assert [record.train_loss for record in result.records[:1]] == [r.train_loss for r in inline.records[:1]]
    assert {record.client for record in result.clients if record.round == 2} == {
        a.client for a in assignments_of(scenario)
    } - {"pi4-1"}


@pytest.mark.parametrize("policy", sorted(POLICY_OUTCOMES))
def test_a_client_over_budget_is_handled_by_the_policy(policy: str) -> None:
    scenario = scenario_with(f"faults.policy={policy}")
    tight = [
        dataclasses.replace(a, memory_budget_bytes=100_000) if a.client == "pi4-1" else a
        for a in assignments_of(scenario)
    ]
    result = run_with(scenario, InlineExecutor(scenario), tight)
    rounds = {fault.round for fault in result.faults}
    assert {fault.client for fault in result.faults} == {"pi4-1"}
    assert rounds == ({0, 1, 2} if policy == "drop-round" else {0}), "over its budget in every round it takes part in"
    assert result.peak_bytes["pi4-1"] > 100_000


def test_nobody_left_is_an_error() -> None:
    scenario = scenario_with("faults.policy=drop-client")
    tight = [dataclasses.replace(a, memory_budget_bytes=1) for a in assignments_of(scenario)]
    with pytest.raises(RunError, match="no client is left to train with"):
        run_with(scenario, InlineExecutor(scenario), tight)


@pytest.mark.parametrize("server_model", ["per-client", "shared-mean"])
def test_a_round_whose_only_participant_fails_changes_nothing(server_model: str) -> None:
    scenario = scenario_with(
        "faults.policy=drop-round", "training.participation=0.1", f"training.server_model={server_model}"
    )
    own = assignments_of(scenario)
    alone = [participants([a.client for a in own], 0.1, scenario.seed, r) for r in range(ROUNDS)]
    tight = [dataclasses.replace(a, memory_budget_bytes=1) if (a.client,) == tuple(alone[1]) else a for a in own]
    failed = {r for r, names in enumerate(alone) if names == alone[1]}
    with InlineExecutor(scenario) as executor:
        accuracies = [executor.evaluate(executor.initial_state())]
        result = train(scenario, tight, executor, ROUNDS)
    accuracies += [record.test_accuracy for record in result.records]
    assert failed != {0, 1, 2}
    assert {record.round for record in result.records if record.train_loss is None} == failed
    assert all(accuracies[r + 1] == accuracies[r] for r in failed)
    assert {fault.round for fault in result.faults} == failed


def test_nobody_trained_at_all_is_an_error() -> None:
    scenario = scenario_with("faults.policy=drop-round", "training.participation=0.1")
    tight = [dataclasses.replace(a, memory_budget_bytes=1) for a in assignments_of(scenario)]
    with pytest.raises(RunError, match=r"no client was trained in 3 rounds: .*over-budget"):
        run_with(scenario, InlineExecutor(scenario), tight)


def test_over_budget_stops_the_run_by_default() -> None:
    scenario = scenario_with()
    tight = [dataclasses.replace(a, memory_budget_bytes=1) for a in assignments_of(scenario)]
    with pytest.raises(BudgetExceededError, match=f"client {tight[0].client}"):
        run_with(scenario, InlineExecutor(scenario), tight)


@pytest.mark.parametrize("server_model", ["shared-mean", "shared-sequential"])
def test_who_spoils_a_shared_server_is_told_from_who_suffers(server_model: str) -> None:
    settings = [
        f"training.server_model={server_model}", "training.local_steps=3",
        "training.zeroth_order.optimizer.learning_rate=1000000", "training.optimizer.learning_rate=0.001",
    ]  # fmt: skip
    options = [(1, Mode.FO), (2, Mode.ZO_PROJECTION), (3, Mode.FO), (2, Mode.FO)]
    scenario = scenario_with("faults.policy=drop-round", *settings)
    own = [
        with_placement(a, cut=cut, mode=mode) for a, (cut, mode) in zip(assignments_of(scenario), options, strict=False)
    ]
    with InlineExecutor(scenario) as executor:
        result = train(scenario, own, executor, 1)
        without = train(scenario, [own[0], *own[2:]], executor, 1)
    assert [fault.client for fault in result.faults] == [own[1].client]
    assert_same_bits(result.state, without.state)
    failing = scenario_with(*settings)
    with pytest.raises(RunError, match=f"client {own[1].client} .*train loss of nan"):
        run_with(failing, InlineExecutor(failing), own)


def test_events_of_a_round_that_is_repeated_are_kept() -> None:
    own = assignments_of(scenario_with())
    scenario = scenario_with("faults.policy=drop-round")
    hangs = ClientFault(own[0].client, 0, FaultKind.HANGS, "")

    def train_round(task: RoundTask) -> RoundOutcome[str]:
        spoilt = any(a.client == own[0].client for group in task.groups for a in group.members)
        return RoundOutcome("", (), (hangs,), ("killed",)) if spoilt else RoundOutcome("", (), (), ("replaced",))

    outcome = without_culprits(scenario, RoundTask(0, groups_of(own)), train_round)
    assert (outcome.faults, outcome.events) == ((hangs,), ("killed", "replaced"))
