"""What planning again between rounds is worth on recorded links, between the first plan and an oracle.

``python -m benchmarks.replanning --traces FOLDER`` plays, for every family of recordings in the folder (a folder each)
and built-in scenario, rounds that follow one another from points of the recordings that are drawn by several seeds,
once with constant shares (``static``) and once with the best plan of any kind (``optimal``). It prints the medians over
the seeds of the seconds a unit of expected progress under the first plan throughout, ``every-n``, ``on-change`` and the
oracle, which knows the round that comes, and the share of the distance between the first plan and the oracle that
``on-change`` recovers: of the medians. Where the oracle is less than half a percent faster there is nothing to recover,
and no share is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from hybridsplit.orchestrator.replanning.policies import replanner_of
from hybridsplit.orchestrator.replanning.words import progress_of
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay.replanned import Surroundings, replay_changing
from hybridsplit.runtime.replay.trace_files import assign_traces
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

POLICIES = {
    "first plan": "{policy: static}",
    "every-n": "{policy: every-n, every_rounds: 1}",
    "on-change": "{policy: on-change, change: %g, hysteresis_rounds: %d}",
    "oracle": "{policy: oracle}",
}
_LEAST_DISTANCE = 0.005


def seconds(
    name: str, plan: Plan, table: OptionTable, family: Path, policy: str, seed: int, rounds: int
) -> tuple[float, int]:
    """Return the seconds a unit of progress of one replay, and how often its plan changed."""
    scenario = load_scenario(name, [f"seed={seed}", f"training.replanning={policy}"])
    ids = [client.id for client in plan.clients]
    around = Surroundings.of(scenario, assign_traces(family, ids, seed))
    attendance = draw_attendance(scenario, ids, rounds)
    played = replay_changing(
        plan, scenario, replanner_of(scenario, table, plan, around, attendance), around, attendance
    )  # fmt: skip
    followed = played.followed
    assert followed is not None
    return played.total_s / progress_of(plan, followed, rounds), len(followed.changes)


def setting(name: str, strategy: str, family: Path, chosen: argparse.Namespace) -> None:
    """Print one scenario, strategy and family."""
    scenario = load_scenario(name)
    table = profile_scenario(scenario)
    plan = make_plan(scenario, table, strategy)
    rounds = chosen.rounds or (30 if plan.round_latency_s < 1 else 8)
    median: dict[str, float] = {}
    words = []
    began = time.process_time()
    for policy, stated in POLICIES.items():
        keys = stated % (chosen.change, chosen.hysteresis) if policy == "on-change" else stated
        found = [seconds(name, plan, table, family, keys, seed, rounds) for seed in range(chosen.seeds)]
        median[policy] = statistics.median(one for one, _ in found)
        words.append(
            f"{policy} {median[policy]:.4g} s ({statistics.median(changes for _, changes in found):g} changes)"
        )
    distance = median["first plan"] - median["oracle"]
    if distance > _LEAST_DISTANCE * median["first plan"]:
        share = (median["first plan"] - median["on-change"]) / distance
        end = f"oracle {distance / median['first plan']:.1%} faster, of which on-change recovers {share:.0%}"
    else:
        end = "nothing to recover"
    print(
        f"{name:12} {strategy:8} {family.name:14} {rounds} rounds, {chosen.seeds} starts: {', '.join(words)}; {end} "
        f"({time.process_time() - began:.0f} CPU s)",
        flush=True,
    )


def main() -> None:
    """Print all settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["quickstart", "smart-home", "campus"])
    parser.add_argument("--strategies", nargs="+", default=["static", "optimal"])
    parser.add_argument("--traces", type=Path, required=True, help="folder that holds a folder of recordings a family")
    parser.add_argument("--families", nargs="+", help="names of the folders; all of them by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, help="30 by default, or 8 where a round takes a second or longer")
    parser.add_argument("--change", type=float, default=0.1)
    parser.add_argument("--hysteresis", type=int, default=1)
    chosen = parser.parse_args()
    for family in sorted(path for path in chosen.traces.iterdir() if path.is_dir()):
        for name in chosen.scenarios:
            for strategy in chosen.strategies:
                if chosen.families is None or family.name in chosen.families:
                    setting(name, strategy, family, chosen)


if __name__ == "__main__":
    main()
