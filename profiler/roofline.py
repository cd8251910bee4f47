"""Seconds of operators on a device: a roofline per operator class (Williams, Waterman and Patterson, CACM 2009).

An operator takes the larger of its arithmetic at the reached compute rate and its traffic at the reached memory
bandwidth. The reached shares of the peaks come with the device, and so does how surely they are known.
"""

from __future__ import annotations

import numpy as np

from profiler.operators import OperatorCost
from scenarios.devices import Device
from scenarios.errors import ScenarioError


def check_can_train(device: Device, where: str) -> None:
    """Refuse a device that cannot train, or lacks a figure.

    Raises
    ------
    ScenarioError
        The message names device and figure.
    """
    if not device.can_train:
        raise ScenarioError(f"{where}: {device.name} only infers and cannot run a training step; use another device")
    figures = {
        "fp32_flops_per_s": device.fp32_flops_per_s,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "efficiency": device.efficiency,
    }
    missing = [name for name, figure in figures.items() if not figure]
    if missing:
        raise ScenarioError(
            f"{where}: {device.name} has no published {' and no '.join(missing)}; an unknown cost is never zero: "
            "describe the device under 'devices' with these figures, or use another one"
        )


def seconds(cost: OperatorCost, device: Device) -> float:
    """Time of a piece of work on a whole device.

    Raises
    ------
    ScenarioError
        If the device lacks a figure.
    """
    check_can_train(device, "roofline")
    assert device.fp32_flops_per_s
    assert device.memory_bandwidth_bytes_per_s
    assert device.efficiency
    reached = np.where(cost.is_convolution, device.efficiency.convolution, device.efficiency.matmul)
    compute_s = cost.flops / (reached * device.fp32_flops_per_s)
    traffic_s = cost.moved_bytes / (device.efficiency.memory * device.memory_bandwidth_bytes_per_s)
    return float((cost.count * np.maximum(compute_s, traffic_s)).sum())
