"""Time and gap against the number of clients, and the growth exponent.

python -m benchmarks.solver_scale [--link fixed|shannon] [--server-memory] [--clients 100 1000 10000]

Every client has 95 options and differs from all others; uplink, downlink and server are shared. Seconds are of the
search for options with both bounds, and of the final shares; CPU seconds are
what an idle core would take. Building arrays from a table is not in them.
"""

from __future__ import annotations

import argparse
import math
import time

from benchmarks.solver_instances import make_problem
from hybridsplit.solver.search.joint import search
from hybridsplit.solver.shares.solution import optimal_shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", choices=["fixed", "shannon"], default="fixed")
    parser.add_argument("--server-memory", action="store_true")
    parser.add_argument("--clients", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    import cvxpy  # noqa: F401  (its import is not part of a plan's time)

    print(
        f"{'clients':>8} {'options':>9} {'search s':>9} {'shares s':>9} {'CPU s':>7} {'gap':>9} "
        f"{'any schedule / plan':>20}"
    )
    points: list[tuple[float, float]] = []
    for number in arguments.clients:
        for seed in range(arguments.seeds):
            problem = make_problem(number, link_model=arguments.link, server_memory=arguments.server_memory, seed=seed)
            used_s = time.process_time()
            began = time.perf_counter()
            result = search(problem)
            searched = time.perf_counter()
            shares = optimal_shares(problem, result.rows)
            ended = time.perf_counter()
            used_s = time.process_time() - used_s
            objective_s = problem.objective_of(result.rows, shares.round_latency_s)
            assert problem.keeps_limits(result.rows)
            points.append((math.log(number), math.log(used_s)))
            print(
                f"{number:>8} {problem.num_rows:>9} {searched - began:>9.2f} {ended - searched:>9.2f} {used_s:>7.2f} "
                f"{objective_s / result.lower_bound_s - 1:>9.1e} {result.schedule_lower_bound_s / objective_s:>20.3f}",
                flush=True,
            )
    if len({x for x, _ in points}) > 1:
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
        print(f"CPU time grows as clients to the power {slope:.2f}")


if __name__ == "__main__":
    main()
