"""What ends with a recording's last bits before an outage ends there, whatever rounding leaves of it.

On and off in turn for 0.1 s each at 1 bit/s: n tenths of a bit are through with the n-th stretch. In floating point
about half of these sums come out a little above what was asked for, and half a little below.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import simpy

from hybridsplit.runtime.replay.allocation import EqualParts, EqualRates, ProportionalFair, Rule
from hybridsplit.runtime.replay.dispatch import Dispatcher
from hybridsplit.runtime.replay.divided import DividedResource
from hybridsplit.runtime.replay.fades import Fades
from hybridsplit.runtime.replay.services import RecordedService
from hybridsplit.runtime.replay.speeds import RecordedSteps
from hybridsplit.runtime.replay.traces import BandwidthTrace

TENTHS = range(1, 200)
ON_AND_OFF = BandwidthTrace(np.array([0.1, 0.1]), np.array([1.0, 0.0]))


def ends_s(tenths: int) -> float:
    """Where the n-th stretch ends, by fractions."""
    return float(Fraction(2 * tenths - 1, 10))


def summed(tenths: int) -> float:
    """The bits of so many stretches, added one by one, which rounds otherwise than their product."""
    return float(sum([0.1] * tenths))


@pytest.mark.parametrize("size", [lambda n: n / 10, lambda n: n * 0.1, summed], ids=["quotient", "product", "sum"])
def test_a_transfer_ends_where_the_outage_begins(size) -> None:
    for tenths in TENTHS:
        assert ON_AND_OFF.transfer(size(tenths), 0.0).elapsed_s == pytest.approx(ends_s(tenths), rel=1e-9)


def test_a_recording_that_fails_at_its_end_carries_all_that_it_has() -> None:
    for tenths in TENTHS:
        once = BandwidthTrace(np.full(tenths, 0.1), np.ones(tenths), past_the_end="fail")
        for size_bits in (tenths / 10, tenths * 0.1, summed(tenths)):
            assert once.transfer(size_bits, 0.0).elapsed_s == pytest.approx(tenths / 10, rel=1e-9)


def test_a_small_transfer_late_in_a_recording_is_not_lost_in_its_sums() -> None:
    """A bit behind 1e15 others takes its second, and an outage before it is waited out."""
    late = BandwidthTrace(np.array([1e6, 2.0, 10.0]), np.array([1e9, 0.0, 1.0]))
    assert late.transfer(1.0, 1e6).elapsed_s == pytest.approx(3.0)
    assert late.transfer(1.0, 1e6).waiting_s == pytest.approx(2.0)


@pytest.mark.parametrize("rule", [EqualParts(), EqualRates(), ProportionalFair(1, 0.5)])
def test_a_divided_radio_ends_where_the_outage_begins(rule: Rule) -> None:
    for tenths in range(1, 60):
        environment = simpy.Environment()
        resource = DividedResource(environment, rule, 1)
        steps = RecordedSteps.of(ON_AND_OFF, ON_AND_OFF.mean_bps)
        environment.run(until=resource.serve(0, tenths / 10, steps.begun(0.0, 0.0)))
        assert environment.now == pytest.approx(ends_s(tenths), rel=1e-9)


def test_service_by_priority_ends_where_the_fade_begins() -> None:
    """A less urgent client would go first if the last bit were left to the time after the fade."""
    for tenths in range(1, 60):
        environment = simpy.Environment()
        dispatcher = Dispatcher(environment, 1e-12)
        fading = Fades(ON_AND_OFF, 0.5)
        first = dispatcher.serve(9.0, 0, RecordedService(tenths / 10, ON_AND_OFF, fading, None, 0.0))
        environment.run(until=first)
        assert environment.now == pytest.approx(ends_s(tenths), rel=1e-9)
