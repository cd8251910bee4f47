"""A run that Ray's code ends without a word: another process says what happened, and passes signals on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybridsplit.orchestrator import guard

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are watched on Linux")
BEGIN = "import os, sys, time, signal; from hybridsplit.orchestrator import guard; watched = guard.begin()\n"


def started(body: str, end: str = "guard.end(watched)\n") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + body + "\n" + end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("os._exit(1)", 4, guard.SENTENCE),
        ("os.abort()", 4, guard.SENTENCE),
        ("guard.end(watched); os._exit(1)", 1, ""),
        ("os._exit(4)", 4, ""),
        ("guard.end(watched); os._exit(143)", 143, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("print(os.getppid() > 1)", 0, ""),
    ],
)
def test_a_run_ends_as_it_says_and_is_spoken_for_where_it_cannot(body: str, code: int, said: str) -> None:
    process = started(body)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors == said


def test_what_to_do_is_said_of_the_command_that_ended() -> None:
    process = subprocess.run(
        [sys.executable, "-c", BEGIN.replace("begin()", "begin('pilot')") + "os._exit(1)"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (4, guard.SENTENCE_OF_OTHERS)
    assert "--resume" not in process.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(sent: signal.Signals) -> None:
    body = f"signal.signal({int(sent)}, lambda *_: (print('heard', flush=True), guard.end(watched), os._exit(7)))\n"
    process = started(body + "print(os.getpid(), flush=True); time.sleep(30)")
    assert process.stdout is not None
    assert int(process.stdout.readline()) != process.pid
    process.send_signal(sent)
    assert process.communicate(timeout=30)[0] == "heard\n"
    assert process.returncode == 7


def test_the_run_dies_with_the_process_that_watches_over_it() -> None:
    process = started("print(os.getpid(), flush=True); time.sleep(30)")
    assert process.stdout is not None
    run = int(process.stdout.readline())
    process.kill()
    process.wait()
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s and _is_alive(run):
        time.sleep(0.01)
    assert not _is_alive(run)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["run", "quickstart"], True),
        (["run", "quickstart", "--executor", "ray"], True),
        (["run", "quickstart", "--executor", "inline"], False),
        (["run", "--executor=inline", "quickstart"], False),
        (["run", "--help"], False),
        (["run", "quickstart", "--executor", "inline", "--executor=ray"], True),
        (["compare", "quickstart", "--run"], True),
        (["compare", "quickstart", "--seeds", "5"], True),
        (["compare", "quickstart", "--seeds=5", "--executor", "inline"], False),
        (["compare", "quickstart"], False),
        (["pilot", "quickstart"], False),
        (["pilot", "quickstart", "--executor", "ray"], True),
        (["search", "quickstart", "--executor=ray"], True),
        (["plan", "quickstart"], False),
        (["plan", "quickstart", "--strategy", "static", "--workers=2"], True),
        ([], False),
    ],
)
def test_only_commands_that_may_start_ray_are_watched_over(arguments: list[str], needed: bool) -> None:
    assert guard.is_needed(arguments) is needed
