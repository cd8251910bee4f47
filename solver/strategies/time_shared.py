"""Transfers and server one client after another, in the best order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Turns
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort, search
from hybridsplit.solver.shares.timing import Jobs, jobs_of, turns_timing
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.relaxed import relaxed_choices

_ALL_ORDERS_UP_TO = 6
"""Clients up to which every order is tried."""
_MAX_TRIALS = 300
_MAX_EXCHANGES = 200


class TimeShared(Strategy):
    """Every transfer and server job at the whole resource, clients in one order (our own).

    See docs/methods/planning.md, Turns and chains.

    Static shares leave a resource idle while its owner computes; taking turns does not, and beats every static split
    where a round has several steps that overlap. Options come from the relaxation that bounds any schedule, from the
    best static plan and from the best uniform cut; the order is the best of all for up to six clients, and the best
    found by moving clients within the order beyond. It is a schedule, so only ``schedule_lower_bound_s`` is below it.
    """

    name = "time-shared"
    summary = "transfers and server one client after another at full rate, in the best order found"
    sharing = Sharing.TURNS
    divides_server = False

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Order several choices of options, keep the best, and exchange single options while that helps.

        Raises
        ------
        InfeasibleError
            If no plan keeps the limits.
        SolverFailure
            If a solver stopped without a plan.
        """
        bounds = search(problem, effort)
        best = _best_order(problem, bounds.rows)
        for rows in relaxed_choices(problem, bounds, self.name).rows:
            candidate = _best_order(problem, rows)
            if candidate.value < best.value:
                best = candidate
        best = _exchange(problem, best)
        exact = len(best.order) <= _ALL_ORDERS_UP_TO
        return Proposal(
            best.rows,
            shares=np.ones((problem.num_clients, 3)),
            schedule=Turns(order=tuple(problem.clients[i].id for i in best.order)),
            bounds=bounds,
            reason="fastest found when everybody takes turns at the whole band and server",
            notes=(f"the order of turns is the best {'of all' if exact else 'found'} for these options",),
        )


@dataclass(frozen=True)
class _Ordered:
    rows: IntArray
    order: IntArray
    value: float


def _value(problem: PlanningProblem, rows: IntArray, order: IntArray, jobs: Jobs) -> float:
    timing = turns_timing(jobs.ordered(order), synchronise=problem.scenario.training.steps_synchronise)
    return problem.value_of(rows, float(timing.latency_s.max()))


def _best_order(problem: PlanningProblem, rows: IntArray, start: IntArray | None = None) -> _Ordered:
    """Order the clients of a choice of options."""
    jobs, kept = jobs_of(problem, rows), np.flatnonzero(~problem.is_dropped[rows])
    if len(kept) <= _ALL_ORDERS_UP_TO and start is None:
        orders = [np.array(order, dtype=np.int64) for order in itertools.permutations(kept.tolist())]
        values = [_value(problem, rows, order, jobs) for order in orders]
        return _Ordered(rows, orders[int(np.argmin(values))], min(values))
    backward_s = jobs.backward_s.mean(axis=0)
    own_s = jobs.forward_s.mean(axis=0) + backward_s + jobs.head_s.mean(axis=0)
    after_s = backward_s + jobs.downlink_s.mean(axis=0) + jobs.server_s.mean(axis=0)
    keys = (-own_s, own_s, -after_s, jobs.uplink_s.mean(axis=0), jobs.model_download_s - own_s)
    orders = [kept[np.argsort(key[kept], kind="stable")] for key in keys]
    if start is not None:
        orders = [start]
    values = [_value(problem, rows, order, jobs) for order in orders]
    order, value = orders[int(np.argmin(values))], min(values)
    if problem.objective == ENERGY:
        return _Ordered(rows, order, value)
    rng = np.random.default_rng(stream_seed(problem.scenario.seed, "time-shared", "order"))
    trials = max(20, _MAX_TRIALS * 12 // (12 + len(kept)))
    for _ in range(trials):
        origin, target = rng.integers(0, len(order), 2)
        moved = np.insert(np.delete(order, origin), target, order[origin])
        changed = _value(problem, rows, moved, jobs)
        if changed < value:
            order, value = moved, changed
    return _Ordered(rows, order, value)


def _exchange(problem: PlanningProblem, best: _Ordered) -> _Ordered:
    """Exchange single options of random clients, the order kept, while that improves the objective."""
    if problem.objective == ENERGY:
        return best
    rng = np.random.default_rng(stream_seed(problem.scenario.seed, "time-shared", "options"))
    ends = np.append(problem.starts[1:], problem.num_rows)
    for _ in range(_MAX_EXCHANGES):
        client = int(best.order[rng.integers(len(best.order))])
        rows = best.rows.copy()
        rows[client] = rng.integers(problem.starts[client], ends[client])
        if problem.is_dropped[rows[client]] or rows[client] == best.rows[client] or not problem.keeps_limits(rows):
            continue
        value = _value(problem, rows, best.order, jobs_of(problem, rows))
        if value < best.value:
            best = _Ordered(rows, best.order, value)
    return best
