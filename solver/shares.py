"""Shares at fixed options: the conic program, its cross-check, and equal shares.

The program (DESIGN sections 5 and 6): minimise ``T`` subject to ``C_i + t_u,i(β_i) + b_i/δ_i + c_i/φ_i ≤ T`` and
``Σβ ≤ 1, Σδ ≤ 1, Σφ ≤ 1``. It is convex: ``t_u`` is ``a/β`` for a fixed link, and the bits over a concave rate,
``−rel_entr(β, β + snr)``, for Shannon. What the solver returns is never taken at its word: shares are rescaled onto the
simplex and latencies recomputed with the true formulas.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from scenarios.errors import SolverFailure
from solver.arrays import FloatArray, IntArray
from solver.costs import NUM_RESOURCES, StaticShares, Work
from solver.links import FixedUplink, ShannonUplink
from solver.problem import PlanningProblem
from solver.waterfill import Filled, fill

CONIC_MAX_CLIENTS = 300
"""Up to here the conic program states and solves the final shares; beyond, the water-filling dual does, whose own bound
certifies them: compiling and solving the cones takes seconds there and loses digits (Clarabel, unscaled, was 7e-4 off
at 1,000 clients)."""
_AGREEMENT = 1e-4
_INFLUENCE = 1e-12


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


@dataclass(frozen=True)
class ConicShares:
    """What the conic solver returned, before repair: shares [N, 3], and the time it took."""

    shares: FloatArray
    compile_s: float
    solve_s: float


def equal_shares(problem: PlanningProblem, rows: IntArray) -> ShareSolution:
    """Give every client the same share ``1/N`` of every resource.

    Prices follow from the slowest client: with shares fixed, only its own phases count.
    """
    kept = ~problem.is_dropped[rows]
    shares = np.where(kept, 1.0 / np.count_nonzero(kept), 0.0)[:, None].repeat(NUM_RESOURCES, axis=1)
    return given_shares(problem, rows, shares)


def given_shares(problem: PlanningProblem, rows: IntArray, shares: FloatArray) -> ShareSolution:
    """Take shares ([N, 3]) that a strategy decided; prices follow from the slowest client."""
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


def conic_shares(work: Work) -> ConicShares:
    """State and solve the conic program with cvxpy.

    Parameters
    ----------
    work
        [N] work of every client at its option.

    Raises
    ------
    SolverFailure
        If the solver stops without an optimal point.

    Notes
    -----
    Shares are scaled by the number of clients and times by the latency at equal shares: unscaled, the solver loses
    digits as clients grow. Each resource is stated over the clients that use it.
    """
    import cvxpy as cp  # late: a second of import time that commands without a plan need not pay

    began = time.perf_counter()
    num_clients = len(work.compute_s)
    unit_s = float(work.latency_s(1.0 / num_clients).max())
    round_latency = cp.Variable()
    total: cp.Expression = cp.Constant(work.compute_s / unit_s)
    constraints: list[cp.Constraint] = []
    variables: list[tuple[int, IntArray, cp.Variable]] = []
    for resource in range(NUM_RESOURCES):
        full_s = (work.uplink.seconds(1.0), work.downlink_s, work.server_s)[resource]
        users = np.flatnonzero(full_s > _INFLUENCE * unit_s)
        if not len(users):
            continue
        share = cp.Variable(len(users), nonneg=True)
        spread = np.zeros((num_clients, len(users)))
        spread[users, np.arange(len(users))] = 1.0
        if resource == 0:
            duration = _uplink_expression(cp, work.take(users), share, num_clients, unit_s)
        else:
            duration = cp.multiply(full_s[users] * num_clients / unit_s, cp.inv_pos(share))
        total = total + spread @ duration
        constraints.append(cp.sum(share) <= num_clients)
        variables.append((resource, users, share))
    program = cp.Problem(cp.Minimize(round_latency), [*constraints, total <= round_latency])
    try:
        program.get_problem_data(cp.CLARABEL)
        compile_s = time.perf_counter() - began
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of inaccurate points, which are dealt with below
            # Everything is scaled already; the solver's own equilibration made it fail on Shannon links.
            program.solve(solver=cp.CLARABEL, equilibrate_enable=False)
    except (cp.error.SolverError, ArithmeticError) as error:
        raise SolverFailure(
            f"the conic solver stopped on the share program of {num_clients} clients ({error})"
        ) from error
    # An inaccurate point is a candidate like any other: it is repaired and compared with the water-filling dual.
    if program.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverFailure(
            f"the conic solver ended as {program.status!r} on the share program of {num_clients} clients"
        )
    shares = np.zeros((num_clients, NUM_RESOURCES))
    for resource, users, share in variables:
        shares[users, resource] = np.asarray(share.value) / num_clients
    return ConicShares(shares, compile_s, time.perf_counter() - began)


def repair(shares: FloatArray, work: Work) -> FloatArray:
    """Make shares exactly feasible: non-negative, positive where there is work, each resource summing to at most 1.

    Parameters
    ----------
    shares
        [N, 3] shares from a solver of finite precision.
    work
        [N] work of every client.
    """
    used = np.stack([~work.uplink.is_idle, work.downlink_s > 0, work.server_s > 0], axis=1)
    positive = np.where(used, np.maximum(shares, _INFLUENCE), 0.0)
    totals = positive.sum(axis=0)
    scaled = positive / np.where(totals > 0, totals, 1.0)
    return np.asarray(scaled / np.maximum(scaled.sum(axis=0), 1.0))


def replace_batch(work: Work) -> Work:
    """View the work of N clients as a batch of one plan, arrays [1, N]."""
    return work.take(np.arange(len(work.compute_s))[None, :])


def _uplink_expression(cp, work: Work, share, num_clients: int, unit_s: float):  # type: ignore[no-untyped-def]
    uplink = work.uplink
    if isinstance(uplink, FixedUplink):
        return cp.multiply(uplink.full_share_s * num_clients / unit_s, cp.inv_pos(share))
    assert isinstance(uplink, ShannonUplink)
    # ``x·ln(1 + k/x) = x·ln m − rel_entr(x, (x + k)/m)`` for any m; m = k keeps the cone's numbers near one at high
    # SNR. The rate is in units of its value at the equal share.
    snr = uplink.full_share_snr * num_clients
    at_equal, level = np.log1p(snr), np.maximum(snr, 1.0)
    entropy = cp.rel_entr(share, cp.multiply(1.0 / level, share + snr))
    rate = cp.multiply(np.log(level) / at_equal, share) - cp.multiply(1.0 / at_equal, entropy)
    seconds = uplink.floor_s * snr / at_equal
    return cp.multiply(seconds / unit_s, cp.inv_pos(rate))


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
