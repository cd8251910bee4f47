"""Which option each client would take with more memory where clients are served by priority: every trial is timed."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.solver.dispatch.sequences import Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.explain.more_memory import MemorySteps, Tried, alike_in, best_steps, candidates
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.build import everything_of
from hybridsplit.solver.problem.planning_problem import PlanningProblem

_MOST_JOBS = 150_000
"""Jobs that are timed in all trials together: about a third of a second."""


def memory_steps_by_priority(
    problem: PlanningProblem, rows: IntArray, schedule: Dispatch, objective_s: float, worth: float
) -> MemorySteps:
    """Look for options that do not fit and would make the plan better; the others keep options and urgencies.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] the plan's row of every client.
    schedule
        The plan's.
    objective_s
        The plan's objective, seconds.
    worth
        Savings up to this fraction of the objective count as none.

    Returns
    -------
    MemorySteps
        As of :func:`~hybridsplit.solver.explain.more_memory.memory_steps`. Where trials are too many, those whose
        clients would be fastest alone are timed, an option of every kind in turn.
    """
    everything = everything_of(problem)
    chosen = problem.place[rows]
    kinds = alike_in(everything, chosen)
    first = np.array([members[0] for members in kinds])
    found = candidates(everything, chosen, first, objective_s * (1.0 - worth))
    alone_s = everything.work.take(found.row).latency_s(1.0)
    order = np.lexsort((alone_s / found.target_s, found.kind))
    begins = np.flatnonzero(np.r_[True, found.kind[order][1:] != found.kind[order][:-1]]) if len(order) else order
    place = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    order = order[np.argsort(place, kind="stable")]
    sequences = Sequences(everything)
    position = {client.id: i for i, client in enumerate(everything.clients)}
    clients = [position[name] for name in schedule.order]
    where = {client: index for index, client in enumerate(clients)}
    own = [sequences.of(int(chosen[client])) for client in clients]
    jobs = sum(len(segment.jobs) for sequence in own for segment in sequence)
    tried = order[: max(1, _MOST_JOBS // max(1, jobs))]
    saves_s = np.zeros(len(tried))
    for trial, candidate in enumerate(tried.tolist()):
        row, client = int(found.row[candidate]), int(first[found.kind[candidate]])
        changed = chosen.copy()
        changed[client] = row
        if client not in where:
            continue  # it is left out, and has no place among the others
        others = own.copy()
        others[where[client]] = sequences.of(row)
        latency_s = max(ends_s(others, schedule.urgency_s))
        saves_s[trial] = max(0.0, objective_s - everything.objective_of(changed, latency_s))
    unknown = set(found.kind[order[len(tried) :]].tolist())
    return best_steps(
        everything, kinds, Tried(found.row[tried], found.kind[tried], saves_s), worth * objective_s, unknown
    )
