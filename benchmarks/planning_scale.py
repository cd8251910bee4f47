"""Profile (afresh, and from the cache), plan and replay every built-in scenario: seconds, gap, and replay against plan.

The last line is the largest resident memory of the whole process.

python benchmarks/planning_scale.py [NAME ...]
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import tempfile
import time

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.loader import builtin_names, load_scenario
from hybridsplit.solver.planner import make_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=builtin_names())
    print(
        f"{'scenario':>11} {'clients':>8} {'options':>8} {'profile s':>10} {'again s':>8} {'plan s':>8} "
        f"{'replay s':>9} {'gap':>9} {'round s':>9} {'replayed / planned':>19}"
    )
    for name in parser.parse_args().names:
        scenario = load_scenario(name)
        marks = [time.perf_counter()]
        options = profile_scenario(scenario)
        marks.append(time.perf_counter())
        profile_scenario(scenario)
        marks.append(time.perf_counter())
        plan = make_plan(scenario, options)
        marks.append(time.perf_counter())
        replayed = replay(plan, scenario, num_rounds=10)
        marks.append(time.perf_counter())
        profile_s, again_s, plan_s, replay_s = (after - before for before, after in itertools.pairwise(marks))
        print(
            f"{name:>11} {scenario.num_clients:>8} {len(options.table):>8} {profile_s:>10.1f} {again_s:>8.2f} "
            f"{plan_s:>8.2f} {replay_s:>9.2f} {plan.gap:>9.1e} {plan.round_latency_s:>9.3g} "
            f"{replayed.round_latency_s[-1] / plan.round_latency_s:>19.12f}",
            flush=True,
        )
    print(f"largest resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYBRIDSPLIT_CACHE"] = folder
        main()
