"""Where alternation stops being optimal, and by how much: random instances and the built-in scenarios.

python -m benchmarks.solver_alternation [--instances 1000] [--scenarios quickstart campus city smart-home]
    [--seconds 60]

Alternation starts from equal shares and solves options at fixed shares and shares at fixed options, both exactly, until
nothing improves. Each column of a scenario, or row of the random instances, adds one thing to the model; both sides
choose from the same options. A search for the optimum ends after ``--seconds``; where its gap is still open, it is
printed beside the ratio. A client without an exact option keeps its others where a model allows exact ones only.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.solver.assemble import OPTIMAL_GAP
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.links import FixedUplink, UplinkWork
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.shannon_link import ShannonUplink
from hybridsplit.solver.search.joint import Effort, search
from hybridsplit.solver.strategies.alternation import all_shares, alternate
from hybridsplit.testing.instances import random_instance

EXACT = {"fo", "fo-recompute"}
MODELS = (
    "only the uplink shared, split cuts",
    "+ a local option that sends nothing",
    "+ downlink and server shared",
    "+ the mode a decision",
)


def uplink_only(problem: PlanningProblem) -> PlanningProblem:
    """The same options where only the uplink is shared: downlink and server count as device time."""
    work, n = problem.work, problem.num_clients
    alone = Work(
        work.compute_s + n * work.downlink_s + n * work.server_s, work.uplink, 0 * work.downlink_s, 0 * work.server_s
    )
    return dataclasses.replace(problem, work=alone, downlink_bits=0 * problem.downlink_bits)


def silent_at_home(problem: PlanningProblem) -> PlanningProblem:
    """The same options where the last cut crosses no link: the client takes no share, and may never get one again."""
    uplink, local = problem.work.uplink, problem.cuts == problem.cuts.max()
    silent: UplinkWork
    if isinstance(uplink, FixedUplink):
        silent = FixedUplink(np.where(local, 0.0, uplink.full_share_s))
    else:
        assert isinstance(uplink, ShannonUplink)
        silent = ShannonUplink(np.where(local, 0.0, uplink.floor_s), uplink.full_share_snr)
    return dataclasses.replace(
        problem,
        work=dataclasses.replace(problem.work, uplink=silent),
        uplink_bits=np.where(local, 0.0, problem.uplink_bits),
    )


def masks(problem: PlanningProblem) -> dict[str, tuple[PlanningProblem, BoolArray]]:
    exact = problem.table["mode"].isin(EXACT).to_numpy()
    # A client without an exact option keeps those that it has, so that every scenario has a ratio.
    exact = exact | ~np.isin(problem.client_index, problem.client_index[exact])
    split = problem.cuts < problem.cuts.max()
    everything = np.ones(problem.num_rows, dtype=bool)
    one_link = uplink_only(problem)
    variants = (
        (one_link, exact & split),
        (silent_at_home(one_link), exact),
        (problem, exact),
        (problem, everything),
    )
    return dict(zip(MODELS, variants, strict=True))


def one_at_a_time(problem: PlanningProblem) -> Callable[[IntArray], FloatArray]:
    return lambda rows: all_shares(problem, rows)


@dataclass(frozen=True)
class Comparison:
    """Objective of the alternation relative to the best plan found, and that plan's gap to its bound."""

    ratio: float
    gap: float


def compare(problem: PlanningProblem, mask: BoolArray, limit_s: float) -> Comparison | None:
    """Compare on one problem; None where a client has no option or no plan exists."""
    if len(np.unique(problem.client_index[mask])) < problem.num_clients:
        return None
    restricted = problem.restricted(mask)
    everything = np.ones(restricted.num_rows, dtype=bool)
    try:
        found = alternate(restricted, everything, one_at_a_time(restricted), "alternation")
        best = search(restricted, Effort(stop_at=time.perf_counter() + limit_s, incumbent_rows=found.rows))
    except HybridSplitError:
        return None
    latency_s = float(restricted.work.take(found.rows).latency_s(found.shares).max())
    value_s = restricted.objective_of(found.rows, latency_s)
    gap = best.objective_s / best.lower_bound_s - 1 if best.lower_bound_s > 0 else np.inf
    return Comparison(value_s / best.objective_s, gap)


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


def scenario_row(name: str, limit_s: float) -> str:
    """One row of the scenarios' table: every model's ratio, with the gap where the optimum is not proven."""
    from hybridsplit.profiler.options import profile_scenario
    from hybridsplit.scenarios.loader import load_scenario

    scenario = load_scenario(name)
    began = time.perf_counter()
    problem = build_problem(profile_scenario(scenario), scenario)
    profiled = time.perf_counter()
    cells = [_cell(compare(variant, mask, limit_s)) for variant, mask in masks(problem).values()]
    seconds = f"{profiled - began:.1f} s, {time.perf_counter() - profiled:.1f} s"
    return f"| {name}, {problem.num_clients} clients | {' | '.join(cells)} | {seconds} |"


def _cell(found: Comparison | None) -> str:
    if found is None:
        return "no option for some client"
    open_gap = f" (gap {found.gap:.1e})" if found.gap > OPTIMAL_GAP else ""
    return f"{found.ratio:.4f}x{open_gap}"


def random_ratios(instances: int, limit_s: float) -> dict[str, list[float]]:
    """Ratios by model over random instances."""
    ratios: dict[str, list[float]] = {}
    for seed in range(instances):
        instance = random_instance(
            seed, num_clients=4, num_options=None, num_cuts=5, budgets=(4e6, 1e7), minimise="time-to-progress"
        )
        problem = build_problem(instance.table, instance.scenario)
        for name, (variant, mask) in masks(problem).items():
            found = compare(variant, mask, limit_s)
            if found is not None:
                ratios.setdefault(name, []).append(found.ratio)
    return ratios


def scenarios_table(names: Sequence[str], limit_s: float) -> None:
    print(f"\n| scenario | {' | '.join(MODELS)} | profile, comparison |\n|{'---|' * (len(MODELS) + 2)}")
    for name in names:
        print(scenario_row(name, limit_s), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--scenarios", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=60.0, help="limit of each search for the optimum")
    arguments = parser.parse_args()
    if arguments.instances:
        report(
            f"{arguments.instances} random instances of 4 clients, 5 cuts, fixed links",
            random_ratios(arguments.instances, arguments.seconds),
        )
    if arguments.scenarios:
        scenarios_table(arguments.scenarios, arguments.seconds)


if __name__ == "__main__":
    main()
