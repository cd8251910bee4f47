"""Exact epsilon-constraint fronts beside NSGA-II at equal time, by hypervolume.

python -m benchmarks.solver_pareto [--seeds 5] [--clients 8]

Fronts of round latency against progress, and against energy. Hypervolumes are of the unit square between the best and
worst figures of both fronts together. NSGA-II (pymoo) prices shares exactly and gets the time that the exact front
took.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from hybridsplit.orchestrator.studies.front import hypervolume
from hybridsplit.orchestrator.studies.pareto import pareto_front
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.waterfill import fill
from hybridsplit.testing.instances import random_instance


def genetic_front(problem: PlanningProblem, axis: str, limit_s: float) -> list[tuple[float, float]]:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    starts = problem.starts
    size = np.diff(np.append(starts, problem.num_rows))
    cost = problem.energy_j if axis == "energy" else -problem.gain

    class Choice(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=problem.num_clients, n_obj=2, xl=0, xu=size - 1, vtype=int)

        def _evaluate(self, x: np.ndarray, out: dict[str, np.ndarray], *args: object, **kwargs: object) -> None:
            rows = starts + x.astype(np.int64)
            latency = fill(problem.work.take(rows), np.ones(rows.shape), tolerance=1e-6).latency_s
            out["F"] = np.stack([cost[rows].sum(axis=1), latency], axis=1)

    algorithm = NSGA2(
        pop_size=60,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
    )
    found = minimize(Choice(), algorithm, ("time", limit_s), seed=1, verbose=False).F
    return [] if found is None else [(float(x), float(y)) for x, y in np.atleast_2d(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    print("| front | seed | seconds | exact | NSGA-II | points |\n|---|---|---|---|---|---|")
    for axis in ("progress", "energy"):
        for seed in range(arguments.seeds):
            instance = random_instance(
                seed, num_clients=arguments.clients, num_options=8, minimise="round-latency", minimum_progress=0.0
            )
            problem = build_problem(instance.table, instance.scenario)
            began = time.perf_counter()
            front = pareto_front(instance.scenario, instance.table, axis, 40)
            seconds = time.perf_counter() - began
            sign = -1.0 if axis == "progress" else 1.0
            exact = [(sign * point.x, point.latency_s) for point in front.points]
            other = genetic_front(problem, axis, seconds)
            low, high = np.min(exact + other, axis=0), np.max(exact + other, axis=0)
            spread = np.maximum(high - low, 1e-12)
            areas = [
                hypervolume([tuple((np.array(p) - low) / spread) for p in points], (1.0, 1.0))
                for points in (exact, other)
            ]
            print(
                f"| latency against {axis} | {seed} | {seconds:.1f} | {areas[0]:.4f} | {areas[1]:.4f} "
                f"| {len(exact)} / {len(other)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
