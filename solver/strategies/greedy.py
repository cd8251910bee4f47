"""Every client for itself."""

from __future__ import annotations

import numpy as np

from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import choose_by_score


class Greedy(Strategy):
    """Every client takes the option that is best for itself at equal shares, without regard to the slowest one."""

    name = "greedy"
    summary = "every client takes the option that is best for itself, equal shares"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Score every option by the client's own latency over its own progress (latency or energy alone otherwise).

        Raises
        ------
        InfeasibleError
            If no choice keeps the limits.
        """
        latency_s = problem.work.latency_s(problem.equal_shares)
        score = latency_s
        if problem.objective == ENERGY:
            score = problem.energy_j
        elif problem.divides_by_progress:
            # An option without progress is worse than any that makes some, and finite so that it can be compared.
            worth = problem.worth
            worst = float(latency_s.max()) / max(float(worth[worth > 0].min(initial=1.0)), 1e-12)
            score = np.where(worth > 0, latency_s / np.maximum(worth, 1e-300), 10.0 * worst + 1.0)
        rows = choose_by_score(problem, ~problem.is_dropped, score, self.name)
        return Proposal(rows, equal_shares=True, reason="best for this client by itself at equal shares")
