"""The search for a plan as small work units that any machine can do, stop and take up again.

A unit fixes options for some clients (its prefix), restricts the next one to a part of its options, and carries the
best objective known. Doing a unit either prunes it (its bound is no better than the incumbent), solves it, or splits
it in units for the next client; so what is open is always a list of units, written as JSON. The idea is distributed
solving by model splitting (Kotthoff and Moore, arXiv 1008.4328); bounds take the place of its nogoods. No unit needs
another one, and :func:`covered_fraction` checks that together they still are the whole space.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hybridsplit.scenarios.errors import ContractError, InfeasibleError, SolverFailure, UsageError
from hybridsplit.solver.bound.deadline import StopRule, best_ratio, shortest_deadline
from hybridsplit.solver.problem.arrays import BoolArray, IntArray
from hybridsplit.solver.problem.costs import StaticShares
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.limiting import with_limits
from hybridsplit.solver.problem.planning_problem import ENERGY, TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.search.joint import search
from hybridsplit.solver.search.search_state import UNIT_TOLERANCE, SearchState, WorkUnit, digest_of

SOLVE_CLIENTS = 6
"""A unit with at most so many undecided clients is solved instead of split."""


@dataclass(frozen=True)
class UnitResult:
    """What doing a unit gave: units that replace it, and a plan where one was found.

    Parameters
    ----------
    children
        Open units that together are the unit; empty when it is done.
    rows
        [N] rows of the best plan met, or None.
    objective_s
        Its objective.
    """

    children: tuple[WorkUnit, ...]
    rows: tuple[int, ...] | None
    objective_s: float


def start(problem: PlanningProblem) -> SearchState:
    """Open the search with one unit: everything.

    Raises
    ------
    UsageError
        For the objectives ``energy`` and ``time-to-target``, and where steps may overlap: those have searches of their
        own.
    """
    if problem.objective in (ENERGY, TIME_TO_TARGET):
        raise UsageError(
            f"a search in parts: the objective is {problem.objective}, whose search takes moments or has one for every "
            "depth; needs round-latency or time-to-progress: plan without --workers"
        )
    if problem.overlaps.any():
        raise UsageError(
            "a search in parts: found steps that overlap (training.overlap), which have a search of their own: plan "
            "without --workers"
        )
    return SearchState(problem_hash=digest_of(problem), open=(WorkUnit(),))


def do_unit(problem: PlanningProblem, unit: WorkUnit, incumbent_s: float, num_parts: int = 2) -> UnitResult:
    """Prune, solve or split one unit. It needs nothing but the problem and the unit.

    Parameters
    ----------
    problem
        The whole problem.
    unit
        The part to do.
    incumbent_s
        Objective of the best plan known anywhere; infinite for none.
    num_parts
        Parts that a domain is split into.
    """
    try:
        rows, part = _restricted(problem, unit)
    except (InfeasibleError, ValueError):
        return UnitResult((), None, math.inf)
    if problem.num_clients - len(unit.prefix) <= SOLVE_CLIENTS:
        return _solve(rows, part, incumbent_s)
    lower_s = max(unit.lower_s, _bound(part, incumbent_s))
    if lower_s >= incumbent_s * (1 - UNIT_TOLERANCE):
        return UnitResult((), None, math.inf)
    domain = unit.domain if unit.domain is not None else tuple(range(_size(problem, len(unit.prefix))))
    if len(domain) == 1:
        following = tuple(range(_size(problem, len(unit.prefix) + 1)))
        child = WorkUnit(prefix=(*unit.prefix, domain[0]), domain=following, lower_s=lower_s)
        return UnitResult((child,), None, math.inf)
    pieces = np.array_split(np.array(domain), min(num_parts, len(domain)))
    children = tuple(
        WorkUnit(prefix=unit.prefix, domain=tuple(int(option) for option in piece), lower_s=lower_s) for piece in pieces
    )
    return UnitResult(children, None, math.inf)


def _solve(rows: IntArray, part: PlanningProblem, incumbent_s: float) -> UnitResult:
    try:
        found = search(part)
    except InfeasibleError:
        return UnitResult((), None, math.inf)
    if found.lower_bound_s < min(found.objective_s, incumbent_s) * (1 - UNIT_TOLERANCE):
        raise SolverFailure(
            f"a work unit of {SOLVE_CLIENTS} clients kept a gap of {found.objective_s / found.lower_bound_s - 1:.1e}; "
            "this is a defect of the exact search"
        )
    return UnitResult((), tuple(int(row) for row in rows[found.rows]), found.objective_s)


def _bound(part: PlanningProblem, incumbent_s: float) -> float:
    kinds = group_alike(part)
    if not math.isfinite(incumbent_s):
        return 0.0
    kinds = kinds.relative_to(incumbent_s)
    if not kinds.is_ratio:
        return shortest_deadline(kinds, StaticShares(), incumbent_s, 1e-6, 1e-6).lower_s
    return best_ratio(kinds, StaticShares(), incumbent_s, stop=StopRule(max_intervals=60)).lower_s


def step(state: SearchState, done: Iterable[tuple[WorkUnit, UnitResult]]) -> SearchState:
    """Replace units by what doing them gave."""
    results = dict(done)
    best_s = math.inf if state.best_s is None else state.best_s
    best_rows = state.best_rows
    open_ = [unit for unit in state.open if unit not in results]
    closed = list(state.closed)
    for unit, result in results.items():
        if result.rows is not None and result.objective_s < best_s:
            best_s, best_rows = result.objective_s, result.rows
        open_ += result.children
        if not result.children:
            closed.append(unit)
    return state.model_copy(
        update={
            "open": tuple(open_),
            "closed": tuple(closed),
            "best_rows": best_rows,
            "best_s": best_s if math.isfinite(best_s) else None,
        }
    )


def run(
    problem: PlanningProblem,
    state: SearchState,
    *,
    max_units: int | None = None,
    is_over: Callable[[], bool] | None = None,
) -> SearchState:
    """Do units in this process, the one with the least bound and the longest prefix first, until none is open.

    Parameters
    ----------
    problem, state
        The problem, and where its search stands.
    max_units
        Stop after so many units; the state returned goes on from there.
    is_over
        Stops when it returns True.

    Raises
    ------
    ContractError
        If the state belongs to another problem.
    """
    check_state(problem, state)
    ticket = itertools.count()
    heap = [(-len(unit.prefix), unit.lower_s, next(ticket), unit) for unit in state.open]
    heapq.heapify(heap)
    number = 0
    while heap and (max_units is None or number < max_units) and not (is_over is not None and is_over()):
        unit = heapq.heappop(heap)[-1]
        result = do_unit(problem, unit, math.inf if state.best_s is None else state.best_s)
        state = step(state, [(unit, result)])
        for child in result.children:
            heapq.heappush(heap, (-len(child.prefix), child.lower_s, next(ticket), child))
        number += 1
    return state


def check_state(problem: PlanningProblem, state: SearchState) -> None:
    """Raise unless a state belongs to a problem and covers its whole space.

    Raises
    ------
    ContractError
        Saying which does not hold.
    """
    if state.problem_hash != digest_of(problem):
        raise ContractError(
            "the search state belongs to another scenario, or to other costs of its options; start the search again"
        )
    covered = covered_fraction(problem, (*state.open, *state.closed))
    if covered != 1:
        raise ContractError(
            f"the work units cover {float(covered):.9g} of the search space instead of all of it once: some were "
            "lost or occur twice; start the search again"
        )


def covered_fraction(problem: PlanningProblem, units: Sequence[WorkUnit]) -> Fraction:
    """Part of the search space that units cover, exactly; more than 1 if they overlap.

    Also 0 for units that are not disjoint where the sum happens to be 1.
    """
    total = Fraction(0)
    seen: set[tuple[int, ...]] = set()
    for unit in units:
        share = Fraction(1)
        for client in range(len(unit.prefix)):
            share /= _size(problem, client)
        client = len(unit.prefix)
        domain = unit.domain if unit.domain is not None else tuple(range(_size(problem, client)))
        total += share * Fraction(len(set(domain)), _size(problem, client))
        for option in domain:
            if (*unit.prefix, option) in seen:
                return Fraction(0)
            seen.add((*unit.prefix, option))
    overlapping = any(key[:depth] in seen for key in seen for depth in range(1, len(key)))
    return Fraction(0) if overlapping else total


def _size(problem: PlanningProblem, client: int) -> int:
    ends = np.append(problem.starts[1:], problem.num_rows)
    return int(ends[client] - problem.starts[client])


def _restricted(problem: PlanningProblem, unit: WorkUnit) -> tuple[IntArray, PlanningProblem]:
    keep: BoolArray = np.ones(problem.num_rows, dtype=bool)
    starts = problem.starts
    choices: list[tuple[int, ...]] = [(option,) for option in unit.prefix]
    if unit.domain is not None:
        choices.append(unit.domain)
    for client, allowed in enumerate(choices):
        own = problem.client_index == client
        keep[own] = False
        keep[[int(starts[client]) + option for option in allowed]] = True
    return np.flatnonzero(keep).astype(np.int64), with_limits(problem.restricted(keep))
