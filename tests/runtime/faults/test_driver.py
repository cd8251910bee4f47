"""A driver that is killed, and a disk that is full: the run goes on to the same bits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.state_files import load_states
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.errors import RunError
from tests.runtime.faults.runs import ROUNDS, SMALL, assert_same_bits, assignments_of, scenario_with


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, undisturbed: TrainingResult) -> None:
    scenario = scenario_with()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(record: Any) -> None:
        if record.round == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))

    try:
        with InlineExecutor(scenario) as executor, pytest.raises(RunError, match=r"cannot write.*--resume"):
            train(scenario, assignments_of(scenario), executor, ROUNDS, checkpoint_folder=tmp_path, on_round=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments_of(scenario), executor, ROUNDS, checkpoint_folder=tmp_path, resume=True)
    assert_same_bits(resumed.state, undisturbed.state)


def run_of(folder: Path, executor: str, *more: str) -> subprocess.Popen[bytes]:
    start = "from hybridsplit.orchestrator.cli import main; main()"
    command = [sys.executable, "-c", start, "run", "quickstart", "--executor", executor, "--workers", "1"]
    for setting in [*SMALL, "training.rounds=8", "training.frozen_control=false"]:
        command += ["--set", setting]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--out", str(folder), *more],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed_driver(tmp_path_factory: pytest.TempPathFactory) -> State:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_of(folder, "inline").wait() == 0
    return load_states(folder / "checkpoints" / "round-000008")[0]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_killed_driver_resumes_to_the_same_bits(executor: str, tmp_path: Path, undisturbed_driver: State) -> None:
    victim = run_of(tmp_path, executor)
    latest = tmp_path / "checkpoints" / "latest.json"
    while victim.poll() is None and not latest.exists():
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    assert victim.wait() != 0, "it was killed while it trained"
    assert run_of(tmp_path, executor, "--resume").wait() == 0
    assert_same_bits(load_states(tmp_path / "checkpoints" / "round-000008")[0], undisturbed_driver)
