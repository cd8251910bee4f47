"""Seconds of operators on a device: a roofline per operator class (Williams, Waterman and Patterson, CACM 2009).

An operator takes its arithmetic at the reached compute rate and its traffic at the reached memory bandwidth: the
larger of the two where a device hides one behind the other (GPUs), their sum where it does not (the cores of a small
board). What CPU kernels add is modelled: patches unfolded for a convolution are traffic, and the groups of
a grouped convolution are calls. The reached shares of the peaks come with the device, and so does how surely they are
known.
"""

from __future__ import annotations

import numpy as np

from hybridsplit.profiler.costs import RANDOM_FLOPS_PER_ELEMENT, OperatorClass, OperatorCost
from hybridsplit.scenarios.devices import Device, RooflineEfficiency
from hybridsplit.scenarios.errors import ScenarioError


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
    efficiency = device.efficiency
    arithmetic_s = cost.flops / _reached_flops_per_s(efficiency, device.fp32_flops_per_s)[cost.operator_class]
    traffic_bytes = cost.moved_bytes + (cost.unfolded_bytes if efficiency.unfolds_convolutions else 0.0)
    traffic_s = traffic_bytes / (efficiency.memory * device.memory_bandwidth_bytes_per_s)
    each_s = np.maximum(arithmetic_s, traffic_s) if efficiency.arithmetic_hides_traffic else arithmetic_s + traffic_s
    calls = np.where(cost.operator_class == OperatorClass.GROUPED_FORWARD, cost.groups, 0.0)
    each_s = each_s + calls * efficiency.grouped_call_s + efficiency.operator_call_s
    return float((cost.count * each_s).sum())


def _reached_flops_per_s(efficiency: RooflineEfficiency, peak_flops_per_s: float) -> np.ndarray:
    """Compute rate that each operator class reaches, indexed by class."""
    convolution = efficiency.convolution
    shares = {
        OperatorClass.MEMORY: efficiency.matmul,  # counts no operations
        OperatorClass.RANDOM: efficiency.matmul,
        OperatorClass.MATMUL: efficiency.matmul,
        OperatorClass.CONVOLUTION: convolution,
        OperatorClass.POINTWISE_FORWARD: efficiency.pointwise_forward or convolution,
        OperatorClass.GROUPED_FORWARD: efficiency.grouped_forward or convolution,
        OperatorClass.GROUPED_BACKWARD: efficiency.grouped_backward or convolution,
    }
    reached = np.array([shares[one] * peak_flops_per_s for one in OperatorClass])
    if efficiency.random_numbers_per_s is not None:
        reached[OperatorClass.RANDOM] = RANDOM_FLOPS_PER_ELEMENT * efficiency.random_numbers_per_s
    return reached
