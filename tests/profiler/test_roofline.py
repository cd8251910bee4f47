"""The roofline's terms one by one, and the energy of a round."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from hybridsplit.profiler.costs import RANDOM_FLOPS_PER_ELEMENT, OperatorClass, OperatorCost, OperatorKey
from hybridsplit.profiler.energy import client_energy_j
from hybridsplit.profiler.roofline import seconds
from hybridsplit.scenarios.devices import Confidence, Device, RooflineEfficiency, catalogue

PEAK, BANDWIDTH = 1e9, 1e8
BASE = {"matmul": 0.5, "convolution": 0.25, "memory": 0.5}


def device(**more) -> Device:  # type: ignore[no-untyped-def]
    return Device(
        name="d", kind="test", fp32_flops_per_s=PEAK, memory_bandwidth_bytes_per_s=BANDWIDTH,
        efficiency=RooflineEfficiency(**{**BASE, **more}),
    )  # fmt: skip


def work(kind: OperatorClass, flops: float = 1e6, moved: float = 10.0, unfolded: float = 0.0, groups: int = 1):  # type: ignore[no-untyped-def]
    return OperatorCost.of(Counter({OperatorKey(kind, flops, moved, unfolded, groups): 3}))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (OperatorClass.MATMUL, "matmul"),
        (OperatorClass.CONVOLUTION, "convolution"),
        (OperatorClass.POINTWISE_FORWARD, "pointwise_forward"),
        (OperatorClass.GROUPED_FORWARD, "grouped_forward"),
        (OperatorClass.GROUPED_BACKWARD, "grouped_backward"),
    ],
)
def test_each_class_reaches_its_own_share(kind: OperatorClass, key: str) -> None:
    assert seconds(work(kind), device(**{key: 0.1})) == pytest.approx(3 * 1e6 / (0.1 * PEAK))
    if key not in BASE:
        assert seconds(work(kind), device()) == pytest.approx(3 * 1e6 / (0.25 * PEAK))


def test_traffic_hides_or_adds() -> None:
    cost = work(OperatorClass.MATMUL, flops=1e6, moved=1e5)
    arithmetic_s, traffic_s = 1e6 / (0.5 * PEAK), 1e5 / (0.5 * BANDWIDTH)
    assert seconds(cost, device()) == pytest.approx(3 * max(arithmetic_s, traffic_s))
    assert seconds(cost, device(arithmetic_hides_traffic=False)) == pytest.approx(3 * (arithmetic_s + traffic_s))


def test_unfolded_patches_are_traffic_only_where_they_are_unfolded() -> None:
    cost = work(OperatorClass.CONVOLUTION, flops=0.0, moved=1e5, unfolded=4e5)
    assert seconds(cost, device(unfolds_convolutions=True)) == pytest.approx(5 * seconds(cost, device()))


def test_groups_cost_calls_in_the_forward_pass_only() -> None:
    forward, backward = (
        work(kind, groups=7) for kind in (OperatorClass.GROUPED_FORWARD, OperatorClass.GROUPED_BACKWARD)
    )
    slow = device(grouped_call_s=1e-3)
    assert seconds(forward, slow) - seconds(forward, device()) == pytest.approx(3 * 7e-3)
    assert seconds(backward, slow) == seconds(backward, device())


def test_operators_and_random_numbers_cost_their_own() -> None:
    cost = work(OperatorClass.MEMORY, flops=0.0)
    assert seconds(cost, device(operator_call_s=1e-3)) - seconds(cost, device()) == pytest.approx(3e-3)
    drawn = work(OperatorClass.RANDOM, flops=RANDOM_FLOPS_PER_ELEMENT * 1000.0)
    assert seconds(drawn, device(random_numbers_per_s=1e4)) == pytest.approx(0.3)
    assert seconds(drawn, device()) == pytest.approx(3 * RANDOM_FLOPS_PER_ELEMENT * 1000 / (0.5 * PEAK))


def test_energy_is_power_times_time_and_never_zero_where_unknown() -> None:
    pi = catalogue()["rpi4b_8gb"]
    assert client_energy_j(pi, 10.0) == pytest.approx(72.0)
    assert client_energy_j(pi, 10.0, 5.0) == pytest.approx(72.0 + 15.0)
    jetson = catalogue()["jetson_nano_4gb"]
    assert client_energy_j(jetson, 2.0) == pytest.approx(20.0)
    assert math.isnan(client_energy_j(jetson, 2.0, 1.0))
    assert math.isnan(client_energy_j(catalogue()["phone_sd855_6gb"], 2.0))
    assert client_energy_j(catalogue()["phone_sd855_6gb"], 0.0) == 0.0
    with pytest.raises(ValueError, match="at least 0"):
        client_energy_j(pi, float("nan"))


def test_every_catalogue_device_that_trains_says_how_it_is_known() -> None:
    for device_id, one in catalogue().items():
        if one.efficiency is not None:
            assert one.source, device_id
        if one.power_modes_w:
            assert max(one.power_modes_w) == one.max_power_w, device_id
    calibrated = {key for key, one in catalogue().items() if one.confidence is Confidence.CALIBRATED}
    assert calibrated == {"rpi4b_8gb", "rpi5_8gb", "phone_nexus_6", "phone_redmi_note_8"}
