"""Conic programs for the shares at fixed options, stated with cvxpy and solved by Clarabel.

The program (docs/methods/planning.md, Shares at a deadline): minimise ``T`` subject to ``C_i + t_u,i(β_i) + b_i/δ_i +
c_i/φ_i ≤ T`` and ``Σβ ≤ 1, Σδ ≤ 1, Σφ ≤ 1``. It is convex: every link model states its own convex duration. Where all
clients wait for each other after every step, ``T`` is a sum of maxima over clients, convex in the same durations. The
data that cvxpy makes of the most common statement are written out in :mod:`hybridsplit.solver.shares.cone_data`, so
that a plan need not import and compile it. What the solver returns is never taken at its word: shares are rescaled onto
the simplex and latencies recomputed with the true formulas.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import NUM_RESOURCES, Work
from hybridsplit.solver.problem.links import FixedUplink
from hybridsplit.solver.shares.cone_data import fixed_link_program

_INFLUENCE = 1e-12
_USABLE = ("Solved", "AlmostSolved")
"""Ends at which there is a point; an inaccurate one is repaired and compared like any other."""


@dataclass(frozen=True)
class ConicShares:
    """What the conic solver returned, before repair.

    Parameters
    ----------
    shares
        [N, 3] shares.
    prices_s
        [3] fall of the latency per relative increase of each resource, seconds per 100 % (the dual solution).
    compile_s, solve_s
        Wall time of stating the program and of solving.
    """

    shares: FloatArray
    prices_s: FloatArray
    compile_s: float
    solve_s: float


@dataclass(frozen=True)
class StepParts:
    """How a round divides into steps that end together.

    Parameters
    ----------
    num_steps
        Steps of a round, at least 2.
    download_part, upload_part
        [N] parts of each client's downlink and uplink duration that carry the model, before the first step and after
        the last one.
    """

    num_steps: int
    download_part: FloatArray
    upload_part: FloatArray


def conic_shares(work: Work, steps: StepParts | None = None, count: FloatArray | None = None) -> ConicShares:
    """Solve the conic program.

    Parameters
    ----------
    work
        [N] work of every client at its option, or of every kind of client.
    steps
        How the round divides where clients wait for each other after every step; None where they meet at its end only.
    count
        [N] number of clients of every kind; 1 each when None. Alike clients get the same shares at the optimum.

    Raises
    ------
    SolverFailure
        If the solver stops without an optimal point.

    Notes
    -----
    Shares are scaled by the number of clients and times by the latency at equal shares: unscaled, the solver loses
    digits as clients grow. Each resource is stated over the clients that use it.
    """
    if steps is None and isinstance(work.uplink, FixedUplink):
        return _written_out(work, count)
    return stated_shares(work, steps, count)


def _written_out(work: Work, count: FloatArray | None) -> ConicShares:
    """Solve the program of fixed links from the data of its statement."""
    began = time.perf_counter()
    kinds, number, num_clients, unit_s = _scales(work, count)
    used = [
        (resource, users, full_s[users] * num_clients / unit_s)
        for resource, full_s in enumerate((work.uplink.seconds(1.0), work.downlink_s, work.server_s))
        if len(users := np.flatnonzero(full_s > _INFLUENCE * unit_s))
    ]
    if not used:
        return stated_shares(work, None, count)
    users_of, works = [users for _, users, _ in used], [scaled for _, _, scaled in used]
    program = fixed_link_program(work.compute_s / unit_s, users_of, works, number)
    compile_s = time.perf_counter() - began
    began = time.perf_counter()
    status, scaled, duals = program.solve()
    if status not in _USABLE:
        raise SolverFailure(f"the conic solver ended as {status!r} on the share program of {kinds} kinds of clients")
    shares, prices_s = np.zeros((kinds, NUM_RESOURCES)), np.zeros(NUM_RESOURCES)
    start = 0
    for (resource, users, _), dual in zip(used, duals.tolist(), strict=True):
        shares[users, resource] = scaled[start : start + len(users)] / num_clients
        prices_s[resource] = dual * num_clients * unit_s
        start += len(users)
    return ConicShares(shares, prices_s, compile_s, time.perf_counter() - began)


def _scales(work: Work, count: FloatArray | None) -> tuple[int, FloatArray, float, float]:
    """Kinds, clients of each and in all, and the latency at equal shares, which the program is scaled by."""
    kinds = len(work.compute_s)
    number = np.ones(kinds) if count is None else count
    num_clients = float(number.sum())
    return kinds, number, num_clients, float(work.latency_s(1.0 / num_clients).max())


def stated_shares(work: Work, steps: StepParts | None = None, count: FloatArray | None = None) -> ConicShares:
    """State the program with cvxpy, and solve it; parameters and errors are those of :func:`conic_shares`."""
    import cvxpy as cp  # late: a second of import time that commands without a plan need not pay

    began = time.perf_counter()
    kinds, number, num_clients, unit_s = _scales(work, count)
    durations, capacities, variables = state_durations(cp, work, number, unit_s)
    latency, meetings = _round_latency(cp, work.compute_s / unit_s, durations, steps)
    program = cp.Problem(cp.Minimize(latency), [*capacities.values(), *meetings])
    compile_s, solve_s = solve_program(cp, program, kinds, began)
    shares, prices_s = np.zeros((kinds, NUM_RESOURCES)), np.zeros(NUM_RESOURCES)
    for resource, users, share in variables:
        shares[users, resource] = np.asarray(share.value) / num_clients
        prices_s[resource] = float(capacities[resource].dual_value) * num_clients * unit_s
    return ConicShares(shares, prices_s, compile_s, solve_s)


def state_durations(cp: Any, work: Work, number: FloatArray, unit_s: float) -> tuple[list[Any], dict[int, Any], Any]:
    """State what every kind of client takes on each resource at shares that are variables.

    Parameters
    ----------
    cp
        The module ``cvxpy``.
    work, number
        [N] work of every kind of client, and how many there are.
    unit_s
        Unit of the durations, seconds.

    Returns
    -------
    tuple
        Durations on uplink, downlink and server; by resource, that its shares sum to the whole; and resource, users and
        variable of all shares, in units of one part in as many as there are clients.
    """
    kinds, num_clients = len(number), float(number.sum())
    durations: list[Any] = [cp.Constant(np.zeros(kinds))] * NUM_RESOURCES
    capacities: dict[int, Any] = {}
    variables: list[tuple[int, IntArray, Any]] = []
    for resource in range(NUM_RESOURCES):
        full_s = (work.uplink.seconds(1.0), work.downlink_s, work.server_s)[resource]
        users = np.flatnonzero(full_s > _INFLUENCE * unit_s)
        if not len(users):
            continue
        share = cp.Variable(len(users), nonneg=True)
        spread = np.zeros((kinds, len(users)))
        spread[users, np.arange(len(users))] = 1.0
        if resource == 0:
            duration = work.uplink.take(users).expression(cp, share, num_clients, unit_s)
        else:
            duration = cp.multiply(full_s[users] * num_clients / unit_s, cp.inv_pos(share))
        durations[resource] = spread @ duration
        capacities[resource] = number[users] @ share <= num_clients
        variables.append((resource, users, share))
    return durations, capacities, variables


def _round_latency(cp, compute, durations, steps: StepParts | None):  # type: ignore[no-untyped-def]
    """Latency to minimise, and what bounds it from below."""
    up, down, server = durations
    if steps is None:
        latency = cp.Variable()
        return latency, [compute + up + down + server <= latency]
    number = steps.num_steps
    download, upload = cp.multiply(steps.download_part, down), cp.multiply(steps.upload_part, up)
    exchanged = cp.multiply(1.0 - steps.upload_part, up) + cp.multiply(1.0 - steps.download_part, down)
    all_steps = compute + exchanged + server
    first, between, last = cp.Variable(), cp.Variable(), cp.Variable()
    meetings = [
        download + all_steps / number <= first,
        all_steps <= between,
        all_steps / number + upload <= last,
    ]
    return first + (number - 2) / number * between + last, meetings


def solve_program(cp: Any, program: Any, kinds: int, began: float) -> tuple[float, float]:
    """Solve a program; return the seconds of stating and of solving it.

    Parameters
    ----------
    cp, program
        The module ``cvxpy``, and the program.
    kinds
        Kinds of clients, for messages.
    began
        When stating it began, by ``time.perf_counter``.

    Raises
    ------
    SolverFailure
        If the solver stops without a point.
    """
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
            f"the conic solver stopped on the share program of {kinds} kinds of clients: they are too far apart"
        ) from error
    # An inaccurate point is a candidate like any other: it is repaired and compared with the water-filling dual.
    if program.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverFailure(
            f"the conic solver ended as {program.status!r} on the share program of {kinds} kinds of clients"
        )
    return compile_s, time.perf_counter() - began


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
