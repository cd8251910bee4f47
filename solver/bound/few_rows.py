"""The dual at a deadline with few rows: minimise over those that can win, check against all, repeat.

Between minimisations at neighbouring deadlines the multipliers hardly move, so a handful of rows a client is enough;
the value returned is always that over all rows, hence a bound. Multipliers at other deadlines are interpolated between
those known, on logarithmic axes: any multipliers give a bound, good ones a tight one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.bound.all_rows import Scanner, sample, subset
from hybridsplit.solver.bound.dual import DualPoint, latency_certificate, most_gain
from hybridsplit.solver.problem.arrays import FloatArray
from hybridsplit.solver.problem.costs import SharingRule
from hybridsplit.solver.problem.kinds import ClientKinds

_MARGIN = 0.15
"""Rows within this many mean values of a client's best row enter the first minimisation."""
_MOST_ROWS = 4
"""Rows a client that a minimisation should not exceed."""
_GUESS_KINDS = 150
_GUESS_SMOOTHING = 1e-3
_MAX_PASSES = 4
_AGREEMENT = 2e-6


@dataclass(frozen=True)
class DualAtDeadline:
    """The dual at one deadline.

    Parameters
    ----------
    deadline_s
        The deadline.
    point
        Multipliers.
    value
        The dual's value there, over all rows.
    slope
        Its derivative in the deadline.
    kinds
        The rows that can win.
    fractions
        [R'] fractional plan over those rows.
    """

    deadline_s: float
    point: DualPoint
    value: float
    slope: float
    kinds: ClientKinds
    fractions: FloatArray


def minimise(
    scanner: Scanner, deadline_s: float, start: DualPoint | None, smoothing: float, *, certificate: bool = False
) -> DualAtDeadline | None:
    """Minimise the dual at a deadline.

    Parameters
    ----------
    scanner
        The rows and the sharing rule.
    deadline_s
        The deadline, seconds.
    start
        Multipliers of a nearby deadline.
    smoothing
        Relative smoothing at which to stop.
    certificate
        Whether only feasibility is asked (see :func:`hybridsplit.solver.bound.dual.latency_certificate`).

    Returns
    -------
    DualAtDeadline or None
        None if some client misses the deadline with every resource to itself.
    """
    kinds, rule = scanner.kinds, scanner.rule
    if kinds.least_deadline_s > deadline_s:
        return None
    solve = latency_certificate if certificate else most_gain
    scale = (1.0 if certificate else max(kinds.largest_gain, np.finfo(float).tiny)) / kinds.num_clients
    point = start or _guess(kinds, rule, deadline_s, certificate)
    margin = scale * _MARGIN
    best: tuple[float, DualPoint] | None = None
    keep = np.zeros(len(kinds.rows), dtype=bool)
    dual: DualAtDeadline | None = None
    for passes in range(_MAX_PASSES):
        value, deficit = scanner.deficits(point, deadline_s)
        close = deficit <= min(margin, _crowded(deficit, _MOST_ROWS * len(kinds.starts)))
        if best is None or value < best[0]:
            best = (value, point)
        if dual is not None:
            if value <= dual.value + _AGREEMENT * max(abs(dual.value), scale * kinds.num_clients):
                break
            margin *= 1.5
        # The first rows were chosen at multipliers that may have been poor; they are not carried along.
        keep = close if dual is None or passes == 1 else keep | close
        active = subset(kinds, keep)
        solution = solve(active, rule, deadline_s, start=point, smoothing=smoothing)
        if solution is None:
            return None
        point = solution.point
        dual = DualAtDeadline(deadline_s, point, solution.value, 0.0, active, solution.fractions)
    assert dual is not None
    assert best is not None
    slope = _slope(dual.kinds, rule, dual)
    if best[1] is not dual.point:
        final = scanner.value(dual.point, deadline_s)
        best = min(best, (final, dual.point), key=lambda pair: pair[0])
    return DualAtDeadline(deadline_s, best[1], best[0], slope, dual.kinds, dual.fractions)


def _crowded(deficit: FloatArray, most: int) -> float:
    """Return the deficit within which no more rows lie than asked: where many gain the same, all are close."""
    return float(np.partition(deficit, most)[most]) if len(deficit) > most else np.inf


def _guess(kinds: ClientKinds, rule: SharingRule, deadline_s: float, certificate: bool) -> DualPoint:
    """Multipliers to start from: those of some clients drawn at random."""
    few = kinds if len(kinds.count) <= _GUESS_KINDS else sample(kinds, _GUESS_KINDS)
    solve = latency_certificate if certificate else most_gain
    solution = solve(few, rule, deadline_s, smoothing=_GUESS_SMOOTHING)
    assert solution is not None
    return solution.point


def _slope(kinds: ClientKinds, rule: SharingRule, dual: DualAtDeadline) -> float:
    priced = rule.price(kinds.work, dual.point.prices, dual.deadline_s)
    mass = dual.fractions * kinds.count[kinds.row_kind]
    return float(-(mass @ np.where(mass > 0, priced.slope, 0.0)))


def interpolate(duals: list[DualAtDeadline], deadline_s: float) -> DualPoint:
    """Multipliers at a deadline from those known, straight lines on logarithmic axes."""
    known = sorted(duals, key=lambda dual: dual.deadline_s)
    if len(known) == 1:
        return known[0].point
    times = np.log([dual.deadline_s for dual in known])
    right = int(np.clip(np.searchsorted(times, np.log(deadline_s)), 1, len(known) - 1))
    low, high = known[right - 1].point, known[right].point
    part = (np.log(deadline_s) - times[right - 1]) / max(times[right] - times[right - 1], 1e-12)
    part = float(np.clip(part, -2.0, 3.0))

    def between(a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(np.exp((1 - part) * np.log(np.maximum(a, 1e-30)) + part * np.log(np.maximum(b, 1e-30))))

    prices, limits = between(low.prices, high.prices), between(low.limit_prices, high.limit_prices)
    if not low.gain_weight:
        total = prices.sum() + limits.sum()
        prices, limits = prices / total, limits / total
    return DualPoint(prices, limits, low.gain_weight)
