"""Shares for rounds in which all clients wait for the slowest between two steps.

The search bounds and chooses as if clients met at the round's end only. Its bound stays valid: whatever the waiting,
no round is shorter than its slowest client alone, ``d + Σ s_k + u``, since a sum of maxima is at least the maximum of
the sums. What is left is to polish the shares for the latency with the waiting, and to compare plans by it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.conic import ConicShares, StepParts, conic_shares, repair
from hybridsplit.solver.shares.solution import CONIC_MAX_CLIENTS, ShareSolution, optimal_shares, replace_batch
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.shares.waterfill import fill

_BOUND_TOLERANCE = 1e-4
"""Excess of the fullest resource at which the bound of a candidate is good enough to tell whether it can win."""


def best_shares(problem: PlanningProblem, rows: IntArray) -> ShareSolution:
    """Find the best shares for given options ([N] rows) in the round that the scenario's server model makes."""
    if problem.scenario.training.steps_synchronise:
        return synchronised_shares(problem, rows)
    if problem.overlaps[rows].any():
        from hybridsplit.solver.shares.overlapped import overlapped_shares  # late: few plans overlap

        return overlapped_shares(problem, rows)
    return optimal_shares(problem, rows)


def synchronised_shares(
    problem: PlanningProblem, rows: IntArray, own_shares: FloatArray | None = None
) -> ShareSolution:
    """Find shares with a small round latency for given options where clients meet after every step.

    Parameters
    ----------
    problem
        The planning problem; its scenario has a shared server model and at least two steps a round.
    rows
        [N] row of the problem for every client.
    own_shares
        [N, 3] shares to be considered as well.

    Returns
    -------
    ShareSolution
        The best of the conic program for this latency, the shares that are best without the waiting, and those given.
        Latencies contain the waiting. The program takes every step as long as the mean one; bytes that do not divide
        by the steps make the difference, and the comparison is by the true latency.
    """
    solution = optimal_shares(problem, rows)
    candidates = [solution.shares] if own_shares is None else [solution.shares, own_shares]
    polished, remark = _polished(problem, rows)
    prices_s = solution.prices_s
    if polished is not None:
        candidates.append(repair(polished.shares, problem.work.take(rows)))
        prices_s = polished.prices_s
    ends_s = [timing_of(problem, rows, shares, Simultaneous()).latency_s for shares in candidates]
    best = int(np.argmin([ends.max() for ends in ends_s]))
    return replace(
        solution,
        shares=candidates[best],
        latency_s=ends_s[best],
        prices_s=prices_s,
        compile_s=solution.compile_s + (polished.compile_s if polished is not None else 0.0),
        solve_s=solution.solve_s + (polished.solve_s if polished is not None else 0.0),
        notes=(*solution.notes, *([remark] if remark else [])),
    )


def least_latency_s(problem: PlanningProblem, rows: IntArray) -> float:
    """Lower bound on the round latency of some options ([N] rows) at any shares, seconds: that without the waiting."""
    work = replace_batch(problem.work.take(rows))
    return float(fill(work, np.ones((1, problem.num_clients)), tolerance=_BOUND_TOLERANCE).lower_s[0])


def _polished(problem: PlanningProblem, rows: IntArray) -> tuple[ConicShares | None, str]:
    """Shares of the conic program, stated over the kinds of clients; None with the reason where there are none."""
    work, parts = problem.work.take(rows), step_parts(problem, rows)
    if work.shared_idle.all():
        return None, ""
    columns = (
        work.compute_s, *vars(work.uplink).values(), work.downlink_s, work.server_s,
        parts.download_part, parts.upload_part,
    )  # fmt: skip
    _, first, kind, count = np.unique(
        np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    without = "the shares are those for a round without waits between steps"
    if len(first) > CONIC_MAX_CLIENTS:
        return None, f"{len(first)} kinds of clients are more than {CONIC_MAX_CLIENTS}: {without}"
    of_kinds = StepParts(parts.num_steps, parts.download_part[first], parts.upload_part[first])
    try:
        found = conic_shares(work.take(first), of_kinds, count.astype(float))
    except SolverFailure as error:
        return None, f"{error}; {without}"
    return replace(found, shares=found.shares[kind.ravel()]), ""


def step_parts(problem: PlanningProblem, rows: IntArray) -> StepParts:
    """Return how the round of some options ([N] rows) divides into steps."""
    table = problem.options.take(rows)
    up, up_model = (table[name].to_numpy(dtype=float) for name in ("uplink_bytes", "model_upload_bytes"))
    down, down_model = (table[name].to_numpy(dtype=float) for name in ("downlink_bytes", "model_download_bytes"))
    return StepParts(
        num_steps=problem.scenario.training.local_steps,
        download_part=down_model / np.maximum(down, 1.0),
        upload_part=up_model / np.maximum(up, 1.0),
    )
