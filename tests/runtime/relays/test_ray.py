"""Relays as Ray processes: the bits of one process, whatever happens to them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from hybridsplit.runtime.executors.ray_relay_executor import RayRelayExecutor
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.runtime.run.rounds import TrainingResult
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.relays.loading import validate_relays
from tests.runtime.relays.chains import assert_same_bits
from tests.runtime.relays.failing import KillsRelay, _pid
from tests.runtime.relays.runs import ROUNDS, run_inline, run_ray, small_document, small_plan, small_scenario

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STEPS, PARTS = 2, 4


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert_same_bits(one.state, other.state)
    assert one.records == other.records
    assert one.peak_bytes == other.peak_bytes
    assert one.node_peak_bytes == other.node_peak_bytes
    columns = ["client", "round", "phase", "bytes", "node"]
    assert one.measured.table[columns].equals(other.measured.table[columns])


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.quiet)])
def test_any_number_of_processes_gives_the_bits_of_one(
    cluster: Cluster, undisturbed: TrainingResult, num_workers: int
) -> None:
    scenario = small_scenario()
    found = run_ray(scenario, small_plan(scenario), cluster.address, num_workers).result
    assert_same(found, undisturbed)
    assert found.events == ()


@pytest.mark.quiet
@pytest.mark.parametrize(
    ("node", "sent"),
    [("ap-0", 1), ("edge", 3), ("cloud", PARTS + 2), ("ap-0", STEPS * PARTS), ("edge", STEPS * PARTS + 1)],
)
def test_a_relay_that_dies_in_the_middle_of_a_round_changes_no_bit(
    cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path, node: str, sent: int
) -> None:
    """With micro-batches of a client on their way, between two steps, and before its weights are fetched."""
    scenario = small_scenario()
    once = tmp_path / "happened"
    kills = KillsRelay(node, "hall-0-1", sent, once)
    found = run_ray(scenario, small_plan(scenario), cluster.address, make_worker=kills).result
    assert once.exists()
    assert_same(found, undisturbed)
    assert any(node in event and "another one took over" in event for event in found.events)


@pytest.mark.quiet
def test_a_relay_that_hangs_is_named_in_place_of_the_client_that_waits_for_it(
    cluster: Cluster, undisturbed: TrainingResult, tmp_path: Path
) -> None:
    scenario = small_scenario()
    hangs = KillsRelay("edge", "hall-0-1", 3, tmp_path / "happened", how=signal.SIGSTOP)
    patient = validate_relays(small_document() | {"faults": {"client_timeout_s": 20}}, "small")
    found = run_ray(patient, small_plan(scenario), cluster.address, make_worker=hangs).result
    assert hangs.once is not None
    assert hangs.once.exists()
    assert_same(found, undisturbed)
    assert any("edge" in event and "did not answer for 20 s" in event for event in found.events)


@pytest.mark.quiet
def test_processes_killed_at_random_moments_change_no_bit(cluster: Cluster, undisturbed: TrainingResult) -> None:
    """Clients' workers and relays alike, from outside."""
    scenario = small_scenario()
    dice = random.Random(3)
    over = threading.Event()

    def kill_some(executor: RayRelayExecutor) -> None:
        for _ in range(3):
            if over.wait(dice.uniform(0.05, 1.0)):
                return
            actors = [process.actor for process in executor.hosts._processes]
            actors += [slot.worker for slot in executor._pool.ready()]
            victim = dice.choice([actor for actor in actors if actor is not None])
            try:
                pid = ray.get(victim.__ray_call__.remote(_pid), timeout=5.0)
            except (ray.exceptions.RayError, TimeoutError):
                continue
            os.kill(pid, signal.SIGKILL)

    started: list[threading.Thread] = []

    def after_first(executor: RayRelayExecutor, done: RoundDone) -> None:
        if not started:
            started.append(threading.Thread(target=kill_some, args=(executor,)))
            started[0].start()
        time.sleep(0.2)
        if done.round == ROUNDS - 1:
            # Nothing of it may reach for a cluster that is gone.
            over.set()
            started[0].join()

    document = small_document() | {"faults": {"worker_retries": 20}}
    patient = validate_relays(document, "small")
    found = run_ray(patient, small_plan(scenario), cluster.address, on_round=after_first).result
    assert_same(found, undisturbed)


@pytest.mark.quiet
def test_a_client_that_ends_relays_every_time_is_named(cluster: Cluster) -> None:
    document = small_document() | {"faults": {"worker_retries": 1}}
    scenario = validate_relays(document, "small")
    kills = KillsRelay("edge", "hall-1-0", 1, None)
    with pytest.raises(RunError, match=r"client hall-1-0 .*round 2"):
        run_ray(scenario, small_plan(small_scenario()), cluster.address, make_worker=kills)


@pytest.mark.quiet
def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(cluster: Cluster, tmp_path: Path) -> None:
    """Begun on Ray, continued in one process and on Ray again, with moments that are kept."""
    scenario = small_scenario(optimizer={"name": "adamw", "learning_rate": 0.01}, optimizer_state="keep")
    plan = small_plan(scenario)
    whole = run_inline(scenario, plan).result
    run_ray(scenario, plan, cluster.address, rounds=1, checkpoints=tmp_path / "own")
    run_inline(scenario, plan, 2, checkpoints=tmp_path / "own", resume=True)
    found = run_ray(scenario, plan, cluster.address, checkpoints=tmp_path / "own", resume=True).result
    assert_same_bits(found.state, whole.state)
    assert found.records == whole.records
    assert found.node_peak_bytes == whole.node_peak_bytes


@pytest.mark.quiet
def test_a_node_bound_to_a_real_machine_runs_there(cluster: Cluster, undisturbed: TrainingResult) -> None:
    document = small_document()
    document["network"]["nodes"][0]["ray_resource"] = "gateway"
    scenario = validate_relays(document, "small")
    where: dict[str, str] = {}

    def note(executor: RayRelayExecutor, done: RoundDone) -> None:
        where["here"] = _machine(executor)
        for node, actor in executor.hosts.reached().items():
            where[node] = ray.get(actor.__ray_call__.remote(_machine))

    found = run_ray(scenario, small_plan(small_scenario()), cluster.address, on_round=note).result
    assert where["ap-0"] != where["here"]
    assert {where["ap-1"], where["edge"], where["cloud"]} == {where["here"]}
    assert_same_bits(found.state, undisturbed.state)
    emulated = {entry.node: entry.emulated for entry in found.measured.entries()}
    assert not emulated["ap-0"]
    assert emulated["edge"]
    document["network"]["nodes"][0]["ray_resource"] = "nowhere"
    with pytest.raises(RunError, match=r"network\.nodes\.ray_resource: no machine of the cluster offers 'nowhere'"):
        run_ray(validate_relays(document, "small"), small_plan(small_scenario()), cluster.address, rounds=ROUNDS)


def _machine(actor: object) -> str:
    return str(ray.get_runtime_context().get_node_id())
