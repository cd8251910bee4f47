"""Plans are compared on the same links, round by round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybridsplit.orchestrator.recordings import mean_with_interval
from hybridsplit.orchestrator.run_folder import open_plan
from hybridsplit.orchestrator.studies.paired import compare_replays
from hybridsplit.scenarios.errors import UsageError
from tests.orchestrator.two_plans import done, two_plans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_plans(tmp_path_factory.mktemp("paired"), "optimal", "greedy")


def test_a_plan_differs_from_itself_by_nothing_and_from_another_by_pairs(folder: Path) -> None:
    plans = [(name, open_plan(folder / f"{name}.json")[0]) for name in ("greedy", "greedy", "optimal")]
    base, same, other = compare_replays(plans, 40, folder / "traces")
    assert same.latencies_s == base.latencies_s
    assert same.difference is not None
    assert (same.difference.seconds, same.difference.low_s, same.difference.high_s) == (0, 0, 0)
    assert (same.ratio, same.progress_ratio, same.shorter) == (1, 1, 0)
    assert base.difference is None
    differences = np.array(other.latencies_s) - np.array(base.latencies_s)
    assert other.difference is not None
    assert other.difference.seconds == pytest.approx(differences.mean())
    assert other.difference.low_s <= other.difference.seconds <= other.difference.high_s
    assert other.ratio == pytest.approx(sum(other.latencies_s) / sum(base.latencies_s))
    assert other.shorter == pytest.approx((differences < 0).mean())
    assert other.latencies is not None
    assert other.latencies.mean.seconds == pytest.approx(other.mean_s)


def test_a_plan_meets_the_links_it_would_meet_alone(folder: Path) -> None:
    plans = [(name, open_plan(folder / f"{name}.json")[0]) for name in ("greedy", "optimal")]
    compared = compare_replays(plans, 5, folder / "traces")
    for (name, _), one in zip(plans, compared, strict=True):
        common = ["--traces", str(folder / "traces"), "--rounds", "5", "--json"]
        alone = json.loads(done("replay", str(folder / f"{name}.json"), *common))
        assert alone["round_latency_replayed_s"] == pytest.approx(one.mean_s)


def test_common_links_narrow_the_interval_of_a_difference() -> None:
    generator = np.random.default_rng(1)
    luck = generator.exponential(5.0, 100)
    first, second = luck + generator.normal(0, 0.1, 100), luck + 0.2 + generator.normal(0, 0.1, 100)
    paired = mean_with_interval((second - first).tolist(), 0)
    alone = mean_with_interval(first.tolist(), 0)
    assert paired is not None
    assert alone is not None
    assert paired.low_s > 0.1
    assert (paired.high_s - paired.low_s) < 0.1 * (alone.high_s - alone.low_s)
    assert mean_with_interval([1.0], 0) is None


def test_the_command_compares_and_keeps_every_round(folder: Path, tmp_path: Path) -> None:
    files = [str(folder / "greedy.json"), str(folder / "optimal.json")]
    common = ["--traces", str(folder / "traces"), "--rounds", "12"]
    shown = done("replay", *files, *common, "--out", str(tmp_path))
    assert "Plans on the same links, 12 rounds" in shown
    assert "95 % interval of paired differences" in shown
    table = pd.read_parquet(tmp_path / "paired_rounds.parquet")
    assert table.groupby("plan").size().to_dict() == dict.fromkeys(files, 12)
    document: dict[str, Any] = json.loads(done("replay", *files, *common, "--json"))
    assert [one["strategy"] for one in document["plans"]] == ["greedy", "optimal"]
    assert document["plans"][1]["latencies_s"] == table[table["plan"] == files[1]]["latency_s"].tolist()
    assert "a single round has no interval" in done("replay", *files)


def test_plans_that_meet_other_links_are_not_compared(folder: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other.json")
    done("plan", "quickstart", "--strategy", "greedy", "--set", "seed=8", "--out", other)
    with pytest.raises(UsageError, match=r"other.json: found a plan of other clients or another seed than greedy"):
        compare_replays([("greedy", open_plan(folder / "greedy.json")[0]), (other, open_plan(Path(other))[0])], 2)
    assert "leave it out" in done("replay", other, other, "--rounds", "3", "--round", "1", code=2)
    assert "no such round" in done("replay", other, "--rounds", "3", "--round", "3", code=2)


def test_any_round_is_shown_in_time(folder: Path, tmp_path: Path) -> None:
    plan, out = str(folder / "greedy.json"), tmp_path / "out"
    common = ["replay", plan, "--traces", str(folder / "traces"), "--rounds", "6", "--round", "4"]
    shown = done(*common, "--out", str(out))
    bars = [line.split("|")[1] for line in shown.splitlines() if line.count("|") == 2]
    assert len(bars) == 6
    assert {len(bar) for bar in bars} == {72}
    assert " " not in "".join(bars)  # everybody does something, or waits, at all times
    assert "round 4 takes" in shown
    rounds = pd.read_parquet(out / "replay.parquet")
    assert rounds["round"].tolist() == list(range(6))
    assert "Round 4</h3>" in (out / "report.html").read_text(encoding="utf-8")
    done("report", str(out), "--round", "2")
    assert "Round 2</h3>" in (out / "report.html").read_text(encoding="utf-8")
    assert "--round 9: no such round" in done("report", str(out), "--round", "9", code=2)
    document = json.loads(done(*common, "--json"))["round"]
    assert document["latency_s"] == pytest.approx(rounds["latency_s"][4])
    ends_s = [one["end_s"] for one in document["intervals"]]
    assert max(ends_s) == pytest.approx(document["latency_s"])
    assert set(document["utilisation"]) == set(document["queue_length"]) == {"uplink", "downlink", "server"}


def test_a_trace_that_ends_is_known_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("time_s,dl_mbps\n0.0,5\n0.01,6\n", encoding="utf-8")
    trace = f"clients.pi4.link.trace={{path: {tmp_path}/short.csv, past_the_end: fail}}"
    out = tmp_path / "out"
    said = done("run", "quickstart", "--set", trace, "--executor", "inline", "--rounds", "2", "--out", str(out), code=4)
    assert "short.csv: the recording ends after 20 ms and must not repeat" in said
    assert not (out / "checkpoints").exists()
