"""Split federated learning over wireless: alternation with both sub-problems solved to optimality."""

from __future__ import annotations

from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.alternation import all_shares, alternate
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import exact_modes, modes_mask, require_everybody


class SflWireless(Strategy):
    """Split point and resources by alternation, both steps optimal, in the style of arXiv 2310.15584.

    Stated in the paper: unequal devices with a cut each, joint split point selection and bandwidth allocation for the
    least latency, alternating optimisation with optimal sub-solutions. Our reconstruction: the phases of a round, and
    that the server's compute is allocated together with the bandwidth.
    """

    name = "sfl-wireless"
    summary = "cut per client and all shares by alternation, both steps optimal, exact gradients"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Alternate until the round latency stops falling.

        Raises
        ------
        InfeasibleError
            If a client has no exact option, or no choice keeps the limits.
        """
        mask = modes_mask(problem, exact_modes())
        require_everybody(problem, mask, self.name, "in an exact mode")
        found = alternate(problem, mask, lambda rows: all_shares(problem, rows), self.name)
        return Proposal(
            found.rows, shares=found.shares, reason=f"least latency at the shares of alternation {found.num_rounds}"
        )
