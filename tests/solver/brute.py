"""The optimum by trying every plan, with formulas and an optimiser of its own: shares no code with the solver."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy.optimize import minimize

from scenarios.schema import FixedLink, Scenario
from tests.solver.instances import Instance


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


def uplink_seconds(bits: float, rates: dict[str, float], share: float) -> tuple[float, float]:
    """Duration at a share and its derivative."""
    if bits == 0:
        return 0.0, 0.0
    if math.isnan(rates["snr"]):
        return bits / (share * rates["up"]), -bits / (share**2 * rates["up"])
    band = rates["up"] / math.log2(1 + rates["snr"])
    snr = rates["snr"] / share
    rate = band * share * math.log2(1 + snr)
    slope = band * (math.log1p(snr) - snr / (1 + snr)) / math.log(2)
    return bits / rate, -bits / rate**2 * slope


def best_latency(rows: list[Any], rates: list[dict[str, float]]) -> float:
    """Smallest round latency of given options, by sequential quadratic programming on the shares."""
    n = len(rows)
    work = [
        (8.0 * row.uplink_bytes, 8.0 * row.downlink_bytes / rate["down"], row.server_compute_s)
        for row, rate in zip(rows, rates, strict=True)
    ]
    used = [(i, r) for i in range(n) for r in range(3) if work[i][r] > 0]
    users = [max(1, sum(1 for _, q in used if q == r)) for r in range(3)]

    def latencies(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seconds = np.array([row.client_compute_s for row in rows], dtype=float)
        jacobian = np.zeros((n, len(used) + 1))
        for column, (i, r) in enumerate(used):
            share = max(shares[column], 1e-9)
            value, slope = (
                uplink_seconds(work[i][0], rates[i], share) if r == 0 else (work[i][r] / share, -work[i][r] / share**2)
            )
            seconds[i] += value
            jacobian[i, column] = slope
        return seconds, jacobian

    start = np.array([1.0 / users[r] for _, r in used])
    unit = float(latencies(start)[0].max())
    if unit == 0:
        return 0.0
    groups = [
        np.array([1.0 if q == r else 0.0 for _, q in used] + [0.0]) for r in range(3) if any(q == r for _, q in used)
    ]

    def slack(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[-1] - latencies(x[:-1])[0] / unit, [1.0 - g @ x for g in groups]])

    def slack_jacobian(x: np.ndarray) -> np.ndarray:
        jacobian = -latencies(x[:-1])[1] / unit
        jacobian[:, -1] = 1.0
        return np.vstack([jacobian, *[-g for g in groups]])

    result = minimize(
        lambda x: x[-1],
        np.append(start, 1.0),
        jac=lambda x: np.append(np.zeros(len(x) - 1), 1.0),
        bounds=[(1e-7, 1.0)] * len(used) + [(0.0, None)],
        constraints={"type": "ineq", "fun": slack, "jac": slack_jacobian},
        method="SLSQP",
        options={"maxiter": 400, "ftol": 1e-13},
    )
    # Whatever the optimiser claims, only what exactly feasible shares reach counts.
    shares = np.clip(result.x[:-1], 1e-9, 1.0)
    for r in range(3):
        mine = np.array([q == r for _, q in used], dtype=bool)
        if mine.any():
            shares[mine] /= max(1.0, shares[mine].sum())
    return float(min(latencies(shares)[0].max(), unit))


def brute_force(instance: Instance) -> float:
    """Smallest objective over all plans; infinite if none keeps the limits."""
    scenario = instance.scenario
    clients, rates = scenario.expanded_clients(), full_rates(scenario)
    options = []
    for client, rate in zip(clients, rates, strict=True):
        own = []
        for row in instance.table.table[instance.table.table["client"] == client.id].itertuples():
            allowed = row.fits and row.cut >= client.min_cut and row.mode in {str(m) for m in scenario.training.modes}
            if allowed:
                alone = row.client_compute_s + 8 * row.uplink_bytes / rate["up"] + 8 * row.downlink_bytes / rate["down"]
                own.append((row, alone + row.server_compute_s))
        options.append(own)
    memory, least = scenario.server.memory_bytes, scenario.objective.minimum_progress
    by_progress = scenario.objective.minimise == "time-to-progress"
    plans = []
    for plan in itertools.product(*options):
        rows = [row for row, _ in plan]
        progress = math.fsum(c.data_weight * row.progress for c, row in zip(clients, rows, strict=True))
        if (memory is None or sum(row.server_state_bytes for row in rows) <= memory) and progress >= least * (
            1 - 1e-12
        ):
            scale = progress if by_progress else 1.0
            if scale > 0:
                plans.append((max(alone for _, alone in plan) / scale, scale, rows))
    plans.sort(key=lambda plan: plan[0])
    best = math.inf
    for optimistic, scale, rows in plans:
        if optimistic >= best:
            break
        best = min(best, best_latency(rows, rates) / scale)
    return best
