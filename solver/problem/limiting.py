"""Apply limits to a problem: which follow from its objective and scenario, and which rows they exclude."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, all_occur
from hybridsplit.solver.problem.infeasible import broken_limit, no_progress_at_all
from hybridsplit.solver.problem.limits import (
    COVERAGE,
    ENERGY,
    PARTICIPANTS,
    PROGRESS,
    ROUNDING,
    SERVER_MEMORY,
    TRAINED_BLOCKS,
    Limit,
    least_total,
    possible_rows,
)
from hybridsplit.solver.problem.planning_problem import TIME_TO_TARGET, PlanningProblem


def limits_of(problem: PlanningProblem, usable: BoolArray | None = None) -> tuple[Limit, ...]:
    """Collect the limits of a problem.

    Parameters
    ----------
    problem
        Options, objective and scenario.
    usable
        [K] rows a plan may use; all when None. The others get loads too.
    """
    mask = np.ones(problem.num_rows, dtype=bool) if usable is None else usable
    limits: list[Limit] = []
    if problem.server_memory_bytes is not None:
        limits.append(Limit(SERVER_MEMORY, problem.server_state_bytes, problem.server_memory_bytes, 0.0))
    if problem.energy_cap_j is not None:
        limits.append(Limit(ENERGY, problem.energy_j, problem.energy_cap_j, ROUNDING * problem.energy_cap_j))
    if problem.coverage > 0:
        loads = problem.data_weight[problem.client_index] * ~problem.trains_exactly
        limits.append(Limit(COVERAGE, loads, 1.0 - problem.coverage, ROUNDING))
    if problem.minimum_progress > 0:
        progress = problem.weighted_progress
        best = np.maximum.reduceat(np.where(mask, progress, -np.inf), problem.starts)
        loads = np.maximum(best[problem.client_index] - progress, 0.0)
        limits.append(Limit(PROGRESS, loads, float(best.sum()) - problem.minimum_progress, ROUNDING))
    may_leave = np.unique(problem.client_index[problem.is_dropped & mask])
    if len(may_leave) == problem.num_clients:
        limits.append(Limit(PARTICIPANTS, problem.is_dropped.astype(np.int64), problem.num_clients - 1, 0.0))
    if problem.objective == TIME_TO_TARGET:
        deeper = problem.depth > problem.untrained_depth
        # At least one client goes no deeper; loads of 1 and 2 leave a capacity above zero for a single client too.
        limits.append(Limit(TRAINED_BLOCKS, 1 + deeper.astype(np.int64), 2 * problem.num_clients - 1, 0.0))
    return tuple(limits)


def with_limits(problem: PlanningProblem) -> PlanningProblem:
    """Return the same rows with the limits that follow from objective and scenario.

    Raises
    ------
    InfeasibleError
        If a limit is out of reach by itself.
    """
    limits = limits_of(problem)
    for limit in limits:
        if not limit.keeps(least_total(limit, problem.starts)):
            raise broken_limit(
                limit, problem.weighted_progress, problem.starts, problem.minimum_progress, problem.coverage
            )
    return replace(problem, limits=limits)


def within_limits(problem: PlanningProblem) -> PlanningProblem:
    """Return the problem with its limits, without the rows that they exclude from every plan.

    Raises
    ------
    InfeasibleError
        If a limit is out of reach by itself, or no option makes progress where the objective divides by it.
    """
    problem = with_limits(problem)
    while True:
        keep = np.ones(problem.num_rows, dtype=bool)
        for limit in problem.limits:
            if limit.name == TRAINED_BLOCKS:
                continue  # at another depth the same rows are possible
            keep &= possible_rows(limit, problem.starts, problem.client_index)
        if keep.all() or not all_occur(problem.client_index[keep], problem.num_clients):
            break
        fewer = problem.restricted(keep)
        if not all(limit.keeps(least_total(limit, fewer.starts)) for limit in fewer.limits):
            # Together the limits leave nothing; the search proves it and says which.
            break
        problem = fewer
    # What is in the way of a target never outweighs a gain; on a tangent far from a plan it may seem to.
    gain = problem.gain if problem.target is None else problem.target.gain
    if problem.divides_by_progress and not np.any(gain > 0):
        raise no_progress_at_all()
    return problem


def with_objective(problem: PlanningProblem, objective: str, minimum_progress: float) -> PlanningProblem:
    """Return the same options under another objective and least progress; energy cap and coverage stay.

    Parameters
    ----------
    problem
        The options.
    objective
        ``time-to-progress``, ``time-to-target``, ``round-latency`` or ``energy``.
    minimum_progress
        Least data-weighted progress of a plan.

    Raises
    ------
    InfeasibleError
        If a limit is out of reach.
    """
    return with_limits(replace(problem, objective=objective, minimum_progress=minimum_progress))


def under_objective_of(problem: PlanningProblem, other: PlanningProblem) -> PlanningProblem:
    """Return the rows of one problem under the objective of another, with the capacities of its limits."""
    changed = replace(
        problem,
        objective=other.objective,
        minimum_progress=other.minimum_progress,
        energy_cap_j=other.energy_cap_j,
        coverage=other.coverage,
        untrained_depth=other.untrained_depth,
        level=other.level,
    )
    return replace(changed, limits=limits_of(changed))
