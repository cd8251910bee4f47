"""When to plan again: after so many rounds, when links have changed, or by knowing them (policies of a scenario).

``on-change`` waits until rates, or memory, have differed for ``hysteresis_rounds`` rounds in a row from what was last
believed by more than ``change``; then it plans for the mean of the last ``window_rounds``, and takes the new plan where
it would have been better in each of these rounds, saves ``gain`` as expected, and pays for what it moves within
``horizon_rounds``. The rules are a reconstruction of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hybridsplit.orchestrator.replanning.beliefs import Beliefs
from hybridsplit.orchestrator.replanning.moves import Moves
from hybridsplit.orchestrator.replanning.search import PlanSearch, objective_s
from hybridsplit.runtime.replay.changing import Boundary, MovedBytes, NewPlan, Replanner, RoundObserved
from hybridsplit.runtime.replay.moving import move
from hybridsplit.runtime.replay.planned_work import work_of
from hybridsplit.runtime.replay.replanned import Surroundings, observe, play_round
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.replanning import Replanning
from hybridsplit.scenarios.units import counted

_POOL = 6
"""Plans found earlier that the oracle tries again."""


def replanner_of(
    scenario: Scenario, table: OptionTable, first: Plan, around: Surroundings, attendance: Attendance
) -> Replanner:
    """Return what plans again as the scenario says.

    Parameters
    ----------
    scenario, table
        The scenario, and its option table.
    first
        The plan of the first round.
    around, attendance
        What rounds meet, and who takes part: for the oracle alone.
    """
    settings = scenario.training.replanning
    if settings is None or not settings.changes_plans:
        return Never()
    search, moves = PlanSearch(scenario, table, first), Moves(scenario)
    if settings.policy == "oracle":
        return Oracle(scenario, search, moves, first, around, attendance)
    if settings.policy == "every-n":
        return EveryN(scenario, settings, search, moves)
    return OnChange(scenario, settings, search, moves)


class Never:
    """Keeps the plan, on the clock of plans that may change: what the others are compared with."""

    def next_plan(self, boundary: Boundary) -> NewPlan | None:
        """Return None."""
        return None

    def moved_bytes(self, before: Placement, after: Placement) -> MovedBytes:
        """Return nothing."""
        return MovedBytes()


class _FromRounds:
    """What policies that know finished rounds alone have in common."""

    def __init__(self, scenario: Scenario, settings: Replanning, search: PlanSearch, moves: Moves) -> None:
        self._scenario, self._settings, self._search, self._moves = scenario, settings, search, moves

    def moved_bytes(self, before: Placement, after: Placement) -> MovedBytes:
        """Return the bytes that one client moves between two placements."""
        return self._moves.of(before, after)

    def _better(self, boundary: Boundary, rounds: int, reason: str) -> NewPlan | None:
        """Plan for the last rounds, and return the plan where it is worth changing to."""
        settings = self._settings
        before = Beliefs.from_rounds(boundary.observed, Beliefs())
        expected = Beliefs.from_rounds(boundary.observed[-settings.window_rounds :], before)
        plan = self._search.plan_for(expected, boundary.plan)
        if plan is None:
            return None
        saving = self._saving(boundary.plan, plan, expected)
        for one in boundary.observed[-rounds:]:
            if not self._saving(boundary.plan, plan, Beliefs.from_rounds([one], before)) > 0:
                return None
        moved = self._moves.between(boundary.plan, plan)
        latency_s = boundary.observed[-1].latency_s
        pays = settings.horizon_rounds * latency_s * saving > self._moving_s(plan, moved, expected)
        return NewPlan(plan, reason, saving) if saving > settings.gain and pays else None

    def _saving(self, present: Plan, plan: Plan, beliefs: Beliefs) -> float:
        now_s = self._search.value_s(present, beliefs)
        then_s = self._search.value_s(plan, beliefs)
        if math.isinf(now_s):
            return 0.0 if math.isinf(then_s) else 1.0
        return 1.0 - then_s / now_s

    def _moving_s(self, plan: Plan, moved: Mapping[str, MovedBytes], beliefs: Beliefs) -> float:
        if not moved:
            return 0.0
        around = Surroundings(beliefs.links(), beliefs.memory(plan), {}, {})
        try:
            return move(plan, work_of(plan, self._scenario, around.at(0.0, plan, self._scenario)), moved)[1]
        except RunError:
            return math.inf


class EveryN(_FromRounds):
    """Plans again after every so many rounds."""

    def next_plan(self, boundary: Boundary) -> NewPlan | None:
        """Return a better plan, if there is one and its time has come."""
        every = self._settings.every_rounds or 1
        if boundary.round % every:
            return None
        return self._better(boundary, 1, f"{counted(every, 'round')} have passed")


class OnChange(_FromRounds):
    """Plans again when what rounds show has differed for several in a row from what was last believed."""

    def next_plan(self, boundary: Boundary) -> NewPlan | None:
        """Return a better plan, if links have changed and there is one."""
        in_a_row = self._settings.hysteresis_rounds or 1
        since, believed = self._believed(boundary.observed)
        recent = boundary.observed[since:]
        if len(recent) < in_a_row:
            return None
        rounds = recent[-in_a_row:]
        differences = [Beliefs.from_rounds([one], believed).differ(believed) for one in rounds]
        if not all(self._counts(one) for one in differences):
            return None
        times, least = counted(in_a_row, "round"), 1.0 + min(differences)
        reason = f"rates or memory have differed by a factor of {least:.3g} or more for {times}"
        return self._better(boundary, in_a_row, reason)

    def _counts(self, difference: float) -> bool:
        return difference > (self._settings.change or 0.0)

    def _believed(self, observed: Sequence[RoundObserved]) -> tuple[int, Beliefs]:
        """Return from which round on beliefs hold, and what they are: they follow from the rounds alone."""
        in_a_row, window = self._settings.hysteresis_rounds or 1, self._settings.window_rounds
        since, believed, row = 0, Beliefs.at_first(observed), 0
        for index in range(len(observed) - 1):
            differs = self._counts(Beliefs.from_rounds([observed[index]], believed).differ(believed))
            row = row + 1 if differs else 0
            if row >= in_a_row:
                believed = Beliefs.from_rounds(observed[max(0, index + 1 - window) : index + 1], believed)
                since, row = index + 1, 0
        return since, believed


class Oracle:
    """Plays the round that comes under the present plan, the first one and the best for it, and takes the fastest.

    It looks one round ahead, so that it is no bound on what several rounds together could do.

    Parameters
    ----------
    scenario, search, moves
        What it plans with.
    first
        The plan of the first round.
    around, attendance
        What rounds meet, and who takes part.
    """

    def __init__(
        self, scenario: Scenario, search: PlanSearch, moves: Moves, first: Plan, around: Surroundings,
        attendance: Attendance,
    ) -> None:  # fmt: skip
        self._scenario, self._search, self._moves = scenario, search, moves
        self._around, self._attendance = around, attendance
        self._pool = [first]

    def next_plan(self, boundary: Boundary) -> NewPlan | None:
        """Return the plan that is fastest in the round that comes."""
        present, now_s = boundary.plan, boundary.now_s
        taking_part = self._attendance.rounds[boundary.round]
        played = play_round(present, self._scenario, self._around, now_s, taking_part)
        coming = Beliefs.from_rounds([observe(present, self._scenario, self._around, played, now_s)], Beliefs())
        found = self._search.plan_for(coming, present)
        best, best_s = None, objective_s(present, played.played.latency_s)
        own_s = best_s
        for plan in [*self._pool, *([] if found is None else [found])]:
            if plan is present:
                continue
            moves = self._moves.between(present, plan)
            moving_s = 0.0
            if moves:
                work = work_of(plan, self._scenario, self._around.at(now_s, plan, self._scenario))
                _, moving_s = move(plan, work, moves)
            one = play_round(plan, self._scenario, self._around, now_s + moving_s, taking_part)
            value_s = objective_s(plan, moving_s + one.played.latency_s)
            if value_s < best_s:
                best, best_s = plan, value_s
        if found is not None:
            self._pool = [self._pool[0], *[*self._pool[1:], found][-_POOL:]]
        if best is None:
            return None
        return NewPlan(best, "the recordings say so", 1.0 - best_s / own_s)

    def moved_bytes(self, before: Placement, after: Placement) -> MovedBytes:
        """Return the bytes that one client moves between two placements."""
        return self._moves.of(before, after)
