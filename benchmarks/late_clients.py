"""What rounds that go on without late clients are worth on recorded links, beside rounds that wait for all.

``python -m benchmarks.late_clients --traces FOLDER`` chooses the deadline of every built-in scenario over every family
of recordings in the folder (a folder each), and prints, over windows that it was not chosen by: deadline and 95th
percentile of the round over the planned one, the share of the data that is seen, and expected progress a second over
that of rounds that wait.

``--train`` trains quickstart over 3G recordings on three seeds, inline: with rounds that wait, and with the chosen
deadline and one of three planned rounds until they are within a point of what those came to.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.recorded.deadline import try_deadline, with_best_deadline
from hybridsplit.orchestrator.training import train_by_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay.trace_files import assign_traces
from hybridsplit.runtime.replay.windows import planning_and_judging_windows
from hybridsplit.runtime.run.rounds import TrainingResult
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

_FAMILY = "hsdpa3g_oslo"
_FEW_ROUNDS = 3.0


def recorded(name: str, folder: Path, rounds: int) -> None:
    """Print one scenario over every family."""
    scenario = load_scenario(name, ["objective.late=skip", f"objective.windows={rounds}"])
    plan = make_plan(scenario, profile_scenario(scenario), "optimal")
    for family in sorted(path for path in folder.iterdir() if path.is_dir()):
        traces = assign_traces(family, [client.id for client in plan.clients], scenario.seed)
        deadline_s = with_best_deadline(plan, scenario, traces).deadline_s
        assert deadline_s is not None
        _, judging_s = planning_and_judging_windows(traces, scenario.seed, rounds)
        skips, waits = (try_deadline(plan, scenario, traces, judging_s, one) for one in (deadline_s, None))
        p95, before = (float(np.quantile(one.latencies_s, 0.95)) / plan.round_latency_s for one in (skips, waits))
        print(
            f"{name:12} {family.name:16} deadline {deadline_s / plan.round_latency_s:8.2f}x planned, p95 {p95:8.2f}x "
            f"(waiting {before:9.2f}x), data seen {skips.data_seen:6.1%}, expected progress a second "
            f"{skips.progress_a_second / waits.progress_a_second:8.2f}x",
            flush=True,
        )


def trained(folder: Path, rounds: int) -> None:
    """Print when quickstart over 3G is within a point of its accuracy, late clients waited for and not."""
    for seed in range(3):
        waits = _run(folder, seed, rounds, ["objective.late=wait"])
        wanted = waits.result.records[-1].test_accuracy - 0.01
        round_s = waits.plan.round_latency_s
        _print_reached(f"seed {seed} waits for all", waits, wanted)
        for name, keys in {
            "deadline of the most progress": [],
            f"deadline of {_FEW_ROUNDS:g} planned rounds": [f"objective.deadline_s={_FEW_ROUNDS * round_s}"],
        }.items():
            # Fewer clients in time need more rounds, each of which is far shorter.
            run = _run(folder, seed, 4 * rounds, ["objective.late=skip", *keys])
            _print_reached(f"seed {seed} {name}", run, wanted)


class _Run(NamedTuple):
    plan: Plan
    result: TrainingResult
    num_late: int


def _run(folder: Path, seed: int, rounds: int, keys: list[str]) -> _Run:
    """Train quickstart, each group over a recording of its own."""
    files = sorted((folder / _FAMILY).iterdir())
    groups = range(len(load_scenario("quickstart").clients))
    links = [f"clients.{index}.link.trace={files[index]}" for index in groups]
    scenario = load_scenario("quickstart", [f"seed={seed}", *links, *keys])
    table = profile_scenario(scenario)
    plan = plan_as_asked(scenario, table, "optimal")
    with InlineExecutor(scenario) as executor:
        done = train_by_plan(plan, scenario, table, executor, rounds, lambda *_: None, with_control=False)
    return _Run(plan, done.result, len(done.replayed.late))


def _print_reached(name: str, run: _Run, wanted: float) -> None:
    """Print when a run first has an accuracy, how long its rounds are, and how much of the data it has seen."""
    records, clients = run.result.records, len(run.plan.clients)
    reached = next((one for one in records if one.test_accuracy >= wanted), None)
    lengths_s = np.diff([0.0, *(one.simulated_s for one in records)])
    p95 = float(np.quantile(lengths_s, 0.95)) / run.plan.round_latency_s
    when = "not reached" if reached is None else f"after {reached.round} rounds and {reached.simulated_s:.4g} s"
    print(
        f"{name}: accuracy {wanted:.1%} {when} of {len(records)}; p95 of a round {p95:.3g}x planned, "
        f"{run.num_late / (len(records) * clients):.0%} of clients late, {records[-1].test_accuracy:.1%} at the end",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["quickstart", "smart-home", "campus"])
    parser.add_argument("--traces", type=Path, required=True, help="folder that holds a folder of recordings a family")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--train", action="store_true")
    chosen = parser.parse_args()
    if chosen.train:
        trained(chosen.traces, 30)
        return
    for name in chosen.scenarios:
        recorded(name, chosen.traces, chosen.rounds)


if __name__ == "__main__":
    main()
