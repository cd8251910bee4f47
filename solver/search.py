"""The joint search for options and shares: incumbent, bound, improvement, and exhaustion where clients are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios.errors import SolverFailure
from solver.arrays import IntArray
from solver.classes import Classes, classify
from solver.costs import AnySchedule, StaticShares
from solver.deadline import BOUND_SAFETY, DeadlineBound, Limits, best_ratio, shortest_deadline
from solver.dual import latency_certificate
from solver.exhaustive import EXACT_TOLERANCE, close_latency, close_ratio
from solver.infeasible import too_little_progress
from solver.knapsack import best_within_limits, keeps_limits, reachable_progress
from solver.problem import PlanningProblem
from solver.recovery import Recovery

_ROUNDING_DEADLINES = (1.0, 1.001, 1.003, 1.01, 1.03, 1.1, 1.3)
"""Multiples of the smallest deadline at which fractional plans are rounded: the smallest rarely survives rounding."""


@dataclass(frozen=True)
class SearchResult:
    """The best plan found and what bounds every plan.

    Parameters
    ----------
    rows
        [N] row of the problem for every client.
    objective_s
        Objective at the best shares.
    lower_bound_s
        Lower bound on the objective of every plan with static shares.
    schedule_lower_bound_s
        Lower bound on the objective under any schedule; never above ``lower_bound_s``.
    """

    rows: IntArray
    objective_s: float
    lower_bound_s: float
    schedule_lower_bound_s: float


def search(problem: PlanningProblem, *, incumbent_rows: IntArray | None = None) -> SearchResult:
    """Find the best options of all clients together, with bounds.

    Parameters
    ----------
    problem
        Options, objective and limits.
    incumbent_rows
        [N] a plan to start from; the result is no worse.

    Raises
    ------
    InfeasibleError
        If no plan keeps the server's memory and makes the least progress.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    classes = classify(problem)
    recovery = Recovery(classes)
    _first_plan(classes, recovery, incumbent_rows)
    if recovery.best.objective_s <= 0:
        return SearchResult(classes.rows_of(recovery.best.counts), 0.0, 0.0, 0.0)
    bound = _bound_ratio(classes, recovery) if problem.divides_by_progress else _bound_latency(classes, recovery)
    recovery.improve()
    lower_s = bound.lower_s
    if lower_s < recovery.best.objective_s * (1 - EXACT_TOLERANCE):
        closed = (
            close_ratio(classes, recovery, bound.open)
            if problem.divides_by_progress
            else close_latency(classes, recovery)
        )
        if closed:
            lower_s = max(lower_s, recovery.best.objective_s * (1 - EXACT_TOLERANCE - BOUND_SAFETY))
    lower_s = min(lower_s, recovery.best.objective_s)
    return SearchResult(
        rows=classes.rows_of(recovery.best.counts),
        objective_s=recovery.best.objective_s,
        lower_bound_s=lower_s,
        schedule_lower_bound_s=min(lower_s, _schedule_bound(classes, recovery.best.objective_s)),
    )


def _first_plan(classes: Classes, recovery: Recovery, incumbent_rows: IntArray | None) -> None:
    """Start from the plan given, or from the fastest options within the limits."""
    problem = classes.problem
    if incumbent_rows is not None:
        recovery.consider(classes.counts_of(incumbent_rows)[None, :])
    # Latency at equal shares prefers options that stay fast once the resources are divided.
    alone_s = classes.work.latency_s(1.0 / classes.num_clients)
    fastest = np.zeros(len(classes.rows), dtype=np.int64)
    values = -alone_s / max(float(alone_s.max()), np.finfo(float).tiny)
    leaders = np.maximum.reduceat(values, classes.starts)[classes.row_class] == values
    first = np.flatnonzero(leaders)[np.unique(classes.row_class[leaders], return_index=True)[1]]
    fastest[first] = classes.count
    everything = np.ones(len(classes.rows), dtype=bool)
    plans = [fastest] if keeps_limits(classes, fastest) else []
    for target in (values, classes.gain):
        knapsack = best_within_limits(classes, target, everything)
        if knapsack is not None:
            plans.append(knapsack)
    if plans:
        recovery.consider(np.stack(plans))
    if np.isfinite(recovery.best.objective_s):
        return
    reachable = reachable_progress(classes)
    if reachable < problem.minimum_progress:
        raise too_little_progress(reachable, problem.minimum_progress)
    raise SolverFailure(
        f"no plan found that keeps the server's memory and a progress of {problem.minimum_progress:g}; the limits are "
        "so tight that rounding fails; raise server.memory_bytes or lower objective.minimum_progress"
    )


def _bound_ratio(classes: Classes, recovery: Recovery) -> DeadlineBound:
    return best_ratio(
        classes,
        StaticShares(),
        recovery.best.objective_s,
        offer=recovery.offer,
        least_progress=classes.problem.minimum_progress,
    )


def _bound_latency(classes: Classes, recovery: Recovery) -> DeadlineBound:
    least = classes.problem.minimum_progress
    limits = Limits.for_size(classes.num_clients)
    bound = shortest_deadline(
        classes, StaticShares(), least, recovery.best.latency_s, smoothing=min(limits.smoothing, 1e-6)
    )
    point = bound.point
    for factor in _ROUNDING_DEADLINES:
        deadline_s = bound.deadline_s * factor
        if deadline_s >= recovery.best.latency_s:
            break
        solution = latency_certificate(classes, StaticShares(), deadline_s, least, point, limits.smoothing)
        if solution is not None:
            recovery.offer(deadline_s, solution)
    return bound


def _schedule_bound(classes: Classes, objective_s: float) -> float:
    """Lower bound for any schedule; a coarser search than the main one, since nothing is recovered from it."""
    least = classes.problem.minimum_progress
    if not classes.problem.divides_by_progress:
        return shortest_deadline(classes, AnySchedule(), least, objective_s, 1e-6, 1e-6).lower_s
    limits = Limits(max_intervals=60, dual_gap=1e-3, smoothing=1e-5)
    return best_ratio(classes, AnySchedule(), objective_s, least_progress=least, limits=limits).lower_s
