"""From the dual to plans: round fractional plans, price them exactly, improve them by exchanging options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.solver.bound.dual import DualSolution, option_values
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import StaticShares
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.knapsack import best_within_limits
from hybridsplit.solver.shares.waterfill import fill

_BATCH_ELEMENTS = 40_000
"""Rows times candidate plans that are priced at once: larger batches leave the processor's cache."""
_REPAIR_NODES = 6
"""Effort of repairing a rounded plan: what is lost here, the exchanges find again."""
_PAIR_POOL = 80
_PAIR_MAX_CLIENTS = 150
_TINY = 1e-300


@dataclass(frozen=True)
class Incumbent:
    """A plan with its exact round latency.

    Parameters
    ----------
    counts
        [R] how many clients take each option.
    latency_s
        Round latency at the best shares.
    prices
        [3] prices on the simplex at those shares.
    objective_s
        Objective; infinite for "no plan yet".
    """

    counts: IntArray
    latency_s: float
    prices: FloatArray
    objective_s: float


def round_fractions(kinds: ClientKinds, fractions: FloatArray) -> IntArray:
    """[R] whole clients per option by largest remainder, kind by kind."""
    target = fractions * kinds.count[kinds.row_kind]
    counts = np.floor(target + 1e-9).astype(np.int64)
    left = kinds.count - np.add.reduceat(counts, kinds.starts)
    order = np.lexsort((counts - target, kinds.row_kind))
    rank = np.empty(len(target), dtype=np.int64)
    rank[order] = np.arange(len(target)) - kinds.starts[kinds.row_kind[order]]
    return np.asarray(counts + (rank < left[kinds.row_kind]), dtype=np.int64)


def objectives_s(
    problem: PlanningProblem, latency_s: FloatArray, progress: FloatArray, penalty_s: FloatArray
) -> FloatArray:
    """[M] objectives of several plans, seconds; infinite where one makes no progress and the objective divides by it.

    Parameters
    ----------
    problem
        Says what is minimised.
    latency_s, progress, penalty_s
        [M] round latency (seconds), progress and price of dropped clients (seconds) of each plan.
    """
    total_s = latency_s + penalty_s
    if not problem.divides_by_progress:
        return np.asarray(total_s)
    return np.where(progress > 0, total_s / np.maximum(progress, _TINY), np.inf)


def latency_cutoff_s(
    problem: PlanningProblem, objective_s: float, progress: FloatArray, penalty_s: FloatArray
) -> FloatArray:
    """[M] round latencies from which on plans are no better than a known objective, seconds.

    Parameters
    ----------
    problem
        Says what is minimised.
    objective_s
        The known objective.
    progress, penalty_s
        [M] progress and price of dropped clients (seconds) of each plan.
    """
    if not np.isfinite(objective_s):
        return np.full(np.shape(progress), np.inf)
    worth = objective_s * progress if problem.divides_by_progress else np.full(np.shape(progress), objective_s)
    return np.asarray(worth - penalty_s)


class Recovery:
    """Collects the best plan found so far."""

    def __init__(self, kinds: ClientKinds) -> None:
        self.kinds = kinds
        self.best = Incumbent(np.zeros(len(kinds.rows), dtype=np.int64), np.inf, np.full(3, 1 / 3), np.inf)
        self._seen: set[bytes] = set()

    def offer(self, deadline_s: float, solution: DualSolution) -> float:
        """Round a fractional plan, repair it if it breaks a limit, and return the best objective so far."""
        counts: IntArray | None = round_fractions(self.kinds, solution.fractions)
        if counts is not None and not self.kinds.keeps(counts):
            point = replace(solution.point, limit_prices=np.zeros(len(self.kinds.limits)))
            values, _ = option_values(self.kinds, StaticShares(), point, deadline_s)
            counts = best_within_limits(self.kinds, values, np.isfinite(values), max_nodes=_REPAIR_NODES)
        if counts is not None and self.kinds.keeps(counts):
            self.consider(counts[None, :])
        return self.best.objective_s

    def consider(self, plans: IntArray, start: FloatArray | None = None) -> bool:
        """Price plans ([M, R]) exactly, keep the best, and say whether it is a new one."""
        fresh = [i for i, plan in enumerate(plans) if plan.tobytes() not in self._seen]
        if not fresh:
            return False
        plans = plans[fresh]
        self._seen.update(plan.tobytes() for plan in plans)
        used = np.flatnonzero(plans.any(axis=0))
        progress, penalty_s = plans @ self.kinds.progress, plans @ self.kinds.penalty_s
        problem = self.kinds.problem
        cutoff = latency_cutoff_s(problem, self.best.objective_s, progress, penalty_s)
        index = np.broadcast_to(used, (len(plans), len(used)))
        filled = fill(self.kinds.work.take(index), plans[:, used].astype(float), start=start, cutoff_s=cutoff)
        objectives = objectives_s(problem, filled.latency_s, progress, penalty_s)
        winner = int(np.argmin(objectives))
        if not objectives[winner] < self.best.objective_s:
            return False
        self.best = Incumbent(
            plans[winner], float(filled.latency_s[winner]), filled.prices[winner], float(objectives[winner])
        )
        return True

    def improve(self, max_rounds: int = 200, is_over: Callable[[], bool] = lambda: False) -> None:
        """Exchange options of one client, or of two where clients are few, as long as the best plan improves.

        At the incumbent's prices a linear estimate bounds each exchange's objective from below (the priced cost is
        convex in the deadline), so only exchanges that may help are priced exactly.
        """
        for _ in range(max_rounds):
            if not np.isfinite(self.best.objective_s) or is_over():
                return
            moves = _Moves(self.kinds, self.best)
            plans = moves.single(self._batch_size())
            if len(plans) and self.consider(plans, self.best.prices):
                continue
            if self.kinds.num_clients > _PAIR_MAX_CLIENTS:
                return
            plans = moves.pairs(self._batch_size())
            if not (len(plans) and self.consider(plans, self.best.prices)):
                return

    def _batch_size(self) -> int:
        used = int(np.count_nonzero(self.best.counts))
        return int(np.clip(_BATCH_ELEMENTS // (used + 1), 8, 256))


class _Moves:
    """Exchanges of one client's option, with first-order estimates of what they bring."""

    def __init__(self, kinds: ClientKinds, plan: Incumbent) -> None:
        self._kinds, self._plan = kinds, plan
        timely = kinds.full_share_s <= plan.latency_s * (1 + 1e-9)
        priced = StaticShares().price(kinds.work.take(timely), plan.prices, plan.latency_s)
        self._cost, self._slope = np.full(len(timely), np.inf), np.zeros(len(timely))
        self._cost[timely], self._slope[timely] = priced.value, priced.slope
        used = np.flatnonzero(plan.counts)
        size = kinds.options_per_kind[kinds.row_kind[used]]
        self.old = np.repeat(used, size)
        first = np.repeat(kinds.starts[kinds.row_kind[used]], size)
        self.new = first + np.arange(len(first)) - np.repeat(np.cumsum(size) - size, size)
        keep = (self.new != self.old) & np.isfinite(self._cost[self.new])
        self.old, self.new = self.old[keep], self.new[keep]
        self._progress, self._penalty_s = float(plan.counts @ kinds.progress), float(plan.counts @ kinds.penalty_s)
        self._total = float(self._sum(plan.counts, self._cost))
        self._total_slope = float(self._sum(plan.counts, self._slope))
        self._limit_loads = [limit.loads[kinds.rows] for limit in kinds.problem.limits]
        self._used = [plan.counts @ loads for loads in self._limit_loads]

    @staticmethod
    def _sum(counts: IntArray, values: FloatArray) -> float:
        return float(np.sum(np.where(counts > 0, counts * np.where(counts > 0, values, 0.0), 0.0)))

    def _estimate(self, *moves: IntArray) -> FloatArray:
        """Lower bounds on the objective after the exchanges at the given positions, one or several at once."""
        cost, slope, progress, penalty_s = (
            np.sum([change[move] for move in moves], axis=0) for change in self._changes()
        )
        steep = np.minimum(self._total_slope + slope, -np.finfo(float).tiny)
        latency = np.maximum(self._plan.latency_s + (self._total + cost - 1.0) / -steep, self._kinds.least_deadline_s)
        objective = objectives_s(self._kinds.problem, latency, self._progress + progress, self._penalty_s + penalty_s)
        broken = np.zeros(len(objective), dtype=bool)
        for limit, loads, used in zip(self._kinds.problem.limits, self._limit_loads, self._used, strict=True):
            after = used + sum(loads[self.new[move]] - loads[self.old[move]] for move in moves)
            broken |= after > limit.capacity + limit.slack
        return np.where(broken, np.inf, objective)

    def _changes(self) -> tuple[FloatArray, ...]:
        columns = (self._cost, self._slope, self._kinds.progress, self._kinds.penalty_s)
        return tuple(column[self.new] - column[self.old] for column in columns)

    def single(self, limit: int) -> IntArray:
        """[M, R] plans after one exchange that may improve, most promising first."""
        estimate = self._estimate(np.arange(len(self.old)))
        order = np.argsort(estimate, kind="stable")[:limit]
        order = order[estimate[order] < self._plan.objective_s * (1 - 1e-10)]
        plans = np.repeat(self._plan.counts[None, :], len(order), axis=0)
        rows = np.arange(len(order))
        plans[rows, self.old[order]] -= 1
        plans[rows, self.new[order]] += 1
        return plans

    def pairs(self, limit: int) -> IntArray:
        """[M, R] plans after two exchanges that together may improve."""
        cost, slope, progress, _ = self._changes()
        # Rank by the estimate without the limits: one exchange may pay for what the other breaks.
        steep = np.minimum(self._total_slope + slope, -np.finfo(float).tiny)
        rank = cost / -steep / self._plan.latency_s
        if self._kinds.problem.divides_by_progress:
            rank = rank - progress / max(self._progress, 1e-300)
        pool = np.argsort(np.abs(rank), kind="stable")[:_PAIR_POOL]
        first, second = np.triu_indices(len(pool), k=1)
        i, j = pool[first], pool[second]
        estimate = self._estimate(i, j)
        order = np.argsort(estimate, kind="stable")[:limit]
        order = order[estimate[order] < self._plan.objective_s * (1 - 1e-10)]
        plans = np.repeat(self._plan.counts[None, :], len(order), axis=0)
        rows = np.arange(len(order))
        for moves in (i[order], j[order]):
            np.subtract.at(plans, (rows, self.old[moves]), 1)
            np.add.at(plans, (rows, self.new[moves]), 1)
        return plans[(plans >= 0).all(axis=1)]
