"""One process of the fuzz command: tries the cases that it is sent, and answers with what became of each."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchmarks.fuzz_cases import Case, make_case
from hybridsplit.scenarios.errors import HybridSplitError

MOST_LOAD_BYTES, MOST_PLAN_BYTES = 2 << 30, 24 << 30
"""Address space of a process that loads, and of one that plans, which maps the libraries of PyTorch."""
LONGEST_MESSAGE = 4_000
UNTRACEABLE = "cannot be traced"
"""A model whose configuration does not fit together: exit 4, since its costs cannot be determined."""
GAP = "found a gap in hybridsplit's checks"


class OutOfTimeError(BaseException):
    """A case took too long; no handler of ours may take it for an error of its own."""


def answer(folder: Path, request: dict[str, object], limit_s: float) -> dict[str, object]:
    """Try a case, and return its outcome with what explains it."""
    kind = str(request["kind"])
    case = make_case(int(str(request["seed"])), kind, int(str(request["number"])))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), _limited(limit_s):
        try:
            outcome = _plan(folder, case) if kind == "plan" else _load(folder, case)
        except OutOfTimeError:
            outcome = "hang"
            traceback.print_exc(limit=-12)
        except HybridSplitError as error:
            outcome = "refused" if 0 < len(str(error)) <= LONGEST_MESSAGE else "message too long"
            said.write(str(error)[:LONGEST_MESSAGE])
        except MemoryError:
            outcome = "memory"
            traceback.print_exc(limit=-12)
        except Exception:  # whatever else it is, it should not be
            outcome = "traceback"
            traceback.print_exc(limit=-12)
    text = said.getvalue()
    if GAP in text:
        outcome = "gap"
    elif outcome == "failed" and UNTRACEABLE in text:
        outcome = "untraceable"
    elif outcome in ("done", "refused", "infeasible") and "Warning:" in text:
        outcome = "warning"
    return {**request, "outcome": outcome, "said": text[-LONGEST_MESSAGE:], "steps": case.steps}


def _load(folder: Path, case: Case) -> str:
    from hybridsplit.profiler.accelerators.space import virtual_space
    from hybridsplit.runtime.replay.trace_files import load_trace
    from hybridsplit.scenarios.inference.schema import InferenceScenario
    from hybridsplit.scenarios.loader import builtin_text, load_scenario, load_task

    path = folder / f"{case.target}.yaml"
    path.write_text(case.text, encoding="utf-8", errors="surrogatepass")
    if case.target == "trace":
        elapsed_s = load_trace(path).transfer(1e6, 0.0).elapsed_s
        assert math.isfinite(elapsed_s), elapsed_s
    elif case.target == "device":
        mine = folder / "mine.yaml"
        mine.write_text(builtin_text("quickstart") + "\ndevice_files: [device.yaml]\n", encoding="utf-8")
        load_scenario(str(mine)).resolved()
    elif case.target == "apps":
        task = load_task(str(path))
        task.content_hash()
        if isinstance(task, InferenceScenario):
            virtual_space(task)
    elif case.target == "relays":
        load_task(str(path)).content_hash()
    else:
        load_scenario(str(path)).content_hash()
    return "done"


def _plan(folder: Path, case: Case) -> str:
    from hybridsplit.orchestrator.cli import app

    path = folder / "scenario.yaml"
    path.write_text(case.text, encoding="utf-8", errors="surrogatepass")
    try:
        app(["plan", str(path), "--time-limit", "20"])
    except SystemExit as stop:
        return {0: "done", 2: "refused", 3: "infeasible", 4: "failed"}.get(
            int(str(stop.code or 0)), f"exit {stop.code}"
        )
    return "done"


@contextlib.contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """Raise after so much CPU time; a library that never returns to Python is left to the parent."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(kind: str, limit_s: float) -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    most = MOST_PLAN_BYTES if kind == "plan" else MOST_LOAD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", category=RuntimeWarning)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line in sys.stdin:
            replies.write(json.dumps(answer(Path(folder), json.loads(line), limit_s)) + "\n")
            replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
