"""Alive under faults: killed processes change no bit, and clients that fail are named and handled by the policy."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from runtime.checkpoint import RoundRecord
from runtime.client import Assignment
from runtime.executors.base import Executor, RoundOutcome, RoundTask, without_culprits
from runtime.executors.inline import InlineExecutor
from runtime.executors.ray import RayExecutor
from runtime.executors.state_files import load_states
from runtime.faults import ClientFault, FaultKind
from runtime.groups import groups_of
from runtime.participation import participants
from runtime.rounds import TrainingResult, train
from runtime.split import State
from scenarios.contracts.modes import Mode
from scenarios.errors import BudgetExceededError, RunError, ScenarioError
from scenarios.loader import load_scenario
from scenarios.schema import Scenario
from tests.runtime.faulty_workers import Fails

SMALL = ["training.local_steps=1", "training.zeroth_order.directions=1", "training.rounds=3"]
OPTIONS = [(1, Mode.FO), (2, Mode.ZO_PROJECTION), (3, Mode.FO_RECOMPUTE), (4, Mode.ZO_LOSS), (2, Mode.FO), (7, Mode.FO)]
ENDS_S = [1.0, 2.0, 3.0]


def scenario_with(*settings: str) -> Scenario:
    return load_scenario("quickstart", [*SMALL, *settings])


def assignments_of(scenario: Scenario) -> list[Assignment]:
    clients = scenario.expanded_clients()
    return [
        Assignment(c.id, cut, mode, c.data_weight, 1 << 30) for c, (cut, mode) in zip(clients, OPTIONS, strict=True)
    ]


@pytest.fixture(scope="module")
def undisturbed() -> TrainingResult:
    scenario = scenario_with()
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments_of(scenario), executor, ENDS_S)


def assert_same_bits(one: State, other: State) -> None:
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


class CulpritInline(InlineExecutor):
    """The inline executor with a worker that fails."""

    def __init__(self, scenario: Scenario, fails: Fails) -> None:
        super().__init__(scenario)
        self._fails = fails

    def __enter__(self) -> CulpritInline:
        super().__enter__()
        self._worker = self._fails(self._scenario, 1)
        return self


# Workers, servers and machines that die.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two machines on this one."""
    head = {"num_cpus": 2, "include_dashboard": False, "resources": {"pi5": 1}}
    machines = Cluster(initialize_head=True, head_node_args=head)
    yield machines
    ray.shutdown()
    machines.shutdown()


@pytest.mark.ray
def test_a_killed_worker_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path) -> None:
    scenario = scenario_with()
    fails = Fails("killed", "pi4-1", once=tmp_path / "killed")
    with RayExecutor(scenario, 2, address=cluster.address, make_worker=fails) as executor:
        result = train(scenario, assignments_of(scenario), executor, ENDS_S)
    assert (tmp_path / "killed").exists()
    assert_same_bits(result.state, undisturbed.state)
    assert result.records == undisturbed.records
    assert len(result.events) == 1
    assert "round 2: a worker died while it trained " in result.events[0]
    assert "pi4-1" in result.events[0]


@pytest.mark.ray
def test_a_killed_model_server_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path) -> None:
    scenario = scenario_with()
    with RayExecutor(scenario, 1, address=cluster.address) as executor:

        def kill(record: RoundRecord) -> None:
            if record.round < 2:
                ray.kill(executor._server)

        result = train(scenario, assignments_of(scenario), executor, ENDS_S, checkpoint_folder=tmp_path, on_round=kill)
    assert_same_bits(result.state, undisturbed.state)
    assert any("the model server died" in event for event in result.events)
    assert_same_bits(load_states(tmp_path / "round-000003")[0], undisturbed.state)


@pytest.mark.ray
def test_a_killed_machine_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult) -> None:
    scenario = scenario_with()
    # The first machine has two cores; with three workers one is on the other.
    second = cluster.add_node(num_cpus=2)
    with RayExecutor(scenario, 3, address=cluster.address) as executor:
        result = train(
            scenario, assignments_of(scenario), executor, ENDS_S,
            on_round=lambda record: cluster.remove_node(second, allow_graceful=False) if record.round == 0 else None,
        )  # fmt: skip
    assert_same_bits(result.state, undisturbed.state)


@pytest.mark.ray
def test_a_real_device_gets_its_own_client(cluster: Cluster, undisturbed: TrainingResult) -> None:
    scenario = scenario_with("clients.1.ray_resource=pi5")
    bound = {c.id: c.ray_resource for c in scenario.expanded_clients()}
    own = [dataclasses.replace(a, resource=bound[a.client]) for a in assignments_of(scenario)]
    assert {a.resource for a in own} == {None, "pi5"}
    with RayExecutor(scenario, 1, address=cluster.address) as executor:
        result = train(scenario, own, executor, ENDS_S)
    assert_same_bits(result.state, undisturbed.state)
    table = result.measured.table
    emulated = table[table["phase"] == "client_compute"].groupby("client")["emulated"].all()
    assert {client: not bool(is_emulated) for client, is_emulated in emulated.items()} == {
        a.client: a.resource is not None for a in own
    }


def test_inline_emulates_clients_of_real_devices(undisturbed: TrainingResult) -> None:
    scenario = scenario_with()
    own = [dataclasses.replace(a, resource="pi5") for a in assignments_of(scenario)]
    result = run_with(scenario, InlineExecutor(scenario), own)
    assert_same_bits(result.state, undisturbed.state)
    assert result.measured.table["emulated"].all()


def test_a_chain_is_on_one_device() -> None:
    own = assignments_of(scenario_with())
    chain = [a.client for a in own]
    assert groups_of(own, chain)[0].resource is None
    assert groups_of([dataclasses.replace(a, resource="pi5") for a in own], chain)[0].resource == "pi5"
    with pytest.raises(ScenarioError, match=r"pi4-0: pi5, pi4-1: any"):
        groups_of([dataclasses.replace(own[0], resource="pi5"), *own[1:]], chain)


@pytest.mark.parametrize("server_model", ["shared-mean", "shared-sequential"])
def test_who_spoils_a_shared_server_is_told_from_who_suffers(server_model: str) -> None:
    settings = [
        f"training.server_model={server_model}", "training.local_steps=3",
        "training.zeroth_order.optimizer.learning_rate=1000000", "training.optimizer.learning_rate=0.001",
    ]  # fmt: skip
    options = [(1, Mode.FO), (2, Mode.ZO_PROJECTION), (3, Mode.FO), (2, Mode.FO)]
    scenario = scenario_with("faults.policy=drop-round", *settings)
    own = [
        dataclasses.replace(a, cut=cut, mode=mode)
        for a, (cut, mode) in zip(assignments_of(scenario), options, strict=False)
    ]
    with InlineExecutor(scenario) as executor:
        result = train(scenario, own, executor, [1.0])
        without = train(scenario, [own[0], *own[2:]], executor, [1.0])
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


@pytest.mark.ray
def test_a_device_that_never_joined_is_named(cluster: Cluster) -> None:
    scenario = scenario_with()
    own = [dataclasses.replace(a, resource="jetson") for a in assignments_of(scenario)]
    with (
        RayExecutor(scenario, 1, address=cluster.address) as executor,
        pytest.raises(RunError, match=r"no machine of the cluster offers 'jetson'.*ray start"),
    ):
        train(scenario, own, executor, ENDS_S)


@pytest.mark.ray
def test_a_cluster_that_is_not_there_is_a_typed_error() -> None:
    scenario = scenario_with()
    with (
        pytest.raises(RunError, match=r"--address nowhere:1: cannot join"),
        RayExecutor(scenario, 1, address="nowhere:1"),
    ):
        pass


# Clients that fail, under each policy and on either executor.


def run_with(scenario: Scenario, executor: Executor[Any], assignments: Sequence[Assignment]) -> TrainingResult:
    with executor:
        return train(scenario, assignments, executor, ENDS_S)


POLICY_OUTCOMES = {"drop-round": {0, 2}, "drop-client": {0}}


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


@pytest.mark.ray
@pytest.mark.parametrize(("how", "num_groups"), [("hangs", 2), ("killed", 2), ("killed", 6)])
def test_a_client_that_hangs_or_kills_is_found_among_its_group(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, how: str, num_groups: int
) -> None:
    """In larger groups, and alone while another group is next in line at its worker."""
    monkeypatch.setattr("runtime.groups.MAX_GROUPS", num_groups)
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
@pytest.mark.parametrize("cut", [2, 7])
def test_a_client_that_hangs_beside_a_shared_server_is_named(cluster: Cluster, cut: int) -> None:
    """With the whole model it never asks the server for anything, and is found nevertheless."""
    scenario = scenario_with(
        "training.server_model=shared-mean", "faults.policy=drop-client", "faults.client_timeout_s=1.5"
    )
    own = [
        dataclasses.replace(a, cut=cut if a.client == "nano-0" else 2, mode=Mode.FO) for a in assignments_of(scenario)
    ]
    executor = RayExecutor(scenario, 2, address=cluster.address, make_worker=Fails("hangs", "nano-0"))
    result = run_with(scenario, executor, own)
    assert [(fault.client, fault.round, fault.kind) for fault in result.faults] == [("nano-0", 1, FaultKind.HANGS)]
    assert "nano-0" not in {record.client for record in result.clients if record.round == 2}


@pytest.mark.ray
def test_a_shared_server_outlives_all_its_workers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker finds no place, the others are killed at once between rounds, and a client kills its workers."""
    monkeypatch.setattr("runtime.executors.ray_side_by_side._PATIENCE_S", 5.0)
    scenario = scenario_with(
        "training.server_model=shared-mean", "faults.policy=drop-client", "faults.worker_retries=1"
    )
    executor = RayExecutor(scenario, 3, address=cluster.address, make_worker=Fails("killed", "pi4-1"))

    def kill_all(record: RoundRecord) -> None:
        if record.round == 1:
            for slot in executor._pool.ready():
                ray.kill(slot.worker)

    with executor:
        result = train(scenario, assignments_of(scenario), executor, ENDS_S, on_round=kill_all)
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
    alone = [participants([a.client for a in own], 0.1, scenario.seed, r) for r in range(len(ENDS_S))]
    tight = [dataclasses.replace(a, memory_budget_bytes=1) if (a.client,) == tuple(alone[1]) else a for a in own]
    failed = {r for r, names in enumerate(alone) if names == alone[1]}
    with InlineExecutor(scenario) as executor:
        accuracies = [executor.evaluate(executor.initial_state())]
        result = train(scenario, tight, executor, ENDS_S)
    accuracies += [record.test_accuracy for record in result.records]
    assert failed != {0, 1, 2}
    assert {record.round for record in result.records if record.train_loss is None} == failed
    assert all(accuracies[r + 1] == accuracies[r] for r in failed)
    assert {fault.round for fault in result.faults} == failed


def test_nobody_trained_at_all_is_an_error() -> None:
    scenario = scenario_with("faults.policy=drop-round", "training.participation=0.1")
    tight = [dataclasses.replace(a, memory_budget_bytes=1) for a in assignments_of(scenario)]
    with pytest.raises(RunError, match=r"nobody was trained in 3 rounds: .*over-budget"):
        run_with(scenario, InlineExecutor(scenario), tight)


def test_over_budget_stops_the_run_by_default() -> None:
    scenario = scenario_with()
    tight = [dataclasses.replace(a, memory_budget_bytes=1) for a in assignments_of(scenario)]
    with pytest.raises(BudgetExceededError, match=f"client {tight[0].client}"):
        run_with(scenario, InlineExecutor(scenario), tight)


# The driver and its disk.


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, undisturbed: TrainingResult) -> None:
    scenario = scenario_with()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(record: Any) -> None:
        if record.round == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))

    try:
        with InlineExecutor(scenario) as executor, pytest.raises(RunError, match=r"cannot write.*--resume"):
            train(scenario, assignments_of(scenario), executor, ENDS_S, checkpoint_folder=tmp_path, on_round=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments_of(scenario), executor, ENDS_S, checkpoint_folder=tmp_path, resume=True)
    assert_same_bits(resumed.state, undisturbed.state)


def run_of(folder: Path, executor: str, *more: str) -> subprocess.Popen[bytes]:
    start = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", start, "run", "quickstart", "--executor", executor, "--workers", "1"]
    for setting in [*SMALL, "training.rounds=8", "training.frozen_control=false"]:
        command += ["--set", setting]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--out", str(folder), *more],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed_driver(tmp_path_factory: pytest.TempPathFactory) -> State:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_of(folder, "inline").wait() == 0
    return load_states(folder / "checkpoints" / "round-000008")[0]


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_killed_driver_resumes_to_the_same_bits(executor: str, tmp_path: Path, undisturbed_driver: State) -> None:
    victim = run_of(tmp_path, executor)
    latest = tmp_path / "checkpoints" / "latest.json"
    while victim.poll() is None and not latest.exists():
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    assert victim.wait() != 0, "it was killed while it trained"
    assert run_of(tmp_path, executor, "--resume").wait() == 0
    assert_same_bits(load_states(tmp_path / "checkpoints" / "round-000008")[0], undisturbed_driver)
