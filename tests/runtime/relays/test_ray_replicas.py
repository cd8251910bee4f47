"""Stages and replicas as processes of two machines: the bits of one process, whichever of them dies, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from hybridsplit.runtime.executors.ray_relay_executor import RayRelayExecutor
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.run.rounds import TrainingResult
from hybridsplit.scenarios.relays.loading import validate_relays
from tests.runtime.relays.chains import assert_same_bits
from tests.runtime.relays.failing import KillsRelay
from tests.runtime.relays.runs import replicated_document, run_inline, run_ray, small_plan
from tests.runtime.relays.test_ray import PARTS, STEPS, assert_same

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def one_machine_a_node() -> TrainingResult:
    """The same sums in one process, without replicas."""
    scenario = validate_relays(replicated_document(1), "one")
    return run_inline(scenario, small_plan(scenario)).result


@pytest.mark.quiet
@pytest.mark.parametrize("replicas", [1, 2])
def test_stages_and_replicas_on_two_machines_train_the_bits_of_one_process(
    cluster: Cluster, one_machine_a_node: TrainingResult, replicas: int
) -> None:
    scenario = validate_relays(replicated_document(replicas), "several")
    plan = small_plan(scenario)
    inline = run_inline(scenario, plan).result
    found = run_ray(scenario, plan, cluster.address, 2).result
    assert_same(found, inline)
    assert_same_bits(found.state, one_machine_a_node.state)
    assert [r.train_loss for r in found.records] == [r.train_loss for r in one_machine_a_node.records]


@pytest.mark.quiet
@pytest.mark.parametrize(
    ("machine", "sent"),
    [("edge/1", 1), ("edge/1", PARTS), ("cloud", 3), ("cloud/1", STEPS * PARTS), ("edge", STEPS * PARTS + 1)],
)
def test_a_stage_or_replica_that_dies_changes_no_bit(
    cluster: Cluster, one_machine_a_node: TrainingResult, tmp_path: Path, machine: str, sent: int
) -> None:
    """With micro-batches on their way, while gradients are added up, and before weights are fetched."""
    scenario = validate_relays(replicated_document(), "several")
    once = tmp_path / "happened"
    kills = KillsRelay(machine, "hall-0-1", sent, once)
    found = run_ray(scenario, small_plan(scenario), cluster.address, 2, make_worker=kills).result
    assert once.exists()
    assert_same_bits(found.state, one_machine_a_node.state)
    assert any("another one took over" in event for event in found.events)


@pytest.mark.quiet
def test_a_run_goes_on_on_ray_from_a_checkpoint_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    kept = {"optimizer": {"name": "adamw", "learning_rate": 0.01}, "optimizer_state": "keep"}
    scenario = validate_relays(replicated_document(**kept), "kept")
    plan = small_plan(scenario)
    whole = run_inline(scenario, plan).result
    run_ray(scenario, plan, cluster.address, 2, rounds=1, checkpoints=tmp_path / "own")
    run_inline(scenario, plan, 2, checkpoints=tmp_path / "own", resume=True)
    found = run_ray(scenario, plan, cluster.address, 2, checkpoints=tmp_path / "own", resume=True).result
    assert_same_bits(found.state, whole.state)
    assert found.records == whole.records


@pytest.mark.quiet
def test_a_replica_bound_to_a_real_machine_runs_there(cluster: Cluster, one_machine_a_node: TrainingResult) -> None:
    """Both machines of the cloud are the one that offers its resource."""
    document = replicated_document()
    document["network"]["nodes"][3]["ray_resource"] = "cards"
    scenario = validate_relays(document, "bound")
    where: dict[str, str] = {}

    def note(executor: RayRelayExecutor, done: RoundDone) -> None:
        where["there"] = next(one["NodeID"] for one in ray.nodes() if one["Resources"].get("cards"))
        for machine, actor in executor.hosts.reached().items():
            where[machine] = ray.get(actor.__ray_call__.remote(_node))

    plan = small_plan(validate_relays(replicated_document(), "several"))
    found = run_ray(scenario, plan, cluster.address, 2, on_round=note).result
    assert where["cloud"] == where["cloud/1"] == where["there"]
    assert_same_bits(found.state, one_machine_a_node.state)
    emulated = {entry.node: entry.emulated for entry in found.measured.entries()}
    assert not emulated["cloud/1"]
    assert emulated["edge/1"]


def _node(actor: object) -> str:
    return str(ray.get_runtime_context().get_node_id())
