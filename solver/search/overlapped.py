"""The search where work of some options overlaps: over bounding work, made tighter where the plan stands.

Of an option that overlaps the search sees a lower bound of its round, a mixture of five chains of jobs. What it proves
then holds for the plans as they are. The plan it finds gets its true shares and latency; at their prices and deadline
the mixtures are chosen anew, as dear as they can be, and the search is repeated while that pays.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.bound.deadline import StopRule, best_ratio, shortest_deadline
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import AnySchedule, Work
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.overlap import bounding_work, tightest_weights
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.exchange import exchange_options
from hybridsplit.solver.shares.passes import with_overlap
from hybridsplit.solver.shares.solution import ShareSolution
from hybridsplit.solver.shares.synchronised import best_shares

if TYPE_CHECKING:
    from hybridsplit.solver.search.joint import Effort, SearchResult

_MOST_SEARCHES = 4
_CLOSE = 1e-6
_TRIALS = 10


def search_overlapped(problem: PlanningProblem, effort: Effort) -> SearchResult:
    """Find the best options of all clients together, with bounds, where some overlap.

    Parameters
    ----------
    problem, effort
        As of :func:`hybridsplit.solver.search.joint.search`.

    Raises
    ------
    InfeasibleError, SolverFailure
        As :func:`hybridsplit.solver.search.joint.search` does.
    """
    from hybridsplit.solver.search.joint import search

    assert problem.overlap is not None
    best: tuple[IntArray, ShareSolution] | None = None
    value_s, lower_s, schedule_s = np.inf, 0.0, 0.0
    starts = [effort.incumbent_rows] if effort.incumbent_rows is not None else []
    starts += _with_one_kind(problem, effort)
    found = None
    bounding = problem
    for _ in range(_MOST_SEARCHES):
        found = search(replace(bounding, overlap=None), effort)
        lower_s, schedule_s = max(lower_s, found.lower_bound_s), max(schedule_s, found.schedule_lower_bound_s)
        before_s = value_s
        for rows in (*starts, found.rows):
            solution = best_shares(bounding, rows)
            candidate_s = problem.value_of(rows, solution.round_latency_s)
            if best is None or candidate_s < value_s:
                best, value_s = (rows, solution), candidate_s
        starts = []
        if problem.objective == ENERGY or effort.is_over or value_s <= lower_s * (1 + _CLOSE):
            break
        assert best is not None
        if value_s >= before_s and bounding is not problem:
            break
        bounding = tightened(problem, best[1].prices_s, best[1].round_latency_s)
    assert best is not None
    assert found is not None
    rows, solution = best
    if problem.objective != ENERGY and not effort.is_over:
        rows, solution = exchange_options(bounding, rows, solution, lambda: effort.is_over, _TRIALS)
    latency_s = solution.round_latency_s
    objective_s = problem.objective_of(rows, latency_s)
    if problem.objective != ENERGY and not effort.is_over:
        schedule_s = max(schedule_s, _schedule_bound_s(problem, objective_s))
    return replace(
        found,
        rows=rows,
        objective_s=objective_s,
        lower_bound_s=min(lower_s, objective_s),
        schedule_lower_bound_s=min(schedule_s, lower_s, objective_s),
        stopped=found.stopped or effort.is_over,
        relaxed=None,
    )


def _with_one_kind(problem: PlanningProblem, effort: Effort) -> list[IntArray]:
    """Return the best rows with either kind of overlap alone, where both are on offer: more choice is no worse plan."""
    overlap = problem.overlap
    assert overlap is not None
    masks = overlap.staleness == 0, overlap.micro_batches == 1
    found = []
    for mask in masks if not any(mask.all() for mask in masks) else ():
        if effort.is_over:
            break
        with contextlib.suppress(ValueError, SolverFailure):  # a client has no option of this kind, or no plan is found
            alone = search_overlapped(problem.restricted(mask), replace(effort, incumbent_rows=None))
            found.append(np.flatnonzero(mask)[alone.rows])
    return found


def tightened(problem: PlanningProblem, prices: FloatArray, deadline_s: float) -> PlanningProblem:
    """Return the problem with bounding work that is as dear as it can be at prices ([3]), for a deadline in seconds."""
    assert problem.overlap is not None
    weights = tightest_weights(problem.overlap, prices, deadline_s)
    radio, clients = problem.scenario.radio, problem.clients
    work = bounding_work(problem.overlap, weights, radio, clients, problem.client_index, problem.uplink_bits)
    return replace(problem, work=work)


def _schedule_bound_s(problem: PlanningProblem, objective_s: float) -> float:
    """Lower bound for any schedule: no client is faster than alone, and resources carry all that is sent."""
    done = problem.done
    alone_s = with_overlap(problem, np.arange(problem.num_rows), 1.0, done.latency_s(1.0))
    rest_s = alone_s - (done.latency_s(1.0) - done.compute_s)
    work = Work(rest_s, done.uplink, done.downlink_s, done.server_s)
    kinds = group_alike(replace(problem, work=work, overlap=None)).relative_to(objective_s)
    if not kinds.is_ratio:
        return shortest_deadline(kinds, AnySchedule(), objective_s, 1e-6, 1e-6).lower_s
    stop = StopRule(max_intervals=60, dual_gap=1e-3, smoothing=1e-5)
    return best_ratio(kinds, AnySchedule(), objective_s, stop=stop).lower_s
