"""What is not read for certain is refused, with the line and the readings that are possible."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.replay.formats import read_recording
from hybridsplit.runtime.replay.link_trace import link_trace
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.sections.traces import RecordedTrace

STEPS_S = st.floats(0.01, 3.0)
RATES_MBPS = st.one_of(st.just(0.0), st.floats(0.001, 900.0))


def parse_trace(text: str, name: str) -> BandwidthTrace:
    return link_trace(read_recording(text, name), RecordedTrace(path=name))


def lines(stamps: object, rates: object) -> str:
    return "".join(f"{stamp!r}\t{rate!r}\n" for stamp, rate in zip(stamps, rates, strict=True))  # type: ignore[call-overload]


def json_text(*samples: tuple[object, object]) -> str:
    return json.dumps([{"duration_ms": d, "bandwidth_kbps": r, "latency_ms": 20} for d, r in samples])


def test_json_is_milliseconds_and_kilobits() -> None:
    trace = parse_trace(json_text((500, 8), (1500, 0)), "log")
    assert trace.durations_s.tolist() == [0.5, 1.5]
    assert trace.rates_bps.tolist() == [8000.0, 0.0]


def test_lines_are_seconds_and_megabits_and_a_sample_lasts_until_the_next() -> None:
    trace = parse_trace("0.0\t30\n1.5\t40\n2.5\t20\n", "log")
    assert trace.durations_s.tolist() == [1.5, 1.0, 1.25]  # the last one takes the median
    assert trace.rates_bps.tolist() == [30e6, 40e6, 20e6]


@given(st.lists(st.tuples(STEPS_S, st.lists(RATES_MBPS, min_size=1, max_size=5)), min_size=2, max_size=12))
def test_every_line_counts_and_lines_of_one_stamp_divide_its_time_evenly(
    stamps: list[tuple[float, list[float]]],
) -> None:
    edges_s = np.concatenate(([0.0], np.cumsum([step_s for step_s, _ in stamps])))[:-1]
    rows = [(float(edge_s), rate) for edge_s, (_, rates) in zip(edges_s, stamps, strict=True) for rate in rates]
    rates_mbps = [rate for _, rate in rows]
    if not any(rates_mbps):
        return
    trace = parse_trace(lines([stamp for stamp, _ in rows], rates_mbps), "log")
    lasting_s = np.append(np.diff(edges_s), np.median(np.diff(edges_s)))
    expected_bits = sum(
        duration_s * float(np.mean(rates)) * 1e6 for duration_s, (_, rates) in zip(lasting_s, stamps, strict=True)
    )
    assert len(trace.rates_bps) == len(rows)
    assert trace.duration_s == pytest.approx(lasting_s.sum())
    assert trace.mean_bps * trace.duration_s == pytest.approx(expected_bits, rel=1e-9)


def test_four_lines_a_second_keep_their_outages() -> None:
    rates_mbps = [12.0, 0.0, 12.0, 12.0] * 30
    trace = parse_trace(lines([index // 4 for index in range(120)], rates_mbps), "log")
    assert trace.outage_fraction == pytest.approx(0.25)
    assert trace.mean_bps == pytest.approx(9e6)
    assert trace.transfer(6e6, 0.25).elapsed_s == pytest.approx(0.75)  # an outage of a quarter, then half a second


TICKS = list(range(20))
STEADY = [7.5] * 20


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lines([1000 * t for t in TICKS], [7000 + t for t in TICKS]), "line 1 to line 20: .*by 1000.*16.7 min.*1.00 s"),
        (lines([250 * t for t in TICKS], STEADY), "250 ms = 250 ms"),
        (lines([20 * t for t in TICKS], STEADY), "20.0 s, or 20 ms = 20 ms"),
        (lines([7e11 + 5 * t for t in TICKS], STEADY), "line 1: found the time 700000000000; .*year 2096"),
        (lines([*range(12), *range(12)], [7.5] * 24), "line 13: the time goes back from 11 s to 0 s; .*two recordings"),
        (lines([t / 86_400 for t in TICKS], STEADY), "rises by 1.15741e-05 .*minutes, hours or days"),
        (lines(TICKS, [3 + 400 * t for t in TICKS]), "line 20: .* has 7603, .*7.6 Gbit/s, or 7603 kbit/s"),
        (lines(TICKS, [2.5e7] * 20), "line 1: the second column has 2.5e\\+07"),
        (lines([t + 7200 * (t > 8) for t in TICKS], STEADY), "line 9: the sample lasts 120.0 min, .*paused"),
        (json_text((1000, 8), (1000, 8), (9_000_000, 8), (1000, 8)), "item 3: the sample lasts 150.0 min, .*paused"),
        (json_text((1000, 4e9), (1000, 8)), "item 1: found a rate of 4e\\+12 bit/s"),
        (json_text((1000, 8), (1000, 1e-4)), "item 2: found a rate of 0.1 bit/s"),
        ("# ms kbit/s\n0 5\n1 5\n", "line 1: found '# ms kbit/s', a comment which may state other units \\(ms\\)"),
        ("0 5\n1 5 // handover\n", "line 2: found '1 5 // handover', not two numbers"),
        ("0\n0\n3\n4\n", "line 1: found '0', one number: packet times"),
        ("0,5\n1,5\n", "line 1: found '0,5', columns that are split at commas"),
        ("0\t5\t20\n1\t5\t20\n", "line 1: found .*, 3 columns"),
        ("0 1_000\n1 1_000\n", "not two numbers"),
        ("\u0660 5\n\u0661 5\n", "not two numbers"),
        ("0 5\n0 7\n0 9\n", "all samples have length zero, for each, from line 1 on, is at 0 s"),
        ("0 5\n1 " + "9" * 400 + "\n", "line 2: the second column|line 2 has a rate of inf"),
        ("9" * 400 + " 5\n" + "9" * 400 + " 5\n", "line 1: found the time inf"),
        ("0 5\n" + "9" * 400 + " 5\n", "line 2: found the time inf"),
        ("0 5\n1 1e-320\n", "line 2 has a rate of"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": ' + "8" * 400 + "}]", "item 1 has a rate of inf"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": ' + "8" * 5000 + "}]", "item 1 has a rate of inf"),
        ('[{"duration_ms": 1e-320, "bandwidth_kbps": 8}]', "length"),
        ('[{"duration_ms": 9, "duration_ms": 8, "bandwidth_kbps": 8}]', "'duration_ms' twice"),
        ('[{"duration_ms": "' + "x" * 99_999 + '"}]', "found duration_ms = 'xxx"),
        ("[" * 99_999, "begins like JSON"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_is_in_doubt_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says) as caught:
        parse_trace(text, "log")
    assert str(caught.value).startswith("log")
    assert len(str(caught.value)) < 600


@given(st.floats(0.01, 9.0), st.lists(st.floats(0.001, 900.0), min_size=2, max_size=30), st.integers(0, 1_700_000_000))
def test_seconds_and_megabits_within_the_limits_are_read(step_s: float, rates_mbps: list[float], begin_s: int) -> None:
    stamps_s = [begin_s + index * step_s for index in range(len(rates_mbps))]
    trace = parse_trace(lines(stamps_s, rates_mbps), "log")
    assert trace.rates_bps.tolist() == pytest.approx([rate * 1e6 for rate in rates_mbps])
    assert trace.duration_s == pytest.approx(step_s * len(rates_mbps), rel=1e-3)


def test_gaps_as_long_as_links_really_have_are_samples() -> None:
    stamps_s = [t if t < 9 else t + 86 for t in TICKS]
    assert parse_trace(lines(stamps_s, STEADY), "log").duration_s == 106
