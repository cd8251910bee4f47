"""Files that are not as they were written are refused by whoever reads them, with what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import hybridsplit as hs
from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.contracts.manifest import Manifest
from hybridsplit.scenarios.contracts.sealed import sealed
from hybridsplit.scenarios.errors import AlteredError, ContractError

SMALL = ["--set", "training.local_steps=1", "--set", "training.frozen_control=false"]


def refused(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 2, result.output
    assert "unexpected" not in result.stderr
    return result.stderr


def done(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    done("run", "quickstart", *SMALL, "--rounds", "2", "--executor", "inline", "--out", folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def plan_alone(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original / "plan.json", tmp_path / "plan.json"))


def edit(path: Path, change: Callable[[Any], object], *, seal: bool = False) -> None:
    """Change values of a JSON file; take its digest again where ``seal`` is set."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(sealed(document) if seal else document, indent=1))


EDITS: dict[str, Callable[[Any], object]] = {
    "client_compute": lambda plan: plan["clients"][1].update(client_compute_s=1e-3),
    "uplink is": lambda plan: plan["clients"][2].update(uplink_bytes=1),
    "uplink_share": lambda plan: plan["clients"][0].update(uplink_share=0.9),
    "latency_s": lambda plan: plan["clients"][3].update(latency_s=1e-3),
    "round_latency_s": lambda plan: plan.update(round_latency_s=1e-3),
    "memory_budget_bytes": lambda plan: plan["clients"][0].update(memory_budget_bytes=10**9),
    "peak": lambda plan: plan["clients"][0].update(client_peak_bytes=10**9),
    "clients are not": lambda plan: plan["clients"].reverse(),
    "left out": lambda plan: plan.update(dropped=[plan["clients"].pop()["id"]], drop_price_s=0.0),
    "occurs twice": lambda plan: plan["clients"].append(plan["clients"][0]),
    "at least 1": lambda plan: plan.update(clients=[]),
    "lower_bound_s": lambda plan: plan.update(lower_bound_s=1e9),
    "gap": lambda plan: plan.update(gap=0.5),
    "scenario_hash": lambda plan: plan["scenario"]["radio"].update(uplink_hz=1e9),
    "scenario.name": lambda plan: plan["scenario"].pop("name") and plan,
    "says of other phases than": lambda plan: plan["clients"][1]["waiting_s"].pop("model_download"),
    "less than": lambda plan: plan["clients"][0].update(server_state_bytes=10**30),
}


@pytest.mark.parametrize("said", EDITS)
@pytest.mark.parametrize("seal", [False, True], ids=["digest-left", "digest-taken-again"])
def test_an_altered_plan_is_refused_with_what_differs(plan_alone: Path, said: str, seal: bool) -> None:
    edit(plan_alone, EDITS[said], seal=seal)
    message = refused("replay", plan_alone)
    assert said.split(".")[-1] in message
    assert ("was changed after hybridsplit" in message) is not seal


@pytest.mark.parametrize("seal", [False, True], ids=["digest-left", "digest-taken-again"])
def test_the_option_table_shows_swapped_options_and_costs(folder: Path, seal: bool) -> None:
    def smaller(plan: Any) -> None:
        plan["clients"][0].update(client_peak_bytes=plan["clients"][0]["client_peak_bytes"] // 2)

    edit(folder / "plan.json", smaller, seal=seal)
    assert "plan.json" in refused("report", folder)
    shutil.copy(folder / "plan.json", folder.parent / "plan.json")
    run = ("run", "quickstart", *SMALL, "--executor", "inline", "--out", folder.parent / "other")
    message = refused(*run, "--plan", folder.parent / "plan.json")
    assert ("the option table has" in message) is seal


def test_what_no_command_derives_again_is_shown_as_stated(folder: Path, plan_alone: Path) -> None:
    edit(plan_alone, lambda plan: plan.update(schedule_lower_bound_s=0.0), seal=True)
    run = ("run", "quickstart", *SMALL, "--rounds", "1", "--executor", "inline", "--out", folder.parent / "other")
    text = done(*run, "--plan", plan_alone)
    assert "stated by the plan's file, not derived again" in " ".join(text.split())
    report = folder.parent / "other" / "report.html"
    assert "not derived again" in report.read_text()
    assert "not derived again" not in (folder / "report.html").read_text(), "this run made its plan itself"


def test_laying_a_plan_out_anew_changes_nothing(plan_alone: Path) -> None:
    plan_alone.write_text(json.dumps(json.loads(plan_alone.read_text()), sort_keys=True))
    done("replay", plan_alone)


NAMES = ["plan.json", "summary.json", "scenario.yaml", "options.parquet", "ledger.parquet", "rounds.parquet",
         "clients.parquet", "replay.parquet", "manifest.json"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "bit"])
def test_a_report_names_the_file_that_is_not_as_it_was_written(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "bit": flipped}[damage])
    assert name in refused("report", folder)
    with pytest.raises(ContractError, match=name):
        hs.report(folder)


def test_an_edit_is_told_from_damage(folder: Path) -> None:
    edit(folder / "summary.json", lambda summary: summary.update(test_accuracy=1.0))
    with pytest.raises(AlteredError, match=r"summary\.json: was changed after the run wrote it"):
        hs.report(folder)
    (folder / "summary.json").write_bytes((folder / "summary.json").read_bytes()[:100])
    with pytest.raises(ContractError, match=r"summary\.json: is damaged or cut off \(100 bytes, ") as caught:
        hs.report(folder)
    assert not isinstance(caught.value, AlteredError)


def forge(folder: Path) -> None:
    """Take the digests in the manifest again."""
    Manifest.write(folder, Manifest.read(folder).files)


def test_figures_that_contradict_each_other_show_even_where_all_digests_were_taken_again(folder: Path) -> None:
    edit(folder / "summary.json", lambda summary: summary.update(test_accuracy=0.999), seal=True)
    forge(folder)
    assert "test_accuracy is 0.999, the other files give" in refused("report", folder)


def test_changed_rounds_of_the_replay_show_even_where_all_digests_were_taken_again(folder: Path) -> None:
    table = RunFolder(folder).rounds("replay")
    assert table is not None
    table.loc[0, "latency_s"] *= 2
    RunFolder(folder).save_rounds(table, "replay")
    forge(folder)
    assert "replay.parquet: round 0: latency_s is " in refused("report", folder)


def test_a_changed_table_shows_even_where_all_digests_were_taken_again(folder: Path) -> None:
    ledger = hs.report(folder) and hs.Run(folder).ledger
    table = ledger.table.copy()
    table.loc[0, "seconds"] += 1.0
    type(ledger)(table).save(folder / "ledger.parquet")
    forge(folder)
    assert "plan.json has" in refused("report", folder)


def test_files_of_another_version_say_who_wrote_them(folder: Path, plan_alone: Path) -> None:
    edit(plan_alone, lambda plan: plan.update(schema_version=4), seal=True)
    assert "found schema version 4, written by hybridsplit 0" in refused("replay", plan_alone)
    edit(plan_alone, lambda plan: [plan.pop("written_by"), plan.pop("digest"), plan.update(schema_version=3)])
    assert "found schema version 3, written by an older hybridsplit; needs" in refused("replay", plan_alone)
    edit(folder / "manifest.json", lambda document: document.update(schema_version=9), seal=True)
    assert "schema version 9" in refused("report", folder)


def test_without_its_manifest_a_folder_is_not_reported_on_and_still_resumes(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "its manifest (manifest.json) is missing" in refused("report", folder)
    done("run", "quickstart", *SMALL, "--rounds", "3", "--executor", "inline", "--out", folder, "--resume")
    done("report", folder)


@pytest.mark.parametrize("name", ["options.parquet", "plan.json", "scenario.yaml"])
def test_resuming_refuses_what_the_run_did_not_go_by(folder: Path, name: str) -> None:
    if name == "scenario.yaml":
        document = yaml.safe_load((folder / name).read_text())
        (folder / name).write_text(yaml.safe_dump(document | {"seed": 7}))
    elif name == "plan.json":
        edit(folder / name, lambda plan: plan.update(gap=0.0, lower_bound_s=plan["objective_s"]))
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-50])
    arguments = ("run", "quickstart", *SMALL, "--rounds", "3", "--executor", "inline", "--out", folder, "--resume")
    assert name in refused(*arguments)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "null", '{"a": NaN}', "\x00", '"plan"'])
def test_what_is_no_plan_at_all_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    assert len(refused("replay", tmp_path / "plan.json").splitlines()) == 1
