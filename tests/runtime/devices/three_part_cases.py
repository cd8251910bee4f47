"""Heads on the clients where client and server are on devices of their own: the head is computed beside the client.

Cases of :mod:`tests.runtime.devices.test_devices`, which runs them in a process of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.split.compute import CPU, CPU_ONLY, ComputeDevices
from tests.runtime.devices.second_device import second_device
from tests.runtime.test_three_part_runs import MOMENTUM, assert_same_weights, case


@pytest.fixture(scope="module")
def second() -> Iterator[torch.device]:
    with second_device() as device:
        yield device


def trained(devices: ComputeDevices) -> TrainingResult:
    scenario, assignments = case("training.optimizer_state=keep", f"training.optimizer={MOMENTUM}")
    with InlineExecutor(scenario, devices=devices) as executor:
        return train(scenario, assignments, executor, 2)


@pytest.mark.parametrize(
    "where", ["server", pytest.param("client", marks=pytest.mark.slow), pytest.param("both", marks=pytest.mark.slow)]
)
def test_another_device_trains_to_the_bits_of_the_cpu(where: str, second: torch.device) -> None:
    devices = {
        "both": ComputeDevices("second", second, second),
        "server": ComputeDevices("server-second", CPU, second),
        "client": ComputeDevices("client-second", second, CPU),
    }[where]
    found, wanted = trained(devices), trained(CPU_ONLY)
    assert_same_weights(found, wanted)
    assert found.records == wanted.records
    columns = ["client", "round", "phase", "bytes"]
    assert found.measured.table[columns].equals(wanted.measured.table[columns])
