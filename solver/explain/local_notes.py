"""What to know of a plan with clients that have a loss of their own: what is assumed of it."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.modes.base import LOCAL_ALIGNMENT
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.planning_problem import TIME_TO_TARGET, PlanningProblem


def local_notes(problem: PlanningProblem, rows: IntArray) -> tuple[str, ...]:
    """Return remarks on a plan ([N] rows); none where no client has a loss of its own.

    Parameters
    ----------
    problem, rows
        The planning problem, and the plan's row of every client.
    """
    code, modes = problem.options.take(rows).coded("mode")
    number = np.bincount(code, minlength=len(modes)).tolist()
    local = sum(many for mode, many in zip(modes, number, strict=True) if mode in MODES and MODES[mode].has_local_head)
    if local == 0:
        return ()
    worth = f"an expected squared cosine of {LOCAL_ALIGNMENT:g} between its gradient and that of the model's loss"
    if problem.objective == TIME_TO_TARGET:
        worth = "no more than that of a frozen one, since pilot runs have no constant for it"
    waits = (
        "they do not wait for the server, and the plan counts their uploads and the server's work as if they did: a "
        "round is at most as long as planned"
    )
    return (
        f"{local} of {problem.num_clients} clients train by a loss of their own; assumed, not measured: {worth}",
        waits,
    )
