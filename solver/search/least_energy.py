"""Least energy: shares do not change it, so it is a choice of options under the limits alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.search.first_plans import best_of_each, first_plans
from hybridsplit.solver.search.knapsack import best_within_limits, largest_total
from hybridsplit.solver.search.label_setting import best_by_labels

_TIE = 1e-9
"""Weight of speed among plans of equal energy, relative."""
_NODES = 200
_FEW_CLIENTS = 40


@dataclass(frozen=True)
class LeastEnergy:
    """The plan with the least energy.

    Parameters
    ----------
    counts
        [R] how many clients take each option.
    energy_j
        Its energy in a round, joules.
    lower_bound_j
        Lower bound on the energy of every plan, joules.
    """

    counts: IntArray
    energy_j: float
    lower_bound_j: float


def least_energy(kinds: ClientKinds) -> LeastEnergy:
    """Find the plan with the least energy of all clients within the limits, the faster one of equals.

    Raises
    ------
    InfeasibleError
        If the limits leave no plan.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    energy_j = kinds.problem.energy_j[kinds.rows]
    alone_s = kinds.work.latency_s(1.0 / kinds.num_clients)
    unit_j = max(float(energy_j.max()), np.finfo(float).tiny)
    values = -energy_j / unit_j - _TIE * alone_s / max(float(alone_s.max()), np.finfo(float).tiny)
    thriftiest = best_of_each(kinds, values)
    if kinds.keeps(thriftiest):
        total_j = float(thriftiest @ energy_j)
        return LeastEnergy(thriftiest, total_j, total_j)
    if kinds.num_clients <= _FEW_CLIENTS:
        found = best_by_labels(kinds, values)
        if found.complete and found.counts is not None:
            total_j = float(found.counts @ energy_j)
            # The tie-breaker may hide as much of a difference, and no more.
            return LeastEnergy(found.counts, total_j, max(0.0, total_j - _TIE * kinds.num_clients * unit_j))
    everything = np.ones(len(kinds.rows), dtype=bool)
    plans = [best_within_limits(kinds, values, everything, max_nodes=_NODES)]
    known = [plan for plan in plans if plan is not None] or list(first_plans(kinds, required=True))
    best = min(known, key=lambda counts: float(counts @ energy_j))
    total_j = float(best @ energy_j)
    return LeastEnergy(best, total_j, min(total_j, max(0.0, -largest_total(kinds, -energy_j))))
