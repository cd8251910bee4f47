"""The score of a regression, or of several labels, has its own name and figures from the run to the exported model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
import yaml

import hybridsplit as hs
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import AlteredError, ContractError, ScenarioError, UsageError
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SCORES
from tests.orchestrator.test_cli import document, done
from tests.runtime.problem_types import problem

COLUMNS = {REGRESSION: "test_r2", MULTI_LABEL: "test_macro_f1"}
LABELS = {REGRESSION: "R²", MULTI_LABEL: "macro F1"}
KINDS = [REGRESSION, MULTI_LABEL]


def written(folder: Path, kind: str, origin: str = "own", **training: Any) -> Path:
    """A scenario as a file, with paths that hold from everywhere."""
    scenario = problem(folder, origin, kind, 2, **{"modes": ["fo", "frozen"], "rounds": 2, **training})
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario.resolved()), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=KINDS)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, hs.Run, str]:
    folder = tmp_path_factory.mktemp("scored")
    path = written(folder, request.param, frozen_control=True, local_steps=3)
    printed = done("run", str(path), "--executor", "inline", "--out", str(folder / "run"))
    return request.param, hs.Run(folder / "run"), printed


def test_a_run_names_its_score(ran: tuple[str, hs.Run, str]) -> None:
    kind, run, printed = ran
    column, label = COLUMNS[kind], LABELS[kind]
    assert list(run.rounds.columns) == ["round", "simulated_s", "train_loss", column]
    assert f"test {label} " in printed
    assert "accuracy" not in printed
    assert run.score == run.rounds[column].iloc[-1] == getattr(run.summary, column)
    assert f"test {label} " in repr(run)
    assert run.summary.frozen_control_score is not None
    assert all(getattr(run.summary, score.column) is None for score in SCORES if score.column != column)
    with pytest.raises(UsageError, match="read score"):
        _ = run.accuracy


def test_the_report_names_the_score(ran: tuple[str, hs.Run, str]) -> None:
    kind, run, _ = ran
    done("report", str(run.path))
    page = run.report.read_text(encoding="utf-8")
    assert f"Final {LABELS[kind]}" in page
    assert f"Test {LABELS[kind]} over simulated time" in page
    assert "accuracy over" not in page
    assert "of the frozen control" in page or "the frozen control (" in page


def test_a_score_beyond_what_there_can_be_is_found_out(ran: tuple[str, hs.Run, str], tmp_path: Path) -> None:
    from hybridsplit.orchestrator.run_check import check_run
    from hybridsplit.orchestrator.run_folder import RunFolder

    kind, run, _ = ran
    folder, column = RunFolder(run.path), COLUMNS[kind]
    values = (run.plan, run.summary, run.ledger)
    check_run(run.path, *values, run.rounds, folder.rounds("control"), None)
    with pytest.raises(ContractError, match=f"{column} is 1.5"):
        check_run(run.path, *values, run.rounds.assign(**{column: [0.5, 1.5]}), folder.rounds("control"), None)
    renamed = run.rounds.rename(columns={column: "test_accuracy"})
    with pytest.raises(ContractError, match=f"not those of a run .*{column}"):
        check_run(run.path, *values, renamed, folder.rounds("control"), None)
    assert issubclass(AlteredError, ContractError)


def test_a_killed_run_goes_on_to_the_same_score(ran: tuple[str, hs.Run, str], tmp_path: Path) -> None:
    kind, run, _ = ran
    path = written(tmp_path, kind, frozen_control=True, local_steps=3)
    out = ("--executor", "inline", "--out", str(tmp_path / "run"))
    done("run", str(path), "--rounds", "1", *out)
    done("run", str(path), "--resume", *out)
    found = hs.Run(tmp_path / "run")
    assert found.rounds[COLUMNS[kind]].tolist() == run.rounds[COLUMNS[kind]].tolist()


def test_rounds_are_told_with_their_score(tmp_path: Path) -> None:
    told: list[Any] = []
    scenario = hs.load(written(tmp_path, REGRESSION))
    hs.run(scenario, executor="inline", out=tmp_path / "run", on_round=told.append)
    assert [one.score for one in told] == ["r2", "r2"]
    with pytest.raises(ContractError, match="its score is r2, not accuracy"):
        _ = told[0].test_accuracy


@pytest.mark.parametrize("origin", ["bert", "resnet"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_model_has_the_loss_that_it_was_trained_by(tmp_path: Path, origin: str, kind: str) -> None:
    """``problem_type``, so that transformers' own trainer goes on with it, and as many labels."""
    path = written(tmp_path, kind, origin, rounds=1)
    done("run", str(path), "--executor", "inline", "--out", str(tmp_path / "run"))
    exported = document("export", str(tmp_path / "run"), "--to", str(tmp_path / "out"))
    assert COLUMNS[kind] in exported
    loads_with = eval(exported["loads_with"], {"transformers": transformers, "folder": str(tmp_path / "out")})
    assert loads_with.config.problem_type == kind
    assert loads_with.config.num_labels == 2
    batch = load_dataset(hs.load(path)).train.batch(torch.arange(4))
    words = {"pixel_values": batch.inputs} if origin == "resnet" else {"input_ids": batch.inputs}
    assert torch.isfinite(loads_with.eval()(**words, labels=batch.labels).loss)


def test_names_of_labels_are_in_the_exported_configuration(tmp_path: Path) -> None:
    path = written(tmp_path, MULTI_LABEL, "resnet", rounds=1)
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def images(outputs, several):\n"
        "    return [(torch.randn(1, 16, 16), [['wet'], ['cold', 'wet'], []][i % 3]) for i in range(64)]\n"
    )
    done("run", str(path), "--executor", "inline", "--out", str(tmp_path / "run"))
    done("export", str(tmp_path / "run"), "--to", str(tmp_path / "out"))
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "cold", "1": "wet"}
    assert config["label2id"] == {"cold": 0, "wet": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_comparison_shows_the_score(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, rounds=1, frozen_control=False)
    compared = document("compare", str(path), "--strategies", "optimal,splitfed", "--run", "--executor", "inline")
    assert all(COLUMNS[kind] in row for row in compared["strategies"])
    assert not any("test_accuracy" in row for row in compared["strategies"])


@pytest.mark.parametrize("kind", KINDS)
def test_strategies_over_seeds_are_compared_by_the_score(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, frozen_control=False)
    arguments = ["--strategies", "optimal,splitfed", "--seeds", "2", "--executor", "inline"]
    target = ["--set", "objective.target_score=-5" if kind == REGRESSION else "objective.target_score=0.1"]
    out = tmp_path / "study"
    printed = done("compare", str(path), "--run", *arguments, *target, "--out", str(out))
    assert LABELS[kind] in printed
    table = pd.read_csv(out / "comparison.csv")
    assert COLUMNS[kind] in table.columns
    assert table["seconds_to_target"].notna().all()
    assert (out / f"{COLUMNS[kind].removeprefix('test_')}.svg").is_file()


def test_pilots_lead_to_a_score(tmp_path: Path) -> None:
    path = written(tmp_path, REGRESSION, frozen_control=False, modes=["fo", "fo-recompute", "zo-loss", "frozen"])
    out = tmp_path / "pilot.json"
    arguments = ["--set", "objective.target_score=-9", "--pilots", "4", "--rounds", "2", "--out", str(out)]
    done("pilot", str(path), *arguments)
    assert json.loads(out.read_text(encoding="utf-8"))["constants"]["target_score"] == -9
    planned = ["--set", f"objective.pilot_file={out}", "--set", "objective.minimise=time-to-target"]
    assert document("plan", str(path), *planned, "--set", "objective.target_score=-9")["objective"] == "time-to-target"
    with pytest.raises(ScenarioError, match="found -8 with pilots that were made for target_score -9"):
        hs.load(path, **{"objective.pilot_file": str(out), "objective.target_score": -8.0})


@pytest.mark.parametrize(("change", "says"), [
    ({"model.arguments": {"outputs": 3}}, "gives 3 outputs a sample; the data have 2 labels or numbers"),
    ({"data.arguments": {"outputs": 3, "several": False}}, "gives 2 outputs a sample; the data have 3 labels"),
])  # fmt: skip
def test_plan_refuses_a_head_that_does_not_fit(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        hs.plan(hs.load(written(tmp_path, REGRESSION), **change))


@pytest.mark.parametrize("number", [1, 3])
def test_plan_refuses_a_configuration_with_another_number_of_outputs(tmp_path: Path, number: int) -> None:
    scenario = hs.load(written(tmp_path, REGRESSION, "bert"), **{"model.config.num_labels": number})
    with pytest.raises(ScenarioError, match=f"num_labels: found {number}; the data has 2 numbers to predict"):
        hs.plan(scenario)


def test_a_configuration_may_not_contradict_the_scenario(tmp_path: Path) -> None:
    path = written(tmp_path, REGRESSION, "bert")
    assert hs.plan(hs.load(path, **{"model.config.problem_type": REGRESSION})).clients
    with pytest.raises(ScenarioError, match="problem_type: found 'multi_label_classification'; the loss is that of"):
        hs.plan(hs.load(path, **{"model.config.problem_type": MULTI_LABEL}))


@pytest.mark.parametrize("with_head", [True, False])
def test_a_checkpoint_is_trained_for_numbers(tmp_path: Path, with_head: bool) -> None:
    """A head of its own must have as many outputs; a missing one is drawn for the data."""
    scenario = hs.load(written(tmp_path, REGRESSION, "bert"))
    config = transformers.BertConfig(**{k: v for k, v in (scenario.model.config or {}).items() if k != "model_type"})
    auto = transformers.AutoModelForSequenceClassification if with_head else transformers.AutoModel
    auto.from_config(config, trust_remote_code=False).save_pretrained(tmp_path / "start")
    model = {"task": "sequence-classification", "problem_type": REGRESSION, "checkpoint": str(tmp_path / "start")}
    text = scenario.resolved() | {"model": model}
    hs.run(hs.load(text), executor="inline", out=tmp_path / "run")
    assert hs.Run(tmp_path / "run").summary.test_r2 is not None
    text["data"] = text["data"] | {"arguments": {"outputs": 3, "several": False}}
    if with_head:
        with pytest.raises(ScenarioError, match="was trained for 2 labels or numbers; the data has 3"):
            hs.plan(hs.load(text))
    else:
        assert hs.plan(hs.load(text)).clients


@pytest.mark.slow
@pytest.mark.parametrize("server_model", ["per-client", "shared-mean", "shared-sequential"])
def test_ray_trains_to_the_same_bits(tmp_path: Path, server_model: str) -> None:
    path = written(tmp_path, MULTI_LABEL, server_model=server_model, modes=["fo", "zo-loss"])
    for executor in ("inline", "ray"):
        done("run", str(path), "--executor", executor, "--workers", "2", "--out", str(tmp_path / executor))
    inline, ray = (hs.Run(tmp_path / name) for name in ("inline", "ray"))
    assert inline.rounds.equals(ray.rounds)
