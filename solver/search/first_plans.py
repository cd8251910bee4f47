"""First plans within the limits, by cheap rules; by exact search where those fail."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.infeasible import limits_together, too_little_progress
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.problem.limits import PROGRESS
from hybridsplit.solver.search.knapsack import best_within_limits, reachable_progress
from hybridsplit.solver.search.label_setting import best_by_labels

_MANY_NODES = 3000


def first_plans(kinds: ClientKinds, *, required: bool) -> IntArray:
    """Find plans that are fast, or make much progress, within the limits.

    Parameters
    ----------
    kinds
        The kinds.
    required
        Whether a plan must be found.

    Returns
    -------
    IntArray
        [M, R] counts; none only where nothing was required.

    Raises
    ------
    InfeasibleError
        If the limits leave no plan.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    # Latency at equal shares prefers options that stay fast once the resources are divided.
    alone_s = kinds.work.latency_s(1.0 / kinds.num_clients)
    values = -alone_s / max(float(alone_s.max()), np.finfo(float).tiny)
    everything = np.ones(len(kinds.rows), dtype=bool)
    fastest = best_of_each(kinds, values)
    plans = [fastest] if kinds.keeps(fastest) else []
    for target in (values, kinds.progress):
        knapsack = best_within_limits(kinds, target, everything)
        if knapsack is not None:
            plans.append(knapsack)
    if not plans and required:
        plans.append(_by_exact_search(kinds, values))
    return np.array(plans, dtype=np.int64).reshape(len(plans), len(kinds.rows))


def best_of_each(kinds: ClientKinds, values: FloatArray) -> IntArray:
    """[R] counts of the plan in which every client takes its most valuable option, the first of equal ones."""
    leaders = np.flatnonzero(np.maximum.reduceat(values, kinds.starts)[kinds.row_kind] == values)
    counts = np.zeros(len(kinds.rows), dtype=np.int64)
    counts[leaders[np.unique(kinds.row_kind[leaders], return_index=True)[1]]] = kinds.count
    return counts


def _by_exact_search(kinds: ClientKinds, values: FloatArray) -> IntArray:
    found = best_by_labels(kinds, values)
    if found.counts is not None:
        return found.counts
    if found.complete:
        raise no_plan(kinds)
    everything = np.ones(len(kinds.rows), dtype=bool)
    for target in (values, *(-load for load in kinds.loads)):
        counts = best_within_limits(kinds, target, everything, max_nodes=_MANY_NODES)
        if counts is not None:
            return counts
    names = " and ".join(limit.name for limit in kinds.limits)
    raise SolverFailure(
        f"no plan was found that keeps {names}, and none of the proofs that there is none holds: the limits are so "
        "tight that the search ended without one; relax one of them a little"
    )


def no_plan(kinds: ClientKinds) -> InfeasibleError:
    """Explain that the limits leave no plan."""
    if any(limit.name == PROGRESS for limit in kinds.limits):
        reachable = reachable_progress(kinds)
        if reachable < kinds.problem.minimum_progress:
            return too_little_progress(reachable, kinds.problem.minimum_progress)
    return limits_together([limit.name for limit in kinds.limits])
