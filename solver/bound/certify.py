"""Lower bounds for many clients: find the deadline where the dual's ratio is least, then walk outwards with proofs.

``h(T) = T / L(T)`` bounds the objective of plans that last ``T``. Its minimum lies where ``L = T·L'``, and tangents
of ``L`` on both sides close in on it. From there intervals are proven one by one (``Scanner.chord``), each as wide as
the last one's success allows, until too short deadlines are infeasible and too long ones cannot pay. Far from the
minimum the proof has room, so widths grow geometrically. Our own construction, in place of branching on ``T``
(docs/methods/planning.md, Ratio objectives).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.bound.all_rows import Scanner
from hybridsplit.solver.bound.dual import DualPoint
from hybridsplit.solver.bound.few_rows import DualAtDeadline, interpolate, minimise
from hybridsplit.solver.problem.arrays import FloatArray
from hybridsplit.solver.problem.costs import SharingRule

_SECANT_STEPS = 14
_WARM_STEP = 0.02
"""First relative step from a deadline that was the best for a sample of the clients; it doubles until the best one is
between two known."""
_FIRST_WIDTH = 0.01
_LEAST_WIDTH = 1e-3
_MAX_INTERVALS = 2000
_SAFETY = 1e-9


@dataclass(frozen=True)
class Certificate:
    """A proven lower bound.

    Parameters
    ----------
    lower_s
        Lower bound on latency over gain of every plan.
    complete
        False if the search was stopped before everything was proven; the bound holds all the same.
    """

    lower_s: float
    complete: bool


def least_ratio(
    scanner: Scanner, start_s: float, smoothing: float, tolerance: float, start: DualPoint | None = None
) -> list[DualAtDeadline]:
    """Find the deadline at which latency over gain is least, and the dual at some deadlines around it.

    Parameters
    ----------
    scanner
        Rows and sharing rule.
    start_s
        A deadline near it, seconds.
    smoothing
        Relative smoothing of the minimisations.
    tolerance
        Relative distance of the best ratio to the least that tangents allow, at which to stop.
    start
        Multipliers to start from.

    Returns
    -------
    list of DualAtDeadline
        The dual where its value is positive, the one with the least ratio first.
    """
    duals: list[DualAtDeadline] = []
    too_short, too_long = 0.0, math.inf
    step = math.inf if start is None else _WARM_STEP
    deadline_s = max(start_s, scanner.kinds.least_deadline_s * (1 + 1e-9))
    for _ in range(_SECANT_STEPS):
        point = interpolate(duals, deadline_s) if duals else start
        dual = minimise(scanner, deadline_s, point, smoothing)
        if dual is None or dual.value <= 0:
            too_short = max(too_short, deadline_s)
            deadline_s *= math.exp(min(step, 0.4)) if math.isinf(too_long) else math.sqrt(too_long / deadline_s)
            step *= 2.0
            continue
        duals.append(dual)
        excess = dual.value - deadline_s * dual.slope
        if excess < 0:
            too_short = max(too_short, deadline_s)
        else:
            too_long = min(too_long, deadline_s)
        deadline_s, least_s = _next_deadline(duals, too_short, too_long, step)
        step *= 2.0
        if least_s >= min(known.deadline_s / known.value for known in duals) * (1 - tolerance):
            break
    return sorted(duals, key=lambda dual: dual.deadline_s / dual.value)


def _next_deadline(duals: list[DualAtDeadline], too_short: float, too_long: float, step: float) -> tuple[float, float]:
    """Where to look next, and the least ratio that may be found there; at most a step away while all are on one side.

    The dual's value is concave in the deadline up to rounding, so tangents at two deadlines on either side of the best
    one meet above it: there the ratio is least possible. Where a resource becomes the bottleneck the value has a kink,
    and the tangents meet in it at once.
    """
    below = [dual for dual in duals if dual.value < dual.deadline_s * dual.slope]
    above = [dual for dual in duals if dual.value >= dual.deadline_s * dual.slope]
    if below and above:
        left, right = max(below, key=_deadline), min(above, key=_deadline)
        rise = left.slope - right.slope
        if rise > 0:
            meet = right.value - left.value + left.slope * left.deadline_s - right.slope * right.deadline_s
            meet = float(np.clip(meet / rise, left.deadline_s, right.deadline_s))
            # Not closer to a known deadline than a tenth of the way: its own tangent says nothing new there.
            room = 0.1 * (right.deadline_s - left.deadline_s)
            least = meet / max(left.value + left.slope * (meet - left.deadline_s), 1e-300)
            return float(np.clip(meet, left.deadline_s + room, right.deadline_s - room)), least
    last = duals[-1]
    gap = math.log(max(last.value, 1e-300) / max(last.deadline_s * last.slope, 1e-300))
    proposal = last.deadline_s * math.exp(-float(np.clip(0.4 * gap, -min(0.5, step), min(0.35, step))))
    if not too_short < proposal < too_long:
        proposal = (
            math.sqrt(max(too_short, 1e-12 * too_long) * too_long) if math.isfinite(too_long) else 1.4 * too_short
        )
    return max(proposal, 1e-300), 0.0


def _deadline(dual: DualAtDeadline) -> float:
    return dual.deadline_s


def certify(
    scanner: Scanner,
    duals: list[DualAtDeadline],
    incumbent_s: float,
    loss: float,
    smoothing: float,
    is_over: Callable[[], bool],
    refinements: int = 12,
) -> Certificate:
    """Prove a lower bound on latency over gain for every deadline.

    Parameters
    ----------
    scanner
        Rows and sharing rule.
    duals
        The dual at some deadlines, the one with the least ratio first; more may be added.
    incumbent_s
        Objective of a plan; nothing above it needs proof.
    loss
        Relative distance below the best ratio that is good enough.
    smoothing
        Relative smoothing of the minimisations that turn out necessary.
    is_over
        True stops the proof.
    refinements
        Minimisations that may be spent on deadlines where the interpolated multipliers are poor.
    """
    kinds = scanner.kinds
    best = duals[0]
    target = min(incumbent_s, best.deadline_s / best.value) * (1 - loss)
    middle = best.deadline_s
    shortest, longest = kinds.least_deadline_s, incumbent_s * kinds.largest_gain
    proven = target
    for direction in (-1, 1):
        edge, width = middle, _FIRST_WIDTH
        for _ in range(_MAX_INTERVALS):
            if (edge <= shortest) if direction < 0 else (edge >= longest):
                break
            if is_over():
                break
            # No plan is shorter than the least deadline, so nothing is left to prove there.
            low = max(edge * (1 - width), shortest) if direction < 0 else edge
            high = edge if direction < 0 else edge * (1 + width)
            bound = _interval_bound(scanner, duals, low, high, target)
            if math.isinf(bound) and direction < 0:
                shortest = edge
                break
            if bound >= target:
                edge, width = (low if direction < 0 else high), min(1.6 * width, 0.9)
            elif width > _LEAST_WIDTH:
                width = max(0.5 * width, _LEAST_WIDTH)
            elif refinements > 0 and all(abs(edge / dual.deadline_s - 1) > 5 * _LEAST_WIDTH for dual in duals):
                refinements -= 1
                dual = minimise(scanner, edge, interpolate(duals, edge), smoothing)
                if dual is not None and dual.value > 0:
                    duals.append(dual)
                elif dual is not None and direction < 0:
                    # The dual's value rises with the deadline: no plan is shorter.
                    shortest = edge
            else:
                # The dual itself is lower here, or better multipliers would cost more than they gain.
                proven = target = min(target, bound) * (1 - loss)
        if (edge > shortest) if direction < 0 else (edge < longest):
            # Of plans that nothing is proven of, their latency is all that is known.
            rest_s = (shortest if direction < 0 else edge) / kinds.largest_gain
            return Certificate(min(proven, rest_s) * (1 - _SAFETY), False)
    return Certificate(proven * (1 - _SAFETY), True)


def _interval_bound(
    scanner: Scanner, duals: list[DualAtDeadline], low_s: float, high_s: float, target_s: float
) -> float:
    """Lower bound on the ratio of plans whose latency lies in an interval; infinite if there are none.

    Interpolated multipliers come first; next to a kink, where multipliers jump, those of a neighbouring deadline
    serve better.
    """
    inside = math.sqrt(max(low_s, 0.5 * high_s) * high_s)
    neighbours = sorted(duals, key=lambda dual: abs(math.log(dual.deadline_s / inside)))[:2]
    best = low_s / scanner.kinds.largest_gain
    for point in (interpolate(duals, inside), *(dual.point for dual in neighbours)):
        at_low, at_high = scanner.chord(point, low_s, high_s)
        if at_high <= 0:
            return math.inf
        best = max(best, min(low_s / at_low if at_low > 0 else math.inf, high_s / at_high))
        if best >= target_s:
            break
    return best


def shared_prices(duals: list[DualAtDeadline], small: list[DualAtDeadline], rule: SharingRule) -> list[DualAtDeadline]:
    """Carry multipliers found on a sample over to all clients: their ratio to the sample's at the same deadline.

    Parameters
    ----------
    duals, small
        The dual of all clients at some deadlines, and that of the sample.
    rule
        How resources are shared.
    """
    reference = interpolate(small, duals[0].deadline_s)
    own = duals[0].point

    def ratio(mine: FloatArray, theirs: FloatArray) -> FloatArray:
        return np.asarray(np.clip(np.maximum(mine, 1e-30) / np.maximum(theirs, 1e-30), 0.5, 2.0))

    up, lim = ratio(own.prices, reference.prices), ratio(own.limit_prices, reference.limit_prices)
    carried = [
        DualAtDeadline(
            dual.deadline_s,
            DualPoint(dual.point.prices * up, dual.point.limit_prices * lim, dual.point.gain_weight),
            dual.value,
            dual.slope,
            dual.kinds,
            dual.fractions,
        )
        for dual in small
        if all(abs(dual.deadline_s / exact.deadline_s - 1) > 0.02 for exact in duals)
    ]
    return [*duals, *carried]
