"""What rounds that go on without late clients are worth on recorded links, beside rounds that wait for all.

``python -m benchmarks.late_clients --traces FOLDER`` chooses the deadline of every built-in scenario over every family
of recordings in the folder (a folder each), and prints, over windows that it was not chosen by: deadline and 95th
percentile of the round over the planned one, the share of the data that is seen, and expected progress a second over
that of rounds that wait.

``--train`` trains quickstart over its 3G recordings both ways on three seeds, inline, and prints accuracy and clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.recorded.deadline import try_deadline, with_best_deadline
from hybridsplit.orchestrator.training import train_by_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay.trace_files import assign_traces
from hybridsplit.runtime.replay.windows import planning_and_judging_windows
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

_FAMILY = "hsdpa3g_oslo"


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
    """Print accuracy and clock of quickstart over 3G, late clients waited for and not."""
    files = sorted((folder / _FAMILY).iterdir())
    groups = range(len(load_scenario("quickstart").clients))
    links = [f"clients.{index}.link.trace={files[index]}" for index in groups]
    for seed in range(3):
        for late in ("wait", "skip"):
            scenario = load_scenario("quickstart", [f"seed={seed}", f"objective.late={late}", *links])
            table = profile_scenario(scenario)
            plan = plan_as_asked(scenario, table, "optimal")
            with InlineExecutor(scenario) as executor:
                done = train_by_plan(plan, scenario, table, executor, rounds, lambda *_: None, with_control=False)
            last = done.result.records[-1]
            print(
                f"seed {seed} {late}: accuracy {last.test_accuracy:.1%} after {rounds} rounds and "
                f"{last.simulated_s:.4g} s, {len(done.replayed.late)} times late",
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
