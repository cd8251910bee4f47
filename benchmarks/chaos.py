"""Processes killed at random moments: the final weights are those of an undisturbed run, to the bit.

    python -m benchmarks.chaos [--trials 6] [--kills 2] [--seed 0]

Every trial trains quickstart for some rounds on Ray, kills random workers and servers with SIGKILL at random moments
while it runs, and compares the final weights with those of the inline executor. Trials alternate between server copies
for each client and a shared server model.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from pathlib import Path

import torch

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario

_TITLES = (b"ray::RayWorker", b"ray::RayModelServer", b"ray::RaySharedServer")
_ROUNDS = 8


def victims() -> list[tuple[int, str]]:
    """Return pid and title of our processes on Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes()
        except OSError:
            continue
        if title.startswith(_TITLES):
            found.append((int(path.parent.name), title.split(b"\0")[0].decode()))
    return found


def kill_some(moments_s: list[float], chance: random.Random, killed: list[str], over: threading.Event) -> None:
    """Kill a random process after each of some waits, until the run is over."""
    for wait_s in moments_s:
        if over.wait(wait_s):
            return
        alive = victims()
        if alive:
            pid, title = chance.choice(alive)
            try:
                os.kill(pid, signal.SIGKILL)
                killed.append(title.removeprefix("ray::"))
            except ProcessLookupError:
                continue


def assignments_of(scenario: Scenario) -> list[Assignment]:
    modes = [Mode.FO, Mode.ZO_PROJECTION, Mode.FO_RECOMPUTE, Mode.ZO_LOSS, Mode.FO, Mode.FO]
    cuts = [1, 2, 3, 4, 2, 7]
    return [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30)
        for c, cut, mode in zip(scenario.expanded_clients(), cuts, modes, strict=True)
    ]


def undisturbed(scenario: Scenario) -> State:
    with InlineExecutor(scenario) as executor:
        return train(scenario, assignments_of(scenario), executor, [1.0] * _ROUNDS).state


def disturbed(scenario: Scenario, num_kills: int, chance: random.Random) -> tuple[TrainingResult, list[str]]:
    """Train while processes are killed; return the result and who was killed."""
    killed: list[str] = []
    over = threading.Event()
    with RayExecutor(scenario, 2) as executor:
        train(scenario, assignments_of(scenario), executor, [1.0])  # workers load model and data
        start_s = time.perf_counter()
        train(scenario, assignments_of(scenario), executor, [1.0])
        expected_s = (time.perf_counter() - start_s) * _ROUNDS
        moments_s = [chance.uniform(0, expected_s / num_kills) for _ in range(num_kills)]
        killer = threading.Thread(target=kill_some, args=(moments_s, chance, killed, over))
        killer.start()
        result = train(scenario, assignments_of(scenario), executor, [1.0] * _ROUNDS)
        over.set()
        killer.join()
    return result, killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    expected: dict[str, State] = {}
    for trial in range(arguments.trials):
        server_model = ("per-client", "shared-mean")[trial % 2]
        settings = ["training.local_steps=4", "training.zeroth_order.directions=2", "faults.worker_retries=10"]
        scenario = load_scenario("quickstart", [*settings, f"training.server_model={server_model}"])
        if server_model not in expected:
            expected[server_model] = undisturbed(scenario)
        result, killed = disturbed(scenario, arguments.kills, chance)
        same = all(torch.equal(t, result.state[name]) for name, t in expected[server_model].items())
        print(
            f"trial {trial + 1}, {server_model}: killed {', '.join(killed) or 'nobody'}: same bits: {same}", flush=True
        )
        for event in result.events:
            print(f"    {event[:140]}")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
