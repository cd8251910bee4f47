"""Memory that is full for half of the time and half for the rest: seconds of a round by three ways to live with it.

Run: ``python -m benchmarks.memory_ladder``. For quickstart and smart-home every client's memory follows a square wave
between twice its budget and its budget, at a phase of its own: it halves for half of the time. Compared are

* ``static``: the scenario's own plan, which fits the least memory at all times;
* ``ladder``: the plan that chooses its recompute level in every step, replayed on its own clock;
* ``oracle``: the same plan on a walk of this file, which shares no code with the replay, knows all memory ahead and
  takes, step by step, the level and the way down that end it first. It needs each client's exchange to take the same
  time in every step, so that all plans are those with constant shares.

Each is printed for the scenario as it is and with links and server so fast that the devices decide (``compute-bound``):
seconds a round and seconds to progress; then what the ladder brings at its own cuts; and, with ``--train``, whether the
weights of two rounds are those of unlimited memory (quickstart, and smart-home's shrunken model of the golden bits).
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.golden_bits import SHRUNKEN

Wave = list[tuple[float, int]]
"""Samples: seconds and bytes."""
SCENARIOS = ("quickstart", "smart-home")
COMPUTE_BOUND = ("server.load=0", "radio.uplink_hz=80 GHz", "radio.downlink_hz=80 GHz")
ROUNDS = 40
PERIODS_IN_ROUNDS = (0.5, 5.0)
"""Lengths of the square wave's period, in rounds of the plan for constant memory."""


def write_square(path: Path, most_bytes: int, least_bytes: int, period_s: float, phase: float) -> Path:
    """Write a square wave, most for half of its period and then least; it begins ``phase`` of a period late."""
    samples = [(period_s / 2, most_bytes), (period_s / 2, least_bytes)]
    shift_s = phase * period_s
    pieces: list[tuple[float, int]] = []
    behind: list[tuple[float, int]] = []
    clock_s = 0.0
    for length_s, size in samples:
        cut_s = min(max(shift_s - clock_s, 0.0), length_s)
        behind += [(cut_s, size)] if cut_s > 0 else []
        pieces += [(length_s - cut_s, size)] if cut_s < length_s else []
        clock_s += length_s
    items = [f'{{"duration_s": {length!r}, "budget_bytes": {size}}}' for length, size in (*pieces, *behind)]
    path.write_text(f"[{', '.join(items)}]\n", encoding="utf-8")
    return path


def moving(name: str, folder: Path, period_s: float, times: float, changes: Sequence[str] = ()) -> Any:
    """Return a scenario whose clients' memory moves between their budgets and so many times as much."""
    from hybridsplit.scenarios.loader import load_scenario

    plain = load_scenario(name, list(changes))
    settings = []
    for place, group in enumerate(plain.clients):
        path, most_bytes = folder / f"{name}-{group.group}.json", int(group.memory_budget_bytes * times)
        write_square(path, most_bytes, group.memory_budget_bytes, period_s, place / len(plain.clients))
        settings.append(f"clients.{group.group}.memory_budget_bytes={most_bytes}")
        settings.append(f"clients.{group.group}.memory_trace={path}")
    return load_scenario(name, [*changes, *settings])


def oracle_round_s(plan: Any, scenario: Any, windows_s: dict[str, float], waves: dict[str, Wave]) -> float:
    """Return the seconds of a round whose steps each take the level and the way down that end them first."""
    steps = scenario.training.local_steps
    ends_s = []
    for client in plan.clients:
        spent = client.phases_s
        assert not any(client.waiting_s.values()), "an oracle of constant shares"
        exchange_s = (spent["uplink"] + spent["server_compute"] + spent["downlink"]) / steps
        clock_s = spent["model_download"]
        for _ in range(steps):
            if client.levels:
                begun_s = windows_s[client.id]
                clock_s = step_end_s(client.levels, waves[client.id], begun_s + clock_s, exchange_s) - begun_s
            else:
                clock_s += client.client_compute_s / steps + exchange_s
        ends_s.append(clock_s + spent["model_upload"] + spent.get("propagation", 0.0))
    return max(ends_s)


def step_end_s(levels: Sequence[Any], wave: Wave, at_s: float, exchange_s: float) -> float:
    """Return the earliest end of a step over all levels and ways down, with all of the memory known ahead."""
    ends_s = []
    for level in levels:
        before_s = level.step_s / 3
        sent_s = moment_s(wave, level.peak_bytes, at_s, before_s) + before_s
        answered_s = sent_s + exchange_s
        low = least(wave, sent_s, answered_s)
        ways = [level, *level.falls]
        leanest = min(ways, key=lambda way: way.peak_bytes)
        for way in ways:
            if way.peak_bytes <= low or way is leanest:
                after_s = way.step_s - before_s
                ends_s.append(moment_s(wave, way.peak_bytes, answered_s, after_s) + after_s)
    return min(ends_s)


def moment_s(wave: Wave, needed_bytes: int, at_s: float, length_s: float) -> float:
    """Return the first moment with enough memory for a while; infinite where there is none."""
    edges_s = [0.0, *itertools.accumulate(length for length, _ in wave)]
    first = math.floor(at_s / edges_s[-1])
    starts = [at_s, *((first + n) * edges_s[-1] + edge for n in range(3) for edge in edges_s[:-1])]
    fitting = (
        start for start in sorted(starts) if start >= at_s and least(wave, start, start + length_s) >= needed_bytes
    )
    return next(fitting, math.inf)


def least(wave: Wave, start_s: float, end_s: float) -> int:
    """Return the least memory of a while."""
    edges_s = [0.0, *itertools.accumulate(length for length, _ in wave)]
    period_s, found = edges_s[-1], []
    for n in range(math.floor(start_s / period_s), math.floor(end_s / period_s) + 1):
        for (_, size), begin, end in zip(wave, edges_s, edges_s[1:], strict=False):
            if n * period_s + begin < end_s - 1e-12 and n * period_s + end > start_s + 1e-12:
                found.append(size)
    return min(found)


def compare(name: str, times: float, periods: float, folder: Path, changes: Sequence[str]) -> None:
    """Print one scenario at one period."""
    from hybridsplit.orchestrator.planned import plan_as_asked
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.runtime.replay import replay
    from hybridsplit.runtime.replay.memory_files import scenario_memory
    from hybridsplit.runtime.replay.windows import draw_windows
    from hybridsplit.scenarios.loader import load_scenario
    from hybridsplit.solver.planner import make_plan

    lean = load_scenario(name, list(changes))
    static = make_plan(lean, profile_scenario(lean), "static")
    scenario = moving(name, folder, periods * static.round_latency_s, times, changes)
    table = profile_scenario(scenario)
    plan = plan_as_asked(scenario, table, "static")
    played = replay(plan, scenario, num_rounds=ROUNDS, samples_windows=True)
    memory = scenario_memory(scenario)
    waves = {client: list(zip(one.durations_s, one.budget_bytes, strict=True)) for client, one in memory.items()}
    drawn = draw_windows(memory, scenario.seed, ROUNDS, "memory-windows")
    ladder_s = played.total_s / ROUNDS
    oracle_s = (
        math.fsum(
            oracle_round_s(plan, scenario, {client: windows[index] for client, windows in drawn.items()}, waves)
            for index in range(ROUNDS)
        )
        / ROUNDS
    )
    to_progress = [seconds / one.progress for seconds, one in ((static.round_latency_s, static), (ladder_s, plan))]
    on_ladders = sum(bool(client.levels) for client in plan.clients)
    what = "compute-bound" if changes else "as it is"
    print(
        f"{name:10} {what:13} period {periods:>3g} rounds: a round: static {static.round_latency_s:8.4g} s, ladder "
        f"{ladder_s:8.4g} s, oracle {oracle_s:8.4g} s, ladder / oracle {ladder_s / oracle_s:.3f}; to progress: static "
        f"{to_progress[0]:8.4g} s, ladder {to_progress[1]:8.4g} s: {to_progress[0] / to_progress[1]:.2f}x; "
        f"{on_ladders} of {len(plan.clients)} on ladders"
    )


def same_cuts(name: str, times: float, periods: float, folder: Path, changes: Sequence[str]) -> None:
    """Print what the ladder brings at the cuts of its plan: between the leanest level always, and unlimited memory."""
    from hybridsplit.orchestrator.planned import plan_as_asked
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.runtime.replay import replay
    from hybridsplit.scenarios.loader import load_scenario
    from hybridsplit.solver.planner import make_plan

    lean = load_scenario(name, list(changes))
    period_s = periods * make_plan(lean, profile_scenario(lean), "static").round_latency_s
    scenario = moving(name, folder, period_s, times, changes)
    plan = plan_as_asked(scenario, profile_scenario(scenario), "static")
    steps = scenario.training.local_steps
    seconds = {}
    for what, index in (("leanest", -1), ("fastest", 0)):
        clients = tuple(
            client.model_copy(update={"levels": (client.levels[index].model_copy(update={"falls": ()}),),
                                      "client_compute_s": steps * client.levels[index].step_s})
            if client.levels else client
            for client in plan.clients
        )  # fmt: skip
        one = plan.model_copy(update={"clients": clients})
        memory = {client.id: _plenty() for client in clients if client.levels} if what == "fastest" else None
        seconds[what] = replay(one, scenario, num_rounds=ROUNDS, samples_windows=True, memory=memory).total_s / ROUNDS
    ladder_s = replay(plan, scenario, num_rounds=ROUNDS, samples_windows=True).total_s / ROUNDS
    what = "compute-bound" if changes else "as it is"
    print(
        f"{name:10} {what:13} at the same cuts: leanest level always {seconds['leanest']:.4g} s, ladder "
        f"{ladder_s:.4g} s ({seconds['leanest'] / ladder_s:.2f}x), unlimited memory {seconds['fastest']:.4g} s"
    )


def _plenty() -> Any:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace

    return MemoryTrace((1.0,), (1 << 50,))


def weights_equal(name: str, times: float, folder: Path) -> bool:
    """Whether two rounds of training end with the bits of unlimited memory."""
    import torch

    from hybridsplit.orchestrator.training import train_by_plan
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.runtime.executors.inline import InlineExecutor
    from hybridsplit.runtime.run.rounds import train
    from hybridsplit.scenarios.contracts.assignment import assignments_of
    from hybridsplit.solver.planner import make_plan

    changes = [*SHRUNKEN[name], "training.frozen_control=false", "training.modes=[fo-recompute]"]
    lean = moving(name, folder, 1.0, times, changes)
    table = profile_scenario(lean)
    plan = make_plan(lean, table, "static")
    unlimited = [
        client.model_copy(update={"recompute": client.levels[0].recompute, "levels": ()}) if client.levels else client
        for client in plan.clients
    ]
    free = plan.model_copy(update={"clients": tuple(unlimited)})
    with InlineExecutor(lean) as executor:
        moved = train_by_plan(plan, lean, table, executor, 2, lambda what, share: None, with_control=False).result.state
        fixed = train(lean, assignments_of(free, lean), executor, 2).state
    return all(torch.equal(moved[entry], fixed[entry]) for entry in fixed)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=float, default=2.0, help="most memory over the least")
    parser.add_argument("--train", action="store_true", help="also compare trained weights")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, changes, periods in itertools.product(SCENARIOS, ((), COMPUTE_BOUND), PERIODS_IN_ROUNDS):
            compare(name, arguments.times, periods, Path(scratch), changes)
        for name, changes in itertools.product(SCENARIOS, ((), COMPUTE_BOUND)):
            same_cuts(name, arguments.times, PERIODS_IN_ROUNDS[1], Path(scratch), changes)
        if arguments.train:
            for name in SCENARIOS:
                print(
                    f"{name:12} weights {'equal' if weights_equal(name, arguments.times, Path(scratch)) else 'DIFFER'}"
                )


if __name__ == "__main__":
    main()
