"""The joint search for options and shares: incumbent, bound, improvement, and exhaustion where clients are few."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.bound.deadline import BOUND_SAFETY, DeadlineBound, StopRule, best_ratio, shortest_deadline
from hybridsplit.solver.bound.dual import latency_certificate
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares
from hybridsplit.solver.problem.kinds import ClientKinds, group_alike
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.exhaustive import EXACT_TOLERANCE, close_latency, close_ratio
from hybridsplit.solver.search.first_plans import first_plans
from hybridsplit.solver.search.least_energy import least_energy
from hybridsplit.solver.search.many_kinds import MANY_KINDS, gap_goal, priced_start, search_many
from hybridsplit.solver.search.rounding import Recovery

_ROUNDING_DEADLINES = (1.0, 1.001, 1.003, 1.01, 1.03, 1.1, 1.3)
"""Multiples of the smallest deadline at which fractional plans are rounded: the smallest rarely survives rounding."""
_MAX_REFERENCES = 8
"""Times that the reference of dropping prices may be replaced by a better plan's objective."""


@dataclass(frozen=True)
class Effort:
    """How hard to search, and from where.

    Parameters
    ----------
    stop_at
        Value of ``time.perf_counter()`` after which plan and bound are taken as they are; None for no limit.
    incumbent_rows
        [N] a plan to start from; the result is no worse.
    """

    stop_at: float | None = None
    incumbent_rows: IntArray | None = None

    def starting_at(self, rows: IntArray | None) -> Effort:
        """Return the effort with a plan to start from, unless there is one already."""
        return self if rows is None or self.incumbent_rows is not None else replace(self, incumbent_rows=rows)

    @property
    def is_over(self) -> bool:
        """True once the time is up."""
        return self.stop_at is not None and time.perf_counter() >= self.stop_at


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
    objective_j, lower_bound_j
        Energy and its lower bound where energy is minimised; the figures in seconds then are round latencies.
    stopped
        True if the time was up before the search had ended.
    """

    rows: IntArray
    objective_s: float
    lower_bound_s: float
    schedule_lower_bound_s: float
    objective_j: float | None = None
    lower_bound_j: float | None = None
    stopped: bool = False
    relaxed: DeadlineBound | None = None
    """Where the bound for any schedule comes from, with its prices; None where it was not asked for by itself."""


def search(problem: PlanningProblem, effort: Effort | None = None) -> SearchResult:
    """Find the best options of all clients together, with bounds.

    Parameters
    ----------
    problem
        Options, objective and limits.
    effort
        When to stop, and a plan to start from.

    Raises
    ------
    InfeasibleError
        If no plan keeps the limits.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    effort = effort or Effort()
    return _between_meetings(problem, _searched(problem, effort), effort)


def _between_meetings(problem: PlanningProblem, found: SearchResult, effort: Effort) -> SearchResult:
    """Raise the bounds of a problem whose steps synchronise by what meetings cost every plan."""
    if not problem.scenario.training.steps_synchronise or effort.is_over:
        return found
    from hybridsplit.solver.bound.meetings import bound_between_meetings  # late: few scenarios need it

    bound_s = bound_between_meetings(problem, found.rows, lambda: effort.is_over)
    any_schedule_s = max(found.schedule_lower_bound_s, bound_s)
    return replace(found, schedule_lower_bound_s=any_schedule_s, lower_bound_s=max(found.lower_bound_s, any_schedule_s))


def _searched(problem: PlanningProblem, effort: Effort) -> SearchResult:
    """Search without regard to meetings."""
    if problem.overlaps.any():
        from hybridsplit.solver.search.overlapped import search_overlapped  # late: few scenarios offer it

        return search_overlapped(problem, effort)
    if problem.objective == ENERGY:
        return _search_energy(problem)
    kinds = group_alike(problem)
    if len(kinds.count) > MANY_KINDS and kinds.is_ratio:
        return _search_many(kinds, effort)
    recovery = Recovery(kinds)
    if effort.incumbent_rows is not None:
        recovery.consider(kinds.counts_of(effort.incumbent_rows)[None, :])
    plans = first_plans(kinds, required=not np.isfinite(recovery.best.objective_s))
    if len(plans):
        recovery.consider(plans)
    if not np.isfinite(recovery.best.objective_s):
        raise SolverFailure(
            "the plans found keep every limit and none makes progress in finite time; allow more modes in "
            "training.modes, or raise the bandwidths"
        )
    lower_s = 0.0
    stopped = False
    for _ in range(_MAX_REFERENCES):
        if recovery.best.objective_s <= 0:
            return SearchResult(kinds.rows_of(recovery.best.counts), 0.0, 0.0, 0.0)
        reference_s = recovery.best.objective_s
        kinds = recovery.kinds = kinds.relative_to(reference_s)
        lower_s = max(lower_s, kinds.trivial_bound_s)
        if stopped := effort.is_over:
            break
        lower_s = max(lower_s, _bound_and_improve(kinds, recovery, effort))
        if not problem.has_penalties or recovery.best.objective_s >= reference_s * (1 - EXACT_TOLERANCE):
            break
    lower_s = min(lower_s, recovery.best.objective_s)
    relaxed = None if effort.is_over else _schedule_bound(kinds, recovery.best.objective_s, effort)
    return SearchResult(
        rows=kinds.rows_of(recovery.best.counts),
        objective_s=recovery.best.objective_s,
        lower_bound_s=lower_s,
        schedule_lower_bound_s=0.0 if relaxed is None else min(lower_s, relaxed.lower_s),
        stopped=stopped or effort.is_over,
        relaxed=relaxed,
    )


def bounded(
    problem: PlanningProblem, rows: IntArray, objective_s: float, lower_s: float, effort: Effort, *, stopped: bool
) -> SearchResult:
    """Return a plan that was found in another way as a result of the search, with the bound for any schedule.

    Parameters
    ----------
    problem, effort
        As of :func:`search`.
    rows, objective_s
        [N] the plan, and its objective at the best shares.
    lower_s
        Proven bound on the objective of every plan with static shares.
    stopped
        Whether the time was up before the search had ended.
    """
    lower_s = min(lower_s, objective_s)
    relaxed = None
    if objective_s > 0 and not effort.is_over:
        relaxed = _schedule_bound(group_alike(problem).relative_to(objective_s), objective_s, effort)
    any_schedule_s = 0.0 if relaxed is None else min(lower_s, relaxed.lower_s)
    result = SearchResult(rows, objective_s, lower_s, any_schedule_s, stopped=stopped, relaxed=relaxed)
    return _between_meetings(problem, result, effort)


def _search_many(kinds: ClientKinds, effort: Effort) -> SearchResult:
    counts = None if effort.incumbent_rows is None else kinds.counts_of(effort.incumbent_rows)
    best_s, lower_s, schedule_s = np.inf, 0.0, 0.0
    reference_s = 1.0
    if kinds.problem.has_penalties:
        reference_s = priced_start(kinds, counts).objective_s
    complete = True
    for _ in range(_MAX_REFERENCES):
        compared = kinds.relative_to(reference_s)
        found = search_many(compared, counts, lambda: effort.is_over)
        lower_s = max(lower_s, compared.trivial_bound_s)
        counts = found.plan.counts(kinds)
        lower_s, schedule_s = max(lower_s, found.lower_s), max(schedule_s, found.schedule_lower_s)
        settled = found.plan.objective_s >= reference_s * (1 - gap_goal(kinds.num_clients))
        best_s, reference_s, complete = found.plan.objective_s, found.plan.objective_s, found.complete
        if settled or not kinds.problem.has_penalties or effort.is_over:
            break
    assert counts is not None
    lower_s = min(lower_s, best_s)
    return SearchResult(
        rows=kinds.rows_of(counts),
        objective_s=best_s,
        lower_bound_s=lower_s,
        schedule_lower_bound_s=min(lower_s, schedule_s),
        stopped=effort.is_over and not complete,
    )


def _bound_and_improve(kinds: ClientKinds, recovery: Recovery, effort: Effort) -> float:
    """Lower bound on the objective; the recovery holds a better plan where one was met on the way."""
    bound = (
        best_ratio(
            kinds, StaticShares(), recovery.best.objective_s, offer=recovery.offer, is_over=lambda: effort.is_over
        )
        if kinds.is_ratio
        else _bound_latency(kinds, recovery)
    )
    recovery.improve(is_over=lambda: effort.is_over)
    if effort.is_over:
        return bound.lower_s
    if bound.lower_s >= recovery.best.objective_s * (1 - EXACT_TOLERANCE):
        return bound.lower_s
    closed = close_ratio(kinds, recovery, bound.open) if kinds.is_ratio else close_latency(kinds, recovery)
    proven = recovery.best.objective_s * (1 - EXACT_TOLERANCE - BOUND_SAFETY) if closed else 0.0
    return max(bound.lower_s, proven)


def _search_energy(problem: PlanningProblem) -> SearchResult:
    """Energy depends on the options alone; the seconds are the round latency's own bounds over all plans."""
    kinds = group_alike(problem)
    found = least_energy(kinds)
    recovery = Recovery(kinds)
    recovery.consider(found.counts[None, :])
    latency_s = recovery.best.latency_s
    shortest = shortest_deadline(kinds, StaticShares(), latency_s, 1e-6, 1e-6) if latency_s > 0 else None
    lower_s = min(shortest.lower_s, latency_s) if shortest is not None else 0.0
    schedule_s = shortest_deadline(kinds, AnySchedule(), latency_s, 1e-6, 1e-6).lower_s if latency_s > 0 else 0.0
    return SearchResult(
        rows=kinds.rows_of(found.counts),
        objective_s=latency_s,
        lower_bound_s=lower_s,
        schedule_lower_bound_s=min(lower_s, schedule_s),
        objective_j=found.energy_j,
        lower_bound_j=found.lower_bound_j,
    )


def _bound_latency(kinds: ClientKinds, recovery: Recovery) -> DeadlineBound:
    stop = StopRule.for_size(kinds.num_clients)
    bound = shortest_deadline(kinds, StaticShares(), recovery.best.latency_s, smoothing=min(stop.smoothing, 1e-6))
    point = bound.point
    for factor in _ROUNDING_DEADLINES:
        deadline_s = bound.deadline_s * factor
        if deadline_s >= recovery.best.latency_s:
            break
        solution = latency_certificate(kinds, StaticShares(), deadline_s, point, stop.smoothing)
        if solution is not None:
            recovery.offer(deadline_s, solution)
    return bound


def _schedule_bound(kinds: ClientKinds, objective_s: float, effort: Effort) -> DeadlineBound:
    """Lower bound for any schedule; a coarser search than the main one, since nothing is recovered from it."""
    if not kinds.is_ratio:
        return shortest_deadline(kinds, AnySchedule(), objective_s, 1e-6, 1e-6)
    stop = StopRule(max_intervals=60, dual_gap=1e-3, smoothing=1e-5)
    return best_ratio(kinds, AnySchedule(), objective_s, stop=stop, is_over=lambda: effort.is_over)
