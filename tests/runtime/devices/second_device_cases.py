"""Client and server parts on a device that is not the CPU: the same bits, and no operator ever meets both.

Cases of :mod:`tests.runtime.devices.test_devices`, which runs them in a process of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.executors.ray_shared import RaySharedServer
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.split.compute import CPU, CPU_ONLY, ComputeDevices
from hybridsplit.runtime.worker.worker import Worker
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.runtime.devices.second_device import TwoDevicesError, second_device

MIXED = [
    (1, "fo", 1),
    (2, "zo-projection", 1),
    (3, "fo-recompute", 1),
    (4, "zo-loss", 1),
    (2, "frozen", 1),
    (7, "fo", 1),
]
LOCAL = [(2, "fo-local", 1), (2, "fo-local", 2), (2, "zo-local", 4), (2, "fo", 1), (3, "fo-local", 2), (7, "fo", 1)]


@pytest.fixture(scope="module")
def second() -> Iterator[torch.device]:
    with second_device() as device:
        yield device


def case(placed: Sequence[tuple[int, str, int]], *more: str) -> tuple[Scenario, list[Assignment]]:
    modes = ",".join(dict.fromkeys(mode for _, mode, _ in placed))
    scenario = load_scenario(
        "quickstart",
        ["training.local_steps=2", "training.zeroth_order.directions=2", f"training.modes=[{modes}]", *more],
    )
    size = scenario.training.batch_size
    return scenario, [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=size, upload_every=every), c.data_weight, 1 << 30)
        for c, (cut, mode, every) in zip(scenario.expanded_clients(), placed, strict=True)
    ]


def trained(own: tuple[Scenario, list[Assignment]], devices: ComputeDevices, **more: Any) -> TrainingResult:
    scenario, assignments = own
    with InlineExecutor(scenario, devices=devices) as executor:
        return train(scenario, assignments, executor, 2, **more)


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.records == other.records
    assert [name for name, tensor in one.state.items() if not torch.equal(tensor, other.state[name])] == []
    columns = ["client", "round", "phase", "bytes"]
    assert one.measured.table[columns].equals(other.measured.table[columns])


ADAM = '{"name": "adamw", "learning_rate": 0.001}'


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("where", ["server", slow("both"), slow("client")])
@pytest.mark.parametrize(
    ("placed", "more"),
    [
        (MIXED, ()),
        slow(MIXED, (f"training.optimizer={ADAM}", "training.optimizer_state=keep")),
        slow(LOCAL, ("training.local_loss.upload_every=[1,2,4]", "training.local_steps=4")),
        (MIXED, ("training.server_model=shared-mean",)),
        slow(MIXED, ("training.server_model=shared-sequential",)),
    ],
    ids=["modes", "kept-state", "local-losses", "shared-mean", "shared-sequential"],
)
def test_another_device_trains_to_the_bits_of_the_cpu(
    where: str, placed: Sequence[tuple[int, str, int]], more: Sequence[str], second: torch.device
) -> None:
    devices = {
        "both": ComputeDevices("second", second, second),
        "server": ComputeDevices("server-second", CPU, second),
        "client": ComputeDevices("client-second", second, CPU),
    }[where]
    own = case(placed, *more)
    assert_same(trained(own, devices), trained(own, CPU_ONLY))


def test_an_operator_over_two_devices_is_noticed(second: torch.device) -> None:
    with pytest.raises(TwoDevicesError):
        torch.ones(2, device=second) + torch.ones(2)


def test_rounds_go_on_where_they_were_computed(second: torch.device, tmp_path: Path) -> None:
    scenario, assignments = own = case(MIXED, "training.local_steps=1")
    devices = ComputeDevices("second", second, second)
    with InlineExecutor(scenario, devices=devices) as executor:
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path)
    with pytest.raises(UsageError, match=r"computed with --torch-device second.*found --torch-device cpu"):
        trained(own, CPU_ONLY, checkpoint_folder=tmp_path, resume=True)
    assert_same(trained(own, devices, checkpoint_folder=tmp_path, resume=True), trained(own, CPU_ONLY))


@pytest.mark.parametrize("kind", ["shared-mean", "shared-sequential"])
def test_a_shared_server_for_other_processes_answers_on_the_cpu(kind: str, second: torch.device) -> None:
    """As its Ray process does, called here: messages and what it returns are tensors of the CPU."""
    scenario, assignments = case([(2, "fo", 1)] * 6, f"training.server_model={kind}")
    answers = []
    for devices in (CPU_ONLY, ComputeDevices("server-second", CPU, second)):
        worker = Worker(scenario)
        state = worker._model.whole.snapshot()
        shared = RaySharedServer(scenario, 1, devices)
        shared.open(save(state), assignments, 0, [])
        batch = worker._draw(assignments[0], 0)
        h = worker._model.client_part(2)(batch.inputs).detach()
        payload = save({"labels": batch.labels, "h": h})
        exact = {"wants_gradient": True}
        answer, loss = asyncio.run(shared.ask(assignments[0].client, 0, None, "exact", payload, exact))
        contributions, _ = shared.close()
        answers.append((answer, loss, contributions[0][1].tobytes()))
    assert answers[0] == answers[1]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("server", ["per-client", "shared-mean"])
def test_workers_on_another_device_train_to_the_bits_of_the_cpu(server: str) -> None:
    scenario, assignments = own = case(MIXED, f"training.server_model={server}")
    with RayExecutor(scenario, 2, make_worker=WorkerOnSecond) as executor:
        assert_same(train(scenario, assignments, executor, 2), trained(own, CPU_ONLY))


class WorkerOnSecond(Worker):
    """A worker whose process knows the device as long as it lives."""

    def __init__(self, scenario: Scenario, num_threads: int) -> None:
        self._known = second_device()
        device = self._known.__enter__()
        server = device if scenario.training.server_model == "per-client" else CPU
        super().__init__(scenario, num_threads, ComputeDevices("second", device, server))
