"""An option drawn at random for every client."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import choose_by_score

_DRAWS = 200


class RandomChoice(Strategy):
    """Uniformly drawn options at equal shares: what a plan without any criterion gives. The scenario's seed decides."""

    name = "random"
    summary = "an option drawn at random for every client among those that fit, equal shares"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Draw until the limits are kept; after many draws in vain, take the drawn options that keep them.

        Raises
        ------
        InfeasibleError
            If no choice keeps the limits.
        """
        rng = np.random.default_rng(stream_seed(problem.scenario.seed, "strategy", self.name))
        mask = ~problem.is_dropped
        for _ in range(_DRAWS):
            rows = choose_by_score(problem.without_limits(), mask, rng.uniform(size=problem.num_rows), self.name)
            if problem.keeps_limits(rows) and (not problem.divides_by_progress or problem.total_gain(rows) > 0):
                break
        else:
            rows = choose_by_score(problem, mask, rng.uniform(size=problem.num_rows), self.name)
        return Proposal(rows, equal_shares=True, reason="drawn at random, at equal shares")
