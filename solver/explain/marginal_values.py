"""What more of a resource is worth: a tenth of a band or of the server, and the memory that a better option lacks.

Every value is a difference of two solved problems, not a derivative: the shares are solved again with the resource
enlarged, and for memory with an option that does not fit put in place of the client's own. The other clients keep
their options, so planning everything again saves as much or more. Reasons are read from the same differences
(``hybridsplit.solver.explain.reasons``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hybridsplit.scenarios.contracts.prices import Marginal
from hybridsplit.scenarios.contracts.schedule import Dispatch, Schedule, Simultaneous
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.units import round_up_bytes
from hybridsplit.solver.explain.memory_by_priority import memory_steps_by_priority
from hybridsplit.solver.explain.more_memory import Step, memory_steps
from hybridsplit.solver.problem.arrays import BoolArray, IntArray
from hybridsplit.solver.problem.other_resources import with_band, with_faster_links
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.shares.conic import repair
from hybridsplit.solver.shares.solution import CONIC_MAX_CLIENTS, ShareSolution, replace_batch
from hybridsplit.solver.shares.synchronised import synchronised_shares
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.shares.waterfill import fill

MORE = 0.1
"""How much more of a shared resource is asked about, as a fraction of what there is."""
_MOST_GROUPS = 20
"""Groups whose own links are looked into."""
WORTH = 1e-6
"""Savings up to this fraction of the objective count as none: plans are proven no closer."""


@dataclass(frozen=True)
class Counterfactuals:
    """What more of each resource would save, at a plan.

    Parameters
    ----------
    marginals
        Shared resources first, then the memory of clients.
    memory_row
        [N] row of ``problem.all_options`` that each client would take with more memory; -1 where none would save
        anything.
    memory_is_known
        [N] whether more memory of a client was looked into.
    """

    marginals: tuple[Marginal, ...]
    memory_row: IntArray
    memory_is_known: BoolArray


def no_counterfactuals(problem: PlanningProblem) -> Counterfactuals:
    """Return what is known where nothing was looked into."""
    return Counterfactuals(
        (), np.full(problem.num_clients, -1, dtype=np.int64), np.zeros(problem.num_clients, dtype=bool)
    )


def counterfactuals(
    problem: PlanningProblem, rows: IntArray, solution: ShareSolution, schedule: Schedule = Simultaneous()
) -> Counterfactuals:
    """Value more of every resource.

    Of a shared resource a tenth more is valued. Of a client's memory, the option that saves most among those that
    fit with at most twice the budget; where none of these saves anything, the one that needs least beyond that.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] the plan's row of every client.
    solution
        The best shares for them.
    schedule
        The plan's schedule: the best shares, or service by priority.

    Returns
    -------
    Counterfactuals
        Nothing where energy is minimised: shares do not change it. No memory where clients meet between two steps:
        shares are then polished for few plans only.
    """
    latency_s = float(timing_of(problem, rows, solution.shares, schedule).latency_s.max())
    objective_s = problem.objective_of(rows, latency_s)
    nothing = no_counterfactuals(problem)
    if problem.objective == ENERGY or objective_s <= 0:
        return nothing
    synchronised = problem.scenario.training.steps_synchronise
    by_priority = schedule if isinstance(schedule, Dispatch) else None
    if synchronised and by_priority is None and problem.num_clients > CONIC_MAX_CLIENTS:
        return nothing
    shared = _shared(problem, rows, solution, schedule, objective_s)
    if synchronised and by_priority is None:
        return replace(nothing, marginals=tuple(shared))
    if by_priority is None:
        steps = memory_steps(problem, rows, objective_s, WORTH)
    else:
        steps = memory_steps_by_priority(problem, rows, by_priority, objective_s, WORTH)
    memory_row, known = nothing.memory_row.copy(), nothing.memory_is_known.copy()
    for clients in steps.looked_into:
        known[clients] = True
    for step in steps.found:
        memory_row[step.clients] = step.rows
    marginals = (*shared, *(_memory_marginal(problem, step) for step in steps.found))
    return Counterfactuals(marginals, memory_row, known)


def _shared(
    problem: PlanningProblem, rows: IntArray, solution: ShareSolution, schedule: Schedule, objective_s: float
) -> list[Marginal]:
    """Value a tenth more of each shared resource that there is any of."""
    radio, faster = problem.scenario.radio, problem.work.server_s / (1.0 + MORE)
    found = []
    for name, has_hz, more in (
        ("uplink", radio.uplink_hz, with_band(problem, uplink_hz=radio.uplink_hz * (1.0 + MORE))),
        ("downlink", radio.downlink_hz, with_band(problem, downlink_hz=radio.downlink_hz * (1.0 + MORE))),
        ("server", None, replace(problem, work=replace(problem.work, server_s=faster))),
    ):
        if has_hz is not None and has_hz <= 0:
            continue
        saved_s = max(0.0, objective_s - problem.objective_of(rows, _latency_s(more, rows, solution, schedule)))
        found.append(
            Marginal(
                resource=name,
                amount_fraction=MORE,
                amount_hz=None if has_hz is None else MORE * has_hz,
                amount_flops_per_s=_more_flops_per_s(problem) if name == "server" else None,
                saves_s=saved_s if saved_s > WORTH * objective_s else 0.0,
            )
        )
    return [*found, *_own_links(problem, rows, solution, schedule, objective_s)]


def _own_links(
    problem: PlanningProblem, rows: IntArray, solution: ShareSolution, schedule: Schedule, objective_s: float
) -> list[Marginal]:
    """Value links that are a tenth faster, for every group of clients that has links of its own."""
    found = []
    groups = dict.fromkeys(client.group for client in problem.clients if client.link.is_dedicated)
    for group in list(groups)[:_MOST_GROUPS]:
        faster = with_faster_links(problem, group, 1.0 + MORE)
        saved_s = objective_s - problem.objective_of(rows, _latency_s(faster, rows, solution, schedule))
        if saved_s > WORTH * objective_s:
            clients = tuple(client.id for client in problem.clients if client.group == group)
            found.append(Marginal(resource="link", clients=clients, amount_fraction=MORE, saves_s=saved_s))
    return found


def _latency_s(problem: PlanningProblem, rows: IntArray, solution: ShareSolution, schedule: Schedule) -> float:
    """Round latency of the same options over other resources, at their best shares or the same urgencies."""
    if isinstance(schedule, Dispatch):
        return float(timing_of(problem, rows, solution.shares, schedule).latency_s.max())
    if problem.scenario.training.steps_synchronise:
        return synchronised_shares(problem, rows, repair(solution.shares, problem.work.take(rows))).round_latency_s
    return float(fill(replace_batch(problem.work.take(rows)), np.ones((1, problem.num_clients))).latency_s[0])


def _more_flops_per_s(problem: PlanningProblem) -> float | None:
    """Return a tenth of what the server computes a second, FLOP/s; None where its speed is not published."""
    server = problem.scenario.server
    device = find_device(server.device, problem.scenario.devices, "server.device")
    if not device.fp32_flops_per_s or device.efficiency is None:
        return None
    return MORE * device.fp32_flops_per_s * device.efficiency.matmul * (1.0 - server.load)


def _memory_marginal(problem: PlanningProblem, step: Step) -> Marginal:
    option = problem.all_options.frame(step.rows[:1]).iloc[0]
    names_batch = len(problem.scenario.training.candidate_batch_sizes) > 1
    batch = f" with batch {option['batch_size']}" if names_batch else ""
    amount_bytes = round_up_bytes(int(option["client_peak_bytes"]) - int(option["memory_budget_bytes"]))
    return Marginal(
        resource="memory",
        clients=tuple(problem.clients[i].id for i in step.clients.tolist()),
        amount_bytes=amount_bytes,
        amount_fraction=amount_bytes / max(1, int(option["memory_budget_bytes"])),
        option=f"cut {option['cut']} {option['mode']}{batch}",
        saves_s=step.saves_s,
    )
