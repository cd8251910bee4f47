"""Replays by disciplines from the command line and from Python: figures, files, comparisons and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hybridsplit as hs
from hybridsplit.orchestrator.run_folder import open_plan
from hybridsplit.orchestrator.studies.paired import compare_replays
from hybridsplit.scenarios.contracts.disciplines import disciplines_of
from tests.orchestrator.two_plans import done, two_plans
from tests.solver.virtual_space.tasks import random_task

QUEUE = ["--server", "first-come", "--radio", "proportional-fair", "--averaging", "200 ms"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_plans(tmp_path_factory.mktemp("disciplines"), "static", "greedy")


def test_figures_are_the_same_in_json_text_and_python(folder: Path) -> None:
    file = str(folder / "static.json")
    document = json.loads(done("replay", file, *QUEUE, "--rounds", "2", "--json"))
    assert document["disciplines"] == {"server": "first-come", "radio": "proportional-fair", "averaging_s": 0.2}
    plan = open_plan(folder / "static.json")[0]
    replayed = hs.replay(plan, rounds=2, server="first-come", radio="proportional-fair", averaging_s=0.2)
    assert replayed.summary.round_latency_replayed_s == document["round_latency_replayed_s"]
    assert (
        document["round_latency_replayed_s"] != json.loads(done("replay", file, "--json"))["round_latency_replayed_s"]
    )
    assert any("server by first-come" in note for note in document["notes"])
    text = done("replay", file, *QUEUE, "--rounds", "2", "--round", "1")
    assert "radio by proportional-fair (averaged over 200 ms)" in text
    assert json.loads(done("replay", file, "--json"))["disciplines"] is None


def test_over_recordings_quantiles_are_those_of_the_discipline(folder: Path) -> None:
    common = ["replay", str(folder / "static.json"), "--traces", str(folder / "traces"), "--rounds", "6", "--json"]
    by_plan, fair = (json.loads(done(*common, *more)) for more in ([], ["--radio", "max-min"]))
    assert fair["round_latencies"]["p95"] != by_plan["round_latencies"]["p95"]
    assert fair["round_latencies"]["mean"]["seconds"] == pytest.approx(fair["round_latency_replayed_s"])
    text = done(*common[:-1], "--radio", "max-min")
    # Quickstart's whole band is 80 MHz; its links carry 1.4766 to 5.1152 bit/s per Hz up.
    assert "uplink 118 to 409 Mbit/s" in text


def test_what_is_written_agrees_with_itself_and_with_the_whole_resource(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "replayed"
    done("replay", str(folder / "static.json"), *QUEUE, "--rounds", "2", "--out", str(out))
    assert "first-come" in (out / "report.html").read_text(encoding="utf-8")
    rounds = pd.read_parquet(out / "replay.parquet")
    ledger = pd.read_parquet(out / "ledger.parquet")
    served = ledger[(ledger["source"] == "replayed") & (ledger["phase"] == "server_compute") & (ledger["round"] == 0)]
    assert rounds["server_utilisation"][0] == pytest.approx(served["seconds"].sum() / rounds["latency_s"][0])
    work_s = sum(client.server_compute_s for client in open_plan(folder / "static.json")[0].clients)
    assert served["seconds"].sum() == pytest.approx(work_s)
    shown = json.loads(done("replay", str(folder / "static.json"), *QUEUE, "--rounds", "2", "--round", "0", "--json"))
    assert shown["round"]["server_utilisation"] == pytest.approx(rounds["server_utilisation"][0])
    assert max(shown["round"]["utilisation"]["server"]["levels"]) > 0.99
    done("report", str(out))


def test_plans_are_compared_by_a_discipline_on_the_same_links(folder: Path) -> None:
    fair = disciplines_of(radio="proportional-fair", server="processor-sharing")
    plans = [(name, open_plan(folder / f"{name}.json")[0]) for name in ("static", "static", "greedy")]
    base, same, other = compare_replays(plans, 4, folder / "traces", disciplines=fair)
    assert same.latencies_s == base.latencies_s
    assert base.latencies_s != compare_replays(plans[:2], 4, folder / "traces")[0].latencies_s
    common = ["--traces", str(folder / "traces"), "--rounds", "4", "--radio", "proportional-fair"]
    common += ["--server", "processor-sharing", "--json"]
    alone = json.loads(done("replay", str(folder / "greedy.json"), *common))
    assert alone["round_latency_replayed_s"] == pytest.approx(other.mean_s)
    both = [str(folder / "static.json"), str(folder / "greedy.json")]
    assert json.loads(done("replay", *both, *common))["disciplines"]["server"] == "processor-sharing"
    assert "All were replayed with server by processor-sharing" in done("replay", *both, *common[:-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--radio", "max-min", "--averaging", "1 s"], "only proportional-fair averages past rates"),
        (["--radio", "proportional-fair", "--averaging", "1 MHz"], "--averaging: found '1 MHz'"),
        (["--radio", "proportional-fair", "--averaging", "0"], "needs a time of at least 1 ms"),
        (["--radio", "max-min", "--absolute", "--traces", "TRACES"], "use the recordings without --absolute"),
    ],
)
def test_what_does_not_go_together_is_one_message(folder: Path, options: list[str], words: str) -> None:
    given = [str(folder / "traces") if option == "TRACES" else option for option in options]
    assert words in done("replay", str(folder / "static.json"), *given, code=2)


@pytest.mark.slow
def test_a_plan_that_changes_is_played_by_itself_alone(tmp_path: Path) -> None:
    file = tmp_path / "changing.json"
    changes = ["--set", "training.replanning={policy: every-n, every_rounds: 2}"]
    done("plan", "quickstart", "--strategy", "greedy", *changes, "--out", str(file))
    assert "needs one plan for all rounds" in done("replay", str(file), "--server", "first-come", code=2)


def test_tasks_without_one_server_and_one_radio_refuse_disciplines() -> None:
    scenario: Any = hs.load(random_task(6, apps=2, devices=2).resolved())
    plan: Any = hs.plan(scenario)
    with pytest.raises(hs.HybridSplitError, match="in rounds of training"):
        hs.replay(plan, server="first-come")
