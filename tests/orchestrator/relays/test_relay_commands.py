"""The commands on a model that is cut several times: the same names, exit codes and files as for one cut."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.scenarios.loader import builtin_text


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
    document["model"]["config"] |= {"num_hidden_layers": 3}
    document["training"] |= {"local_steps": 2, "micro_batches": [1, 4]}
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
    assert "A baseline, verified" in invoked("plan", str(folder / "small.yaml"), "--strategy", "even-split").stdout
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


def test_what_is_not_offered_is_refused_in_one_sentence(folder: Path) -> None:
    small = str(folder / "small.yaml")
    assert "one at a time" in invoked("replay", *[str(folder / "plan.json")] * 2, code=2).output
    assert "not trained yet" in invoked("run", small, code=2).output
    assert "not trained yet" in invoked("compare", small, "--run", code=2).output
    assert "not trained yet" in invoked("pareto", small, code=2).output
    assert "leave it out" in invoked("plan", small, "--warm-start", str(folder / "plan.json"), code=2).output
    tight = invoked("plan", small, "--set", "clients.0.memory_budget_bytes=64 KiB", code=3)
    assert "raise it" in tight.output
