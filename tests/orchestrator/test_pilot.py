"""Pilots from the command line: costs first, runs that are kept, and a file that plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybridsplit.scenarios.contracts.sealed import write_sealed
from tests.orchestrator.test_cli import document, done, invoke

TINY = [
    "--set", "training.local_steps=2", "--set", "objective.gradient_split=assumed", "--set", "training.batch_size=8",
    "--set", "training.modes=[fo,fo-recompute,zo-projection,frozen]", "--set", "training.frozen_control=false",
]  # fmt: skip
TARGET = ["--set", "objective.target_loss=5"]


@pytest.fixture(scope="module")
def pilot_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pilots") / "pilot.json"
    printed = done("pilot", "quickstart", *TINY, *TARGET, "--pilots", "5", "--rounds", "2", "--out", str(path))
    assert "held-out error" in printed
    assert printed.count("pilot ") >= 4
    return path


def test_costs_come_before_any_run(tmp_path: Path) -> None:
    out = tmp_path / "pilot.json"
    arguments = ["pilot", "quickstart", *TINY, *TARGET, "--pilots", "5", "--rounds", "3", "--out", str(out), "--costs"]
    assert "of simulated time" in done(*arguments)
    costs = document(*arguments)["costs"]
    assert costs["pilots"] == 5
    assert costs["rounds"] == 3
    assert costs["simulated_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_tenth_of_the_run_is_said() -> None:
    arguments = ["pilot", "quickstart", *TINY, *TARGET, "--pilots", "4", "--rounds", "2", "--costs"]
    assert "more than a tenth" in done(*arguments)
    assert "more than a tenth" not in done(*arguments, "--set", "training.rounds=10000")


def test_what_has_been_run_is_not_run_again(pilot_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hybridsplit.runtime.run import rounds

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to be trained")

    before = json.loads(pilot_file.read_text(encoding="utf-8"))
    monkeypatch.setattr(rounds, "train", refuse)
    done("pilot", "quickstart", *TINY, *TARGET, "--pilots", "5", "--rounds", "2", "--out", str(pilot_file))
    assert json.loads(pilot_file.read_text(encoding="utf-8")) == before


@pytest.mark.slow
def test_a_scenario_that_names_the_file_is_planned_for_its_target(pilot_file: Path) -> None:
    named = ["--set", f"objective.pilot_file={pilot_file}", "--set", "objective.minimise=time-to-target"]
    plan = document("plan", "quickstart", *TINY, *TARGET, *named)
    assert plan["objective"] == "time-to-target"
    assert plan["objective_s"] == pytest.approx(plan["round_latency_s"] / plan["gain"])
    assert plan["scenario"]["objective"]["pilot"]["num_pilots"] == 5
    printed = done("plan", "quickstart", *TINY, *TARGET, *named)
    assert "rounds to training loss 5 are predicted" in " ".join(printed.split())


def test_a_file_for_something_else_is_refused(pilot_file: Path, tmp_path: Path) -> None:
    named = ["--set", f"objective.pilot_file={pilot_file}", "--set", "objective.minimise=time-to-target"]
    for override, word in (
        ("training.local_steps=3", "another section 'training'"),
        ("data.partition={scheme: dirichlet, alpha: 0.3}", "another section 'data'"),
        ("objective.target_loss=0.5", "made for target_loss 5"),
    ):
        result = invoke("plan", "quickstart", *TINY, *named, "--set", override)
        assert result.exit_code == 2
        assert word in " ".join(result.stderr.split())
    # What only the plan depends on may change.
    done("plan", "quickstart", *TINY, *named, "--set", "radio.uplink_hz=20 MHz", "--strategy", "greedy")
    changed = tmp_path / "changed.json"
    text = pilot_file.read_text(encoding="utf-8")
    changed.write_text(text.replace('"num_pilots": 5', '"num_pilots": 6'), encoding="utf-8")
    result = invoke("plan", "quickstart", *TINY, "--set", f"objective.pilot_file={changed}")
    assert result.exit_code == 2
    assert "was changed after" in " ".join(result.stderr.split())


def test_a_file_of_the_formula_before_is_refused_by_its_version(pilot_file: Path, tmp_path: Path) -> None:
    before = {**json.loads(pilot_file.read_text(encoding="utf-8")), "schema_version": 1}
    old = tmp_path / "old.json"
    write_sealed(old, before)
    result = invoke("plan", "quickstart", *TINY, *TARGET, "--set", f"objective.pilot_file={old}")
    assert result.exit_code == 2
    printed = " ".join(result.stderr.split())
    assert "run 'hybridsplit pilot' again" in printed
    assert "objective.pilot_file" in printed


@pytest.mark.slow
def test_several_seeds_are_several_runs_of_a_pilot(tmp_path: Path) -> None:
    out = tmp_path / "pilot.json"
    few = ["--pilots", "4", "--rounds", "2", "--seeds", "2", "--out", str(out)]
    found = document("pilot", "quickstart", *TINY, *TARGET, *few)
    assert [(run["pilot"], run["seed"]) for run in found["runs"]] == [(k, seed) for seed in (0, 1) for k in range(4)]
    assert found["constants"]["num_seeds"] == 2
    assert found["constants"]["num_pilots"] == 4
    assert found["costs"]["seeds"] == 2
    first, again = found["runs"][0], found["runs"][4]
    assert first["options"] == again["options"]
    assert first["curve"] != again["curve"]


def test_what_is_missing_is_said() -> None:
    result = invoke("pilot", "quickstart", *TINY, "--costs")
    assert result.exit_code == 2
    assert "objective.target_accuracy" in result.stderr
    result = invoke("plan", "quickstart", "--set", "objective.minimise=time-to-target")
    assert result.exit_code == 2
    assert "hybridsplit pilot" in " ".join(result.stderr.split())
    result = invoke("plan", "quickstart", "--set", "objective.pilot_file=absent.json")
    assert result.exit_code == 2
    assert "no such file" in result.stderr
