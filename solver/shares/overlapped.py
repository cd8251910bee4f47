"""Shares for plans in which work of some clients overlaps: the conic program over the ends of every batch, or part.

A round is then the longest of many chains of jobs, each linear in the seconds on each resource, hence convex in the
shares. The program has a variable for the end of every batch on every resource, and is solved over kinds of clients.
What it returns is repaired and timed by the true recursion.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.costs import NUM_RESOURCES, Work
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.updates import UpdateArrays
from hybridsplit.solver.shares.conic import ConicShares, repair, solve_program, state_durations
from hybridsplit.solver.shares.passes import Passes, alike_orders, passes_of, with_overlap
from hybridsplit.solver.shares.solution import CONIC_MAX_CLIENTS, ShareSolution, replace_batch
from hybridsplit.solver.shares.waterfill import fill

_MOST_ENDS = 40_000
"""Batches times kinds of clients up to which the program is stated; beyond, shares are those of the bounding work."""


def overlapped_shares(problem: PlanningProblem, rows: IntArray) -> ShareSolution:
    """Find the shares with the smallest round latency for options of which some overlap.

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] the row of every client.

    Returns
    -------
    ShareSolution
        The better of the conic program and of the best shares for the bounding work.
    """
    work = problem.done.take(rows)
    began = time.perf_counter()
    bounding = fill(replace_batch(problem.work.take(rows)), np.ones((1, len(rows))))
    candidates = [(repair(bounding.shares[0], work), bounding.prices[0])]
    polished, remark = _polished(problem, rows, work)
    if polished is not None:
        candidates.append((repair(polished.shares, work), polished.prices_s))
    ends_s = [with_overlap(problem, rows, shares, work.latency_s(shares)) for shares, _ in candidates]
    best = int(np.argmin([ends.max() for ends in ends_s]))
    shares, prices_s = candidates[best]
    return ShareSolution(
        shares=shares,
        latency_s=ends_s[best],
        prices_s=np.asarray(prices_s, dtype=float),
        lower_s=float(bounding.lower_s[0]),
        compile_s=polished.compile_s if polished is not None else 0.0,
        solve_s=time.perf_counter() - began - (polished.compile_s if polished is not None else 0.0),
        notes=(remark,) if remark else (),
    )


@dataclass(frozen=True)
class _Kinds:
    """Kinds of clients: one row of each, how many there are, and of which kind every client is."""

    rows: IntArray
    count: FloatArray
    kind: IntArray


def _kinds_of(problem: PlanningProblem, rows: IntArray, work: Work) -> _Kinds:
    assert problem.overlap is not None
    table = problem.options.take(rows)
    names = ("uplink_bytes", "model_upload_bytes", "downlink_bytes", "model_download_bytes", "client_compute_s")
    links = {link: place for place, link in enumerate(dict.fromkeys(repr(client.link) for client in problem.clients))}
    linked = np.array([links[repr(problem.clients[i].link)] for i in problem.client_index[rows].tolist()])
    columns = (
        *(table[name].to_numpy(dtype=float) for name in names),
        *vars(work.uplink).values(), work.downlink_s, work.server_s, work.compute_s,
        *problem.overlap.kinds[rows].T.astype(float), *UpdateArrays.of(table), linked.astype(float),
    )  # fmt: skip
    _, first, kind, count = np.unique(
        np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return _Kinds(rows[first], count.astype(float), kind.ravel())


def _polished(problem: PlanningProblem, rows: IntArray, work: Work) -> tuple[ConicShares | None, str]:
    if work.shared_idle.all():
        return None, ""
    kinds = _kinds_of(problem, rows, work)
    assert problem.overlap is not None
    steps = problem.scenario.training.local_steps
    most_parts = int(problem.overlap.micro_batches[rows].max())
    without = "the shares are those that are best for a lower bound of rounds whose steps overlap"
    if len(kinds.rows) > CONIC_MAX_CLIENTS or len(kinds.rows) * steps * most_parts > _MOST_ENDS:
        return None, f"{len(kinds.rows)} kinds of clients are too many: {without}"
    try:
        found = _stated(problem, kinds)
    except SolverFailure as error:
        return None, f"{error}; {without}"
    return replace(found, shares=found.shares[kinds.kind]), ""


def _stated(problem: PlanningProblem, kinds: _Kinds) -> ConicShares:
    import cvxpy as cp  # late: a second of import time that other plans need not pay

    began = time.perf_counter()
    assert problem.overlap is not None
    work = problem.done.take(kinds.rows)
    number = float(kinds.count.sum())
    unit_s = float(work.latency_s(1.0 / number).max())
    durations, capacities, variables = state_durations(cp, work, kinds.count, unit_s)
    latency = cp.Variable()
    waits = np.flatnonzero(~problem.overlaps[kinds.rows])
    limits = list(capacities.values())
    if len(waits):
        limits.append(work.compute_s[waits] / unit_s + sum(one[waits] for one in durations) <= latency)
    for own, staleness in alike_orders(problem.overlap, kinds.rows):
        passes = passes_of(problem, kinds.rows[own], 1.0 / number)
        limits += _recursion(
            cp, passes, staleness, [one[own] for one in durations], unit_s, latency, problem, kinds.rows[own]
        )
    program = cp.Problem(cp.Minimize(latency), limits)
    compile_s, solve_s = solve_program(cp, program, len(kinds.rows), began)
    shares, prices_s = np.zeros((len(kinds.rows), NUM_RESOURCES)), np.zeros(NUM_RESOURCES)
    for resource, users, share in variables:
        shares[users, resource] = np.asarray(share.value) / number
        prices_s[resource] = float(capacities[resource].dual_value) * number * unit_s
    return ConicShares(shares, prices_s, compile_s, solve_s)


def _recursion(
    cp: Any,
    passes: Passes,
    staleness: int,
    durations: list[Any],
    unit_s: float,
    latency: Any,
    problem: PlanningProblem,
    rows: IntArray,
) -> list[Any]:
    """State the ends of every batch as variables, and what each follows."""
    steps, number = len(passes.up_parts), len(rows)
    up, down, server = durations
    work = problem.done.take(rows)
    # Seconds on links of the clients' own are constants; where the shared part has none, all are.
    up_shared, down_shared, _ = work.shared_s(1.0 / max(problem.num_clients, 1))
    own_up = np.where(up_shared > 0, 0.0, passes.up_s) / unit_s
    own_down = np.where(down_shared > 0, 0.0, passes.down_s) / unit_s
    up, down = up + own_up, down + own_down
    # By step and client; all steps of one kind of constraint are stated at once, which is what takes the time.
    device, ups, servers, downs, backs = (cp.Variable((steps, number)) for _ in range(5))
    every = np.ones((steps, 1))

    def by_step(whole: Any) -> Any:
        return every @ cp.reshape(whole, (1, number), order="C")

    forward_s, backward_s = passes.forward_s[None, :] / unit_s, passes.backward_s[None, :] / unit_s
    is_divided = passes.updates_s is not None
    if passes.updates_s is not None:
        backward_s = every @ backward_s
        backward_s[passes.is_last] += passes.updates_s[0] / unit_s
    up_s, down_s = cp.multiply(passes.up_parts, by_step(up)), cp.multiply(passes.down_parts, by_step(down))
    server_s = cp.multiply(passes.server_parts, by_step(server)) if is_divided else by_step(server / steps)
    begin = cp.multiply(passes.down_model, down) + passes.exchange_delay_s[0] / unit_s
    limits: list[Any] = [
        device[0] >= begin + forward_s[0],
        ups >= device + up_s,
        servers >= ups + passes.up_delay_s / unit_s + server_s,
        downs >= servers + down_s,
        backs >= downs + (passes.down_delay_s / unit_s + backward_s),
        *(
            _in_parts(passes, device, backs, every @ forward_s, backward_s)
            if is_divided
            else (
                # The device goes backward with a batch when it has gone forward with the one that is so many ahead.
                backs[: steps - staleness] >= device[staleness:] + every[staleness:] @ backward_s,
                device[1 : staleness + 1] >= device[:staleness] + every[:staleness] @ forward_s,
            )
        ),
        ups[1:] >= ups[:-1] + up_s[1:],
        servers[1:] >= servers[:-1] + server_s[1:],
        downs[1:] >= downs[:-1] + down_s[1:],
        backs[1:] >= backs[:-1] + (backward_s[1:] if is_divided else every[1:] @ backward_s),
    ]
    if steps > staleness + 1 and not is_divided:
        limits.append(device[staleness + 1 :] >= backs[: steps - staleness - 1] + every[staleness + 1 :] @ forward_s)
    upload = cp.multiply(passes.up_model, up) + passes.exchange_delay_s[1] / unit_s
    limits.append(backs[steps - 1] + upload <= latency)
    return limits


def _in_parts(passes: Passes, device: Any, backs: Any, forward_s: FloatArray, backward_s: FloatArray) -> list[Any]:
    """State the order of the device with micro-batches: all of a step go forward, then all backward."""
    number = passes.micro_batches
    pieces = np.arange(len(forward_s))
    first, later = pieces[pieces % number == 0], pieces[pieces % number > 0]
    return [
        device[later] >= device[later - 1] + forward_s[later],
        backs[first] >= device[first + number - 1] + backward_s[first],
        *([device[first[1:]] >= backs[first[1:] - 1] + forward_s[first[1:]]] if len(first) > 1 else []),
    ]
