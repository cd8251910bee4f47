from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.trace_files import assign_traces, load_trace, scenario_traces
from hybridsplit.scenarios.errors import InputWarning, ScenarioError

REAL_TRACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "traces"
needs_real_traces = pytest.mark.skipif(
    not (REAL_TRACES / "index.csv").is_file(), reason=f"the recorded traces are not at {REAL_TRACES}"
)


def json_text(*samples: tuple[object, object]) -> str:
    return json.dumps([{"duration_ms": d, "bandwidth_kbps": r, "latency_ms": 20} for d, r in samples])


def test_the_format_is_told_by_content(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("\ufeff  " + json_text((1000, 8)), encoding="utf-8")
    assert load_trace(path).mean_bps == 8000.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        ("{}", "JSON object"),
        ("[", "begins like JSON"),
        ("[]", "at least one"),
        ("[1]", "item 1: found duration_ms = None"),
        (json_text(("1", 5)), "item 1: found duration_ms = '1'"),
        (json_text((True, 5)), "item 1: found duration_ms = True"),
        ('[{"duration_ms": 1000}]', "item 1: found bandwidth_kbps = None"),
        (json_text((1000, 5), (-1, 5)), "item 2 has a length"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": NaN}]', "item 1 has a rate of nan"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": Infinity}]', "item 1 has a rate of inf"),
        (json_text((1000, 0), (10, 0)), "no transfer over it would ever finish"),
        ("0 5", "two or more"),
        ("0 5\n1 nan", "line 2 has a rate of nan"),
        ("0 5\nnan 5\n2 5", "line 2: found the time nan; needs a finite number"),
        ("0 5\n1 -5", "line 2 has a rate of -5"),
        ("0 0\n1 0", "no transfer over it would ever finish"),
        ("0 5\n1", "line 2: found '1'"),
        ("time,rate\n0,5", "line 2: found the time 0, whose unit the column's name does not state"),
    ],
)
def test_bad_files_are_refused_with_their_name(text, says, tmp_path):
    path = tmp_path / "log.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=says) as caught:
        load_trace(path)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_trace(tmp_path / "absent.json")
    (tmp_path / "noise.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_trace(tmp_path / "noise.txt")


def test_files_are_dealt_in_a_seeded_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for index, name in enumerate(["b.json", "a.json", "sub/c.json"]):
        (tmp_path / name).write_text(json_text((1000, 8 + index), (1000, 90)), encoding="utf-8")
    ids = [f"pi-{index}" for index in range(7)]
    dealt = assign_traces(tmp_path, ids, seed=1)
    again = assign_traces(tmp_path, ids, seed=1)
    assert list(dealt) == ids
    assert [(t.name, t.offset_s) for t in dealt.values()] == [(t.name, t.offset_s) for t in again.values()]
    names = [trace.name for trace in dealt.values()]
    assert len(set(names[:3])) == 3
    assert names[3:6] == names[:3]
    assert [trace.offset_s > 0 for trace in dealt.values()] == [False] * 3 + [True] * 4
    orders = {tuple(t.name for t in assign_traces(tmp_path, ids, seed=seed).values()) for seed in range(20)}
    assert len(orders) > 1


def test_a_folder_without_traces_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match="no traces in this folder"):
        assign_traces(tmp_path, ["a"], 0)
    with pytest.raises(ScenarioError, match="no such folder"):
        assign_traces(tmp_path / "absent", ["a"], 0)


def test_files_that_are_not_read_are_named(tmp_path):
    for name in ("a.json", "B.JSON", "Readme.txt", "index.csv", "LICENSE", ".hidden.txt"):
        (tmp_path / name).write_text(
            json_text((1000, 8)) if name.lower().endswith("json") else "words", encoding="utf-8"
        )
    with pytest.warns(InputWarning, match="not read as recordings: LICENSE, Readme.txt, index.csv; ") as caught:
        dealt = assign_traces(tmp_path, ["a", "b"], 0)
    assert len(caught) == 1
    assert {trace.name for trace in dealt.values()} == {str(tmp_path / "a.json"), str(tmp_path / "B.JSON")}


def test_a_folder_of_other_files_names_them(tmp_path):
    (tmp_path / "log.pcap").write_text("packets", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"no traces in this folder \(found log.pcap\); needs files that end in"):
        assign_traces(tmp_path, ["a"], 0)


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(ScenarioError, match=r"log.txt: found 65.00 MiB; needs a recording of at most 64.00 MiB"):
        load_trace(path)


def test_a_link_whose_trace_is_none_is_named(tmp_path, scenario_factory):
    path = tmp_path / "log.json"
    path.write_text("1499\n1500\n", encoding="utf-8")
    scenario = scenario_factory(1, link={"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0, "trace": str(path)})
    with pytest.raises(ScenarioError, match=r"clients.0.link.trace: .*log.json, line 1: found '1499'"):
        scenario_traces(scenario)


def test_the_trace_a_link_names_modulates_its_clients(tmp_path, scenario_factory, plan_factory):
    path = tmp_path / "half.json"
    path.write_text(json_text((1000, 20), (1000, 0)), encoding="utf-8")
    link = {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0, "trace": str(path)}
    scenario = scenario_factory(1, link=link)
    plan = plan_factory(scenario)
    assert set(scenario_traces(scenario)) == {"pi-0"}
    with_trace = replay(plan, scenario, num_rounds=1)
    constant = replay(plan, scenario, num_rounds=1, traces={})
    assert constant.total_s == pytest.approx(plan.round_latency_s)
    assert with_trace.total_s != pytest.approx(plan.round_latency_s)


@needs_real_traces
def test_every_recorded_trace_reads_as_its_index_says():
    with (REAL_TRACES / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        trace = load_trace(REAL_TRACES.parent / row["file"])
        # The index takes every Wi-Fi sample to last one second; the stamps in the files say a little more or less.
        within = 0.02 if row["family"] == "wifi_beijing" else 1e-3
        assert trace.duration_s == pytest.approx(float(row["duration_s"]), rel=within), row["file"]
        assert trace.mean_bps == pytest.approx(float(row["mean_kbps_time_weighted"]) * 1e3, rel=within), row["file"]
        assert trace.outage_fraction == pytest.approx(float(row["fraction_of_time_at_zero"]), abs=0.02), row["file"]


@needs_real_traces
def test_recorded_traces_replay_with_every_byte_and_second_accounted_for(scenario_factory, plan_factory):
    scenario = scenario_factory(130, local_steps=4)
    plan = plan_factory(scenario)
    dealt = assign_traces(REAL_TRACES, [client.id for client in plan.clients], seed=0)
    assert len({trace.name for trace in dealt.values()}) == 126
    result = replay(plan, scenario, num_rounds=3, traces=dealt)
    table = result.ledger.table
    carried = table.groupby("client")["bytes"].sum()
    assert (carried == 3 * (750_000 + 1_000_000)).all()
    assert np.isfinite(result.total_s)
    assert table.loc[table["phase"] != "barrier", "waiting_s"].sum() > 0
