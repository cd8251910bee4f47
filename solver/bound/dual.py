"""The Lagrangian dual at a deadline: how much progress any plan can make in time, or proof that none exists.

For a deadline ``T`` and prices ``p`` on the shares, ``q`` on the limits, every plan that meets ``T`` has

    λ·G  ≤  L(p, q; T) = Σ_i max_k [ λ·gain_ik − cost_ik(p, T) − q·load_ik ] + Σ_r p_r + Σ_m q_m   for all p, q ≥ 0

and ``λ`` 1 or, where only feasibility is asked, 0. ``L`` is convex in ``(p, q)``: three unknowns and one for each
limit, whatever the number of clients. It is minimised by Newton's method
on a smoothed copy (soft maximum over options, logarithmic barrier on the signs, both fading); the bound itself
is always ``L`` as written, at a dual-feasible point. The soft maximum's weights are the fractional plan that primal
recovery rounds. The decomposition is Lagrangian relaxation (docs/methods/planning.md, The dual bound); the smoothing is
our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray
from hybridsplit.solver.problem.costs import NUM_RESOURCES, SharingRule
from hybridsplit.solver.problem.kinds import ClientKinds
from hybridsplit.solver.shares.newton import solve_symmetric

_FIRST_SMOOTHING, _WARM_SMOOTHING, _SMOOTHING_STEP = 0.03, 0.003, 0.1
FINE_SMOOTHING = 1e-7
"""Relative smoothing at which the minimisation stops; the bound is that close to the best this dual can give."""
_NEWTON_STEPS_PER_LEVEL = 8
_DEADLINE_SLACK = 1e-12
"""Relative widening of "meets the deadline at full shares", so that rounding never excludes an option from a bound."""


@dataclass(frozen=True)
class DualPoint:
    """Multipliers of the coupling constraints.

    Parameters
    ----------
    prices
        [3] prices of uplink, downlink and server, in units of ``λ·gain`` per whole resource.
    limit_prices
        [M] price of every limit's whole capacity.
    gain_weight
        ``λ``: 1 where the gain is maximised, 0 where feasibility alone is asked.
    """

    prices: FloatArray
    limit_prices: FloatArray
    gain_weight: float


@dataclass(frozen=True)
class DualSolution:
    """A minimised dual.

    Parameters
    ----------
    point
        The best multipliers found.
    value
        ``L`` there.
    fractions
        [R] fractional plan: share of each kind that takes an option.
    """

    point: DualPoint
    value: float
    fractions: FloatArray


def option_values(
    kinds: ClientKinds, rule: SharingRule, point: DualPoint, deadline_s: float
) -> tuple[FloatArray, FloatArray]:
    """[R] ``λ·gain − cost − q·load`` of every option, and [R] its derivative in the deadline.

    Options that miss the deadline even with every resource to themselves are −inf (their derivative is 0).

    Parameters
    ----------
    kinds, rule
        The problem and how resources are shared.
    point
        Multipliers.
    deadline_s
        The deadline ``T``, seconds.
    """
    late = kinds.full_share_s > deadline_s * (1 + _DEADLINE_SLACK)
    values, slopes = np.full(len(late), -np.inf), np.zeros(len(late))
    timely = ~late
    priced = rule.price(kinds.work.take(timely), point.prices, deadline_s)
    values[timely] = point.gain_weight * kinds.gain[timely] - priced.value - point.limit_prices @ kinds.loads[:, timely]
    slopes[timely] = -priced.slope
    return values, slopes


def capacity_value(point: DualPoint) -> float:
    """``Σ_r p_r + Σ_m q_m``: what all resources together are worth."""
    return float(point.prices.sum() + point.limit_prices.sum())


def kind_total(kinds: ClientKinds, values: FloatArray) -> float:
    """``Σ_i max_k`` of row values over clients."""
    return float(np.sum(kinds.count * np.maximum.reduceat(values, kinds.starts)))


def most_gain(
    kinds: ClientKinds,
    rule: SharingRule,
    deadline_s: float,
    *,
    start: DualPoint | None = None,
    stop_below: float = 0.0,
    smoothing: float = FINE_SMOOTHING,
) -> DualSolution | None:
    """Bound the gain of every plan that meets a deadline.

    Parameters
    ----------
    kinds, rule
        The problem and how resources are shared.
    deadline_s
        The deadline ``T``, seconds.
    start
        Multipliers of a nearby deadline.
    stop_below
        Stop as soon as the bound falls below this value.
    smoothing
        Relative smoothing at which to stop.

    Returns
    -------
    DualSolution or None
        None if some client misses the deadline with every resource to itself. A negative value proves that no plan
        meets the deadline.
    """
    # A negative value proves the deadline infeasible, and the prices would grow without end below it.
    return _minimise(kinds, rule, deadline_s, start, max(stop_below, 0.0), smoothing, gain_weight=1.0)


def latency_certificate(
    kinds: ClientKinds,
    rule: SharingRule,
    deadline_s: float,
    start: DualPoint | None = None,
    smoothing: float = FINE_SMOOTHING,
) -> DualSolution | None:
    """Minimise ``L`` with ``λ = 0`` over the simplex of prices.

    Parameters
    ----------
    kinds, rule, deadline_s, start, smoothing
        As of :func:`most_gain`.

    Returns
    -------
    DualSolution or None
        A negative value proves that no plan within the limits meets the deadline; None proves it too.
    """
    return _minimise(kinds, rule, deadline_s, start, -np.inf, smoothing, gain_weight=0.0)


def _minimise(
    kinds: ClientKinds,
    rule: SharingRule,
    deadline_s: float,
    start: DualPoint | None,
    stop_below: float,
    smoothing: float,
    gain_weight: float,
) -> DualSolution | None:
    timely = kinds.full_share_s <= deadline_s * (1 + _DEADLINE_SLACK)
    if not np.logical_or.reduceat(timely, kinds.starts).all():
        return None
    smooth = _Smoothed(kinds, rule, deadline_s, timely, gain_weight)
    x, level = smooth.start(start), _FIRST_SMOOTHING if start is None else _WARM_SMOOTHING
    best_x, best_value = x, np.inf
    weights = np.zeros(int(timely.sum()))
    while True:
        for _ in range(_NEWTON_STEPS_PER_LEVEL):
            exact, value, gradient, hessian, weights = smooth.evaluate(x, level)
            if exact < best_value:
                best_x, best_value = x, exact
            step = smooth.newton_step(x, gradient, hessian, level)
            decrease = -float(gradient @ (x * step) - level * smooth.scale * step.sum())
            if decrease <= 0.2 * level * smooth.scale or best_value < stop_below:
                break
            x = smooth.line_search(x, step, value, decrease, level)
        if level <= smoothing or best_value < stop_below:
            break
        level = max(level * _SMOOTHING_STEP, smoothing)
    fractions = np.zeros(len(timely))
    fractions[timely] = weights
    return DualSolution(smooth.point(best_x), best_value, fractions)


class _Smoothed:
    """The smoothed dual at one deadline, over ``x = (p_u, p_d, p_s, q_1, ..., q_M)`` in relative Newton coordinates."""

    def __init__(
        self, kinds: ClientKinds, rule: SharingRule, deadline_s: float, timely: BoolArray, gain_weight: float
    ) -> None:
        self._rule, self._deadline_s = rule, deadline_s
        self._work = kinds.work.take(timely)
        self._gain, self._loads = gain_weight * kinds.gain[timely], kinds.loads[:, timely]
        self._kind = kinds.row_kind[timely]
        self._starts = np.flatnonzero(np.diff(self._kind, prepend=-1))
        self._sizes = np.diff(np.append(self._starts, len(self._kind)))
        self._count = kinds.count
        self._gain_weight = gain_weight
        self._on_simplex = gain_weight == 0
        # Where every client that is left would rather be dropped the largest gain is negative; its size still scales.
        largest = max(kinds.largest_gain, float(np.abs(kinds.gain).max()), np.finfo(float).tiny)
        self.scale = 1.0 if self._on_simplex else largest
        self._temperature = self.scale / kinds.num_clients
        self._last_length = 1.0

    def start(self, point: DualPoint | None) -> FloatArray:
        if point is None:
            size = NUM_RESOURCES + len(self._loads)
            return np.full(size, self.scale / size)
        x = np.maximum(np.concatenate([point.prices, point.limit_prices]), 1e-7 * self.scale)
        return np.asarray(x / x.sum() if self._on_simplex else x)

    def point(self, x: FloatArray) -> DualPoint:
        return DualPoint(x[:NUM_RESOURCES].copy(), x[NUM_RESOURCES:].copy(), self._gain_weight)

    def _values(self, x: FloatArray, *, curvature: bool) -> tuple[FloatArray, list[FloatArray], tuple[FloatArray, ...]]:
        priced = self._rule.price(self._work, x[:NUM_RESOURCES], self._deadline_s, curvature=curvature)
        values = self._gain - priced.value - x[NUM_RESOURCES:] @ self._loads
        return values, [*(-usage for usage in priced.usage), *(-load for load in self._loads)], priced.curvature

    def _soft(self, values: FloatArray, x: FloatArray, level: float) -> tuple[float, float, FloatArray]:
        heat = level * self._temperature
        top = np.maximum.reduceat(values, self._starts)
        power = np.exp((values - np.repeat(top, self._sizes)) / heat)
        mass = np.add.reduceat(power, self._starts)
        exact = float(self._count @ top) + float(x.sum())
        soft = exact + heat * float(self._count @ np.log(mass)) - level * self.scale * float(np.log(x).sum())
        return exact, soft, power / np.repeat(mass, self._sizes)

    def evaluate(self, x: FloatArray, level: float) -> tuple[float, float, FloatArray, FloatArray, FloatArray]:
        """Return exact value, smoothed value with barrier, gradient and Hessian of the smooth part, and weights."""
        values, rows, curvature = self._values(x, curvature=True)
        exact, soft, weights = self._soft(values, x, level)
        jacobian = np.stack(rows, axis=1)
        mass = weights * self._count[self._kind]
        gradient = jacobian.T @ mass + 1.0
        means = np.add.reduceat(jacobian * weights[:, None], self._starts, axis=0)
        spread = jacobian.T @ (jacobian * mass[:, None]) - means.T @ (means * self._count[:, None])
        hessian = spread / (level * self._temperature)
        uu, ud, us, dd, ds, ss = (-float(mass @ second) for second in curvature)
        hessian[:3, :3] += np.array([[uu, ud, us], [ud, dd, ds], [us, ds, ss]])
        return exact, soft, gradient, hessian, weights

    def newton_step(self, x: FloatArray, gradient: FloatArray, hessian: FloatArray, level: float) -> FloatArray:
        """Relative step ``Δx/x`` of the barrier problem, on the simplex where there is one."""
        barrier = level * self.scale
        system = hessian * np.outer(x, x) + (barrier + 1e-14 * self.scale) * np.eye(len(x))
        right = barrier - gradient * x
        if not self._on_simplex:
            return solve_symmetric(system, right)
        bordered = np.block([[system, x[:, None]], [x[None, :], np.zeros((1, 1))]])
        return solve_symmetric(bordered, np.append(right, 0.0))[:-1]

    def line_search(self, x: FloatArray, step: FloatArray, value: float, decrease: float, level: float) -> FloatArray:
        """Backtrack until the smoothed value falls by a tenth of what the gradient promises."""
        length = min(1.0, 0.95 / max(float(-step.min()), 1e-300), 4.0 * self._last_length)
        for _ in range(30):
            trial = x * (1.0 + length * step)
            _, soft, _ = self._soft(self._values(trial, curvature=False)[0], trial, level)
            if soft <= value - 0.1 * length * decrease + 1e-14 * abs(value):
                break
            # Minimiser of the parabola through what is known, kept away from both ends.
            parabola = 0.5 * length * length * decrease / (soft - value + length * decrease)
            length = min(max(parabola, 0.1 * length), 0.6 * length)
        self._last_length = length
        return trial / trial.sum() if self._on_simplex else trial
