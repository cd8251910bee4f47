"""The commands on an inference task: the same names, exit codes and files as for training."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.inference import comparing
from hybridsplit.scenarios.contracts.sealed import DIGEST, sealed
from tests.solver.virtual_space.tasks import random_task


def invoked(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "140"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small task, its plan and a replay with its report, at two pairs of rates alone."""
    root = tmp_path_factory.mktemp("inference")
    document = random_task(6, apps=3, devices=3).resolved()
    document["name"], document["description"] = "small", "Three apps <b>on three devices."
    (root / "small.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    invoked("plan", str(root / "small.yaml"), "--out", str(root / "plan.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "LINKS_BPS", (1e6,))
        patch.setattr(comparing, "RELOADS_BYTES_PER_S", (5e6, 20e6))
        invoked("replay", str(root / "plan.json"), "--rounds", "50", "--out", str(root / "out"))
    return root


def test_plan_prints_one_document_and_explains_itself(folder: Path) -> None:
    document = json.loads(invoked("plan", str(folder / "small.yaml"), "--json").stdout)
    assert document["task"] == "inference"
    assert document["status"] == "optimal"
    text = invoked("plan", str(folder / "small.yaml")).stdout
    assert "Proven: no plan is below" in text
    assert "At links of" in text, "no figure without its rates"


def test_a_baseline_is_a_strategy_of_the_same_command(folder: Path) -> None:
    text = invoked("plan", str(folder / "small.yaml"), "--strategy", "source-only").stdout
    assert "A baseline: verified" in text
    assert (
        "did you mean 'source-only'"
        in invoked("plan", str(folder / "small.yaml"), "--strategy", "source-onl", code=2).output
    )


def test_replay_takes_plan_and_folder_and_refuses_recordings(folder: Path) -> None:
    document = json.loads(invoked("replay", str(folder / "plan.json"), "--rounds", "30", "--json").stdout)
    assert document["rounds"] == 30
    assert document["period_s"] >= document["planned_period_s"] * (1 - 1e-9)
    assert "30 periods of" in invoked("replay", str(folder / "out" / "plan.json"), "--rounds", "30").stdout
    assert "leave them out" in invoked("replay", str(folder / "plan.json"), "--in-order", code=2).output
    assert (
        "already holds a run"
        in invoked("replay", str(folder / "plan.json"), "--out", str(folder / "out"), code=2).output
    )


def test_an_altered_plan_is_refused(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    document["period_s"] *= 0.5
    (tmp_path / "plan.json").write_text(json.dumps(document), encoding="utf-8")
    assert "was changed after" in invoked("replay", str(tmp_path / "plan.json"), code=2).output


def test_a_number_written_as_text_is_no_number_whatever_the_digest(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    device = document["devices"][0]
    device["layers"] = str(device["layers"])
    written = sealed({key: value for key, value in document.items() if key != DIGEST})
    (tmp_path / "plan.json").write_text(json.dumps(written), encoding="utf-8")
    assert "devices.0.layers" in invoked("replay", str(tmp_path / "plan.json"), code=2).output


def test_warm_start_takes_an_earlier_plan(folder: Path) -> None:
    again = ["plan", str(folder / "small.yaml"), "--warm-start", str(folder / "plan.json"), "--json"]
    assert json.loads(invoked(*again).stdout)["status"] == "optimal"


class Tags(HTMLParser):
    """Counts what is opened and closed."""

    VOID = ("meta", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_report_is_one_whole_page_with_every_section(folder: Path) -> None:
    path = folder / "out" / "report.html"
    before = path.read_text(encoding="utf-8")
    path.unlink()
    assert str(path) in invoked("report", str(folder / "out")).stdout.replace("\n", "")
    page = path.read_text(encoding="utf-8")
    assert page == before
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    for section in ("layers", "busy", "strategies", "rates", "replay", "sure", "scenario"):
        assert f'id="{section}"' in page
    assert "One ratio alone means nothing" in page
    assert "&lt;b&gt;on three devices" in page
    outside_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="https?:', outside_scripts), "it needs no network"
    assert "default-src 'none'" in page
    assert len(re.findall(r"MB/s\">[\d.]+x \(", page)) == 2


def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "out"
    shutil.copytree(folder / "out", copy)
    summary = json.loads((copy / "summary.json").read_text(encoding="utf-8"))
    summary["period_s"] = 1.0
    (copy / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert "was changed after" in invoked("report", str(copy), code=2).output


def test_compare_shows_strategies_and_refuses_training(folder: Path) -> None:
    document = json.loads(
        invoked(
            "compare", str(folder / "small.yaml"), "--strategies", "optimal,source-only,greedy-by-app", "--json"
        ).stdout
    )
    ratios = {row["strategy"]: row.get("ratio") for row in document["strategies"]}
    assert ratios["optimal"] == 1.0
    assert all(ratio is None or ratio >= 1 - 1e-9 for ratio in ratios.values())
    assert "nothing is trained" in invoked("compare", str(folder / "small.yaml"), "--run", code=2).output


def test_profile_names_layers_that_are_not_supported() -> None:
    text = invoked("profile", "wearables", "--set", "apps.faces.model=efficientnetv2").stdout
    assert "192 groups; needs 1" in text
    document = json.loads(invoked("profile", "wearables", "--json").stdout)
    assert document["models"]["simplenet"]["max78000"][0]["seconds"] == pytest.approx(377e-6, rel=0.01)


def test_what_cannot_be_done_has_its_exit_code() -> None:
    assert "nothing is trained" in invoked("run", "wearables", code=2).output
    assert "nothing is trained" in invoked("pareto", "wearables", code=2).output
    whole = ["plan", "wearables", "--set", "apps.faces.model=mobilenetv2-0.5"]
    assert "no accelerator runs layer l1" in invoked(*whole, code=3).output.replace("\n", " ")
    assert "did you mean" in invoked("plan", "wearables", "--set", "apps.faces.sorce=ring", code=2).output
    assert yaml.safe_load(invoked("scenarios", "wearables").stdout)["task"] == "inference"
