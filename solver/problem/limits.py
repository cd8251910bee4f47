"""Limits that couple the clients' options whatever the shares: loads, summed over a plan, must fit a capacity.

Server memory and an energy cap are of this form as they stand. For a least progress the load of an option is the
progress that it lacks to its client's best one; for a least coverage it is the data of a client whose own part is not
trained exactly. With loads that
are never negative and one capacity each, all of them share one dual, one knapsack and one check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index, IntArray

if TYPE_CHECKING:
    from hybridsplit.solver.problem.planning_problem import PlanningProblem

ROUNDING = 1e-12
"""Relative slack of limits on numbers that are known only to rounding. Bytes have none."""

SERVER_MEMORY = "server memory"
ENERGY = "energy"
PROGRESS = "least progress"
COVERAGE = "coverage"
PARTICIPANTS = "participants"


@dataclass(frozen=True)
class Limit:
    """One limit ``Σ_i load_i ≤ capacity``.

    Parameters
    ----------
    name
        What is limited.
    loads
        [K] what each row takes; never negative. Integers are compared exactly.
    capacity
        What there is.
    slack
        Rounding that the comparison allows.
    """

    name: str
    loads: FloatArray | IntArray
    capacity: float
    slack: float

    def take(self, index: Index) -> Limit:
        """Return the limit on fewer rows."""
        return replace(self, loads=self.loads[index])

    def keeps(self, total: float) -> bool:
        """Say whether a plan with a total load keeps the limit."""
        return bool(total <= self.capacity + self.slack)


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
        best = np.maximum.reduceat(np.where(mask, problem.gain, -np.inf), problem.starts)
        loads = np.maximum(best[problem.client_index] - problem.gain, 0.0)
        limits.append(Limit(PROGRESS, loads, float(best.sum()) - problem.minimum_progress, ROUNDING))
    may_leave = np.unique(problem.client_index[problem.is_dropped & mask])
    if len(may_leave) == problem.num_clients:
        limits.append(Limit(PARTICIPANTS, problem.is_dropped.astype(np.int64), problem.num_clients - 1, 0.0))
    return tuple(limits)


def least_total(limit: Limit, starts: IntArray) -> float:
    """Return the load of the leanest options together."""
    return float(np.minimum.reduceat(limit.loads, starts).sum())


def possible_rows(limit: Limit, starts: IntArray, client_index: IntArray) -> BoolArray:
    """[K] False for rows that break the limit even beside the leanest options of all other clients.

    Parameters
    ----------
    limit
        The limit, with loads [K].
    starts, client_index
        [N] first row of every client, and [K] the client of every row.
    """
    lean = np.minimum.reduceat(limit.loads, starts)
    return np.asarray(lean.sum() - lean[client_index] + limit.loads <= limit.capacity + limit.slack)
