"""Vanilla split learning: one client after another."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Chain
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import IntArray, all_occur
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.choice import choose_by_sum, exact_modes, modes_mask, require_everybody


class SplitSequential(Strategy):
    """One client after another at the best uniform cut, in the style of split learning (Gupta and Raskar, 1810.06060).

    Each client has all resources while it trains; then the next one starts, so the round lasts the sum. One cut for
    all clients and exact gradients are the paper's; choosing the cut and between the exact modes to minimise the
    objective is our reconstruction of a fair baseline.
    """

    name = "split-sequential"
    summary = "vanilla split learning: one client after another with all resources, best uniform cut, exact"
    sharing = Sharing.CHAIN
    divides_server = False

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Try every cut that fits all clients in an exact mode.

        Raises
        ------
        InfeasibleError
            If no single cut fits every client in an exact mode, or none keeps the limits.
        """
        exact = modes_mask(problem, exact_modes())
        require_everybody(problem, exact, self.name, "in an exact mode")
        alone_s = problem.work.latency_s(1.0)
        best: IntArray | None = None
        best_value, reason = np.inf, "no single cut fits every client in an exact mode"
        for cut in np.unique(problem.cuts[exact]):
            mask = exact & (problem.cuts == cut)
            if not all_occur(problem.client_index[mask], problem.num_clients):
                continue
            try:
                rows = choose_by_sum(problem, mask, alone_s, self.name)
            except InfeasibleError as error:
                reason = str(error).removeprefix(f"{self.name}: ")
                continue
            value = problem.value_of(rows, float(alone_s[rows].sum()))
            if value < best_value:
                best, best_value = rows, value
        if best is None:
            raise InfeasibleError(f"{self.name}: {reason}")
        return Proposal(
            best,
            shares=np.ones((problem.num_clients, 3)),
            schedule=Chain(order=tuple(client.id for client in problem.clients)),
            reason=f"one cut for all clients: {problem.cuts[best[0]]}, one client after another",
        )
