"""Options under the limits that do not depend on shares: a multiple-choice knapsack with several capacities."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.problem.limits import PROGRESS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_NODE_LIMIT = 300
_NODE_ELEMENTS = 200_000
"""Columns times nodes that one search may solve."""
_VALUE_TOLERANCE = 1e-7
_INTEGRAL = 1e-6
_TIGHTENINGS = 6
_LEAST_TIGHTENING = 1e-12


def best_within_limits(
    kinds: ClientKinds, values: FloatArray, allowed: BoolArray, *, max_nodes: int = _NODE_LIMIT
) -> IntArray | None:
    """Find the plan with the largest total value that keeps the limits.

    Parameters
    ----------
    kinds
        The kinds.
    values
        [R] value of an option for one client.
    allowed
        [R] options to choose from.
    max_nodes
        Relaxations that may be solved; few give a good plan, many the best.

    Returns
    -------
    IntArray or None
        [R] counts that keep the limits exactly; None if none was found.

    Notes
    -----
    The linear solver keeps its constraints to a relative 1e-7, which is bytes too many here. A result that breaks a
    limit tightens it by what it is over, and four times that at every further attempt.
    """
    room = np.ones(len(kinds.limits))
    for attempt in range(_TIGHTENINGS):
        counts, _ = _solve(kinds, values, allowed, room, max_nodes)
        if counts is None or kinds.keeps(counts):
            return counts
        room = room - np.maximum(0.0, kinds.loads @ counts - 1.0 + _LEAST_TIGHTENING) * 4**attempt
    return None


def largest_total(kinds: ClientKinds, values: FloatArray) -> float:
    """Upper bound on the total value of any plan within the limits."""
    everything = np.ones(len(kinds.rows), dtype=bool)
    return _solve(kinds, values, everything, np.ones(len(kinds.limits)), _NODE_LIMIT)[1]


def reachable_progress(kinds: ClientKinds) -> float:
    """Upper bound on the progress of any plan within the other limits."""
    others = [m for m, limit in enumerate(kinds.limits) if limit.name != PROGRESS]
    free = replace(kinds, loads=kinds.loads[others], limits=tuple(kinds.limits[m] for m in others))
    most = float(np.sum(kinds.count * np.maximum.reduceat(kinds.progress, kinds.starts)))
    return min(largest_total(free, kinds.progress), most)


@dataclass(frozen=True)
class _Relaxed:
    """The linear relaxation: one column for every option that may be chosen."""

    columns: IntArray
    cost: FloatArray
    each: csr_array
    count: IntArray
    limits: FloatArray
    limit_values: FloatArray
    upper: FloatArray

    def solve(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, float] | None:
        """Columns' values and the objective of the relaxation within bounds; None if it is infeasible."""
        from scipy.optimize import linprog  # late: a third of a second, which plans without such limits need not pay

        result = linprog(
            self.cost,
            A_ub=self.limits if len(self.limits) else None,
            b_ub=self.limit_values if len(self.limits) else None,
            A_eq=self.each,
            b_eq=self.count,
            bounds=np.stack([low, high], axis=1),
            method="highs-ds",
        )
        return (np.asarray(result.x), float(result.fun)) if result.status == 0 else None


def _relaxed(kinds: ClientKinds, values: FloatArray, allowed: BoolArray, room: FloatArray) -> _Relaxed:
    from scipy.sparse import csr_array

    columns = np.flatnonzero(allowed)
    size = len(columns)
    each = csr_array((np.ones(size), (kinds.row_kind[columns], np.arange(size))), shape=(len(kinds.count), size))
    return _Relaxed(
        columns=columns,
        cost=-values[columns],
        each=each,
        count=kinds.count,
        limits=kinds.loads[:, columns],
        limit_values=room,
        upper=kinds.count[kinds.row_kind[columns]].astype(float),
    )


def _solve(
    kinds: ClientKinds, values: FloatArray, allowed: BoolArray, room: FloatArray, max_nodes: int
) -> tuple[IntArray | None, float]:
    """Return counts with the largest value to the solver's tolerance, and an upper bound on any plan's value.

    Best-first branch and bound on the linear relaxation, which leaves at most as many kinds fractional as there are
    limits. (SciPy's integer solver prints to standard output, which belongs to the commands' results.)
    """
    scale = max(float(np.max(np.abs(values[allowed]))), np.finfo(float).tiny)
    relaxed = _relaxed(kinds, values / scale, allowed, room)
    root = relaxed.solve(np.zeros(len(relaxed.columns)), relaxed.upper)
    if root is None:
        return None, -np.inf
    best: IntArray | None = None
    best_cost = np.inf
    heap = [(root[1], 0, root[0], np.zeros(len(relaxed.columns)), relaxed.upper)]
    ticket = itertools.count(1)
    for _ in range(int(np.clip(_NODE_ELEMENTS // len(relaxed.columns), min(10, max_nodes), max_nodes))):
        if not heap or heap[0][0] >= best_cost - _VALUE_TOLERANCE * abs(best_cost):
            break
        _, _, x, low, high = heapq.heappop(heap)
        whole = bool(np.all(np.abs(x - np.round(x)) < _INTEGRAL))
        for counts in _rounded(kinds, relaxed, x):
            cost = float(counts[relaxed.columns] @ relaxed.cost)
            if cost < best_cost and (whole or bool(np.all(kinds.loads @ counts <= room))):
                best, best_cost = counts, cost
        distance = np.abs(x - np.round(x))
        branch = int(np.argmax(distance))
        if distance[branch] < _INTEGRAL:
            continue
        for side in (0, 1):
            child_low, child_high = low.copy(), high.copy()
            if side == 0:
                child_high[branch] = np.floor(x[branch])
            else:
                child_low[branch] = np.ceil(x[branch])
            child = relaxed.solve(child_low, child_high)
            if child is not None and child[1] < best_cost:
                heapq.heappush(heap, (child[1], next(ticket), child[0], child_low, child_high))
    return best, -min([best_cost, *(node[0] for node in heap)]) * scale


def _rounded(kinds: ClientKinds, relaxed: _Relaxed, x: FloatArray) -> list[IntArray]:
    """Whole plans next to a fractional one: clients in doubt take the option that is leanest in one limit."""
    floor = np.floor(x + _INTEGRAL)
    counts = np.zeros(len(kinds.rows), dtype=np.int64)
    counts[relaxed.columns] = floor.astype(np.int64)
    left = kinds.count - np.add.reduceat(counts, kinds.starts)
    if not left.any():
        return [counts]
    plans = []
    open_ = np.full(len(kinds.rows), np.inf)
    for wish in kinds.loads:
        preference = open_.copy()
        preference[relaxed.columns] = wish[relaxed.columns]
        order = np.lexsort((preference, kinds.row_kind))
        plan = counts.copy()
        plan[order[kinds.starts]] += left
        plans.append(plan)
    return plans
