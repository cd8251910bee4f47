"""SplitFed as deployed without a planner: one cut for all clients, equal shares."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import all_occur
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.equal import EqualShareChoice, best_at_equal_shares


class SplitFed(Strategy):
    """The best uniform cut at equal shares, in the style of SplitFed (Thapa et al., arXiv 2004.12088).

    SplitFed prescribes one cut for every client and says nothing about shares; giving every client the same share, and
    choosing the cut and each client's mode to minimise the objective, is our reconstruction of a fair baseline.
    """

    name = "splitfed"
    summary = "one cut for all clients (the best that fits everywhere), equal shares, best mode per client"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Try every cut that fits all clients.

        Raises
        ------
        InfeasibleError
            If no single cut fits every client, or none keeps the server's memory and the least progress.
        """
        cuts = problem.cuts
        common = [
            int(cut) for cut in np.unique(cuts) if all_occur(problem.client_index[cuts == cut], problem.num_clients)
        ]
        if not common:
            raise InfeasibleError(_no_common_cut(problem))
        best: EqualShareChoice | None = None
        best_cut = 0
        for cut in common:
            choice = best_at_equal_shares(problem, cuts == cut, best.objective_s if best else np.inf)
            if choice is not None:
                best, best_cut = choice, cut
        if best is None:
            raise InfeasibleError(
                f"splitfed: none of the cuts {', '.join(map(str, common))} that fit every client keeps the server's "
                f"memory and a progress of {problem.minimum_progress:g}; raise server.memory_bytes, lower "
                "objective.minimum_progress, or use the strategy 'optimal'"
            )
        return Proposal(best.rows, equal_shares=True, reason=f"one cut for all clients: {best_cut}, at equal shares")


def _no_common_cut(problem: PlanningProblem) -> str:
    deepest = np.array([problem.cuts[problem.client_index == i].max() for i in range(problem.num_clients)])
    shallowest = np.array([problem.cuts[problem.client_index == i].min() for i in range(problem.num_clients)])
    shallow, deep = int(np.argmin(deepest)), int(np.argmax(shallowest))
    return (
        f"splitfed: no single cut fits every client: {problem.clients[shallow].id} fits cuts up to {deepest[shallow]}, "
        f"{problem.clients[deep].id} starts at cut {shallowest[deep]}; give {problem.clients[shallow].id} more memory, "
        "lower min_cut, or use the strategy 'optimal', which cuts per client"
    )
