"""Time and quality beside monolithic models, alternation and NSGA-II, on the same instances.

python -m benchmarks.solver_side_by_side [--clients 4 8 16 32] [--limit 60] [--options 8]

* ``optimal``: ours. * ``milp``: one mixed-integer program by tangent cuts of the share terms, cvxpy with HiGHS; its
bound is a relaxation's, its plan is priced exactly. * ``misocp``: one mixed-integer second-order cone program for
SCIP through PySCIPOpt, at a fixed progress denominator removed by minimising latency. * ``alternation``: options and
shares in turn. * ``nsga2``: pymoo over options, shares priced exactly, given the time that ``optimal`` took and ten
times that. The objective is the round latency with a least progress, which all of them can state.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.errors import HybridSplitError
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import search
from hybridsplit.solver.shares.solution import replace_batch
from hybridsplit.solver.shares.waterfill import fill
from hybridsplit.solver.strategies.alternation import all_shares, alternate
from hybridsplit.testing.instances import random_instance

CUTS_PER_TERM = 24


@dataclass(frozen=True)
class Outcome:
    """Latency of a method's plan, its own lower bound, and the seconds it took."""

    latency_s: float
    lower_s: float
    seconds: float
    status: str = ""


def exact_latency(problem: PlanningProblem, rows: IntArray) -> float:
    return float(fill(replace_batch(problem.work.take(rows)), np.ones((1, len(rows)))).latency_s[0])


def terms(problem: PlanningProblem) -> tuple[FloatArray, FloatArray]:
    """[K] device seconds, and [K, 3] seconds at full shares; fixed links."""
    work = problem.work
    assert isinstance(work.uplink, FixedUplink)
    return work.compute_s, np.stack([work.uplink.full_share_s, work.downlink_s, work.server_s], axis=1)


def milp(problem: PlanningProblem, limit_s: float) -> Outcome:
    """Minimise T over binaries x and shares; the cone ``s·t ≥ w`` of each term by its tangents."""
    import cvxpy as cp

    began = time.perf_counter()
    compute, full = terms(problem)
    n, k = problem.num_clients, problem.num_rows
    x = cp.Variable(k, boolean=True)
    latency = cp.Variable()
    share, duration = cp.Variable((n, 3), nonneg=True), cp.Variable((n, 3), nonneg=True)
    own = np.zeros((n, k))
    own[problem.client_index, np.arange(k)] = 1.0
    root = np.sqrt(full)
    constraints = [own @ x == 1, cp.sum(share, axis=0) <= 1, share <= 1, problem.gain @ x >= problem.minimum_progress]
    constraints.append(own @ cp.multiply(compute, x) + cp.sum(duration, axis=1) <= latency)
    # s·t ≥ w is a cone in √w, which is linear in x because one option is chosen: a·s + t/a ≥ 2√w for all a > 0.
    typical = max(float(full.max()), 1e-12)
    for r in range(3):
        chosen_root = own @ cp.multiply(root[:, r], x)
        constraints += [
            slope * share[:, r] + duration[:, r] / slope >= 2 * chosen_root
            for slope in np.geomspace(1e-2, 1e4, CUTS_PER_TERM) * typical
        ]
    program = cp.Problem(cp.Minimize(latency), constraints)
    program.solve(solver=cp.HIGHS, time_limit=limit_s, verbose=False)
    seconds = time.perf_counter() - began
    if x.value is None:
        return Outcome(np.inf, 0.0, seconds, str(program.status))
    rows = np.array(
        [np.flatnonzero(problem.client_index == i)[np.argmax(x.value[problem.client_index == i])] for i in range(n)]
    )
    lower = float(program.value) if program.status == "optimal" else 0.0
    return Outcome(exact_latency(problem, rows), lower, seconds, str(program.status))


def misocp(problem: PlanningProblem, limit_s: float) -> Outcome:
    """The same model with the cones themselves: ``s·t ≥ (√w·x)²``."""
    from pyscipopt import Model, quicksum

    began = time.perf_counter()
    compute, full = terms(problem)
    n, root = problem.num_clients, np.sqrt(full)
    model = Model()
    model.hideOutput()
    model.setRealParam("limits/time", limit_s)
    latency = model.addVar(lb=0.0)
    x = [model.addVar(vtype="B") for _ in range(problem.num_rows)]
    shares = [[model.addVar(lb=0.0, ub=1.0) for _ in range(3)] for _ in range(n)]
    for r in range(3):
        model.addCons(quicksum(shares[i][r] for i in range(n)) <= 1)
    model.addCons(quicksum(float(g) * v for g, v in zip(problem.gain, x, strict=True)) >= problem.minimum_progress)
    for i in range(n):
        own = np.flatnonzero(problem.client_index == i)
        model.addCons(quicksum(x[k] for k in own) == 1)
        durations = []
        for r in range(3):
            duration, chosen = model.addVar(lb=0.0), model.addVar(lb=0.0)
            model.addCons(chosen == quicksum(float(root[k, r]) * x[k] for k in own))
            model.addCons(chosen * chosen <= shares[i][r] * duration)
            durations.append(duration)
        model.addCons(quicksum(float(compute[k]) * x[k] for k in own) + quicksum(durations) <= latency)
    model.setObjective(latency, "minimize")
    model.optimize()
    seconds = time.perf_counter() - began
    status = str(model.getStatus())
    if not model.getNSols():
        return Outcome(np.inf, 0.0, seconds, status)
    values = np.array([model.getVal(v) for v in x])
    rows = np.array(
        [np.flatnonzero(problem.client_index == i)[np.argmax(values[problem.client_index == i])] for i in range(n)]
    )
    return Outcome(exact_latency(problem, rows), float(model.getDualbound()), seconds, status)


def nsga2(problem: PlanningProblem, limit_s: float) -> Outcome:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    began = time.perf_counter()
    starts = problem.starts
    size = np.diff(np.append(starts, problem.num_rows))

    class Choice(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=problem.num_clients, n_obj=2, n_ieq_constr=1, xl=0, xu=size - 1, vtype=int)

        def _evaluate(self, x: IntArray, out: dict[str, FloatArray], *args: object, **kwargs: object) -> None:
            rows = starts + x.astype(np.int64)
            latency = fill(problem.work.take(rows), np.ones(rows.shape), tolerance=1e-6).latency_s
            progress = problem.gain[rows].sum(axis=1)
            out["F"] = np.stack([latency, -progress], axis=1)
            out["G"] = problem.minimum_progress - progress

    operators = {
        "sampling": IntegerRandomSampling(),
        "crossover": SBX(vtype=float, repair=RoundingRepair()),
        "mutation": PM(vtype=float, repair=RoundingRepair()),
    }
    result = minimize(Choice(), NSGA2(pop_size=40, **operators), ("time", limit_s), seed=1, verbose=False)
    best = np.inf if result.F is None else float(result.F[:, 0].min())
    return Outcome(best, 0.0, time.perf_counter() - began)


def ours(problem: PlanningProblem) -> Outcome:
    began = time.perf_counter()
    result = search(problem)
    return Outcome(result.objective_s, result.lower_bound_s, time.perf_counter() - began)


def alternation(problem: PlanningProblem) -> Outcome:
    began = time.perf_counter()
    everything = np.ones(problem.num_rows, dtype=bool)
    try:
        found = alternate(problem, everything, lambda rows: all_shares(problem, rows), "alternation")
    except HybridSplitError as error:
        return Outcome(np.inf, 0.0, time.perf_counter() - began, type(error).__name__)
    latency_s = float(problem.work.take(found.rows).latency_s(found.shares).max())
    return Outcome(latency_s, 0.0, time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="*", default=[4, 8, 16, 32])
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--options", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| clients | method | seconds | latency / ours | own bound / ours | status |\n|---|---|---|---|---|---|")
    for number in arguments.clients:
        instance = random_instance(
            arguments.seed, num_clients=number, num_options=arguments.options, minimise="round-latency"
        )
        problem = build_problem(instance.table, instance.scenario)
        best = ours(problem)
        rows = {
            "optimal": best,
            "milp": milp(problem, arguments.limit),
            "misocp": misocp(problem, arguments.limit),
            "alternation": alternation(problem),
            "nsga2, equal time": nsga2(problem, max(best.seconds, 0.5)),
            "nsga2, ten times": nsga2(problem, max(10 * best.seconds, 5.0)),
        }
        for name, found in rows.items():
            print(
                f"| {number} | {name} | {found.seconds:.2f} | {found.latency_s / best.latency_s:.4f} "
                f"| {found.lower_s / best.latency_s:.4f} | {found.status} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
