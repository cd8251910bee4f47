"""Rounds to a target where some blocks are trained exactly by nobody, one depth of them at a time.

Aggregation divides by the weights of those who trained a block, so one exact client moves it all the way: what counts
for a block is whether anybody trains it exactly. A server copy does, so the blocks that nobody trains are the lowest
ones, down to a depth that is the least over the clients. At a fixed depth what is in the way of a plan is a sum over
its clients (:mod:`hybridsplit.solver.problem.levels`), and that some client goes no deeper is a limit like any other.
Solved for every depth that an option can have, the best plan is that of the whole problem, and the least bound holds
for it (docs/methods/progress.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.limiting import limits_of
from hybridsplit.solver.problem.limits import least_total
from hybridsplit.solver.problem.planning_problem import TIME_TO_TARGET, PlanningProblem


def depths_of(problem: PlanningProblem) -> tuple[int, ...]:
    """Depths at which a problem is to be solved, rising; its own where the target is not the objective."""
    if problem.objective != TIME_TO_TARGET:
        return (problem.untrained_depth,)
    return tuple(np.unique(problem.depth[~problem.is_dropped]).tolist())


def at_depth(problem: PlanningProblem, depth: int) -> PlanningProblem | None:
    """Return the same options for plans in which some client leaves at most this many of the lowest blocks untrained.

    Parameters
    ----------
    problem
        The problem, for a target.
    depth
        How many blocks.

    Returns
    -------
    PlanningProblem or None
        Rows as they were, gains and limits anew; None if no plan is left.
    """
    if depth == problem.untrained_depth:
        part = problem
    else:
        changed = replace(problem, untrained_depth=depth)
        part = replace(changed, limits=limits_of(changed))
    is_kept = all(limit.keeps(least_total(limit, part.starts)) for limit in part.limits)
    return part if is_kept else None


def depth_of_plan(problem: PlanningProblem, rows: IntArray) -> int:
    """Blocks from the lowest on that nobody trains exactly in the plan that takes the given rows ([N])."""
    return int(problem.depth[rows].min())
