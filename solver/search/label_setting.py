"""Exact choice of options under limits where clients are few: partial plans, client by client, as labels.

A label is dropped when even the leanest completion breaks a limit, when even the best completion is worth no more than
a plan that is known, or when another label takes no more of any limit and is worth as much. What is left at the end is
the best plan, or proof that none exists. It decides the cases in which rounding a relaxation fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.kinds import ClientKinds

MAX_LABELS = 200_000
_CHAMPIONS = 128
"""Labels that all others are compared with; comparing all pairs would cost more than it saves."""
_WORTHWHILE = 512


@dataclass(frozen=True)
class LabelSearch:
    """Outcome of a search over labels.

    Parameters
    ----------
    counts
        [R] how many clients take each option, of the best plan; None if none was found.
    complete
        True if nothing was left out: ``counts`` is then the best plan, or no plan exists.
    """

    counts: IntArray | None
    complete: bool


def best_by_labels(kinds: ClientKinds, values: FloatArray, max_labels: int = MAX_LABELS) -> LabelSearch:
    """Find the plan with the largest total value within the limits.

    Parameters
    ----------
    kinds
        The kinds; their limits are those to keep.
    values
        [R] value of an option for one client.
    max_labels
        Labels kept at a time; where more are needed the most valuable are, and the outcome is incomplete.
    """
    limits = kinds.problem.limits
    loads: list[FloatArray | IntArray] = [limit.loads[kinds.rows] for limit in limits]
    order = np.repeat(np.arange(len(kinds.count)), kinds.count)
    ahead = _completions(values, order, kinds, np.maximum)
    lean_ahead = [_completions(load, order, kinds, np.minimum) for load in loads]
    total = np.zeros(1)
    used: list[FloatArray | IntArray] = [np.zeros_like(load[:1]) for load in loads]
    trail: list[tuple[IntArray, IntArray]] = []
    last = np.zeros(1, dtype=np.int64)
    complete = True
    for depth, c in enumerate(order):
        rows = np.arange(kinds.starts[c], kinds.starts[c] + kinds.options_per_kind[c])
        fits = np.ones((len(total), len(rows)), dtype=bool)
        if depth and order[depth - 1] == c:
            fits &= rows[None, :] >= last[:, None]
        for limit, load, sofar, rest in zip(limits, loads, used, lean_ahead, strict=True):
            fits &= sofar[:, None] + load[rows][None, :] + rest[depth] <= limit.capacity + limit.slack
        parent, option = np.nonzero(fits)
        if not len(parent):
            return LabelSearch(None, complete)
        total = total[parent] + values[rows[option]]
        used = [np.add(sofar[parent], load[rows[option]]) for sofar, load in zip(used, loads, strict=True)]
        last = rows[option]
        repeats = depth + 1 < len(order) and order[depth + 1] == c
        keep = np.ones(len(total), dtype=bool) if repeats else _undominated(total, used)
        if np.count_nonzero(keep) > max_labels:
            promising = np.argsort(-(total + ahead[depth])[keep], kind="stable")[:max_labels]
            keep = np.isin(np.arange(len(keep)), np.flatnonzero(keep)[promising])
            complete = False
        trail.append((parent[keep], last[keep]))
        total, used, last = total[keep], [sofar[keep] for sofar in used], last[keep]
    counts = np.zeros(len(kinds.rows), dtype=np.int64)
    position = int(np.argmax(total))
    for parents, chosen in reversed(trail):
        counts[chosen[position]] += 1
        position = int(parents[position])
    return LabelSearch(counts, complete)


def _completions(column: FloatArray | IntArray, order: IntArray, kinds: ClientKinds, best: np.ufunc) -> FloatArray:
    """What clients after each position add at best."""
    own = best.reduceat(column, kinds.starts)[order]
    return np.append(np.cumsum(own[::-1])[::-1][1:], 0)


def _undominated(total: FloatArray, used: list[FloatArray | IntArray]) -> BoolArray:
    if len(total) <= _WORTHWHILE:
        return np.ones(len(total), dtype=bool)
    costs = np.stack([-total, *(np.asarray(sofar, dtype=float) for sofar in used)], axis=1)
    spread = np.maximum(np.ptp(costs, axis=0), np.finfo(float).tiny)
    champions = np.argsort(((costs - costs.min(axis=0)) / spread).sum(axis=1), kind="stable")[:_CHAMPIONS]
    keep = np.ones(len(total), dtype=bool)
    for champion in champions:
        if keep[champion]:
            beaten = np.all(costs >= costs[champion], axis=1)
            beaten[champion] = False
            keep &= ~beaten
    return keep
