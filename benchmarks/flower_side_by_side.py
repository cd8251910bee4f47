"""Rounds a minute beside Flower's simulation engine: same model, data, FedAvg, clients and cores, start-up apart.

    python -m benchmarks.flower_side_by_side --flower-python VENV/bin/python [--rounds 8] [--workers 2]

Flower pins another Ray, so it runs in an environment of its own: ``flwr[simulation]``, and this project's packages
without their Ray. Its client app keeps model and data between calls, as a careful user would write it. Both engines
train whole models on the client (every cut is the last one) on worker processes with one thread each; no evaluation,
no checkpoints. Medians of rounds after the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from dataclasses import replace

from benchmarks.training_speed import CASES, assignments_of, scenario_of, seconds
from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.runtime.worker.groups import groups_of


def ours_s(case: str, num_rounds: int, num_workers: int) -> list[float]:
    """Return the seconds of our rounds on Ray."""
    scenario = scenario_of(*CASES[case])
    with RayExecutor(scenario, num_workers) as executor:
        handle = executor.initial_state()
        num_blocks = SplitModel(build_blocks(scenario, meta=True)).num_blocks
        whole = {"cut": num_blocks}
        groups = groups_of(
            [replace(a, placement=a.placement.model_copy(update=whole)) for a in assignments_of(scenario)]
        )

        def one_round(round_index: int) -> None:
            nonlocal handle
            handle = executor.train_round(handle, RoundTask(round_index, groups)).handle

        return [seconds(one_round, round_index) for round_index in range(num_rounds + 2)][2:]


def flower_s(python: str, case: str, num_rounds: int, num_workers: int) -> list[float]:
    """Return the seconds of Flower's rounds."""
    code = f"from benchmarks.flower_app import main; main({case!r}, {num_rounds}, {num_workers})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"Flower's side failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    found: list[float] = json.loads(lines[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", required=True, help="interpreter that has flwr[simulation]")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'case':54s} {'flower':>9s} {'hybridsplit':>12s} {'rounds a minute':>16s}")
    for case in CASES:
        theirs = statistics.median(flower_s(arguments.flower_python, case, arguments.rounds, arguments.workers))
        ours = statistics.median(ours_s(case, arguments.rounds, arguments.workers))
        print(f"{case:54s} {theirs:8.3f}s {ours:11.3f}s {theirs / ours:15.2f}x", flush=True)


if __name__ == "__main__":
    main()
