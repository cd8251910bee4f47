"""Exchange single options under a latency that the search does not know: of steps that end together, or overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.rounding import objectives_s
from hybridsplit.solver.shares.solution import ShareSolution
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.shares.waterfill import fill

_MOST_WORK = 20_000
"""Exchanges times clients up to which all exchanges are bounded; where clients are many, one of them changes little."""
_TRIALS = 40
_MAX_PASSES = 12
_BOUND_TOLERANCE = 1e-4
_GAIN = 1e-6


def exchange_options(
    problem: PlanningProblem,
    rows: IntArray,
    solution: ShareSolution,
    is_over: Callable[[], bool],
    trials: int = _TRIALS,
) -> tuple[IntArray, ShareSolution]:
    """Exchange the option of one client at a time while that shortens the objective.

    Parameters
    ----------
    problem
        The planning problem; its steps end together, or overlap.
    rows
        [N] a plan's row of every client.
    solution
        Its shares.
    is_over
        True once the time is up.
    trials
        Exchanges of a pass whose shares are solved, those with the least bound first.

    Returns
    -------
    tuple
        Rows and shares of a plan that is no worse. Exchanges whose bound, the latency without waits between steps or by
        bounding work, cannot win are not tried.
    """
    value_s = problem.objective_of(rows, solution.round_latency_s)
    if problem.num_rows * problem.num_clients > _MOST_WORK:
        return rows, solution
    for _ in range(_MAX_PASSES):
        for candidate in _promising(problem, rows, value_s, trials):
            if is_over():
                return rows, solution
            found = best_shares(problem, candidate)
            found_s = problem.objective_of(candidate, found.round_latency_s)
            if found_s < value_s * (1 - _GAIN):
                rows, solution, value_s = candidate, found, found_s
                break
        else:
            break
    return rows, solution


def _promising(problem: PlanningProblem, rows: IntArray, value_s: float, trials: int) -> Iterator[IntArray]:
    """Yield plans that differ by one option, keep the limits and may be better, the least bound first."""
    others = np.setdiff1d(np.arange(problem.num_rows), rows)
    plans = np.repeat(rows[None, :], len(others), axis=0)
    plans[np.arange(len(others)), problem.client_index[others]] = others
    plans = plans[[problem.keeps_limits(plan) for plan in plans]]
    if not len(plans):
        return
    bounds_s = _bounds_s(problem, plans)
    order = np.argsort(bounds_s, kind="stable")[:trials]
    for plan in order[bounds_s[order] < value_s]:
        yield plans[plan]


def _bounds_s(problem: PlanningProblem, plans: IntArray) -> FloatArray:
    """[M] lower bounds on the objectives of plans ([M, N] rows)."""
    filled = fill(problem.work.take(plans), np.ones(plans.shape), tolerance=_BOUND_TOLERANCE)
    return objectives_s(problem, filled.lower_s, problem.gain[plans].sum(axis=1), problem.penalty_s[plans].sum(axis=1))
