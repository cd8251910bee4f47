"""Round latencies of plans that differ from a given one in one client's option, all found together."""

from __future__ import annotations

import numpy as np

from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.waterfill import fill


def latencies_with(problem: PlanningProblem, chosen: IntArray, trials: IntArray) -> FloatArray:
    """Solve the shares anew for every trial.

    Clients with the same work count as one kind, and trials that put the same work in the place of the same kind are
    solved once, so that a thousand clients cost no more than their kinds.

    Parameters
    ----------
    problem
        The planning problem.
    chosen
        [N] row of every client in the plan.
    trials
        [M] rows to be taken by their own client, one a trial.

    Returns
    -------
    FloatArray
        [M] round latency of each, seconds.
    """
    if not len(trials):
        return np.zeros(0)
    columns = _columns(problem.work)
    _, first, kind, count = np.unique(
        columns[chosen], axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    kind_of = kind.reshape(-1)[problem.client_index[trials]]
    distinct, inverse = np.unique(np.column_stack([columns[trials], kind_of]), axis=0, return_inverse=True)
    at = np.zeros(len(distinct), dtype=np.int64)
    at[inverse.reshape(-1)] = np.arange(len(trials))
    index = np.column_stack([np.tile(chosen[first], (len(at), 1)), trials[at]])
    weight = np.column_stack([np.tile(count, (len(at), 1)), np.ones(len(at))]).astype(float)
    weight[np.arange(len(at)), kind_of[at]] -= 1.0
    return fill(problem.work.take(index), weight).latency_s[inverse.reshape(-1)]


def _columns(work: Work) -> FloatArray:
    """[K, ...] all figures of every row's work."""
    return np.column_stack([work.compute_s, *vars(work.uplink).values(), work.downlink_s, work.server_s])
