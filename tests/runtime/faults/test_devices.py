"""Clusters that are joined, and clients that are bound to real devices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.replay.memory_files import load_memory
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.worker.groups import groups_of
from hybridsplit.scenarios.contracts.schedule import Chain
from hybridsplit.scenarios.errors import RunError, ScenarioError
from tests.runtime.faults.runs import ROUNDS, assert_same_bits, assignments_of, run_with, scenario_with


@pytest.mark.slow
@pytest.mark.ray
def test_a_real_device_gets_its_own_client(cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path) -> None:
    scenario = scenario_with("clients.1.ray_resource=pi5")
    bound = {c.id: c.ray_resource for c in scenario.expanded_clients()}
    own = [dataclasses.replace(a, resource=bound[a.client]) for a in assignments_of(scenario)]
    assert {a.resource for a in own} == {None, "pi5"}
    with RayExecutor(scenario, 1, address=cluster.address) as executor:
        result = train(scenario, own, executor, ROUNDS, memory_folder=tmp_path)
    assert_same_bits(result.state, undisturbed.state)
    assert {path.stem for path in tmp_path.iterdir()} == {a.client for a in own if a.resource}
    seen = load_memory(next(tmp_path.iterdir()))
    assert len(seen.budget_bytes) <= ROUNDS * scenario.training.local_steps
    assert 1 << 20 < seen.least_bytes < 1 << 50
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


def test_a_chain_on_two_devices_is_refused_before_any_training() -> None:
    """Also where its clients would not meet in the first round."""
    scenario = scenario_with("training.participation=0.1")
    first, *others = assignments_of(scenario)
    own = [dataclasses.replace(first, resource="pi5"), *others]
    schedule = Chain(order=tuple(a.client for a in own))
    with InlineExecutor(scenario) as executor, pytest.raises(ScenarioError, match=r"pi4-0: pi5, pi4-1: any"):
        train(scenario, own, executor, ROUNDS, schedule=schedule, on_round=lambda _: pytest.fail("it trained"))


@pytest.mark.slow
@pytest.mark.ray
def test_a_device_that_never_joined_is_named(cluster: Cluster) -> None:
    scenario = scenario_with()
    own = [dataclasses.replace(a, resource="jetson") for a in assignments_of(scenario)]
    with (
        RayExecutor(scenario, 1, address=cluster.address) as executor,
        pytest.raises(RunError, match=r"no machine of the cluster offers 'jetson'.*ray start"),
    ):
        train(scenario, own, executor, ROUNDS)


@pytest.mark.ray
def test_a_cluster_that_is_not_there_is_a_typed_error() -> None:
    scenario = scenario_with()
    with (
        pytest.raises(RunError, match=r"--address nowhere:1: cannot join"),
        RayExecutor(scenario, 1, address="nowhere:1"),
    ):
        pass
