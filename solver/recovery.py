"""From the dual to plans: round fractional plans, price them exactly, improve them by exchanging options."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from solver.arrays import FloatArray, IntArray
from solver.classes import Classes
from solver.costs import StaticShares
from solver.dual import DualSolution, option_values
from solver.knapsack import PROGRESS_SLACK, best_within_limits, keeps_limits
from solver.waterfill import fill

_BATCH_ELEMENTS = 40_000
"""Rows times candidate plans that are priced at once: larger batches leave the processor's cache."""
_REPAIR_NODES = 6
"""Effort of repairing a rounded plan: what is lost here, the exchanges find again."""
_PAIR_POOL = 80
_PAIR_MAX_CLIENTS = 150


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


def round_fractions(classes: Classes, fractions: FloatArray) -> IntArray:
    """[R] whole clients per option by largest remainder, class by class."""
    target = fractions * classes.count[classes.row_class]
    counts = np.floor(target + 1e-9).astype(np.int64)
    left = classes.count - np.add.reduceat(counts, classes.starts)
    order = np.lexsort((counts - target, classes.row_class))
    rank = np.empty(len(target), dtype=np.int64)
    rank[order] = np.arange(len(target)) - classes.starts[classes.row_class[order]]
    return np.asarray(counts + (rank < left[classes.row_class]), dtype=np.int64)


class Recovery:
    """Collects the best plan found so far."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.best = Incumbent(np.zeros(len(classes.rows), dtype=np.int64), np.inf, np.full(3, 1 / 3), np.inf)
        self._seen: set[bytes] = set()

    def offer(self, deadline_s: float, solution: DualSolution) -> float:
        """Round a fractional plan, repair it if it breaks a limit, and return the best objective so far."""
        counts: IntArray | None = round_fractions(self.classes, solution.fractions)
        if counts is not None and not keeps_limits(self.classes, counts):
            point = replace(solution.point, memory_price=0.0)
            values, _ = option_values(self.classes, StaticShares(), point, deadline_s)
            counts = best_within_limits(self.classes, values, np.isfinite(values), max_nodes=_REPAIR_NODES)
        if counts is not None and keeps_limits(self.classes, counts):
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
        progress = plans @ self.classes.gain
        problem = self.classes.problem
        cutoff = self.best.objective_s * (np.maximum(progress, 1e-300) if problem.divides_by_progress else 1.0)
        index = np.broadcast_to(used, (len(plans), len(used)))
        filled = fill(self.classes.work.take(index), plans[:, used].astype(float), start=start, cutoff_s=cutoff)
        objectives = np.array([problem.objective_s(t, g) for t, g in zip(filled.latency_s, progress, strict=True)])
        winner = int(np.argmin(objectives))
        if not objectives[winner] < self.best.objective_s:
            return False
        self.best = Incumbent(
            plans[winner], float(filled.latency_s[winner]), filled.prices[winner], float(objectives[winner])
        )
        return True

    def improve(self, max_rounds: int = 200) -> None:
        """Exchange options of one client, or of two where clients are few, as long as the best plan improves.

        At the incumbent's prices a linear estimate bounds each exchange's objective from below (the priced cost is
        convex in the deadline), so only exchanges that may help are priced exactly.
        """
        for _ in range(max_rounds):
            if not np.isfinite(self.best.objective_s):
                return
            moves = _Moves(self.classes, self.best)
            plans = moves.single(self._batch_size())
            if len(plans) and self.consider(plans, self.best.prices):
                continue
            if self.classes.num_clients > _PAIR_MAX_CLIENTS:
                return
            plans = moves.pairs(self._batch_size())
            if not (len(plans) and self.consider(plans, self.best.prices)):
                return

    def _batch_size(self) -> int:
        used = int(np.count_nonzero(self.best.counts))
        return int(np.clip(_BATCH_ELEMENTS // (used + 1), 8, 256))


class _Moves:
    """Exchanges of one client's option, with first-order estimates of what they bring."""

    def __init__(self, classes: Classes, plan: Incumbent) -> None:
        self._classes, self._plan = classes, plan
        timely = classes.full_share_s <= plan.latency_s * (1 + 1e-9)
        priced = StaticShares().price(classes.work.take(timely), plan.prices, plan.latency_s)
        self._cost, self._slope = np.full(len(timely), np.inf), np.zeros(len(timely))
        self._cost[timely], self._slope[timely] = priced.value, priced.slope
        used = np.flatnonzero(plan.counts)
        size = classes.options_per_class[classes.row_class[used]]
        self.old = np.repeat(used, size)
        first = np.repeat(classes.starts[classes.row_class[used]], size)
        self.new = first + np.arange(len(first)) - np.repeat(np.cumsum(size) - size, size)
        keep = (self.new != self.old) & np.isfinite(self._cost[self.new])
        self.old, self.new = self.old[keep], self.new[keep]
        self._progress = float(plan.counts @ classes.gain)
        self._total = float(self._sum(plan.counts, self._cost))
        self._total_slope = float(self._sum(plan.counts, self._slope))
        state = classes.problem.server_state_bytes[classes.rows]
        self._state, self._used_state = state, int(plan.counts @ state)

    @staticmethod
    def _sum(counts: IntArray, values: FloatArray) -> float:
        return float(np.sum(np.where(counts > 0, counts * np.where(counts > 0, values, 0.0), 0.0)))

    def _estimate(self, cost: FloatArray, slope: FloatArray, gain: FloatArray, state: IntArray) -> FloatArray:
        """Lower bounds on the objective after changes of cost, slope, progress and server memory."""
        problem = self._classes.problem
        steep = np.minimum(self._total_slope + slope, -np.finfo(float).tiny)
        latency = np.maximum(self._plan.latency_s + (self._total + cost - 1.0) / -steep, self._classes.least_deadline_s)
        progress = self._progress + gain
        objective = latency / np.maximum(progress, 1e-300) if problem.divides_by_progress else latency
        broken = progress < problem.minimum_progress * (1 - PROGRESS_SLACK)
        if problem.server_memory_bytes is not None:
            broken |= self._used_state + state > problem.server_memory_bytes
        return np.where(broken, np.inf, objective)

    def _changes(self) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
        old, new, gain = self.old, self.new, self._classes.gain
        return (
            self._cost[new] - self._cost[old],
            self._slope[new] - self._slope[old],
            gain[new] - gain[old],
            self._state[new] - self._state[old],
        )

    def single(self, limit: int) -> IntArray:
        """[M, R] plans after one exchange that may improve, most promising first."""
        estimate = self._estimate(*self._changes())
        order = np.argsort(estimate, kind="stable")[:limit]
        order = order[estimate[order] < self._plan.objective_s * (1 - 1e-10)]
        plans = np.repeat(self._plan.counts[None, :], len(order), axis=0)
        rows = np.arange(len(order))
        plans[rows, self.old[order]] -= 1
        plans[rows, self.new[order]] += 1
        return plans

    def pairs(self, limit: int) -> IntArray:
        """[M, R] plans after two exchanges that together may improve."""
        changes = self._changes()
        cost, slope, gain, _ = changes
        # Rank by the estimate without the limits: one exchange may pay for what the other breaks.
        steep = np.minimum(self._total_slope + slope, -np.finfo(float).tiny)
        rank = cost / -steep / self._plan.latency_s
        if self._classes.problem.divides_by_progress:
            rank = rank - gain / max(self._progress, 1e-300)
        pool = np.argsort(np.abs(rank), kind="stable")[:_PAIR_POOL]
        first, second = np.triu_indices(len(pool), k=1)
        i, j = pool[first], pool[second]
        estimate = self._estimate(*(change[i] + change[j] for change in changes))  # type: ignore[arg-type]
        order = np.argsort(estimate, kind="stable")[:limit]
        order = order[estimate[order] < self._plan.objective_s * (1 - 1e-10)]
        plans = np.repeat(self._plan.counts[None, :], len(order), axis=0)
        rows = np.arange(len(order))
        for moves in (i[order], j[order]):
            np.subtract.at(plans, (rows, self.old[moves]), 1)
            np.add.at(plans, (rows, self.new[moves]), 1)
        return plans[(plans >= 0).all(axis=1)]
