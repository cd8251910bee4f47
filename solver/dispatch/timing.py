"""When the clients of a plan end, and what they wait for, where they are served by priority."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.solver.dispatch.sequences import Sequences
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem


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
    waiting = {phase: np.zeros(num) for phase in Phase if phase not in (Phase.CLIENT_COMPUTE, Phase.PROPAGATION)}

    def on_start(index: int, phase: Phase, waited_s: float, _begins_s: float) -> None:
        waiting[phase][clients[index]] += waited_s

    def on_meeting(index: int, waited_s: float) -> None:
        waiting[Phase.BARRIER][clients[index]] += waited_s

    latency_s = np.zeros(num)
    own = [sequences.of(int(rows[client])) for client in clients]
    latency_s[clients] = ends_s(own, schedule.urgency_s, on_start, on_meeting)
    return latency_s, {phase: seconds for phase, seconds in waiting.items() if seconds.any()}
