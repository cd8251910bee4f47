"""Memory of the emulation on Ray: a thousand clients at once, and its growth over many rounds.

    python -m benchmarks.training_memory [--clients 1000] [--rounds 200] [--workers 2]

Proportional set size of this process and all its descendants (Ray's daemons, workers and object store included), read
from the kernel. Growth is a straight line fitted to the rounds after the first quarter.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.training_speed import assignments_of, scenario_of
from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.worker.groups import groups_of

_MIB = 1024**2


def total_bytes() -> int:
    """Return the memory of this process and its descendants, shared pages counted once."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    family, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(_proportional_bytes(pid) for pid in family)


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def rounds_of(num_clients: int, settings: list[str], num_rounds: int, num_workers: int) -> tuple[list[int], float]:
    """Return the memory after every round, and the median seconds of a round."""
    scenario = scenario_of(num_clients, settings)
    found, times_s = [], []
    with RayExecutor(scenario, num_workers) as executor:
        handle, groups = executor.initial_state(), groups_of(assignments_of(scenario))
        for round_index in range(num_rounds):
            start_s = perf_counter()
            handle = executor.train_round(handle, RoundTask(round_index, groups)).handle
            times_s.append(perf_counter() - start_s)
            found.append(total_bytes())
    return found, float(np.median(times_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    many, round_s = rounds_of(
        arguments.clients,
        ["training.local_steps=1", "training.batch_size=1", "data.image_size=32"],
        3,
        arguments.workers,
    )
    print(
        f"{arguments.clients} clients in quickstart's model: "
        f"at most {max(many) / _MIB:,.0f} MiB, {round_s:.1f} s a round"
    )
    after, round_s = rounds_of(6, ["training.local_steps=1"], arguments.rounds, arguments.workers)
    first = arguments.rounds // 4
    slope = np.polyfit(np.arange(first, arguments.rounds), np.array(after[first:]), 1)[0]
    print(
        f"6 clients over {arguments.rounds} rounds: {after[first] / _MIB:,.0f} MiB after {first} rounds, "
        f"{after[-1] / _MIB:,.0f} MiB at the end: {slope / 1024:+.1f} KiB a round ({round_s:.2f} s each)"
    )


if __name__ == "__main__":
    main()
