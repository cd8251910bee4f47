"""Options of an earlier plan under a schedule that is given: nothing is searched, everything is timed and checked."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Chain, Schedule, Simultaneous
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import FloatArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy


class Given(Strategy):
    """Take the options of the plan that the search would begin from; it is in no list of strategies.

    Parameters
    ----------
    schedule
        How the clients use the shared resources; a chain needs shares of its own and is not possible.
    reason
        Why each client has its option, in words.
    shares
        [N, 3] constant shares of uplink, downlink and server; the best for these options when None. Only where all use
        the resources at once.
    """

    name = "given"
    summary = "the options of an earlier plan"
    sharing = Sharing.ANY
    divides_server = False

    def __init__(self, schedule: Schedule, reason: str, shares: FloatArray | None = None) -> None:
        if isinstance(schedule, Chain):
            raise TypeError("a chain has shares of its own")
        self._schedule, self._reason, self._shares = schedule, reason, shares

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Return the options of the plan to start from.

        Raises
        ------
        InfeasibleError
            If there is none, or its options are not all allowed here.
        """
        if effort.incumbent_rows is None:
            raise InfeasibleError("the options of the earlier plan are not all allowed any more; plan without it")
        if isinstance(self._schedule, Simultaneous):
            return Proposal(effort.incumbent_rows, shares=self._shares, reason=self._reason)
        shares = np.ones((problem.num_clients, 3))
        return Proposal(effort.incumbent_rows, shares=shares, schedule=self._schedule, reason=self._reason)
