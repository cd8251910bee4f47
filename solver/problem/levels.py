"""Gain to a target as a sum over clients: straight lines below and above a curve that is convex in what is in the way.

With the sums ``G`` of gains and ``D`` of delays over its clients, a plan gains ``G / (1 + D/G)`` of the way in a round.
That is convex in ``(G, D)``, so it is the largest of its tangents, and between two levels of ``D/G`` it lies below a
chord; both are sums over clients. With levels ``x`` and ``y`` the chord is

    (G · (1 + x + y) - D) / ((1 + x) · (1 + y))

and the tangent is the chord of ``x = y``. So the best plan of a chord bounds all plans between its levels, and a plan's
own tangent gives its gain exactly, client by client (docs/methods/progress.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem

Level = tuple[float, float]


def levels_of(problem: PlanningProblem) -> Level:
    """Return the least and the largest level that a plan of a problem can have, at its depth.

    A plan's level is a mean of the levels of its rows, weighted by their gains.
    """
    if problem.target is None:
        return 0.0, 0.0
    gain, delay = problem.target.gain, problem.target_delay
    if not delay.any() or not gain.any():
        return 0.0, 0.0
    counts = gain > 0
    level = np.divide(delay, gain, out=np.zeros(len(gain)), where=counts)
    if problem.is_dropped.any() or not counts.all():
        return float(level[counts].min(initial=np.inf)), float(level[counts].max(initial=0.0))
    # Every client takes part, and with the same gain whatever its row.
    least, most = np.minimum.reduceat(level, problem.starts), np.maximum.reduceat(level, problem.starts)
    weight = gain[problem.starts]
    if (gain != weight[problem.client_index]).any():
        return float(least.min()), float(most.max())
    return float(weight @ least / weight.sum()), float(weight @ most / weight.sum())


def between(problem: PlanningProblem, low: float, high: float) -> PlanningProblem | None:
    """Return the same options with gains on the chord between two levels; None where no plan gains anything on it."""
    part = problem if problem.level == (low, high) else replace(problem, level=(low, high))
    return part if np.maximum.reduceat(part.gain, part.starts).sum() > 0 else None


def level_of_plan(problem: PlanningProblem, rows: IntArray) -> float:
    """Level of the plan that takes the given rows ([N]), at the depth of the problem."""
    if problem.target is None:
        return 0.0
    total = float(problem.target.gain[rows].sum())
    return float(problem.target_delay[rows].sum()) / total if total > 0 else np.inf


def at_plan(problem: PlanningProblem, rows: IntArray) -> PlanningProblem | None:
    """Return the same options with gains on the tangent at a plan, where they add up to what the plan gains.

    Parameters
    ----------
    problem
        The problem at the depth of the plan.
    rows
        [N] the plan's row of every client.

    Returns
    -------
    PlanningProblem or None
        None for a plan that gains nothing.
    """
    level = level_of_plan(problem, rows)
    return between(problem, level, level) if np.isfinite(level) else None
