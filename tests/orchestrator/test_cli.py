"""The command line as a user meets it: results on stdout, everything else on stderr, and the right exit codes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.loader import builtin_text
from tests.runtime.faulty_workers import CulpritInline, Fails

SMALL = [
    "--set", "training.rounds=2", "--set", "training.local_steps=2", "--set", "training.frozen_control=false",
    "--set", "objective.gradient_split=assumed",
]  # fmt: skip


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def done(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result.stdout


def document(*arguments: str) -> Any:
    return json.loads(done(*arguments, "--json"))


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    done("plan", "quickstart", *SMALL, "--out", str(path))
    return path


def test_commands_are_those_of_the_contract() -> None:
    help_text = done("--help")
    for command in ("scenarios", "profile", "plan", "run", "replay", "compare", "report", "export"):
        assert f" {command} " in help_text
    assert "hybridsplit" in done("--version")


def test_options_are_those_of_the_contract() -> None:
    """The public surface is frozen here: a new option is added on purpose."""
    import typer

    group = typer.main.get_command(app)
    surface = {
        name: sorted(option for parameter in command.params for option in parameter.opts if option.startswith("--"))
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    assert surface == {
        "doctor": ["--address", "--json", "--set"],
        "export": ["--json", "--round", "--to"],
        "scenarios": ["--json", "--schema"],
        "profile": ["--json", "--machine", "--out", "--picture", "--set"],
        "pilot": ["--costs", "--executor", "--json", "--out", "--pilots", "--rounds", "--seeds", "--set", "--workers"],
        "devices": ["--json"],
        "what-if": ["--json", "--out", "--set", "--strategy", "--vary"],
        "search": [
            "--address",
            "--executor",
            "--json",
            "--out",
            "--rounds",
            "--score",
            "--seeds",
            "--set",
            "--strategy",
            "--train",
            "--workers",
        ],
        "plan": [
            "--address",
            "--all",
            "--json",
            "--out",
            "--parts",
            "--report",
            "--set",
            "--strategy",
            "--time-limit",
            "--traces",
            "--warm-start",
            "--workers",
        ],
        "pareto": ["--json", "--out", "--points", "--set", "--x", "--y"],
        "run": [
            "--address",
            "--executor",
            "--json",
            "--log",
            "--out",
            "--plan",
            "--resume",
            "--rounds",
            "--set",
            "--strategy",
            "--torch-device",
            "--workers",
        ],
        "replay": [
            "--absolute",
            "--averaging",
            "--in-order",
            "--json",
            "--out",
            "--radio",
            "--round",
            "--rounds",
            "--server",
            "--traces",
        ],
        "compare": [
            "--address",
            "--executor",
            "--json",
            "--log",
            "--out",
            "--relax",
            "--rounds",
            "--run",
            "--seeds",
            "--set",
            "--strategies",
            "--torch-device",
            "--workers",
        ],
        "report": ["--json", "--round"],
    }


def test_scenarios() -> None:
    assert [row.get("clients") for row in document("scenarios")] == [6, 12, 100, 1000, None, 2, 2]
    assert document("scenarios")[-3]["apps"] == 6
    assert done("scenarios", "quickstart") == builtin_text("quickstart")
    assert json.loads(done("scenarios", "--schema"))["title"] == "hybridsplit scenario"
    assert "quickstart" in done("scenarios")


def test_profile(tmp_path: Path) -> None:
    rows = document("profile", "quickstart", *SMALL)["options"]
    assert {row["client"] for row in rows} == {"pi4-0", "pi4-1", "pi5-0", "nano-0", "phone-0", "orin-0"}
    out, picture = tmp_path / "deep" / "options.parquet", tmp_path / "picture.html"
    printed = done("profile", "quickstart", *SMALL, "--out", str(out), "--picture", str(picture))
    assert "deepest cut" in printed
    assert "What the peak consists of" in printed
    assert out.is_file()
    assert "fo-recompute" in picture.read_text(encoding="utf-8")


def test_plan_prints_a_table_that_explains_itself(plan_file: Path) -> None:
    text = done("plan", "quickstart", *SMALL)
    assert "round latency" in text
    assert "memory: would take" in text
    plan = document("plan", "quickstart", *SMALL)
    assert plan["clients"][0]["id"] == "pi4-0"
    saved = json.loads(plan_file.read_text())
    for timing in ("solve_s", "compile_s", "digest"):
        plan.pop(timing), saved.pop(timing)
    assert plan == saved
    needed = {
        "schema_version", "scenario", "strategy", "status", "round_latency_s", "lower_bound_s", "gap",
        "schedule_lower_bound_s", "clients",
    }  # fmt: skip
    assert needed <= set(plan)
    per_client = {
        "id", "device", "cut", "mode", "uplink_share", "downlink_share", "server_share", "latency_s", "phases_s",
        "client_peak_bytes", "memory_budget_bytes", "uplink_bytes", "downlink_bytes",
    }  # fmt: skip
    assert per_client <= set(plan["clients"][0])


def test_run_folder_resume_and_report(tmp_path: Path, plan_file: Path) -> None:
    out = tmp_path / "run"
    arguments = ["run", "quickstart", *SMALL, "--plan", str(plan_file), "--executor", "inline", "--out", str(out)]
    summary = document(*arguments)
    names = {
        "scenario.yaml", "options.parquet", "plan.json", "ledger.parquet", "rounds.parquet", "summary.json",
        "report.html", "checkpoints",
    }  # fmt: skip
    assert names <= {path.name for path in out.iterdir()}
    assert summary["bytes_agree"]
    assert summary["within_budget"]
    assert summary["round_latency_replayed_s"] == pytest.approx(summary["round_latency_planned_s"], rel=1e-6)
    assert yaml.safe_load((out / "scenario.yaml").read_text())["name"] == "quickstart"

    again = invoke(*arguments)
    assert again.exit_code == 2
    assert "already holds a run" in again.stderr
    resumed = document(*arguments, "--resume", "--rounds", "3")
    assert resumed["num_rounds"] == 3

    (out / "report.html").unlink()
    assert json.loads(done("report", str(out), "--json"))["report"] == str(out / "report.html")
    assert "<!doctype html>" in (out / "report.html").read_text().lower()


def test_run_prints_where_the_report_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = done("run", "quickstart", *SMALL, "--executor", "inline", "--rounds", "1")
    assert "runs/quickstart/report.html" in text.replace("\n", "")
    assert "test accuracy" in text
    assert "every client within its budget" in text
    done("run", "quickstart", *SMALL, "--executor", "inline", "--rounds", "1")
    assert (tmp_path / "runs" / "quickstart-2" / "report.html").is_file()


def test_two_runs_never_write_into_one_folder(tmp_path: Path, plan_file: Path) -> None:
    out = tmp_path / "run"
    arguments = ["run", "quickstart", *SMALL, "--plan", str(plan_file), "--executor", "inline", "--out", str(out)]
    with RunFolder(out).claimed():
        refused = invoke(*arguments)
        assert refused.exit_code == 2
        assert "another run is writing into it" in refused.stderr
    assert not out.exists(), "nothing was written"
    document(*arguments)
    with RunFolder(out).claimed():
        assert "another run is writing" in invoke(*arguments, "--resume", "--rounds", "3").stderr
    assert document(*arguments, "--resume", "--rounds", "3")["num_rounds"] == 3


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = invoke("run", "quickstart", *SMALL, "--set", "training.batch_size=1000")
    assert refused.exit_code != 0
    assert not list((tmp_path / "runs").iterdir())


def test_a_stopped_run_goes_on_under_another_policy(
    tmp_path: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the message of the run that stopped says."""
    out = tmp_path / "run"
    arguments = ["run", "quickstart", *SMALL, "--plan", str(plan_file), "--executor", "inline", "--out", str(out)]
    fails = partial(CulpritInline, fails=Fails("not-finite", "pi5-0"))
    with monkeypatch.context() as context:
        context.setattr("hybridsplit.runtime.executors.inline.InlineExecutor", fails)
        stopped = invoke(*arguments)
        assert stopped.exit_code == 4
        assert "round 2" in stopped.stderr
        assert "--resume --set faults.policy=drop-client" in " ".join(stopped.stderr.split())
        summary = document(*arguments, "--resume", "--set", "faults.policy=drop-client")
    assert summary["num_rounds"] == 2
    assert any("pi5-0" in line for line in summary["events"])
    assert summary["bytes_agree"], "of those whose training counted"
    assert yaml.safe_load((out / "scenario.yaml").read_text())["faults"]["policy"] == "drop-client"


def test_replay(tmp_path: Path, plan_file: Path) -> None:
    summary = document("replay", str(plan_file), "--rounds", "3")
    assert summary["simulated_s"] == pytest.approx(3 * summary["round_latency_planned_s"], rel=1e-9)
    assert summary["bytes_agree"]
    (tmp_path / "traces").mkdir()
    trace = [{"duration_ms": 500, "bandwidth_kbps": rate, "latency_ms": 20} for rate in (1000, 0, 3000)]
    (tmp_path / "traces" / "bus.json").write_text(json.dumps(trace))
    text = done(
        "replay", str(plan_file), "--rounds", "5", "--traces", str(tmp_path / "traces"), "--out", str(tmp_path / "out")
    )
    assert "5 rounds in" in text
    assert (tmp_path / "out" / "report.html").is_file()


def test_compare() -> None:
    result = document("compare", "quickstart", *SMALL, "--strategies", "optimal,splitfed,fedavg")
    by_name = {row["strategy"]: row for row in result["strategies"]}
    assert by_name["optimal"]["ratio"] == 1
    assert by_name["splitfed"]["ratio"] >= 1
    assert "infeasible" in by_name["fedavg"]
    latencies = [step["round_latency_s"] for step in result["decomposition"]]
    assert latencies == sorted(latencies, reverse=True)
    assert "all together" in done("compare", "quickstart", *SMALL, "--strategies", "optimal,splitfed")


def test_compare_can_train() -> None:
    result = document("compare", "quickstart", *SMALL, "--strategies", "optimal", "--run", "--executor", "inline")
    row = result["strategies"][0]
    assert 0 <= row["test_accuracy"] <= 1
    assert 0 <= row["frozen_control_accuracy"] <= 1


WRONG: list[tuple[list[str], int, list[str]]] = [
    (["plan", "nowhere.yaml"], 2, ["nowhere.yaml", "no such scenario", "quickstart"]),
    (["plan", "quickstart", "--strategy", "optimum"], 2, ["'optimum'", "optimal"]),
    (["plan", "quickstart", "--set", "radio.uplink_hz=3 MiB"], 2, ["radio.uplink_hz", "measures an amount of memory"]),
    (["plan", "quickstart", "--set", "clients.pi4.memory_budget_bytes=100 KiB"], 3, ["pi4-0", "KiB more"]),
    (["plan", "quickstart", "--set", "clients.pi4.device=max78000"], 2, ["clients.0.device", "only infers"]),
    (["plan", "quickstart", "--set", "clients.pi4.device=laptop_ryzen_ai_340"], 2, ["fp32_flops_per_s"]),
    (["plan", "quickstart", "--set", "model.config.hidden_size=3"], 2, ["model.config.hidden_size", "hidden_sizes"]),
    (["plan", "quickstart", "--set", "radio.uplink_hz=0"], 3, ["radio.uplink_hz"]),
    (["plan"], 2, ["SCENARIO"]),
    (["plan", "quickstart", "--nonsense"], 2, ["--nonsense"]),
    (["replay", "nowhere.json"], 2, ["nowhere.json", "no such file"]),
    (["report", "/nonexistent-folder"], 2, ["holds no complete run"]),
    (["run", "quickstart", "--rounds", "0"], 2, ["--rounds"]),
    (["run", "quickstart", "--executor", "slurm"], 2, ["slurm"]),
    (["run", "quickstart", "--resume", "--out", "/nonexistent-folder"], 2, ["no run to resume"]),
    (["compare", "quickstart", "--strategies", "optimal,best"], 2, ["'best'"]),
    (["run", "quickstart", "--strategy", "optimum"], 2, ["'optimum'"]),
    (["run", "quickstart", "--resume", "--strategy", "splitfed"], 2, ["leave --strategy out"]),
    (["run", "quickstart", "--set", "data.test_fraction=0.9", "--executor", "inline"], 2, ["batch of 32"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "needles"), WRONG, ids=[" ".join(w[0])[:60] for w in WRONG])
def test_errors(
    arguments: list[str], code: int, needles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    flat = " ".join(result.stderr.split())
    for needle in needles:
        assert needle in flat, flat
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_tampered_plan_is_refused(plan_file: Path, tmp_path: Path) -> None:
    plan = json.loads(plan_file.read_text())
    plan["clients"][0]["memory_budget_bytes"] *= 100
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    result = invoke("run", "quickstart", *SMALL, "--plan", str(tmp_path / "plan.json"), "--executor", "inline")
    assert result.exit_code == 2
    assert "budget" in result.stderr
    assert "Traceback" not in result.output


def test_a_plan_of_another_scenario_is_refused(plan_file: Path) -> None:
    result = invoke("run", "quickstart", "--plan", str(plan_file), "--executor", "inline")
    assert result.exit_code == 2
    assert "another scenario" in result.stderr


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema_version": 99}', '{"schema_version": 2}'])
def test_damaged_plans_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(damage)
    result = invoke("replay", str(path))
    assert result.exit_code == 2
    assert "plan.json" in result.stderr
    assert "Traceback" not in result.output


def test_a_plan_has_a_report_before_anything_is_run(tmp_path: Path) -> None:
    page, plan = tmp_path / "deep" / "page.html", tmp_path / "plan.json"
    priced = ["--set", "devices.rpi4b_8gb.price=60"]
    done("plan", "quickstart", *SMALL, *priced, "--out", str(plan), "--report", str(page))
    text = page.read_text(encoding="utf-8")
    assert 'id="costs"' in text
    assert ">120.00<" in text.replace('<span class="note">', "<"), "two boards at 60"
    assert "of those with a price" in text
    assert json.loads(done("report", str(plan), "--json"))["report"] == str(plan.with_suffix(".html"))
    again = plan.with_suffix(".html").read_text(encoding="utf-8")
    assert "stated by the plan" in again
    assert len(again) > 0.9 * len(text)


def test_the_report_of_a_file_that_is_no_plan_says_so(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    result = invoke("report", str(tmp_path / "plan.json"))
    assert result.exit_code == 2
    assert "plan.json" in result.stderr
    assert not (tmp_path / "plan.html").exists()
    assert invoke("report", str(tmp_path / "plan.json"), "--round", "1").exit_code == 2


def test_energy_stands_in_the_plan_table() -> None:
    text = done("plan", "quickstart", *SMALL)
    assert "energy" in text.splitlines()[2]
    assert "Energy a round, of 5 of 6 clients" in text
    assert "no power is known of phone-0" in text
