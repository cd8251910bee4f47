"""Limits that couple the clients' options whatever the shares: loads, summed over a plan, must fit a capacity.

Server memory and an energy cap are of this form as they stand. For a least progress the load of an option is the
progress that it lacks to its client's best one; for a least coverage it is the data of a client whose own part is not
trained exactly. With loads that
are never negative and one capacity each, all of them share one dual, one knapsack and one check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index, IntArray

ROUNDING = 1e-12
"""Relative slack of limits on numbers that are known only to rounding. Bytes have none."""

SERVER_MEMORY = "server memory"
ENERGY = "energy"
PROGRESS = "least progress"
COVERAGE = "coverage"
PARTICIPANTS = "participants"
TRAINED_BLOCKS = "exact training of every block"


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
