"""The commands on a model that is cut several times: the same names, exit codes and files as for one cut."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.manifest import Manifest
from hybridsplit.scenarios.contracts.sealed import write_sealed
from hybridsplit.scenarios.loader import builtin_text
from tests.runtime.relays.runs import SMALL_MODEL


def invoked(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "140"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scenario, its plan and a replay with its report."""
    root = tmp_path_factory.mktemp("relays")
    document = yaml.safe_load(builtin_text("factory"))
    document["name"], document["description"] = "small", "Two <b>halls."
    document["model"]["config"] |= SMALL_MODEL
    document["data"]["image_size"] = 16
    document["training"] |= {"local_steps": 2, "micro_batches": [1, 4], "rounds": 2}
    document["search"] = {"time_limit_s": 2.0}
    (root / "small.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    invoked("plan", str(root / "small.yaml"), "--out", str(root / "plan.json"))
    invoked("replay", str(root / "plan.json"), "--out", str(root / "out"))
    return root


def test_plan_prints_one_document_and_explains_itself(folder: Path) -> None:
    document = json.loads(invoked("plan", str(folder / "small.yaml"), "--json").stdout)
    assert document["task"] == "relays"
    assert document["value_s"] >= document["lower_bound_s"] > 0
    text = invoked("plan", str(folder / "small.yaml")).stdout
    assert "no placement in any order is below" in text
    assert re.search(r"\d cuts?: a round takes", text)
    assert "is busy for longest" in text


def test_a_baseline_is_a_strategy_of_the_same_command(folder: Path) -> None:
    shown = invoked("plan", str(folder / "small.yaml"), "--strategy", "even-split").stdout
    assert "A baseline, verified" in shown
    assert "Stages of hall-0-0: 4 micro-batches, one in" in shown
    assert re.search(r"gpipe +[\d.]+ m?s +\d", shown)
    wrong = invoked("plan", str(folder / "small.yaml"), "--strategy", "evensplit", code=2).output
    assert "did you mean 'even-split'" in wrong


def test_replay_agrees_and_refuses_recordings(folder: Path) -> None:
    document = json.loads(invoked("replay", str(folder / "plan.json"), "--json").stdout)
    assert document["value_s"] == pytest.approx(document["planned_s"], rel=1e-9)
    assert "are constant: leave them out" in invoked(
        "replay", str(folder / "plan.json"), "--traces", str(folder), code=2
    ).output  # fmt: skip


def test_the_report_is_one_page_without_markup_of_the_user(folder: Path) -> None:
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "Two &lt;b&gt;halls." in page
    assert "<b>halls" not in page
    assert "https://" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    before = page
    invoked("report", str(folder / "out"))
    assert (folder / "out" / "report.html").read_text(encoding="utf-8") == before
    invoked("report", str(folder / "plan.json"))
    assert (folder / "plan.html").is_file()
    invoked("plan", str(folder / "small.yaml"), "--report", str(folder / "own.html"))
    assert (folder / "own.html").is_file()


def test_a_changed_plan_is_refused(folder: Path, tmp_path: Path) -> None:
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan

    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    document["value_s"] *= 0.5
    (tmp_path / "edited.json").write_text(json.dumps(document), encoding="utf-8")
    assert "was changed after" in invoked("replay", str(tmp_path / "edited.json"), code=2).output
    plan = RelayPlan.load(folder / "plan.json")
    plan.model_copy(update={"value_s": plan.value_s * 0.5}).save(tmp_path / "sealed.json")
    assert "is no plan of its scenario" in invoked("replay", str(tmp_path / "sealed.json"), code=2).output


def test_compare_and_profile_show_it(folder: Path) -> None:
    document = json.loads(invoked("compare", str(folder / "small.yaml"), "--json").stdout)
    names = [row["strategy"] for row in document["strategies"]]
    assert names == ["optimal", "single-cut", "even-split", "client-only"]
    assert all(row.get("ratio", 1.0) >= 1 - 1e-9 for row in document["strategies"])
    assert "5 VitHead" in invoked("profile", str(folder / "small.yaml")).stdout
    assert json.loads(invoked("profile", str(folder / "small.yaml"), "--json").stdout)["blocks"][0] == "VitEmbedding"


@pytest.mark.slow
def test_a_rack_holds_what_none_of_its_machines_does(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    text = invoked("plan", "rack", "--out", str(plan)).stdout
    assert "with a single cut nothing fits into memory" in text
    document = json.loads(plan.read_text(encoding="utf-8"))
    assert all(len(client["path"]) >= 3 for client in document["clients"])
    replayed = json.loads(invoked("replay", str(plan), "--json").stdout)
    assert replayed["value_s"] == pytest.approx(replayed["planned_s"], rel=1e-9)
    assert "is within their memory" in invoked("plan", "rack", "--strategy", "single-cut", code=3).output


@pytest.mark.slow
def test_a_small_rack_trains(tmp_path: Path) -> None:
    small = {
        "model.config.hidden_size": 64, "model.config.num_attention_heads": 2, "model.config.intermediate_size": 128,
        "model.config.num_hidden_layers": 4, "model.config.vocab_size": 128, "data.num_samples": 128,
        "training.rounds": 1, "training.local_steps": 2,
    }  # fmt: skip
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    out = tmp_path / "run"
    invoked("run", "rack", *settings, "--strategy", "even-split", "--executor", "inline", "--out", str(out))
    trained = json.loads((out / "summary.json").read_text(encoding="utf-8"))["training"]
    assert 0 <= trained["test_accuracy"] <= 1


@pytest.fixture(scope="module")
def run_folder(folder: Path) -> Path:
    """A run by a strategy with three cuts, in this process."""
    out = folder / "run"
    small = str(folder / "small.yaml")
    text = invoked("run", small, "--strategy", "even-split", "--executor", "inline", "--out", str(out)).stdout
    assert "Plan, replay and run count the same bytes on every link" in text
    assert "itself 1, ap-0 2, edge 3-4, cloud 5" in text
    return out


def test_a_run_leaves_the_files_of_a_run(run_folder: Path) -> None:
    files = {path.name for path in run_folder.iterdir()}
    assert files >= {"plan.json", "rounds.parquet", "clients.parquet", "ledger.parquet", "summary.json", "report.html"}
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    training = summary["training"]
    assert training["bytes_agree"]
    assert training["within_budget"]
    assert training["bytes"]["planned"] == training["bytes"]["replayed"] == training["bytes"]["measured"]
    assert set(training["node_peak_bytes"]["hall-0-0"]) == {"ap-0", "edge", "cloud"}
    assert {str(entry.source) for entry in Ledger.load(run_folder / "ledger.parquet").entries()} == {
        "planned", "replayed", "measured",
    }  # fmt: skip
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    for heading in ("Training", "Memory of every machine that clients share", "Bytes over all links"):
        assert heading in page
    invoked("report", str(run_folder))
    assert (run_folder / "report.html").read_text(encoding="utf-8") == page


def test_a_run_goes_on_by_its_own_plan_and_refuses_another(folder: Path, run_folder: Path) -> None:
    small, out = str(folder / "small.yaml"), ["--out", str(run_folder)]
    again = invoked("run", small, "--resume", "--rounds", "3", "--executor", "inline", *out, "--json")
    assert json.loads(again.stdout)["rounds"] == 3
    other = ["--plan", str(folder / "plan.json")]
    assert "began with another plan" in invoked(
        "run", small, "--resume", *other, "--executor", "inline", *out, code=2
    ).output  # fmt: skip
    assert "made for another scenario" in invoked(
        "run", small, "--set", "seed=3", *other, "--executor", "inline", "--out", str(folder / "other"), code=2
    ).output  # fmt: skip
    replayed = invoked("replay", str(run_folder / "plan.json"), "--json")
    assert json.loads(replayed.stdout)["value_s"] == pytest.approx(json.loads(again.stdout)["value_s"], rel=1e-9)


def test_an_altered_run_is_told(folder: Path, run_folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(run_folder, copied)
    (copied / "ledger.parquet").write_bytes((copied / "rounds.parquet").read_bytes())
    assert "ledger.parquet" in invoked("report", str(copied), code=2).output


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("summary.json", "training.test_accuracy is not that of rounds.parquet"),
        ("rounds.parquet", "round 1 ends at another time"),
        ("ledger.parquet", "training.bytes is not that of ledger.parquet"),
    ],
)
def test_files_that_contradict_each_other_are_told_with_every_digest_in_order(
    run_folder: Path, tmp_path: Path, file: str, words: str
) -> None:
    """Altered by somebody who takes all digests again."""
    copied = tmp_path / "copy"
    shutil.copytree(run_folder, copied)
    found = RunFolder(copied)
    if file == "summary.json":
        document = json.loads((copied / file).read_text(encoding="utf-8"))
        document.pop("digest")
        document["training"]["test_accuracy"] = 0.99
        write_sealed(copied / file, document)
    elif file == "rounds.parquet":
        rounds = found.rounds()
        assert rounds is not None
        rounds.loc[rounds["round"] == 1, "simulated_s"] *= 0.5
        found.save_rounds(rounds)
    else:
        table = found.ledger().table
        table.loc[table["bytes"] > 0, "bytes"] += 1
        found.save_ledger(Ledger(table))
    Manifest.write(copied, [path.name for path in copied.iterdir() if path.name in Manifest.read(copied).files])
    assert words in invoked("report", str(copied), code=2).output.replace("\n", " ")


def test_strategies_are_trained_side_by_side(folder: Path) -> None:
    found = invoked(
        "compare", str(folder / "small.yaml"), "--strategies", "optimal,even-split", "--run", "--executor", "inline",
        "--json",
    )  # fmt: skip
    rows = json.loads(found.stdout)["strategies"]
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)
    assert [row["simulated_s"] for row in rows] == pytest.approx([2 * row["value_s"] for row in rows])


def test_a_front_trades_seconds_against_the_memory_of_clients(folder: Path) -> None:
    found = invoked("pareto", str(folder / "small.yaml"), "--points", "3", "--json")
    document = json.loads(found.stdout)
    assert document["y"] == "round_latency_s"
    shares = [point["x"] for point in document["points"]]
    assert shares == sorted(shares)
    assert all(point["lower_bound_s"] <= point["round_latency_s"] for point in document["points"])
    period = ["--set", "objective.minimise=inference-period", "--set", "training.optimizer=null"]
    alone = [*period, "--set", "training.local_steps=1", "--set", "training.rounds=1"]
    shown = invoked("pareto", str(folder / "small.yaml"), *alone, "--points", "2").stdout
    assert "Inference period against memory: small" in shown


def test_what_if_plans_every_combination_as_it_is_planned_alone(folder: Path) -> None:
    small, page = str(folder / "small.yaml"), folder / "what-if.html"
    links = ["--vary", "network.links.0.uplink_bps=0.5x,1x", "--vary", "clients.0.memory_budget_bytes=1 KiB,1x"]
    found = json.loads(invoked("what-if", small, *links, "--strategy", "even-split", "--json").stdout)
    lacking, slow, _, same = found["cells"]
    assert "raise it" in lacking["infeasible"]
    assert lacking["objective"] is None
    assert slow["objective"] > same["objective"] == same["round_latency_s"]
    plan = json.loads(invoked("plan", small, "--strategy", "even-split", "--json").stdout)
    assert same["objective"] == plan["value_s"]
    own_bytes = [client["placement"][0]["peak_bytes"] for client in plan["clients"]]
    budget_bytes = [group["memory_budget_bytes"] for group in plan["scenario"]["clients"]]
    assert same["fullest_share"] == max(a / b for a, b in zip(own_bytes, budget_bytes, strict=True))
    invoked("what-if", small, *links, "--strategy", "even-split", "--out", str(page))
    assert "0.5x" in page.read_text(encoding="utf-8")
    assert "even-split" in invoked("what-if", small, *links, "--strategy", "evensplit", code=2).output


def test_strategies_are_trained_at_several_seeds_and_every_run_is_kept(folder: Path) -> None:
    """Without losses of precision by micro-batches, plans differ in time alone, seed by seed."""
    small, kept = str(folder / "small.yaml"), folder / "seeds"
    target = ["--set", "objective.target_loss=100.0", "--set", "training.micro_batches=[1]"]
    asked = ["compare", small, *target, "--strategies", "optimal,even-split", "--run", "--executor", "inline"]
    found = invoked(*asked, "--seeds", "2", "--out", str(kept), "--json")
    first, second = json.loads(found.stdout)["strategies"]
    assert first["test_accuracy"] == second["test_accuracy"]
    assert second["verdicts"]["test_accuracy"] == "no difference is shown"
    runs = {path: json.loads(path.read_text(encoding="utf-8")) for path in kept.rglob("seed-*.json")}
    assert {(run["strategy"], run["seed"]) for run in runs.values()} == {
        (strategy, seed) for strategy in ("optimal", "even-split") for seed in (0, 1)
    }  # fmt: skip
    by_strategy = {run["strategy"]: run for run in runs.values() if run["seed"] == 0}
    assert by_strategy["optimal"]["train_loss"] == by_strategy["even-split"]["train_loss"]
    assert first["seconds_to_target"]["mean"] == pytest.approx(
        np.mean([one["simulated_s"][0] for one in runs.values() if one["strategy"] == "optimal"])
    )
    plan = json.loads(invoked("plan", small, *target, "--json").stdout)
    assert by_strategy["optimal"]["simulated_s"] == pytest.approx([plan["value_s"], 2 * plan["value_s"]])
    hops = [hop for client in plan["clients"] for hop in client["hops"]]
    assert by_strategy["optimal"]["bytes_a_round"] == sum(
        2 * hop["exchanged_bytes"] + 2 * (hop["sent_bytes"] + hop["returned_bytes"]) for hop in hops
    )
    assert 0 < by_strategy["optimal"]["fullest"] <= 1
    times = {path: path.stat().st_mtime_ns for path in runs}
    assert json.loads(invoked(*asked, "--seeds", "2", "--out", str(kept), "--json").stdout) == json.loads(found.stdout)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("seed-*.json")} == times
    page = (kept / "comparison.html").read_text(encoding="utf-8")
    assert "Simulated time to the target" in page


@pytest.mark.slow
def test_runs_over_relays_side_by_side_on_ray_are_those_of_one_process(folder: Path) -> None:
    asked = ["compare", str(folder / "small.yaml"), "--strategies", "optimal,even-split", "--run", "--seeds", "2"]
    one = invoked(*asked, "--executor", "inline", "--out", str(folder / "one"), "--json")
    many = invoked(*asked, "--workers", "2", "--out", str(folder / "many"), "--json")
    assert json.loads(many.stdout) == json.loads(one.stdout)


def test_what_is_not_offered_is_refused_in_one_sentence(folder: Path) -> None:
    small = str(folder / "small.yaml")
    assert "one at a time" in invoked("replay", *[str(folder / "plan.json")] * 2, code=2).output
    assert "this is about one cut" in invoked("pilot", small, code=2).output
    assert "memory alone is traded" in invoked("pareto", small, "--x", "energy", code=2).output
    assert "--relax" in invoked("compare", small, "--relax", "modes", code=2).output
    only_run = ["--set", "objective.minimise=inference-period", "--set", "training.optimizer=null"]
    alone = [*only_run, "--set", "training.local_steps=1", "--set", "training.rounds=1"]
    assert "where nothing is trained" in invoked("run", small, *alone, "--executor", "inline", code=2).output
    assert "leave it out" in invoked("plan", small, "--warm-start", str(folder / "plan.json"), code=2).output
    tight = invoked("plan", small, "--set", "clients.0.memory_budget_bytes=64 KiB", code=3)
    assert "raise it" in tight.output
