"""An option drawn at random for every client."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Assignment
from hybridsplit.solver.strategies.choice import choose_by_score

_DRAWS = 200


@dataclass(frozen=True)
class RandomChoice:
    """Uniformly drawn options at equal shares: what a plan without any criterion gives. The scenario's seed decides."""

    name: str = "random"
    summary: str = "an option drawn at random for every client among those that fit, equal shares"
    claims_optimality: bool = False

    def assign(self, problem: PlanningProblem, effort: Effort) -> Assignment:
        """Draw until the limits are kept; after many draws in vain, take the drawn options that keep them.

        Raises
        ------
        InfeasibleError
            If no choice keeps the limits.
        """
        rng = np.random.default_rng([problem.scenario.seed, 0x72616E64])
        mask = ~problem.is_dropped
        for _ in range(_DRAWS):
            rows = choose_by_score(problem.without_limits(), mask, rng.uniform(size=problem.num_rows), self.name)
            if problem.keeps_limits(rows) and (not problem.divides_by_progress or problem.total_progress(rows) > 0):
                break
        else:
            rows = choose_by_score(problem, mask, rng.uniform(size=problem.num_rows), self.name)
        return Assignment(rows, equal_shares=True, reason="drawn at random, at equal shares")
