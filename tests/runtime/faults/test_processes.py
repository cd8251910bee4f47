"""Workers, servers and machines that die: they change no bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.executors.state_files import load_states
from hybridsplit.runtime.run.records import RoundRecord
from hybridsplit.runtime.run.rounds import TrainingResult, train
from tests.runtime.faults.runs import ROUNDS, assert_same_bits, assignments_of, scenario_with
from tests.runtime.faulty_workers import Fails


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_worker_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path) -> None:
    scenario = scenario_with()
    fails = Fails("killed", "pi4-1", once=tmp_path / "killed")
    with RayExecutor(scenario, 2, address=cluster.address, make_worker=fails) as executor:
        result = train(scenario, assignments_of(scenario), executor, ROUNDS)
    assert (tmp_path / "killed").exists()
    assert_same_bits(result.state, undisturbed.state)
    assert result.records == undisturbed.records
    assert len(result.events) == 1
    assert "round 2: a worker died while it trained " in result.events[0]
    assert "pi4-1" in result.events[0]


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_model_server_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path) -> None:
    scenario = scenario_with()
    with RayExecutor(scenario, 1, address=cluster.address) as executor:

        def kill(record: RoundRecord) -> None:
            if record.round < 2:
                ray.kill(executor._model_server.actor)

        result = train(scenario, assignments_of(scenario), executor, ROUNDS, checkpoint_folder=tmp_path, on_round=kill)
    assert_same_bits(result.state, undisturbed.state)
    assert any("the model server died" in event for event in result.events)
    assert_same_bits(load_states(tmp_path / "round-000003")[0], undisturbed.state)


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_machine_changes_no_bit(cluster: Cluster, undisturbed: TrainingResult) -> None:
    scenario = scenario_with()
    # The first machine has two cores; with three workers one is on the other.
    second = cluster.add_node(num_cpus=2)
    with RayExecutor(scenario, 3, address=cluster.address) as executor:
        result = train(
            scenario, assignments_of(scenario), executor, ROUNDS,
            on_round=lambda record: cluster.remove_node(second, allow_graceful=False) if record.round == 0 else None,
        )  # fmt: skip
    assert_same_bits(result.state, undisturbed.state)
