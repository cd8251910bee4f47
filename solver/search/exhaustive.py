"""Exact search for few clients: list every plan that the bound cannot exclude, and price them all.

A plan better than the incumbent must have a dual value above a threshold at one end of an open interval of the deadline
(``hybridsplit.solver.bound.deadline``). Its value is a sum over clients, so plans are listed client by client and a
partial plan is dropped as soon as even the best completion stays below. When the list is complete, the incumbent is
optimal to the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.bound.deadline import Interval, tangent_values
from hybridsplit.solver.bound.dual import DualPoint, capacity_value, latency_certificate, most_gain, option_values
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import SharingRule, StaticShares
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.search.rounding import Incumbent, Recovery, latency_cutoff_s, objectives_s
from hybridsplit.solver.shares.waterfill import fill

EXACT_TOLERANCE = 2e-7
"""Relative distance to the incumbent below which a better plan is not looked for."""
MAX_PARTIAL_PLANS = 300_000
MAX_PLANS = 200_000
MAX_SPLITS = 40
MAX_CLIENTS = 30
"""Beyond so many clients the list is never complete within the limits above, and is not started."""
_CHUNK = 4_000


@dataclass(frozen=True)
class _Tests:
    """Thresholds that a plan better than the incumbent passes at one of two deadlines."""

    values: tuple[FloatArray, FloatArray]
    thresholds: tuple[float, float]


def close_ratio(kinds: ClientKinds, recovery: Recovery, intervals: tuple[Interval, ...]) -> bool:
    """Search the open intervals of time-to-progress exhaustively.

    Parameters
    ----------
    kinds
        The problem.
    recovery
        Holds the incumbent, and takes better plans.
    intervals
        Ranges of the deadline that may hold a better plan.

    Returns
    -------
    bool
        True if the incumbent of ``recovery`` is now optimal within :data:`EXACT_TOLERANCE`.
    """
    if kinds.num_clients > MAX_CLIENTS:
        return False
    rule, pending, splits, plans = StaticShares(), list(intervals), 0, []
    while pending:
        interval = pending.pop()
        target_s = recovery.best.objective_s * (1 - EXACT_TOLERANCE)
        if interval.bound_s >= target_s:
            continue
        point = interval.point
        listed = None if point is None else _list_plans(kinds, _ratio_tests(kinds, rule, interval, point, target_s))
        if listed is not None:
            plans.append(listed)
            if sum(len(part) for part in plans) > MAX_PLANS:
                return False
            continue
        splits += 1
        if splits > MAX_SPLITS or interval.low_s <= 0 or interval.high_s <= interval.low_s * (1 + 1e-7):
            return False
        middle = float(np.sqrt(interval.low_s * interval.high_s))
        for low_s, high_s in ((interval.low_s, middle), (middle, interval.high_s)):
            solution = most_gain(kinds, rule, float(np.sqrt(low_s * high_s)), start=point)
            pending.append(Interval(interval.bound_s, low_s, high_s, solution.point if solution else point))
    _price_all(kinds, recovery, plans)
    return True


def close_latency(kinds: ClientKinds, recovery: Recovery) -> bool:
    """Search exhaustively for plans with a shorter round latency than the incumbent's.

    Returns
    -------
    bool
        True if the incumbent of ``recovery`` is now optimal within :data:`EXACT_TOLERANCE`.
    """
    if kinds.num_clients > MAX_CLIENTS:
        return False
    deadline_s = recovery.best.latency_s * (1 - EXACT_TOLERANCE)
    solution = latency_certificate(kinds, StaticShares(), deadline_s)
    if solution is None or solution.value < 0:
        return True
    point = solution.point
    values, _ = option_values(kinds, StaticShares(), point, deadline_s)
    threshold = -capacity_value(point)
    listed = _list_plans(kinds, _Tests((values, values), (threshold, threshold)))
    if listed is None or len(listed) > MAX_PLANS:
        return False
    _price_all(kinds, recovery, [listed])
    return True


def _ratio_tests(
    kinds: ClientKinds, rule: SharingRule, interval: Interval, point: DualPoint, target_s: float
) -> _Tests:
    values = tangent_values(kinds, rule, point, interval.low_s, interval.high_s)
    worth = capacity_value(point)
    return _Tests(values, (interval.low_s / target_s - worth, interval.high_s / target_s - worth))


def _list_plans(kinds: ClientKinds, tests: _Tests) -> IntArray | None:
    """[M, N] rows of every plan that passes, members of a kind in rising order; None if there are too many."""
    order = np.repeat(_by_regret(kinds, tests), kinds.count[_by_regret(kinds, tests)])
    # Completions: the most that clients still to come can add to each test, and the least they take of each limit.
    most = [np.maximum.reduceat(values, kinds.starts)[order] for values in tests.values]
    ahead = [np.append(np.cumsum(part[::-1])[::-1][1:], 0.0) for part in most]
    limits = [(limit, limit.loads[kinds.rows].astype(float)) for limit in kinds.problem.limits]
    lean = [np.minimum.reduceat(loads, kinds.starts)[order] for _, loads in limits]
    lean_ahead = [np.append(np.cumsum(part[::-1])[::-1][1:], 0.0) for part in lean]
    sums = [np.zeros(1) for _ in range(2 + len(limits))]
    plans = np.zeros((1, 0), dtype=np.int64)
    margin = 1e-12 * (1.0 + max(abs(threshold) for threshold in tests.thresholds))
    columns = [*tests.values, *(loads for _, loads in limits)]
    for depth, c in enumerate(order):
        rows = np.arange(kinds.starts[c], kinds.starts[c] + kinds.options_per_kind[c])
        if len(plans) * len(rows) > 20 * MAX_PARTIAL_PLANS:
            return None
        low, high, *used = (total[:, None] + column[rows][None, :] for total, column in zip(sums, columns, strict=True))
        passes = (low + ahead[0][depth] > tests.thresholds[0] - margin) | (
            high + ahead[1][depth] > tests.thresholds[1] - margin
        )
        for (limit, _), load, rest in zip(limits, used, lean_ahead, strict=True):
            passes &= load + rest[depth] <= limit.capacity + 2 * limit.slack
        if depth and order[depth - 1] == c:
            passes &= rows[None, :] >= plans[:, -1:]
        parent, option = np.nonzero(passes)
        if len(parent) > MAX_PARTIAL_PLANS:
            return None
        sums = [part[parent, option] for part in (low, high, *used)]
        plans = np.concatenate([plans[parent], rows[option][:, None]], axis=1)
    return plans


def _by_regret(kinds: ClientKinds, tests: _Tests) -> IntArray:
    """Kinds in the order that prunes soonest: those whose second-best option costs most come first."""
    values = tests.values[1]
    top = np.maximum.reduceat(values, kinds.starts)
    regret = np.minimum(top[kinds.row_kind] - values, 1e300)
    typical = np.add.reduceat(regret / (1.0 + regret), kinds.starts) / kinds.options_per_kind
    return np.argsort(-typical, kind="stable").astype(np.int64)


def _price_all(kinds: ClientKinds, recovery: Recovery, listed: list[IntArray]) -> None:
    """Price every listed plan that may beat the incumbent, and keep the best."""
    if not listed or not sum(len(part) for part in listed):
        return
    plans = np.unique(np.sort(np.concatenate(listed), axis=1), axis=0)
    problem = kinds.problem
    for first in range(0, len(plans), _CHUNK):
        index = plans[first : first + _CHUNK]
        progress, penalty_s = kinds.progress[index].sum(axis=1), kinds.penalty_s[index].sum(axis=1)
        cutoff = latency_cutoff_s(problem, recovery.best.objective_s, progress, penalty_s)
        filled = fill(kinds.work.take(index), np.ones(index.shape), start=recovery.best.prices, cutoff_s=cutoff)
        objective = objectives_s(problem, filled.latency_s, progress, penalty_s)
        for winner in np.argsort(objective, kind="stable"):
            if objective[winner] >= recovery.best.objective_s:
                break
            counts = np.bincount(index[winner], minlength=len(kinds.rows)).astype(np.int64)
            if kinds.keeps(counts):
                recovery.best = Incumbent(
                    counts, float(filled.latency_s[winner]), filled.prices[winner], float(objective[winner])
                )
                break
