"""What comes after a recording's last sample: the first one, the last rate for ever, or an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import RunError, ScenarioError
from tests.runtime.replay.conftest import make_plan, make_scenario
from tests.runtime.replay.test_traces import traces

SIZES_BITS = st.floats(1.0, 1e9)
STARTS_S = st.floats(0.0, 1e4)


@given(traces(), SIZES_BITS, STARTS_S)
def test_held_is_the_same_as_a_very_long_last_sample(trace: BandwidthTrace, size_bits: float, start_s: float) -> None:
    assume(trace.rates_bps[-1] > 0)
    longer = trace.durations_s.copy()
    longer[-1] += start_s + 2 * size_bits / trace.rates_bps[-1]
    expected = BandwidthTrace(longer, trace.rates_bps).transfer(size_bits, start_s)
    held = replace(trace, past_the_end="hold").transfer(size_bits, start_s)
    # One rounding of the running sum of bits is worth this time on the slowest sample.
    slack_s = 1e-9 * (start_s + expected.elapsed_s) + 1e-12 * size_bits / trace.rates_bps[trace.rates_bps > 0].min()
    assert held.elapsed_s == pytest.approx(expected.elapsed_s, rel=1e-6, abs=slack_s)
    assert held.waiting_s == pytest.approx(expected.waiting_s, rel=1e-6, abs=slack_s)


@given(traces(), SIZES_BITS, STARTS_S)
def test_fail_gives_what_a_loop_gives_or_stops(trace: BandwidthTrace, size_bits: float, start_s: float) -> None:
    once = replace(trace, past_the_end="fail")
    looped = trace.transfer(size_bits, start_s)
    clock_s = 1e-9 * (start_s + looped.elapsed_s + trace.duration_s)
    if start_s + looped.elapsed_s > trace.duration_s + clock_s:
        with pytest.raises(RunError, match=r"must not repeat.*past_the_end: loop"):
            once.transfer(size_bits, start_s)
    elif start_s + looped.elapsed_s < trace.duration_s - clock_s:
        assert once.transfer(size_bits, start_s) == looped


def test_an_outage_at_the_end_cannot_be_held() -> None:
    trace = BandwidthTrace(np.array([1.0, 1.0]), np.array([8.0, 0.0]), "bus.json", past_the_end="hold")
    assert trace.transfer(8.0, 0.0).elapsed_s == pytest.approx(1.0)
    with pytest.raises(RunError, match=r"^bus.json: .* at rate zero, which would be held for ever"):
        trace.transfer(9.0, 0.0)


def test_a_delay_belongs_to_every_sample_that_counts() -> None:
    trace = BandwidthTrace(np.array([1.0, 0.0, 2.0]), np.array([8.0, 9.0, 7.0]), latency_s=np.array([0.1, 0.2, 0.3]))
    assert trace.latency_s is not None
    assert trace.latency_s.tolist() == [0.1, 0.3]
    for bad in ([0.1], [0.1, -0.2, 0.3], [0.1, np.nan, 0.3]):
        with pytest.raises(ScenarioError, match="needs one number of seconds for each sample"):
            BandwidthTrace(np.array([1.0, 0.0, 2.0]), np.array([8.0, 9.0, 7.0]), latency_s=np.array(bad))


def test_days_that_are_too_short_are_held_looped_or_refused() -> None:
    """Three rounds in order over a recording that begins well and ends badly, and lasts about two rounds."""
    scenario = make_scenario(1)
    plan = make_plan(scenario)
    (client,) = plan.clients
    round_s = plan.round_latency_s
    trace = BandwidthTrace(np.array([1.5 * round_s, 0.5 * round_s]), np.array([4e6, 1e6]), "day")
    totals_s = {}
    for policy in ("loop", "hold", "fail"):
        once = replace(trace, past_the_end=policy)
        if policy == "fail":
            with pytest.raises(RunError, match=r"^day: the recording ends after"):
                replay(plan, scenario, num_rounds=4, traces={client.id: once})
        else:
            totals_s[policy] = replay(plan, scenario, num_rounds=4, traces={client.id: once}).total_s
    assert totals_s["hold"] > 1.2 * totals_s["loop"]
