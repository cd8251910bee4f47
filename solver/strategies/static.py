"""Cut, mode and constant shares of every client together, with a lower bound."""

from __future__ import annotations

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.exchange import exchange_options
from hybridsplit.solver.search.joint import Effort, SearchResult, search
from hybridsplit.solver.shares.solution import equal_shares
from hybridsplit.solver.shares.synchronised import least_latency_s, synchronised_shares
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.registry import STRATEGIES
from hybridsplit.solver.strategies.splitfed import SplitFed


class Static(Strategy):
    """Joint optimisation with a Lagrangian bound; exhaustive where clients are few (docs/methods/planning.md)."""

    name = "static"
    summary = "cut, mode and constant shares of every client together, with a lower bound and gap"
    claims_optimality = True

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Search from the best uniform cut on, so that the plan is never worse than that baseline.

        Raises
        ------
        InfeasibleError
            If no plan keeps the limits.
        SolverFailure
            If no plan was found although none of the proofs of infeasibility holds.
        """
        if problem.overlaps.any():
            found = self.searched(problem, effort)
            return Proposal(found.rows, bounds=found)
        try:
            start = SplitFed().propose(problem, effort).rows
        except InfeasibleError:
            start = None
        result = self.searched(problem, effort.starting_at(start))
        if problem.scenario.training.steps_synchronise:
            return _best_synchronised(problem, effort, result)
        return Proposal(result.rows, bounds=result)

    def searched(self, problem: PlanningProblem, effort: Effort) -> SearchResult:
        """Return the best options that a search finds, with their bounds.

        Parameters
        ----------
        problem, effort
            As of :meth:`propose`.

        Raises
        ------
        InfeasibleError, SolverFailure
            As :meth:`propose` raises them.
        """
        return search(problem, effort)


def _baselines() -> list[Strategy]:
    """All strategies with static shares: where steps synchronise the plan is no worse than any of theirs."""
    return [s for s in STRATEGIES.values() if s.sharing is Sharing.STATIC and not s.claims_optimality]


def _best_synchronised(problem: PlanningProblem, effort: Effort, bounds: SearchResult) -> Proposal:
    """Compare the search's plan with the baselines' by the latency with waits between steps, shares polished for it."""
    solution = synchronised_shares(problem, bounds.rows)
    best = Proposal(bounds.rows, solution=solution, bounds=bounds)
    value_s = problem.objective_of(bounds.rows, solution.round_latency_s)
    # Shares do not change the energy, and the search has its least.
    for strategy in _baselines() if problem.objective != ENERGY else ():
        if effort.is_over:
            break
        try:
            candidate = strategy.propose(problem, effort)
        except InfeasibleError:
            continue
        if value_s <= problem.objective_of(candidate.rows, least_latency_s(problem, candidate.rows)):
            continue
        own = equal_shares(problem, candidate.rows).shares if candidate.shares is None else candidate.shares
        solution = synchronised_shares(problem, candidate.rows, own)
        candidate_s = problem.objective_of(candidate.rows, solution.round_latency_s)
        if candidate_s < value_s:
            best, value_s = Proposal(candidate.rows, solution=solution, bounds=bounds), candidate_s
    if problem.objective == ENERGY or best.solution is None:
        return best
    rows, solution = exchange_options(problem, best.rows, best.solution, lambda: effort.is_over)
    return Proposal(rows, solution=solution, bounds=bounds)
