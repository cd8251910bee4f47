"""Rounds told while a run goes on: to a function, to TensorBoard, to MLflow."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hybridsplit as hs
from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.logs import opening
from hybridsplit.orchestrator.logs.figures import LoggedRun, figures_of, logged_run
from hybridsplit.orchestrator.logs.opening import RoundLogs, check_logs
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.timeline.rounds import replayed_rounds
from hybridsplit.orchestrator.training import CONTROL, PLAN
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES
from hybridsplit.scenarios.errors import Notice, RunError, UsageError

SMALL = {"training.local_steps": 1, "training.frozen_control": False, "objective.gradient_split": "assumed"}
DONE = RoundDone(
    3, 12.5, 0.75, 0.5, 1000, 2000, 4096, uplink_utilisation=0.5, downlink_utilisation=0.25, server_utilisation=1.0
)
RUN = LoggedRun("plan", {"strategy": "greedy", "seed": 0})
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs pip install 'hybridsplit[tensorboard]'"
)
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="needs pip install 'hybridsplit[mlflow]'"
)


class Recorder:
    """Keeps what it is told, and fails from some round on."""

    def __init__(self, fails_from: int = 99) -> None:
        self.told: list[tuple[str, RoundDone]] = []
        self.is_closed = False
        self._fails_from = fails_from

    def add(self, run: LoggedRun, done: RoundDone) -> None:
        if done.round >= self._fails_from:
            raise ConnectionError("the server is gone")
        self.told.append((run.name, done))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(scope="module")
def told_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RoundDone], Path]:
    """Two rounds, and a third one after going on."""
    folder = tmp_path_factory.mktemp("logs") / "run"
    plan = hs.plan(hs.load("quickstart", **SMALL), strategy="greedy")
    told: list[RoundDone] = []
    hs.run(plan, rounds=2, out=folder, on_round=told.append)
    hs.run(plan, rounds=3, out=folder, resume=True, on_round=told.append)
    return told, folder


def test_every_round_is_told_and_those_before_first_where_a_run_goes_on(
    told_and_folder: tuple[list[RoundDone], Path],
) -> None:
    told, _ = told_and_folder
    assert [done.round for done in told] == [0, 1, 0, 1, 2]
    assert told[:2] == told[2:4]


def test_what_is_told_is_what_the_folder_holds(told_and_folder: tuple[list[RoundDone], Path]) -> None:
    told, path = told_and_folder
    folder = RunFolder(path)
    rounds, ledger = folder.rounds(), folder.ledger().of(Source.MEASURED)
    assert rounds is not None
    for done in told[2:]:
        row = rounds[rounds["round"] == done.round].iloc[0]
        np.testing.assert_allclose((done.simulated_s, done.train_loss, done.test_accuracy), tuple(row.iloc[1:4]))
        own = ledger[ledger["round"] == done.round]
        for phases, found in ((UPLINK_PHASES, done.uplink_bytes), (DOWNLINK_PHASES, done.downlink_bytes)):
            assert found == own.loc[own["phase"].isin([str(phase) for phase in phases]), "bytes"].sum() > 0
        assert done.peak_bytes == max(folder.summary().peak_bytes.values())
        used = replayed_rounds(folder.plan(), folder.ledger()).set_index("round").loc[done.round]
        for resource in ("uplink", "downlink", "server"):
            assert getattr(done, f"{resource}_utilisation") == used[f"{resource}_utilisation"] > 0


def test_what_a_function_raises_ends_the_run(tmp_path: Path) -> None:
    def stop(done: RoundDone) -> None:
        raise StopIteration("enough")

    with pytest.raises(StopIteration, match="enough"):
        hs.run(hs.load("quickstart", **SMALL), rounds=1, out=tmp_path / "run", on_round=stop)


def test_unknown_figures_are_left_out() -> None:
    assert figures_of(DONE)["largest_peak_bytes"] == 4096
    assert set(figures_of(RoundDone(0, 1.0, None, float("nan"), 1, 2, None))) == {
        "simulated_s", "uplink_bytes", "downlink_bytes",
    }  # fmt: skip


@pytest.mark.parametrize("item", ["tensorboard", "tensorboard:", "wandb:x", "", ":x"])
def test_a_wrong_log_is_named_before_anything_is_computed(item: str) -> None:
    with pytest.raises(UsageError, match="needs tensorboard:FOLDER or mlflow:URI"):
        check_logs([item])


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["run", "quickstart", "--log", "mlflow:runs"])
    assert result.exit_code == 2
    assert "pip install 'hybridsplit[mlflow]'" in result.output.replace("\n", " ")


def test_a_log_that_fails_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    writers: dict[str, Recorder] = {"a": Recorder(fails_from=1), "b": Recorder()}
    monkeypatch.setattr(opening, "_writer", lambda kind, where, experiment: writers[where])
    with RoundLogs(["mlflow:a", "tensorboard:b"], "quickstart") as logs:
        logs.add(RUN, RoundDone(0, 1.0, 1.0, 0.5, 1, 1, 1))
        with pytest.warns(Notice, match="the server is gone"):
            logs.add(RUN, RoundDone(1, 1.0, 1.0, 0.5, 1, 1, 1))
        logs.add(RUN, RoundDone(2, 1.0, 1.0, 0.5, 1, 1, 1))
    assert [done.round for _, done in writers["a"].told] == [0]
    assert [done.round for _, done in writers["b"].told] == [0, 1, 2]
    assert (writers["a"].is_closed, writers["b"].is_closed) == (False, True)


def test_a_log_that_cannot_be_opened_stops_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(kind: str, where: str, experiment: str) -> Any:
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(opening, "_writer", refuses)
    with pytest.raises(RunError, match="nobody listens"):
        RoundLogs(["mlflow:a"], "quickstart")


def test_runs_of_a_comparison_are_named_by_strategy_and_seed() -> None:
    plan = hs.plan(hs.load("quickstart", **SMALL), strategy="greedy")
    logs, written = RoundLogs([], "quickstart"), Recorder()
    logs._writers["here"] = written
    for write in (logs.of(plan), logs.of(plan, "greedy"), logs.of(plan, "greedy-seed-7", 7)):
        for run in (PLAN, CONTROL):
            write(run, DONE)
    assert [name for name, _ in written.told] == [
        "plan", "frozen-control", "greedy", "greedy-frozen-control", "greedy-seed-7", "greedy-seed-7-frozen-control",
    ]  # fmt: skip
    assert logged_run("greedy-seed-7", plan, 7).parameters["seed"] == 7
    assert logged_run("plan", plan).parameters["seed"] == plan.scenario["seed"]


@pytest.mark.parametrize("seeds", [None, 2])
def test_every_run_of_a_comparison_is_written(
    seeds: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Recorder()
    monkeypatch.setattr(opening, "_writer", lambda kind, where, experiment: written)
    monkeypatch.setattr(opening, "check_logs", lambda items: None)
    asked = ["compare", "quickstart", "--run", "--executor", "inline", "--strategies", "greedy,splitfed"]
    asked += ["--set", "training.local_steps=1", "--set", "objective.gradient_split=assumed", "--log", "mlflow:a"]
    asked += ["--set", "training.rounds=2"] if seeds is None else ["--seeds", "2", "--rounds", "2"]
    asked += [] if seeds is None else ["--out", str(tmp_path / "study")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    names = {name for name, _ in written.told}
    if seeds is None:
        assert names == {"greedy", "greedy-frozen-control", "splitfed", "splitfed-frozen-control"}
    else:
        assert names == {"greedy-seed-0", "greedy-seed-1", "splitfed-seed-0", "splitfed-seed-1"}
    assert len(written.told) == 2 * len(names)
    assert written.is_closed
    assert all(0 < (done.server_utilisation or 0.0) <= 1 for _, done in written.told)


def test_a_log_needs_training() -> None:
    result = CliRunner().invoke(app, ["compare", "quickstart", "--log", "tensorboard:x"])
    assert result.exit_code == 2
    assert "--log: needs --run" in result.output


@needs_tensorboard
def test_tensorboard_holds_every_figure_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # a run that goes on tells its rounds again
        with RoundLogs([f"tensorboard:{tmp_path}"], "quickstart") as logs:
            for number in range(2):
                logs.add(RUN, replace(DONE, round=number, simulated_s=1.0 + number))
    found = EventAccumulator(str(tmp_path / "plan"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == set(figures_of(DONE))
    assert [(event.step, event.value) for event in found.Scalars("simulated_s")] == [(0, 1.0), (1, 2.0)]


@needs_mlflow
def test_mlflow_holds_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    # Its light package has no database; later versions want to be asked for files.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"sqlite:///{tmp_path / 'runs.db'}" if importlib.util.find_spec("sqlalchemy") else str(tmp_path)
    plan = hs.plan(hs.load("quickstart", **SMALL), strategy="greedy")
    with RoundLogs([f"mlflow:{uri}"], "quickstart") as logs:
        for run in ("plan", "frozen-control"):
            logs.of(plan)(run, DONE)
        logs.of(plan, "greedy-seed-7", 7)("plan", DONE)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.data.params["seed"] for run in runs} == {
        "plan": "0", "frozen-control": "0", "greedy-seed-7": "7",
    }  # fmt: skip
    assert all(run.data.metrics == figures_of(DONE) and run.data.params["strategy"] == "greedy" for run in runs)
