"""Scenarios, device files and recordings are mutated, loaded and planned: each is done, or refused by one message.

    python -m benchmarks.fuzz [--loads 10000] [--plans 1000] [--seed 0] [--processes 1] [--seconds S]
    python -m benchmarks.fuzz --seed 0 --only plan:17

Every case is tried in a process with limits of time and memory, which goes on to the next case and is replaced when it
dies. Prints what became of the cases; ends with 1 unless there are no tracebacks, no gaps in checks, no hangs and
nothing else that is neither done nor refused. A case is known by seed, kind and number, so that a part of a run goes on
with ``--first`` and a single case is tried again, and printed, with ``--only``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.fuzz_cases import make_case

LOAD_LIMIT_S, PLAN_LIMIT_S = 10.0, 120.0
WALL_FACTOR = 6.0
"""Wall-clock seconds a case may take for each CPU second: other work may be going on."""
FINE = {"done", "refused", "infeasible", "untraceable"}
ORDER = (
    "done",
    "refused",
    "infeasible",
    "untraceable",
    "failed",
    "traceback",
    "gap",
    "hang",
    "warning",
    "memory",
    "died",
)


class Child:
    """A process that tries cases, started again whenever it dies.

    Parameters
    ----------
    kind
        ``load`` or ``plan``.
    limit_s
        CPU time of a case.
    cache
        Folder of kept profiles, which all processes share.
    """

    def __init__(self, kind: str, limit_s: float, cache: str) -> None:
        self._kind, self._limit_s = kind, limit_s
        self._environment = {**os.environ, "HYBRIDSPLIT_CACHE": cache, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._environment.pop("HYBRIDSPLIT_DEBUG", None)
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what became of a case."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.fuzz_child", self._kind, str(self._limit_s)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=self._environment, cwd=Path(__file__).resolve().parent.parent,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        is_over = threading.Event()

        def end() -> None:
            is_over.set()
            process.kill()

        watch = threading.Timer(self._limit_s * WALL_FACTOR, end)
        watch.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        watch.cancel()
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        self.stop()
        return {
            **request,
            "outcome": "hang" if is_over.is_set() else "died",
            "said": f"exit {process.returncode}",
            "steps": [],
        }

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def try_cases(
    kind: str,
    numbers: Iterable[int],
    *,
    seed: int,
    limit_s: float,
    num_processes: int = 1,
    until_s: float = math.inf,
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Try cases of a kind.

    Parameters
    ----------
    kind
        ``load`` or ``plan``.
    numbers
        Which cases.
    seed
        Of the mutations.
    limit_s
        CPU seconds of a case.
    num_processes
        Processes side by side.
    until_s
        Time of the monotonic clock after which no further case is begun.

    Returns
    -------
    How many cases had each outcome, and those that should not have had it.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    lock = threading.Lock()

    def work(cache: str) -> None:
        child = Child(kind, limit_s, cache)
        try:
            while time.monotonic() < until_s:
                try:
                    number = todo.get_nowait()
                except queue.Empty:
                    return
                reply = child.ask({"seed": seed, "kind": kind, "number": number})
                with lock:
                    outcomes[reply["outcome"]] += 1
                    if outcomes.total() % 100 == 0:
                        print(f"{outcomes.total()} {kind}s: {dict(outcomes)}", file=sys.stderr, flush=True)
                    if reply["outcome"] not in FINE:
                        faults.append(reply)
                        show(reply)
        finally:
            child.stop()

    with tempfile.TemporaryDirectory() as cache:
        threads = [threading.Thread(target=work, args=(cache,)) for _ in range(num_processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcomes, faults


def show(reply: dict[str, Any]) -> None:
    """Print a case that is not as it should be, and how to try it again."""
    again = f"--seed {reply['seed']} --only {reply['kind']}:{reply['number']}"
    print(f"{reply['outcome']}: python -m benchmarks.fuzz {again}", *reply["steps"], sep="\n    ", flush=True)
    print("    | " + str(reply["said"])[-1500:].strip().replace("\n", "\n    | "), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument("--plans", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no case of a kind after so long")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="try one case, and print it")
    arguments = parser.parse_args()
    limits = {"load": LOAD_LIMIT_S, "plan": PLAN_LIMIT_S}
    if arguments.only:
        kind, number = arguments.only.split(":")
        case = make_case(arguments.seed, kind, int(number))
        print(case.text if len(case.text) < 20_000 else case.text[:20_000] + "...")
        child = Child(kind, limits[kind], "off")
        reply = child.ask({"seed": arguments.seed, "kind": kind, "number": int(number)})
        child.stop()
        show(reply)
        raise SystemExit(reply["outcome"] not in FINE)
    num_faults = 0
    for kind, count in (("load", arguments.loads), ("plan", arguments.plans)):
        numbers = range(arguments.first, arguments.first + count)
        begin_s = time.monotonic()
        outcomes, faults = try_cases(
            kind,
            numbers,
            seed=arguments.seed,
            limit_s=limits[kind],
            num_processes=arguments.processes,
            until_s=begin_s + arguments.seconds,
        )
        num_faults += len(faults)
        figures = ", ".join(f"{name} {outcomes[name]}" for name in ORDER if name in outcomes or name in ORDER[5:8])
        tried = f"{outcomes.total()} of {count} {kind}s of seed {arguments.seed}"
        print(f"{tried} in {time.monotonic() - begin_s:.0f} s: {figures}", flush=True)
        others = {name: number for name, number in outcomes.items() if name not in ORDER}
        if others:
            print(f"    others: {others}")
    raise SystemExit(num_faults > 0)


if __name__ == "__main__":
    main()
