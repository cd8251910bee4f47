"""Options that the relaxation of all schedules rates well: where a search for a schedule begins."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.bound.deadline import DeadlineBound, best_ratio, shortest_deadline
from hybridsplit.solver.bound.dual import DualPoint, option_values
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import AnySchedule
from hybridsplit.solver.problem.kinds import ClientKinds, group_alike
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult
from hybridsplit.solver.strategies.choice import choose_by_score
from hybridsplit.solver.strategies.splitfed import SplitFed


@dataclass(frozen=True)
class RelaxedChoices:
    """Where to begin.

    Parameters
    ----------
    rows
        Choices of options, [N] rows each.
    ratings
        [K] what every row costs at the relaxation's prices, less what it is worth; infinite where it is too slow for
        its deadline. None where there is no relaxation.
    """

    rows: tuple[IntArray, ...]
    ratings: FloatArray | None


def relaxed_choices(problem: PlanningProblem, bounds: SearchResult, strategy: str) -> RelaxedChoices:
    """Choose by the prices of the relaxation, and by the best uniform cut.

    Parameters
    ----------
    problem, bounds
        The planning problem and what its search found.
    strategy
        Who asks, for messages.
    """
    choices: list[IntArray] = []
    ratings = None
    if problem.objective != ENERGY and bounds.objective_s > 0:
        kinds = group_alike(problem).relative_to(bounds.objective_s)
        found = bounds.relaxed or _relaxation(kinds, bounds.objective_s)
        if found.point is not None:
            ratings = _ratings(problem, kinds, found.point, found.deadline_s)
            with contextlib.suppress(InfeasibleError):
                choices.append(choose_by_score(problem, np.isfinite(ratings), ratings, strategy))
    with contextlib.suppress(InfeasibleError):
        choices.append(SplitFed().propose(problem, Effort()).rows)
    return RelaxedChoices(tuple(choices), ratings)


def _relaxation(kinds: ClientKinds, objective_s: float) -> DeadlineBound:
    if kinds.is_ratio:
        return best_ratio(kinds, AnySchedule(), objective_s)
    return shortest_deadline(kinds, AnySchedule(), objective_s, 1e-6, 1e-6)


def _ratings(problem: PlanningProblem, kinds: ClientKinds, point: DualPoint, deadline_s: float) -> FloatArray:
    """[K] score of every row at multipliers for any schedule; +inf if too slow, or dominated by another."""
    values, _ = option_values(kinds, AnySchedule(), point, deadline_s)
    score, starts = np.full(problem.num_rows, np.inf), problem.starts
    for c, members in enumerate(kinds.members):
        own = np.arange(kinds.starts[c], kinds.starts[c] + kinds.options_per_kind[c])
        offset = kinds.rows[own] - starts[members[0]]
        score[np.add.outer(starts[members], offset)] = -values[own]
    return score
