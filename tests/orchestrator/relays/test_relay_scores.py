"""The score of a model over relays has its own name and figures, from the run to the exported model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

import hybridsplit as hs
from hybridsplit.orchestrator.relays.check import check_relay_folder
from hybridsplit.orchestrator.relays.planning import ComparedRelays
from hybridsplit.orchestrator.relays.replaying import read_relay_summary
from hybridsplit.orchestrator.relays.results import RelayRun
from hybridsplit.orchestrator.relays.views import relays_comparison_table
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.runtime.data.sources import load_dataset, whole_model
from hybridsplit.runtime.executors.state_files import load_states
from hybridsplit.runtime.run.assignments import plan_fingerprint
from hybridsplit.runtime.run.checkpoint import kept_rounds, open_round
from hybridsplit.scenarios.contracts.assignment import relay_assignments_of
from hybridsplit.scenarios.errors import ContractError, UsageError
from hybridsplit.scenarios.relays.loading import single_cut
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SCORES, SINGLE_LABEL
from tests.orchestrator.relays.test_relay_commands import invoked
from tests.runtime.problem_types import CODE

COLUMNS = {REGRESSION: "test_r2", MULTI_LABEL: "test_macro_f1", SINGLE_LABEL: "test_accuracy"}
LABELS = {REGRESSION: "R²", MULTI_LABEL: "macro F1", SINGLE_LABEL: "accuracy"}
OTHERS = [REGRESSION, MULTI_LABEL]
CLASSES = "\ndef classes(): return [(torch.randn(1, 16, 16), i % 3) for i in range(64)]\n"


def written(folder: Path, kind: str) -> Path:
    """A module of one's own over two machines beside the client."""
    (folder / "mine.py").write_text(CODE + CLASSES, encoding="utf-8")
    several = {"python": "mine.py:images", "arguments": {"outputs": 3, "several": kind == MULTI_LABEL}}
    document: dict[str, Any] = {
        "name": "scored",
        "model": {
            "task": "image-classification", "problem_type": kind, "python": "mine.py:Net", "arguments": {"outputs": 3},
        },
        "data": {"python": "mine.py:classes"} if kind == SINGLE_LABEL else several,
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.05}, "batch_size": 8, "micro_batches": [2],
            "local_steps": 2, "rounds": 2,
        },
        "network": {
            "nodes": [{"node": "gate", "device": "rpi5_8gb"}, {"node": "cloud", "device": "edge_rtx_a2000_6gb"}],
            "links": [
                {"from": "pi", "to": "gate", "uplink_bps": "20 Mbit/s", "downlink_bps": "20 Mbit/s"},
                {"from": "gate", "to": "cloud", "uplink_bps": "20 Mbit/s", "downlink_bps": "20 Mbit/s"},
            ],
        },
        "clients": [{"group": "pi", "device": "rpi5_8gb", "count": 2, "memory_budget_bytes": "4 MiB"}],
        "search": {"time_limit_s": 1.0},
    }  # fmt: skip
    path = folder / "scored.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def ran_there(path: Path, out: str, *more: str) -> RelayRun:
    arguments = ["run", str(path), "--executor", "inline", "--strategy", "even-split", "--out", str(path.parent / out)]
    invoked(*arguments, *more)
    return opened(path.parent / out)


def opened(folder: Path) -> RelayRun:
    return RelayRun(folder, RunFolder(folder).relay_plan(), read_relay_summary(folder / "summary.json"))


@pytest.fixture(scope="module", params=list(COLUMNS))
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, RelayRun]:
    path = written(tmp_path_factory.mktemp("scored"), request.param)
    return request.param, path, ran_there(path, "run")


def test_a_run_names_its_score(ran: tuple[str, Path, RelayRun]) -> None:
    kind, _, run = ran
    column, label = COLUMNS[kind], LABELS[kind]
    assert list(run.rounds.columns) == ["round", "simulated_s", "train_loss", column]
    assert run.score == run.rounds[column].iloc[-1] == getattr(run.figures, column)
    assert f"test {label} " in repr(run)
    assert f"Test {label} " in run._repr_html_()
    assert all(getattr(run.figures, score.column) is None for score in SCORES if score.column != column)
    if kind == SINGLE_LABEL:
        assert run.accuracy == run.score
    else:
        with pytest.raises(UsageError, match="judged by"):
            _ = run.accuracy


def test_the_report_names_the_score(ran: tuple[str, Path, RelayRun]) -> None:
    kind, _, run = ran
    invoked("report", str(run.path))
    page = run.report.read_text(encoding="utf-8")
    assert f"Test {LABELS[kind]} over simulated time" in page
    assert kind == SINGLE_LABEL or "accuracy over" not in page


def test_a_stopped_run_goes_on_to_the_same_score(ran: tuple[str, Path, RelayRun]) -> None:
    kind, path, run = ran
    ran_there(path, "again", "--rounds", "1")
    arguments = ["--resume", "--executor", "inline", "--out", str(path.parent / "again"), "--json"]
    document = json.loads(invoked("run", str(path), *arguments).stdout)
    assert document["training"][COLUMNS[kind]] == run.score
    assert opened(path.parent / "again").rounds.equals(run.rounds)


def test_rounds_are_those_of_a_single_cut(ran: tuple[str, Path, RelayRun], tmp_path: Path) -> None:
    """With one micro-batch: the same losses and scores, to the bit."""
    kind, path, _ = ran
    found = []
    for strategy in ("even-split", "single-cut"):
        out = tmp_path / strategy
        one = ["--set", "training.micro_batches=[1]", "--strategy", strategy, "--executor", "inline"]
        invoked("run", str(path), *one, "--out", str(out))
        found.append(opened(out).rounds[["train_loss", COLUMNS[kind]]])
    assert found[0].equals(found[1])


def test_a_comparison_has_the_score(ran: tuple[str, Path, RelayRun]) -> None:
    kind, path, _ = ran
    arguments = ["--strategies", "even-split,client-only", "--run", "--executor", "inline"]
    rows = json.loads(invoked("compare", str(path), *arguments, "--json").stdout)["strategies"]
    assert all(row[COLUMNS[kind]] is not None for row in rows)
    table = relays_comparison_table([ComparedRelays.model_validate(row) for row in rows])
    assert [column.header for column in table.columns][-2:] == [LABELS[kind], "after"]


@pytest.mark.parametrize("round_", ["best", "last", "1"])
def test_the_trained_model_comes_out(ran: tuple[str, Path, RelayRun], tmp_path: Path, round_: str) -> None:
    """The weights of the checkpoint, in the user's own module."""
    kind, path, run = ran
    document = json.loads(
        invoked("export", str(run.path), "--to", str(tmp_path / "out"), "--round", round_, "--json").stdout
    )
    assert document[COLUMNS[kind]] == run.rounds[COLUMNS[kind]].iloc[document["rounds"] - 1]
    scenario = hs.load(path)
    assert isinstance(scenario, RelayScenario)
    single = single_cut(scenario)
    fingerprint = plan_fingerprint(single, relay_assignments_of(run.plan, single))
    folder = RunFolder(run.path).checkpoints
    assert document["rounds"] in kept_rounds(folder)
    _, (state, _) = open_round(folder, fingerprint, document["rounds"], load_states)
    kept = {name: tensor for name, tensor in state.items() if name.startswith("blocks.")}
    model, _ = whole_model(single)
    loaded = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    model.load_state_dict(loaded)
    sums = sorted(float(tensor.double().sum()) for tensor in loaded.values())
    assert sums == sorted(float(tensor.double().sum()) for tensor in kept.values())
    batch = load_dataset(single).test.batch(torch.arange(4))
    assert torch.isfinite(model(batch.inputs)).all()


def test_the_score_of_another_kind_is_refused_in_the_files(ran: tuple[str, Path, RelayRun], tmp_path: Path) -> None:
    kind, _, run = ran
    ledger = RunFolder(run.path).ledger()
    check_relay_folder(run.path, run.plan, run.summary, ledger, run.rounds)
    column = COLUMNS[kind]
    other = run.rounds.assign(**{column: run.rounds[column] - 0.25})
    with pytest.raises(ContractError, match=f"training.{column} is not that of rounds.parquet"):
        check_relay_folder(run.path, run.plan, run.summary, ledger, other)
    with pytest.raises(ContractError, match="not those of a run over relays"):
        check_relay_folder(
            run.path, run.plan, run.summary, ledger, run.rounds.rename(columns={column: "test_something"})
        )


@pytest.mark.parametrize("kind", OTHERS)
def test_labels_of_another_kind_are_refused_by_plan(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    digits = invoked("plan", str(path), "--set", 'data={"source": "digits"}', code=2).output
    assert "whose labels are single classes" in digits.replace("\n", " ")
    wrong = invoked("plan", str(path), "--set", "model.arguments.outputs=2", code=2).output.replace("\n", " ")
    assert "gives 2 outputs a sample; the data have 3 labels or numbers" in wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_ray_trains_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    inline = ran_there(path, "inline")
    arguments = ["run", str(path), "--executor", "ray", "--workers", "2", "--strategy", "even-split"]
    invoked(*arguments, "--out", str(tmp_path / "ray"))
    assert opened(tmp_path / "ray").rounds.equals(inline.rounds)
