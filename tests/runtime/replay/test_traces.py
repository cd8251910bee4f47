from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import ScenarioError, UsageError


@st.composite
def traces(draw: st.DrawFn) -> BandwidthTrace:
    samples = draw(
        st.lists(
            st.tuples(st.floats(0.01, 90.0), st.one_of(st.just(0.0), st.floats(1.0, 1e7))), min_size=1, max_size=12
        ).filter(lambda items: any(rate > 0 for _, rate in items))
    )
    return BandwidthTrace(np.array([s[0] for s in samples]), np.array([s[1] for s in samples]))


SIZES_BITS = st.floats(1.0, 1e9)
STARTS_S = st.floats(0.0, 1e4)


def carried_bits(trace: BandwidthTrace, start_s: float, end_s: float) -> float:
    """Integral of the rate by walking over every sample: the slow truth."""
    total, position_s = 0.0, math.floor(start_s / trace.duration_s) * trace.duration_s
    while position_s < end_s:
        for duration_s, rate_bps in zip(trace.durations_s, trace.rates_bps, strict=True):
            overlap_s = min(end_s, position_s + duration_s) - max(start_s, position_s)
            total += max(0.0, overlap_s) * rate_bps
            position_s += duration_s
    return total


def tolerance_bits(trace: BandwidthTrace, end_s: float) -> float:
    """Bits that one rounding of the clock is worth."""
    return float(trace.rates_bps.max()) * max(1.0, end_s) * 1e-12


@given(traces(), st.floats(1.0, 1e6), st.floats(0.0, 1e3))
def test_the_integral_of_the_rate_over_a_transfer_is_its_size(trace, size_bits, start_s):
    size_bits = min(size_bits, 20 * trace.mean_bps * trace.duration_s)  # the slow truth walks every period
    transfer = trace.transfer(size_bits, start_s)
    end_s = start_s + transfer.elapsed_s
    assert carried_bits(trace, start_s, end_s) == pytest.approx(size_bits, rel=1e-9, abs=tolerance_bits(trace, end_s))


@given(traces(), SIZES_BITS, SIZES_BITS, STARTS_S)
def test_carrying_more_never_ends_earlier(trace, size_bits, more_bits, start_s):
    small, large = trace.transfer(size_bits, start_s), trace.transfer(size_bits + more_bits, start_s)
    assert large.elapsed_s >= small.elapsed_s * (1 - 1e-12)


@given(traces(), SIZES_BITS, STARTS_S, st.floats(0.0, 500.0))
def test_starting_later_never_ends_earlier(trace, size_bits, start_s, delay_s):
    early, late = trace.transfer(size_bits, start_s), trace.transfer(size_bits, start_s + delay_s)
    end_s = start_s + early.elapsed_s
    assert start_s + delay_s + late.elapsed_s >= end_s - 1e-9 * max(1.0, end_s)


@given(traces(), SIZES_BITS, SIZES_BITS, STARTS_S)
def test_a_transfer_in_two_pieces_ends_where_the_whole_does(trace, first_bits, second_bits, start_s):
    whole = trace.transfer(first_bits + second_bits, start_s)
    first = trace.transfer(first_bits, start_s)
    second = trace.transfer(second_bits, start_s + first.elapsed_s)
    # A rounding of the clock at the seam may hide at most the bits of that rounding, or push past one outage.
    seam_s = 1e-9 * max(1.0, start_s + whole.elapsed_s)
    latest = trace.transfer(first_bits + second_bits + tolerance_bits(trace, start_s + whole.elapsed_s) * 10, start_s)
    assert whole.elapsed_s - seam_s <= first.elapsed_s + second.elapsed_s <= latest.elapsed_s + seam_s
    assert first.waiting_s + second.waiting_s <= latest.waiting_s + seam_s


@given(traces(), SIZES_BITS, STARTS_S)
def test_time_is_either_served_or_waited(trace, size_bits, start_s):
    transfer = trace.transfer(size_bits, start_s)
    assert 0 <= transfer.waiting_s <= transfer.elapsed_s
    assert transfer.served_s >= size_bits / trace.rates_bps.max() * (1 - 1e-9) - 1e-12 * (start_s + transfer.elapsed_s)
    if trace.outage_fraction == 0:
        assert transfer.waiting_s == 0


@given(st.floats(1.0, 1e9), st.floats(0.01, 100.0), SIZES_BITS, STARTS_S)
def test_a_constant_trace_is_a_division(rate_bps, duration_s, size_bits, start_s):
    trace = BandwidthTrace(np.full(3, duration_s), np.full(3, rate_bps))
    expected_s = size_bits / rate_bps
    clock_s = 1e-12 * (start_s + expected_s)
    assert trace.transfer(size_bits, start_s).elapsed_s == pytest.approx(expected_s, rel=1e-9, abs=clock_s)


@given(traces(), SIZES_BITS, STARTS_S, st.floats(1e3, 1e8))
def test_scaling_a_trace_is_the_same_as_scaled_samples(trace, size_bits, start_s, mean_bps):
    scaled = BandwidthTrace(trace.durations_s, trace.relative * mean_bps)
    assert scaled.mean_bps == pytest.approx(mean_bps)
    modulated = trace.transfer(size_bits, start_s, mean_bps)
    # A slow sample behind fast ones turns a rounding of the running sum into time: bracket by the bits it is worth.
    slack_bits = 1e-9 * size_bits + 1e-14 * scaled.mean_bps * scaled.duration_s
    earliest = scaled.transfer(max(0.0, size_bits - slack_bits), start_s)
    latest = scaled.transfer(size_bits + slack_bits, start_s)
    assert earliest.elapsed_s * (1 - 1e-9) - 1e-9 <= modulated.elapsed_s <= latest.elapsed_s * (1 + 1e-9) + 1e-9


def test_against_a_fine_grained_simulation():
    rng = np.random.default_rng(3)
    trace = BandwidthTrace(rng.uniform(0.5, 4.0, 9), rng.choice([0.0, 1e3, 5e3, 2e4], 9))
    step_s = 1e-3
    times_s = (np.arange(400_000) + 0.5) * step_s
    samples = np.searchsorted(np.cumsum(trace.durations_s), times_s % trace.duration_s, side="right")
    sent_bits = np.concatenate(([0.0], np.cumsum(trace.rates_bps[samples] * step_s)))
    for start_s, size_bits in zip(rng.uniform(0, 40, 50), rng.uniform(10, 9e5, 50), strict=True):
        first = round(start_s / step_s)
        last = int(np.searchsorted(sent_bits, sent_bits[first] + size_bits))
        transfer = trace.transfer(float(size_bits), first * step_s)
        assert transfer.elapsed_s == pytest.approx((last - first) * step_s, abs=0.05)
        outage_s = float((trace.rates_bps[samples[first:last]] == 0).sum()) * step_s
        assert transfer.waiting_s == pytest.approx(outage_s, abs=0.05)


OUTAGE = BandwidthTrace(np.array([2.0, 3.0, 5.0]), np.array([100.0, 0.0, 10.0]))  # 250 bits in 10 s, 3 s of outage


@pytest.mark.parametrize(
    ("size_bits", "start_s", "elapsed_s", "waiting_s"),
    [
        (0, 1.0, 0.0, 0.0),
        (100, 0.0, 1.0, 0.0),
        (200, 0.0, 2.0, 0.0),  # ends with its sample, hence before the outage
        (201, 0.0, 5.1, 3.0),
        (250, 0.0, 10.0, 3.0),  # ends with the period
        (250, 2.0, 10.0, 3.0),  # starts in the outage, ends at the end of the first sample of the next period
        (10, 3.0, 3.0, 2.0),  # starts inside the outage
        (10, 5.0, 1.0, 0.0),  # starts as the outage ends
        (10, 4.999, 1.001, 0.001),
        (250 * 1000, 0.0, 10_000.0, 3000.0),
        (250 * 1000 + 1, 0.0, 10_000.01, 3000.0),
        (10, 10_000_003.0, 3.0, 2.0),  # far into the replay
        (50, 9.0, 1.4, 0.0),  # across the seam of the period
    ],
)
def test_transfers_over_an_outage_in_closed_form(size_bits, start_s, elapsed_s, waiting_s):
    transfer = OUTAGE.transfer(size_bits, start_s)
    assert transfer.elapsed_s == pytest.approx(elapsed_s, abs=1e-8)
    assert transfer.waiting_s == pytest.approx(waiting_s, abs=1e-8)


def test_an_outage_at_the_seam_is_not_waited_for_by_a_transfer_that_ended_before_it():
    trace = BandwidthTrace(np.array([1.0, 9.0]), np.array([100.0, 0.0]))
    assert trace.transfer(100, 0.0).elapsed_s == 1.0
    assert trace.transfer(200, 0.0).elapsed_s == pytest.approx(11.0)
    assert trace.transfer(200, 0.0).waiting_s == pytest.approx(9.0)


def test_figures_of_a_trace():
    assert OUTAGE.duration_s == 10
    assert OUTAGE.mean_bps == 25
    assert OUTAGE.outage_fraction == pytest.approx(0.3)
    assert OUTAGE.relative.tolist() == [4.0, 0.0, 0.4]
    assert OUTAGE.shifted(5.0).transfer(10, 0.0).elapsed_s == pytest.approx(1.0)


def test_a_trace_is_frozen_and_keeps_no_hold_of_the_callers_arrays():
    rates_bps = np.array([1.0, 2.0])
    trace = BandwidthTrace(np.array([1.0, 1.0]), rates_bps)
    rates_bps[0] = 0.0
    assert trace.rates_bps[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        trace.rates_bps[0] = 5.0


def test_samples_of_length_zero_carry_nothing():
    trace = BandwidthTrace(np.array([1.0, 0.0, 1.0]), np.array([10.0, 1e9, 10.0]))
    assert trace.mean_bps == 10.0


@pytest.mark.parametrize(
    ("durations_s", "rates_bps", "says"),
    [
        ([], [], "at least one"),
        ([1.0], [1.0, 2.0], "as many of one"),
        ([1.0, -1.0], [1.0, 1.0], "sample 2 has a length of -1"),
        ([1.0, 1.0], [1.0, math.nan], "sample 2 has a rate of nan"),
        ([1.0, 1.0], [1.0, math.inf], "sample 2 has a rate of inf"),
        ([1.0, 1.0], [-5.0, 1.0], "sample 1 has a rate of -5"),
        ([1.0, 1.0], [5.0, 1e-320], "sample 2 has a rate of"),
        ([1e-320, 1.0], [5.0, 5.0], "sample 1 has a length of"),
        (
            [1.0, 1e300],
            [5.0, 5.0],
            "sample 2 has a length of 1e.300 s; needs zero, or a number from 1e-09 to 1e.18",
        ),
        ([0.0, 0.0], [1.0, 1.0], "length zero"),
        ([1.0, 1.0], [0.0, 0.0], "no transfer over it would ever finish"),
        ([0.0, 1.0], [5.0, 0.0], "no transfer over it would ever finish"),
    ],
)
def test_bad_samples_are_refused(durations_s, rates_bps, says):
    with pytest.raises(ScenarioError, match=says):
        BandwidthTrace(np.array(durations_s), np.array(rates_bps), "log")


@pytest.mark.parametrize(
    "arguments", [(-1, 0.0), (math.nan, 0.0), (1, -1.0), (1, math.inf), (1, 0.0, 0.0), (1, 0.0, math.nan)]
)
def test_bad_questions_are_refused(arguments):
    with pytest.raises(UsageError):
        OUTAGE.transfer(*arguments)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.5]), st.sampled_from([0.0, 1.0, 3.0])), min_size=1, max_size=5
    ),
    st.sampled_from([0.0, 0.3, 2.0, 7.9]),
    st.sampled_from([0.1, 0.5, 3.7, 20.0]),
    st.sampled_from([0.0, 0.7]),
)
@example([(0.25, 1.0), (0.25, 0.0), (0.5, 0.0)], 0.3, 0.5, 0.7)
def test_a_stretch_carries_what_transfers_over_it_carry(samples, start_s, length_s, offset_s):
    """What fits between two times by the rates of the stretch takes just that long as a transfer."""
    durations_s, rates_bps = (np.array(column) for column in zip(*samples, strict=True))
    assume((durations_s * rates_bps).sum() > 0)
    trace = BandwidthTrace(durations_s, rates_bps, offset_s=offset_s)
    edges_s, rates = trace.between(start_s, start_s + length_s)
    assert edges_s[0] == start_s
    assert edges_s[-1] == pytest.approx(start_s + length_s)
    assert (np.diff(edges_s) >= 0).all()
    size_bits = float((np.diff(edges_s) * rates).sum())
    # A last bit lost to rounding would wait for the end of an outage, hence the little less.
    took_s = trace.transfer(size_bits * (1 - 1e-9), start_s).elapsed_s
    assert took_s <= length_s * (1 + 1e-9) + 1e-9
    more_s = trace.transfer(size_bits * (1 + 1e-6) + 1e-6, start_s).elapsed_s
    assert more_s >= length_s * (1 - 1e-9) - 1e-9
