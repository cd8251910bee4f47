"""Quickstart on three seeds: final accuracy of the optimal plan beside the frozen control, and measured memory.

    python benchmarks/quickstart_accuracy.py [--seeds 0,1,2]

Final (not best) test accuracy; one thread; the same plan, rounds and batches for both columns.
"""

from __future__ import annotations

import argparse
import statistics

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of, frozen_assignments
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    print(f"{'seed':>4} {'trained':>9} {'frozen':>9} {'largest peak / budget':>22}")
    trained_all, frozen_all = [], []
    for seed in seeds:
        scenario = load_scenario("quickstart", [f"seed={seed}"])
        options = profile_scenario(scenario)
        plan = make_plan(scenario, options)
        ends_s = [plan.round_latency_s * (i + 1) for i in range(scenario.training.rounds)]
        with InlineExecutor(scenario) as executor:
            trained = train(
                scenario, assignments_of(plan, scenario), executor, ends_s, options=options, schedule=plan.schedule
            )
            frozen = train(scenario, frozen_assignments(plan), executor, ends_s)
        fullest = max(trained.peak_bytes[c.id] / c.memory_budget_bytes for c in plan.clients)
        trained_all.append(trained.records[-1].test_accuracy)
        frozen_all.append(frozen.records[-1].test_accuracy)
        print(f"{seed:>4} {trained_all[-1]:>9.2%} {frozen_all[-1]:>9.2%} {fullest:>22.2%}", flush=True)
    print(f"mean {statistics.mean(trained_all):>9.2%} {statistics.mean(frozen_all):>9.2%}")


if __name__ == "__main__":
    main()
