"""Kill every kind of process of a run on Ray at every stage: it goes on, or stops with a sentence and resumes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

from benchmarks.attack.commands import QUICK, Command, is_one_sentence, weights_of
from benchmarks.attack.tally import Tally

ROUNDS = 6
LIMIT_S = 240.0
KINDS = (
    "ray::RayWorker", "raylet/raylet", "ray::RayModelServer", "gcs_server", "driver", "ray::RaySharedServer",
    "DashboardAgent", "ray::IDLE", "RuntimeEnvAgent", "monitor.py", "dashboard.py", "log_monitor.py", "driver, gently",
)  # fmt: skip
"""Titles of processes; ``driver, gently`` is SIGTERM, all others SIGKILL."""
STAGES_S = (0.0, 0.05, 0.5, 2.0, 5.0, 9.0)
"""When a process is killed, seconds after it has appeared, with a random part up to the next of these."""


def attack(scratch: Path, trials: int, seed: int) -> bool:
    """Kill processes; return whether every run went on or resumed to the same bits, with a sentence and in time.

    Parameters
    ----------
    scratch
        A folder to work in.
    trials
        Runs, each with one kill.
    seed
        Of the moments.
    """
    chance, tally = random.Random(seed), Tally("kills")
    wanted = {model: _undisturbed(scratch, model) for model in ("per-client", "shared-mean")}
    for trial in range(trials):
        kind = KINDS[trial % len(KINDS)]
        model = "shared-mean" if kind == "ray::RaySharedServer" or trial % 4 == 3 else "per-client"
        stage = trial // len(KINDS) % len(STAGES_S)
        after_s = STAGES_S[stage] + chance.random() * ([*STAGES_S, 12.0][stage + 1] - STAGES_S[stage])
        folder = scratch / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        verdict, what, is_bad = _trial(folder, model, kind, after_s, wanted[model])
        case = f"{kind} of a {model} run after {after_s:.2f} s"
        print(f"    trial {trial + 1}, {case}: {verdict}", flush=True)
        tally.add(verdict, f"{case}: {what}", bad=is_bad)
    return tally.report()


def _arguments(model: str) -> list[str]:
    rounds = ["--rounds", str(ROUNDS), "--set", f"training.server_model={model}"]
    return ["run", "quickstart", *QUICK, *rounds, "--out", "run"]


def _undisturbed(scratch: Path, model: str) -> str:
    folder = scratch / model
    folder.mkdir()
    command = Command(*_arguments(model), "--executor", "inline", folder=folder)
    assert command.ended(LIMIT_S) == 0, command.said
    return weights_of(folder / "run")


def _trial(folder: Path, model: str, kind: str, after_s: float, wanted: str) -> tuple[str, str, bool]:
    command = Command(*_arguments(model), "--executor", "ray", "--workers", "2", folder=folder)
    killed = _kill(command, kind, after_s)
    code, said = command.ended(LIMIT_S), command.said
    if code is None:
        return "hangs", " | ".join(said)[-300:], True
    if code == 0:
        same = weights_of(folder / "run") == wanted
        verdict = "went on to the same bits" if killed else "was over before"
        return (verdict if same else "other bits"), "", not same
    expected = {"driver": -signal.SIGKILL, "driver, gently": 128 + signal.SIGTERM}.get(kind, 4)
    if kind == "driver, gently" and code == -signal.SIGTERM and not said:
        return "stopped before there was anything to resume", "Python itself had not started", False
    is_said = kind == "driver" or is_one_sentence(said)
    if code != expected or not is_said:
        return "ended otherwise than said", f"exit {code}: {' | '.join(said)[-300:]}", True
    if not (folder / "run" / "plan.json").exists():
        return "stopped before there was anything to resume", "", False
    again = Command(*_arguments(model), "--executor", "inline", "--resume", folder=folder)
    if again.ended(LIMIT_S) != 0:
        return "does not resume", " | ".join(again.said)[-300:], True
    same = weights_of(folder / "run") == wanted
    return ("stopped with a sentence, resumed to the same bits" if same else "other bits after resuming"), "", not same


def _kill(command: Command, kind: str, after_s: float) -> bool:
    """Kill a process of a kind some time after the first of them has appeared; return whether there was one."""
    of_driver = kind.startswith("driver")
    while command.process.poll() is None:
        if of_driver or any(kind in title for _, title in command.descendants()):
            break
        time.sleep(0.01)
    time.sleep(after_s)
    victims = [command.process.pid] if of_driver else [pid for pid, title in command.descendants() if kind in title]
    if command.process.poll() is not None or not victims:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(victims[0], signal.SIGTERM if kind == "driver, gently" else signal.SIGKILL)
    return True
