"""The optimum by trying every plan: formulas, pruning and optimiser of its own; shares no code with the solver.

All combinations of options are arrays. A combination is dropped when even full shares, or the prices of the best plan
known, prove it worse; the others get their shares by sequential quadratic programming, and every value that counts is
certified by a lower bound from prices that the shares themselves imply.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from hybridsplit.scenarios.schema import FixedLink, Scenario
from hybridsplit.testing.instances import Instance

CERTIFIED = 1e-6


@dataclass(frozen=True)
class Truth:
    """The optimum lies in ``[lower, upper]``; both infinite if no plan keeps the limits."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Columns:
    """Options of all clients as arrays [N, K], padded with repeats of the last option; ``size`` options each."""

    compute: np.ndarray
    bits: np.ndarray
    down: np.ndarray
    server: np.ndarray
    gain: np.ndarray
    energy: np.ndarray
    state: np.ndarray
    uncovered: np.ndarray
    price: np.ndarray
    dropped: np.ndarray
    target: np.ndarray
    delay: np.ndarray
    estimate: np.ndarray
    noise: np.ndarray
    depth: np.ndarray
    size: list[int]
    rate: np.ndarray
    snr: np.ndarray


def full_rates(scenario: Scenario) -> list[dict[str, float]]:
    """Rates of every client with every resource to itself, and the SNR at the full band (NaN for a fixed link)."""
    rates = []
    for client in scenario.expanded_clients():
        link = client.link
        down = scenario.radio.downlink_hz * link.downlink_bps_per_hz
        if isinstance(link, FixedLink):
            rates.append({"up": scenario.radio.uplink_hz * link.uplink_bps_per_hz, "snr": math.nan, "down": down})
        else:
            dbm = link.transmit_power_dbm + link.path_gain_db - scenario.radio.noise_dbm_per_hz
            snr = 10 ** (dbm / 10) / scenario.radio.uplink_hz
            rates.append({"up": scenario.radio.uplink_hz * math.log2(1 + snr), "snr": snr, "down": down})
    return rates


def collect(instance: Instance) -> Columns | None:
    """Options that each client may use by itself; None if a client has none."""
    scenario = instance.scenario
    modes = {str(m) for m in scenario.training.modes}
    rates = full_rates(scenario)
    per_client: list[list[tuple[Any, ...]]] = []
    for client, rate in zip(scenario.expanded_clients(), rates, strict=True):
        own = []
        for row in instance.table.table[instance.table.table["client"] == client.id].itertuples():
            if not row.fits or row.cut < client.min_cut or row.mode not in modes:
                continue
            if client.energy_cap_j is not None and not row.client_energy_j <= client.energy_cap_j:
                continue
            exact = row.mode in ("fo", "fo-recompute")
            w = client.data_weight
            own.append(
                (
                    row.client_compute_s, 8.0 * row.uplink_bytes, 8.0 * row.downlink_bytes / rate["down"],
                    row.server_compute_s, w * row.progress, row.client_energy_j, row.server_state_bytes,
                    0.0 if exact else w, 0.0, 0, getattr(row, "gain", 0.0), getattr(row, "delay", 0.0),
                    getattr(row, "estimate_delay", 0.0), getattr(row, "noise_delay", 0.0), 0 if exact else row.cut,
                )
            )  # fmt: skip
        if client.drop_price_s is not None:
            own.append(
                (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, client.data_weight, client.drop_price_s, 1, 0.0, 0.0, 0.0, 0.0, 10**6)
            )
        if not own:
            return None
        per_client.append(own)
    width = max(len(own) for own in per_client)
    padded = np.array([own + [own[-1]] * (width - len(own)) for own in per_client], dtype=float)
    return Columns(
        *(padded[:, :, i] for i in range(15)),
        size=[len(own) for own in per_client],
        rate=np.array([r["up"] for r in rates]),
        snr=np.array([r["snr"] for r in rates]),
    )


def uplink(bits: np.ndarray, rate: np.ndarray, snr: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Duration at a share, and its derivative."""
    if np.isnan(snr).all():
        return bits / (share * rate), -bits / (share**2 * rate)
    band = rate / np.log2(1 + snr)
    y = snr / share
    speed = band * share * np.log2(1 + y)
    slope = band * (np.log1p(y) - y / (1 + y)) / math.log(2)
    return bits / speed, -bits / speed**2 * slope


def priced(c: Columns, who: np.ndarray, option: np.ndarray, prices: np.ndarray, deadline: np.ndarray) -> np.ndarray:
    """Least price at which each chosen option meets a deadline; infinite where it cannot."""
    slack = deadline - c.compute[who, option]
    bits, rate, snr = c.bits[who, option], c.rate[who], c.snr[who]
    rest = (np.sqrt(prices[1] * c.down[who, option]) + np.sqrt(prices[2] * c.server[who, option])) ** 2
    positive = slack > 0
    slack = np.where(positive, slack, 1.0)
    low, high = np.full(slack.shape, -60.0), np.full(slack.shape, 60.0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        seconds, slope = uplink(bits, rate, snr, np.exp(middle))
        left = slack - seconds
        more = (left <= 0) | (prices[0] + rest * slope / np.where(left > 0, left, 1.0) ** 2 < 0)
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    share = np.where(bits > 0, np.exp(high), 0.0)
    seconds = np.where(bits > 0, uplink(bits, rate, snr, np.exp(high))[0], 0.0)
    left = slack - seconds
    cost = prices[0] * share + np.where(rest > 0, rest / np.where(left > 0, left, 1e-300), 0.0)
    idle = (bits == 0) & (rest == 0)
    return np.where(positive, cost, np.where(idle & (deadline - c.compute[who, option] >= 0), 0.0, np.inf))


def best_latency(c: Columns, plan: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Upper and lower bound on the round latency of one plan's best shares, and prices."""
    who = np.arange(len(plan))
    work = np.stack([c.bits[who, plan], c.down[who, plan], c.server[who, plan]], axis=1)
    compute = c.compute[who, plan]
    users, resources = np.nonzero(work > 0)
    if not len(users):
        return float(compute.max()), float(compute.max()), np.full(3, 1 / 3)
    groups = [(resources == r).astype(float) for r in range(3) if (resources == r).any()]

    def latencies(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shares = np.maximum(shares, 1e-12)
        value, slope = work[users, resources] / shares, -work[users, resources] / shares**2
        up = resources == 0
        value[up], slope[up] = uplink(work[users[up], 0], c.rate[users[up]], c.snr[users[up]], shares[up])
        jacobian = np.zeros((len(plan), len(users) + 1))
        jacobian[users, np.arange(len(users))] = slope
        return compute + np.bincount(users, value, len(plan)), jacobian

    def solve(start: np.ndarray) -> np.ndarray:
        unit = float(latencies(start)[0].max())

        def slack(x: np.ndarray) -> np.ndarray:
            return np.concatenate([x[-1] - latencies(x[:-1])[0] / unit, [1.0 - g @ x[:-1] for g in groups]])

        def slack_jacobian(x: np.ndarray) -> np.ndarray:
            jacobian = -latencies(x[:-1])[1] / unit
            jacobian[:, -1] = 1.0
            return np.vstack([jacobian, *[np.append(-g, 0.0) for g in groups]])

        result = minimize(
            lambda x: x[-1], np.append(start, 1.0), jac=lambda x: np.append(np.zeros(len(x) - 1), 1.0),
            bounds=[(1e-9, 1.0)] * len(users) + [(0.0, None)],
            constraints={"type": "ineq", "fun": slack, "jac": slack_jacobian},
            method="SLSQP", options={"maxiter": 500, "ftol": 1e-15},
        )  # fmt: skip
        shares = np.clip(result.x[:-1], 1e-12, 1.0)
        for g in groups:
            shares = np.where(g > 0, shares / (g @ shares), shares)
        return shares if latencies(shares)[0].max() <= latencies(start)[0].max() else start

    count = np.array([max(1, np.count_nonzero(resources == r)) for r in range(3)])
    shares = 1.0 / count[resources].astype(float)
    upper, lower, prices, best = math.inf, 0.0, np.full(3, 1 / 3), shares
    draw = np.random.default_rng(0)
    for attempt in range(30):
        shares = solve(shares)
        seconds, jacobian = latencies(shares)
        if seconds.max() < upper:
            upper, best = float(seconds.max()), shares
        found = implied_prices(jacobian[users, np.arange(len(users))], users, resources, seconds)
        proven = least_deadline(c, plan, found, upper)
        if proven > lower:
            lower, prices = proven, found
        if upper <= lower * (1 + 0.1 * CERTIFIED):
            break
        if attempt >= 5:
            # Where the solver stops short depends on the machine's arithmetic: another start leads it past that.
            shares = best * np.exp(0.3 * draw.normal(size=len(best)))
            for g in groups:
                shares = np.where(g > 0, shares / (g @ shares), shares)
    return upper, lower, prices


def implied_prices(slope: np.ndarray, users: np.ndarray, resources: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Prices whose ratios are those of the slopes of the slowest clients' latencies, by least squares on logarithms."""
    slow = seconds[users] >= seconds.max() * (1 - 1e-5)
    users, resources, logs = users[slow], resources[slow], np.log(-slope[slow])
    names, client = np.unique(users, return_inverse=True)
    system = np.zeros((len(users), 3 + len(names)))
    system[np.arange(len(users)), resources] = 1.0
    system[np.arange(len(users)), 3 + client] = -1.0
    solution = np.linalg.lstsq(system, logs, rcond=None)[0][:3]
    used = np.isin(np.arange(3), resources)
    prices = np.where(used, np.exp(solution - solution[used].max()), 1e-15)
    return prices / prices.sum()


def least_deadline(c: Columns, plan: np.ndarray, prices: np.ndarray, upper: float) -> float:
    """Lower bound on a plan's round latency from prices: below it all resources together cannot pay for it."""
    who = np.arange(len(plan))
    low, high = 0.0, upper
    for _ in range(60):
        middle = 0.5 * (low + high)
        over = priced(c, who, plan, prices, np.full(len(plan), middle)).sum() > prices.sum() * (1 + 1e-12)
        low, high = (middle, high) if over else (low, middle)
    return low


def target_gain(scenario: Scenario, c: Columns, plans: np.ndarray) -> np.ndarray:
    """Share of the way to the target that every plan gains: ``G / (1 + D/G)``, without the detour by straight lines."""
    who = np.arange(len(c.size))
    pilot = scenario.objective.pilot
    assert pilot is not None
    weight = np.array([client.data_weight for client in scenario.expanded_clients()])
    depth = np.minimum(c.depth[who, plans].min(axis=1), len(pilot.block_share)).astype(int)
    below = np.concatenate([[0.0], np.cumsum(pilot.block_share)])
    present = (weight * (1.0 - c.dropped[who, plans])).sum(axis=1)
    delay = pilot.untrained_blocks * below[depth] / pilot.rounds * present
    delay += np.where(depth > 0, c.estimate[who, plans].sum(axis=1), 0.0)
    delay += below[depth] * c.noise[who, plans].sum(axis=1)
    delay += c.delay[who, plans].sum(axis=1)
    gain = c.target[who, plans].sum(axis=1)
    return np.divide(gain, 1.0 + np.divide(delay, gain, out=np.zeros_like(gain), where=gain > 0))


def brute_force(instance: Instance) -> Truth:
    """Smallest objective over all plans, certified."""
    scenario, c = instance.scenario, collect(instance)
    if c is None:
        return Truth(math.inf, math.inf)
    plans = np.stack(np.meshgrid(*[np.arange(n) for n in c.size], indexing="ij"), axis=-1).reshape(-1, len(c.size))
    who = np.arange(len(c.size))
    totals = {
        name: getattr(c, name)[who, plans].sum(axis=1) for name in ("gain", "energy", "state", "price", "dropped")
    }
    goal, memory = scenario.objective, scenario.server.memory_bytes
    keep = (totals["gain"] >= goal.minimum_progress * (1 - 1e-12)) & (totals["dropped"] < len(who))
    keep &= 1.0 - c.uncovered[who, plans].sum(axis=1) >= goal.coverage - 1e-12
    if memory is not None:
        keep &= totals["state"] <= memory
    if goal.energy_cap_j is not None:
        keep &= totals["energy"] <= goal.energy_cap_j * (1 + 1e-12)
    if goal.minimise == "energy":
        least = float(totals["energy"][keep].min()) if keep.any() else math.inf
        return Truth(least, least)
    scale = totals["gain"] if goal.minimise == "time-to-progress" else np.ones(len(plans))
    if goal.minimise == "time-to-target":
        scale = target_gain(scenario, c, plans)
    keep &= scale > 0
    plans, scale, price = plans[keep], scale[keep], totals["price"][keep]
    if not len(plans):
        return Truth(math.inf, math.inf)
    alone = c.compute + c.bits / c.rate[:, None] + c.down + c.server
    optimistic = (alone[who, plans].max(axis=1) + price) / scale
    order = np.argsort(optimistic, kind="stable")
    plans, scale, price, optimistic = plans[order], scale[order], price[order], optimistic[order]
    lower, upper = math.inf, math.inf
    # One plan first, for prices that prove most of the others worse.
    open_ = np.ones(len(plans), dtype=bool)
    while open_.any():
        index = int(np.flatnonzero(open_)[0])
        open_[index] = False
        most, least, prices = best_latency(c, plans[index])
        improved = (most + price[index]) / scale[index] < upper
        lower = min(lower, (least + price[index]) / scale[index])
        upper = min(upper, (most + price[index]) / scale[index])
        open_ &= optimistic < upper
        if improved and open_.any():
            rest = np.flatnonzero(open_)
            deadline = upper * scale[rest] - price[rest]
            clients = np.broadcast_to(who, plans[rest].shape)
            cost = priced(c, clients, plans[rest], prices, np.repeat(deadline[:, None], len(who), axis=1)).sum(axis=1)
            open_[rest[cost > prices.sum() * (1 + 1e-12)]] = False
    assert upper <= lower * (1 + CERTIFIED), f"the brute force is certified only to {upper / lower - 1:.1e}"
    return Truth(min(lower, upper), upper)
