"""Processes of Ray itself die: the run says so within seconds and goes on with --resume, or dies with a sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.attack.commands import Command, is_one_sentence
from hybridsplit.runtime.executors import ray_cluster, ray_token, ray_waiting
from hybridsplit.scenarios.errors import RunError

RUN = ("run", "quickstart", "--set", "training.local_steps=1", "--set", "training.frozen_control=false", "--out", "run")


class Node:
    """A cluster of one machine, some of whose processes have died."""

    def __init__(self, *dead: str) -> None:
        self._dead = dead

    def dead_processes(self) -> list[tuple[str, None]]:
        return [(kind, None) for kind in self._dead]


@pytest.mark.parametrize(("dead", "said"), [(("log_monitor", "raylet"), "raylet"), (("gcs_server",), "GCS")])
def test_a_dead_cluster_is_named_with_who_waits(
    monkeypatch: pytest.MonkeyPatch, dead: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("ray._private.worker._global_node", Node(*dead))
    with pytest.raises(RunError, match=f"{said} process died while the run waited for a reply: .*--resume") as caught:
        ray_waiting.check_cluster("a reply")
    assert caught.value.exit_code == 4


def test_helpers_of_ray_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.worker._global_node", Node("log_monitor", "monitor", "dashboard"))
    ray_waiting.check_cluster("anything")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("title", ["raylet/raylet", "gcs_server"])
def test_a_run_whose_cluster_is_killed_stops_and_resumes(tmp_path: Path, title: str) -> None:
    command = Command(*RUN, "--rounds", 500, "--executor", "ray", "--workers", 1, folder=tmp_path)
    while command.process.poll() is None and not (tmp_path / "run" / "checkpoints" / "latest.json").exists():
        time.sleep(0.05)
    (victim,) = [pid for pid, name in command.descendants() if title in name.split(" ")[0]]
    os.kill(victim, signal.SIGKILL)
    assert command.ended(60) == 4
    assert is_one_sentence(command.said), command.said
    assert "--resume" in command.said[0]
    done = max((tmp_path / "run" / "checkpoints").glob("round-*")).name.removeprefix("round-")
    again = Command(*RUN, "--rounds", int(done) + 1, "--executor", "inline", "--resume", folder=tmp_path)
    assert again.ended(120) == 0, again.said


def test_sigterm_names_resume(tmp_path: Path) -> None:
    command = Command(*RUN, "--rounds", 2000, "--executor", "inline", folder=tmp_path)
    while command.process.poll() is None and not (tmp_path / "run" / "checkpoints" / "latest.json").exists():
        time.sleep(0.05)
    command.process.terminate()
    assert command.ended(30) == 143
    assert is_one_sentence(command.said)
    assert "--resume" in command.said[0]


def test_a_run_folder_that_is_removed_is_missed_at_the_next_checkpoint(tmp_path: Path) -> None:
    command = Command(*RUN, "--rounds", 2000, "--executor", "inline", folder=tmp_path)
    while command.process.poll() is None and not (tmp_path / "run" / "checkpoints" / "latest.json").exists():
        time.sleep(0.05)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert command.ended(60) == 4
    assert is_one_sentence(command.said)
    assert "the run folder is gone" in command.said[0]


@pytest.mark.parametrize(
    "how", ["closed", *(pytest.param(one, marks=pytest.mark.slow) for one in ("full", "no reader"))]
)
def test_a_run_goes_on_without_its_output(tmp_path: Path, how: str) -> None:
    start = "from hybridsplit.orchestrator.start import main; main()"
    arguments = [sys.executable, "-c", start, *RUN, "--rounds", "1", "--executor", "inline"]
    tails = {"closed": ">&-", "full": ">/dev/full", "no reader": "| true; exit ${PIPESTATUS[0]}"}
    line = " ".join(f"'{one}'" for one in arguments)
    done = subprocess.run(
        ["bash", "-c", f"{line} {tails[how]}"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
    assert (how == "no reader") or "standard output" in done.stderr


def test_an_empty_token_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.touch(mode=0o644)
    ray_token.ensure_private_token()
    assert token.read_text()
    assert token.stat().st_mode & 0o777 == 0o600


def listening(pids: set[int]) -> list[str]:
    """Return the hexadecimal local addresses that processes listen on for TCP."""
    sockets = set()
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(path.readlink()).removeprefix("socket:[").rstrip("]"))
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return [line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_a_cluster_of_ones_own_listens_on_loopback_alone(tmp_path: Path) -> None:
    command = Command(*RUN, "--rounds", 500, "--executor", "ray", "--workers", 1, folder=tmp_path)
    try:
        while command.process.poll() is None and not (tmp_path / "run" / "checkpoints" / "latest.json").exists():
            time.sleep(0.05)
        found = listening({command.process.pid, *(pid for pid, _ in command.descendants())})
    finally:
        command.process.terminate()
        command.ended(60)
    assert len(found) >= 4, command.said
    assert set(found) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_a_signal_that_comes_while_ray_starts_reaches_the_caller() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with ray_cluster._own_signals():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        with pytest.raises(SystemExit), ray_cluster._own_signals():
            sys.exit(3)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
