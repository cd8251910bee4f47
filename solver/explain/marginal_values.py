"""What a little more of everything is worth: 1 MHz, 1 GFLOP/s at the server, 100 MiB at a client.

Every value is a difference of two solved problems, not a derivative: the shares are solved again with the resource
enlarged, and for memory with the client's newly fitting options as well. The other clients keep their options, so
planning everything again saves as much or more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.plan import Marginal
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.build import problem_of_rows
from hybridsplit.solver.problem.costs import StaticShares, Work
from hybridsplit.solver.problem.limiting import under_objective_of
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.problem.usable_rows import DROPPED, permitted, within_energy
from hybridsplit.solver.shares.solution import replace_batch
from hybridsplit.solver.shares.waterfill import fill

EXTRA_HZ = 1e6
EXTRA_FLOPS_PER_S = 1e9
EXTRA_BYTES = 100 * 1024**2
_MAX_TRIALS = 64
"""Newly fitting options that are priced, the most promising first."""
_NOTHING = 1e-9


def marginals(problem: PlanningProblem, rows: IntArray, objective_s: float, prices: FloatArray) -> tuple[Marginal, ...]:
    """Value a little more of every resource.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] the plan's row of every client; its shares are the best for them.
    objective_s
        The plan's objective, seconds.
    prices
        [3] prices of the resources at the plan, for ranking what to try.

    Returns
    -------
    tuple of Marginal
        Both links, the server (where its speed is published), and every client that more memory would help. None where
        energy is minimised: shares do not change it.
    """
    if problem.objective == ENERGY or objective_s <= 0:
        return ()
    found = [*_bands(problem, rows, objective_s), *_server(problem, rows, objective_s)]
    return (*found, *_memory(problem, rows, objective_s, prices))


def _saved_s(problem: PlanningProblem, work: Work, rows: IntArray, objective_s: float) -> float:
    """Fall of the objective when the shares are solved for other work ([N]) of the same options."""
    latency_s = float(fill(replace_batch(work), np.ones((1, problem.num_clients))).latency_s[0])
    return max(0.0, objective_s - problem.objective_of(rows, latency_s))


def _bands(problem: PlanningProblem, rows: IntArray, objective_s: float) -> list[Marginal]:
    radio = problem.scenario.radio
    marginals = []
    for name, key, current_hz in (
        ("uplink", "uplink_hz", radio.uplink_hz),
        ("downlink", "downlink_hz", radio.downlink_hz),
    ):
        if current_hz <= 0:
            continue
        wider = problem.with_band(**{key: current_hz + EXTRA_HZ})
        saved_s = _saved_s(problem, wider.work.take(rows), rows, objective_s)
        marginals.append(Marginal(resource=name, amount="1 MHz", saves_s=saved_s))
    return marginals


def _server(problem: PlanningProblem, rows: IntArray, objective_s: float) -> list[Marginal]:
    server = problem.scenario.server
    device = find_device(server.device, problem.scenario.devices, "server.device")
    if not device.fp32_flops_per_s or device.efficiency is None:
        return []
    planned = device.fp32_flops_per_s * device.efficiency.matmul * (1.0 - server.load)
    work = problem.work.take(rows)
    faster = replace(work, server_s=work.server_s * planned / (planned + EXTRA_FLOPS_PER_S))
    saved_s = _saved_s(problem, faster, rows, objective_s)
    return [Marginal(resource="server", amount="1 GFLOP/s", saves_s=saved_s)]


def _memory(problem: PlanningProblem, rows: IntArray, objective_s: float, prices: FloatArray) -> list[Marginal]:
    """Price every client's newly fitting options, all shares solved again."""
    everything, fitting = _everything(problem)
    if not fitting.any():
        return []
    chosen = _positions(problem, everything, rows)
    old_of = chosen[everything.client_index]
    latency_s = float(fill(replace_batch(problem.work.take(rows)), np.ones((1, len(rows)))).lower_s[0])
    with np.errstate(invalid="ignore"):
        timely = everything.work.latency_s(1.0) <= latency_s
    candidates = np.flatnonzero(fitting & timely)
    costs = [StaticShares().price(everything.work.take(index), prices, latency_s) for index in (candidates, chosen)]
    change = costs[0].value - costs[1].value[everything.client_index[candidates]]
    slope = max(-float(costs[1].slope.sum()), np.finfo(float).tiny)
    gain = problem.total_progress(rows) + everything.gain[candidates] - everything.gain[old_of[candidates]]
    estimate = latency_s + change / slope
    if problem.divides_by_progress:
        estimate = estimate / np.maximum(gain, 1e-300)
    best: dict[int, tuple[float, int]] = {}
    for trial in candidates[np.argsort(estimate, kind="stable")][:_MAX_TRIALS].tolist():
        client = int(everything.client_index[trial])
        plan = chosen.copy()
        plan[client] = trial
        if not everything.keeps_limits(plan):
            continue
        saved_s = _saved_s(everything, everything.work.take(plan), plan, objective_s)
        if saved_s > best.get(client, (_NOTHING * objective_s, 0))[0]:
            best[client] = (saved_s, trial)
    return [_memory_marginal(problem, everything, client, *value) for client, value in sorted(best.items())]


def _memory_marginal(
    problem: PlanningProblem, everything: PlanningProblem, client: int, saved_s: float, row: int
) -> Marginal:
    option = everything.table.iloc[row]
    missing = int(option["client_peak_bytes"]) - int(option["memory_budget_bytes"])
    names_batch = len(problem.scenario.training.candidate_batch_sizes) > 1
    batch = f" with batch {option['batch_size']}" if names_batch else ""
    return Marginal(
        resource=f"memory of {problem.clients[client].id}",
        amount="100 MiB",
        saves_s=saved_s,
        detail=f"cut {option['cut']} {option['mode']}{batch} would fit with {format_bytes(missing)} more",
    )


def _everything(problem: PlanningProblem) -> tuple[PlanningProblem, BoolArray]:
    """All rows as a problem with the same limits, and which of them fit only with the extra memory ([K])."""
    frame = problem.all_rows
    position = {client.id: i for i, client in enumerate(problem.clients)}
    index: IntArray = frame["client"].map(position).to_numpy(dtype=np.int64).astype(np.int64)
    everything = problem_of_rows(frame, index, problem.scenario)
    everything = under_objective_of(everything, problem)
    over = frame["client_peak_bytes"].to_numpy() - frame["memory_budget_bytes"].to_numpy()
    newly = (over > 0) & (over <= EXTRA_BYTES) & (frame["mode"] != DROPPED).to_numpy()
    return everything, newly & permitted(frame, problem.scenario) & within_energy(frame, problem.scenario)


def _positions(problem: PlanningProblem, everything: PlanningProblem, rows: IntArray) -> IntArray:
    """[N] where the plan's rows are among all rows."""
    position = {key: i for i, key in enumerate(everything.keys)}
    keys = problem.keys
    return np.array([position[keys[row]] for row in rows], dtype=np.int64)
