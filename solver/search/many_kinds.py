"""The search for many different clients: one dual near the best deadline, a proof for the others, rounding, exchanges.

With many clients the dual loses little: at most as many of them as there are prices are fractional. So the effort goes
into evaluating it fast (``hybridsplit.solver.bound.few_rows``, ``hybridsplit.solver.bound.certify``) instead of
branching, and into exchanging the options of single clients until the plan is as close to the bound as asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.solver.bound.all_rows import Scanner, sample, subset
from hybridsplit.solver.bound.certify import Certificate, certify, least_ratio, shared_prices
from hybridsplit.solver.bound.few_rows import DualAtDeadline
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.search.first_plans import first_plans
from hybridsplit.solver.search.knapsack import best_within_limits
from hybridsplit.solver.search.rounding import objectives_s, round_fractions
from hybridsplit.solver.shares.waterfill import Filled, fill

MANY_KINDS = 40
"""Kinds of clients from which on this search is used: below, branching on the deadline closes the gap itself."""
_SAMPLE = 300
_SMOOTHING = 3e-5
_LEAST_LOSS = 2e-5
_TOLERANCE, _SCHEDULE_TOLERANCE = 2e-4, 5e-3
_SCHEDULE_SMOOTHING = 1e-3
_SCHEDULE_LOSS = 2e-3
_INFLATIONS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Relative increases of the prices of limits at which rounded plans are tried where the rounding breaks one."""
_EXCHANGE_BATCH = 6
_MAX_EXCHANGES = 60


@dataclass(frozen=True)
class SparsePlan:
    """A plan as the options that are taken.

    Parameters
    ----------
    rows, number
        [U] rows of the kinds and how many clients take each.
    latency_s
        Round latency at the best shares.
    prices
        [3] prices on the simplex at those shares.
    objective_s
        Objective.
    """

    rows: IntArray
    number: IntArray
    latency_s: float
    prices: FloatArray
    objective_s: float

    def counts(self, kinds: ClientKinds) -> IntArray:
        """[R] how many clients take each option."""
        counts = np.zeros(len(kinds.rows), dtype=np.int64)
        counts[self.rows] = self.number
        return counts


@dataclass(frozen=True)
class ManyResult:
    """Outcome of the search: the plan, the bounds on the ratio, and whether the proof was complete."""

    plan: SparsePlan
    lower_s: float
    schedule_lower_s: float
    complete: bool


def priced_start(kinds: ClientKinds, incumbent: IntArray | None) -> SparsePlan:
    """Price a plan given as counts [R], or a simple one within the limits.

    Raises
    ------
    InfeasibleError
        If the limits leave no plan.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    return _simple_plan(kinds) if incumbent is None else _priced_counts(kinds, incumbent)


def gap_goal(num_clients: int) -> float:
    """Relative gap at which exchanging options stops: one client in ``N`` changes the objective by about ``1/N``."""
    return float(np.clip(0.02 / num_clients, 2e-4, 3e-4))


def search_many(kinds: ClientKinds, incumbent: IntArray | None, is_over: Callable[[], bool]) -> ManyResult:
    """Find a plan and bounds for objectives that are a ratio of latency to gain.

    Parameters
    ----------
    kinds
        The problem; ``kinds.is_ratio`` holds.
    incumbent
        [R] counts of a plan to start from.
    is_over
        True once the time is up.

    Raises
    ------
    InfeasibleError
        If the limits leave no plan.
    SolverFailure
        If none was found although none of the proofs of infeasibility holds.
    """
    scanner = Scanner(kinds, StaticShares())
    best = priced_start(kinds, incumbent)
    duals = _duals_near(scanner, best.latency_s, _SMOOTHING, _TOLERANCE, is_over)
    if not duals:
        return ManyResult(best, 0.0, 0.0, False)
    goal = gap_goal(kinds.num_clients)
    # What is carried over from a sample of the clients has multipliers for all, but a plan for few.
    whole = [dual for dual in duals if len(dual.kinds.count) == len(kinds.count)]
    for dual in whole[:3]:
        rounded = _rounded(kinds, dual, best.prices)
        if rounded is not None and rounded.objective_s < best.objective_s:
            best = rounded
    certificate = certify(scanner, duals, best.objective_s, max(0.5 * goal, _LEAST_LOSS), _SMOOTHING, is_over)
    lower_s = min(certificate.lower_s, best.objective_s)
    best = _exchange(kinds, whole[0], best, lower_s * (1 + goal), is_over)
    schedule = _schedule_bound(kinds, best.objective_s, is_over)
    return ManyResult(best, lower_s, min(lower_s, schedule.lower_s), certificate.complete and schedule.complete)


def _duals_near(
    scanner: Scanner, latency_s: float, smoothing: float, tolerance: float, is_over: Callable[[], bool]
) -> list[DualAtDeadline]:
    """The dual at deadlines around the best one; where clients are many, found on a sample and polished on all."""
    kinds = scanner.kinds
    if len(kinds.count) <= 1.5 * _SAMPLE:
        return least_ratio(scanner, latency_s, smoothing, tolerance)
    small = least_ratio(Scanner(sample(kinds, _SAMPLE), scanner.rule), latency_s, smoothing, tolerance)
    if not small or is_over():
        return []
    duals = least_ratio(scanner, small[0].deadline_s, smoothing, tolerance, small[0].point)
    return shared_prices(duals, small, scanner.rule) if duals else []


def _schedule_bound(kinds: ClientKinds, objective_s: float, is_over: Callable[[], bool]) -> Certificate:
    scanner = Scanner(kinds, AnySchedule())
    if is_over():
        return Certificate(0.0, False)
    duals = _duals_near(
        scanner, 0.7 * objective_s * kinds.largest_gain, _SCHEDULE_SMOOTHING, _SCHEDULE_TOLERANCE, is_over
    )
    if not duals:
        return Certificate(0.0, False)
    return certify(scanner, duals, objective_s, _SCHEDULE_LOSS, _SCHEDULE_SMOOTHING, is_over, refinements=2)


def _price(kinds: ClientKinds, rows: IntArray, numbers: IntArray, start: FloatArray | None, tolerance: float) -> Filled:
    """Best shares of several plans: numbers ([M, U]) of clients on shared rows ([U])."""
    index = np.broadcast_to(rows, numbers.shape)
    return fill(kinds.work.take(index), numbers.astype(float), start=start, tolerance=tolerance)


def _priced_plan(kinds: ClientKinds, rows: IntArray, number: IntArray, start: FloatArray | None) -> SparsePlan:
    filled = _price(kinds, rows, number[None, :], start, 1e-7)
    objective_s = kinds.problem.objective_s(
        float(filled.latency_s[0]), float(number @ kinds.progress[rows]), float(number @ kinds.penalty_s[rows])
    )
    return SparsePlan(rows, number, float(filled.latency_s[0]), filled.prices[0], objective_s)


def _priced_counts(kinds: ClientKinds, counts: IntArray) -> SparsePlan:
    rows = np.flatnonzero(counts)
    return _priced_plan(kinds, rows, counts[rows], None)


def _simple_plan(kinds: ClientKinds) -> SparsePlan:
    """Price the best option of every client at equal shares, else what keeps the limits."""
    latency_s = kinds.work.latency_s(1.0 / kinds.num_clients)
    values = kinds.gain * float(np.median(latency_s)) / max(float(kinds.gain.max()), 1e-300) - latency_s
    top = np.maximum.reduceat(values, kinds.starts)
    hits = np.flatnonzero(values == top[kinds.row_kind])
    rows = hits[np.unique(kinds.row_kind[hits], return_index=True)[1]]
    if _keeps(kinds, rows, kinds.count):
        return _priced_plan(kinds, rows, kinds.count, None)
    return _priced_counts(kinds, first_plans(kinds, required=True)[0])


def _keeps(kinds: ClientKinds, rows: IntArray, number: IntArray) -> bool:
    limits = kinds.problem.limits
    return all(limit.keeps((number @ limit.loads[kinds.rows[rows]]).item()) for limit in limits)


def _rounded(kinds: ClientKinds, dual: DualAtDeadline, start: FloatArray) -> SparsePlan | None:
    """Round the fractional plan at a deadline; where that breaks a limit, choose at higher prices of the limits."""
    counts: IntArray | None = round_fractions(dual.kinds, dual.fractions)
    if counts is not None and not dual.kinds.keeps(counts):
        counts = _within_limits(dual)
    if counts is None:
        return None
    rows = np.flatnonzero(counts)
    return _priced_plan(kinds, np.searchsorted(kinds.rows, dual.kinds.rows[rows]), counts[rows], start)


def _within_limits(dual: DualAtDeadline) -> IntArray | None:
    """[R'] counts of a plan within the limits, near the fractional one."""
    kinds, point = dual.kinds, dual.point
    priced = StaticShares().price(kinds.work, point.prices, dual.deadline_s)
    value = np.where(kinds.full_share_s <= dual.deadline_s, kinds.gain - priced.value, -np.inf)
    for inflation in _INFLATIONS:
        scored = value - (point.limit_prices * (1 + inflation)) @ kinds.loads
        hits = np.flatnonzero(scored == np.maximum.reduceat(scored, kinds.starts)[kinds.row_kind])
        rows = hits[np.unique(kinds.row_kind[hits], return_index=True)[1]]
        counts = np.zeros(len(kinds.rows), dtype=np.int64)
        counts[rows] = kinds.count
        if kinds.keeps(counts):
            return counts
    return best_within_limits(kinds, value, np.isfinite(value), max_nodes=6)


def _exchange(
    kinds: ClientKinds, dual: DualAtDeadline, best: SparsePlan, good_enough_s: float, is_over: Callable[[], bool]
) -> SparsePlan:
    """Exchange the option of one client at a time, by first-order estimates at the plan's own prices."""
    keep = np.zeros(len(kinds.rows), dtype=bool)
    keep[np.searchsorted(kinds.rows, dual.kinds.rows)] = True
    keep[best.rows] = True
    space = subset(kinds, keep)
    inside = replace(best, rows=np.cumsum(keep)[best.rows] - 1)
    found = _Exchanges(space, inside, good_enough_s, is_over).run()
    return replace(found, rows=np.flatnonzero(keep)[found.rows])


class _Exchanges:
    """Single exchanges among the rows that can win."""

    def __init__(self, space: ClientKinds, best: SparsePlan, good_enough_s: float, is_over: Callable[[], bool]) -> None:
        self._space, self._best, self._good_enough_s, self._is_over = space, best, good_enough_s, is_over
        self._tried: set[tuple[int, int]] = set()

    def run(self) -> SparsePlan:
        """Exchange until good enough, or until no estimate promises anything."""
        for _ in range(_MAX_EXCHANGES):
            if self._best.objective_s <= self._good_enough_s or self._is_over() or not self._step():
                break
        return self._best

    def _step(self) -> bool:
        space, best = self._space, self._best
        number = np.zeros(len(space.rows), dtype=np.int64)
        number[best.rows] = best.number
        priced = StaticShares().price(space.work, best.prices, best.latency_s)
        timely = space.full_share_s <= best.latency_s
        old = best.rows[np.unique(space.row_kind[best.rows], return_index=True)[1]]
        old_of = old[space.row_kind]
        slope = float(number @ np.where(number > 0, priced.slope, 0.0))
        spent = float(number @ np.where(number > 0, priced.value, 0.0))
        latency_s = best.latency_s + (spent + priced.value - priced.value[old_of] - 1.0) / max(
            -(slope), np.finfo(float).tiny
        )
        problem = space.problem
        objective = objectives_s(
            problem,
            latency_s,
            float(number @ space.progress) + space.progress - space.progress[old_of],
            float(number @ space.penalty_s) + space.penalty_s - space.penalty_s[old_of],
        )
        allowed = timely & (np.arange(len(old_of)) != old_of) & self._allowed(number, old_of)
        objective = np.where(allowed, objective, np.inf)
        order = np.argpartition(objective, min(4 * _EXCHANGE_BATCH, len(objective) - 1))[: 4 * _EXCHANGE_BATCH]
        order = order[np.argsort(objective[order], kind="stable")]
        moves = [
            (int(old_of[row]), int(row))
            for row in order
            if objective[row] < best.objective_s and (int(old_of[row]), int(row)) not in self._tried
        ][:_EXCHANGE_BATCH]
        return bool(moves) and self._take_best(number, moves)

    def _allowed(self, number: IntArray, old_of: IntArray) -> BoolArray:
        space = self._space
        allowed = np.ones(len(space.rows), dtype=bool)
        for limit in space.problem.limits:
            loads = limit.loads[space.rows]
            used = (number @ loads).item()
            allowed &= used + loads - loads[old_of] <= limit.capacity + limit.slack
        return allowed

    def _take_best(self, number: IntArray, moves: list[tuple[int, int]]) -> bool:
        space, best = self._space, self._best
        self._tried.update(moves)
        rows = np.unique(np.concatenate([best.rows, [new for _, new in moves]]))
        numbers = np.repeat(number[rows][None, :], len(moves), axis=0)
        for m, (old, new) in enumerate(moves):
            numbers[m, np.searchsorted(rows, old)] -= 1
            numbers[m, np.searchsorted(rows, new)] += 1
        filled = _price(space, rows, numbers, best.prices, 1e-7)
        objective = objectives_s(
            space.problem, filled.latency_s, numbers @ space.progress[rows], numbers @ space.penalty_s[rows]
        )
        winner = int(np.argmin(objective))
        if not objective[winner] < best.objective_s:
            return True
        used = numbers[winner] > 0
        self._best = SparsePlan(
            rows[used],
            numbers[winner][used],
            float(filled.latency_s[winner]),
            filled.prices[winner],
            float(objective[winner]),
        )
        self._tried.clear()
        return True
