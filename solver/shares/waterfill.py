"""The fast share solver: water-filling on the prices, for a batch of plans at once.

At fixed options the smallest round latency is, by Lagrange duality, the largest ``T(p)`` over prices on the simplex,
where ``T(p)`` solves ``Σ_i cost_i(p, T) = 1`` (docs/methods/planning.md, Shares at a deadline;
our reconstruction). Two nested Newton methods find it: one for ``T`` at given prices, which approaches
the convex, falling sum from the left, and one for the prices at given ``T``, a smooth concave problem in three
unknowns with a logarithmic barrier. Every iterate is a valid lower bound; the shares it implies, rescaled onto the
simplex, give the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray
from hybridsplit.solver.problem.costs import NUM_RESOURCES, Priced, StaticShares, Work
from hybridsplit.solver.shares.newton import solve_symmetric

_RULE = StaticShares()
_MAX_PRICE_STEPS = 80
_MAX_DEADLINE_STEPS = 60
_TOLERANCE = 1e-10
"""Relative excess of the fullest resource at which a plan counts as solved."""
_START_BARRIER = 1e-2
_LEAST_BARRIER = 1e-12


@dataclass(frozen=True)
class Filled:
    """Best shares of a batch of ``M`` plans over ``N`` rows.

    Parameters
    ----------
    lower_s
        [M] certified lower bound on the round latency of each plan, seconds.
    latency_s
        [M] round latency that the shares reach; infinite where the search stopped at the cutoff.
    prices
        [M, 3] prices on the simplex at which the bound was taken.
    shares
        [M, N, 3] shares of every row's clients; over the clients of a plan each resource sums to at most 1.
    """

    lower_s: FloatArray
    latency_s: FloatArray
    prices: FloatArray
    shares: FloatArray


def fill(
    work: Work,
    weight: FloatArray,
    *,
    start: FloatArray | None = None,
    cutoff_s: FloatArray | float = np.inf,
    tolerance: float = _TOLERANCE,
) -> Filled:
    """Find the shares with the smallest round latency for every plan of a batch.

    Parameters
    ----------
    work
        Work of ``N`` rows in each of ``M`` plans; arrays [M, N].
    weight
        [M, N] number of identical clients that each row stands for; rows of weight 0 are ignored.
    start
        [3] or [M, 3] prices to start from; those of a similar plan save most of the work.
    cutoff_s
        [M] or one number: plans whose lower bound reaches it are given up.
    tolerance
        Relative excess of the fullest resource at which a plan counts as solved.

    Returns
    -------
    Filled
        Bounds, latencies, prices and shares.
    """
    # Rows that no client takes may be too slow for the deadline; without their device time every row has a finite cost.
    work = replace(work, compute_s=np.where(weight > 0, work.compute_s, 0.0))
    num_plans = work.compute_s.shape[0]
    floor_s = np.max(np.where(weight > 0, work.latency_s(1.0), 0.0), axis=1)
    prices = _start_prices(work, weight) if start is None else np.tile(np.atleast_2d(start), (1, 1))
    prices = np.broadcast_to(prices, (num_plans, NUM_RESOURCES)).copy()
    prices = np.maximum(prices / prices.sum(axis=1, keepdims=True), 1e-9)
    prices /= prices.sum(axis=1, keepdims=True)
    cutoff = np.broadcast_to(np.asarray(cutoff_s, dtype=float), (num_plans,))
    lower = np.zeros(num_plans)
    latency = np.full(num_plans, np.inf)
    best_prices = prices.copy()
    shares = np.zeros((*work.compute_s.shape, NUM_RESOURCES))
    active = np.arange(num_plans)
    barrier = np.full(num_plans, _START_BARRIER if start is None else 1e-2 * _START_BARRIER)
    deadline = floor_s.copy()
    w_active, p_active, k_active = work, prices, weight
    for step in range(_MAX_PRICE_STEPS):
        deadline_a = deadline_at(w_active, k_active, p_active, floor_s[active], deadline[active])
        better = deadline_a > lower[active]
        lower[active[better]] = deadline_a[better]
        best_prices[active[better]] = p_active[better]
        deadline[active] = deadline_a
        priced = _RULE.price(w_active, p_active[:, None, :], deadline_a[:, None], curvature=True)
        usage = np.stack([_total(share, k_active) for share in priced.usage], axis=1)
        excess = np.maximum(usage.max(axis=1) - 1.0, 0.0)
        done = excess <= tolerance
        last = step == _MAX_PRICE_STEPS - 1
        finished = done | last
        if finished.any():
            plan = active[finished]
            shares[plan], latency[plan] = _repaired(priced, usage, w_active, k_active, finished)
        keep = ~(finished | (lower[active] >= cutoff[active]))
        if not keep.any():
            break
        if not keep.all():
            active, p_active, k_active = active[keep], p_active[keep], k_active[keep]
            w_active, usage, deadline_a = w_active.take(keep), usage[keep], deadline_a[keep]
            priced = Priced(priced.value[keep], priced.usage, priced.slope, tuple(c[keep] for c in priced.curvature))
        p_active, full_step = _price_step(w_active, k_active, p_active, deadline_a, priced, usage, barrier[active])
        barrier[active] = np.where(full_step, np.maximum(0.1 * barrier[active], _LEAST_BARRIER), barrier[active])
    return Filled(lower, latency, best_prices, shares)


def deadline_at(
    work: Work, weight: FloatArray, prices: FloatArray, floor_s: FloatArray, start_s: FloatArray
) -> FloatArray:
    """[M] largest deadline that the prices prove necessary: ``Σ_i weight_i·cost_i(p, T) = 1``, or the floor.

    Newton on the reciprocal of the sum converges fastest (it is linear for one row); from the right, where that may
    overshoot, plain Newton on the convex sum lands left of the root again. The result never exceeds the root.

    Parameters
    ----------
    work, weight
        Rows of the plans, and how many clients each stands for; arrays [M, N].
    prices
        [M, 3] prices on the simplex.
    floor_s, start_s
        [M] a deadline below which none can be, and one to start from, seconds.
    """
    deadline = np.maximum(start_s, floor_s)
    total = np.ones_like(deadline)
    slope = -np.ones_like(deadline)
    for _ in range(_MAX_DEADLINE_STEPS):
        priced = _RULE.price(work, prices[:, None, :], deadline[:, None])
        total, slope = _total(priced.value, weight), _total(priced.slope, weight)
        at_floor = (deadline <= floor_s) & (total <= 1.0)
        open_ = ~at_floor & (np.abs(total - 1.0) > 1e-13)
        if not open_.any():
            break
        newton = (total - 1.0) / np.where(slope < 0, -slope, np.inf)
        moved = np.maximum(deadline + newton * np.where(total > 1.0, total, 1.0), floor_s)
        if np.all(np.abs(moved - deadline)[open_] <= 2e-16 * deadline[open_]):
            break
        deadline = np.where(open_, moved, deadline)
    above = (total < 1.0) & (deadline > floor_s)
    correction = np.where(above, (total - 1.0) / np.where(slope < 0, -slope, np.inf), 0.0)
    return np.asarray(np.maximum(deadline + correction, floor_s))


def _price_step(
    work: Work,
    weight: FloatArray,
    prices: FloatArray,
    deadline_s: FloatArray,
    priced: Priced,
    usage: FloatArray,
    barrier: FloatArray,
) -> tuple[FloatArray, BoolArray]:
    """One damped Newton step of the barrier problem on the simplex, in relative coordinates ``Δp/p``."""
    num_plans = len(prices)
    uu, ud, us, dd, ds, ss = (_total(second, weight) for second in priced.curvature)
    hessian = np.stack([np.stack(row, axis=1) for row in ((uu, ud, us), (ud, dd, ds), (us, ds, ss))], axis=1)
    system = np.zeros((num_plans, NUM_RESOURCES + 1, NUM_RESOURCES + 1))
    system[:, :3, :3] = hessian * prices[:, :, None] * prices[:, None, :] - barrier[:, None, None] * np.eye(3)
    system[:, :3, 3] = -prices
    system[:, 3, :3] = prices
    gradient = usage * prices + barrier[:, None]
    right = np.concatenate([-gradient, np.zeros((num_plans, 1))], axis=1)
    relative = solve_symmetric(system, right)[:, :3]
    length = np.minimum(1.0, 0.9 / np.maximum(-relative.min(axis=1), 1e-300))
    full = length >= 1.0
    slope = np.sum(gradient * relative, axis=1)
    merit = _total(priced.value, weight) + barrier * np.log(prices).sum(axis=1)
    trial = prices
    for _ in range(25):
        trial = prices * (1.0 + length[:, None] * relative)
        value = _total(_RULE.price(work, trial[:, None, :], deadline_s[:, None]).value, weight)
        gained = value + barrier * np.log(trial).sum(axis=1) - merit
        short = gained < 0.1 * length * slope - 1e-13 * np.abs(merit)
        if not short.any():
            break
        length = np.where(short, 0.4 * length, length)
        full &= ~short
    trial = np.maximum(trial, 1e-300)
    return trial / trial.sum(axis=1, keepdims=True), full


def _repaired(
    priced: Priced, usage: FloatArray, work: Work, weight: FloatArray, chosen: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Rescale shares so that each resource is used up exactly, and take the true latencies."""
    shares = np.stack([share[chosen] for share in priced.usage], axis=2)
    shares = np.where(usage[chosen][:, None, :] > 0, shares / np.where(usage > 0, usage, 1.0)[chosen][:, None, :], 0.0)
    shares = np.where(weight[chosen][:, :, None] > 0, shares, 0.0)
    latency = np.where(weight[chosen] > 0, work.take(chosen).latency_s(shares), 0.0).max(axis=1)
    return shares, latency


def _total(values: FloatArray, weight: FloatArray) -> FloatArray:
    """[M] weighted sum over rows; rows of weight 0 may hold anything."""
    return np.asarray((weight * np.where(weight > 0, values, 0.0)).sum(axis=1))


def _start_prices(work: Work, weight: FloatArray) -> FloatArray:
    """[M, 3] prices in proportion to each resource's total work at the full share, which sets the scale."""
    parts = (work.uplink.seconds(1.0), work.downlink_s, work.server_s)
    totals = np.stack([_total(part, weight) for part in parts], axis=1)
    largest = np.maximum(totals.max(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(np.maximum(totals / largest, 1e-4))
