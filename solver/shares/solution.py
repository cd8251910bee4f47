"""Shares at fixed options: the conic program, its cross-check by water-filling, and equal shares."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import NUM_RESOURCES, StaticShares, Work
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.conic import conic_shares, repair
from hybridsplit.solver.shares.waterfill import Filled, fill

CONIC_MAX_CLIENTS = 300
"""Up to here the conic program states and solves the final shares; beyond, the water-filling dual does, whose own bound
certifies them: compiling and solving the cones takes seconds there and loses digits (Clarabel, unscaled, was 7e-4 off
at 1,000 clients)."""
_AGREEMENT = 1e-4


@dataclass(frozen=True)
class ShareSolution:
    """Shares of every client with the latencies they give.

    Parameters
    ----------
    shares
        [N, 3] uplink, downlink and server share.
    latency_s
        [N] latency of every client.
    prices_s
        [3] fall of the round latency per relative increase of each resource, seconds per 100 %.
    lower_s
        Lower bound on the round latency at these options; 0 where none was computed.
    compile_s, solve_s
        Wall time of stating the conic program and of solving.
    notes
        Remarks worth showing with the plan.
    """

    shares: FloatArray
    latency_s: FloatArray
    prices_s: FloatArray
    lower_s: float = 0.0
    compile_s: float = 0.0
    solve_s: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def round_latency_s(self) -> float:
        """Latency of the slowest client."""
        return float(self.latency_s.max())


def equal_shares(problem: PlanningProblem, rows: IntArray) -> ShareSolution:
    """Give every client the same share of every resource: ``1/N`` for the ``N`` clients that share it.

    Prices follow from the slowest client: with shares fixed, only its own phases count.
    """
    kept = ~problem.is_dropped[rows]
    sharing = kept & ~np.array([client.link.is_dedicated for client in problem.clients])
    shares = np.stack(
        [np.where(who, 1.0 / max(1, int(np.count_nonzero(who))), 0.0) for who in (sharing, sharing, kept)], axis=1
    )
    return given_shares(problem, rows, shares)


def given_shares(problem: PlanningProblem, rows: IntArray, shares: FloatArray) -> ShareSolution:
    """Take shares that a strategy decided; prices follow from the slowest client.

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] the row of every client.
    shares
        [N, 3] shares.
    """
    work = problem.work.take(rows)
    latency_s = work.latency_s(shares)
    worst = int(np.argmax(latency_s))
    slowest, own = work.take(slice(worst, worst + 1)), shares[worst]
    prices = np.zeros(NUM_RESOURCES)
    if not slowest.uplink.is_idle[0]:
        # A relative increase of the band acts on the duration like the same increase of the share.
        _, slope, _ = slowest.uplink.share_in(slowest.uplink.seconds(shares[worst : worst + 1, 0]))
        prices[0] = -own[0] / slope[0]
    for resource, seconds in ((1, slowest.downlink_s[0]), (2, slowest.server_s[0])):
        prices[resource] = seconds / own[resource] if seconds > 0 else 0.0
    return ShareSolution(shares, latency_s, prices)


def optimal_shares(problem: PlanningProblem, rows: IntArray) -> ShareSolution:
    """Find the shares with the smallest round latency for given options.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] row of the problem for every client.

    Returns
    -------
    ShareSolution
        Exactly feasible shares; the better one of conic program and water-filling, which must agree.
    """
    work = problem.work.take(rows)
    began = time.perf_counter()
    filled = fill(replace_batch(work), np.ones((1, problem.num_clients)))
    solution = ShareSolution(
        shares=filled.shares[0],
        latency_s=work.latency_s(filled.shares[0]),
        prices_s=_prices(work, filled),
        lower_s=float(filled.lower_s[0]),
        solve_s=time.perf_counter() - began,
    )
    if solution.round_latency_s > solution.lower_s * (1 + _AGREEMENT):
        excess = solution.round_latency_s / max(solution.lower_s, 1e-300) - 1
        solution = replace(
            solution, notes=(f"shares are within {excess:.1e} of the best for these options, not closer",)
        )
    if problem.num_clients > CONIC_MAX_CLIENTS or bool(work.shared_idle.all()):
        return solution
    try:
        conic = conic_shares(work)
    except SolverFailure as error:
        return replace(solution, notes=(f"{error}; shares come from the water-filling dual",))
    repaired = repair(conic.shares, work)
    latency_s = work.latency_s(repaired)
    timed = replace(solution, compile_s=conic.compile_s, solve_s=solution.solve_s + conic.solve_s)
    if latency_s.max() <= solution.round_latency_s:
        return replace(timed, shares=repaired, latency_s=latency_s)
    if latency_s.max() > solution.round_latency_s * (1 + _AGREEMENT):
        off = latency_s.max() / solution.round_latency_s - 1
        return replace(timed, notes=(f"the conic solver was {off:.1e} off; shares come from the water-filling dual",))
    return timed


def replace_batch(work: Work) -> Work:
    """View the work of N clients as a batch of one plan, arrays [1, N]."""
    return work.take(np.arange(len(work.compute_s))[None, :])


def _prices(work: Work, filled: Filled) -> FloatArray:
    """[3] seconds saved per 100 % more of each resource: envelope theorem at the water-filling optimum."""
    latency_s = float(filled.lower_s[0])
    if latency_s <= 0:
        return np.zeros(NUM_RESOURCES)
    priced = StaticShares().price(work, filled.prices[0], latency_s)
    if math.fsum(priced.value) < 1.0 - 1e-6:
        # A client that needs no shared resource is the slowest: more of any resource saves nothing.
        return np.zeros(NUM_RESOURCES)
    return np.asarray(filled.prices[0] / -math.fsum(priced.slope))
