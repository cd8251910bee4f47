"""Where alternation stops being optimal, and by how much: random instances and the built-in scenarios.

python -m benchmarks.solver_alternation [--instances 1000] [--scenarios smart-home campus]

Alternation starts from equal shares and solves options at fixed shares and shares at fixed options, both exactly, until
nothing improves. Each row of the table adds one thing to the model; both sides choose from the same options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from scenarios.contracts.options import OptionTable
from scenarios.errors import HybridSplitError
from solver.arrays import BoolArray, FloatArray, IntArray
from solver.costs import Work
from solver.links import FixedUplink
from solver.problem import PlanningProblem
from solver.search import Effort, search
from solver.strategies.alternation import all_shares, alternate
from tests.solver.instances import random_instance

EXACT = {"fo", "fo-recompute"}


def uplink_only(problem: PlanningProblem) -> PlanningProblem:
    """The same options where only the uplink is shared: downlink and server count as device time."""
    import dataclasses

    work, n = problem.work, problem.num_clients
    alone = Work(
        work.compute_s + n * work.downlink_s + n * work.server_s, work.uplink, 0 * work.downlink_s, 0 * work.server_s
    )
    return dataclasses.replace(problem, work=alone, downlink_bits=0 * problem.downlink_bits)


def silent_at_home(problem: PlanningProblem) -> PlanningProblem:
    """The same options where the last cut crosses no link: the client takes no share, and may never get one again."""
    import dataclasses

    uplink = problem.work.uplink
    if not isinstance(uplink, FixedUplink):
        return problem
    local = problem.cuts == problem.cuts.max()
    silent = FixedUplink(np.where(local, 0.0, uplink.full_share_s))
    return dataclasses.replace(
        problem,
        work=dataclasses.replace(problem.work, uplink=silent),
        uplink_bits=np.where(local, 0.0, problem.uplink_bits),
    )


def masks(problem: PlanningProblem) -> dict[str, tuple[PlanningProblem, BoolArray]]:
    mode = problem.table["mode"].to_numpy()
    exact = np.isin(mode, sorted(EXACT))
    split = problem.cuts < problem.cuts.max()
    everything = np.ones(problem.num_rows, dtype=bool)
    one_link = uplink_only(problem)
    return {
        "only the uplink shared, split cuts": (one_link, exact & split),
        "+ a local option that sends nothing": (silent_at_home(one_link), exact),
        "+ downlink and server shared": (problem, exact),
        "+ the mode a decision": (problem, everything),
    }


def one_at_a_time(problem: PlanningProblem) -> Callable[[IntArray], FloatArray]:
    return lambda rows: all_shares(problem, rows)


def compare(problem: PlanningProblem, mask: BoolArray) -> float | None:
    """Objective of the alternation relative to the optimum; None where a client has no option or no plan exists."""
    if len(np.unique(problem.client_index[mask])) < problem.num_clients:
        return None
    restricted = problem.restricted(mask)
    everything = np.ones(restricted.num_rows, dtype=bool)
    try:
        found = alternate(restricted, everything, one_at_a_time(restricted), "alternation")
        best = search(restricted, Effort(incumbent_rows=found.rows))
    except HybridSplitError:
        return None
    latency_s = float(restricted.work.take(found.rows).latency_s(found.shares).max())
    return restricted.objective_of(found.rows, latency_s) / best.objective_s


def report(title: str, ratios: dict[str, list[float]]) -> None:
    print(f"\n{title}\n\n| model | instances | alternation worse | mean | 95th percentile | worst |")
    print("|---|---|---|---|---|---|")
    for name, values in ratios.items():
        if values:
            v = np.array(values)
            print(
                f"| {name} | {len(v)} | {np.count_nonzero(v > 1 + 1e-4)} | {v.mean():.3f}x | "
                f"{np.quantile(v, 0.95):.2f}x "
                f"| {v.max():.2f}x |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--scenarios", nargs="*", default=[])
    arguments = parser.parse_args()
    ratios: dict[str, list[float]] = {}
    for seed in range(arguments.instances):
        instance = random_instance(
            seed, num_clients=4, num_options=None, num_cuts=5, budgets=(4e6, 1e7), minimise="time-to-progress"
        )
        problem = PlanningProblem.build(instance.table, instance.scenario)
        for name, (variant, mask) in masks(problem).items():
            ratio = compare(variant, mask)
            if ratio is not None:
                ratios.setdefault(name, []).append(ratio)
    report(f"{arguments.instances} random instances of 4 clients, 5 cuts, fixed links", ratios)
    for name in arguments.scenarios:
        from profiler.options import profile_scenario
        from scenarios.loader import load_scenario

        scenario = load_scenario(name)
        table: OptionTable = profile_scenario(scenario)
        problem = PlanningProblem.build(table, scenario)
        found = {key: [r] for key, (variant, mask) in masks(problem).items() if (r := compare(variant, mask))}
        report(f"{name}", found)


if __name__ == "__main__":
    main()
