"""Kill every kind of process of a run on Ray at every stage: it goes on, or stops with a sentence and resumes.

A trial follows from seed and number alone. With a results file every trial is written down as it ends, and a command
that is given the file again goes on after the trials that stand in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
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
LAST_STAGE_ENDS_S = 12.0


@dataclass(frozen=True)
class Trial:
    """One run and the kill within it, with what came of it.

    Parameters
    ----------
    seed, number
        What the trial follows from.
    kind, model, stage, after_s
        Whom it kills, in a run with which server model, at which of ``STAGES_S``, and how many seconds after the
        process has appeared.
    verdict, what, is_bad
        What came of it, in words, and whether that fails the attack.
    """

    seed: int
    number: int
    kind: str
    model: str
    stage: int
    after_s: float
    verdict: str = ""
    what: str = ""
    is_bad: bool = False

    @classmethod
    def of(cls, seed: int, number: int) -> Trial:
        """Return a trial that is to be made: kinds in turn, and after all kinds the next stage."""
        chance = random.Random(f"{seed}/{number}")
        kind, stage = KINDS[number % len(KINDS)], number // len(KINDS) % len(STAGES_S)
        model = "shared-mean" if kind == "ray::RaySharedServer" or chance.random() < 0.25 else "per-client"
        until_s = (*STAGES_S, LAST_STAGE_ENDS_S)[stage + 1]
        return cls(seed, number, kind, model, stage, chance.uniform(STAGES_S[stage], until_s))


def attack(scratch: Path, trials: int, seed: int, results: Path | None = None) -> bool:
    """Kill processes; return whether every run went on or resumed to the same bits, with a sentence and in time.

    Parameters
    ----------
    scratch
        A folder to work in.
    trials
        Runs, each with one kill.
    seed
        Of the moments.
    results
        Where trials are written down, one a line; those of this seed that stand in it are not made again.
    """
    made = {trial.number: trial for trial in _read(results) if trial.seed == seed}
    wanted = cache(lambda model: _undisturbed(scratch, model))
    tally, by_kind = Tally("kills"), Counter[str]()
    for number in range(trials):
        trial = made.get(number) or _carried_out(Trial.of(seed, number), scratch, wanted)
        case = f"{trial.kind} of a {trial.model} run after {trial.after_s:.2f} s"
        if number not in made:
            print(f"    trial {number + 1}, {case}: {trial.verdict}", flush=True)
            if results is not None:
                with results.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(asdict(trial)) + "\n")
        by_kind[trial.kind] += 1
        tally.add(trial.verdict, f"trial {number + 1}, {case}: {trial.what}", bad=trial.is_bad)
    print("    by kind: " + ", ".join(f"{name} {number}" for name, number in by_kind.items()), flush=True)
    return tally.report()


def _read(results: Path | None) -> list[Trial]:
    if results is None or not results.exists():
        return []
    return [Trial(**json.loads(line)) for line in results.read_text(encoding="utf-8").splitlines()]


def _carried_out(trial: Trial, scratch: Path, wanted: Callable[[str], str]) -> Trial:
    folder = scratch / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    verdict, what, is_bad = _tried(folder, trial.model, trial.kind, trial.after_s, wanted(trial.model))
    return replace(trial, verdict=verdict, what=what, is_bad=is_bad)


def _arguments(model: str) -> list[str]:
    rounds = ["--rounds", str(ROUNDS), "--set", f"training.server_model={model}"]
    return ["run", "quickstart", *QUICK, *rounds, "--out", "run"]


def _undisturbed(scratch: Path, model: str) -> str:
    folder = scratch / model
    folder.mkdir()
    command = Command(*_arguments(model), "--executor", "inline", folder=folder)
    assert command.ended(LIMIT_S) == 0, command.said
    return weights_of(folder / "run")


def _tried(folder: Path, model: str, kind: str, after_s: float, wanted: str) -> tuple[str, str, bool]:
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
    is_said = kind == "driver" or is_one_sentence(said, allowed=_is_of_ray)
    if code != expected or not is_said:
        return "ended otherwise than said", f"exit {code}: {' | '.join(said)[-300:]}", True
    if not (folder / "run" / "plan.json").exists():
        return "stopped before there was anything to resume", "", False
    again = Command(*_arguments(model), "--executor", "inline", "--resume", folder=folder)
    if again.ended(LIMIT_S) != 0:
        return "does not resume", " | ".join(again.said)[-300:], True
    same = weights_of(folder / "run") == wanted
    return ("stopped with a sentence, resumed to the same bits" if same else "other bits after resuming"), "", not same


def _is_of_ray(line: str) -> bool:
    """Whether Ray's native code wrote a line as it gave up, which nobody can keep it from."""
    return re.match(r"\[[-\d]+ [\d:,]+ [EW] \d+ \d+\] \w+\.(cc|h):", line) is not None


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
