"""EdgeSplit: cuts and bandwidth in turn."""

from __future__ import annotations

from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.alternation import alternate, bandwidth_only
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import exact_modes, modes_mask, require_everybody


class EdgeSplit(Strategy):
    """A cut per device and bandwidth by alternation, exact gradients, in the style of EdgeSplit (arXiv 2403.15815).

    Stated in the paper: a split point and a bandwidth share per device, smallest total training time against
    stragglers, a simple alternation. Our reconstruction: the round's latency as the slowest device's, both links'
    bandwidth shared, equal shares of the server, and equal shares to start from.
    """

    name = "edgesplit"
    summary = "cut per client and bandwidth by alternation, exact gradients, equal shares of the server"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Alternate until the round latency stops falling.

        Raises
        ------
        InfeasibleError
            If a client has no exact option, or no choice keeps the limits.
        """
        mask = modes_mask(problem, exact_modes())
        require_everybody(problem, mask, self.name, "in an exact mode")
        found = alternate(problem, mask, lambda rows: bandwidth_only(problem, rows), self.name)
        return Proposal(
            found.rows,
            shares=found.shares,
            reason=f"least latency at the bandwidth of alternation {found.num_rounds}",
        )
