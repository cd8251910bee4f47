"""What a plan for a target should say of itself: what it rests on, and who costs it more than it adds."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.scores import score_for
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.depths import depth_of_plan
from hybridsplit.solver.problem.infeasible import MAX_NAMED_CLIENTS
from hybridsplit.solver.problem.planning_problem import TIME_TO_TARGET, PlanningProblem


def target_notes(problem: PlanningProblem, rows: IntArray) -> tuple[str, ...]:
    """Return remarks for people; none where the target is not the objective.

    Parameters
    ----------
    problem
        The planning problem at the depth of the plan.
    rows
        [N] the plan's row of every client.
    """
    pilot = problem.scenario.objective.pilot
    if problem.objective != TIME_TO_TARGET or pilot is None:
        return ()
    score = score_for(problem.scenario.model.problem_type)
    reached = pilot.target_accuracy if pilot.target_score is None else pilot.target_score
    target = f"training loss {pilot.target_loss:g}" if reached is None else f"test {score.label} {score.text(reached)}"
    error = "unknown" if pilot.held_out_error is None else f"{pilot.held_out_error:.0%}"
    rounds = 1.0 / problem.total_gain(rows)
    notes = [f"{rounds:.1f} rounds to {target} are predicted; error on pilots held out of the fit: {error}"]
    if not pilot.is_usable:
        notes.append("the pilots do not identify the constants, so that expected progress stands in for them")
    if depth := depth_of_plan(problem, rows):
        notes.append(f"no client trains block{'s 1 to' if depth > 1 else ''} {depth} exactly")
    gain, frozen = problem.gain[rows], (problem.options["mode"] == "frozen").to_numpy()[rows]
    if costly := [problem.clients[i].id for i in np.flatnonzero((gain < 0) & ~problem.is_dropped[rows])]:
        notes.append(
            f"costs the target more than it adds: {_named(costly)}; a drop_price_s of 0 lets the plan leave it out"
        )
    if left := [problem.clients[i].id for i in np.flatnonzero(problem.is_dropped[rows])]:
        notes.append(f"left out, since taking part would cost the target more than it adds: {_named(left)}")
    if still := [problem.clients[i].id for i in np.flatnonzero(frozen)]:
        notes.append(f"frozen, since training its part is not worth the time it takes: {_named(still)}")
    return tuple(notes)


def _named(ids: list[str]) -> str:
    more = len(ids) - MAX_NAMED_CLIENTS
    return ", ".join(ids[:MAX_NAMED_CLIENTS]) + (f" and {more} others" if more > 0 else "")
