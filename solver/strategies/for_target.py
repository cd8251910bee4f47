"""Decide for a time to a target: every strategy at every depth of untrained blocks, and the best of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.errors import HybridSplitError, InfeasibleError, SolverFailure
from hybridsplit.solver.bound.deadline import StopRule, best_ratio
from hybridsplit.solver.problem.costs import AnySchedule
from hybridsplit.solver.problem.depths import at_depth, depth_of_plan, depths_of
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult, search
from hybridsplit.solver.strategies.base import Proposal, Strategy

_SHORT = StopRule(max_intervals=40, dual_gap=1e-3, smoothing=1e-5)
_SAME = 1e-7
"""Relative fall of the objective that is not worth a search at another depth: less than the tolerance of a plan."""

ValueOf = Callable[[PlanningProblem, Proposal], float]
"""Gives the objective of a proposal, in seconds."""


@dataclass(frozen=True)
class ForTarget:
    """What was decided.

    Parameters
    ----------
    problem
        The problem at the depth of the plan.
    proposal
        The plan, with the bounds of all depths together where its strategy computed them on its way.
    """

    problem: PlanningProblem
    proposal: Proposal


def propose_for_target(problem: PlanningProblem, strategy: Strategy, effort: Effort, value_of: ValueOf) -> ForTarget:
    """Let a strategy propose at every depth, and take the proposal with the least objective.

    Parameters
    ----------
    problem
        The planning problem, for a target.
    strategy, effort
        Who proposes, and how hard it may search.
    value_of
        Prices a proposal at a depth.

    Raises
    ------
    InfeasibleError
        If the strategy has no plan that comes closer to the target.
    SolverFailure
        If a solver stopped without a plan at every depth that has one.
    """
    best: ForTarget | None = None
    best_s, known, reason = np.inf, _Bounds(), None
    for part in _parts(problem):
        floor_s = _least_s(part, best_s)
        if floor_s >= best_s * (1 - _SAME):
            known.add_floor(floor_s)
            continue
        try:
            proposal = strategy.propose(part, _within(part, effort))
        except (InfeasibleError, SolverFailure) as error:
            reason = reason or error
            continue
        known.add(proposal.bounds)
        own = at_depth(problem, depth_of_plan(part, proposal.rows))
        if own is not None and (value_s := value_of(own, proposal)) < best_s:
            best, best_s = ForTarget(own, proposal), value_s
    if best is None:
        raise reason if isinstance(reason, HybridSplitError) else _never(strategy.name)
    bounds = known.together(best.proposal.bounds)
    return replace(best, proposal=replace(best.proposal, bounds=bounds))


def search_for_target(problem: PlanningProblem, effort: Effort) -> SearchResult:
    """Search at every depth; return the best plan, and bounds that hold for plans of any depth.

    Raises
    ------
    InfeasibleError
        If no plan comes closer to the target.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    best: SearchResult | None = None
    known, reason = _Bounds(), None
    for part in _parts(problem):
        best_s = np.inf if best is None else best.objective_s
        floor_s = _least_s(part, best_s)
        if floor_s >= best_s * (1 - _SAME):
            known.add_floor(floor_s)
            continue
        try:
            found = search(part, _within(part, effort))
        except (InfeasibleError, SolverFailure) as error:
            reason = reason or error
            continue
        known.add(found)
        if best is None or found.objective_s < best.objective_s:
            best = found
    if best is None:
        raise reason if isinstance(reason, HybridSplitError) else _never("no strategy")
    together = known.together(best)
    assert together is not None
    return together


class _Bounds:
    """The least of the bounds of all depths; none as long as a depth has none."""

    def __init__(self) -> None:
        self._static_s, self._any_s, self._complete, self._stopped = np.inf, np.inf, True, False

    def add_floor(self, floor_s: float) -> None:
        self._static_s, self._any_s = min(self._static_s, floor_s), min(self._any_s, floor_s)

    def add(self, bounds: SearchResult | None) -> None:
        if bounds is None:
            self._complete = False
            return
        self._static_s = min(self._static_s, bounds.lower_bound_s)
        self._any_s = min(self._any_s, bounds.schedule_lower_bound_s)
        self._stopped |= bounds.stopped

    def together(self, best: SearchResult | None) -> SearchResult | None:
        if best is None or not self._complete:
            return None
        any_s = min(self._any_s, self._static_s)
        return replace(best, lower_bound_s=self._static_s, schedule_lower_bound_s=any_s, stopped=self._stopped)


def _parts(problem: PlanningProblem) -> Iterator[PlanningProblem]:
    for depth in depths_of(problem):
        part = at_depth(problem, depth)
        if part is not None:
            yield part


def _least_s(part: PlanningProblem, known_s: float) -> float:
    """Objective that no plan at a depth is below; a short search, which only tells depths that cannot be the best."""
    if not np.isfinite(known_s):
        return 0.0
    kinds = group_alike(part).relative_to(known_s)
    if kinds.largest_gain <= 0:
        return known_s
    if kinds.trivial_bound_s >= known_s:
        return kinds.trivial_bound_s
    return best_ratio(kinds, AnySchedule(), known_s, stop=_SHORT).lower_s


def _within(part: PlanningProblem, effort: Effort) -> Effort:
    """Start from the given plan only where it is one at this depth."""
    rows = effort.incumbent_rows
    return effort if rows is None or part.keeps_limits(rows) else replace(effort, incumbent_rows=None)


def _never(name: str) -> InfeasibleError:
    return InfeasibleError(
        f"{name}: by the constants of the pilot runs (objective.pilot) none of its plans ever reaches the target: "
        "noise, drift and untrained blocks outweigh what a round gains; lower the target, allow exact modes or larger "
        "batches, or plan with the strategy 'optimal'"
    )
