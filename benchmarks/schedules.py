"""What service by priority is worth: beside constant shares and turns, on constant, recorded and delayed links.

``python -m benchmarks.schedules --traces FOLDER`` plans the built-in scenarios in one run and prints

* for constant links, the objective of every strategy over that of ``optimal``, its gap to the bound for any schedule,
  and the CPU seconds of planning;
* for every family of recordings in the folder (a folder each), median and 95th percentile of the seconds to progress
  over rounds that begin at drawn points of the recordings; with ``--choose`` also of the plans that are chosen over the
  family's recordings (``objective.links: recorded``), by windows of their own;
* with ``--clairvoyant N``, the seconds over the bound for somebody who knows all of the window beforehand: median and
  95th percentile over the first N windows;
* for a delay of 10 ms each way on quickstart, what a plan that knows of it is worth beside one that does not.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.recorded.clairvoyant import Clairvoyant
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.trace_files import assign_traces
from hybridsplit.runtime.replay.windows import draw_windows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan

STRATEGIES = ("optimal", "static", "time-shared", "greedy", "splitfed")


def progress_of(plan: Plan) -> float:
    """What a round's seconds are divided by in the plan's objective."""
    return plan.progress if plan.objective == "time-to-progress" else 1.0


def constant(name: str, scenario: Scenario, table: OptionTable) -> dict[str, Plan]:
    """Print one scenario's plans for constant links, and return them."""
    plans: dict[str, Plan] = {}
    for strategy in STRATEGIES:
        began = time.process_time()
        plans[strategy] = plan = make_plan(scenario, table, strategy)
        spent_s = time.process_time() - began
        over = plan.objective_s / plans["optimal"].objective_s
        gap = plan.objective_s / plan.schedule_lower_bound_s - 1
        print(
            f"{name:12} {strategy:12} {plan.objective_s:10.4g} s {over:6.3f}x of optimal, {gap:7.2%} above the bound "
            f"of any schedule, {plan.schedule.kind}, {spent_s:.2f} CPU s",
            flush=True,
        )
    return plans


def chosen(name: str, table: OptionTable, family: Path, statistic: str) -> Plan:
    """Choose a plan over one family of recordings, and print what that took."""
    scenario = load_scenario(name, ["objective.links=recorded", f"objective.statistic={statistic}"])
    began = time.process_time()
    plan = plan_as_asked(scenario, table, "optimal", recordings=family)
    assert plan.recorded is not None
    spent_s = time.process_time() - began
    print(f"{name:12} {family.name:14} by {statistic}: {plan.recorded.chosen}, {spent_s:.1f} CPU s", flush=True)
    return plan


def recorded(
    name: str, scenario: Scenario, table: OptionTable, plans: dict[str, Plan], family: Path, rounds: int,
    statistics: list[str], foreseen: int,
) -> None:  # fmt: skip
    """Print median and 95th percentile over one family of recordings, and what a clairvoyant could save."""
    traces = assign_traces(family, [client.id for client in scenario.expanded_clients()], scenario.seed)
    by_recordings = {f"recorded {statistic}": chosen(name, table, family, statistic) for statistic in statistics}
    windows_s = draw_windows(traces, scenario.seed, rounds)
    bound = Clairvoyant(scenario, table, traces) if foreseen else None
    figures, ratios = [], []
    for strategy, plan in (plans | by_recordings).items():
        played = replay(plan, scenario, num_rounds=rounds, traces=traces, windows_s=windows_s)
        seconds = np.array(played.round_latency_s) / progress_of(plan)
        figures.append(f"{strategy} {np.median(seconds):.3g} / {np.quantile(seconds, 0.95):.3g}")
        if bound is not None and (strategy == "optimal" or strategy in by_recordings):
            least_s = [
                bound.seconds_to_progress({client: own[index] for client, own in windows_s.items()}, latency_s)
                for index, latency_s in enumerate(played.round_latency_s[:foreseen])
            ]
            over = seconds[:foreseen] / np.array(least_s)
            ratios.append(f"{strategy} {np.median(over):.3f} / {np.quantile(over, 0.95):.3f}")
    print(f"{name:12} {family.name:14} p50 / p95 s: {', '.join(figures)}", flush=True)
    if ratios:
        print(f"{name:12} {family.name:14} p50 / p95 of the clairvoyant bound: {', '.join(ratios)}", flush=True)


def delayed(delay: str) -> None:
    """Print what a plan that knows of the delay is worth on quickstart."""
    blind_scenario = load_scenario("quickstart")
    overrides = [f"clients.{i}.link.latency_s={delay}" for i in range(len(blind_scenario.clients))]
    scenario = load_scenario("quickstart", overrides)
    table = profile_scenario(scenario)
    aware, static = make_plan(scenario, table, "optimal"), make_plan(scenario, table, "static")
    blind = make_plan(blind_scenario, profile_scenario(blind_scenario), "optimal")
    same = {client.id: (client.cut, str(client.mode)) for client in blind.clients}
    # The other plan's options and urgencies, on links with the delay that it does not know of.
    replayed_s = replay(blind, scenario, num_rounds=1).round_latency_s[0] / progress_of(blind)
    changed = sum(same[client.id] != (client.cut, str(client.mode)) for client in aware.clients)
    check_s = replay(aware, scenario, num_rounds=1).round_latency_s[0] / aware.round_latency_s - 1
    print(
        f"{delay} each way on quickstart: optimal {aware.objective_s:.4g} s ({changed} of {len(same)} options changed, "
        f"replay {check_s:+.1e}), planned without the delay {replayed_s:.4g} s "
        f"({replayed_s / aware.objective_s:.2f}x), static {static.objective_s:.4g} s",
        flush=True,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", default=["quickstart", "smart-home", "campus", "city"])
    parser.add_argument("--traces", type=Path, help="folder that holds a folder of recordings for every family")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--choose", nargs="+", default=[], choices=["mean", "p50", "p95"], metavar="STATISTIC")
    parser.add_argument("--delay", default="10 ms")
    parser.add_argument("--clairvoyant", type=int, default=0, metavar="N", help="windows to bound")
    arguments = parser.parse_args()
    planned = {}
    for name in arguments.scenarios:
        scenario = load_scenario(name)
        table = profile_scenario(scenario)
        planned[name] = scenario, table, constant(name, scenario, table)
    delayed(arguments.delay)
    if arguments.traces is None:
        print("no --traces: recorded links left out")
        return
    families = sorted(path for path in arguments.traces.iterdir() if path.is_dir())
    for name, (scenario, table, plans) in planned.items():
        if scenario.expanded_clients() and len(plans["optimal"].clients) <= 200:
            for family in families:
                recorded(
                    name, scenario, table, plans, family, arguments.rounds, arguments.choose, arguments.clairvoyant
                )


if __name__ == "__main__":
    main()
