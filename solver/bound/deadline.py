"""Lower bounds on the objective: search over the deadline, with the dual at each.

*Round latency*: the dual certifies that a deadline is too short; the bound is the largest
deadline so certified. *Time to progress*: on an interval ``[a, b]`` of the deadline every plan has

    G(T) ≤ L(p; T) ≤ Σ_i max_k [ v_ik(b) − v'_ik(b)·(b − T) ] + Σ p,

because ``v_ik`` is concave in ``T``. The right side is convex in ``T``, so ``T/G ≥ θ`` holds on the whole interval as
soon as it holds at both ends (docs/methods/planning.md, Ratio objectives). The simpler bound ``a / G(b)`` is valid too;
the tangent makes the error quadratic instead of linear in the width (our construction). The interval with the smallest
bound is split until the bound is good enough.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hybridsplit.solver.bound.dual import (
    FINE_SMOOTHING,
    DualPoint,
    DualSolution,
    capacity_value,
    kind_total,
    latency_certificate,
    most_gain,
    option_values,
)
from hybridsplit.solver.problem.arrays import FloatArray
from hybridsplit.solver.problem.costs import SharingRule
from hybridsplit.solver.problem.kinds import ClientKinds

BOUND_SAFETY = 1e-9
"""Every bound is lowered by this fraction, more than rounding in the sums can amount to."""
_FEW_CLIENTS = 40
_VANISHING = 1e-12
_MAX_DINKELBACH_STEPS = 40

Offer = Callable[[float, DualSolution], float]
"""Takes a deadline and a fractional plan for it, and returns the objective of the best plan known so far."""


@dataclass(frozen=True)
class StopRule:
    """When the search over the deadline stops. Counts, not seconds, so that results repeat.

    Parameters
    ----------
    max_intervals
        Intervals that may be examined.
    gap
        Relative gap between plan and bound that is good enough.
    dual_gap
        Relative distance to the best bound that this dual can give at all.
    smoothing
        Relative smoothing at which each dual minimisation stops.
    """

    max_intervals: int = 240
    gap: float = 1e-6
    dual_gap: float = 3e-4
    smoothing: float = 1e-6

    @classmethod
    def for_size(cls, num_clients: int) -> StopRule:
        """Fine limits where clients are few, coarse ones where rounding costs little anyway."""
        return cls() if num_clients <= _FEW_CLIENTS else cls(max_intervals=80, dual_gap=4e-4, smoothing=1e-5)


@dataclass(frozen=True, order=True)
class Interval:
    """A range of deadlines with the objective's lower bound on it."""

    bound_s: float
    low_s: float
    high_s: float
    point: DualPoint | None = field(compare=False)


@dataclass(frozen=True)
class DeadlineBound:
    """Outcome of a search over the deadline.

    Parameters
    ----------
    lower_s
        Lower bound on the objective of every plan.
    open
        Intervals that may still hold a plan better than the best one known; empty for round latency.
    point, deadline_s
        Multipliers and deadline where the bound is attained.
    """

    lower_s: float
    open: tuple[Interval, ...]
    point: DualPoint | None
    deadline_s: float


def shortest_deadline(
    kinds: ClientKinds,
    rule: SharingRule,
    longest_s: float,
    tolerance: float = 1e-10,
    smoothing: float = FINE_SMOOTHING,
) -> DeadlineBound:
    """Bound the round latency of every plan within the limits.

    Parameters
    ----------
    kinds, rule
        The problem and how resources are shared.
    longest_s
        A deadline known to be met by some plan.
    tolerance
        Relative precision of the deadline.
    smoothing
        Relative smoothing at which each dual minimisation stops.

    Notes
    -----
    At fixed multipliers the certificate's value rises with the deadline, so after each minimisation the deadline moves
    straight to the root (Dinkelbach's method): a handful of minimisations reach full precision.
    """
    certified = min(kinds.least_deadline_s, longest_s)
    point: DualPoint | None = None
    for _ in range(_MAX_DINKELBACH_STEPS):
        # No dual exists at a deadline of zero; a vanishing one stands in for it.
        deadline = max(certified, _VANISHING * longest_s)
        solution = latency_certificate(kinds, rule, deadline, point, smoothing) if deadline > 0 else None
        if solution is None or solution.value >= 0:
            point = solution.point if solution is not None else point
            break
        point = solution.point
        moved = _certified_until(kinds, rule, point, deadline, longest_s)
        done = moved <= certified * (1 + tolerance) or moved >= longest_s
        certified = moved
        if done:
            break
    return DeadlineBound(certified * (1 - BOUND_SAFETY), (), point, certified)


def _certified_until(kinds: ClientKinds, rule: SharingRule, point: DualPoint, low_s: float, high_s: float) -> float:
    """Largest deadline at which the multipliers still prove infeasibility."""

    def value(deadline_s: float) -> float:
        total = kind_total(kinds, option_values(kinds, rule, point, deadline_s)[0])
        return total + capacity_value(point)

    if value(high_s) < 0:
        return high_s
    for _ in range(60):
        if high_s - low_s <= 1e-12 * high_s:
            break
        middle = 0.5 * (low_s + high_s)
        low_s, high_s = (middle, high_s) if value(middle) < 0 else (low_s, middle)
    return low_s


def best_ratio(
    kinds: ClientKinds,
    rule: SharingRule,
    incumbent_s: float,
    *,
    offer: Offer | None = None,
    stop: StopRule | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> DeadlineBound:
    """Bound the round latency divided by gain of every plan.

    Parameters
    ----------
    kinds, rule
        The problem and how resources are shared.
    incumbent_s
        Objective of the best plan known.
    offer
        Called with fractional plans worth rounding.
    stop
        When to stop.
    is_over
        True stops the search; the bound is what is proven by then.
    """
    stop = stop or StopRule.for_size(kinds.num_clients)
    longest_s = incumbent_s * kinds.largest_gain
    shortest = shortest_deadline(kinds, rule, longest_s, 1e-2, stop.smoothing)
    search = _RatioSearch(kinds, rule, incumbent_s, offer, stop.smoothing)
    low_s = shortest.lower_s
    pieces = (
        1 if low_s <= 0 or low_s >= longest_s else min(8, 1 + math.ceil(math.log(longest_s / low_s) / math.log(1.5)))
    )
    cuts = np.geomspace(low_s, longest_s, pieces + 1) if pieces > 1 else np.array([low_s, max(longest_s, low_s)])
    for a, b in itertools.pairwise(cuts.tolist()):
        search.examine(a, b, 0.0, None)
    for _ in range(stop.max_intervals):
        if not search.heap or search.settled(stop) or is_over():
            break
        worst = heapq.heappop(search.heap)
        if worst.high_s <= worst.low_s * (1 + 1e-9):
            search.heap = [worst, *search.heap]
            heapq.heapify(search.heap)
            break
        middle = _middle(worst.low_s, worst.high_s)
        for a, b in ((worst.low_s, middle), (middle, worst.high_s)):
            search.examine(a, b, worst.bound_s, worst.point)
    open_ = tuple(sorted(interval for interval in search.heap if interval.bound_s < search.incumbent_s))
    lower_s = min([search.incumbent_s, *(interval.bound_s for interval in open_)])
    return DeadlineBound(lower_s * (1 - BOUND_SAFETY), open_, search.best_point, search.best_deadline_s)


class _RatioSearch:
    """State of the search: the open intervals, the best plan's objective and the best dual value."""

    def __init__(
        self,
        kinds: ClientKinds,
        rule: SharingRule,
        incumbent_s: float,
        offer: Offer | None,
        smoothing: float,
    ) -> None:
        self._kinds, self._rule, self._offer = kinds, rule, offer
        self._smoothing = smoothing
        self.incumbent_s = incumbent_s
        self.heap: list[Interval] = []
        self.best_dual_s = np.inf
        self.best_point: DualPoint | None = None
        self.best_deadline_s = incumbent_s

    def settled(self, stop: StopRule) -> bool:
        """Say whether the bound is close to the best plan, or to the best this dual can give."""
        lowest = self.heap[0].bound_s
        return lowest >= self.incumbent_s * (1 - stop.gap) or lowest >= self.best_dual_s * (1 - stop.dual_gap)

    def examine(self, low_s: float, high_s: float, known_s: float, start: DualPoint | None) -> None:
        """Bound one interval and keep it unless it cannot hold a better plan."""
        middle = _middle(low_s, high_s)
        enough = 0.5 * low_s / self.incumbent_s if np.isfinite(self.incumbent_s) else 0.0
        solution = most_gain(
            self._kinds,
            self._rule,
            middle,
            start=start,
            stop_below=enough,
            smoothing=self._smoothing,
        )
        if solution is not None and solution.value > 0:
            ratio = middle / solution.value
            if ratio < self.best_dual_s:
                self.best_dual_s, self.best_point, self.best_deadline_s = ratio, solution.point, middle
            if self._offer is not None and ratio < self.incumbent_s:
                self.incumbent_s = min(self.incumbent_s, self._offer(middle, solution))
        point = solution.point if solution is not None else start
        bound_s = known_s
        if point is not None:
            bound_s = max(bound_s, interval_bound(self._kinds, self._rule, point, low_s, high_s))
        if point is None or bound_s < self.incumbent_s:
            bound_s = max(bound_s, low_s / self._kinds.largest_gain)
        if bound_s < self.incumbent_s:
            heapq.heappush(self.heap, Interval(bound_s, low_s, high_s, point))


def tangent_values(
    kinds: ClientKinds, rule: SharingRule, point: DualPoint, low_s: float, high_s: float
) -> tuple[FloatArray, FloatArray]:
    """[R] upper bounds on the values of options at the lower end of an interval, and [R] values at its upper end.

    Parameters
    ----------
    kinds, rule
        The problem and how resources are shared.
    point
        Multipliers.
    low_s, high_s
        The interval of deadlines, seconds.
    """
    high, slope = option_values(kinds, rule, point, high_s)
    return high - slope * (high_s - low_s), high


def interval_bound(kinds: ClientKinds, rule: SharingRule, point: DualPoint, low_s: float, high_s: float) -> float:
    """Lower bound on latency over gain of every plan whose round latency lies in an interval.

    Parameters
    ----------
    kinds, rule, point, low_s, high_s
        As of :func:`tangent_values`.

    Returns
    -------
    float
        Seconds; infinite if no plan in the interval exists.
    """
    at_low, at_high = tangent_values(kinds, rule, point, low_s, high_s)
    worth = capacity_value(point)
    gain_low, gain_high = kind_total(kinds, at_low) + worth, kind_total(kinds, at_high) + worth
    if gain_high <= 0:
        return math.inf
    bound_low = low_s / gain_low if gain_low > 0 else math.inf
    return min(bound_low, high_s / gain_high)


def _middle(low_s: float, high_s: float) -> float:
    return math.sqrt(low_s * high_s) if low_s > 0 else 0.1 * high_s
