"""A fit finds the figures that made the times, and leaves what they do not tell where it started."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hybridsplit.profiler.calibration import (
    MeasuredWork,
    carried_over,
    fit_efficiency,
    relative_errors,
    with_efficiency,
)
from hybridsplit.profiler.costs import OperatorClass, OperatorCost, OperatorKey
from hybridsplit.profiler.roofline import seconds
from hybridsplit.scenarios.devices import Device, RooflineEfficiency
from hybridsplit.scenarios.errors import ProfileError

TRUE = RooflineEfficiency(
    matmul=0.6, convolution=0.6, memory=0.2, grouped_call_s=2e-4, grouped_backward=0.01, arithmetic_hides_traffic=False
)
START = TRUE.model_copy(update={"matmul": 0.3, "convolution": 0.3, "memory": 0.5, "grouped_call_s": 1e-3})
BOARD = Device(name="board", kind="sbc", fp32_flops_per_s=1e10, memory_bandwidth_bytes_per_s=1e9, efficiency=TRUE)
TIED = {"convolution": "matmul"}


def timings(on: Device) -> list[MeasuredWork]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(12):
        flops, moved, groups = rng.uniform(1e8, 1e10), rng.uniform(1e7, 1e9), int(rng.integers(1, 20000))
        work = OperatorCost.of(
            Counter(
                {
                    OperatorKey(OperatorClass.MATMUL, flops, moved): 1,
                    OperatorKey(OperatorClass.GROUPED_FORWARD, 1e6, 1e5, groups=groups): 2,
                }
            )
        )
        found.append(MeasuredWork(f"t{index}", f"family {index % 4}", work, seconds(work, on)))
    return found


def test_the_fit_finds_the_figures() -> None:
    found = fit_efficiency(timings(BOARD), BOARD, START, ("matmul", "memory", "grouped_call_s"), TIED)
    assert found.matmul == pytest.approx(TRUE.matmul, rel=0.1)
    assert found.memory == pytest.approx(TRUE.memory, rel=0.1)
    assert found.grouped_call_s == pytest.approx(TRUE.grouped_call_s, rel=0.1)
    assert found.convolution == found.matmul
    assert np.abs(relative_errors(timings(BOARD), with_efficiency(BOARD, found))).max() < 0.02


def test_what_the_times_do_not_tell_stays_where_it_started() -> None:
    found = fit_efficiency(timings(BOARD), BOARD, START, ("matmul", "memory", "grouped_backward"), TIED)
    assert found.grouped_backward == pytest.approx(START.grouped_backward)


def test_one_odd_timing_does_not_bend_the_rest() -> None:
    honest = timings(BOARD)
    odd = [*honest[:-1], MeasuredWork("odd", "odd", honest[-1].work, 20 * honest[-1].seconds)]
    found = fit_efficiency(odd, BOARD, START, ("matmul", "memory", "grouped_call_s"), TIED)
    assert np.median(np.abs(relative_errors(honest, with_efficiency(BOARD, found)))) < 0.1


def test_a_faster_board_starts_from_the_slower_ones_seconds() -> None:
    fast = BOARD.model_copy(update={"fp32_flops_per_s": 4e10, "memory_bandwidth_bytes_per_s": 3e9, "efficiency": None})
    halved = [MeasuredWork(t.name, t.family, t.work, t.seconds / 2) for t in timings(BOARD)]
    start = carried_over(BOARD, fast, halved)
    assert np.abs(relative_errors(halved, with_efficiency(fast, start))).max() < 1e-9


def test_nothing_to_fit_on_is_an_error() -> None:
    with pytest.raises(ProfileError, match="no timings"):
        fit_efficiency([], BOARD, START, ("matmul",))
    with pytest.raises(ProfileError, match="operator_call_s cannot be fitted from nothing"):
        fit_efficiency(timings(BOARD), BOARD, START, ("operator_call_s",))
