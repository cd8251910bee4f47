"""What recorders really write is read as its makers mean it, and refused where two readings are possible."""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.formats import Recording, read_recording
from hybridsplit.runtime.replay.formats.channel_indices import TABLES, efficiencies
from hybridsplit.runtime.replay.trace_files import assign_traces, load_recording, scenario_traces
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from tests.runtime.replay.conftest import make_plan, make_scenario

DRIVE = (
    "Timestamp,Longitude,Speed,State,PINGAVG,CQI,DL_bitrate,UL_bitrate\r\n"
    "2019.11.28_07.27.58,-8.4,12,D,-,11,1000,200\r\n"
    "2019.11.28_07.27.59,-8.4,13,D,40,12,0,100\r\n"
    "2019.11.28_07.28.01,-8.4,15,D,-,15,3000,400\r\n"
)


def read(text: str, **options: Any) -> Recording:
    return read_recording(text, "log", **options)


def series(trace: BandwidthTrace | None) -> tuple[list[float], list[float]]:
    assert trace is not None
    return trace.durations_s.tolist(), trace.rates_bps.tolist()


def test_a_drive_log_has_both_directions_and_half_its_round_trips() -> None:
    found = read(DRIVE)
    assert found.both is None
    assert series(found.down) == ([1.0, 2.0, 1.5], [1e6, 0.0, 3e6])
    assert series(found.up) == ([1.0, 2.0, 1.5], [2e5, 1e5, 4e5])
    assert found.down is not None
    assert found.down.latency_s is not None
    assert found.down.latency_s.tolist() == pytest.approx([0.02] * 3)  # what was measured first holds before, too


def test_recorded_indices_are_spectral_efficiencies_by_the_named_table() -> None:
    found = read(DRIVE, index_table="cqi-1")
    assert found.both is not None
    assert found.both.is_per_hertz
    expected = [6 * 567 / 1024, 6 * 666 / 1024, 6 * 948 / 1024]
    assert series(found.both)[1] == pytest.approx(expected)
    assert series(read("time_s,mcs_table2\n0,20\n1,27\n").both)[1] == pytest.approx([8 * 682.5 / 1024, 8 * 948 / 1024])
    assert series(read("time_s,cqi\n0,0\n1,7\n", index_table="cqi-2").both)[1] == pytest.approx([0, 6 * 466 / 1024])


@pytest.mark.parametrize("table", TABLES)
def test_tables_rise_from_their_first_index_to_their_last(table: str) -> None:
    rows = efficiencies(table)
    assert list(rows) == list(range(len(rows)))
    figures = list(rows.values())
    # MCS 17 of table 1 carries a little less than 16: the two straddle a change of modulation, as 3GPP has it.
    assert sum(after <= before for before, after in itertools.pairwise(figures)) <= 1
    assert max(figures) == pytest.approx({"cqi-1": 5.5547, "cqi-2": 7.4063, "mcs-1": 5.5547, "mcs-2": 7.4063}.get(
        table, 4.5234), abs=1e-4)  # fmt: skip


EPOCH = datetime(2024, 3, 30, 23, 59, 57, tzinfo=UTC)


def times(written: str, seconds: float) -> str:
    when = EPOCH + timedelta(seconds=seconds)
    match written:
        case "iso":
            return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
        case "offset":
            return (when + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%d %H:%M:%S.%f") + "+05:30"
        case "underscore":
            return when.strftime("%Y.%m.%d_%H.%M.%S.%f")
        case "slashes":
            return when.strftime("%Y/%m/%d %H:%M:%S,%f")
        case _:
            factor = {"epoch-s": 1, "epoch-ms": 1e3, "epoch-us": 1e6, "epoch-ns": 1e9}[written]
            return repr(when.timestamp() * factor)


WAYS = ["iso", "offset", "underscore", "slashes", "epoch-s", "epoch-ms", "epoch-us", "epoch-ns"]


@pytest.mark.parametrize("written", WAYS)
@given(steps=st.lists(st.floats(0.05, 5.0), min_size=2, max_size=8))
def test_a_time_may_be_written_in_any_way_that_leaves_no_doubt(written: str, steps: list[float]) -> None:
    edges = np.concatenate(([0.0], np.cumsum(steps)))
    rows = [f"{times(written, float(edge))};{index + 1}" for index, edge in enumerate(edges)]
    trace = read("Timestamp;throughput [Mbit/s]\n" + "\n".join(rows)).both
    assert trace is not None
    assert trace.durations_s[:-1] == pytest.approx(np.diff(edges), abs=2e-6 + 1e-7 * edges[-1])
    assert trace.rates_bps.tolist() == [1e6 * (index + 1) for index in range(len(edges))]
    lines = [row.replace(";", "\t") for row in rows]
    if written != "slashes":
        assert series(read("\n".join(lines)).both)[1] == trace.rates_bps.tolist()


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("time_s,dl_mbps", 1e6),
        ("time_s,DL throughput (kbit/s)", 1e3),
        ("time_s,downlink_bps", 1.0),
        ("time_s,Download [Gbps]", 1e9),
        ("t (s),downlink rate kbit_s", 1e3),
        ("seconds,dl Mb/s", 1e6),
    ],
)
def test_units_are_those_that_the_header_states(header: str, unit: float) -> None:
    found = read(f"# a comment\n{header}\n\n0,5\n2,8\n")
    assert series(found.down) == ([2.0, 2.0], [5 * unit, 8 * unit])


def test_columns_may_state_lengths_or_date_and_time_apart() -> None:
    assert series(read("duration_ms\trate_kbps\n500\t8\n250\t0\n").both) == ([0.5, 0.25], [8000.0, 0.0])
    apart = read("Date,Time,ul_mbps\n2024-01-01,00:00:01,3\n2024-01-01,00:00:03,4\n")
    assert series(apart.up) == ([2.0, 2.0], [3e6, 4e6])


def test_late_lines_are_put_in_order_and_a_file_that_begins_with_its_end_is_turned_round() -> None:
    ordered = read("time_s,dl_mbps\n" + "".join(f"{t},{t + 1}\n" for t in range(9)))
    swapped = [0, 1, 3, 2, 4, 5, 8, 6, 7]
    late = read("time_s,dl_mbps\n" + "".join(f"{t},{t + 1}\n" for t in swapped))
    assert series(late.down) == series(ordered.down)
    assert late.notes == ("2 of its samples come late, the first at line 5; put in order",)
    newest = read("".join(f"{t} {t + 1}\n" for t in reversed(range(9))))
    assert series(newest.both)[1] == series(ordered.down)[1]
    assert "newest" in newest.notes[0]


@pytest.mark.parametrize("header", ["", "time_s,dl_mbps\n"])
def test_samples_of_one_stamp_at_rate_zero_are_a_stall(header: str) -> None:
    split = "," if header else " "
    rows = [*((second, 8.0) for second in range(4)), *((4, 0.0) for _ in range(3)), (4, 9.0), (12, 8.0), (13, 8.0)]
    found = read(header + "".join(f"{stamp}{split}{rate}\n" for stamp, rate in rows))
    trace = found.both or found.down
    assert trace is not None
    assert trace.outage_fraction * trace.duration_s == pytest.approx(6.0)
    assert trace.transfer(8e6, 4.0).waiting_s == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,dl_mbps\n0,5\n1,6\n", "line 2: found the time 0, whose unit .*time_s or time_ms"),
        ("time_s,rate_mbps,dl_mbps\n0,5,6\n1,6,7\n", "a column of rates and one only; found several, rate_mbps, dl_"),
        ("time_s,dl_mbps,downlink_kbps\n0,5,6\n1,6,7\n", "for each direction and one only"),
        ("time_s,throughput\n0,5\n1,6\n", "the column throughput names no unit"),
        ("time_s,dl_MB/s\n0,5\n1,6\n", "the column dl_MB/s names no unit in bits"),
        ("time_s,rsrp_dbm\n0,-90\n1,-91\n", "found the columns time_s, rsrp_dbm"),
        ("Timestamp,dl_mbps\n28/11/2019 07:27:58,5\n", "line 2: .*order of day and month is in doubt"),
        ("Timestamp,dl_mbps\n2019-13-28 07:27:58,5\n", "line 2: .*there is no such date"),
        ("Timestamp,dl_mbps\n2019-11-28 07:27:58,5\n2019-11-28 07:27:59Z,5\n", "line 3: .*time zone in all lines"),
        ("Timestamp,dl_mbps\n1700000000,5\n1700000001000,5\n", "line 3: .*times of one kind"),
        ("time_s,dl_mbps\n0,5\n1,-\n", "line 3: found dl_mbps = '-'; needs a number, 0 for an outage"),
        ('time_s;dl_mbps\n0;5,5\n1;6\n', "line 2: .*a decimal comma is not read"),
        ("time_s,dl_mbps\n0,5\n1,6,7\n", "line 3: found 3 columns; needs 2"),
        ("time_s,dl_mbps,ping_ms\n0,5,12\n1,6,-4\n", "line 3: found ping_ms = '-4'"),
        ("time_s,dl_mbps,latency_ms\n0,5,12\n1,6,4e6\n", "line 3: found a latency of 4000 s"),
        ("time_s,dl_cqi\n0,5\n1,6\n", "records indices \\(dl_cqi\\), .*needs index_table: cqi-1"),
        ("time_s,cqi_table1\n0,5\n1,16\n", "line 3: found the index 16; needs a whole number from 0 to 15"),
        ("time_s,mcs_table2\n0,5\n1,28\n", "line 3: found the index 28; .*reserved"),
        ("time_s,cqi_table3\n0,5\n1,6\n", "records indices"),
        ("time_s,cqi_table1\n0,5\n1,inf\n", "line 3: found the index inf"),
        ("time_s,cqi_table1\n0,5\n1,nan\n", "line 3: found the index nan"),
        ("5\n6\n7\n", "line 1: found '5', one number: packet times"),
        ("# nothing\n# else\n", "comments only"),
        ('{"a": 1}', "a JSON object that iperf3 did not write"),
        ('[{"duration_ms": 9, "bandwidth_kbps": 8, "latency_ms": "x"}]', "item 1: found latency_ms = 'x'"),
        ('[{"duration_ms": 9, "bandwidth_kbps": 8, "latency_ms": -1}]', "item 1: found a latency of -0.0005 s"),
    ],
)  # fmt: skip
def test_what_may_mean_two_things_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says) as caught:
        read(text)
    assert str(caught.value).startswith("log")
    assert len(str(caught.value)) < 900


@given(st.lists(st.integers(0, 400), min_size=50, max_size=120).filter(lambda gaps: gaps[0] > 0))
def test_packets_have_passed_when_their_file_says(gaps_ms: list[int]) -> None:
    stamps_ms = np.cumsum(gaps_ms)
    trace = read("\n".join(map(str, stamps_ms.tolist()))).both
    assert trace is not None
    assert trace.duration_s == pytest.approx(stamps_ms[-1] / 1e3)
    assert trace.mean_bps * trace.duration_s == pytest.approx(12_000 * len(stamps_ms))
    for stamp_ms in {stamps_ms[0], stamps_ms[len(stamps_ms) // 2], stamps_ms[-1]}:
        passed = int((stamps_ms <= stamp_ms).sum())
        transfer = trace.transfer(passed * 12_000 * (1 - 1e-9), 0.0)
        assert transfer.elapsed_s == pytest.approx(stamp_ms / 1e3, abs=1e-6)
    silent_ms = sum(gap - 1 for gap in gaps_ms if gap > 100)
    assert trace.outage_fraction * trace.duration_s == pytest.approx(silent_ms / 1e3)


def test_a_recording_of_too_many_lines_is_refused_before_it_is_read() -> None:
    with pytest.raises(ScenarioError, match=r"found 1,000,001 lines; needs a recording of at most 1,000,000"):
        read("time_s,dl_mbps\n" + "1,1\n" * 1_000_000)
    assert read("".join(f"{stamp}\n" for stamp in range(1_000_002))).both is not None
    with pytest.raises(ScenarioError, match=r"^log, line 60: found 1e\+19; needs packet times in ms"):
        read("1\n" * 59 + "9" * 19 + "\n")


def test_a_packet_at_zero_passes_at_the_end_of_the_period_before() -> None:
    trace = read("0\n0\n10\n20\n", suffix=".down").down
    durations_s, rates_bps = series(trace)
    assert durations_s == [0.01, 0.01]
    assert rates_bps == pytest.approx([1.2e6, 3 * 1.2e6])


def test_files_of_packet_times_are_a_pair(tmp_path: Path) -> None:
    (tmp_path / "bus.up").write_text("\n".join(map(str, range(0, 900, 10))))
    (tmp_path / "bus.down").write_text("\r\n".join(map(str, range(0, 900, 2))))
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "LICENSE-MIT.txt").write_text("x")
    found = load_recording(tmp_path / "bus.down")
    assert found.up is not None
    assert found.down is not None
    assert found.down.mean_bps == pytest.approx(5 * found.up.mean_bps, rel=0.02)
    with pytest.warns(InputWarning, match=r"not read as recordings: LICENSE-MIT.txt, notes.md"):
        dealt = assign_traces(tmp_path, ["a", "b"], 0)
    assert {trace.name for trace in dealt.values()} == {str(tmp_path / "bus.down")}
    up, down = (dealt["b"].towards(up=up) for up in (True, False))
    assert up is not None
    assert down is not None
    assert up.offset_s == down.offset_s == dealt["b"].offset_s > 0
    (tmp_path / "bus.up").write_text("time_s,rate_mbps\n0,5\n1,6\n")
    with pytest.raises(
        ScenarioError, match=r"bus.down: lies beside bus.up, and the two do not state one direction each"
    ):
        load_recording(tmp_path / "bus.down")
    (tmp_path / "bus.up").write_text("5\n3\n")
    with pytest.raises(ScenarioError, match=r"bus.up, line 2: the time goes back from 5 ms to 3 ms"):
        load_recording(tmp_path / "bus.down")


def iperf3(**changes: Any) -> dict[str, Any]:
    def total(second: int, size: int, *, omitted: bool = False) -> dict[str, Any]:
        return {"start": second, "end": second + 1.0, "seconds": 1.0, "bytes": size, "omitted": omitted, "sender": True}

    sizes = [9, 250_000, 0, 500_000]
    document = {
        "start": {"test_start": {"protocol": "TCP", "reverse": 0}},
        "intervals": [
            {"sum": total(second, size, omitted=second == 0), "sum_bidir_reverse": total(second, 4 * size)}
            for second, size in enumerate(sizes)
        ],
        "end": {"streams": [{"sender": {"min_rtt": 30_000}}, {"sender": {"min_rtt": 50_000}}]},
    }
    return {**document, **changes}


def test_iperf3_gives_bytes_of_intervals_and_half_its_smallest_round_trip() -> None:
    found = read(json.dumps(iperf3()))
    assert series(found.up) == ([1.0, 1.0, 1.0], [2e6, 0.0, 4e6])
    assert series(found.down) == ([1.0, 1.0, 1.0], [8e6, 0.0, 16e6])
    assert found.up is not None
    assert found.up.latency_s is not None
    assert found.up.latency_s.tolist() == [0.015] * 3
    assert found.notes == ("1 of its 4 intervals were to be omitted; left out",)
    one_way = iperf3(start={"test_start": {"protocol": "TCP", "reverse": 1}}, end={})
    for interval in one_way["intervals"]:
        del interval["sum_bidir_reverse"]
    reverse = read(json.dumps(one_way))
    assert reverse.up is None
    assert series(reverse.down)[1] == [2e6, 0.0, 4e6]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"error": "unable to connect"}, "iperf3 stopped with 'unable to connect'"),
        ({"intervals": []}, "no intervals"),
        ({"start": {}}, "no start.test_start"),
        ({"start": {"test_start": {"protocol": "UDP"}}}, "interval 2: counts what was sent by UDP"),
        ({"intervals": [{"sum": {"start": 0, "end": 1}}]}, "interval 1: sum.bytes: found None"),
        ({"intervals": [3]}, "interval 1: sum.start: found None"),
        ({"intervals": [{"sum": {"start": s, "end": s + 1, "bytes": 9}} for s in (0, 5)]}, "interval 2: begins at 5 s"),
    ],
)  # fmt: skip
def test_a_test_of_iperf3_that_counts_nothing_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        read(json.dumps(iperf3(**changes)))


def quickstart(folder: Path, trace: str) -> Any:
    (folder / "drive.csv").write_text(DRIVE, encoding="utf-8")
    return load_scenario("quickstart", [f"clients.pi4.link.trace={trace.replace('@', str(folder))}"])


def test_a_scenario_says_what_is_taken_of_a_recording(tmp_path: Path) -> None:
    def found(trace: str) -> BandwidthTrace:
        scenario = quickstart(tmp_path, trace)
        return next(iter(scenario_traces(scenario).values()))

    alike = found("@/drive.csv")
    up, down = alike.towards(up=True), alike.towards(up=False)
    assert series(up)[1] == [2e5, 1e5, 4e5]
    assert series(down)[1] == [1e6, 0.0, 3e6]
    assert not alike.is_absolute
    only = found("{path: @/drive.csv, use: absolute, direction: up, past_the_end: hold}")
    assert only.is_absolute
    assert only.towards(up=False) is None
    held = only.towards(up=True)
    assert held is not None
    assert held.past_the_end == "hold"
    on_band = found("{path: @/drive.csv, use: absolute, index_table: cqi-1, band_hz: 10 MHz}")
    assert series(on_band.towards(up=True))[1] == pytest.approx([1e7 * 6 * rate / 1024 for rate in (567, 666, 948)])


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ("{path: nowhere.csv}", r"clients.0.link.trace.path: no such file"),
        ("{path: @/drive.csv, use: absolut}", r"clients.0.link.trace.use: found 'absolut'; .*did you mean 'absolute'"),
        ("{path: @/drive.csv, used: x}", r"clients.0.link.trace.used: unknown key 'used'; did you mean 'use'"),
        ("{use: absolute}", r"clients.0.link.trace.path: this key is needed and absent"),
        ("7", r"clients.0.link.trace: found 7; needs"),
    ],
)
def test_a_trace_that_is_none_is_named_by_its_key(tmp_path: Path, trace: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        quickstart(tmp_path, trace)


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ("{path: @/drive.csv, index_table: mcs-1}", "clients.0.link.trace: .*drive.csv: "),
        ("{path: @/drive.csv, index_table: cqi-1, use: absolute}", "bit/s per Hz.*needs band_hz"),
        ("{path: @/down.csv, direction: up}", "down.csv: has rates down only, and direction is 'up'"),
    ],
)
def test_what_a_recording_lacks_is_known_when_planning(tmp_path: Path, trace: str, says: str) -> None:
    (tmp_path / "down.csv").write_text("time_s,dl_mbps\n0,5\n1,6\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=says):
        profile_scenario(quickstart(tmp_path, trace))


def test_one_direction_that_both_follow_is_said(tmp_path: Path) -> None:
    (tmp_path / "down.csv").write_text("time_s,dl_mbps\n0,5\n1,6\n", encoding="utf-8")
    with pytest.warns(InputWarning, match="down.csv: has downlink rates only; the other direction follows them"):
        (trace,) = assign_traces(tmp_path, ["a"], 0).values()
    assert series(trace.towards(up=True)) == series(trace.towards(up=False)) == ([1.0, 1.0], [5e6, 6e6])


def test_directions_and_absolute_rates_reach_the_replay(tmp_path: Path) -> None:
    """One client, all shares 1: uplink transfers take recorded seconds, downlink ones planned seconds."""
    (tmp_path / "up.csv").write_text("time_s,ul_kbps\n0,250\n50,250\n", encoding="utf-8")

    def replayed(trace: Any, *, absolute: bool = False) -> dict[str, float]:
        link = {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0, "trace": trace}
        scenario = make_scenario(1, link=link)
        found = replay(make_plan(scenario), scenario, num_rounds=1, uses_recorded_rates=absolute)
        return {str(entry.phase): entry.seconds for entry in found.entries}

    path = str(tmp_path / "up.csv")
    constant = replayed(None)
    assert replayed(path) == pytest.approx(constant)  # a constant recording changes nothing unless it is absolute
    up = replayed({"path": path, "use": "absolute", "direction": "up"})
    assert up["uplink"] == pytest.approx(500_000 * 8 / 250e3)
    assert up["downlink"] == pytest.approx(constant["downlink"])
    both = replayed({"path": path, "use": "absolute"})
    assert both["downlink"] == pytest.approx(500_000 * 8 / 250e3)
    assert replayed(path, absolute=True) == pytest.approx(both)


WHOLE = [
    DRIVE,
    "time_ms\tdl_mbps\trtt_ms\n" + "".join(f"{250 * t}\t{t % 7}\t{20 + t}\n" for t in range(12)),
    "Date;Time;ul_kbps\n" + "".join(f"2024-01-01;00:00:{t:02d};{t}\n" for t in range(12)),
    "time_s,cqi_table2\n" + "".join(f"{t},{t % 16}\n" for t in range(12)),
    "".join(f"{1_700_000_000_000 + 200 * t}\t{t}\n" for t in range(12)),
    "".join(f"{7 * t}\n" for t in range(60)),
    json.dumps(iperf3()),
    json.dumps([{"duration_ms": 500, "bandwidth_kbps": 9 * t, "latency_ms": t} for t in range(12)]),
]
BITS = [
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "9" * 30,
    ",",
    ";",
    "\t",
    "\n",
    '"',
    "#",
    "\0",
    "١",
    "2019-02-30T00:00:00",
    "{",
    "null",
]


@settings(max_examples=300)
@given(
    st.sampled_from(WHOLE), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(BITS)), max_size=4)
)
def test_whatever_is_damaged_is_read_or_refused(text: str, damage: list[tuple[float, int, str]]) -> None:
    for place, length, instead in damage:
        at = int(place * len(text))
        text = text[:at] + instead + text[at + length :]
    for index_table in (None, "cqi-1", "mcs-3"):
        with contextlib.suppress(ScenarioError):
            found = read(text, index_table=index_table)
            assert any(trace is not None for trace in (found.both, found.up, found.down))
