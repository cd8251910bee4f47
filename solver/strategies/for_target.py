"""Decide for a time to a target: every strategy at every depth of untrained blocks, and the best of these."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.solver.bound.deadline import StopRule, best_ratio
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares
from hybridsplit.solver.problem.depths import at_depth, depth_of_plan, depths_of
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.levels import at_plan, between, level_of_plan, levels_of
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult, search
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy

_SHORT = StopRule(max_intervals=40, dual_gap=1e-3, smoothing=1e-5)
_SAME = 1e-7
"""Relative fall of the objective that is not worth a search at another depth: less than the tolerance of a plan."""
_WIDEST = 1.15
"""Ratio of ``1 + D/G`` over a piece at first: its chord is at most 0.5 % above the curve."""
_FINE = 1.03
"""Such a ratio below which the bound for any schedule is not refined: the chord is at most 0.02 % above the curve."""
_MANY_CLIENTS, _SAME_OF_MANY = 16, 1e-4
"""Above so many clients, the fall that is not worth another search between two levels."""
_MOST_PIECES = 24
"""Searches between levels, at a depth; what is left open then stays in the gap."""
_STEPS = 4
"""Times that a strategy without bounds proposes again, for the tangent at what it proposed before."""

ValueOf = Callable[[PlanningProblem, Proposal], float]
"""Gives the objective of a proposal, in seconds."""


@dataclass(frozen=True)
class ForTarget:
    """What was decided.

    Parameters
    ----------
    problem
        The problem at the depth and on the tangent of the plan.
    proposal
        The plan, with the bounds of all depths together where its strategy computed them on its way.
    """

    problem: PlanningProblem
    proposal: Proposal


@dataclass(frozen=True)
class _Found:
    """A plan of a piece: its rows and bounds there, what it is, and its problem and value where its gain is exact."""

    rows: IntArray
    bounds: SearchResult | None
    what: Proposal | SearchResult
    problem: PlanningProblem | None
    value_s: float


Solve = Callable[[PlanningProblem, Effort], _Found]
"""Finds a plan of a piece, from an incumbent."""
_Piece = tuple[float, int, float, float, SearchResult | None]
"""What no plan of it is below (seconds), its place, its levels, and the bounds of the piece that it was split from."""


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

    def solve(piece: PlanningProblem, incumbent: Effort) -> _Found:
        proposal = strategy.propose(piece, _within(piece, incumbent))
        own = _exact_at(problem, proposal.rows)
        value_s = np.inf if own is None else value_of(own, proposal)
        return _Found(proposal.rows, proposal.bounds, proposal, own, value_s)

    widest = _WIDEST if strategy.claims_optimality else np.inf
    is_static = strategy.sharing is Sharing.STATIC
    best, known = _explored(problem, solve, effort, strategy.name, widest, is_static=is_static)
    assert isinstance(best.what, Proposal)
    assert best.problem is not None
    return ForTarget(best.problem, replace(best.what, bounds=known.together(best.bounds)))


def search_for_target(problem: PlanningProblem, effort: Effort) -> SearchResult:
    """Search at every depth; return the best plan, and bounds that hold for plans of any depth.

    Raises
    ------
    InfeasibleError
        If no plan comes closer to the target.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """

    def solve(piece: PlanningProblem, incumbent: Effort) -> _Found:
        found = search(piece, _within(piece, incumbent))
        own = _exact_at(problem, found.rows)
        exact = 0.0 if own is None else own.total_gain(found.rows)
        value_s = found.objective_s * piece.total_gain(found.rows) / exact if exact > 0 else np.inf
        return _Found(found.rows, found, replace(found, objective_s=value_s), own, value_s)

    best, known = _explored(problem, solve, effort, "no strategy", _WIDEST, is_static=True)
    assert isinstance(best.what, SearchResult)
    together = known.together(best.what)
    assert together is not None
    return together


def _explored(
    problem: PlanningProblem, solve: Solve, effort: Effort, name: str, widest: float, *, is_static: bool
) -> tuple[_Found, _Bounds]:
    """Solve at every depth and between levels until no piece can hold a better plan."""
    best: _Found | None = None
    known, reasons = _Bounds(), list[InfeasibleError | SolverFailure]()
    for depth in depths_of(problem):
        part = at_depth(problem, depth)
        if part is not None:
            best = _at_one_depth(part, solve, effort, best, known, reasons, widest, is_static=is_static)
    if best is None:
        raise reasons[0] if reasons else _never(name)
    return best, known


def _at_one_depth(
    part: PlanningProblem,
    solve: Solve,
    effort: Effort,
    best: _Found | None,
    known: _Bounds,
    reasons: list[InfeasibleError | SolverFailure],
    widest: float,
    *,
    is_static: bool,
) -> _Found | None:
    """Split the levels of a depth at the plans that are found, least bound first, while a piece may hold better."""
    same = _SAME if part.num_clients <= _MANY_CLIENTS else _SAME_OF_MANY
    pieces = _first_pieces(part, widest)
    heapq.heapify(pieces)
    order, num_solved = itertools.count(len(pieces)), 0
    while pieces:
        lower_s, _, low, high, of_parent = heapq.heappop(pieces)
        best_s = np.inf if best is None else best.value_s
        piece = between(part, low, high)
        if piece is None:
            continue
        floor_s = max(lower_s, _least_s(piece, best_s, AnySchedule()))
        static_s = max(floor_s, _least_s(piece, best_s, StaticShares())) if is_static else floor_s
        if static_s >= best_s * (1 - same):
            known.add_floor(static_s, floor_s)
            continue
        if num_solved >= _MOST_PIECES or (num_solved and effort.is_over):
            # What is left open stays in the gap.
            known.add_floor(static_s if of_parent is None else max(static_s, of_parent.lower_bound_s), floor_s)
            continue
        try:
            found = solve(piece, effort if best is None else replace(effort, incumbent_rows=best.rows))
        except (InfeasibleError, SolverFailure) as error:
            reasons.append(error)
            continue
        num_solved += 1
        best = found if best is None or found.value_s < best.value_s else best
        if found.bounds is None:
            known.add(None)
            return _improved(part, solve, effort, found, best)
        middle, bound_s = level_of_plan(part, found.rows), found.bounds.schedule_lower_bound_s
        goal_s = best.value_s * (1 - same)
        is_wide = not is_static and (1 + high) / (1 + low) > _FINE and bound_s < goal_s
        if low < middle < high and (found.bounds.lower_bound_s < goal_s or is_wide):
            heapq.heappush(pieces, (bound_s, next(order), low, middle, found.bounds))
            heapq.heappush(pieces, (bound_s, next(order), middle, high, found.bounds))
        else:
            known.add(found.bounds)
    return best


def _first_pieces(part: PlanningProblem, widest: float) -> list[_Piece]:
    """Cut the levels of a depth into pieces, each with a floor that a short search gives."""
    low, high = levels_of(part)
    number = max(1, math.ceil(math.log((1 + high) / (1 + low)) / math.log(widest))) if np.isfinite(widest) else 1
    ends = np.geomspace(1 + low, 1 + high, number + 1) - 1
    ends[0], ends[-1] = low, high
    found: list[_Piece] = []
    for place, (start, end) in enumerate(itertools.pairwise(ends.tolist())):
        piece = between(part, start, end) if number > 1 else None
        floor_s = 0.0 if piece is None else group_alike(piece).trivial_bound_s
        found.append((floor_s, place, start, end, None))
    return found


def _improved(part: PlanningProblem, solve: Solve, effort: Effort, found: _Found, best: _Found) -> _Found:
    """Solve for the tangent at what was found, while that finds better: each step is at least as good as the last."""
    for _ in range(_STEPS):
        piece = at_plan(part, found.rows)
        if piece is None or piece.level[0] == 0.0:
            break
        try:
            following = solve(piece, effort)
        except (InfeasibleError, SolverFailure):
            break
        if not following.value_s < found.value_s * (1 - _SAME):
            break
        found = following
        best = found if found.value_s < best.value_s else best
    return best


def _exact_at(problem: PlanningProblem, rows: IntArray) -> PlanningProblem | None:
    """Return the problem at the depth and on the tangent of a plan, where its gain is exact; None if there is none."""
    own = at_depth(problem, depth_of_plan(problem, rows))
    return None if own is None else at_plan(own, rows)


class _Bounds:
    """The least of the bounds of all depths; none as long as a depth has none."""

    def __init__(self) -> None:
        self._static_s, self._any_s, self._complete, self._stopped = np.inf, np.inf, True, False

    def add_floor(self, static_s: float, any_s: float) -> None:
        self._static_s, self._any_s = min(self._static_s, static_s), min(self._any_s, any_s)

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


def _least_s(part: PlanningProblem, known_s: float, rule: AnySchedule | StaticShares) -> float:
    """Objective that no plan at a depth is below; a short search, which only tells depths that cannot be the best."""
    if not np.isfinite(known_s):
        return 0.0
    kinds = group_alike(part).relative_to(known_s)
    if kinds.largest_gain <= 0:
        return known_s
    if kinds.trivial_bound_s >= known_s:
        return kinds.trivial_bound_s
    return best_ratio(kinds, rule, known_s, stop=_SHORT).lower_s


def _within(part: PlanningProblem, effort: Effort) -> Effort:
    """Start from the given plan only where it is one at this depth, and between these levels gains something."""
    rows = effort.incumbent_rows
    is_one = rows is None or (part.keeps_limits(rows) and part.total_gain(rows) > 0)
    return effort if is_one else replace(effort, incumbent_rows=None)


def _never(name: str) -> InfeasibleError:
    return InfeasibleError(
        f"{name}: by the constants of the pilot runs (objective.pilot) none of its plans ever reaches the target: "
        "noise, drift and untrained blocks outweigh what a round gains; lower the target, allow exact modes or larger "
        "batches, or plan with the strategy 'optimal'"
    )
