"""Cut, mode and all shares of every client together, with a lower bound."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.errors import InfeasibleError
from solver.problem import PlanningProblem
from solver.search import Effort, search
from solver.strategies.base import Assignment
from solver.strategies.splitfed import SplitFed


@dataclass(frozen=True)
class Optimal:
    """Joint optimisation with a Lagrangian bound; exhaustive where clients are few (DESIGN section 6)."""

    name: str = "optimal"
    summary: str = "cut, mode and shares of every client together, with a lower bound and gap"
    claims_optimality: bool = True

    def assign(self, problem: PlanningProblem, effort: Effort) -> Assignment:
        """Search from the best uniform cut on, so that the plan is never worse than that baseline.

        Raises
        ------
        InfeasibleError
            If no plan keeps the limits.
        SolverFailure
            If no plan was found although none of the proofs of infeasibility holds.
        """
        try:
            start = SplitFed().assign(problem, effort).rows
        except InfeasibleError:
            start = None
        result = search(problem, effort.starting_at(start))
        return Assignment(result.rows, bounds=result)
