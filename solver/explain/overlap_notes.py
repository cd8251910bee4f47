"""What to know of a plan in which steps overlap: what is assumed of it, and what it asks of the learning rate."""

from __future__ import annotations

import math

from hybridsplit.scenarios.sections.overlap import PROGRESS_LOST_A_STEP
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem


def largest_stable_rate(staleness: int) -> float:
    """Return the learning rate times curvature below which descent by late gradients on a quadratic is stable.

    ``2 sin(π / (2 (2D + 1)))``: the roots of ``z^{D+1} - z^D + ηλ`` leave the unit circle there (our derivation); 2
    without staleness, 1 with one step.

    Parameters
    ----------
    staleness
        By how many updates gradients are late.
    """
    return 2 * math.sin(math.pi / (2 * (2 * staleness + 1)))


def overlap_notes(problem: PlanningProblem, rows: IntArray) -> tuple[str, ...]:
    """Return remarks on a plan ([N] rows); none where nobody goes ahead of gradients.

    Parameters
    ----------
    problem, rows
        The planning problem, and the plan's row of every client.
    """
    if problem.overlap is None:
        return ()
    staleness = problem.overlap.staleness[rows]
    most = int(staleness.max(initial=0))
    if most == 0:
        return ()
    ahead = int((staleness > 0).sum())
    rate = largest_stable_rate(most) / largest_stable_rate(0)
    assumed = (
        f"{ahead} of {problem.num_clients} clients go up to {most} steps ahead of their gradients; assumed, not "
        f"measured: a client D steps ahead makes 1 / (1 + {PROGRESS_LOST_A_STEP:g} D) of the progress"
    )
    tuned = (
        "a learning rate that was tuned without overlap may be too large: on a quadratic the largest stable one is "
        f"{rate:.2f} times as large for gradients that are {most} updates late"
    )
    return assumed, tuned
