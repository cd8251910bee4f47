"""When the clients of a plan end, and what they wait for, where they are served by priority."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.solver.dispatch.sequences import Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem

_ROUNDING = 1e-12


def dispatch_timing(
    problem: PlanningProblem, rows: IntArray, schedule: Dispatch
) -> tuple[FloatArray, dict[Phase, FloatArray]]:
    """Time a plan.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] row of the problem for every client.
    schedule
        Names the clients that are not dropped.

    Returns
    -------
    [N] end of every client, and [N] its waiting by phase, seconds.
    """
    position = {client.id: i for i, client in enumerate(problem.clients)}
    clients = [position[name] for name in schedule.order]
    sequences = Sequences(problem)
    num = problem.num_clients
    waiting: dict[Phase, FloatArray] = {phase: np.zeros(num) for phase in Phase}

    def on_job(index: int, phase: Phase, took_s: float) -> None:
        waiting[phase][clients[index]] += took_s

    def on_meeting(index: int, waited_s: float) -> None:
        waiting[Phase.BARRIER][clients[index]] += waited_s

    latency_s = np.zeros(num)
    own = [sequences.of(int(rows[client])) for client in clients]
    latency_s[clients] = ends_s(own, schedule.urgency_s, on_job, on_meeting)
    for client, sequence in zip(clients, own, strict=True):
        for segment in sequence:
            for job in segment.jobs:
                waiting[job.phase][client] -= job.duration_s
    for seconds in waiting.values():
        # What is left of equal sums is rounding.
        seconds[np.abs(seconds) < _ROUNDING * latency_s] = 0.0
    return latency_s, {phase: seconds for phase, seconds in waiting.items() if seconds.any()}
